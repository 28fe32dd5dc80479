//! Several instances with two threads each, their group and its topics, in virtual time: members that are stopped for
//! longer than their session, between two turns or in the midst of any step, that do not poll, that crash; commits that
//! time out or come too late, records that cannot be sent, producers that are fenced, tasks that cannot be made,
//! restorations that fail. Members are cooperative, and the leader is the assignor itself.
//!
//! Checked at every step: a task is active in one place at most, nobody writes who is not its owner, nothing is committed
//! that was not flushed and acknowledged, no store keeps more than was committed, no record is committed unprocessed, and
//! a task that goes on neither skips nor repeats. A task that stays is the same after an assignment, unless something failed,
//! and works as long as its thread is a member, in a rebalance too; how much was done in them is counted. In the end every
//! task has run again and everything is committed.
//!
//! Tasks are made while others work, and may be given up before they are: nothing of their partitions is read until they begin to
//! work, and nobody has their directories meanwhile.
//!
//! Beside them there are up to two standbys of each task. Checked: a process has a task or a standby of it, never both, and its
//! stores are open once; stores that go from one to the other are never left in between; a standby has nothing that is not in
//! its changelog, and in the end all of it.
//!
//! Exactly once (`transactions.rs`) zombies may write, and what they write is aborted; processes are killed between any
//! two steps. Checked: what is committed of the results has each record's once and none's without its offset; no store
//! keeps what is not committed, and none begins to work ahead of its records or behind them.
//!
//! `MACHINE_SEED=n cargo test -p vltava-streams --lib machine::simulation` replays one seed. `cargo xtask ci` runs
//! thirty thousand rebalances (`MACHINE_SEEDS`, of which `MACHINE_REBALANCES` are wanted), `cargo xtask soak` others
//! (from `MACHINE_FIRST` on).

mod broken;
mod making;
mod model;
mod runs;
mod standbys;
mod transactions;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use broken::Broken;
use model::{Given, Group, Instance, Local, Log, Thread};
use transactions::Coordinator;
use uuid::Uuid;
use vltava_client::{ClientError, TopicPartition};

use super::{Anew, Assignment, Event, Machine, Reason, Session, Step};
use crate::{config::Guarantee, runtime::assignor::Dealt, task::TaskId};

const INSTANCES: usize = 3;
const THREADS: usize = 2;
const PARTITIONS: i32 = 3;
/// In ms, as all times here.
const SESSION: u64 = 10_000;
const MAX_POLL: u64 = 30_000;
const TASK_TIMEOUT: u64 = 60_000;

/// Splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn one_in(&mut self, chances: u64) -> bool {
        self.below(chances) == 0
    }
}

fn partition_of(task: TaskId) -> TopicPartition {
    TopicPartition::new(format!("in-{}", task.subtopology), task.partition)
}

fn timed_out() -> ClientError {
    ClientError::Timeout { what: "something".into(), after: Duration::from_secs(1) }
}

/// What has happened, so that it is known to be tried.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    rebalances: u64,
    /// Tasks that have taken the place of a standby.
    promoted: u64,
    /// Tasks that stayed where they were in a rebalance.
    stayed: u64,
    /// Records that were processed between a join and its assignment.
    meanwhile: u64,
}

impl Seen {
    fn and(self, other: Self) -> Self {
        Seen {
            rebalances: self.rebalances + other.rebalances,
            promoted: self.promoted + other.promoted,
            stayed: self.stayed + other.stayed,
            meanwhile: self.meanwhile + other.meanwhile,
        }
    }
}

struct World {
    guarantee: Guarantee,
    coordinator: Coordinator,
    broken: Broken,
    /// The instance that stands still while others go on.
    stopped: Option<usize>,
    random: Random,
    zero: Instant,
    now: u64,
    faults: bool,
    next_member: u64,
    /// How many tasks were made.
    made: u64,
    seen: Seen,
    tasks: BTreeSet<TaskId>,
    logs: BTreeMap<TaskId, Log>,
    group: Group,
    instances: Vec<Instance>,
}

