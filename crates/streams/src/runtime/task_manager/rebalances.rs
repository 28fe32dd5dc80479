//! What a rebalance does to the tasks of a thread.

use std::collections::BTreeMap;

use vltava_client::TopicPartition;

use super::{Phase, TaskManager};
use crate::{error::Result, task::TaskId};

impl TaskManager {
    /// All partitions are about to be given up: commits, and keeps the tasks until it is known which of them stay.
    pub(in crate::runtime) fn revoked(&mut self) {
        self.assigned = false;
        self.shared.set_thread_running(self.thread, false);
        let done = self.commit(true).and_then(|_| self.suspend());
        self.fail(done);
        self.tell_preferences();
    }

    fn suspend(&mut self) -> Result<()> {
        for (id, active) in &mut self.tasks {
            // What was read and not processed comes again, from the committed offset.
            active.task.clear_buffered();
            active.full.clear();
            if active.phase == Phase::Restoring {
                self.restorer.remove(*id)?;
            }
            active.phase = Phase::Suspended;
        }
        Ok(())
    }

    /// The partitions are others' already: nothing of the tasks can be committed.
    pub(in crate::runtime) fn lost(&mut self) {
        self.assigned = false;
        self.shared.set_thread_running(self.thread, false);
        let done = std::mem::take(&mut self.tasks).into_iter().try_for_each(|(id, active)| {
            tracing::warn!(task = %id, "lost, for the thread was out of its group");
            self.restorer.remove(id)?;
            self.abandon(id, active)
        });
        self.fail(done);
    }

    /// The thread's partitions from now on, all of them.
    pub(in crate::runtime) fn assigned(&mut self, partitions: &[TopicPartition]) {
        let mut tasks: BTreeMap<TaskId, Vec<TopicPartition>> = BTreeMap::new();
        for partition in partitions {
            match self.subtopology_of(partition.topic()) {
                Some(subtopology) => {
                    let id = TaskId { subtopology, partition: partition.partition() };
                    tasks.entry(id).or_default().push(partition.clone());
                }
                None => tracing::warn!(%partition, "assigned, but no sub-topology reads it"),
            }
        }
        self.assigned = true;
        let done = self.close_all_but(&tasks).and_then(|()| {
            self.pending = tasks;
            self.make_pending()
        });
        self.fail(done);
    }

    fn subtopology_of(&self, topic: &str) -> Option<u32> {
        let mut infos = self.setup.subtopologies.iter();
        infos.find(|(_, info)| info.source_topics.contains(topic)).map(|(number, _)| *number)
    }

    fn close_all_but(&mut self, keep: &BTreeMap<TaskId, Vec<TopicPartition>>) -> Result<()> {
        let gone: Vec<_> = self.tasks.keys().filter(|id| !keep.contains_key(id)).copied().collect();
        gone.into_iter().try_for_each(|id| self.close_task(id))
    }

    fn fail(&mut self, result: Result<()>) {
        if let Err(error) = result {
            self.failure.get_or_insert(error);
        }
    }
}
