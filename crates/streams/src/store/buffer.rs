//! The buffer of suppressed changes: Kafka's `InMemoryTimeOrderedKeyValueChangeBuffer`.
//!
//! It is in memory and comes back from its changelog, which is written at commits: of every key that has changed since
//! the last one, what is buffered now, or a tombstone.

pub(super) mod format;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use bytes::Bytes;
use vltava_protocol::java;

use super::{AnyStore, StoreInit, core::unreadable};
use crate::{
    data::{Data, ErasedSerde, Flow},
    error::{Error, Result, SerdeOrigin},
    metrics::{Recorder, store::BufferMeter},
    processing::{RecordContext, Runtime},
    record::{Change, Header, Headers, ProducerRecord, Record},
    serdes::SerdeRef,
};
use format::BufferValue;

/// The changes of a table that wait to be sent on.
pub(crate) struct ChangeBuffer<K, V> {
    name: Arc<str>,
    topic: Arc<str>,
    key_serde: SerdeRef<K>,
    value_serde: SerdeRef<V>,
    changelog: Option<(Arc<str>, i32)>,
    /// The time under which a key is buffered: that of its first change.
    index: HashMap<Bytes, i64>,
    sorted: BTreeMap<(i64, Bytes), BufferValue>,
    /// Keys to be written to the changelog, in the order in which they became so.
    dirty: Vec<Bytes>,
    is_dirty: HashSet<Bytes>,
    /// The greatest number of buckets that Java's set of dirty keys would have had.
    buckets: usize,
    size: u64,
    transaction: Option<Transaction>,
    meter: BufferMeter,
}

/// What a buffer needs to forget what has changed since its last commit.
#[derive(Default)]
struct Transaction {
    /// What was buffered before, by key.
    replaced: HashMap<Bytes, Option<(i64, BufferValue)>>,
    bytes: u64,
    /// The changelog offset of the last commit.
    committed: Option<i64>,
}

impl<K, V> std::fmt::Debug for ChangeBuffer<K, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChangeBuffer")
            .field("name", &self.name)
            .field("records", &self.index.len())
            .finish_non_exhaustive()
    }
}

/// What a buffer is made from.
pub(crate) struct ChangeBufferSpec<K, V> {
    pub(crate) name: String,
    pub(crate) key_serde: Option<ErasedSerde>,
    pub(crate) value_serde: Option<ErasedSerde>,
    pub(crate) types: std::marker::PhantomData<fn() -> (K, V)>,
}

impl<K: Data, V: Data> ChangeBufferSpec<K, V> {
    pub(crate) fn make(&self, init: &StoreInit<'_>) -> Result<Box<dyn AnyStore>> {
        let name: Arc<str> = Arc::from(self.name.as_str());
        Ok(Box::new(ChangeBuffer::<K, V> {
            topic: init.topic(&name),
            key_serde: init.serde(&name, self.key_serde.as_ref(), true)?,
            value_serde: init.serde(&name, self.value_serde.as_ref(), false)?,
            name,
            changelog: init.changelog.clone(),
            index: HashMap::new(),
            sorted: BTreeMap::new(),
            dirty: Vec::new(),
            is_dirty: HashSet::new(),
            buckets: 0,
            size: 0,
            transaction: init.engine.transactional.then(Transaction::default),
            meter: BufferMeter::default(),
        }))
    }
}

/// A change that leaves the buffer, under the record context it came in with.
pub(crate) struct Eviction<K, V> {
    pub(crate) record: Record<K, Change<V>>,
    pub(crate) context: RecordContext,
}

impl<K: Flow, V: Flow> ChangeBuffer<K, V> {
    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    /// The memory that Kafka would count for what is buffered, in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// The earliest time of what is buffered.
    pub(crate) fn min_timestamp(&self) -> Option<i64> {
        self.sorted.first_key_value().map(|((time, _), _)| *time)
    }