impl World {
    fn new(seed: u64, guarantee: Guarantee, broken: Broken) -> Self {
        let tasks: BTreeSet<TaskId> = (0..2u32)
            .flat_map(|subtopology| (0..PARTITIONS).map(move |partition| TaskId { subtopology, partition }))
            .collect();
        // As if the machine had forgotten that the others are in the same transaction.
        let machines = if broken == Broken::Alone { Guarantee::AtLeastOnce } else { guarantee };
        World {
            guarantee,
            coordinator: Coordinator::default(),
            broken,
            stopped: None,
            random: Random(seed),
            zero: Instant::now(),
            now: 1,
            faults: true,
            next_member: 0,
            logs: tasks.iter().map(|task| (*task, Log::default())).collect(),
            tasks,
            made: 0,
            seen: Seen::default(),
            group: Group { replicas: (seed % 3) as usize, ..Group::default() },
            instances: (0..INSTANCES).map(|at| Instance::new(Uuid::from_u128(at as u128), 1, machines)).collect(),
        }
    }

    fn look_at_group(&mut self) {
        let logs = &self.logs;
        self.group.look(self.now, self.broken, || logs.iter().map(|(task, log)| (*task, log.changelog)).collect());
    }

    fn fault(&mut self, chances: u64) -> bool {
        self.faults && self.random.one_in(chances)
    }

    fn thread(&mut self, at: (usize, usize)) -> &mut Thread {
        &mut self.instances[at.0].threads[at.1]
    }

    fn in_session(&self, at: (usize, usize)) -> bool {
        self.instances[at.0].threads[at.1].in_session(self.now)
    }

    fn session(&self, at: (usize, usize)) -> Session {
        self.instances[at.0].threads[at.1].session(self.now)
    }

    fn next_number(&mut self) -> u64 {
        self.made += 1;
        self.made
    }

    fn on(&mut self, at: (usize, usize), event: Event) {
        let now = |world: &Self| world.zero + Duration::from_millis(world.now);
        let at_once = now(self);
        self.thread(at).machine.on(event, at_once);
        while let Some(step) = self.thread(at).machine.next_step() {
            let answer = match self.guarantee {
                Guarantee::AtLeastOnce => self.perform(at, step),
                Guarantee::ExactlyOnce => self.perform_exactly_once(at, step),
            };
            if let Some(event) = answer {
                let now = now(self);
                self.thread(at).machine.on(event, now);
            }
            self.check();
        }
        assert!(self.thread(at).recycled.is_empty(), "stores are left between a task and its standby");
    }

    fn is_exactly_once(&self) -> bool {
        self.guarantee == Guarantee::ExactlyOnce
    }

    /// In the midst of something the process may be stopped, and the others go on.
    fn maybe_stop(&mut self, instance: usize, chances: u64) {
        if self.stopped.is_some() || !self.fault(chances) {
            return;
        }
        self.stopped = Some(instance);
        let until = self.now + self.random.below(SESSION * 4);
        while self.now < until {
            self.act();
        }
        self.stopped = None;
    }

    /// At most one member of the group works on a task, and one thread of an instance has its directory.
    fn check(&self) {
        let mut active = BTreeSet::new();
        for instance in &self.instances {
            for (number, thread) in instance.threads.iter().enumerate() {
                for task in thread.tasks.keys() {
                    assert_eq!(instance.open.get(task), Some(&number), "{task} is open in two threads");
                }
                for task in thread.making.keys() {
                    assert_eq!(instance.open.get(task), Some(&number), "{task} is open in two threads");
                    assert!(!thread.tasks.contains_key(task), "{task} is made twice");
                }
                for (task, state) in &thread.standbys {
                    assert_eq!(instance.open.get(task), Some(&number), "{task} is open in two threads");
                    assert!(!thread.tasks.contains_key(task), "{task} is active and a standby");
                    // What a thread has committed itself it knows before others see it.
                    let has = self.logs[task].changelog.max(self.logs[task].decided);
                    assert!(*state <= has, "the standby of {task} has what is not in its changelog");
                }
                let is_member = thread.member.is_some_and(|member| self.group.members.contains_key(&member));
                for task in thread.machine.working().filter(|_| is_member && thread.in_session(self.now)) {
                    assert!(active.insert(task), "{task} is active twice");
                }
            }
            for (task, kept) in instance.kept.iter().filter(|_| self.is_exactly_once()) {
                assert!(*kept <= self.logs[task].decided, "the store of {task} keeps what is not committed");
            }
        }
    }

