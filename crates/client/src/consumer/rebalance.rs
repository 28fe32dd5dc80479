//! What a rebalance asks of `poll`: commit, call the listener, assign.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use vltava_protocol::messages::join_group_response::JoinGroupResponseMember;

use super::Consumer;
use super::assignor::{
    Assignment, AssignorMetadata, AssignorPartition, GroupAssignment, GroupSubscription, RebalanceProtocol,
    Subscription, cooperative_sticky_name, decode_assignment, decode_subscription, encode_assignment,
    encode_subscription,
};
use super::group_metadata::ConsumerGroupMetadata;
use super::inner::{Inner, State, Task};
use super::listener::RebalanceListener;
use super::membership::classic::Generation;
use super::offset_commit::{CommitJob, Waiter};
use crate::net::MetadataSnapshot;
use crate::{ClientError, TopicPartition};

impl Inner {
    /// Before joining: commit what was consumed, then give up partitions.
    pub(super) fn prepare_join(self: &Arc<Self>, state: &mut State, lost: bool, now: Instant) {
        if !lost && self.config.enable_auto_commit && !self.commit_before_join(state, now) {
            return;
        }
        state.prepare_deadline = None;
        let owned = state.subscription.assigned();
        let topics = state.subscription.subscription();
        let (gone, keep): (BTreeSet<TopicPartition>, BTreeSet<TopicPartition>) = if lost {
            (owned, BTreeSet::new())
        } else {
            match self.protocol {
                RebalanceProtocol::Eager => (owned, BTreeSet::new()),
                RebalanceProtocol::Cooperative => owned.into_iter().partition(|tp| !topics.contains(tp.topic())),
            }
        };
        let call = !gone.is_empty() || (!lost && self.protocol == RebalanceProtocol::Eager);
        let gone: Vec<TopicPartition> = gone.into_iter().collect();
        if call {
            state.tasks.push_back(if lost { Task::Lost(gone) } else { Task::Revoked(gone) });
        }
        state.tasks.push_back(Task::FinishPrepare { keep });
    }

    /// Commits the positions before a rebalance; whether that is done, or has taken too long.
    fn commit_before_join(self: &Arc<Self>, state: &mut State, now: Instant) -> bool {
        match state.prepare_deadline {
            Some(deadline) => state.commits.prepared || now >= deadline,
            None => {
                let deadline = now + self.config.max_poll_interval;
                if self.protocol == RebalanceProtocol::Eager {
                    for (_, partition) in state.subscription.iter_mut() {
                        partition.pending_revocation = true;
                    }
                }
                let offsets = state.subscription.all_consumed();
                if offsets.is_empty() {
                    return true;
                }
                state.prepare_deadline = Some(deadline);
                state.commits.prepared = false;
                let job = CommitJob { offsets: Arc::new(offsets), waiter: Waiter::Prepare, retry: true, deadline };
                self.push_commit(state, job);
                false
            }
        }
    }

