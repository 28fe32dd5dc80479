//! What becomes of a thread's tasks: a machine that is told what has happened and says what is to be done.
//!
//! ```text
//!             Made            Restored            Revoked
//! (pending) ───────▶ Restoring ───────▶ Running ───────────▶ Suspended
//!     ▲                  │                 │                     │ Assigned
//!     │    BeginAnew     │                 │                     ▼
//!     └──────────────────┴─────────────────┘           closed, or a standby
//! ```
//!
//! A task is made beside those that are at work: [begun](Step::Make) one in a turn of the thread, and answered in a later one.
//! Until then its partitions are [paused](Step::Pause), and where it goes meanwhile it is [given up](Step::Unmake).
//!
//! [`on`](Machine::on) takes an [`Event`]; [`next_step`](Machine::next_step) gives the [`Step`]s that follow from it, one
//! after the other. Most of them are answered by an event before the next one is asked for. The machine knows no client,
//! no disk and no clock: the thread performs the steps, and a simulation does the same in virtual time.
//!
//! The order that matters: what tasks hold back is [flushed](Step::Flush), what they wrote is
//! [delivered](Step::Deliver), the offsets that led to it are [committed](Step::Commit), and only then do the stores
//! [keep](Step::Checkpoint) what they cover. A task whose step failed in between takes no part in those that follow.
//!
//! Nothing is flushed while the thread may be out of its group: a process that was stopped for longer than its session
//! would write old values behind those of the tasks' new owner. It waits until the group has answered: either it is still
//! a member and goes on, or its tasks are lost. (The JVM flushes first and then hears from the commit that it was fenced.)
//! What it had given to be sent when it was stopped waits as well, and is [discarded](Step::Discard) before the thread can
//! have another assignment, in whose session it would go.
//!
//! # Rebalances
//!
//! They are cooperative (KIP-429): tasks that stay go on, and know nothing of it. [`Revoked`](Event::Revoked) names those that
//! go: they are committed, all others with them, and wait with their stores open for [`Assigned`](Event::Assigned), which
//! says whether they are closed or become standbys. That one has all of the thread's tasks, and does what was not done before:
//! a running task that it does not have, or has with other partitions, is revoked first.
//!
//! Between the thread's join and its assignment nothing is committed, as in the JVM, and no task is begun to be made, for
//! offsets are not told meanwhile; all that runs goes on. Except exactly once where a transaction has been open for long: its
//! offsets are those of the generation before, and either that one is still the group's or it is aborted.
//!
//! # Standby tasks
//!
//! A standby follows its changelogs beside all that, and has no part in the group: what is revoked or lost does not stop it,
//! and it is checkpointed with every commit that is wanted, whatever comes of that one. It is one of the machine's tasks or a
//! standby, never both: when an assignment makes one of the other it is [recycled](Step::Recycle), and the task that takes
//! its place is made at once, over the same stores; a standby that is to be active follows until it is its turn. Whatever ails
//! a standby, it is made anew and tells so, and ends nothing.
//!
//! # Exactly once
//!
//! The steps and their order are the same; what they do is one transaction of the thread's producer, which begins with
//! the first record that a task writes: what is [delivered](Step::Deliver) counts for nobody until
//! [the commit](Step::Commit) has put the offsets into the transaction, in the group's generation, and has ended it. So:
//!
//! * **Nobody begins anew alone.** Where one task has to forget what it did since the last commit, the transaction is
//!   [aborted](Step::Discard), and with it what the others wrote: all that are running begin anew.
//! * **A commit that is not known to be one is none.** Its offsets or its end may have been refused or have got lost. The
//!   transaction is aborted, and all begin anew: where the broker had committed it all the same, the offsets are read from
//!   the group and the stores from their changelogs, after the producer has [ended](Step::Make) what was open.
//! * **Stores keep what is committed**, and nothing before.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use vltava_client::{ClientError, TopicPartition};

