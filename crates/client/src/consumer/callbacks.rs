//! The application's code in a rebalance: listener and assignors, called within `poll`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use vltava_protocol::messages::join_group_response::JoinGroupResponseMember;

use super::Consumer;
use super::assignor::{
    Assignment, AssignorMetadata, AssignorPartition, GroupAssignment, GroupSubscription, PartitionAssignor,
    RebalanceProtocol, Subscription, cooperative_sticky_name, decode_subscription, encode_assignment,
    encode_subscription,
};
use super::core::{Call, Task};
use super::group_metadata::ConsumerGroupMetadata;
use super::io::Inner;
use super::listener::RebalanceListener;
use super::membership::Describe;
use crate::metrics::ListenerCall;
use crate::net::MetadataSnapshot;
use crate::{ClientError, TopicPartition};

impl Consumer {
    pub(super) async fn run_task(&self, task: Task) {
        let inner = self.inner();
        let result = match task {
            Task::Listener(call, partitions) => self.call_listener(call, &partitions).await,
            Task::Notify { protocol, assignment, group } => self.notify_assignor(&protocol, &assignment, &group).await,
            Task::Describe(describe) => self.describe(&describe).await,
            Task::Assign { protocol, members, skip } => {
                let result = self.assign_group(&protocol, &members, skip).await;
                if result.is_err() {
                    inner.turn(|core, now| core.assign_failed(now));
                }
                result
            }
        };
        if let Err(source) = result {
            inner.turn(|core, _| core.task_failed(source));
        }
    }

    pub(super) async fn call_listener(&self, call: Call, partitions: &[TopicPartition]) -> Result<(), ClientError> {
        let taken = self.inner().listener.lock().take();
        let Some(listener) = taken else { return Ok(()) };
        let mut lent = Lent { inner: self.inner(), listener: Some(listener) };
        let Some(listener) = lent.listener.as_mut() else { return Ok(()) };
        let begun = Instant::now();
        let (called, result) = match call {
            Call::Revoked => (ListenerCall::Revoked, listener.on_partitions_revoked(self, partitions).await),
            Call::Lost => (ListenerCall::Lost, listener.on_partitions_lost(self, partitions).await),
            Call::Assigned => (ListenerCall::Assigned, listener.on_partitions_assigned(self, partitions).await),
        };
        self.inner().metrics.listener_called(called, begun.elapsed(), Instant::now());
        result
    }

    async fn notify_assignor(
        &self,
        protocol: &str,
        assignment: &Assignment,
        group: &ConsumerGroupMetadata,
    ) -> Result<(), ClientError> {
        let mut assignors = self.inner().assignors.lock().await;
        match assignors.iter_mut().find(|assignor| assignor.name() == protocol) {
            Some(assignor) => assignor.on_assignment(assignment, group),
            None => Err(unknown_protocol(protocol)),
        }
    }

    async fn describe(&self, describe: &Describe) -> Result<(), ClientError> {
        let inner = self.inner();
        let mut protocols = Vec::new();
        for assignor in inner.assignors.lock().await.iter_mut() {
            let user_data = assignor.subscription_user_data(&describe.topics);
            let subscription = describe.subscription(user_data, &inner.config.client_rack);
            protocols.push((assignor.name().to_owned(), encode_subscription(&subscription)?));
        }
        inner.turn(|core, _| core.described(protocols));
        Ok(())
    }

    /// The leader's part: assigns partitions to all members.
    async fn assign_group(
        &self,
        protocol: &str,
        members: &[JoinGroupResponseMember],
        skip: bool,
    ) -> Result<(), ClientError> {
        let inner = self.inner();
        let group = decode_group(members)?;
        self.know_group_topics(group.topics()).await?;
        let mut encoded = Vec::new();
        if !skip {
            let result = {
                let metadata = assignor_metadata(&inner.cluster.metadata());
                let mut assignors = inner.assignors.lock().await;
                let assignor = assignors
                    .iter_mut()
                    .find(|assignor| assignor.name() == protocol)
                    .ok_or_else(|| unknown_protocol(protocol))?;
                assignor.assign(&metadata, &group).await?
            };
            if inner.is_cooperative && protocol != cooperative_sticky_name() {
                check_cooperative(&group, &result)?;
            }
            let mut topics = group.topics();
            let subscribed = topics.len();
            topics.extend(result.members.values().flat_map(|a| a.partitions.iter().map(|tp| tp.topic().to_owned())));
            if topics.len() > subscribed {
                self.know_group_topics(topics).await?;
            }
            for (id, assignment) in &result.members {
                encoded.push((id.clone(), encode_assignment(assignment)?));
            }
        }
        inner.turn(|core, _| core.assigned(encoded));
        Ok(())
    }