    /// The member behind a thread is one, and the task is its own.
    fn assert_owner(&self, at: (usize, usize), task: TaskId, what: &str) {
        let member = self.instances[at.0].threads[at.1].member.and_then(|member| self.group.members.get(&member));
        let member = member.unwrap_or_else(|| panic!("{what} {task} by a thread that is no member any more"));
        assert!(member.holds(task), "{what} {task}, which is another's");
    }

    // ---- steps ----

    fn perform(&mut self, at: (usize, usize), step: Step) -> Option<Event> {
        if let Some(answer) = self.perform_of_making(at, &step) {
            return answer;
        }
        match step {
            Step::Pause(..) | Step::Make(..) | Step::MakeStandby(_) | Step::Unmake(_) => {}
            Step::Start(task) => {
                self.thread(at).paused.remove(&task);
                let changelog = self.logs[&task].changelog;
                let local = self.thread(at).tasks.get_mut(&task).expect("a task that is started was made");
                assert!(local.restoring == 0 && !local.started, "{task} is started before it is restored");
                local.started = true;
                // The store covers all of its changelog.
                self.instances[at.0].kept.insert(task, changelog);
            }
            Step::Suspend(task) => assert!(self.thread(at).tasks.contains_key(&task), "{task} is suspended twice"),
            Step::Flush(tasks) => return Some(self.flush(at, tasks)),
            Step::Deliver => return Some(self.deliver(at)),
            Step::Commit(tasks) => return Some(self.commit(at, &tasks)),
            Step::Checkpoint(tasks) => {
                for task in tasks {
                    let committed = self.logs[&task].committed;
                    let local = &self.instances[at.0].threads[at.1].tasks[&task];
                    assert!(local.processed <= committed, "the store of {task} keeps what is not committed");
                    let kept = local.delivered.max(local.committed);
                    self.instances[at.0].kept.insert(task, kept);
                }
            }
            Step::Discard if self.broken == Broken::Discard => {}
            Step::Discard => self.thread(at).given.clear(),
            Step::Close(task) => {
                let local = self.let_go(at, task);
                if local.started {
                    assert_eq!(
                        local.processed, local.committed,
                        "{task} is closed with progress that is not committed"
                    );
                }
            }
            Step::Abandon { task, rewind } => {
                self.abandoned(at, task, rewind);
                drop(self.let_go(at, task));
            }
            Step::CheckpointStandbys(standbys) => self.checkpoint_standbys(at, standbys),
            Step::CloseStandby(task) => self.close_standby(at, task, true),
            Step::AbandonStandby(task) => self.close_standby(at, task, false),
            Step::Recycle(task) => self.recycle(at, task),
            Step::Rejoin => self.thread(at).rejoin = true,
            Step::Fail { task, .. } => {
                assert!(self.thread(at).machine.error_of(task).is_some());
                self.thread(at).failed = true;
            }
        }
        None
    }

    fn let_go(&mut self, at: (usize, usize), task: TaskId) -> Local {
        let local = self.thread(at).tasks.remove(&task).expect("a task that is given up was made");
        assert_eq!(self.instances[at.0].open.remove(&task), Some(at.1));
        local
    }

    fn flush(&mut self, at: (usize, usize), tasks: Vec<TaskId>) -> Event {
        let mut failed = Anew::default();
        if let Some(first) = tasks.first() {
            self.assert_owner(at, *first, "flushing");
        }
        for task in tasks {
            self.maybe_stop(at.0, 200);
            if self.fault(60) {
                failed.failed(task, timed_out());
                continue;
            }
            self.give(at, task);
        }
        Event::Flushed(failed)
    }

    /// What a task has processed goes to the producer.
    fn give(&mut self, at: (usize, usize), task: TaskId) {
        let thread = self.thread(at);
        let since = thread.owned.get(&task).copied().unwrap_or(0);
        let local = thread.tasks.get_mut(&task).expect("a task that is flushed was made");
        assert!(local.started, "{task} is flushed that never began");
        let from = std::mem::replace(&mut local.flushed, local.processed);
        if from < local.flushed {
            thread.given.push_back(Given { task, since, from, to: local.flushed });
        }
    }

