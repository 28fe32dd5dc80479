//! What a rebalance does to the tasks of a thread.
//!
//! Under every protocol it is the same: [`revoke`](TaskManager::revoke) gives up tasks while they are still the thread's, and
//! [`reconcile`](TaskManager::reconcile) says what it has from then on, all of it. Whatever is in neither of them goes on.

use std::collections::{BTreeMap, BTreeSet};

use vltava_client::TopicPartition;

use super::{
    TaskManager,
    machine::{Assignment, Event},
};
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

    /// Where partitions of which nothing was committed were to be read on when they were revoked.
    pub(in crate::runtime) fn begun(&self) -> &BTreeMap<TopicPartition, i64> {
        &self.begun
    }

    /// These partitions are about to be given up: commits, and keeps their tasks until it is known whether they become
    /// standbys. Those of which nothing is committed have `begun` there, and go on from there if they come back.
    pub(in crate::runtime) fn revoked(&mut self, partitions: &[TopicPartition], begun: BTreeMap<TopicPartition, i64>) {
        self.begun.retain(|partition, _| !partitions.contains(partition));
        self.begun.extend(begun);
        let tasks = self.tasks_of(partitions).into_keys().collect();
        self.revoke(tasks);
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
    }

    /// The consumer has other partitions than before, and the thread the standbys that it was told of.
    pub(in crate::runtime) fn assigned(&mut self) {
        let partitions: Vec<TopicPartition> = self.consumer.assignment().into_iter().collect();
        let (tasks, standbys) = (self.tasks_of(&partitions), self.assigned_standbys.lock().clone());
        self.reconcile(Assignment { tasks, standbys });
    }

    /// Gives up these active tasks while the thread is still a member that has them, and no others: they are committed, with
    /// those that stay, and wait with their stores open for [`reconcile`](Self::reconcile). Where that failed, they are closed.
    pub(in crate::runtime) fn revoke(&mut self, tasks: BTreeSet<TaskId>) {
        self.shared.set_thread_running(self.thread, false);
        let known = tasks.iter().filter(|task| self.tasks.contains_key(task));
        tracing::info!(thread = self.thread + 1, tasks = %names(known), "tasks revoked");
        self.know_member();
        let session = self.session();
        let done = self.on(Event::Revoked { tasks, session });
        self.fail(done);
    }

    /// The thread has these tasks from now on, and no others. Those that it has already go on as if nothing had happened;
    /// others are made, turned into standbys or into active tasks, or closed. Their partitions are the consumer's by now.
    pub(in crate::runtime) fn reconcile(&mut self, assignment: Assignment) {
        self.shared.set_thread_running(self.thread, false);
        let Assignment { tasks, standbys } = &assignment;
        let (active_named, standbys_named) = (names(tasks.keys()), names(standbys.iter()));
        tracing::info!(thread = self.thread + 1, tasks = %active_named, standbys = %standbys_named, "tasks assigned");
        self.forget_kept(|task| tasks.contains_key(task) || standbys.contains(task));
        // It has joined: that is what joining again would be for.
        self.rejoin = false;
        self.know_member();
        let done = self.on(Event::Assigned(assignment));
        self.fail(done);
    }

    /// What the thread is in its group, as of now. One that is out of it was what it was.
    pub(super) fn know_member(&mut self) {
        if let Ok(member) = self.consumer.group_metadata()
            && member.generation_id() >= 0
        {
            self.member = Some(member);
        }
    }

    fn tasks_of(&self, partitions: &[TopicPartition]) -> BTreeMap<TaskId, Vec<TopicPartition>> {
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
        tasks
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
