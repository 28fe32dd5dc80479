//! Who runs which task: Kafka Streams' own assignor, by which the members of an application's group divide its tasks.
//!
//! Its name, what members say of themselves and what the leader answers are the JVM's: instances of both kinds may be members
//! of one group, and either may lead it. A thread is a member; an instance is known by its process id.
//!
//! [`group`] decides, from what all have said; the codecs are in [`messages`]. All are cooperative (KIP-429): a member keeps
//! what it has while it joins, and gives up what the assignment does not have any more; who is to have that asks for the
//! next rebalance.

mod client_state;
#[cfg(test)]
mod golden;
mod group;
mod high_availability;
mod messages;
mod movements;
mod prior;
mod process_id;
mod threads;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, AtomicI64, Ordering},
};

use bytes::Bytes;
use parking_lot::Mutex;
use vltava_client::{
    Admin, ClientError, TopicPartition,
    admin::OffsetSpec,
    config::IsolationLevel,
    consumer::ConsumerGroupMetadata,
    consumer::assignor::{
        Assignment, AssignorMetadata, BoxFuture, GroupAssignment, GroupSubscription, PartitionAssignor,
        RebalanceProtocol,
    },
};

pub(super) use self::{client_state::LATEST_OFFSET, high_availability::AssignmentConfig, process_id::ProcessId};
use self::{
    group::{Member, Tasks},
    messages::{AssignmentInfo, EARLIEST_PROBEABLE, LATEST, SubscriptionInfo},
};
use super::{
    cluster::{Cluster, SharedCluster},
    kafka_streams::now_ms,
    refusal::Refusal,
    setup::Setup,
};
use crate::{error::Error, query::HostInfo, task::TaskId};

/// What a thread says of itself when it joins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Standing {
    /// How far the stores are of each task of which there are any: the offsets of their changelogs together,
    /// [`LATEST_OFFSET`] for one that is at work.
    pub(super) offset_sums: BTreeMap<TaskId, i64>,
}

/// Asked before each join for what the thread has, once there is somebody to ask.
pub(super) type AskedStanding = Arc<OnceLock<Box<dyn Fn() -> Standing + Send + Sync>>>;

/// Why the leader has assigned nothing, for the thread to end with.
pub(super) type SharedRefusal = Arc<Mutex<Option<Refusal>>>;

/// The standbys of a thread as of the last assignment.
pub(super) type SharedStandbys = Arc<Mutex<BTreeSet<TaskId>>>;

/// What an assignment tells beside partitions.
#[derive(Clone, Default)]
pub(super) struct Told {
    pub(super) cluster: SharedCluster,
    pub(super) refusal: SharedRefusal,
    pub(super) standbys: SharedStandbys,
    pub(super) next_rebalance: NextRebalance,
}

/// When a thread is to ask for a rebalance, in ms since the epoch.
#[derive(Clone)]
pub(super) struct NextRebalance(Arc<AtomicI64>);

impl Default for NextRebalance {
    fn default() -> Self {
        NextRebalance(Arc::new(AtomicI64::new(i64::MAX)))
    }
}

impl NextRebalance {
    fn set(&self, at_ms: i64) {
        self.0.store(at_ms, Ordering::Relaxed);
    }

    /// Whether the time has come, once.
    pub(super) fn take_due(&self, now_ms: i64) -> bool {
        let is_due = now_ms >= self.0.load(Ordering::Relaxed);
        if is_due {
            self.set(i64::MAX);
        }
        is_due
    }
}

/// The instance that a thread is of.
#[derive(Clone, Debug)]
pub(super) struct Instance {
    pub(super) process: ProcessId,
    /// Its `application.server`.
    pub(super) host: Option<HostInfo>,
    pub(super) config: AssignmentConfig,
    /// The group, which is the application.
    pub(super) application: String,
    /// Whether all instances are to close.
    pub(super) ends_application: Arc<AtomicBool>,
}

/// The assignor of one thread.
pub(super) struct StreamsAssignor {
    setup: Arc<Setup>,
    /// Makes the internal topics that topics which came since need, and asks where changelogs end.
    admin: Admin,
    instance: Instance,
    standing: AskedStanding,
    told: Told,
    /// The version in which it speaks, which is an older one as long as somebody in the group knows no newer.
    version: i32,
    joins: i8,
}

