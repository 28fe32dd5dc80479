//! What becomes of a thread's tasks: a machine that is told what has happened and says what is to be done.
//!
//! ```text
//!             Made            Restored            Revoked
//! (pending) ───────▶ Restoring ───────▶ Running ───────────▶ Suspended
//!     ▲                  │                 │  ▲                  │
//!     │    BeginAnew     │                 │  └──── Assigned ────┤
//!     └──────────────────┴─────────────────┘                     ▼
//!                                                     closed: assigned to another
//! ```
//!
//! [`on`](Machine::on) takes an [`Event`]; [`next_step`](Machine::next_step) gives the [`Step`]s that follow from it, one
//! after the other. Most of them are answered by an event before the next one is asked for. The machine knows no client,
//! no disk and no clock: the thread performs the steps, and a simulation does the same in virtual time.
//!
//! The order that matters: what tasks hold back is [flushed](Step::Flush), what they wrote is
//! [delivered](Step::Deliver), the offsets that led to it are [committed](Step::Commit), and only then do the stores
//! [keep](Step::Checkpoint) what they cover. A task whose step failed in between takes no part in those that follow.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use vltava_client::TopicPartition;

use crate::task::TaskId;

/// Where a task is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Its stores are being read from their changelogs.
    Restoring,
    Running,
    /// Its partitions were revoked; it waits to hear whether it stays.
    Suspended {
        /// Whether its stores were complete.
        restored: bool,
    },
}

/// What has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// These are the thread's tasks from now on, and no others.
    Assigned(BTreeMap<TaskId, Vec<TopicPartition>>),
    /// All partitions are about to be given up.
    Revoked,
    /// The partitions are others' already.
    Lost,
    /// Another thread has the task's directory.
    Busy(TaskId),
    /// The task is there; its stores are, too, if they are `complete`.
    Made { task: TaskId, complete: bool },
    /// The task's stores have all of their changelogs.
    Restored(TaskId),
    /// It is time for pending tasks to be made.
    MakePending,
    /// It is time to commit.
    Commit,
    /// What the tasks held back is with the producer.
    Flushed,
    /// What was with the producer is acknowledged, but for records of these tasks: they begin anew.
    Delivered(BTreeSet<TaskId>),
    /// The offsets are committed.
    Committed,
    /// The offsets are not committed.
    NotCommitted,
    /// Records of these tasks could not be sent: their progress since the last commit counts for nothing.
    BeginAnew(BTreeSet<TaskId>),
    /// The thread ends.
    Close,
    /// The thread ends by a failure.
    GiveUp,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Make the task over its directory. Answered by `Made` or `Busy`. Until it runs, its partitions are paused.
    Make(TaskId, Vec<TopicPartition>),
    /// The task's stores are complete: let it begin to work.
    Start(TaskId),
    /// The task was suspended, and goes on with the partitions that it had.
    Resume(TaskId),
    /// Forget what the task has read and not processed; it comes again.
    Suspend(TaskId),
    /// Write and forward what these tasks hold back in their caches. Answered by `Flushed`.
    Flush(Vec<TaskId>),
    /// Wait until all that was written is acknowledged. Answered by `Delivered`.
    Deliver,
    /// Commit what these tasks have consumed. Answered by `Committed` or `NotCommitted`.
    Commit(Vec<TaskId>),
    /// Have the stores of these tasks keep what they cover.
    Checkpoint(Vec<TaskId>),
    /// Close the task; its stores cover what was committed.
    Close(TaskId),
    /// Close the task and leave its stores as of the last commit. If it stays assigned, its partitions are read from there
    /// again.
    Abandon { task: TaskId, rewind: bool },
}

/// What follows a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    GoOn,
    Suspend,
    Close,
}

/// A commit on its way.
#[derive(Debug)]
struct Commit {
    tasks: BTreeSet<TaskId>,
    then: Then,
}

#[derive(Debug)]
struct Owned {
    phase: Phase,
    partitions: Vec<TopicPartition>,
}

/// The tasks of one thread.
#[derive(Debug, Default)]
pub(super) struct Machine {
    tasks: BTreeMap<TaskId, Owned>,
    /// Assigned, and not made yet.
    pending: BTreeMap<TaskId, Vec<TopicPartition>>,
    /// Whether there was an assignment since the last revocation.
    assigned: bool,
    commit: Option<Commit>,
    steps: VecDeque<Step>,
}

impl Machine {
    /// Whether assigned tasks are not made yet.
    pub(super) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Whether there was an assignment since the last revocation.
    pub(super) fn is_assigned(&self) -> bool {
        self.assigned
    }

    /// Whether all assigned tasks are at work.
    pub(super) fn all_running(&self) -> bool {
        self.assigned && self.pending.is_empty() && self.tasks.values().all(|task| task.phase == Phase::Running)
    }

    /// The tasks that are at work.
    pub(super) fn running(&self) -> impl Iterator<Item = TaskId> {
        self.tasks.iter().filter(|(_, task)| task.phase == Phase::Running).map(|(id, _)| *id)
    }

