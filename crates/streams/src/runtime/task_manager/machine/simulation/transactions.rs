//! Exactly once: the transaction coordinator, what is written in transactions, and the steps of a thread that has them.
//!
//! The coordinator decides at one moment; what it has decided is seen on each partition (results, changelog, offsets) at a
//! moment of its own, as markers are written. It bumps the epoch of an id with every transaction that ends (KIP-890), when a
//! producer is made for the id, and when a transaction has been open for too long.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Broken, Event, Local, Step, World,
    model::{Given, Log},
    timed_out,
};
use crate::task::TaskId;

/// A transaction may be open for longer than a session: a zombie may come back while its own still is.
const TRANSACTION_TIMEOUT: u64 = super::SESSION * 2;

/// A transactional id is that of a thread's place in its process.
type Id = (usize, usize);

/// A transaction: of which id, and which of it.
pub(super) type Opened = (Id, u64);

/// Why a record is not sent.
#[derive(Debug)]
pub(super) enum NotSent {
    /// Another producer has the id.
    Fenced,
    /// The producer could not be made in time; the record was this task's.
    NoProducer(TaskId),
}

#[derive(Default)]
struct Open {
    since: u64,
    /// Records of tasks whose results and changelogs it has.
    results: Vec<(TaskId, i64, i64)>,
    offsets: BTreeMap<TaskId, i64>,
}

/// What a transaction that is decided has still to tell a partition.
enum Marker {
    Changelog(TaskId, i64),
    Offset(TaskId, i64),
}

#[derive(Default)]
struct Producing {
    epoch: u64,
    number: u64,
    open: Option<Open>,
    /// Of the transaction that was committed last.
    markers: Vec<Marker>,
}

#[derive(Default)]
pub(super) struct Coordinator {
    ids: BTreeMap<Id, Producing>,
}

impl Coordinator {
    /// What is said where a result is not there exactly once, or a store is not as of its records.
    pub(super) const COMPLAINTS: [&'static str; 7] = [
        "is committed twice",
        "without its offset",
        "skips records",
        "goes back",
        "keeps what is not committed",
        "begins with a store as of",
        "skip or repeat records",
    ];

    /// A producer is made for an id: what was open is aborted, and what is decided is seen by everybody.
    fn init(&mut self, id: Id, logs: &mut BTreeMap<TaskId, Log>) -> u64 {
        let producing = self.ids.entry(id).or_default();
        producing.settle(logs);
        producing.end();
        producing.epoch
    }

    /// Where a producer of the id goes on that knows no epoch: what it should never do.
    fn adopt(&mut self, id: Id) -> u64 {
        self.ids.entry(id).or_default().epoch
    }

    fn at(&mut self, id: Id, epoch: u64) -> Result<&mut Producing, NotSent> {
        let producing = self.ids.entry(id).or_default();
        if producing.epoch == epoch { Ok(producing) } else { Err(NotSent::Fenced) }
    }

    /// As of what the id's producer may write; it waits for what was decided before.
    fn open(&mut self, id: Id, epoch: u64, now: u64, logs: &mut BTreeMap<TaskId, Log>) -> Result<&mut Open, NotSent> {
        let producing = self.at(id, epoch)?;
        producing.settle(logs);
        Ok(producing.open.get_or_insert_with(|| Open { since: now, ..Open::default() }))
    }

    /// Commits, which must leave each result once, and with its offset. The next epoch.
    fn commit(&mut self, id: Id, epoch: u64, logs: &mut BTreeMap<TaskId, Log>) -> Result<u64, NotSent> {
        let producing = self.at(id, epoch)?;
        let Some(open) = producing.end() else { return Ok(producing.epoch) };
        for (task, from, to) in open.results {
            let log = logs.get_mut(&task).expect("a task of the topology");
            for record in from..to {
                assert!(log.delivered.insert(record), "the result of record {record} of {task} is committed twice");
            }
            producing.markers.push(Marker::Changelog(task, to));
        }
        for (task, offset) in open.offsets {
            let log = logs.get_mut(&task).expect("a task of the topology");
            assert!(offset >= log.decided, "the offset of {task} goes back");
            assert!((log.decided..offset).all(|at| log.delivered.contains(&at)), "{task} skips records");
            log.decided = offset;
            producing.markers.push(Marker::Offset(task, offset));
        }
        for (task, log) in logs {
            let last = log.delivered.last().map_or(0, |last| last + 1);
            assert!(last <= log.decided, "{task} has a result without its offset");
        }
        Ok(producing.epoch)
    }

