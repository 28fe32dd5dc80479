//! Keys in time, in memory.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

use bytes::Bytes;

use super::{KeySchema, SegmentedBytesStore, TimeRange};
use crate::{
    error::Result,
    state::{BytesIter, Order, StoreTime},
};

/// An engine that lives and dies with its task; the changelog brings it back.
///
/// Its entries come by time, then by key, as those of Kafka's in-memory stores do: windows by their start; sessions by
/// their end, and of one key and end the latest start first.
#[derive(Debug)]
pub struct InMemorySegmentedStore {
    name: String,
    schema: KeySchema,
    retention: i64,
    stream_time: StoreTime,
    /// From here on nothing is removed.
    held_from: i64,
    /// By time, then by what orders the entries of one time.
    times: BTreeMap<i64, BTreeMap<Inner, Bytes>>,
    /// The same entries by key, then by time and what remains of the suffix: whoever asks for one key does not go through
    /// all the times of a window.
    keys: BTreeSet<(Bytes, i64, i64)>,
}

/// A key's own bytes, and what remains of its suffix: the sequence number, or the session's start negated.
type Inner = (Bytes, i64);

impl InMemorySegmentedStore {
    /// An empty store that keeps `retention` ms.
    pub fn new(name: impl Into<String>, schema: KeySchema, retention: i64) -> Self {
        InMemorySegmentedStore {
            name: name.into(),
            schema,
            retention,
            stream_time: StoreTime::default(),
            held_from: i64::MAX,
            times: BTreeMap::new(),
            keys: BTreeSet::new(),
        }
    }

    fn inner(&self, key: &[u8]) -> (i64, Inner) {
        let (own, suffix) = self.schema.split(key);
        let rest = match self.schema {
            KeySchema::Window => {
                suffix.get(8..).and_then(<[u8]>::first_chunk::<4>).map_or(0, |seq| i32::from_be_bytes(*seq).into())
            }
            KeySchema::Session => -KeySchema::session_start(key),
        };
        (self.schema.time(key), (Bytes::copy_from_slice(own), rest))
    }

    fn key(&self, time: i64, (own, rest): &Inner) -> Bytes {
        match self.schema {
            KeySchema::Window => [own, &time.to_be_bytes()[..], &(*rest as i32).to_be_bytes()].concat().into(),
            KeySchema::Session => [own, &time.to_be_bytes()[..], &(-rest).to_be_bytes()].concat().into(),
        }
    }

    fn clean_up(&mut self) {
        let kept = self.live_from().max(0).min(self.held_from);
        while let Some(first) = self.times.first_entry().filter(|first| *first.key() < kept) {
            let (time, entries) = first.remove_entry();
            for (own, rest) in entries.into_keys() {
                self.keys.remove(&(own, time, rest));
            }
        }
    }

    /// The first time that has not expired.
    fn live_from(&self) -> i64 {
        self.stream_time.now().saturating_sub(self.retention).saturating_add(1)
    }
}

impl SegmentedBytesStore for InMemorySegmentedStore {
    fn name(&self) -> &str {
        &self.name
    }

