//! What a simulation holds still: the group, the logs, and an instance with its threads.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use super::{Broken, MAX_POLL, Machine, SESSION, Session, TASK_TIMEOUT, THREADS, making::Making, transactions::Opened};
use uuid::Uuid;

use crate::{
    config::Guarantee,
    runtime::assignor::{AssignmentConfig, Dealt, LATEST_OFFSET, SimulatedMember, Standing, dealt},
    task::TaskId,
};

/// How far an instance may be behind, small enough that some are.
const ASSIGNMENT: AssignmentConfig = AssignmentConfig {
    acceptable_recovery_lag: 20,
    max_warmup_replicas: 2,
    num_standby_replicas: 0,
    probing_rebalance_interval_ms: 60_000,
};

#[derive(Default)]
pub(super) struct Member {
    pub(super) heard: u64,
    /// Whether it has joined the rebalance that goes on.
    pub(super) joined: bool,
    /// The instance it is of.
    pub(super) process: Uuid,
    pub(super) standing: Standing,
    /// What it had when it joined last, and gives up no sooner than with the assignment.
    pub(super) owned: BTreeSet<TaskId>,
    pub(super) assignment: Dealt,
}

impl Member {
    /// Whether nobody else may have the task.
    pub(super) fn holds(&self, task: TaskId) -> bool {
        self.assignment.active.contains(&task) || self.owned.contains(&task)
    }
}

#[derive(Default)]
pub(super) struct Group {
    pub(super) generation: u64,
    /// Until when members may join.
    pub(super) rebalance: Option<u64>,
    pub(super) members: BTreeMap<u64, Member>,
    pub(super) rebalances: u64,
    /// `num.standby.replicas`.
    pub(super) replicas: usize,
}

impl Group {
    pub(super) fn begin_rebalance(&mut self, now: u64) {
        if self.rebalance.is_none() {
            self.rebalance = Some(now + MAX_POLL);
            self.members.values_mut().for_each(|member| member.joined = false);
        }
    }

    pub(super) fn remove(&mut self, member: u64, now: u64) {
        if self.members.remove(&member).is_some() {
            self.begin_rebalance(now);
        }
    }

    /// Lets time pass: sessions end, a rebalance completes.
    pub(super) fn look(&mut self, now: u64, broken: Broken, ends: impl FnOnce() -> BTreeMap<TaskId, i64>) {
        let gone: Vec<u64> = self.members.iter().filter(|(_, m)| now >= m.heard + SESSION).map(|(id, _)| *id).collect();
        gone.into_iter().for_each(|member| self.remove(member, now));
        let Some(deadline) = self.rebalance else { return };
        if now < deadline && self.members.values().any(|member| !member.joined) {
            return;
        }
        self.members.retain(|_, member| member.joined);
        self.rebalance = None;
        self.generation += 1;
        self.rebalances += 1;
        let of = |(id, member): (&u64, &Member)| SimulatedMember {
            id: id.to_string(),
            process: member.process,
            standing: member.standing.clone(),
            owned: if broken == Broken::GivenAtOnce { BTreeSet::new() } else { member.owned.clone() },
        };
        let config = AssignmentConfig { num_standby_replicas: self.replicas, ..ASSIGNMENT };
        let dealt = dealt(self.members.iter().map(of), ends(), config);
        for (id, member) in &mut self.members {
            member.assignment = dealt.get(&id.to_string()).cloned().unwrap_or_default();
        }
    }
}

/// A source partition, what became of its records, and the changelog of the store that counts them.
#[derive(Default)]
pub(super) struct Log {
    pub(super) end: i64,
    pub(super) committed: i64,
    /// Records whose results are acknowledged; exactly once, committed.
    pub(super) delivered: BTreeSet<i64>,
    /// The offset up to which the changelog has what the store took; exactly once, what one who reads what is committed
    /// sees of it.
    pub(super) changelog: i64,
    /// The offset of the last transaction that is committed, though not everybody may see it yet.
    pub(super) decided: i64,
}

/// A task on a thread.
pub(super) struct Local {
    /// Which of all that were ever made.
    pub(super) number: u64,
    pub(super) started: bool,
    /// The record that comes next out of the consumer.
    pub(super) fetch: i64,
    /// The record after the last one that was processed.
    pub(super) processed: i64,
    pub(super) flushed: i64,
    pub(super) delivered: i64,
    pub(super) committed: i64,
    /// Attempts to read the changelog until it is complete.
    pub(super) restoring: u64,
    /// Transactions that have written to the changelog and may be committed.
    pub(super) awaited: BTreeSet<Opened>,
    /// As of which record the store is.
    pub(super) state: i64,
}

/// Results and changelogs of records of a task, on their way through a producer.
pub(super) struct Given {
    pub(super) task: TaskId,
    /// For how long the task was the thread's: since this assignment.
    pub(super) since: u64,
    pub(super) from: i64,
    pub(super) to: i64,
}