impl StreamsAssignor {
    pub(super) fn new(
        setup: Arc<Setup>,
        admin: Admin,
        instance: Instance,
        standing: AskedStanding,
        told: Told,
    ) -> Self {
        StreamsAssignor { setup, admin, instance, standing, told, version: LATEST, joins: 0 }
    }

    /// The source topics that exist, with their partitions.
    fn sources(&self, metadata: &AssignorMetadata) -> BTreeMap<String, i32> {
        let topics = self.setup.subtopologies.values().flat_map(|info| &info.source_topics);
        let known = topics.filter_map(|topic| Some((topic, metadata.partitions_for_topic(topic)?.len())));
        known.map(|(topic, count)| (topic.clone(), i32::try_from(count).unwrap_or(i32::MAX))).collect()
    }

    /// The partitions of every task, as the topics are now.
    fn tasks(&self, metadata: &AssignorMetadata) -> BTreeMap<TaskId, BTreeSet<TopicPartition>> {
        let mut tasks: BTreeMap<TaskId, BTreeSet<TopicPartition>> = BTreeMap::new();
        for (number, info) in &self.setup.subtopologies {
            for topic in &info.source_topics {
                let name: Arc<str> = topic.as_str().into();
                let count = metadata.partitions_for_topic(topic).map_or(0, <[_]>::len);
                for partition in 0..i32::try_from(count).unwrap_or(i32::MAX) {
                    let task = TaskId { subtopology: *number, partition };
                    tasks.entry(task).or_default().insert(TopicPartition::new(name.clone(), partition));
                }
            }
        }
        tasks
    }

    /// Takes in topics of patterns that have come or gone. Why nothing can be assigned, if they do not fit together.
    async fn renew(
        &mut self,
        metadata: &AssignorMetadata,
        group: &GroupSubscription,
    ) -> Result<Option<Refusal>, ClientError> {
        if !self.setup.has_patterns() {
            return Ok(None);
        }
        let subscribed: BTreeSet<&String> = group.iter().flat_map(|(_, member)| &member.topics).collect();
        let known =
            subscribed.into_iter().filter_map(|topic| Some((topic, metadata.partitions_for_topic(topic)?.len())));
        let known = known.map(|(topic, count)| (topic.clone(), i32::try_from(count).unwrap_or(i32::MAX))).collect();
        match self.setup.renewed(&known, &self.admin).await {
            Ok(Some(setup)) => self.setup = Arc::new(setup),
            Ok(None) => {}
            Err(error) => {
                return match *error {
                    // The group tries again.
                    Error::Client { source, .. } if source.is_retriable() => Err(source),
                    Error::MissingSourceTopic { topics } => Ok(Some(Refusal::MissingSourceTopics(topics))),
                    error => Ok(Some(Refusal::Assignment(error.to_string()))),
                };
            }
        }
        Ok(None)
    }

    /// Where the changelogs of these tasks end, all of a task's together.
    async fn ends(&self, tasks: &BTreeSet<TaskId>) -> Result<BTreeMap<TaskId, i64>, ClientError> {
        let (mut written, mut read) = (BTreeMap::new(), BTreeMap::new());
        for task in tasks {
            let Some(info) = self.setup.subtopologies.get(&task.subtopology) else { continue };
            for topic in info.changelog_topics.keys() {
                let partition = TopicPartition::new(topic.as_str(), task.partition);
                // A source topic is a changelog only up to what was read of it.
                let side = if info.source_topics.contains(topic) { &mut read } else { &mut written };
                side.insert(partition, *task);
            }
        }
        let mut ends: BTreeMap<TaskId, i64> = tasks.iter().map(|task| (*task, 0)).collect();
        let mut add = |task: &TaskId, offset: i64| {
            if let Some(end) = ends.get_mut(task) {
                *end = end.saturating_add(offset);
            }
        };
        if !written.is_empty() {
            let latest = written.keys().map(|partition| (partition.clone(), OffsetSpec::Latest));
            for (partition, end) in self.admin.list_offsets(latest, IsolationLevel::ReadUncommitted).await {
                if let Some(task) = written.get(&partition) {
                    add(task, end?.offset);
                }
            }
        }
        if !read.is_empty() {
            let partitions: Vec<_> = read.keys().cloned().collect();
            let application = &self.instance.application;
            let committed = self.admin.list_consumer_group_offsets(application, Some(&partitions)).await?;
            for (partition, task) in &read {
                let offset = committed.get(partition).and_then(Option::as_ref);
                add(task, offset.map_or(0, |offset| offset.offset));
            }
        }
        Ok(ends)
    }