    /// What is to be done next.
    pub(super) fn next_step(&mut self) -> Option<Step> {
        self.steps.pop_front()
    }

    /// A step failed for good: those that would follow are not taken.
    pub(super) fn stop(&mut self) {
        self.steps.clear();
        self.commit = None;
    }

    /// Takes in what has happened.
    pub(super) fn on(&mut self, event: Event) {
        match event {
            Event::Assigned(tasks) => self.assign(tasks),
            Event::Revoked => {
                self.assigned = false;
                self.begin_commit(Then::Suspend);
            }
            Event::Lost => {
                self.assigned = false;
                self.pending.clear();
                self.abandon_all();
            }
            Event::Busy(_) => {}
            Event::Made { task, complete } => {
                let Some(partitions) = self.pending.remove(&task) else { return };
                self.tasks.insert(task, Owned { phase: Phase::Restoring, partitions });
                if complete {
                    self.start(task);
                }
            }
            Event::Restored(task) => self.start(task),
            Event::MakePending => self.make_pending(),
            Event::Commit => self.begin_commit(Then::GoOn),
            Event::Flushed => self.steps.push_back(Step::Deliver),
            Event::Delivered(anew) => self.delivered(anew),
            Event::Committed => self.end_commit(true),
            Event::NotCommitted => self.end_commit(false),
            Event::BeginAnew(tasks) => self.begin_anew(tasks),
            Event::Close => self.begin_commit(Then::Close),
            Event::GiveUp => {
                self.stop();
                self.pending.clear();
                self.abandon_all();
            }
        }
    }

    fn assign(&mut self, assigned: BTreeMap<TaskId, Vec<TopicPartition>>) {
        self.assigned = true;
        let gone: Vec<TaskId> = self.tasks.keys().filter(|id| !assigned.contains_key(id)).copied().collect();
        for task in gone {
            self.close(task);
        }
        self.pending.clear();
        for (task, partitions) in assigned {
            match self.tasks.get_mut(&task) {
                Some(owned) if owned.phase == (Phase::Suspended { restored: true }) => {
                    owned.phase = Phase::Running;
                    self.steps.push_back(Step::Resume(task));
                    continue;
                }
                // It was still restoring when it was suspended.
                Some(_) => self.close(task),
                None => {}
            }
            self.pending.insert(task, partitions);
        }
        self.make_pending();
    }

    fn make_pending(&mut self) {
        let make = |(task, partitions): (&TaskId, &Vec<TopicPartition>)| Step::Make(*task, partitions.clone());
        self.steps.extend(self.pending.iter().map(make));
    }

    fn start(&mut self, task: TaskId) {
        let Some(owned) = self.tasks.get_mut(&task).filter(|owned| owned.phase == Phase::Restoring) else { return };
        owned.phase = Phase::Running;
        self.steps.push_back(Step::Start(task));
    }

    fn close(&mut self, task: TaskId) {
        if self.tasks.remove(&task).is_some() {
            self.steps.push_back(Step::Close(task));
        }
    }

    fn abandon_all(&mut self) {
        let abandon = |(task, _)| Step::Abandon { task, rewind: false };
        self.steps.extend(std::mem::take(&mut self.tasks).into_iter().map(abandon));
    }

    fn begin_commit(&mut self, then: Then) {
        let tasks: BTreeSet<TaskId> = self.running().collect();
        self.steps.push_back(Step::Flush(tasks.iter().copied().collect()));
        self.commit = Some(Commit { tasks, then });
    }

    fn delivered(&mut self, anew: BTreeSet<TaskId>) {
        self.begin_anew(anew);
        if let Some(commit) = &self.commit {
            self.steps.push_back(Step::Commit(commit.tasks.iter().copied().collect()));
        }
    }

    fn end_commit(&mut self, committed: bool) {
        let Some(Commit { tasks, then }) = self.commit.take() else { return };
        if committed {
            self.steps.push_back(Step::Checkpoint(tasks.into_iter().collect()));
        }
        match then {
            Then::GoOn => {}
            Then::Suspend => {
                for (task, owned) in &mut self.tasks {
                    owned.phase = Phase::Suspended { restored: owned.phase == Phase::Running };
                    self.steps.push_back(Step::Suspend(*task));
                }
            }
            Then::Close if committed => {
                self.steps.extend(std::mem::take(&mut self.tasks).into_keys().map(Step::Close));
            }
            Then::Close => self.abandon_all(),
        }
    }

    fn begin_anew(&mut self, tasks: BTreeSet<TaskId>) {
        for task in tasks {
            let Some(owned) = self.tasks.remove(&task) else { continue };
            if let Some(commit) = &mut self.commit {
                commit.tasks.remove(&task);
            }
            self.steps.push_back(Step::Abandon { task, rewind: self.assigned });
            // While partitions are taken away, those that come back are read from what is committed.
            if self.assigned {
                self.pending.insert(task, owned.partitions);
            }
        }
    }
}