    fn abort(&mut self, id: Id, epoch: u64) -> Result<u64, NotSent> {
        let producing = self.at(id, epoch)?;
        if producing.open.is_some() {
            producing.end();
        }
        Ok(producing.epoch)
    }

    /// The transactions of others that may still become visible in a task's changelog.
    fn on_changelog(&self, task: TaskId) -> BTreeSet<Opened> {
        let undecided = |producing: &Producing| {
            let open = producing.open.iter().flat_map(|open| &open.results).any(|(of, ..)| *of == task);
            open || producing.markers.iter().any(|marker| matches!(marker, Marker::Changelog(of, _) if *of == task))
        };
        let open = self.ids.iter().filter(|(_, producing)| undecided(producing));
        open.map(|(id, producing)| (*id, producing.number)).collect()
    }

    /// Whether offsets of a task are in a transaction that is not seen to have ended.
    fn is_unstable(&self, task: TaskId) -> bool {
        self.ids.values().any(|producing| {
            let open = producing.open.as_ref().is_some_and(|open| open.offsets.contains_key(&task));
            open || producing.markers.iter().any(|marker| matches!(marker, Marker::Offset(of, _) if *of == task))
        })
    }
}

impl Producing {
    /// The transaction ends, if there is one; the epoch does anyway.
    fn end(&mut self) -> Option<Open> {
        self.epoch += 1;
        self.number += 1;
        self.open.take()
    }

    fn settle(&mut self, logs: &mut BTreeMap<TaskId, Log>) {
        std::mem::take(&mut self.markers).into_iter().for_each(|marker| marker.write(logs));
    }
}

impl Marker {
    fn write(self, logs: &mut BTreeMap<TaskId, Log>) {
        let (Marker::Changelog(task, _) | Marker::Offset(task, _)) = &self;
        let log = logs.get_mut(task).expect("a task of the topology");
        match self {
            Marker::Changelog(_, to) => log.changelog = log.changelog.max(to),
            Marker::Offset(_, offset) => log.committed = log.committed.max(offset),
        }
    }
}

impl World {
    /// Time passes for transactions: markers are written, and what was open for too long is aborted.
    pub(super) fn look_at_transactions(&mut self) {
        let now = self.now;
        for producing in self.coordinator.ids.values_mut() {
            while !producing.markers.is_empty() && (!self.faults || self.random.one_in(3)) {
                let next = self.random.below(producing.markers.len() as u64) as usize;
                producing.markers.swap_remove(next).write(&mut self.logs);
            }
            if producing.open.as_ref().is_some_and(|open| now >= open.since + TRANSACTION_TIMEOUT) {
                producing.end();
            }
        }
    }

    /// A process may be killed between any two steps.
    fn maybe_kill(&mut self, at: (usize, usize)) -> bool {
        let killed = self.fault(300);
        if killed {
            self.instances[at.0].kill(self.now);
        }
        killed
    }

    fn is_owner(&self, at: (usize, usize), task: TaskId) -> bool {
        let member = self.instances[at.0].threads[at.1].member.and_then(|member| self.group.members.get(&member));
        member.is_some_and(|member| member.holds(task))
    }

    pub(super) fn perform_exactly_once(&mut self, at: (usize, usize), step: Step) -> Option<Event> {
        if self.maybe_kill(at) {
            return None;
        }
        match step {
            Step::Start(task) => {
                self.thread(at).paused.remove(&task);
                let local = self.thread(at).tasks.get_mut(&task).expect("a task that is started was made");
                assert!(local.restoring == 0 && !local.started, "{task} is started before it is restored");
                local.started = true;
                let (state, from) = (local.state, local.fetch);
                // A zombie's store may have seen what its successor has committed; it commits nothing itself.
                if self.is_owner(at, task) {
                    assert_eq!(state, from, "{task} begins with a store as of {state} and records from {from} on");
                }
                self.instances[at.0].kept.insert(task, state);
                None
            }
            Step::Flush(_) if self.broken == Broken::Flush => Some(Event::Flushed(super::Anew::default())),
            Step::Deliver => self.deliver_exactly_once(at),
            Step::Commit(tasks) => self.commit_exactly_once(at, &tasks),
            Step::Checkpoint(tasks) => {
                for task in tasks {
                    if self.maybe_kill(at) {
                        break;
                    }
                    let kept = self.thread(at).tasks[&task].state;
                    self.instances[at.0].kept.insert(task, kept);
                }
                None
            }
            Step::Discard => {
                self.abort(at);
                None
            }
            Step::Abandon { task, rewind } => {
                self.abandoned(at, task, rewind);
                let committed = self.let_go(at, task).committed;
                self.thread(at).believed.insert(task, committed);
                None
            }
            step => self.perform(at, step),
        }
    }