    fn encode<T: 'static>(&self, serde: &SerdeRef<T>, value: &T, origin: SerdeOrigin) -> Result<Bytes> {
        let mut bytes = Vec::new();
        serde.serialize(&self.topic, value, &mut bytes).map_err(|source| {
            let (node, topic) = (self.name.to_string(), self.topic.to_string());
            Box::new(Error::Serialization { node, topic, origin, source })
        })?;
        Ok(bytes.into())
    }

    fn decode_value(&self, bytes: Option<&Bytes>) -> Result<Option<V>> {
        let Some(bytes) = bytes else { return Ok(None) };
        let value = self.value_serde.deserialize(&self.topic, bytes);
        value.map(Some).map_err(|source| unreadable(&self.topic, SerdeOrigin::Value, source))
    }

    /// Buffers a change. A key that is there already keeps its place.
    pub(crate) fn put(&mut self, time: i64, key: &K, change: &Change<V>, context: &RecordContext) -> Result<()> {
        let key = self.encode(&self.key_serde, key, SerdeOrigin::Key)?;
        let value = |value: &Option<V>| {
            value.as_ref().map(|value| self.encode(&self.value_serde, value, SerdeOrigin::Value)).transpose()
        };
        let (old, new) = (value(&change.old)?, value(&change.new)?);
        let prior = match self.buffered(&key) {
            Some((_, buffered)) => buffered.prior.clone(),
            None => old.clone(),
        };
        self.insert(time, key.clone(), BufferValue { prior, old, new, context: format::kept(context) });
        self.mark(key);
        self.tell_size();
        Ok(())
    }

    fn buffered(&self, key: &Bytes) -> Option<(i64, &BufferValue)> {
        let time = *self.index.get(key)?;
        Some((time, self.sorted.get(&(time, key.clone()))?))
    }

    /// What is buffered of a key will change.
    fn note(&mut self, key: &Bytes) {
        if self.transaction.as_ref().is_none_or(|transaction| transaction.replaced.contains_key(key)) {
            return;
        }
        let before = self.buffered(key).map(|(time, value)| (time, value.clone()));
        if let Some(transaction) = &mut self.transaction {
            transaction.bytes += before.as_ref().map_or(key.len() as u64, |(_, value)| value.size(key));
            transaction.replaced.insert(key.clone(), before);
        }
    }

    fn insert(&mut self, time: i64, key: Bytes, value: BufferValue) {
        self.note(&key);
        let time = *self.index.entry(key.clone()).or_insert(time);
        self.size += value.size(&key);
        if let Some(before) = self.sorted.insert((time, key.clone()), value) {
            self.size = self.size.saturating_sub(before.size(&key));
        }
    }

    fn remove(&mut self, key: &Bytes) {
        self.note(key);
        if let Some(time) = self.index.remove(key)
            && let Some(value) = self.sorted.remove(&(time, key.clone()))
        {
            self.size = self.size.saturating_sub(value.size(key));
        }
    }

    fn mark(&mut self, key: Bytes) {
        if self.changelog.is_some() && self.is_dirty.insert(key.clone()) {
            self.dirty.push(key);
            self.buckets = self.buckets.max(java::grown(self.dirty.len()));
        }
    }

    /// The first change of the buffer; it stays until [`remove_first`](Self::remove_first).
    pub(crate) fn first(&self) -> Result<Option<Eviction<K, V>>> {
        let Some(((_, key), value)) = self.sorted.first_key_value() else { return Ok(None) };
        let key = self.key_serde.deserialize(&self.topic, key);
        let key = key.map_err(|source| unreadable(&self.topic, SerdeOrigin::Key, source))?;
        let change = Change::new(self.decode_value(value.new.as_ref())?, self.decode_value(value.old.as_ref())?);
        let context = value.context.clone();
        let (timestamp, headers) = (context.timestamp, context.headers.clone());
        Ok(Some(Eviction { record: Record { key, value: change, timestamp, headers }, context }))
    }

    pub(crate) fn remove_first(&mut self) {
        if let Some(((_, key), _)) = self.sorted.first_key_value() {
            let key = key.clone();
            self.remove(&key);
            self.mark(key);
        }
    }

    /// It is told how much there is: after a change was put in, and after some were taken out.
    pub(crate) fn tell_size(&mut self) {
        self.meter.holds(self.index.len(), self.size);
    }

    /// The value of a key as those below the buffer know it, if a change of it is buffered.
    pub(crate) fn prior_value(&self, key: &K) -> Result<Option<Option<V>>> {
        let key = self.encode(&self.key_serde, key, SerdeOrigin::Key)?;
        let buffered = self.index.get(&key).and_then(|time| self.sorted.get(&(*time, key)));
        buffered.map(|value| self.decode_value(value.prior.as_ref())).transpose()
    }
}

impl<K: Flow, V: Flow> AnyStore for ChangeBuffer<K, V> {
    fn name(&self) -> &str {
        &self.name
    }

