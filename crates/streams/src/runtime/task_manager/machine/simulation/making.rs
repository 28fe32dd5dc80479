//! Tasks and standbys that are being made beside those at work: begun, looked up, there, or not wanted any more.

use std::collections::BTreeSet;

use super::{
    Broken, Event, Step, World,
    model::{Local, Log},
    partition_of, timed_out,
};
use crate::task::TaskId;

/// A task, or a standby, that is being made.
pub(super) struct Making {
    is_standby: bool,
    pub(super) is_wanted: bool,
    /// As of which record its stores are where they were its standby's, or the task's.
    recycled: Option<i64>,
    found: Option<Found>,
}

/// What was looked up for it.
enum Found {
    Task(Local),
    Standby(i64),
}

impl World {
    /// Steps that are not answered, or later. `None` for others.
    pub(super) fn perform_of_making(&mut self, at: (usize, usize), step: &Step) -> Option<Option<Event>> {
        match step {
            Step::Pause(task, partitions) => {
                assert_eq!(*partitions, [partition_of(*task)]);
                if self.broken != Broken::Pause {
                    self.thread(at).paused.insert(*task);
                }
                Some(None)
            }
            Step::Make(task, partitions) => {
                assert_eq!(*partitions, [partition_of(*task)]);
                assert!(self.thread(at).machine.is_assigned(), "{task} is made that is not assigned");
                assert!(!self.thread(at).joined, "{task} is made while its offsets are not told");
                Some(self.begin_making(at, *task, false))
            }
            Step::MakeStandby(task) => Some(self.begin_making(at, *task, true)),
            Step::Unmake(task) => {
                let stays_wanted = self.broken == Broken::Unmake;
                let making = self.thread(at).making.get_mut(task).expect("what is given up is being made");
                making.is_wanted &= stays_wanted;
                Some(None)
            }
            _ => None,
        }
    }

    fn begin_making(&mut self, at: (usize, usize), task: TaskId, is_standby: bool) -> Option<Event> {
        assert!(!self.thread(at).tasks.contains_key(&task), "{task} is made twice");
        assert!(!self.thread(at).standbys.contains_key(&task), "{task} is made while it is a standby");
        if self.is_busy(at, task) {
            return Some(Event::Busy(task));
        }
        if !is_standby && self.is_exactly_once() && self.producer(at).is_none() {
            return Some(self.not_made(at, task));
        }
        let recycled = self.thread(at).recycled.remove(&task);
        self.seen.promoted += u64::from(!is_standby && recycled.is_some());
        self.instances[at.0].open.insert(task, at.1);
        self.thread(at).making.insert(task, Making { is_standby, is_wanted: true, recycled, found: None });
        None
    }

    /// What is made by now is there, and what is not wanted is closed.
    pub(super) fn go_on_making(&mut self, at: (usize, usize)) {
        let begun: Vec<TaskId> = self.thread(at).making.keys().copied().collect();
        for task in begun {
            // It takes its time; and the process may have been killed.
            let takes_time = self.random.one_in(3);
            let is_joining = self.thread(at).joined;
            let Some(making) = self.thread(at).making.remove(&task) else { continue };
            match making {
                _ if takes_time => drop(self.thread(at).making.insert(task, making)),
                Making { is_wanted: false, .. } => drop(self.instances[at.0].open.remove(&task)),
                Making { found: Some(Found::Task(local)), .. } => {
                    let complete = local.restoring == 0;
                    self.thread(at).tasks.insert(task, local);
                    self.on(at, Event::Made { task, complete });
                }
                Making { found: Some(Found::Standby(state)), .. } => {
                    self.thread(at).standbys.insert(task, state);
                    self.on(at, Event::StandbyMade(task));
                }
                // Offsets are not told before the assignment.
                Making { is_standby: false, .. } if is_joining => drop(self.thread(at).making.insert(task, making)),
                Making { is_standby, recycled, .. } => {
                    self.thread(at).making.insert(task, making);
                    let found = self.look_up(at, task, is_standby, recycled);
                    // It may have been killed.
                    let Some(making) = self.thread(at).making.get_mut(&task) else { continue };
                    making.found = found;
                    if making.found.is_none() {
                        let is_wanted = making.is_wanted;
                        self.thread(at).making.remove(&task);
                        self.instances[at.0].open.remove(&task);
                        if is_wanted {
                            self.on(at, Event::NotMade(task, timed_out()));
                        }
                    }
                }
            }
        }
    }

    fn look_up(&mut self, at: (usize, usize), task: TaskId, is_standby: bool, recycled: Option<i64>) -> Option<Found> {
        let kept = self.instances[at.0].kept.get(&task).copied().unwrap_or(0);
        if is_standby {
            return (!self.fault(12)).then(|| Found::Standby(recycled.unwrap_or(kept)));
        }
        match self.is_exactly_once() {
            true => self.look_up_exactly_once(at, task),
            false => self.look_up_at_least_once(at, task),
        }
        .map(Found::Task)
    }

    pub(super) fn abandoned(&mut self, at: (usize, usize), task: TaskId, rewind: bool) {
        self.thread(at).given_up += 1;
        if rewind {
            self.thread(at).paused.insert(task);
        }
    }

    fn look_up_at_least_once(&mut self, at: (usize, usize), task: TaskId) -> Option<Local> {
        if self.fault(12) {
            return None;
        }
        let Log { mut committed, changelog, .. } = self.logs[&task];
        if self.broken == Broken::OffsetsBefore {
            committed = self.thread(at).before.get(&task).copied().unwrap_or(committed);
        }
        let kept = self.instances[at.0].kept.get(&task).copied().unwrap_or(0);
        assert!(kept <= changelog, "the store of {task} has what its changelog has not");
        let restoring = if kept < changelog { 1 + self.random.below(3) } else { 0 };
        let (fetch, processed) = (committed, committed);
        let (flushed, delivered) = (committed, committed);
        let (awaited, state) = (BTreeSet::new(), committed);
        let number = self.next_number();
        Some(Local {
            number,
            started: false,
            fetch,
            processed,
            flushed,
            delivered,
            committed,
            restoring,
            awaited,
            state,
        })
    }

    /// Of partitions whose task does not work nothing is read.
    pub(super) fn check_what_is_read(&self, at: (usize, usize)) {
        let thread = &self.instances[at.0].threads[at.1];
        for task in thread.owned.keys().filter(|_| thread.machine.is_assigned()) {
            let is_at_work = thread.tasks.get(task).is_some_and(|local| local.started);
            assert!(is_at_work || thread.paused.contains(task), "records of {task} are read before it is made");
        }
    }
}