    async fn divide(&self, metadata: &AssignorMetadata, members: &[Member]) -> GroupAssignment {
        let partitions = self.tasks(metadata);
        let stateful = self.setup.stateful(&partitions);
        let ends = match self.ends(&stateful).await {
            Ok(ends) => Some(ends),
            Err(error) => {
                tracing::warn!("where changelogs end is not known, so tasks stay where they were for now: {error}");
                None
            }
        };
        let tasks = Tasks { partitions, stateful, ends };
        let Instance { process, config, .. } = &self.instance;
        let assigned = group::assign(members, &tasks, *config, *process, now_ms());
        let counts = Cluster::counts(tasks.partitions.values().flatten());
        let members = assigned.into_iter().map(|(member, mut assignment)| {
            // Without hosts nobody asks.
            if !assignment.info.hosts.is_empty() {
                assignment.info.more = counts.clone();
            }
            (member, Assignment::with_user_data(assignment.partitions, assignment.info.encode()))
        });
        GroupAssignment { members: members.collect() }
    }

    /// Takes in what the leader has said: when to ask for a rebalance, if it has assigned something.
    fn take(&mut self, info: &AssignmentInfo) -> Result<i64, Refusal> {
        if let Some(refusal) = Refusal::told(info.error, &info.more) {
            return Err(refusal);
        }
        if info.version > self.version || info.commonly_supported > LATEST {
            return Err(Refusal::Assignment(format!(
                "the leader of the group speaks version {} and knows {} of all, which is more than the {} that was said",
                info.version, info.commonly_supported, self.version
            )));
        }
        let spoken = self.version;
        if info.version >= EARLIEST_PROBEABLE && (info.commonly_supported > spoken || info.version < spoken) {
            tracing::info!("the members of the group speak version {} from now on", info.commonly_supported);
            self.version = info.commonly_supported;
            return Ok(0);
        }
        // A static member may have been given what it had, by a leader that knew another address.
        let is_known = |host: &HostInfo| info.hosts.is_empty() || info.hosts.contains_key(host);
        if self.instance.host.as_ref().is_some_and(|host| !is_known(host)) {
            return Ok(0);
        }
        Ok(info.next_rebalance_ms)
    }
}

/// What the members have said.
fn members(group: &GroupSubscription) -> Result<Vec<Member>, Refusal> {
    let member = |(id, subscription): (&str, &vltava_client::consumer::assignor::Subscription)| {
        let data = subscription.user_data.as_deref().unwrap_or_default();
        let info = SubscriptionInfo::decode(data).map_err(|why| {
            Refusal::Assignment(format!("what the member {id} of the group says of itself cannot be read: {why}"))
        })?;
        match info.error {
            error if error == Refusal::Shutdown.code() => Err(Refusal::Shutdown),
            _ => Ok(Member { id: id.to_owned(), owned: subscription.owned_partitions.clone(), info }),
        }
    };
    group.iter().map(member).collect()
}

/// Tells all members why nothing is assigned.
fn refused(refusal: &Refusal, group: &GroupSubscription) -> GroupAssignment {
    let mut info = AssignmentInfo::new(LATEST, LATEST);
    info.error = refusal.code();
    info.more = refusal.more();
    let told = Assignment::with_user_data(Vec::new(), info.encode());
    GroupAssignment { members: group.iter().map(|(id, _)| (id.to_owned(), told.clone())).collect() }
}

impl PartitionAssignor for StreamsAssignor {
    fn name(&self) -> &str {
        "stream"
    }

    fn supported_protocols(&self) -> &[RebalanceProtocol] {
        &[RebalanceProtocol::Cooperative]
    }

    fn subscription_user_data(&mut self, _topics: &BTreeSet<String>) -> Option<Bytes> {
        self.joins = self.joins.wrapping_add(1);
        let info = SubscriptionInfo {
            version: self.version,
            latest_supported: LATEST,
            process: self.instance.process.0,
            endpoint: self.instance.host.as_ref().map(HostInfo::to_string),
            offset_sums: self.standing.get().map_or_else(Standing::default, |ask| ask()).offset_sums,
            unique: self.joins,
            error: match self.instance.ends_application.load(Ordering::Relaxed) {
                true => Refusal::Shutdown.code(),
                false => 0,
            },
            tags: Vec::new(),
        };
        Some(info.encode())
    }

