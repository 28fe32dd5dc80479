//! A coordinator of counters: an increment is a record, and one can wait for a counter to come somewhere.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use vltava_protocol::record::Compression;
use vltava_protocol::wire::{DecodeError, Reader};

use crate::coordinator::record::{RecordBytes, RecordError};
use crate::coordinator::runtime::RuntimeConfig;
use crate::coordinator::shard::{Now, Output, ReplyToken, Shard};
use crate::coordinator::timers::Timers;

/// The name of a counter whose records cannot be written.
pub(super) const UNWRITABLE: &str = "unwritable";

/// A counter that comes to a multiple of this has an effect.
pub(super) const TOLD_OF: i64 = 3;

/// After how long a counter that nobody counts with is forgotten, ms.
pub(super) struct IdleMs(pub(super) i64);

pub(super) struct CounterShard {
    pub(super) counters: BTreeMap<String, i64>,
    idle_ms: i64,
    waiting: Vec<(ReplyToken, String, i64)>,
    timers: Timers<String>,
    output: Output<i64, (String, i64)>,
}

impl CounterShard {
    /// Counts up; returns where the counter is then.
    pub(super) fn increment(&mut self, now: Now, name: &str, by: i64) -> i64 {
        let total = self.counters.get(name).copied().unwrap_or(0) + by;
        self.emit(name, Some(total));
        self.timers.schedule(name.to_owned(), now.elapsed_ms + self.idle_ms);
        if total % TOLD_OF == 0 {
            self.output.effects.push((name.to_owned(), total));
        }
        for (token, _, _) in
            self.waiting.extract_if(.., |(_, waits_for, at_least)| waits_for == name && total >= *at_least)
        {
            self.output.replies.push((token, total));
        }
        total
    }

    pub(super) fn get(&self, name: &str) -> i64 {
        self.counters.get(name).copied().unwrap_or(0)
    }

    /// Answers when the counter has come somewhere.
    pub(super) fn wait_for(&mut self, name: &str, at_least: i64, token: ReplyToken) {
        match self.get(name) {
            total if total >= at_least => self.output.replies.push((token, total)),
            _ => self.waiting.push((token, name.to_owned(), at_least)),
        }
    }

    fn emit(&mut self, name: &str, total: Option<i64>) {
        if name == UNWRITABLE {
            self.output.failure = Some(RecordError::Inconsistent("it is to fail"));
        }
        let value = total.map(|total| Bytes::copy_from_slice(&total.to_be_bytes()));
        self.output.records.push(RecordBytes { key: Bytes::copy_from_slice(name.as_bytes()), value });
        self.replay(0, -1, (name.to_owned(), total));
    }
}

impl Shard for CounterShard {
    const TOPIC: &'static str = "__counters";

    type Config = IdleMs;
    type Record = (String, Option<i64>);
    type Reply = i64;
    /// The name of a counter, and where it came that is worth telling.
    type Effect = (String, i64);

    fn new(config: &Arc<IdleMs>, _: u64) -> Self {
        Self {
            counters: BTreeMap::new(),
            idle_ms: config.0,
            waiting: Vec::new(),
            timers: Timers::default(),
            output: Output::default(),
        }
    }

    fn decode(key: Bytes, value: Option<Bytes>) -> Result<Option<Self::Record>, DecodeError> {
        let total = value.map(|value| Reader::new(value).i64()).transpose()?;
        Ok(Some((String::from_utf8_lossy(&key).into_owned(), total)))
    }

    fn replay(&mut self, _: i64, _: i64, (name, total): Self::Record) {
        match total {
            Some(total) => self.counters.insert(name, total),
            None => self.counters.remove(&name),
        };
    }

    fn replay_end_transaction(&mut self, _: i64, _: bool) {}

    fn loaded(&mut self, now: Now) {
        for name in self.counters.keys() {
            self.timers.schedule(name.clone(), now.elapsed_ms + self.idle_ms);
        }
    }

    fn next_deadline(&self) -> Option<i64> {
        self.timers.next_deadline()
    }

    fn expire(&mut self, now: Now) {
        while let Some(name) = self.timers.pop_due(now.elapsed_ms) {
            self.emit(&name, None);
        }
    }

    fn take_output(&mut self) -> Output<i64, (String, i64)> {
        std::mem::take(&mut self.output)
    }
}

pub(super) fn runtime_config() -> RuntimeConfig {
    RuntimeConfig {
        compression: Compression::None,
        max_batch_bytes: 1_000_000,
        load_buffer_bytes: 1_000_000,
        write_timeout_ms: 5_000,
    }
}
