//! What a rebalance does to the tasks of a thread.

use std::collections::BTreeMap;

use vltava_client::TopicPartition;

use super::{TaskManager, machine::Event};
use crate::{error::Result, task::TaskId};

impl TaskManager {
    /// All partitions are about to be given up: commits, and keeps the tasks until it is known which of them stay.
    pub(in crate::runtime) fn revoked(&mut self) {
        self.shared.set_thread_running(self.thread, false);
        let done = self.on(Event::Revoked { in_session: self.consumer.is_in_session() });
        self.fail(done);
        self.tell_preferences();
    }

    /// The partitions are others' already: nothing of the tasks can be committed.
    pub(in crate::runtime) fn lost(&mut self) {
        self.shared.set_thread_running(self.thread, false);
        if !self.tasks.is_empty() {
            let tasks = names(self.tasks.keys());
            tracing::warn!(thread = self.thread + 1, %tasks, "tasks lost, for the thread was out of its group");
        }
        let done = self.on(Event::Lost);
        self.fail(done);
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
        tracing::info!(thread = self.thread + 1, tasks = %names(tasks.keys()), "tasks assigned");
        // It has joined: that is what joining again would be for.
        self.rejoin = false;
        let done = self.on(Event::Assigned(tasks));
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