    /// The producer sends what it was given first. Whether it could.
    fn send(&mut self, at: (usize, usize)) -> bool {
        self.maybe_stop(at.0, 200);
        let waits_for_join = self.broken == Broken::Join && self.thread(at).joined;
        if !self.in_session(at) && self.broken != Broken::Session && !waits_for_join {
            return false;
        }
        let Some(Given { task, since, from, to }) = self.thread(at).given.pop_front() else { return false };
        self.assert_owner(at, task, "writing");
        let now_since = self.thread(at).owned.get(&task).copied();
        assert_eq!(Some(since), now_since, "{task} is written as of an earlier assignment");
        let log = self.logs.get_mut(&task).expect("a task of the topology");
        log.delivered.extend(from..to);
        log.changelog = log.changelog.max(to);
        true
    }

    fn deliver(&mut self, at: (usize, usize)) -> Event {
        if self.fault(80) {
            return Event::Migrated;
        }
        let tasks: Vec<TaskId> = self.thread(at).tasks.keys().copied().collect();
        let mut failed = Anew::default();
        for task in tasks {
            if self.fault(60) {
                failed.failed(task, timed_out());
                // Some of it arrives.
                let mut of_task = self.thread(at).given.iter_mut().filter(|given| given.task == task);
                if let Some(given) = of_task.next() {
                    given.to = given.from + (given.to - given.from) / 2;
                }
                let mut has_first = false;
                self.thread(at).given.retain(|given| given.task != task || !std::mem::replace(&mut has_first, true));
            }
        }
        while !self.thread(at).given.is_empty() {
            if !self.send(at) {
                return Event::OutOfSession(failed);
            }
        }
        for (task, local) in &mut self.thread(at).tasks {
            if failed.ids().all(|failed| failed != *task) {
                local.delivered = local.flushed;
            }
        }
        Event::Delivered(failed)
    }

    fn commit(&mut self, at: (usize, usize), tasks: &[TaskId]) -> Event {
        let now = self.now;
        let thread = &self.instances[at.0].threads[at.1];
        let offsets: Vec<(TaskId, i64)> = tasks
            .iter()
            .map(|task| (*task, &thread.tasks[task]))
            .inspect(|(task, local)| {
                assert_eq!(local.delivered, local.processed, "{task} commits what was not acknowledged");
            })
            .filter(|(_, local)| local.processed != local.committed)
            .map(|(task, local)| (task, local.processed))
            .collect();
        let advanced: BTreeSet<TaskId> = offsets.iter().map(|(task, _)| *task).collect();
        if offsets.is_empty() {
            return Event::Committed { advanced };
        }
        // Slow brokers: the session may end meanwhile.
        if self.fault(30) {
            self.now += self.random.below(SESSION * 2);
            self.look_at_group();
        }
        let thread = &self.instances[at.0].threads[at.1];
        let is_member = thread.member.is_some_and(|member| self.group.members.contains_key(&member));
        if !is_member || thread.generation != self.group.generation {
            self.thread(at).out |= !is_member;
            return Event::Migrated;
        }
        if self.now == now && self.fault(20) {
            return Event::NotCommitted(None);
        }
        let lost_answer = self.fault(20);
        let arrived = !lost_answer || self.random.one_in(2);
        if arrived {
            for (task, offset) in offsets {
                let log = self.logs.get_mut(&task).expect("a task of the topology");
                assert!(offset >= log.committed, "the offset of {task} goes back");
                assert!((log.committed..offset).all(|at| log.delivered.contains(&at)), "{task} skips records");
                log.committed = offset;
                if !lost_answer {
                    self.thread(at).tasks.get_mut(&task).expect("a task of this thread").committed = offset;
                }
            }
        }
        if lost_answer { Event::NotCommitted(Some(timed_out())) } else { Event::Committed { advanced } }
    }

    // ---- what a thread does ----

    /// The background of a thread's consumer: a heartbeat goes out, or its answer comes.
    fn heartbeat(&mut self, at: (usize, usize)) {
        let now = self.now;
        let thread = &mut self.instances[at.0].threads[at.1];
        let is_stopped = thread.stopped_until > now || self.stopped == Some(at.0);
        let Some(member) = thread.member.filter(|_| !is_stopped && !thread.out) else { return };
        if now >= thread.polled + MAX_POLL {
            thread.out = true;
            return self.group.remove(member, now);
        }
        let Some(sent) = thread.beat_sent.take() else {
            thread.beat_sent = Some(now);
            if let Some(member) = self.group.members.get_mut(&member) {
                member.heard = now;
            }
            return;
        };
        if self.group.members.contains_key(&member) {
            thread.confirmed = sent;
            thread.told |= self.group.rebalance.is_some();
        } else {
            thread.out = true;
        }
    }