pub(super) struct Thread {
    pub(super) machine: Machine,
    pub(super) tasks: BTreeMap<TaskId, Local>,
    pub(super) making: BTreeMap<TaskId, Making>,
    /// Of which nothing is read.
    pub(super) paused: BTreeSet<TaskId>,
    /// What was committed when it joined.
    pub(super) before: BTreeMap<TaskId, i64>,
    /// As of which record the stores of standbys are.
    pub(super) standbys: BTreeMap<TaskId, i64>,
    /// The same of stores that are between a task and its standby.
    pub(super) recycled: BTreeMap<TaskId, i64>,
    /// What the producer has not sent.
    pub(super) given: VecDeque<Given>,
    pub(super) member: Option<u64>,
    pub(super) generation: u64,
    /// What its consumer has, and since which assignment.
    pub(super) owned: BTreeMap<TaskId, u64>,
    /// How many tasks were given up.
    pub(super) given_up: u64,
    pub(super) confirmed: u64,
    pub(super) beat_sent: Option<u64>,
    pub(super) polled: u64,
    /// What a heartbeat has told: out of the group.
    pub(super) out: bool,
    /// What a heartbeat has told: a rebalance goes on.
    pub(super) told: bool,
    pub(super) joined: bool,
    pub(super) rejoin: bool,
    pub(super) stopped_until: u64,
    pub(super) failed: bool,
    /// The epoch of its transactional producer, once it has one.
    pub(super) epoch: Option<u64>,
    /// Whether that has begun a transaction.
    pub(super) in_transaction: bool,
    /// What was committed of tasks when they were given up, as far as the thread knew.
    pub(super) believed: BTreeMap<TaskId, i64>,
}

impl Thread {
    pub(super) fn new(now: u64, guarantee: Guarantee) -> Self {
        Thread {
            machine: Machine::new(guarantee, Duration::from_millis(TASK_TIMEOUT)),
            tasks: BTreeMap::new(),
            making: BTreeMap::new(),
            paused: BTreeSet::new(),
            before: BTreeMap::new(),
            standbys: BTreeMap::new(),
            recycled: BTreeMap::new(),
            given: VecDeque::new(),
            member: None,
            generation: 0,
            owned: BTreeMap::new(),
            given_up: 0,
            confirmed: now,
            beat_sent: None,
            polled: now,
            out: false,
            told: false,
            joined: false,
            rejoin: false,
            stopped_until: now,
            failed: false,
            epoch: None,
            in_transaction: false,
            believed: BTreeMap::new(),
        }
    }

    pub(super) fn in_session(&self, now: u64) -> bool {
        let is_member = self.member.is_some() && !self.out && self.generation > 0;
        is_member && now < self.confirmed + SESSION && now < self.polled + MAX_POLL
    }

    pub(super) fn session(&self, now: u64) -> Session {
        match self.in_session(now) {
            false => Session::Unknown,
            true if self.joined => Session::Rebalancing,
            true => Session::Member,
        }
    }
}

pub(super) struct Instance {
    pub(super) process: Uuid,
    /// What its machines keep to.
    pub(super) guarantee: Guarantee,
    pub(super) threads: Vec<Thread>,
    /// Which thread has which directory open.
    pub(super) open: BTreeMap<TaskId, usize>,
    /// What the stores on disk cover.
    pub(super) kept: BTreeMap<TaskId, i64>,
}

impl Instance {
    pub(super) fn new(process: Uuid, now: u64, guarantee: Guarantee) -> Self {
        let threads = (0..THREADS).map(|_| Thread::new(now, guarantee)).collect();
        Instance { process, guarantee, threads, open: BTreeMap::new(), kept: BTreeMap::new() }
    }

    /// The process is killed, and started again: what its stores have kept stays.
    pub(super) fn kill(&mut self, now: u64) {
        let kept = std::mem::take(&mut self.kept);
        *self = Instance { kept, ..Instance::new(self.process, now, self.guarantee) };
    }

    pub(super) fn standing(&self, thread: usize) -> Standing {
        let unused = self.kept.iter().filter(|(task, _)| !self.open.contains_key(task));
        let mut offset_sums: BTreeMap<TaskId, i64> = unused.map(|(task, sum)| (*task, *sum)).collect();
        let thread = &self.threads[thread];
        let being_made = thread.making.keys().filter_map(|task| Some((*task, *self.kept.get(task)?)));
        offset_sums.extend(being_made);
        offset_sums.extend(thread.standbys.iter().map(|(task, state)| (*task, *state)));
        offset_sums.extend(thread.tasks.iter().map(|(task, local)| match thread.machine.is_complete(*task) {
            true => (*task, LATEST_OFFSET),
            false => (*task, local.state),
        }));
        Standing { offset_sums }
    }
}
