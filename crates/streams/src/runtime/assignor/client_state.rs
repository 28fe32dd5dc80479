//! One instance of the application, as the leader of its group sees it: what it had, and what it gets.

use std::collections::{BTreeMap, BTreeSet};

use vltava_client::TopicPartition;
use vltava_protocol::java::{grown, sort_by_bucket};

use super::process_id::ProcessId;
use crate::task::TaskId;

/// The offset sum of a task that runs: there is nothing to catch up with. Kafka's `Task.LATEST_OFFSET`.
pub(in crate::runtime) const LATEST_OFFSET: i64 = -2;
/// The offset sum of a task where it is not known how far its stores are, or where its changelogs end.
pub(super) const UNKNOWN_OFFSET_SUM: i64 = -3;

pub(super) type Clients = BTreeMap<ProcessId, ClientState>;

/// Tasks in the order in which a `HashSet` gives them to which they were added one by one, in their order.
pub(super) fn hash_order(tasks: impl Iterator<Item = TaskId>) -> Vec<TaskId> {
    let mut tasks: Vec<TaskId> = tasks.collect();
    let table = grown(tasks.len());
    sort_by_bucket(&mut tasks, table, java_hash);
    tasks
}

/// `TaskId.hashCode()` of a task without a named topology.
pub(super) fn java_hash(task: &TaskId) -> i32 {
    [task.subtopology.cast_signed(), task.partition, 0]
        .iter()
        .fold(1_i32, |hash, part| hash.wrapping_mul(31).wrapping_add(*part))
}

#[derive(Clone, Debug, Default)]
pub(super) struct ClientState {
    /// Its threads, each a member of the group, with the tasks of which a thread has stores.
    pub(super) consumers: BTreeMap<String, BTreeSet<TaskId>>,
    /// Who of them has which partitions and has not given them up.
    owned: BTreeMap<TopicPartition, String>,
    offset_sums: BTreeMap<TaskId, i64>,
    /// How far it is behind, of every task that has changelogs.
    lags: BTreeMap<TaskId, i64>,
    pub(super) previous_active: BTreeSet<TaskId>,
    pub(super) previous_standby: BTreeSet<TaskId>,
    active: BTreeSet<TaskId>,
    standby: BTreeSet<TaskId>,
}

impl ClientState {
    /// Takes in what one of its threads has said of itself.
    pub(super) fn add_consumer(
        &mut self,
        consumer: &str,
        owned: impl IntoIterator<Item = TopicPartition>,
        offset_sums: &BTreeMap<TaskId, i64>,
    ) {
        self.owned.extend(owned.into_iter().map(|partition| (partition, consumer.to_owned())));
        self.consumers.insert(consumer.to_owned(), offset_sums.keys().copied().collect());
        self.offset_sums.extend(offset_sums);
    }

    /// What follows of it: which tasks it ran, and how far it is with each that has changelogs, which end at `ends`.
    pub(super) fn prepare(&mut self, task_of: &BTreeMap<TopicPartition, TaskId>, ends: &BTreeMap<TaskId, i64>) {
        self.previous_active = self.owned.keys().filter_map(|partition| task_of.get(partition)).copied().collect();
        for (task, sum) in &self.offset_sums {
            if self.previous_active.contains(task) {
                continue;
            }
            let side = if *sum == LATEST_OFFSET { &mut self.previous_active } else { &mut self.previous_standby };
            side.insert(*task);
        }
        let lag = |(task, end): (&TaskId, &i64)| {
            let lag = match self.offset_sums.get(task).copied().unwrap_or(0) {
                unknown @ (LATEST_OFFSET | UNKNOWN_OFFSET_SUM) => unknown,
                // Its stores are of no use.
                sum if *end < sum => *end,
                sum => end - sum,
            };
            (*task, lag)
        };
        self.lags = ends.iter().map(lag).collect();
    }

    /// How many threads it has.
    pub(super) fn capacity(&self) -> usize {
        self.consumers.len()
    }

    pub(super) fn owner_of(&self, partition: &TopicPartition) -> Option<&str> {
        self.owned.get(partition).map(String::as_str)
    }

    /// How many records it is behind with a task; what it is not told of is far.
    pub(super) fn lag(&self, task: TaskId) -> i64 {
        self.lags.get(&task).copied().unwrap_or(i64::MAX)
    }

    /// The tasks of a thread, those that are least behind first.
    pub(super) fn previous_by_lag(&self, consumer: &str) -> Vec<TaskId> {
        let had = self.consumers.get(consumer).into_iter().flatten();
        let mut known: Vec<_> = had.filter_map(|task| Some((*self.lags.get(task)?, *task))).collect();
        known.sort_unstable();
        known.into_iter().map(|(_, task)| task).collect()
    }

    pub(super) fn tasks(&self, role: Role) -> &BTreeSet<TaskId> {
        match role {
            Role::Active => &self.active,
            Role::Standby => &self.standby,
        }
    }

    pub(super) fn has(&self, task: TaskId) -> bool {
        self.active.contains(&task) || self.standby.contains(&task)
    }

    /// All that it has got.
    pub(super) fn assigned(&self) -> impl Iterator<Item = &TaskId> {
        self.active.iter().chain(&self.standby)
    }

    pub(super) fn assigned_count(&self) -> usize {
        self.active.len() + self.standby.len()
    }

    pub(super) fn load(&self) -> f64 {
        self.per_thread(self.assigned_count() as f64)
    }

    pub(super) fn active_load(&self) -> f64 {
        self.per_thread(self.active.len() as f64)
    }

    fn per_thread(&self, tasks: f64) -> f64 {
        tasks / self.capacity() as f64
    }

    /// The load with one task more or less.
    pub(super) fn load_with(&self, more: f64) -> f64 {
        self.per_thread(self.assigned_count() as f64 + more)
    }

    pub(super) fn assign(&mut self, role: Role, task: TaskId) {
        match role {
            Role::Active => self.active.insert(task),
            Role::Standby => self.standby.insert(task),
        };
    }

    pub(super) fn unassign(&mut self, role: Role, task: TaskId) {
        match role {
            Role::Active => self.active.remove(&task),
            Role::Standby => self.standby.remove(&task),
        };
    }

    /// Its active tasks that have changelogs, or those that have none.
    pub(super) fn active_tasks(&self, stateful: bool) -> Vec<TaskId> {
        hash_order(self.active.iter().filter(|task| self.lags.contains_key(task) == stateful).copied())
    }
}

/// What an instance does for a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Active,
    Standby,
}