    /// What `poll` does for the group.
    fn poll(&mut self, at: (usize, usize)) {
        let now = self.now;
        self.thread(at).polled = now;
        if self.thread(at).out {
            self.on(at, Event::Lost);
            let thread = self.thread(at);
            (thread.member, thread.out, thread.joined, thread.told) = (None, false, false, false);
            (thread.generation, thread.beat_sent) = (0, None);
            thread.owned.clear();
        }
        if self.thread(at).joined && !self.has_to_join_another(at) {
            return self.take_assignment(at);
        }
        let thread = self.thread(at);
        let joins = thread.member.is_none() || thread.told || thread.joined;
        if !joins {
            return;
        }
        let (process, standing) = (self.instances[at.0].process, self.instances[at.0].standing(at.1));
        let known = self.thread(at).member.filter(|member| self.group.members.contains_key(member));
        if self.thread(at).member.is_some() && known.is_none() {
            self.thread(at).out = true;
            return;
        }
        let member = known.unwrap_or_else(|| {
            self.next_member += 1;
            self.next_member
        });
        let before = self.logs.iter().map(|(task, log)| (*task, log.committed)).collect();
        self.thread(at).before = before;
        let owned = self.thread(at).owned.keys().copied().collect();
        self.group.begin_rebalance(self.now);
        let entry = self.group.members.entry(member).or_default();
        (entry.heard, entry.joined) = (self.now, true);
        (entry.process, entry.standing, entry.owned) = (process, standing, owned);
        // What it was assigned before and has not taken it does not have.
        entry.assignment = Dealt::default();
        let now = self.now;
        let thread = self.thread(at);
        (thread.member, thread.joined, thread.told, thread.confirmed) = (Some(member), true, false, now);
    }

    /// Another rebalance has begun since it has joined the last one, whose assignment is not to be had any more.
    fn has_to_join_another(&self, at: (usize, usize)) -> bool {
        let member = self.instances[at.0].threads[at.1].member.and_then(|member| self.group.members.get(&member));
        self.group.rebalance.is_some() && member.is_some_and(|member| !member.joined)
    }

    fn take_assignment(&mut self, at: (usize, usize)) {
        let Some(id) = self.thread(at).member else { return };
        let Some(member) = self.group.members.get_mut(&id) else {
            self.thread(at).out = true;
            return;
        };
        // A join that waits counts as a sign of life.
        member.heard = self.now;
        if self.group.rebalance.is_some() {
            return;
        }
        let Dealt { mut active, standbys, asks_again } = member.assignment.clone();
        let (now, generation, broken) = (self.now, self.group.generation, self.broken);
        let thread = self.thread(at);
        if broken == Broken::NotGivenUp {
            active.extend(thread.owned.keys());
        }
        (thread.joined, thread.rejoin, thread.generation, thread.confirmed) = (false, false, generation, now);
        let gone: BTreeSet<TaskId> = thread.owned.keys().filter(|task| !active.contains(task)).copied().collect();
        thread.told = (asks_again || !gone.is_empty()) && broken != Broken::FollowUp;
        let had: BTreeMap<TaskId, u64> = thread.tasks.iter().map(|(task, local)| (*task, local.number)).collect();
        let given_up = thread.given_up;
        if !gone.is_empty() {
            let session = self.session(at);
            match broken {
                Broken::Revoke => gone.iter().for_each(|task| {
                    if let Some(local) = self.thread(at).tasks.get_mut(task) {
                        local.committed = local.processed;
                    }
                }),
                _ => self.on(at, Event::Revoked { tasks: gone, session }),
            }
        }
        let thread = self.thread(at);
        // It may have been killed, or has found out that it is none.
        if thread.member != Some(id) || thread.rejoin {
            return;
        }
        thread.owned.retain(|task, _| active.contains(task));
        for task in &active {
            thread.owned.entry(*task).or_insert(generation);
        }
        let stay: Vec<_> = had.into_iter().filter(|(task, _)| active.contains(task)).collect();
        let tasks = active.into_iter().map(|task| (task, vec![partition_of(task)])).collect();
        self.on(at, Event::Assigned(Assignment { tasks, standbys }));
        let thread = self.thread(at);
        let is_as_it_was = thread.member == Some(id) && !thread.rejoin && thread.given_up == given_up;
        if is_as_it_was {
            for (task, number) in &stay {
                let local = self.thread(at).tasks.get(task);
                assert_eq!(local.map(|local| local.number), Some(*number), "{task} stays, and was made again");
            }
            self.seen.stayed += stay.len() as u64;
        }
    }

