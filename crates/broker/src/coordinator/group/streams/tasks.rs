//! The tasks of a streams group: a subtopology and a partition, in one of three roles.

use std::collections::{BTreeMap, BTreeSet};

use vltava_protocol::messages::StreamsGroupHeartbeatRequest;
use vltava_protocol::messages::streams_group_heartbeat_request::TaskIds;

/// Partitions by subtopology; no subtopology is there without one.
pub(in super::super) type TaskSet = BTreeMap<String, BTreeSet<i32>>;
/// Active tasks that a member has, each with the epoch in which it was given (KIP-1251).
pub(in super::super) type ActiveTasks = BTreeMap<String, BTreeMap<i32, i32>>;

/// What a member shall have, or says that it has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tasks {
    pub(in super::super) active: TaskSet,
    pub(in super::super) standby: TaskSet,
    pub(in super::super) warmup: TaskSet,
}

impl Tasks {
    /// What a heartbeat says that its member has; none if it does not say it of every role.
    pub(super) fn of_request(request: &StreamsGroupHeartbeatRequest) -> Option<Self> {
        let (active, standby, warmup) =
            (request.active_tasks.as_ref()?, request.standby_tasks.as_ref()?, request.warmup_tasks.as_ref()?);
        Some(Self { active: task_set(active), standby: task_set(standby), warmup: task_set(warmup) })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.active.is_empty() && self.standby.is_empty() && self.warmup.is_empty()
    }

    /// Returns whether any of these is among what a member has to give up.
    pub(super) fn holds_any(&self, owned: &OwnedTasks) -> bool {
        let active = self.active.iter().any(|(subtopology, partitions)| {
            let owned = owned.active.get(subtopology);
            owned.is_some_and(|owned| partitions.iter().any(|partition| owned.contains_key(partition)))
        });
        active || overlap(&self.standby, &owned.standby) || overlap(&self.warmup, &owned.warmup)
    }
}

fn task_set(tasks: &[TaskIds]) -> TaskSet {
    let mut set = TaskSet::new();
    for task in tasks.iter().filter(|task| !task.partitions.is_empty()) {
        set.entry(task.subtopology_id.clone()).or_default().extend(task.partitions.iter().copied());
    }
    set
}

fn overlap(one: &TaskSet, other: &TaskSet) -> bool {
    one.iter()
        .any(|(subtopology, partitions)| other.get(subtopology).is_some_and(|other| !partitions.is_disjoint(other)))
}

/// What a member has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct OwnedTasks {
    pub(in super::super) active: ActiveTasks,
    pub(in super::super) standby: TaskSet,
    pub(in super::super) warmup: TaskSet,
}

impl OwnedTasks {
    pub(super) fn is_empty(&self) -> bool {
        self.active.is_empty() && self.standby.is_empty() && self.warmup.is_empty()
    }

    /// Returns the epoch since which an active task is held.
    pub(super) fn active_since(&self, subtopology: &str, partition: i32) -> Option<i32> {
        self.active.get(subtopology)?.get(&partition).copied()
    }
}
