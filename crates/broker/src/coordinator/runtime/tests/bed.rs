//! One partition of counters by hand, with a clock that the test moves.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::sync::oneshot::error::TryRecvError;
use vltava_protocol::ErrorCode;

use super::counter::{CounterShard, IdleMs, runtime_config};
use crate::coordinator::memory_log::MemoryLog;
use crate::coordinator::runtime::Shared;
use crate::coordinator::runtime::context::{CoordinatorContext, Outcome, Pending};
use crate::coordinator::shard::{Now, Shard};

pub(super) const PARTITION: i32 = 3;

pub(super) struct Bed {
    pub(super) log: Arc<MemoryLog>,
    pub(super) context: CoordinatorContext<CounterShard>,
    pub(super) now: Now,
    shared: Arc<Shared<CounterShard>>,
    /// The effects that were given out, with the leader epochs they were of.
    pub(super) performed: Arc<Mutex<Vec<(i32, String, i64)>>>,
}

impl Bed {
    /// Makes a partition that is not loaded yet, with an empty log.
    pub(super) fn new(idle_ms: i64) -> Self {
        let log = Arc::new(MemoryLog::default());
        let shard_config = Arc::new(IdleMs(idle_ms));
        let performed: Arc<Mutex<Vec<_>>> = Arc::default();
        let perform = {
            let performed = Arc::clone(&performed);
            Box::new(move |epoch, (name, total): (String, i64)| performed.lock().push((epoch, name, total)))
        };
        let shared = Arc::new(Shared { config: runtime_config(), shard_config, log: log.clone(), perform });
        let context = CoordinatorContext::new(shared.clone(), PARTITION, Arc::new(Notify::new()));
        let now = Now { elapsed_ms: 0, timestamp_ms: 1_700_000_000_000 };
        Self { log, context, now, shared, performed }
    }

    /// As [`Bed::new`], loaded.
    pub(super) fn loaded() -> Self {
        let mut bed = Self::new(i64::from(i32::MAX));
        bed.load();
        bed
    }

    pub(super) fn load(&mut self) {
        let load = self.context.begin_load().unwrap().expect("it has to be loaded");
        let loaded = load.replay(0);
        self.context.finish_load(&load, loaded, self.now);
    }

    /// Starts the process anew, on the same log.
    pub(super) fn restart(&mut self) {
        self.context = CoordinatorContext::new(self.shared.clone(), PARTITION, Arc::new(Notify::new()));
    }

    pub(super) fn increment(&mut self, name: &str, by: i64) -> Outcome<i64> {
        self.context.run(self.now, |shard, now| shard.increment(now, name, by))
    }

    pub(super) fn get(&mut self, name: &str) -> Outcome<i64> {
        self.context.run(self.now, |shard, _| shard.get(name))
    }

    pub(super) fn wait_for(&mut self, name: &str, at_least: i64) -> Result<Pending<i64>, ErrorCode> {
        self.context.ask(self.now, |shard, _, token| shard.wait_for(name, at_least, token))
    }

    pub(super) fn commit(&mut self, offset: i64) {
        self.log.commit(PARTITION, offset);
        self.context.advance(self.now);
    }

    /// Lets time pass, with every deadline at its time.
    pub(super) fn advance(&mut self, ms: i64) {
        let end = self.now.elapsed_ms + ms;
        while let Some(deadline) = self.context.next_deadline().filter(|deadline| *deadline <= end) {
            self.set_clock(deadline.max(self.now.elapsed_ms));
            self.context.advance(self.now);
        }
        self.set_clock(end);
    }

    fn set_clock(&mut self, elapsed_ms: i64) {
        self.now.timestamp_ms += elapsed_ms - self.now.elapsed_ms;
        self.now.elapsed_ms = elapsed_ms;
    }

    /// Asserts that the state is what a replay of the log alone gives.
    pub(super) fn check_replay(&mut self) {
        let Some(shard) = self.context.shard() else { return };
        let mut replayed = CounterShard::new(&self.shared.shard_config, 0);
        for (offset, key, value) in self.log.records(PARTITION) {
            replayed.replay(offset, -1, CounterShard::decode(key, value).unwrap().unwrap());
        }
        assert_eq!(shard.counters, replayed.counters, "the shard is not what its log says");
    }
}

/// Looks for an answer; one that nobody will ever give is a failure.
pub(super) fn poll<R>(pending: &mut Pending<R>) -> Option<Result<R, ErrorCode>> {
    match pending.try_recv() {
        Ok(answer) => Some(answer),
        Err(TryRecvError::Empty) => None,
        Err(TryRecvError::Closed) => panic!("a request is forgotten"),
    }
}
