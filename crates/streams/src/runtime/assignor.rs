//! Who runs which task: the assignor by which an application's threads divide the partitions of their group.
//!
//! A task goes where it was, else where its standby is, else where its stores are on disk, and every thread gets as many as any other, give or take
//! one. The name is not the JVM's `stream`: the two do not share a group, and the coordinator says so at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use parking_lot::Mutex;
use uuid::Uuid;
use vltava_client::{
    Admin, ClientError, TopicPartition,
    consumer::ConsumerGroupMetadata,
    consumer::assignor::{
        Assignment, AssignorMetadata, BoxFuture, GroupAssignment, GroupSubscription, PartitionAssignor,
    },
};

use super::{
    cluster::{Cluster, Refusal, SharedCluster, put_tasks, put_text, take_tasks, take_text},
    setup::Setup,
    standby_placement::place_standbys,
};
use crate::{error::Error, query::HostInfo, task::TaskId};

/// The form of the user data below.
const VERSION: u8 = 3;

/// What a thread says of itself when it joins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Preferences {
    /// The process it is of.
    pub(super) process: Uuid,
    /// The tasks it ran until now.
    pub(super) running: BTreeSet<TaskId>,
    /// Those of which it has the standbys.
    pub(super) standbys: BTreeSet<TaskId>,
    /// The tasks whose stores are on its disk.
    pub(super) on_disk: BTreeSet<TaskId>,
    /// Its `application.server`.
    pub(super) host: Option<HostInfo>,
}

impl Preferences {
    fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::new();
        bytes.put_u8(VERSION);
        bytes.put_u128(self.process.as_u128());
        for tasks in [&self.running, &self.standbys, &self.on_disk] {
            put_tasks(&mut bytes, tasks);
        }
        if let Some(host) = &self.host {
            put_text(&mut bytes, &host.to_string());
        }
        bytes.freeze()
    }

    /// What cannot be read has no preferences; the tasks are then dealt out as if it were new.
    fn decode(mut bytes: &[u8]) -> Self {
        let mut preferences = Self::default();
        if bytes.try_get_u8().ok() != Some(VERSION) {
            return preferences;
        }
        let Ok(process) = bytes.try_get_u128() else { return preferences };
        preferences.process = Uuid::from_u128(process);
        for tasks in [&mut preferences.running, &mut preferences.standbys, &mut preferences.on_disk] {
            let Some(told) = take_tasks(&mut bytes) else { break };
            *tasks = told;
        }
        preferences.host = take_text(&mut bytes).and_then(|host| host.parse().ok());
        preferences
    }
}

/// Divides tasks among members: pure, and the same for the same input.
pub(super) fn assign_tasks(
    tasks: &BTreeSet<TaskId>,
    members: &BTreeMap<String, Preferences>,
) -> BTreeMap<String, BTreeSet<TaskId>> {
    let mut assigned: BTreeMap<String, BTreeSet<TaskId>> =
        members.keys().map(|member| (member.clone(), BTreeSet::new())).collect();
    if members.is_empty() {
        return assigned;
    }
    let least = tasks.len() / members.len();
    // So many members have one task more than the others.
    let mut extra = tasks.len() % members.len();
    let mut left = tasks.clone();
    let wishes = [
        |p: &Preferences| p.running.clone(),
        |p: &Preferences| p.standbys.clone(),
        |p: &Preferences| p.on_disk.clone(),
    ];
    for wish in wishes {
        for (member, preferences) in members {
            let Some(own) = assigned.get_mut(member) else { continue };
            for task in wish(preferences) {
                let more = own.len() == least && extra > 0;
                if (own.len() < least || more) && left.remove(&task) {
                    own.insert(task);
                    extra -= usize::from(more);
                }
            }
        }
    }
    for task in left {
        let least_loaded = assigned.iter_mut().min_by_key(|(_, own)| {
            let same = own.iter().filter(|other| other.subtopology == task.subtopology).count();
            (own.len(), same)
        });
        if let Some((_, own)) = least_loaded {
            own.insert(task);
        }
    }
    assigned
}

/// Why the leader has assigned nothing, for the thread to end with.
pub(super) type SharedRefusal = Arc<Mutex<Option<Refusal>>>;

/// The standbys of a thread as of the last assignment.
pub(super) type SharedStandbys = Arc<Mutex<BTreeSet<TaskId>>>;

/// What an assignment tells beside partitions.
#[derive(Default)]
pub(super) struct Told {
    pub(super) cluster: SharedCluster,
    pub(super) refusal: SharedRefusal,
    pub(super) standbys: SharedStandbys,
}