    /// One turn of a thread.
    fn turn(&mut self, at: (usize, usize)) {
        if self.thread(at).stopped_until > self.now || self.stopped == Some(at.0) {
            return;
        }
        self.poll(at);
        self.go_on_making(at);
        let session = self.session(at);
        self.on(at, Event::MakePending(session));
        self.restore(at);
        self.follow(at);
        let session = self.session(at);
        self.on(at, Event::Tick(session));
        self.process(at);
        if self.fault(50) {
            let thread = &self.instances[at.0].threads[at.1];
            let failed = thread.machine.working().take(1).map(|task| (task, Reason::Passing(timed_out()))).collect();
            self.on(at, Event::BeginAnew(failed));
        }
        if self.fault(50) {
            let thread = &self.instances[at.0].threads[at.1];
            let damaged = thread.machine.working().take(1).map(|task| (task, Reason::Damaged)).collect();
            self.on(at, Event::BeginAnew(damaged));
        }
        if self.random.one_in(3) {
            let (session, urgent) = (self.session(at), self.random.one_in(3));
            self.on(at, Event::Commit { session, urgent });
        }
        if self.thread(at).failed {
            return self.end(at, false);
        }
        if std::mem::take(&mut self.thread(at).rejoin) {
            let member = self.thread(at).member.take();
            let session = self.session(at);
            let tasks = std::mem::take(&mut self.thread(at).owned).into_keys().collect();
            self.on(at, Event::Revoked { tasks, session });
            let now = self.now;
            member.into_iter().for_each(|member| self.group.remove(member, now));
            let thread = self.thread(at);
            (thread.out, thread.joined, thread.told, thread.generation) = (false, false, false, 0);
            thread.beat_sent = None;
        }
        let thread = self.thread(at);
        let is_stable = thread.member.is_some() && thread.generation > 0 && !thread.joined && !thread.out;
        assert!(thread.machine.is_assigned() || !is_stable, "a member without tasks that does not join again");
    }

    fn restore(&mut self, at: (usize, usize)) {
        let tasks: Vec<TaskId> = self.thread(at).tasks.keys().copied().collect();
        for task in tasks {
            // It may have been killed.
            if self.thread(at).tasks.get(&task).is_none_or(|local| local.restoring == 0) {
                continue;
            }
            if self.is_exactly_once() && !self.restore_exactly_once(at, task) {
                continue;
            }
            if self.fault(6) {
                self.on(at, Event::NotRestoring(task, timed_out()));
                continue;
            }
            let local = self.thread(at).tasks.get_mut(&task).expect("a task of this thread");
            local.restoring -= 1;
            let complete = local.restoring == 0;
            self.on(at, Event::Restoring(task));
            if complete {
                self.on(at, Event::Restored(task));
            }
        }
    }

    fn process(&mut self, at: (usize, usize)) {
        let working: Vec<TaskId> = self.thread(at).machine.working().collect();
        if self.in_session(at) {
            let mut started = self.thread(at).tasks.iter().filter(|(_, local)| local.started);
            assert!(started.all(|(task, _)| working.contains(task)), "a task stands still whose thread is a member");
        }
        self.check_what_is_read(at);
        let is_meanwhile = self.thread(at).joined;
        for task in working {
            // The thread may have been stopped meanwhile; what it processes then it does not write.
            if self.stopped.is_none() && self.in_session(at) {
                self.assert_owner(at, task, "processing");
            }
            // It may have been killed.
            if !self.thread(at).tasks.contains_key(&task) {
                break;
            }
            let (end, count) = (self.logs[&task].end, self.random.below(4) as i64);
            let local = self.thread(at).tasks.get_mut(&task).expect("a task that works was made");
            assert!(local.started, "{task} works that never began");
            let count = count.min(end - local.fetch).max(0);
            for _ in 0..count {
                assert_eq!(local.fetch, local.processed, "{task} skips or repeats records");
                local.fetch += 1;
                local.processed += 1;
            }
            local.state = local.processed;
            self.seen.meanwhile += if is_meanwhile { count.cast_unsigned() } else { 0 };
            // Without a cache, or for want of room in it; and the producer does not wait for a commit.
            if self.random.one_in(3) {
                self.give(at, task);
            }
            self.maybe_stop(at.0, 400);
        }
        while self.random.one_in(2) {
            let sent = if self.is_exactly_once() { self.send_exactly_once(at).unwrap_or(false) } else { self.send(at) };
            if !sent {
                break;
            }
        }
    }