    /// Takes over what the leader assigned.
    pub(super) fn complete_join(
        &self,
        state: &mut State,
        generation: &Generation,
        assignment: &Bytes,
        now: Instant,
    ) -> Result<(), ClientError> {
        let group_id = self.group_id()?;
        state.group_metadata = Some(ConsumerGroupMetadata::new(
            group_id,
            generation.id,
            generation.member_id.as_str(),
            self.config.group_instance_id.clone(),
        ));
        if !state.is_leader {
            state.assigned_topics = None;
        }
        let Some(membership) = &mut state.membership else { return Ok(()) };
        let assignment = decode_assignment(assignment).inspect_err(|_| {
            membership.request_rejoin("the assignment cannot be read");
        })?;
        if !state.subscription.matches_subscription(assignment.partitions.iter()) {
            membership.request_rejoin("received assignment does not match the current subscription");
            return Ok(());
        }
        let owned = state.subscription.assigned();
        let assigned: BTreeSet<TopicPartition> = assignment.partitions.iter().cloned().collect();
        let added: BTreeSet<TopicPartition> = assigned.difference(&owned).cloned().collect();
        if self.protocol == RebalanceProtocol::Cooperative {
            let revoked: Vec<TopicPartition> = owned.difference(&assigned).cloned().collect();
            tracing::info!(group = %group_id, ?assigned, ?added, ?revoked, "updating assignment");
            if !revoked.is_empty() {
                membership.request_rejoin("need to revoke partitions and re-join");
                state.tasks.push_back(Task::Revoked(revoked));
            }
        }
        if state.subscription.add_matching(assigned.iter().map(TopicPartition::topic)) {
            state.joined_topics = Some(state.subscription.subscription());
            self.track_topics(state);
        }
        state.next_auto_commit = now + self.config.auto_commit_interval;
        let protocol = generation.protocol.clone().unwrap_or_default();
        state.tasks.extend([
            Task::Notify { protocol, assignment },
            Task::Apply { assignment: assigned, added: added.clone() },
            Task::Assigned(added.iter().cloned().collect()),
            Task::Enable(added),
        ]);
        Ok(())
    }

    fn own(&self, state: &mut State, partitions: BTreeSet<TopicPartition>) {
        state.subscription.assign_from_group(partitions);
        state.fetcher.retain_assigned(&state.subscription);
    }
}

impl Consumer {
    pub(super) async fn run_task(&self, task: Task) {
        let result = match task {
            Task::Revoked(partitions) => self.call_listener(Call::Revoked, &partitions).await,
            Task::Lost(partitions) => self.call_listener(Call::Lost, &partitions).await,
            Task::Assigned(partitions) => self.call_listener(Call::Assigned, &partitions).await,
            Task::FinishPrepare { keep } => {
                self.finish_prepare(keep);
                Ok(())
            }
            Task::Apply { assignment, added } => {
                self.apply(assignment, &added);
                Ok(())
            }
            Task::Enable(added) => {
                self.enable(&added);
                Ok(())
            }
            Task::Notify { protocol, assignment } => self.notify_assignor(&protocol, &assignment).await,
            Task::Join => self.join_group().await,
            Task::Assign { protocol, members, skip } => {
                let result = self.assign_group(&protocol, &members, skip).await;
                if result.is_err()
                    && let Some(membership) = &mut self.inner().state.lock().membership
                {
                    membership.assign_failed(Instant::now());
                }
                result
            }
        };
        if let Err(source) = result {
            tracing::error!(error = %source, "rebalance callback failed");
            let error = ClientError::RebalanceCallback { source: Box::new(source) };
            self.inner().state.lock().task_error.get_or_insert(error);
        }
    }

    fn finish_prepare(&self, keep: BTreeSet<TopicPartition>) {
        let inner = self.inner();
        let mut state = inner.state.lock();
        inner.own(&mut state, keep);
        state.is_leader = false;
        state.subscription.reset_group_topics();
        inner.track_topics(&mut state);
        if let Some(membership) = &mut state.membership {
            membership.prepared();
        }
    }

    fn apply(&self, assignment: BTreeSet<TopicPartition>, added: &BTreeSet<TopicPartition>) {
        let inner = self.inner();
        let mut state = inner.state.lock();
        inner.own(&mut state, assignment);
        for tp in added {
            if let Some(partition) = state.subscription.get_mut(tp) {
                partition.pending_callback = true;
            }
        }
        inner.drive(&mut state, Instant::now());
    }

    fn enable(&self, added: &BTreeSet<TopicPartition>) {
        let inner = self.inner();
        let mut state = inner.state.lock();
        for tp in added {
            if let Some(partition) = state.subscription.get_mut(tp) {
                partition.pending_callback = false;
            }
        }
        state.fetch_wanted = true;
        inner.drive(&mut state, Instant::now());
    }

