//! Keys in time, in memory.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

use bytes::Bytes;

use super::{KeySchema, SegmentedBytesStore, TimeRange};
use crate::{
    error::Result,
    state::{BytesIter, Order, StoreTime, overlay::Overlay},
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
    transaction: Option<Transaction>,
}

/// What a store needs to forget what was put since its last commit. It removes what has expired at commits only.
#[derive(Debug, Default)]
struct Transaction {
    /// What was there before.
    replaced: Overlay,
    /// The changelog offset of the last commit, and the store's time then.
    committed: Option<i64>,
    committed_time: StoreTime,
    /// Whether reads are as of the last commit.
    committed_only: bool,
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
            transaction: None,
        }
    }

    /// An empty store that can forget what was put since its last commit.
    pub(crate) fn transactional(name: impl Into<String>, schema: KeySchema, retention: i64) -> Self {
        let transaction = Some(Transaction::default());
        InMemorySegmentedStore { transaction, ..Self::new(name, schema, retention) }
    }

    /// The transaction, if reads are to be as of the one before.
    fn hidden(&self) -> Option<&Transaction> {
        self.transaction.as_ref().filter(|transaction| transaction.committed_only)
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

    /// The same for reads.
    fn read_from(&self) -> i64 {
        let time = self.hidden().map_or(self.stream_time, |transaction| transaction.committed_time);
        time.now().saturating_sub(self.retention).saturating_add(1)
    }

    fn value(&self, time: i64, inner: &Inner) -> Option<&Bytes> {
        self.times.get(&time)?.get(inner)
    }

    /// The value of a key will be another one, or none.
    fn note(&mut self, key: &[u8], time: i64, inner: &Inner) {
        let Some(transaction) = &mut self.transaction else { return };
        let times = &self.times;
        transaction.replaced.put_first(key, || times.get(&time)?.get(inner));
    }

    fn insert(&mut self, time: i64, inner: Inner, value: Bytes) {
        let (own, rest) = inner.clone();
        if self.times.entry(time).or_default().insert(inner, value).is_none() {
            self.keys.insert((own, time, rest));
        }
    }

    fn delete(&mut self, time: i64, inner: Inner) {
        if let Some(entries) = self.times.get_mut(&time) {
            entries.remove(&inner);
            if entries.is_empty() {
                self.times.remove(&time);
            }
            self.keys.remove(&(inner.0, time, inner.1));
        }
    }

    /// What a scan has found, as of the last commit if that is what is read.
    fn as_read(&self, found: Vec<(Bytes, Bytes)>, range: &TimeRange<'_>, from: i64, order: Order) -> BytesIter {
        let Some(Transaction { replaced, .. }) = self.hidden() else { return Box::new(found.into_iter().map(Ok)) };
        let mut found: Vec<_> = found.into_iter().filter(|(key, _)| replaced.get(key).is_none()).collect();
        let before = replaced.iter().filter_map(|row| Some((row.key_bytes(), row.value_bytes()?)));
        let is_read = |key: &Bytes| self.schema.time(key) >= from && self.schema.matches(key, range);
        found.extend(before.filter(|(key, _)| is_read(key)));
        // Of one key by time, of several by time first: the same in both cases.
        found.sort_by_cached_key(|(key, _)| self.inner(key));
        if order == Order::Reverse {
            found.reverse();
        }
        Box::new(found.into_iter().map(Ok))
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
        if time < self.read_from() {
            return Ok(None);
        }
        match self.hidden().and_then(|transaction| transaction.replaced.get(key)) {
            Some(row) => Ok(row.value_bytes()),
            None => Ok(self.value(time, &inner).cloned()),
        }
    }

    fn put(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<bool> {
        let (time, inner) = self.inner(key);
        if time > self.stream_time.now() {
            self.stream_time.advance(time);
            if self.transaction.is_none() {
                self.clean_up();
            }
        }
        if time < self.live_from().min(self.held_from) {
            return Ok(false);
        }
        match value {
            Some(value) => {
                self.note(key, time, &inner);
                self.insert(time, inner, Bytes::copy_from_slice(value));
            }
            None => self.remove(key)?,
        }
        Ok(true)
    }

    /// The time of the store stays as it is.
    fn remove(&mut self, key: &[u8]) -> Result<()> {
        let (time, inner) = self.inner(key);
        self.note(key, time, &inner);
        self.delete(time, inner);
        Ok(())
    }

    fn fetch(&self, range: &TimeRange<'_>, order: Order) -> Result<BytesIter> {
        Ok(self.scan(range, self.read_from(), order))
    }

    fn time(&self) -> Option<i64> {
        Some(self.stream_time.now())
    }

    fn limit_time(&mut self, limit: i64) {
        self.stream_time.limit(limit);
        if let Some(transaction) = &mut self.transaction {
            transaction.committed_time.limit(limit);
        }
    }

    fn hold_from(&mut self, time: i64) {
        self.held_from = time;
        if self.transaction.is_none() {
            self.clean_up();
        }
    }

    fn fetch_held(&self, range: &TimeRange<'_>, order: Order) -> Result<BytesIter> {
        Ok(self.scan(range, self.read_from().min(self.held_from), order))
    }

    fn commit(&mut self, changelog_offset: Option<i64>) -> Result<()> {
        if let Some(transaction) = &mut self.transaction {
            transaction.replaced.clear();
            transaction.committed = changelog_offset.or(transaction.committed);
            transaction.committed_time = self.stream_time;
            self.clean_up();
        }
        Ok(())
    }

    fn forget(&mut self) -> Result<bool> {
        let Some(transaction) = &mut self.transaction else { return Ok(false) };
        self.stream_time = transaction.committed_time;
        for row in transaction.replaced.take() {
            let (time, inner) = self.inner(row.key());
            match row.value() {
                Some(value) => self.insert(time, inner, Bytes::copy_from_slice(value)),
                None => self.delete(time, inner),
            }
        }
        Ok(true)
    }

    fn read_committed(&mut self, only: bool) {
        if let Some(transaction) = &mut self.transaction {
            transaction.committed_only = only;
        }
    }

    fn committed_offset(&self) -> Result<Option<i64>> {
        Ok(self.transaction.as_ref().and_then(|transaction| transaction.committed))
    }

    fn uncommitted_bytes(&self) -> u64 {
        self.transaction.as_ref().map_or(0, |transaction| transaction.replaced.bytes())
    }

    fn clear(&mut self) -> Result<()> {
        self.times.clear();
        self.keys.clear();
        self.stream_time.reset();
        if let Some(transaction) = &mut self.transaction {
            *transaction = Transaction::default();
        }
        Ok(())
    }

    fn close(&mut self) -> Result<()> {
        self.clear()
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
            return self.as_read(
                self.scan_key(Bytes::copy_from_slice(own), (first, last), range, order),
                range,
                first,
                order,
            );
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
        self.as_read(found, range, first, order)
    }

    /// [`scan`](Self::scan) of one key: as there, for of one key and time what comes first has the least rest.
    fn scan_key(&self, own: Bytes, times: (i64, i64), range: &TimeRange<'_>, order: Order) -> Vec<(Bytes, Bytes)> {
        let (from, to) = ((own.clone(), times.0, i64::MIN), (own, times.1, i64::MAX));
        let entries = self.keys.range(from..=to).filter_map(|(own, time, rest)| {
            let inner = (own.clone(), *rest);
            let value = self.times.get(time)?.get(&inner)?.clone();
            let key = self.key(*time, &inner);
            self.schema.matches(&key, range).then_some((key, value))
        });
        match order {
            Order::Forward => entries.collect(),
            Order::Reverse => entries.rev().collect(),
        }
    }
}