use self::making::{Making, Pending, Standby};
pub(in crate::runtime) use self::vocabulary::Assignment;
pub(super) use self::vocabulary::{Event, Session, Step};
use super::{
    anew::{Anew, Reason},
    trouble::{Cause, Troubles},
};
use crate::{config::Guarantee, task::TaskId};

/// How long a thread may be without an assignment until it says so, and how seldom it repeats it.
const SILENCE: Duration = Duration::from_secs(60);

/// Where a task is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Its stores are being read from their changelogs.
    Restoring,
    Running,
    /// Its partitions were revoked; it waits to hear whether it becomes a standby. It does not go on in any case: what
    /// others may have done before it comes back is in its changelogs.
    Suspended,
}

/// What follows a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    GoOn,
    /// Those that are leaving are suspended.
    Suspend,
    Close,
}

/// A commit on its way.
#[derive(Debug)]
struct Commit {
    tasks: BTreeSet<TaskId>,
    then: Then,
    /// Whether what these tasks have written is acknowledged.
    is_delivered: bool,
}

#[derive(Debug)]
struct Owned {
    phase: Phase,
    partitions: Vec<TopicPartition>,
}

/// The tasks of one thread.
#[derive(Debug)]
pub(super) struct Machine {
    guarantee: Guarantee,
    tasks: BTreeMap<TaskId, Owned>,
    /// Assigned, and not made yet.
    pending: BTreeMap<TaskId, Pending>,
    /// Whether there was an assignment since tasks were lost.
    assigned: bool,
    session: Session,
    commit: Option<Commit>,
    /// Whether a commit waits for the end of a rebalance.
    is_deferred: bool,
    /// The tasks that are revoked, until their commit is over.
    leaving: BTreeSet<TaskId>,
    /// An assignment that waits for that.
    next: Option<Assignment>,
    troubles: Troubles,
    standbys: BTreeMap<TaskId, Standby>,
    /// The task, and the standby, that it was tried to make last.
    last_tried: Option<TaskId>,
    last_standby_tried: Option<TaskId>,
    /// A standby may be in trouble for as long as it likes.
    standby_troubles: Troubles,
    /// Since when the thread has nothing to do, or may not, and when that was told last.
    silent: Option<(Instant, Option<Instant>)>,
    steps: VecDeque<Step>,
}

impl Machine {
    /// Without tasks. One that makes no progress for `task_timeout` ends the thread.
    pub(super) fn new(guarantee: Guarantee, task_timeout: Duration) -> Self {
        Machine {
            guarantee,
            tasks: BTreeMap::new(),
            pending: BTreeMap::new(),
            assigned: false,
            session: Session::Unknown,
            commit: None,
            is_deferred: false,
            leaving: BTreeSet::new(),
            next: None,
            troubles: Troubles::new(Some(task_timeout)),
            standbys: BTreeMap::new(),
            last_tried: None,
            last_standby_tried: None,
            standby_troubles: Troubles::new(None),
            silent: None,
            steps: VecDeque::new(),
        }
    }

    /// Whether a commit was not made, and is to be tried again.
    pub(super) fn owes_commit(&self) -> bool {
        self.is_held() || self.is_deferred || self.troubles.any_commits()
    }

    /// Whether the task's stores have all of their changelogs.
    pub(super) fn is_complete(&self, task: TaskId) -> bool {
        self.tasks.get(&task).is_some_and(|task| task.phase == Phase::Running)
    }

    /// Whether there was an assignment since tasks were lost.
    pub(super) fn is_assigned(&self) -> bool {
        self.assigned
    }

    /// Whether revoked tasks wait for the assignment.
    pub(super) fn any_suspended(&self) -> bool {
        self.tasks.values().any(|task| task.phase == Phase::Suspended)
    }

    /// Whether all assigned tasks are at work.
    pub(super) fn all_running(&self) -> bool {
        self.assigned && self.pending.is_empty() && self.tasks.values().all(|task| task.phase == Phase::Running)
    }

