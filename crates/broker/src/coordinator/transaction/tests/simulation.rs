//! Random schedules, by seed: producers of both generations, two of each transactional id, write records and offsets in
//! transactions. Requests and answers are lost, late and doubled; producers die; the coordinators' logs are slow, fail with
//! and without having written, and have other leaders; the process of the broker dies; the wall clock jumps; markers fail,
//! and are written in any order.
//!
//! After every step:
//! - a marker is of the decision that stands, and of its coordinator's log, where that is committed;
//! - readers of committed records see all of a transaction in a partition up to its last stable offset, or nothing, and
//!   what they saw they see for ever;
//! - nothing that a producer sent is seen that was fenced before it was appended;
//! - a replay of its log alone gives the state of the coordinator.
//!
//! At the end everything works again: then
//! - no transaction is open, and the last stable offset is the end of every partition;
//! - of a transaction that its producer was told is committed everything is seen that was acknowledged, of one that was told
//!   aborted nothing, of any other all or nothing;
//! - the offsets of a transaction count if, and only if, its records are seen.
//!
//! A failure prints its seed; `VLTAVA_SEED=n` runs that one. `cargo xtask soak` draws others, and more.

mod broker;
mod client;
mod truth;

use broker::Broker;
use client::{Client, Packet};
use truth::Truth;

/// Of one schedule.
const STEPS: u32 = 500;
/// Of a plain run.
const SEEDS: u64 = 60;
/// Two producers of each of two ids, one of either generation.
const CLIENTS: usize = 4;

#[test]
fn no_schedule_breaks_a_transaction() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let first = number("TRANSACTION_FIRST").unwrap_or(0);
    let seeds = match number("VLTAVA_SEED") {
        Some(seed) => seed..seed + 1,
        None => first..first + number("TRANSACTION_SEEDS").unwrap_or(SEEDS),
    };
    let mut seen = Seen::default();
    for seed in seeds.clone() {
        let run = std::panic::catch_unwind(|| Simulation::new(seed).run());
        match run {
            Ok(of_run) => seen.add(&of_run),
            Err(panic) => {
                eprintln_seed(seed);
                std::panic::resume_unwind(panic);
            }
        }
    }
    if seeds.end - seeds.start >= SEEDS {
        seen.check();
    }
}

#[allow(clippy::print_stderr)]
fn eprintln_seed(seed: u64) {
    eprintln!("the schedule of VLTAVA_SEED={seed} fails");
}

/// How often what the schedules are for has happened.
#[derive(Debug, Default)]
struct Seen {
    counts: std::collections::BTreeMap<&'static str, u64>,
}

/// What has to happen now and then, or the schedules are for nothing.
const WANTED: [&str; 13] = [
    "told committed",
    "told aborted",
    "never told",
    "fenced",
    "timed out",
    "lost",
    "doubled",
    "died",
    "broker died",
    "deposed",
    "append failed",
    "marker failed",
    "epochs used up",
];

impl Seen {
    fn note(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn add(&mut self, other: &Self) {
        for (what, count) in &other.counts {
            *self.counts.entry(what).or_default() += count;
        }
    }

    fn check(&self) {
        for what in WANTED {
            assert!(self.counts.get(what).is_some_and(|count| *count >= 5), "hardly anything is {what}: {self:?}");
        }
    }
}

struct Simulation {
    random: fastrand::Rng,
    broker: Broker,
    clients: Vec<Client>,
    /// What is on its way, in no order.
    network: Vec<Packet>,
    truth: Truth,
    seen: Seen,
}

impl Simulation {
    fn new(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let broker = Broker::new(random.u64(..), random.bool());
        let clients = (0..CLIENTS).map(|index| Client::new(index, random.bool())).collect();
        Self { random, broker, clients, network: Vec::new(), truth: Truth::default(), seen: Seen::default() }
    }

    fn run(mut self) -> Seen {
        for _ in 0..STEPS {
            self.step();
            self.check();
        }
        self.come_to_rest();
        for what in self.broker.seen.drain(..) {
            self.seen.note(what);
        }
        self.seen
    }

    fn step(&mut self) {
        match self.random.u32(..1_000) {
            0..450 => self.deliver(),
            450..600 => {
                let index = self.random.usize(..CLIENTS);
                let packet = self.clients[index].act(&mut self.random, &mut self.truth);
                self.network.extend(packet);
            }
            600..700 => {
                let index = self.random.usize(..CLIENTS);
                self.network.extend(self.clients[index].repeat());
            }
            700..704 => {
                let index = self.random.usize(..CLIENTS);
                self.clients[index].die();
                self.seen.note("died");
            }
            704..850 => self.broker.work(&mut self.random, false),
            850..880 => {
                let ms = self.random.i64(1..3_000);
                self.broker.pass(ms);
            }
            880..882 => {
                let ms = self.random.i64(-120_000..120_000);
                self.broker.now.timestamp_ms += ms;
            }
            882..922 => self.broker.commit_some(&mut self.random),
            922..926 => self.broker.fail_or_not(&mut self.random),
            926..950 => self.broker.repair(),
            950..953 => {
                self.broker.depose(&mut self.random);
                self.seen.note("deposed");
            }
            953..955 => {
                self.broker.die();
                // What was on its way from or within the broker is lost with it.
                self.network.retain(Packet::is_request);
                self.seen.note("broker died");
            }
            _ => self.broker.load(),
        }
        self.network.extend(self.broker.take_told(&mut self.truth));
    }

    /// Something arrives, twice, or never.
    fn deliver(&mut self) {
        if self.network.is_empty() {
            return;
        }
        let at = self.random.usize(..self.network.len());
        let packet = match self.random.u32(..100) {
            0..5 if self.network[at].may_be_doubled() => {
                self.seen.note("doubled");
                self.network[at].clone()
            }
            5..11 => {
                self.seen.note("lost");
                self.network.swap_remove(at);
                return;
            }
            _ => self.network.swap_remove(at),
        };
        match packet {
            Packet::Answer(answer) => {
                let index = answer.request.client;
                if let Some(what) = self.clients[index].take(answer, &mut self.truth) {
                    self.seen.note(what);
                }
            }
            request => self.broker.take(request, &mut self.truth),
        }
    }

    fn check(&mut self) {
        self.broker.check_replay();
        self.truth.check(&self.broker.data);
    }

    /// Nothing is lost or fails any more, and nobody begins anything.
    fn come_to_rest(&mut self) {
        self.network.clear();
        self.broker.repair();
        // The clock may have been before what began.
        self.broker.now.timestamp_ms += 3_600_000;
        for _ in 0..40 {
            self.broker.load();
            self.broker.commit_all();
            self.broker.work_off(&mut self.random);
            // Longer than any transaction may take.
            self.broker.pass(5_000);
            self.check();
        }
        self.broker.check_rest();
        let offsets = self.broker.offsets();
        for what in self.truth.check_end(&self.broker.data, &offsets) {
            self.seen.note(what);
        }
    }
}