    fn assign<'a>(
        &'a mut self,
        metadata: &'a AssignorMetadata,
        group: &'a GroupSubscription,
    ) -> BoxFuture<'a, Result<GroupAssignment, ClientError>> {
        Box::pin(async move {
            let members = match members(group) {
                Ok(members) => members,
                Err(refusal) => return Ok(refused(&refusal, group)),
            };
            let refusal = self.renew(metadata, group).await?;
            match refusal.or_else(|| self.setup.refusal(&self.sources(metadata))) {
                Some(refusal) => Ok(refused(&refusal, group)),
                None => Ok(self.divide(metadata, &members).await),
            }
        })
    }

    fn on_assignment(&mut self, assignment: &Assignment, _metadata: &ConsumerGroupMetadata) -> Result<(), ClientError> {
        // A coordinator gives nothing at all to a member that the leader did not know.
        let empty = || AssignmentInfo::new(self.version, self.version);
        let info = match assignment.user_data.as_deref().map(AssignmentInfo::decode) {
            None => Ok(empty()),
            Some(read) => {
                read.map_err(|why| Refusal::Assignment(format!("what the group's leader says cannot be read: {why}")))
            }
        };
        let taken = info.and_then(|info| Ok((self.take(&info)?, info)));
        let (next, info, refusal) = match taken {
            Ok((next, info)) => (next, info, None),
            Err(refusal) => (i64::MAX, AssignmentInfo::new(self.version, self.version), Some(refusal)),
        };
        self.told.next_rebalance.set(next);
        // One that the thread has not seen yet stands: it may have joined again, and have been answered, in the same poll.
        if refusal.is_some() {
            *self.told.refusal.lock() = refusal;
        }
        *self.told.standbys.lock() = info.standby.keys().copied().collect();
        *self.told.cluster.lock() = Cluster::told(info.hosts, info.standby_hosts, &info.more);
        Ok(())
    }
}

/// A member of a simulated group, as it says when it joins.
#[cfg(test)]
pub(super) struct SimulatedMember {
    pub(super) id: String,
    pub(super) process: uuid::Uuid,
    pub(super) standing: Standing,
    pub(super) owned: BTreeSet<TaskId>,
}

/// What the leader of a simulated group gives a member.
#[cfg(test)]
#[derive(Clone, Debug, Default)]
pub(super) struct Dealt {
    pub(super) active: BTreeSet<TaskId>,
    pub(super) standbys: BTreeSet<TaskId>,
    /// Whether it is to ask for the next rebalance at once.
    pub(super) asks_again: bool,
}

/// What the leader of a simulated group gives its members.
#[cfg(test)]
pub(super) fn dealt(
    members: impl Iterator<Item = SimulatedMember>,
    ends: BTreeMap<TaskId, i64>,
    config: AssignmentConfig,
) -> BTreeMap<String, Dealt> {
    let partition = |task: &TaskId| TopicPartition::new(format!("t{}", task.subtopology), task.partition);
    let member = |SimulatedMember { id, process, standing, owned }: SimulatedMember| {
        let info = SubscriptionInfo {
            version: LATEST,
            latest_supported: LATEST,
            process,
            endpoint: None,
            offset_sums: standing.offset_sums,
            unique: 0,
            error: 0,
            tags: Vec::new(),
        };
        Member { id, owned: owned.iter().map(partition).collect(), info }
    };
    let members: Vec<Member> = members.map(member).collect();
    let tasks = Tasks {
        partitions: ends.keys().map(|task| (*task, [partition(task)].into())).collect(),
        stateful: ends.keys().copied().collect(),
        ends: Some(ends),
    };
    let assigned = group::assign(&members, &tasks, config, ProcessId(uuid::Uuid::nil()), 0);
    let told = assigned.into_iter().map(|(member, group::MemberAssignment { info, .. })| {
        let (active, standbys) = (info.active.into_iter().collect(), info.standby.into_keys().collect());
        (member, Dealt { active, standbys, asks_again: info.next_rebalance_ms == 0 })
    });
    told.collect()
}
