//! Tasks and standbys that are not made yet: one of them is begun in a turn, and others go on until it is there.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use vltava_client::TopicPartition;

use super::{Machine, Session, Step};
use crate::task::TaskId;

/// A task that is not made.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) partitions: Vec<TopicPartition>,
    pub(super) is_being_made: bool,
}

/// How far a standby is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standby {
    Waiting,
    BeingMade,
    Made,
}

/// What was being made.
pub(super) enum Making {
    Task,
    Standby,
}

/// The next one behind the last that was tried, so that none that cannot be made keeps others waiting.
fn next_of(pending: &[TaskId], last_tried: Option<TaskId>) -> Option<TaskId> {
    pending.iter().find(|task| Some(**task) > last_tried).or(pending.first()).copied()
}

impl Machine {
    /// Whether assigned tasks wait for being made, and may be tried.
    pub(in crate::runtime::task_manager) fn has_pending(&self, now: Instant) -> bool {
        self.pending_tasks(now).next().is_some()
    }

    /// None while the thread takes part in a rebalance: the coordinator answers a join before it tells offsets. Who is no
    /// member any more needs none.
    fn pending_tasks(&self, now: Instant) -> impl Iterator<Item = TaskId> {
        let is_time = self.session == Session::Member;
        let waiting = self.pending.iter().filter(move |(_, pending)| is_time && !pending.is_being_made);
        waiting.map(|(task, _)| *task).filter(move |task| self.troubles.may_try(*task, now))
    }

    /// The tasks that are the thread's and are not made.
    pub(in crate::runtime::task_manager) fn not_made(&self) -> impl Iterator<Item = TaskId> {
        self.pending.keys().copied()
    }

    /// Whether standbys wait for being made, and may be tried.
    pub(in crate::runtime::task_manager) fn has_pending_standbys(&self, now: Instant) -> bool {
        self.pending_standbys(now).next().is_some()
    }

    fn pending_standbys(&self, now: Instant) -> impl Iterator<Item = TaskId> {
        let waiting = self.standbys.iter().filter(|(_, standby)| **standby == Standby::Waiting);
        waiting.map(|(task, _)| *task).filter(move |task| self.standby_troubles.may_try(*task, now))
    }

    /// Begins with a task, if one waits; the stores of its standby go to it, and nothing comes between them.
    pub(super) fn make_task(&mut self, now: Instant) -> bool {
        let waiting: Vec<TaskId> = self.pending_tasks(now).collect();
        let next = next_of(&waiting, self.last_tried);
        let Some((task, pending)) = next.and_then(|task| Some((task, self.pending.get_mut(&task)?))) else {
            return false;
        };
        pending.is_being_made = true;
        let partitions = pending.partitions.clone();
        self.last_tried = Some(task);
        if self.standbys.remove(&task) == Some(Standby::Made) {
            self.steps.push_back(Step::Recycle(task));
        }
        self.steps.push_back(Step::Make(task, partitions));
        true
    }

    pub(super) fn make_standby(&mut self, now: Instant) {
        let waiting: Vec<TaskId> = self.pending_standbys(now).collect();
        if let Some(task) = next_of(&waiting, self.last_standby_tried) {
            self.last_standby_tried = Some(task);
            self.standbys.insert(task, Standby::BeingMade);
            self.steps.push_back(Step::MakeStandby(task));
        }
    }

    /// It waits again, if it is still wanted.
    pub(super) fn is_not_being_made(&mut self, task: TaskId) -> Option<Making> {
        if let Some(pending) = self.pending.get_mut(&task) {
            pending.is_being_made = false;
            return Some(Making::Task);
        }
        let standby = self.standbys.get_mut(&task)?;
        *standby = Standby::Waiting;
        Some(Making::Standby)
    }

    /// The task is not to be made any more.
    pub(super) fn unmake(&mut self, task: TaskId) {
        if self.pending.remove(&task).is_some_and(|pending| pending.is_being_made) {
            self.steps.push_back(Step::Unmake(task));
        }
    }

    pub(super) fn unmake_all(&mut self) {
        let pending: Vec<TaskId> = self.not_made().collect();
        pending.into_iter().for_each(|task| self.unmake(task));
    }

    /// A task takes the place of the standby: one that is made gives it its stores when it is the turn of the task.
    pub(super) fn end_standby_unless_made(&mut self, task: TaskId) {
        if self.standbys.get(&task) != Some(&Standby::Made) {
            self.end_standby(task, Step::CloseStandby);
        }
    }

    fn end_standby(&mut self, task: TaskId, step: fn(TaskId) -> Step) {
        match self.standbys.remove(&task) {
            Some(Standby::Made) => self.steps.push_back(step(task)),
            Some(Standby::BeingMade) => self.steps.push_back(Step::Unmake(task)),
            Some(Standby::Waiting) | None => {}
        }
    }

    /// Closes the standbys that go to others.
    pub(super) fn end_standbys_but(
        &mut self,
        assigned: &BTreeMap<TaskId, Vec<TopicPartition>>,
        standbys: &BTreeSet<TaskId>,
    ) {
        let gone = |task: &TaskId| !assigned.contains_key(task) && !standbys.contains(task);
        let gone: Vec<TaskId> = self.standbys.keys().copied().filter(gone).collect();
        gone.into_iter().for_each(|task| self.end_standby(task, Step::CloseStandby));
        self.standby_troubles.retain(|task| standbys.contains(&task));
    }

    pub(super) fn end_standbys(&mut self, step: fn(TaskId) -> Step) {
        let all: Vec<TaskId> = self.standbys.keys().copied().collect();
        all.into_iter().for_each(|task| self.end_standby(task, step));
    }

    pub(super) fn checkpoint_standbys(&mut self) {
        let made = self.standbys.iter().filter(|(_, standby)| **standby == Standby::Made);
        let made: Vec<TaskId> = made.map(|(task, _)| *task).collect();
        if !made.is_empty() {
            self.steps.push_back(Step::CheckpointStandbys(made));
        }
    }
}