    /// Whether a rebalance goes on in which the thread takes part, so that nothing is committed.
    pub(super) fn is_rebalancing(&self) -> bool {
        self.session == Session::Rebalancing
    }

    /// Whether tasks have to wait until the group has said that they are still the thread's.
    pub(super) fn is_held(&self) -> bool {
        self.assigned && self.session == Session::Unknown && !self.tasks.is_empty()
    }

    /// How many tasks' stores are being read from their changelogs.
    pub(super) fn restoring(&self) -> usize {
        self.tasks.values().filter(|task| task.phase == Phase::Restoring).count()
    }

    /// The tasks that may process.
    pub(super) fn working(&self) -> impl Iterator<Item = TaskId> {
        self.running().filter(|_| self.session != Session::Unknown)
    }

    fn running(&self) -> impl Iterator<Item = TaskId> {
        self.tasks.iter().filter(|(_, task)| task.phase == Phase::Running).map(|(id, _)| *id)
    }

    /// The last error of a task that makes no progress.
    pub(super) fn error_of(&self, task: TaskId) -> Option<&ClientError> {
        self.troubles.error_of(task)
    }

    /// What is to be done next.
    pub(super) fn next_step(&mut self) -> Option<Step> {
        if self.steps.is_empty()
            && self.commit.is_none()
            && let Some(assignment) = self.next.take()
        {
            self.take_over(assignment);
        }
        self.steps.pop_front()
    }

    /// A step failed for good: those that would follow are not taken.
    pub(super) fn stop(&mut self) {
        self.steps.clear();
        self.forget_what_goes_on();
    }

    fn forget_what_goes_on(&mut self) {
        (self.commit, self.next) = (None, None);
        self.leaving.clear();
    }

    /// Takes in what has happened.
    pub(super) fn on(&mut self, event: Event, now: Instant) {
        match event {
            Event::Tick(session) => self.tick(session, now),
            Event::Assigned(assignment) => self.assign(assignment, now),
            Event::Revoked { tasks, session } => {
                self.session = session;
                self.revoke(tasks, now);
            }
            Event::Lost => {
                self.steps.push_back(Step::Discard);
                self.lose();
            }
            Event::Migrated => {
                self.steps.push_back(Step::Discard);
                self.lose();
                self.steps.push_back(Step::Rejoin);
            }
            Event::Busy(task) => drop(self.is_not_being_made(task)),
            Event::NotMade(task, error) => match self.is_not_being_made(task) {
                Some(Making::Task) => self.trouble(task, Cause::Making, error, now),
                Some(Making::Standby) => drop(self.standby_troubles.begin(task, Cause::Making, error, now)),
                None => {}
            },
            Event::StandbyMade(task) => {
                if let Some(standby @ Standby::BeingMade) = self.standbys.get_mut(&task) {
                    *standby = Standby::Made;
                    self.standby_troubles.end(task, Cause::Making);
                }
            }
            Event::Following(task) => self.standby_troubles.end(task, Cause::Following),
            Event::NotFollowing(task, error) => {
                if self.standbys.contains_key(&task) {
                    self.standby_troubles.begin(task, Cause::Following, error, now);
                }
            }
            Event::StandbysAnew(tasks) => {
                for task in tasks {
                    let Some(standby @ Standby::Made) = self.standbys.get_mut(&task) else { continue };
                    *standby = Standby::Waiting;
                    self.steps.push_back(Step::AbandonStandby(task));
                    // The task is made in its place.
                    if self.pending.contains_key(&task) {
                        self.standbys.remove(&task);
                    }
                }
            }
            Event::Made { task, complete } => {
                let Some(Pending { partitions, .. }) = self.pending.remove(&task) else { return };
                self.troubles.end(task, Cause::Making);
                self.tasks.insert(task, Owned { phase: Phase::Restoring, partitions });
                if complete {
                    self.start(task);
                }
            }
            Event::Restoring(task) => self.troubles.end(task, Cause::Making),
            Event::NotRestoring(task, error) => self.trouble(task, Cause::Making, error, now),
            Event::Restored(task) => {
                self.troubles.end(task, Cause::Making);
                self.start(task);
            }
            Event::MakePending(session) => {
                self.session = session;
                if !self.make_task(now) {
                    self.make_standby(now);
                }
            }
            Event::Commit { session, urgent } => {
                self.session = session;
                self.checkpoint_standbys();
                if self.may_commit(urgent, now) {
                    self.begin_commit(Then::GoOn, now);
                }
            }
            Event::Flushed(anew) => {
                self.begin_anew(anew, now);
                if self.commit.is_some() {
                    self.steps.push_back(Step::Deliver);
                }
            }
            Event::Delivered(anew) => {
                self.begin_anew(anew, now);
                if let Some(commit) = &mut self.commit {
                    commit.is_delivered = true;
                    self.steps.push_back(Step::Commit(commit.tasks.iter().copied().collect()));
                }
            }
            Event::Committed { advanced } => self.committed(&advanced),
            Event::NotCommitted(error) => self.not_committed(error, now),
            Event::OutOfSession(anew) => {
                self.begin_anew(anew, now);
                self.session = Session::Unknown;
                self.not_committed(None, now);
            }
            Event::BeginAnew(tasks) => self.begin_anew(tasks, now),
            Event::Close(session) => {
                self.session = session;
                self.unmake_all();
                self.end_standbys(Step::CloseStandby);
                self.begin_commit(Then::Close, now);
            }
            Event::GiveUp => {
                self.stop();
                if self.guarantee == Guarantee::ExactlyOnce {
                    self.steps.push_back(Step::Discard);
                }
                self.lose();
                self.end_standbys(Step::AbandonStandby);
            }
        }
    }