    /// A thread ends and another one takes its place.
    fn end(&mut self, at: (usize, usize), clean: bool) {
        let session = self.session(at);
        if clean {
            self.on(at, Event::Close(session));
        }
        self.on(at, Event::GiveUp);
        assert!(self.thread(at).tasks.is_empty() && self.thread(at).standbys.is_empty(), "tasks are left behind");
        for (task, making) in std::mem::take(&mut self.thread(at).making) {
            assert!(!making.is_wanted, "{task} is left being made");
            self.instances[at.0].open.remove(&task);
        }
        let now = self.now;
        if let Some(member) = self.thread(at).member.take() {
            self.group.remove(member, now);
        }
        let guarantee = self.instances[at.0].guarantee;
        *self.thread(at) = Thread::new(now, guarantee);
    }

    // ---- what happens ----

    fn any_thread(&mut self) -> (usize, usize) {
        let [instance, thread] = [INSTANCES, THREADS].map(|count| self.random.below(count as u64) as usize);
        (instance, thread)
    }

    fn act(&mut self) {
        let at = self.any_thread();
        match self.random.below(100) {
            0..=54 => self.turn(at),
            55..=79 => self.heartbeat(at),
            80..=92 => {
                self.now += self.random.below(1500);
                self.look_at_group();
                self.look_at_transactions();
            }
            93..=95 => {
                let task = *self.tasks.iter().nth(self.random.below(self.tasks.len() as u64) as usize).expect("tasks");
                self.logs.get_mut(&task).expect("a log").end += self.random.below(9) as i64;
            }
            // A whole process is stopped, or one thread is busy.
            96 if self.fault(2) => {
                let until = self.now + self.random.below(SESSION * 3);
                self.instances[at.0].threads.iter_mut().for_each(|thread| thread.stopped_until = until);
            }
            97 if self.fault(2) => self.thread(at).polled -= MAX_POLL.min(self.instances[at.0].threads[at.1].polled),
            98 | 99 if self.stopped == Some(at.0) => {}
            98 if self.fault(6) => self.end(at, true),
            99 if self.fault(10) => self.instances[at.0].kill(self.now),
            _ => {}
        }
    }

    /// Without faults: whatever has happened, everything is worked off; and again after each thread had a task that begins
    /// anew, which no rebalance comes to help, and after each was fenced.
    fn settle(&mut self) {
        self.faults = false;
        self.work_off();
        for is_fenced in [false, true] {
            for at in Self::threads() {
                let task = self.instances[at.0].threads[at.1].machine.working().next();
                let anew = task.into_iter().map(|task| (task, Reason::Passing(timed_out()))).collect();
                self.on(at, if is_fenced { Event::Migrated } else { Event::BeginAnew(anew) });
            }
            self.logs.values_mut().for_each(|log| log.end += 3);
            self.work_off();
        }
    }

    fn threads() -> impl Iterator<Item = (usize, usize)> {
        (0..INSTANCES).flat_map(|instance| (0..THREADS).map(move |thread| (instance, thread)))
    }

    fn work_off(&mut self) {
        for _ in 0..4000 {
            for at in Self::threads() {
                self.heartbeat(at);
                self.heartbeat(at);
                self.turn(at);
            }
            self.now += 500;
            self.look_at_group();
            self.look_at_transactions();
            let all_running = self.instances.iter().flat_map(|i| &i.threads).all(|t| t.machine.all_running());
            if all_running && self.logs.values().all(|log| log.committed == log.end) && self.all_follow() {
                return;
            }
        }
        let left: Vec<_> = self.logs.iter().filter(|(_, log)| log.committed < log.end).map(|(task, _)| task).collect();
        panic!("not worked off: {left:?}");
    }
}