    fn persistent(&self) -> bool {
        false
    }

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        let (time, inner) = self.inner(key);
        let at_time = self.times.get(&time).filter(|_| time >= self.live_from());
        Ok(at_time.and_then(|entries| entries.get(&inner)).cloned())
    }

    fn put(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<bool> {
        let (time, inner) = self.inner(key);
        if time > self.stream_time.now() {
            self.stream_time.advance(time);
            self.clean_up();
        }
        if time < self.live_from().min(self.held_from) {
            return Ok(false);
        }
        match value {
            Some(value) => {
                let (own, rest) = inner.clone();
                let before = self.times.entry(time).or_default().insert(inner, Bytes::copy_from_slice(value));
                if before.is_none() {
                    self.keys.insert((own, time, rest));
                }
            }
            None => self.remove(key)?,
        }
        Ok(true)
    }

    /// The time of the store stays as it is.
    fn remove(&mut self, key: &[u8]) -> Result<()> {
        let (time, inner) = self.inner(key);
        if let Some(entries) = self.times.get_mut(&time) {
            entries.remove(&inner);
            if entries.is_empty() {
                self.times.remove(&time);
            }
            self.keys.remove(&(inner.0, time, inner.1));
        }
        Ok(())
    }

    fn fetch(&self, range: &TimeRange<'_>, order: Order) -> Result<BytesIter> {
        Ok(self.scan(range, self.live_from(), order))
    }

    fn time(&self) -> Option<i64> {
        Some(self.stream_time.now())
    }

    fn limit_time(&mut self, limit: i64) {
        self.stream_time.limit(limit);
    }

    fn hold_from(&mut self, time: i64) {
        self.held_from = time;
        self.clean_up();
    }

    fn fetch_held(&self, range: &TimeRange<'_>, order: Order) -> Result<BytesIter> {
        Ok(self.scan(range, self.live_from().min(self.held_from), order))
    }

    fn commit(&mut self, _changelog_offset: Option<i64>) -> Result<()> {
        Ok(())
    }

    fn committed_offset(&self) -> Result<Option<i64>> {
        Ok(None)
    }

    fn close(&mut self) -> Result<()> {
        self.times.clear();
        self.keys.clear();
        Ok(())
    }
}

impl InMemorySegmentedStore {
    fn scan(&self, range: &TimeRange<'_>, live_from: i64, order: Order) -> BytesIter {
        // Sessions are filed by their end, which may be later than the range's.
        let last = match self.schema {
            KeySchema::Window => range.to,
            KeySchema::Session => i64::MAX,
        };
        let first = range.from.max(live_from);
        if range.is_backwards() || first > last {
            return Box::new(std::iter::empty());
        }
        if let Some(own) = range.from_key.filter(|from| range.to_key == Some(*from)) {
            return self.scan_key(Bytes::copy_from_slice(own), (first, last), range, order);
        }
        let from =
            range.from_key.map_or(Bound::Unbounded, |key| Bound::Included((Bytes::copy_from_slice(key), i64::MIN)));
        let to = range.to_key.map_or(Bound::Unbounded, |key| Bound::Included((Bytes::copy_from_slice(key), i64::MAX)));
        let in_time = |(time, entries): (&i64, &BTreeMap<Inner, Bytes>)| {
            let entries = entries.range((from.clone(), to.clone()));
            let entries = entries.map(|(inner, value)| (self.key(*time, inner), value.clone()));
            let entries = entries.filter(|(key, _)| self.schema.matches(key, range));
            match order {
                Order::Forward => entries.collect::<Vec<_>>(),
                Order::Reverse => entries.rev().collect(),
            }
        };
        let times = self.times.range(first..=last);
        let found: Vec<_> = match order {
            Order::Forward => times.flat_map(in_time).collect(),
            Order::Reverse => times.rev().flat_map(in_time).collect(),
        };
        Box::new(found.into_iter().map(Ok))
    }

    /// [`scan`](Self::scan) of one key: as there, for of one key and time what comes first has the least rest.
    fn scan_key(&self, own: Bytes, times: (i64, i64), range: &TimeRange<'_>, order: Order) -> BytesIter {
        let (from, to) = ((own.clone(), times.0, i64::MIN), (own, times.1, i64::MAX));
        let entries = self.keys.range(from..=to).filter_map(|(own, time, rest)| {
            let inner = (own.clone(), *rest);
            let value = self.times.get(time)?.get(&inner)?.clone();
            let key = self.key(*time, &inner);
            self.schema.matches(&key, range).then_some((key, value))
        });
        let found: Vec<_> = match order {
            Order::Forward => entries.collect(),
            Order::Reverse => entries.rev().collect(),
        };
        Box::new(found.into_iter().map(Ok))
    }
}