    fn tick(&mut self, session: Session, now: Instant) {
        self.session = session;
        if self.assigned && !self.is_held() {
            self.silent = None;
            return;
        }
        let (since, told) = self.silent.get_or_insert((now, None));
        let waited = now.duration_since(*since);
        let first = if self.assigned { Duration::ZERO } else { SILENCE };
        if waited < first || told.is_some_and(|told| now.duration_since(told) < SILENCE) {
            return;
        }
        *told = Some(now);
        let waited_s = waited.as_secs();
        if self.assigned {
            tracing::warn!(
                tasks = self.tasks.len(),
                waited_s,
                "the group's coordinator has not answered a heartbeat for longer than `session.timeout.ms`, or \
                 `max.poll.interval.ms` has passed: the tasks wait until it says whether they are still this thread's"
            );
        } else {
            tracing::warn!(
                waited_s,
                "the group has assigned nothing yet: it rebalances, or its coordinator does not answer"
            );
        }
    }

    /// Those that run are committed before they are given up.
    fn revoke(&mut self, tasks: BTreeSet<TaskId>, now: Instant) {
        let is_known = |task: &TaskId| self.tasks.contains_key(task) || self.pending.contains_key(task);
        if !tasks.iter().any(is_known) {
            return;
        }
        // What was not made by now may be another's next.
        tasks.iter().for_each(|task| self.unmake(*task));
        self.leaving = tasks;
        self.begin_commit(Then::Suspend, now);
    }

    fn assign(&mut self, assignment: Assignment, now: Instant) {
        self.assigned = true;
        self.session = Session::Member;
        self.silent = None;
        let changes = |id: &TaskId| {
            let had = self.tasks.get(id).map(|owned| &owned.partitions);
            had != assignment.tasks.get(id)
        };
        let leaving: BTreeSet<TaskId> = self.running().filter(changes).collect();
        if leaving.is_empty() {
            return self.take_over(assignment);
        }
        self.next = Some(assignment);
        self.revoke(leaving, now);
    }

