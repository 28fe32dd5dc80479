//! Standbys: made, followed, closed, and recycled into tasks and back.

use super::{Event, World, timed_out};
use crate::task::TaskId;

impl World {
    /// Whether another thread has the stores, or this one has in another form.
    pub(super) fn is_busy(&mut self, at: (usize, usize), task: TaskId) -> bool {
        let is_recycled = self.thread(at).recycled.contains_key(&task);
        self.instances[at.0].open.contains_key(&task) && !is_recycled
    }

    /// It cannot be made: its directory is let go.
    pub(super) fn not_made(&mut self, at: (usize, usize), task: TaskId) -> Event {
        if self.thread(at).recycled.remove(&task).is_some() {
            self.instances[at.0].open.remove(&task);
        }
        Event::NotMade(task, timed_out())
    }

    pub(super) fn checkpoint_standbys(&mut self, at: (usize, usize), standbys: Vec<TaskId>) {
        for task in standbys {
            let state = self.thread(at).standbys[&task];
            self.instances[at.0].kept.insert(task, state);
        }
    }

    pub(super) fn close_standby(&mut self, at: (usize, usize), task: TaskId, keeps: bool) {
        let state = self.end_standby(at, task).expect("a standby that is closed was made");
        if keeps {
            self.instances[at.0].kept.insert(task, state);
        }
        self.instances[at.0].open.remove(&task);
    }

    fn end_standby(&mut self, at: (usize, usize), task: TaskId) -> Option<i64> {
        assert_eq!(self.instances[at.0].open.get(&task), Some(&at.1));
        self.thread(at).standbys.remove(&task)
    }

    pub(super) fn recycle(&mut self, at: (usize, usize), task: TaskId) {
        let state = match self.end_standby(at, task) {
            Some(state) => state,
            None => {
                let local = self.thread(at).tasks.remove(&task).expect("a task that is recycled was made");
                assert!(
                    !local.started || local.processed == local.committed,
                    "{task} is recycled with progress that is not committed"
                );
                self.instances[at.0].kept.get(&task).copied().unwrap_or(0)
            }
        };
        self.instances[at.0].kept.insert(task, state);
        self.thread(at).recycled.insert(task, state);
    }

    /// Standbys follow their changelogs where nothing is to be restored.
    pub(super) fn follow(&mut self, at: (usize, usize)) {
        if self.thread(at).tasks.values().any(|local| local.restoring > 0) {
            return;
        }
        let standbys: Vec<TaskId> = self.thread(at).standbys.keys().copied().collect();
        for task in standbys {
            if self.fault(40) {
                self.on(at, Event::NotFollowing(task, timed_out()));
            } else if self.fault(60) {
                self.on(at, Event::StandbysAnew([task].into()));
            } else {
                let (end, count) = (self.logs[&task].changelog, self.random.below(6) as i64);
                if let Some(state) = self.thread(at).standbys.get_mut(&task) {
                    *state = end.min(*state + count).max(*state);
                    self.on(at, Event::Following(task));
                }
            }
        }
    }

    /// Whether every standby is made, and has what its changelog has.
    pub(super) fn all_follow(&self) -> bool {
        let placed: usize = self.group.members.values().map(|member| member.assignment.standbys.len()).sum();
        let mut standbys = self.instances.iter().flat_map(|instance| &instance.threads).flat_map(|t| &t.standbys);
        let count = standbys.clone().count();
        standbys.all(|(task, state)| *state == self.logs[task].changelog)
            && count == placed
            // Beside those that are asked for there are those that warm up.
            && count >= self.tasks.len() * self.group.replicas
    }
}