    fn abort(&mut self, at: (usize, usize)) {
        let epoch = self.thread(at).epoch;
        if self.broken == Broken::Abort && epoch.is_some_and(|epoch| self.coordinator.at(at, epoch).is_ok()) {
            return;
        }
        self.thread(at).given.clear();
        if !std::mem::take(&mut self.thread(at).in_transaction) {
            return;
        }
        let Some(epoch) = self.thread(at).epoch else { return };
        // What cannot be aborted is given up with its producer, and the next one ends it.
        let lost_answer = self.fault(10);
        let arrived = !lost_answer || self.random.one_in(2);
        let aborted = if arrived { self.coordinator.abort(at, epoch).ok() } else { None };
        self.thread(at).epoch = aborted.filter(|_| !lost_answer);
    }

    /// The epoch of the thread's producer, which is made if need be.
    pub(super) fn producer(&mut self, at: (usize, usize)) -> Option<u64> {
        if self.thread(at).epoch.is_some() {
            return self.thread(at).epoch;
        }
        let lost_answer = self.fault(12);
        if lost_answer && self.random.one_in(2) {
            return None;
        }
        let epoch = match self.broken {
            Broken::Init => self.coordinator.adopt(at),
            _ => self.coordinator.init(at, &mut self.logs),
        };
        self.thread(at).epoch = Some(epoch).filter(|_| !lost_answer);
        self.thread(at).epoch
    }

    pub(super) fn look_up_exactly_once(&mut self, at: (usize, usize), task: TaskId) -> Option<Local> {
        let early = self.logs[&task].changelog;
        if self.broken == Broken::ChangelogFirst {
            self.maybe_stop(at.0, 3);
        }
        if self.fault(12) || (self.coordinator.is_unstable(task) && self.broken != Broken::Unstable) {
            return None;
        }
        let mut committed = self.logs[&task].committed;
        if self.broken == Broken::UnknownIsAborted
            && let Some(believed) = self.thread(at).believed.remove(&task)
        {
            committed = believed;
        }
        self.maybe_stop(at.0, 100);
        let mut awaited = self.coordinator.on_changelog(task);
        let mut state = self.logs[&task].changelog;
        match self.broken {
            Broken::ChangelogFirst => (awaited, state) = (BTreeSet::new(), early),
            Broken::StableEnd => awaited.clear(),
            _ => {}
        }
        let kept = self.instances[at.0].kept.get(&task).copied().unwrap_or(0);
        let restoring = if kept < state || !awaited.is_empty() { 1 + self.random.below(3) } else { 0 };
        Some(Local {
            number: self.next_number(),
            started: false,
            fetch: committed,
            processed: committed,
            flushed: committed,
            delivered: committed,
            committed,
            restoring,
            awaited,
            state,
        })
    }

    /// Reads a changelog up to what may be committed when it is. False as long as that is not known.
    pub(super) fn restore_exactly_once(&mut self, at: (usize, usize), task: TaskId) -> bool {
        let open = self.coordinator.on_changelog(task);
        let changelog = self.logs[&task].changelog;
        let moves = self.broken != Broken::ChangelogFirst && self.broken != Broken::StableEnd;
        let local = self.thread(at).tasks.get_mut(&task).expect("a task of this thread");
        if moves {
            local.state = changelog;
        }
        local.awaited.is_disjoint(&open)
    }

    /// The producer sends what it was given first. False if there is nothing.
    pub(super) fn send_exactly_once(&mut self, at: (usize, usize)) -> Result<bool, NotSent> {
        self.maybe_stop(at.0, 200);
        let Some(task) = self.thread(at).given.front().map(|given| given.task) else { return Ok(false) };
        let Some(epoch) = self.producer(at) else { return Err(NotSent::NoProducer(task)) };
        let Some(Given { from, to, .. }) = self.thread(at).given.pop_front() else { return Ok(false) };
        self.thread(at).in_transaction = true;
        let open = self.coordinator.open(at, epoch, self.now, &mut self.logs)?;
        open.results.push((task, from, to));
        Ok(true)
    }

