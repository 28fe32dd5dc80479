//! Random schedules, by seed: requests come, time passes, the high watermark follows at once or late, appends fail with
//! and without having written, loads take long, leaders change and lose what was not committed, the process dies, the
//! topic goes.
//!
//! After every step:
//! - who was answered was answered with what is committed, and that is never lost afterwards;
//! - a replay of the log alone gives the state of the shard;
//! - no request is forgotten: each has one answer, or waits.
//!
//! At the end everything works again, and nobody waits who should not. A failure prints its seed; `VLTAVA_SEED=n` runs
//! that one.

use bytes::Bytes;
use vltava_protocol::ErrorCode;

use super::bed::{Bed, PARTITION, poll};
use super::counter::CounterShard;
use super::counter::UNWRITABLE;
use crate::coordinator::memory_log::Fault;
use crate::coordinator::runtime::context::{Outcome, Pending};
use crate::coordinator::runtime::load::{Load, LoadError};

const STEPS: usize = 400;
const SEEDS: u64 = 100;
const NAMES: [&str; 3] = ["a", "b", "c"];

#[test]
fn no_schedule_breaks_the_runtime() {
    let seeds = match std::env::var("VLTAVA_SEED") {
        Ok(seed) => {
            let seed: u64 = seed.parse().unwrap();
            seed..seed + 1
        }
        Err(_) => 0..SEEDS,
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
    if seeds.end - seeds.start == SEEDS {
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
    at_once: u64,
    parked: u64,
    woken: u64,
    refused: u64,
    timed_out: u64,
    died: u64,
    expired: u64,
    performed: u64,
}

impl Seen {
    fn add(&mut self, other: &Self) {
        self.at_once += other.at_once;
        self.parked += other.parked;
        self.woken += other.woken;
        self.refused += other.refused;
        self.timed_out += other.timed_out;
        self.died += other.died;
        self.expired += other.expired;
        self.performed += other.performed;
    }

    fn check(&self) {
        let waited = [self.at_once, self.parked, self.woken, self.refused, self.timed_out];
        let counts = waited.into_iter().chain([self.died, self.expired, self.performed]).collect::<Vec<_>>();
        assert!(counts.iter().all(|count| *count > SEEDS), "hardly anything happens: {self:?}");
    }
}

/// What a request was about.
#[derive(Clone, Copy, Debug)]
enum Asked {
    Increment,
    Get,
}

struct Simulation {
    random: fastrand::Rng,
    bed: Bed,
    /// Operations whose value is not committed yet.
    parked: Vec<(Asked, &'static str, i64, Pending<()>)>,
    /// Requests for a counter to come somewhere.
    waiting: Vec<(&'static str, i64, Pending<i64>)>,
    loading: Option<(Load<CounterShard>, Result<CounterShard, LoadError>)>,
    /// Values of counters that somebody was told, which the log has for ever.
    told: Vec<(i64, Bytes, i64)>,
    seen: Seen,
}

impl Simulation {
    fn new(seed: u64) -> Self {
        Self {
            random: fastrand::Rng::with_seed(seed),
            bed: Bed::new(6_000),
            parked: Vec::new(),
            waiting: Vec::new(),
            loading: None,
            told: Vec::new(),
            seen: Seen::default(),
        }
    }

    fn run(mut self) -> Seen {
        for _ in 0..STEPS {
            self.step();
            self.check();
        }
        self.come_to_rest();
        self.seen
    }

    fn step(&mut self) {
        let name = self.random.choice(NAMES).unwrap();
        match self.random.u32(..1_000) {
            0..350 => self.increment(name),
            350..450 => self.get(name),
            450..520 => self.wait(name),
            520..630 => {
                let end = self.bed.log.end(PARTITION);
                let offset = self.random.i64(0..=end);
                self.bed.log.commit(PARTITION, offset);
            }
            630..730 => self.bed.context.advance(self.bed.now),
            730..790 => {
                let ms = self.random.choice([10, 1_000, 8_000]).unwrap();
                let before = self.bed.log.end(PARTITION);
                self.bed.advance(ms);
                self.seen.expired += u64::from(self.bed.log.end(PARTITION) > before);
            }
            790..820 => {
                let is_slow = self.random.bool();
                self.bed.log.set_slow(is_slow);
            }
            820..840 => {
                let error = ErrorCode::KafkaStorageError;
                let fault = self.random.choice([Fault::Refused(error), Fault::Written(error)]).unwrap();
                self.bed.log.fail(Some(fault));
                self.increment(name);
                if self.random.bool() {
                    self.bed.log.fail(None);
                }
            }
            840..880 => self.bed.log.fail(None),
            880..980 => self.load(),
            980..984 => assert!(self.bed.increment(UNWRITABLE, 1).is_err()),
            984..990 => self.bed.log.depose(PARTITION),
            990..996 => self.die(),
            _ => self.close(),
        }
    }

    fn increment(&mut self, name: &'static str) {
        let by = self.random.i64(1..5);
        let answered = self.bed.increment(name, by);
        self.note(Asked::Increment, name, answered);
    }

    fn get(&mut self, name: &'static str) {
        let answered = self.bed.get(name);
        self.note(Asked::Get, name, answered);
    }

    fn note(&mut self, asked: Asked, name: &'static str, answered: Outcome<i64>) {
        match answered {
            Ok((total, None)) => {
                self.seen.at_once += 1;
                self.note_told(asked, name, total);
            }
            Ok((total, Some(pending))) => {
                self.seen.parked += 1;
                self.parked.push((asked, name, total, pending));
            }
            Err(error) => self.note_refused(error),
        }
    }

    fn wait(&mut self, name: &'static str) {
        let at_least = self.random.i64(1..60);
        match self.bed.wait_for(name, at_least) {
            Ok(pending) => self.waiting.push((name, at_least, pending)),
            Err(error) => self.note_refused(error),
        }
    }

    /// Begins to load, or ends what was begun some time ago.
    fn load(&mut self) {
        match self.loading.take() {
            Some((load, loaded)) => self.bed.context.finish_load(&load, loaded, self.bed.now),
            None => {
                self.loading = self.bed.context.begin_load().unwrap().map(|load| {
                    let loaded = load.replay(0);
                    (load, loaded)
                });
            }
        }
    }

    /// The process dies, and all that it was asked with it.
    fn die(&mut self) {
        self.seen.died += (self.parked.len() + self.waiting.len()) as u64;
        self.parked.clear();
        self.waiting.clear();
        self.loading = None;
        self.bed.restart();
    }

    /// The topic goes, and another one comes that happens to have the same records.
    fn close(&mut self) {
        self.bed.context.close();
        self.check();
        assert!(self.parked.is_empty() && self.waiting.is_empty(), "a closed partition has nobody waiting");
        self.bed.restart();
    }

    fn check(&mut self) {
        for (asked, name, total, mut pending) in std::mem::take(&mut self.parked) {
            match poll(&mut pending) {
                None => self.parked.push((asked, name, total, pending)),
                Some(Ok(())) => self.note_told(asked, name, total),
                Some(Err(error)) => self.note_refused(error),
            }
        }
        for (name, at_least, mut pending) in std::mem::take(&mut self.waiting) {
            match poll(&mut pending) {
                None => self.waiting.push((name, at_least, pending)),
                Some(Ok(total)) => {
                    assert!(total >= at_least);
                    self.seen.woken += 1;
                    self.note_told(Asked::Increment, name, total);
                }
                Some(Err(error)) => self.note_refused(error),
            }
        }
        let records = self.bed.log.records(PARTITION);
        for (offset, key, total) in &self.told {
            let is_there = records.iter().any(|(at, name, value)| at == offset && name == key && is(value, *total));
            assert!(is_there, "{total} of {key:?} at offset {offset} was told, and is lost");
        }
        self.bed.check_replay();
        self.check_effects();
    }

    /// What was done outside was committed by then, and is never lost.
    fn check_effects(&mut self) {
        let performed = std::mem::take(&mut *self.bed.performed.lock());
        self.seen.performed += performed.len() as u64;
        for (_, name, total) in performed {
            let high_watermark = self.bed.log.high_watermark(PARTITION);
            let records = self.bed.log.records(PARTITION);
            let found = records
                .into_iter()
                .find(|(offset, key, value)| *offset < high_watermark && *key == name && is(value, total));
            let (offset, key, _) = found.unwrap_or_else(|| panic!("{total} of {name} was acted on uncommitted"));
            self.told.push((offset, key, total));
        }
    }

    /// Somebody was told of a value: the record of it is committed.
    fn note_told(&mut self, asked: Asked, name: &'static str, total: i64) {
        let high_watermark = self.bed.log.high_watermark(PARTITION);
        let records = self.bed.log.records(PARTITION);
        let mut committed = records.into_iter().filter(|(offset, key, _)| *offset < high_watermark && key == name);
        match asked {
            Asked::Get if total == 0 => {}
            Asked::Increment | Asked::Get => {
                let found = committed.find(|(_, _, value)| is(value, total));
                let (offset, key, _) = found.unwrap_or_else(|| panic!("{total} of {name} was told uncommitted"));
                self.told.push((offset, key, total));
            }
        }
    }

    fn note_refused(&mut self, error: ErrorCode) {
        match error {
            ErrorCode::CoordinatorNotAvailable => self.seen.timed_out += 1,
            ErrorCode::NotCoordinator | ErrorCode::CoordinatorLoadInProgress | ErrorCode::UnknownServerError => {
                self.seen.refused += 1;
            }
            other => panic!("no request is refused by {other:?}"),
        }
    }

    /// Everything works again: what waits for the log is answered, and a request succeeds.
    fn come_to_rest(&mut self) {
        self.bed.log.set_slow(false);
        self.bed.log.fail(None);
        self.bed.log.commit(PARTITION, i64::MAX);
        self.bed.context.advance(self.bed.now);
        self.check();
        assert!(self.parked.is_empty(), "everything is committed");
        while self.bed.context.shard().is_none() {
            self.load();
        }
        let (_, pending) = self.bed.increment("a", 100).unwrap();
        assert!(pending.is_none());
        self.check();
        assert!(self.waiting.iter().all(|(name, _, _)| *name != "a"), "the counter is far enough for everybody");
        self.close();
    }
}

fn is(value: &Option<Bytes>, total: i64) -> bool {
    value.as_deref() == Some(&total.to_be_bytes()[..])
}