/// The assignor of one thread.
pub(super) struct StreamsAssignor {
    setup: Arc<Setup>,
    /// Makes the internal topics that topics which came since need.
    admin: Admin,
    preferences: Arc<dyn Fn() -> Preferences + Send + Sync>,
    told: Told,
}

impl StreamsAssignor {
    pub(super) fn new(
        setup: Arc<Setup>,
        admin: Admin,
        preferences: Arc<dyn Fn() -> Preferences + Send + Sync>,
        told: Told,
    ) -> Self {
        StreamsAssignor { setup, admin, preferences, told }
    }

    /// The source topics that exist, with their partitions.
    fn sources(&self, metadata: &AssignorMetadata) -> BTreeMap<String, i32> {
        let topics = self.setup.subtopologies.values().flat_map(|info| &info.source_topics);
        let known = topics.filter_map(|topic| Some((topic, metadata.partitions_for_topic(topic)?.len())));
        known.map(|(topic, count)| (topic.clone(), i32::try_from(count).unwrap_or(i32::MAX))).collect()
    }

    /// The partitions of every task, as the topics are now.
    fn tasks(&self, metadata: &AssignorMetadata) -> BTreeMap<TaskId, Vec<TopicPartition>> {
        let mut tasks: BTreeMap<TaskId, Vec<TopicPartition>> = BTreeMap::new();
        for (number, info) in &self.setup.subtopologies {
            for topic in &info.source_topics {
                let name: Arc<str> = topic.as_str().into();
                let count = metadata.partitions_for_topic(topic).map_or(0, <[_]>::len);
                for partition in 0..i32::try_from(count).unwrap_or(i32::MAX) {
                    let task = TaskId { subtopology: *number, partition };
                    tasks.entry(task).or_default().push(TopicPartition::new(name.clone(), partition));
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
                    error => Ok(Some(Refusal::Topics(error.to_string()))),
                };
            }
        }
        Ok(None)
    }

    fn divide(&self, metadata: &AssignorMetadata, group: &GroupSubscription) -> GroupAssignment {
        let tasks = self.tasks(metadata);
        let preferences = |data: &Option<Bytes>| Preferences::decode(data.as_deref().unwrap_or_default());
        let members: BTreeMap<_, _> = group.iter().map(|(id, s)| (id.to_owned(), preferences(&s.user_data))).collect();
        let dealt = assign_tasks(&tasks.keys().copied().collect(), &members);
        let stateful = self.setup.stateful(&tasks);
        let standbys = place_standbys(self.setup.standby_replicas(), &stateful, &dealt, &members);
        let (wanted, placed) =
            (self.setup.standby_replicas() * stateful.len(), standbys.values().map(BTreeSet::len).sum());
        if wanted > placed {
            tracing::warn!(wanted, placed, "there are fewer processes than `num.standby.replicas` asks for");
        }
        let partitions = |own: &BTreeSet<TaskId>| -> Vec<TopicPartition> {
            own.iter().filter_map(|task| tasks.get(task)).flatten().cloned().collect()
        };
        let mut cluster = Cluster::default();
        for partition in tasks.values().flatten() {
            let count = cluster.partitions.entry(partition.topic().to_owned()).or_default();
            *count = (*count).max(partition.partition() + 1);
        }
        let host_of = |member: &String| members.get(member).and_then(|preferences| preferences.host.clone());
        for (dealt, hosts) in [(&dealt, &mut cluster.hosts), (&standbys, &mut cluster.standby_hosts)] {
            for (member, own) in dealt {
                if let Some(host) = host_of(member) {
                    hosts.entry(host).or_default().extend(partitions(own));
                }
            }
        }
        let assignment = |member: &String, own: &BTreeSet<TaskId>| {
            let standbys = standbys.get(member).filter(|standbys| !standbys.is_empty());
            // Nothing is told where nobody has said where he is, and there are no standbys.
            match cluster.hosts.is_empty() && standbys.is_none() {
                true => Assignment::new(partitions(own)),
                false => {
                    let told = cluster.encode(standbys.unwrap_or(&BTreeSet::new()));
                    Assignment::with_user_data(partitions(own), told)
                }
            }
        };
        let members = dealt.iter().map(|(member, own)| (member.clone(), assignment(member, own))).collect();
        GroupAssignment { members }
    }
}