    fn deliver_exactly_once(&mut self, at: (usize, usize)) -> Option<Event> {
        if self.fault(80) {
            return Some(Event::Migrated);
        }
        let failed = self.thread(at).tasks.keys().next().copied().filter(|_| self.fault(40));
        if let Some(task) = failed {
            // Some of it arrives.
            if self.random.one_in(2) && matches!(self.send_exactly_once(at), Err(NotSent::Fenced)) {
                return Some(Event::Migrated);
            }
            return Some(not_delivered(task));
        }
        loop {
            match self.send_exactly_once(at) {
                Ok(true) => {}
                Ok(false) => break,
                Err(NotSent::Fenced) => return Some(Event::Migrated),
                Err(NotSent::NoProducer(task)) => return Some(not_delivered(task)),
            }
        }
        for local in self.thread(at).tasks.values_mut() {
            local.delivered = local.flushed;
        }
        Some(Event::Delivered(super::Anew::default()))
    }

    fn commit_exactly_once(&mut self, at: (usize, usize), tasks: &[TaskId]) -> Option<Event> {
        let thread = &self.instances[at.0].threads[at.1];
        let offsets: BTreeMap<TaskId, i64> = tasks
            .iter()
            .map(|task| (*task, &thread.tasks[task]))
            .filter(|(_, local)| local.processed != local.committed)
            .map(|(task, local)| (task, local.processed))
            .collect();
        let advanced: BTreeSet<TaskId> = offsets.keys().copied().collect();
        if offsets.is_empty() {
            return Some(Event::Committed { advanced });
        }
        let Some(epoch) = self.producer(at) else { return Some(self.not_committed(at, tasks)) };
        self.thread(at).in_transaction = true;
        self.maybe_stop(at.0, 50);
        let thread = &self.instances[at.0].threads[at.1];
        let is_member = thread.member.is_some_and(|member| self.group.members.contains_key(&member));
        if (!is_member || thread.generation != self.group.generation) && self.broken != Broken::Generation {
            // What comes of its join says whether it is a member.
            if self.thread(at).joined {
                return Some(Event::NotCommitted(None));
            }
            self.thread(at).out |= !is_member;
            return Some(Event::Migrated);
        }
        let lost_answer = self.fault(40);
        if self.broken != Broken::OffsetsApart && (!lost_answer || self.random.one_in(2)) {
            match self.coordinator.open(at, epoch, self.now, &mut self.logs) {
                Ok(open) => open.offsets.extend(offsets.clone()),
                Err(_) => return Some(Event::Migrated),
            }
        }
        if lost_answer {
            return Some(self.not_committed(at, tasks));
        }
        if self.maybe_kill(at) {
            return None;
        }
        self.maybe_stop(at.0, 50);
        let lost_answer = self.fault(20);
        if !lost_answer || self.random.one_in(2) {
            match self.coordinator.commit(at, epoch, &mut self.logs) {
                Ok(epoch) => self.thread(at).epoch = Some(epoch).filter(|_| !lost_answer),
                Err(_) => return Some(Event::Migrated),
            }
        }
        if lost_answer {
            self.thread(at).epoch = None;
            return Some(self.not_committed(at, tasks));
        }
        if self.maybe_kill(at) {
            return None;
        }
        self.thread(at).in_transaction = false;
        for (task, offset) in offsets {
            self.thread(at).tasks.get_mut(&task).expect("a task of this thread").committed = offset;
        }
        Some(Event::Committed { advanced })
    }

    /// It is not known whether the transaction is committed.
    fn not_committed(&mut self, at: (usize, usize), tasks: &[TaskId]) -> Event {
        match self.broken {
            Broken::KeptEarly => {
                for task in tasks {
                    let kept = self.thread(at).tasks[task].state;
                    self.instances[at.0].kept.insert(*task, kept);
                }
            }
            Broken::UnknownIsCommitted => {
                for task in tasks {
                    let local = self.thread(at).tasks.get_mut(task).expect("a task of this thread");
                    local.committed = local.processed;
                }
                // It goes on with the epoch that it would have.
                let epoch = self.coordinator.adopt(at);
                (self.thread(at).epoch, self.thread(at).in_transaction) = (Some(epoch), false);
                return Event::Committed { advanced: tasks.iter().copied().collect() };
            }
            _ => {}
        }
        Event::NotCommitted(Some(timed_out()))
    }
}

fn not_delivered(task: TaskId) -> Event {
    Event::Delivered([(task, super::Reason::Passing(timed_out()))].into_iter().collect())
}
