//! What a rebalance does to the tasks of a thread.

use std::collections::BTreeMap;

use vltava_client::{TopicPartition, consumer::ConsumerGroupMetadata};

use super::{TaskManager, machine::Event};
use crate::{error::Result, task::TaskId};

impl TaskManager {
    /// Those of the partitions of which nothing is committed, with the first offset that was read. One that was not read
    /// yet begins at the consumer's position.
    pub(in crate::runtime) fn uncommitted(&self, partitions: &[TopicPartition]) -> Vec<(TopicPartition, Option<i64>)> {
        let mut uncommitted = Vec::new();
        for partition in partitions {
            let owner = self.tasks.values().find(|active| active.inputs.contains_key(partition));
            if owner.is_none_or(|active| !active.committed.contains_key(partition)) {
                let first = owner.and_then(|active| active.first.get(partition).copied());
                uncommitted.push((partition.clone(), first));
            }
        }
        uncommitted
    }

    /// Where partitions of which nothing was committed were to be read on at the last revocation.
    pub(in crate::runtime) fn begun(&self) -> &BTreeMap<TopicPartition, i64> {
        &self.begun
    }

    /// All partitions are about to be given up: commits, and keeps the tasks until it is known which of them stay. Those
    /// of which nothing is committed have `begun` there, and go on from there if they come back.
    pub(in crate::runtime) fn revoked(&mut self, begun: BTreeMap<TopicPartition, i64>) {
        self.begun = begun;
        self.shared.set_thread_running(self.thread, false);
        let done = self.on(Event::Revoked { in_session: self.consumer.is_in_session() });
        self.fail(done);
        self.tell_standing();
    }

    /// The partitions are others' already: nothing of the tasks can be committed.
    pub(in crate::runtime) fn lost(&mut self) {
        self.begun.clear();
        self.shared.set_thread_running(self.thread, false);
        if !self.tasks.is_empty() {
            let tasks = names(self.tasks.keys());
            tracing::warn!(thread = self.thread + 1, %tasks, "tasks lost, for the thread was out of its group");
        }
        let done = self.on(Event::Lost);
        self.fail(done);
        self.tell_standing();
    }

    /// The thread's partitions from now on, all of them.
    pub(in crate::runtime) fn assigned(&mut self, partitions: &[TopicPartition]) {
        let mut tasks: BTreeMap<TaskId, Vec<TopicPartition>> = BTreeMap::new();
        for partition in partitions {
            match self.setup.subtopology_of(partition.topic()) {
                Some(subtopology) => {
                    let id = TaskId { subtopology, partition: partition.partition() };
                    tasks.entry(id).or_default().push(partition.clone());
                }
                None => tracing::warn!(%partition, "assigned, but no sub-topology reads it"),
            }
        }
        let standbys = self.assigned_standbys.lock().clone();
        let (tasks_named, standbys_named) = (names(tasks.keys()), names(standbys.iter()));
        tracing::info!(thread = self.thread + 1, tasks = %tasks_named, standbys = %standbys_named, "tasks assigned");
        self.kept.retain(|task, _| tasks.contains_key(task) || standbys.contains(task));
        // It has joined: that is what joining again would be for.
        self.rejoin = false;
        let generation_of = |member: &Option<ConsumerGroupMetadata>| member.as_ref().map_or(-1, |m| m.generation_id());
        let member = self.consumer.group_metadata().ok();
        let follows = generation_of(&member) == generation_of(&self.member) + 1;
        self.member = member;
        let done = self.on(Event::Assigned { tasks, standbys, follows });
        self.fail(done);
    }

    fn fail(&mut self, result: Result<()>) {
        if let Err(error) = result {
            self.failure.get_or_insert(error);
        }
    }
}

fn names<'a>(tasks: impl Iterator<Item = &'a TaskId>) -> String {
    tasks.map(TaskId::to_string).collect::<Vec<_>>().join(" ")
}