    fn flush_cache(&mut self, _rt: &mut Runtime) -> Result<Option<usize>> {
        Ok(None)
    }

    fn measure(&mut self, recorder: &Recorder) {
        self.meter.measure(recorder, &self.name);
        self.tell_size();
    }

    fn record_metrics(&mut self, now: i64) {
        self.meter.record(now);
    }

    fn write_changelog(&mut self, rt: &mut Runtime) -> Result<()> {
        let Some((topic, partition)) = &self.changelog else { return Ok(()) };
        let version: Headers =
            [Header { key: "v".to_owned(), value: Some(Bytes::from_static(&[format::VERSION])) }].into_iter().collect();
        self.is_dirty.clear();
        let none = Headers::new();
        let mut dirty = std::mem::take(&mut self.dirty);
        java::sort_by_bucket(&mut dirty, self.buckets, |key| java::bytes_hash(key));
        for key in dirty {
            let value = self.buffered(&key).map(|(time, value)| value.write(time)).transpose();
            let value = value.map_err(|why| Error::unwritable(&self.name, &why))?;
            rt.collector.send(ProducerRecord {
                topic,
                partition: Some(*partition),
                timestamp: None,
                headers: if value.is_some() { &version } else { &none },
                key: Some(&key),
                value: value.as_deref(),
            })?;
        }
        Ok(())
    }

    fn commit(&mut self, changelog_offset: Option<i64>) -> Result<()> {
        if let Some(transaction) = &mut self.transaction {
            let committed = changelog_offset.or(transaction.committed);
            *transaction = Transaction { committed, ..Transaction::default() };
        }
        Ok(())
    }

    fn committed_offset(&self) -> Result<Option<i64>> {
        Ok(self.transaction.as_ref().and_then(|transaction| transaction.committed))
    }

    fn forget(&mut self) -> Result<bool> {
        let Some(transaction) = self.transaction.take() else { return Ok(false) };
        for (key, before) in transaction.replaced {
            self.remove(&key);
            if let Some((time, value)) = before {
                self.insert(time, key, value);
            }
        }
        (self.dirty, self.is_dirty, self.buckets) = (Vec::new(), HashSet::new(), 0);
        self.transaction = Some(Transaction { committed: transaction.committed, ..Transaction::default() });
        Ok(true)
    }

    fn recycle(&mut self) -> Result<bool> {
        (self.dirty, self.is_dirty, self.buckets) = (Vec::new(), HashSet::new(), 0);
        Ok(true)
    }

    fn uncommitted_bytes(&self) -> u64 {
        self.transaction.as_ref().map_or(0, |transaction| transaction.bytes)
    }

    fn restore(&mut self, key: &[u8], value: Option<&[u8]>, timestamp: i64) -> Result<()> {
        self.restore_with_headers(key, value, timestamp, &Headers::new())
    }

    fn restore_with_headers(
        &mut self,
        key: &[u8],
        value: Option<&[u8]>,
        _timestamp: i64,
        headers: &Headers,
    ) -> Result<()> {
        let key = Bytes::copy_from_slice(key);
        let Some(value) = value else {
            self.remove(&key);
            return Ok(());
        };
        let version = headers.last("v").and_then(|header| header.value.as_ref()?.first().copied());
        let (time, value) = format::read(version, value).ok_or_else(|| {
            let message = format!("a record of its changelog is not one of a buffer (version {version:?})");
            Box::new(Error::Store { store: self.name.to_string(), message })
        })?;
        // Between two commits it may have left the buffer and come again, which is another place.
        self.remove(&key);
        self.insert(time, key, value);
        Ok(())
    }

    fn persistent(&self) -> bool {
        false
    }

    fn clear(&mut self) -> Result<()> {
        for key in self.index.keys().cloned().collect::<Vec<_>>() {
            self.remove(&key);
        }
        self.transaction = self.transaction.take().map(|_| Transaction::default());
        Ok(())
    }

    fn close(&mut self) -> Result<()> {
        Ok(())
    }

    fn raw_entries(&self) -> Option<Result<Vec<(Bytes, Bytes)>>> {
        let entry = |((time, key), value): (&(i64, Bytes), &BufferValue)| match value.write(*time) {
            Ok(bytes) => Ok((key.clone(), bytes.into())),
            Err(why) => Err(Error::unwritable(&self.name, &why)),
        };
        Some(self.sorted.iter().map(entry).collect())
    }
}