    /// Reads the metadata of all topics that the group subscribes to.
    async fn know_group_topics(&self, topics: BTreeSet<String>) -> Result<(), ClientError> {
        let inner = self.inner();
        inner.turn(|core, _| core.set_group_topics(topics));
        inner.cluster.refresh().await?;
        // The core takes in what was read.
        inner.turn(|_, _| ());
        Ok(())
    }
}

impl Describe {
    /// What the group is told, with an assignor's own bytes.
    pub(super) fn subscription(&self, user_data: Option<bytes::Bytes>, rack: &str) -> Subscription {
        Subscription {
            topics: self.topics.iter().cloned().collect(),
            user_data,
            owned_partitions: self.owned.iter().cloned().collect(),
            generation_id: self.generation,
            rack_id: (!rack.is_empty()).then(|| rack.to_owned()),
            group_instance_id: None,
        }
    }
}

/// The listener while it is called. It goes back to its place even when the call is cut short.
struct Lent<'a> {
    inner: &'a Inner,
    listener: Option<Box<dyn RebalanceListener>>,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let mut place = self.inner.listener.lock();
        // The call itself may have set another one.
        if place.is_none() {
            *place = self.listener.take();
        }
    }
}

fn unknown_protocol(protocol: &str) -> ClientError {
    ClientError::unexpected(format!("the coordinator chose the protocol {protocol}, which this member did not offer"))
}

pub(super) fn decode_group(members: &[JoinGroupResponseMember]) -> Result<GroupSubscription, ClientError> {
    let mut decoded = Vec::with_capacity(members.len());
    for member in members {
        let mut subscription = decode_subscription(&member.metadata)?;
        subscription.group_instance_id.clone_from(&member.group_instance_id);
        decoded.push((member.member_id.clone(), subscription));
    }
    Ok(GroupSubscription::new(decoded))
}

pub(super) fn assignor_metadata(snapshot: &MetadataSnapshot) -> AssignorMetadata {
    let mut metadata = AssignorMetadata::new();
    for topic in snapshot.topics().filter(|topic| topic.error.is_none()) {
        let partitions = topic.partitions.iter().map(|partition| {
            let racks = partition.replicas.iter().filter_map(|id| snapshot.brokers.get(id)?.rack.as_deref());
            AssignorPartition::new(racks.map(str::to_owned))
        });
        metadata.insert(&*topic.name, partitions.collect());
    }
    metadata
}

/// Under the cooperative protocol a partition has to be given up before another member gets it.
fn check_cooperative(group: &GroupSubscription, result: &GroupAssignment) -> Result<(), ClientError> {
    let mut owner: BTreeMap<&TopicPartition, &str> = BTreeMap::new();
    for (id, subscription) in group.iter() {
        owner.extend(subscription.owned_partitions.iter().map(|tp| (tp, id)));
    }
    let taken = result.members.iter().find_map(|(id, assignment)| {
        assignment.partitions.iter().find(|tp| owner.get(*tp).is_some_and(|owner| *owner != id))
    });
    match taken {
        Some(tp) => Err(ClientError::state(format!(
            "the assignor gave {tp} to a member while another one owns it, which the cooperative protocol forbids"
        ))),
        None => Ok(()),
    }
}

/// The highest rebalance protocol that all assignors support.
pub(super) fn common_protocol(assignors: &[Box<dyn PartitionAssignor>]) -> Result<RebalanceProtocol, ClientError> {
    let supported = |protocol| assignors.iter().all(|a| a.supported_protocols().contains(&protocol));
    let mut names = BTreeSet::new();
    if let Some(twice) = assignors.iter().find(|a| !names.insert(a.name())) {
        return Err(ClientError::invalid(format!("assignor {} is given twice", twice.name())));
    }
    if supported(RebalanceProtocol::Cooperative) {
        Ok(RebalanceProtocol::Cooperative)
    } else if supported(RebalanceProtocol::Eager) {
        Ok(RebalanceProtocol::Eager)
    } else {
        let names: Vec<&str> = names.into_iter().collect();
        Err(ClientError::invalid(format!("assignors {} have no rebalance protocol in common", names.join(", "))))
    }
}