/// Tells all members why nothing is assigned.
fn refused(refusal: &Refusal, group: &GroupSubscription) -> GroupAssignment {
    let told = Assignment::with_user_data(Vec::new(), refusal.encode());
    GroupAssignment { members: group.iter().map(|(id, _)| (id.to_owned(), told.clone())).collect() }
}

impl PartitionAssignor for StreamsAssignor {
    fn name(&self) -> &str {
        "vltava-streams"
    }

    fn subscription_user_data(&mut self, _topics: &BTreeSet<String>) -> Option<Bytes> {
        Some((self.preferences)().encode())
    }

    fn assign<'a>(
        &'a mut self,
        metadata: &'a AssignorMetadata,
        group: &'a GroupSubscription,
    ) -> BoxFuture<'a, Result<GroupAssignment, ClientError>> {
        Box::pin(async move {
            let refusal = self.renew(metadata, group).await?;
            match refusal.or_else(|| self.setup.refusal(&self.sources(metadata))) {
                Some(refusal) => Ok(refused(&refusal, group)),
                None => Ok(self.divide(metadata, group)),
            }
        })
    }

    fn on_assignment(&mut self, assignment: &Assignment, _metadata: &ConsumerGroupMetadata) -> Result<(), ClientError> {
        *self.told.refusal.lock() = assignment.user_data.as_deref().and_then(Refusal::decode);
        let told = assignment.user_data.as_deref().and_then(Cluster::decode);
        let (cluster, standbys) = told.unwrap_or_default();
        *self.told.cluster.lock() = cluster;
        *self.told.standbys.lock() = standbys;
        Ok(())
    }
}

/// What a thread's assignor and its task manager both know.
pub(super) type SharedPreferences = Arc<Mutex<Preferences>>;

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::{Preferences, Uuid, assign_tasks};
    use crate::{query::HostInfo, task::TaskId};

    fn task(subtopology: u32, partition: i32) -> TaskId {
        TaskId { subtopology, partition }
    }

    #[test]
    fn a_task_stays_where_it_was_while_the_load_is_even() {
        let tasks: BTreeSet<_> = (0..4).map(|p| task(0, p)).collect();
        let running = |tasks: &[TaskId]| Preferences { running: tasks.iter().copied().collect(), ..Default::default() };
        let before = [
            ("a".to_owned(), running(&[task(0, 0), task(0, 3)])),
            ("b".to_owned(), running(&[task(0, 1), task(0, 2)])),
        ];
        let dealt = assign_tasks(&tasks, &before.clone().into_iter().collect());
        assert!(before.iter().all(|(member, preferences)| dealt[member] == preferences.running));
        // A third member takes from those that have too many, and the rest stays.
        let joined = before.into_iter().chain([("c".to_owned(), Preferences::default())]).collect();
        let dealt = assign_tasks(&tasks, &joined);
        assert_eq!(dealt.values().map(BTreeSet::len).collect::<Vec<_>>(), [2, 1, 1]);
        assert!(dealt["b"].is_subset(&joined["b"].running));
    }

    fn tasks() -> impl Strategy<Value = BTreeSet<TaskId>> {
        prop::collection::btree_set((0u32..3, 0i32..6).prop_map(|(s, p)| task(s, p)), 0..18)
    }

    proptest! {
        #[test]
        fn every_task_has_one_owner_and_loads_differ_by_one(
            all in tasks(),
            wishes in prop::collection::vec((tasks(), tasks()), 1..5),
        ) {
            let members: BTreeMap<_, _> = wishes
                .into_iter()
                .enumerate()
                .map(|(i, (running, on_disk))| (format!("m{i}"), Preferences { running, on_disk, ..Default::default() }))
                .collect();
            let dealt = assign_tasks(&all, &members);
            let given: Vec<_> = dealt.values().flatten().copied().collect();
            prop_assert_eq!(given.len(), all.len());
            prop_assert_eq!(given.into_iter().collect::<BTreeSet<_>>(), all);
            let loads: Vec<_> = dealt.values().map(BTreeSet::len).collect();
            prop_assert!(loads.iter().max().unwrap() - loads.iter().min().unwrap() <= 1);
        }

        #[test]
        fn preferences_survive_the_wire(
            process in any::<u128>(),
            (running, standbys, on_disk) in (tasks(), tasks(), tasks()),
            noise in any::<Vec<u8>>(),
        ) {
            let (process, host) = (Uuid::from_u128(process), Some(HostInfo::new("localhost", 8080)));
            let preferences = Preferences { process, running, standbys, on_disk, host };
            prop_assert_eq!(Preferences::decode(&preferences.encode()), preferences);
            Preferences::decode(&noise);
        }
    }
}