    pub(super) async fn call_listener(&self, call: Call, partitions: &[TopicPartition]) -> Result<(), ClientError> {
        let taken = self.inner().listener.lock().take();
        let Some(listener) = taken else { return Ok(()) };
        let mut lent = Lent { inner: self.inner(), listener: Some(listener) };
        let Some(listener) = lent.listener.as_mut() else { return Ok(()) };
        match call {
            Call::Revoked => listener.on_partitions_revoked(self, partitions).await,
            Call::Lost => listener.on_partitions_lost(self, partitions).await,
            Call::Assigned => listener.on_partitions_assigned(self, partitions).await,
        }
    }

    async fn notify_assignor(&self, protocol: &str, assignment: &Assignment) -> Result<(), ClientError> {
        let metadata = self.inner().state.lock().group_metadata.clone();
        let mut assignors = self.inner().assignors.lock().await;
        match (assignors.iter_mut().find(|assignor| assignor.name() == protocol), metadata) {
            (Some(assignor), Some(metadata)) => assignor.on_assignment(assignment, &metadata),
            _ => Err(unknown_protocol(protocol)),
        }
    }

    async fn join_group(&self) -> Result<(), ClientError> {
        let inner = self.inner();
        let mut assignors = inner.assignors.lock().await;
        let (topics, owned, generation) = {
            let mut state = inner.state.lock();
            let topics = state.subscription.subscription();
            state.joined_topics = Some(topics.clone());
            let generation = state.membership.as_ref().map(|m| m.generation().id).filter(|id| *id >= 0);
            (topics, state.subscription.assigned(), generation)
        };
        let mut protocols = Vec::with_capacity(assignors.len());
        for assignor in assignors.iter_mut() {
            let rack = &inner.config.client_rack;
            let subscription = Subscription {
                topics: topics.iter().cloned().collect(),
                user_data: assignor.subscription_user_data(&topics),
                owned_partitions: owned.iter().cloned().collect(),
                generation_id: generation,
                rack_id: (!rack.is_empty()).then(|| rack.clone()),
                group_instance_id: None,
            };
            protocols.push((assignor.name().to_owned(), encode_subscription(&subscription)?));
        }
        let mut state = inner.state.lock();
        if let Some(membership) = &mut state.membership {
            membership.start_join(protocols);
        }
        inner.send_group_requests(&mut state);
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
        inner.state.lock().is_leader = true;
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
            if inner.protocol == RebalanceProtocol::Cooperative && protocol != cooperative_sticky_name() {
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
        let mut state = inner.state.lock();
        state.assigned_topics = Some(state.topic_snapshot(&inner.cluster.metadata()));
        if let Some(membership) = &mut state.membership {
            membership.assigned(encoded);
        }
        inner.send_group_requests(&mut state);
        Ok(())
    }

    /// Reads the metadata of all topics that the group subscribes to.
    async fn know_group_topics(&self, topics: BTreeSet<String>) -> Result<(), ClientError> {
        let inner = self.inner();
        {
            let mut state = inner.state.lock();
            state.subscription.set_group_topics(topics);
            inner.track_topics(&mut state);
        }
        inner.cluster.refresh().await?;
        inner.take_metadata(&mut inner.state.lock());
        Ok(())
    }
}

/// Which of the listener's calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    Revoked,
    Lost,
    Assigned,
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

fn decode_group(members: &[JoinGroupResponseMember]) -> Result<GroupSubscription, ClientError> {
    let mut decoded = Vec::with_capacity(members.len());
    for member in members {
        let mut subscription = decode_subscription(&member.metadata)?;
        subscription.group_instance_id.clone_from(&member.group_instance_id);
        decoded.push((member.member_id.clone(), subscription));
    }
    Ok(GroupSubscription::new(decoded))
}

fn assignor_metadata(snapshot: &MetadataSnapshot) -> AssignorMetadata {
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