    /// No task that runs is in another place, or has other partitions, than before.
    fn take_over(&mut self, assignment: Assignment) {
        let Assignment { tasks: assigned, mut standbys } = assignment;
        standbys.retain(|task| !assigned.contains_key(task));
        self.end_standbys_but(&assigned, &standbys);
        let gone: Vec<TaskId> = self.tasks.keys().filter(|id| !assigned.contains_key(id)).copied().collect();
        for task in gone {
            if standbys.contains(&task) {
                self.tasks.remove(&task);
                self.standbys.insert(task, Standby::BeingMade);
                self.steps.extend([Step::Recycle(task), Step::MakeStandby(task)]);
            } else {
                self.close(task);
            }
        }
        let stays = |(task, pending): (&TaskId, &Pending)| assigned.get(task) == Some(&pending.partitions);
        let moved: Vec<TaskId> =
            self.pending.iter().filter(|pending| !stays(*pending)).map(|(task, _)| *task).collect();
        moved.into_iter().for_each(|task| self.unmake(task));
        self.troubles.retain(|task| assigned.contains_key(&task));
        for (task, partitions) in assigned {
            match self.tasks.get(&task) {
                Some(owned) if owned.phase != Phase::Suspended && owned.partitions == partitions => continue,
                // It was revoked and is back, or its topics have more partitions than before.
                Some(_) => self.close(task),
                None if self.pending.contains_key(&task) => continue,
                None => {}
            }
            // One that is made gives its stores to the task when it is the turn of that.
            self.end_standby_unless_made(task);
            self.steps.push_back(Step::Pause(task, partitions.clone()));
            self.pending.insert(task, Pending { partitions, is_being_made: false });
        }
        for task in standbys {
            self.standbys.entry(task).or_insert(Standby::Waiting);
        }
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

    /// Whatever the tasks have done since their last commit counts for nothing, and they are not the thread's any more.
    fn lose(&mut self) {
        self.assigned = false;
        self.session = Session::Unknown;
        self.is_deferred = false;
        self.forget_what_goes_on();
        self.unmake_all();
        self.abandon_all();
    }

    fn abandon_all(&mut self) {
        let abandon = |(task, _)| Step::Abandon { task, rewind: false };
        self.steps.extend(std::mem::take(&mut self.tasks).into_iter().map(abandon));
    }

    fn may_commit(&mut self, urgent: bool, now: Instant) -> bool {
        let is_time = match self.session {
            Session::Member => true,
            Session::Rebalancing => urgent && self.guarantee == Guarantee::ExactlyOnce,
            Session::Unknown => false,
        };
        self.is_deferred = self.session == Session::Rebalancing && !is_time;
        is_time && self.troubles.may_commit(now)
    }

    /// Whether offsets would be taken if they were committed now.
    fn may_be_taken(&self) -> bool {
        match self.session {
            Session::Member => true,
            // A transaction tells the generation that it is of, which the group may still be in.
            Session::Rebalancing => self.guarantee == Guarantee::ExactlyOnce,
            Session::Unknown => false,
        }
    }

    fn begin_commit(&mut self, then: Then, now: Instant) {
        let tasks: BTreeSet<TaskId> = self.running().collect();
        let wanted: Vec<TaskId> = tasks.iter().copied().collect();
        self.commit = Some(Commit { tasks, then, is_delivered: false });
        if wanted.is_empty() {
            self.committed(&BTreeSet::new());
        } else if self.may_be_taken() {
            self.steps.push_back(Step::Flush(wanted));
        } else {
            self.not_committed(None, now);
        }
    }

    fn committed(&mut self, advanced: &BTreeSet<TaskId>) {
        let Some(Commit { tasks, then, .. }) = self.commit.take() else { return };
        for task in &tasks {
            self.troubles.end(*task, Cause::Committing);
        }
        for task in advanced {
            self.troubles.end(*task, Cause::Sending);
        }
        if !tasks.is_empty() {
            self.steps.push_back(Step::Checkpoint(tasks.into_iter().collect()));
        }
        match then {
            Then::GoOn => {}
            Then::Suspend => self.suspend(),
            Then::Close => self.steps.extend(std::mem::take(&mut self.tasks).into_keys().map(Step::Close)),
        }
    }

    fn not_committed(&mut self, error: Option<ClientError>, now: Instant) {
        let Some(Commit { tasks, then, is_delivered }) = self.commit.take() else { return };
        if self.guarantee == Guarantee::ExactlyOnce {
            self.abort(Some(then));
        }
        if let Some(error) = error {
            for task in &tasks {
                self.trouble(*task, Cause::Committing, error.clone(), now);
            }
        }
        match then {
            _ if self.guarantee == Guarantee::ExactlyOnce => {}
            Then::GoOn => {}
            Then::Suspend => {
                // Those that go were not committed; and what those that stay have written, if it is not acknowledged, is
                // discarded with what the others have.
                for task in tasks {
                    if self.leaving.contains(&task) || !is_delivered {
                        self.give_up(task);
                    }
                }
                self.suspend();
            }
            Then::Close => {
                self.steps.push_back(Step::Discard);
                self.abandon_all();
            }
        }
    }

    /// What the running tasks have done since the last commit counts for nothing, and they begin anew; `then` is what was
    /// to follow a commit.
    fn abort(&mut self, then: Option<Then>) {
        self.steps.push_back(Step::Discard);
        if then == Some(Then::Close) {
            return self.abandon_all();
        }
        let running: Vec<TaskId> = self.running().collect();
        for task in running {
            self.give_up(task);
        }
        if then == Some(Then::Suspend) {
            self.suspend();
        }
    }

    /// Those that leave are committed, or given up.
    fn suspend(&mut self) {
        // Of tasks that began anew, or that could not be committed: with the next assignment it would go behind the records
        // of those who have them then. Of those that stay there is nothing.
        self.steps.push_back(Step::Discard);
        for task in std::mem::take(&mut self.leaving) {
            if let Some(owned) = self.tasks.get_mut(&task) {
                owned.phase = Phase::Suspended;
                self.steps.push_back(Step::Suspend(task));
            }
        }
    }

    fn begin_anew(&mut self, tasks: Anew, now: Instant) {
        if tasks.is_empty() {
            return;
        }
        let known: Vec<_> = tasks.into_iter().filter(|(task, _)| self.tasks.contains_key(task)).collect();
        let is_running = |(task, _): &(TaskId, _)| self.running().any(|running| running == *task);
        let has_written = || self.commit.is_some() || known.iter().any(is_running);
        if self.guarantee == Guarantee::ExactlyOnce && has_written() {
            let then = self.commit.take().map(|commit| commit.then);
            self.abort(then);
        }
        for (task, reason) in known {
            self.give_up(task);
            match reason {
                Reason::Passing(error) => self.trouble(task, Cause::Sending, error, now),
                Reason::Damaged => {}
            }
        }
    }

    /// The task's progress since the last commit counts for nothing; it is made again if it stays.
    fn give_up(&mut self, task: TaskId) {
        let Some(owned) = self.tasks.remove(&task) else { return };
        if let Some(commit) = &mut self.commit {
            commit.tasks.remove(&task);
        }
        // Where its partitions are taken away it is made again only if it is assigned again.
        let stays = self.assigned && owned.phase != Phase::Suspended && !self.leaving.contains(&task);
        self.steps.push_back(Step::Abandon { task, rewind: stays });
        if stays {
            self.pending.insert(task, Pending { partitions: owned.partitions, is_being_made: false });
        }
    }

    fn trouble(&mut self, task: TaskId, cause: Cause, error: ClientError, now: Instant) {
        if let Some(after) = self.troubles.begin(task, cause, error, now) {
            self.steps.push_back(Step::Fail { task, after });
        }
    }
}

mod making;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
mod vocabulary;
