//! One session: its partitions, what was last told about each, and whose turn it is.

use std::collections::{BTreeMap, HashMap};

use vltava_protocol::Uuid;

/// A partition as a fetch request names it: by id from version 13, by name before.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct FetchKey {
    /// Empty when the request gives an id.
    pub(crate) topic: String,
    /// Zero when the request gives a name.
    pub(crate) topic_id: Uuid,
    pub(crate) partition: i32,
}

/// What is fetched of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FetchTarget {
    pub(crate) fetch_offset: i64,
    pub(crate) max_bytes: i32,
    pub(crate) current_leader_epoch: i32,
    pub(crate) last_fetched_epoch: i32,
}

/// The part of an answer that decides whether it is worth sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Answered {
    pub(crate) records_bytes: usize,
    pub(crate) high_watermark: i64,
    pub(crate) log_start_offset: i64,
    pub(crate) failed: bool,
    pub(crate) diverging: bool,
}

#[derive(Debug)]
struct Cached {
    key: FetchKey,
    target: FetchTarget,
    high_watermark: i64,
    log_start_offset: i64,
}

impl Cached {
    /// Whether an answer has anything that the client does not know.
    fn is_told(&self, answered: Answered) -> bool {
        answered.records_bytes > 0
            || answered.failed
            || answered.diverging
            || self.high_watermark != answered.high_watermark
            || self.log_start_offset != answered.log_start_offset
    }
}

/// The partitions of a session in the order in which they are served.
#[derive(Debug, Default)]
pub(super) struct Session {
    by_turn: BTreeMap<u64, Cached>,
    turns: HashMap<FetchKey, u64>,
    next_turn: u64,
}

impl Session {
    pub(super) fn len(&self) -> usize {
        self.turns.len()
    }

    /// Adds a partition or changes what is fetched of it.
    pub(super) fn set(&mut self, key: FetchKey, target: FetchTarget) {
        if let Some(cached) = self.turns.get(&key).and_then(|turn| self.by_turn.get_mut(turn)) {
            cached.target = target;
            return;
        }
        let cached = Cached { key: key.clone(), target, high_watermark: -1, log_start_offset: -1 };
        self.push(key, cached);
    }

    fn push(&mut self, key: FetchKey, cached: Cached) {
        self.turns.insert(key, self.next_turn);
        self.by_turn.insert(self.next_turn, cached);
        self.next_turn += 1;
    }

    pub(super) fn forget(&mut self, key: &FetchKey) {
        if let Some(turn) = self.turns.remove(key) {
            self.by_turn.remove(&turn);
        }
    }

    /// What to fetch, the partition that waited longest first.
    pub(super) fn targets(&self) -> Vec<(FetchKey, FetchTarget)> {
        self.by_turn.values().map(|cached| (cached.key.clone(), cached.target)).collect()
    }

    /// What [`Self::answer`] would say, without noting it.
    pub(super) fn would_answer(&self, key: &FetchKey, answered: Answered) -> bool {
        let cached = self.turns.get(key).and_then(|turn| self.by_turn.get(turn));
        cached.is_none_or(|cached| cached.is_told(answered))
    }

    /// Notes what is answered of a partition; false if the client knows all of it already.
    ///
    /// A partition that gave records goes to the end, so that the size limit of an answer does not
    /// starve the others.
    pub(super) fn answer(&mut self, key: &FetchKey, answered: Answered) -> bool {
        let Some(turn) = self.turns.get(key).copied() else { return true };
        let Some(cached) = self.by_turn.get_mut(&turn) else { return true };
        let tell = cached.is_told(answered);
        // After an error goes away the partition is told again.
        cached.high_watermark = if answered.failed { -1 } else { answered.high_watermark };
        cached.log_start_offset = answered.log_start_offset;
        if answered.records_bytes > 0
            && let Some(cached) = self.by_turn.remove(&turn)
        {
            self.push(key.clone(), cached);
        }
        tell
    }
}
