//! Key-value stores, plain and timestamped.

use std::{collections::VecDeque, sync::Arc};

use super::{
    AnyStore, StoreInit,
    cache::{Entry, EntryContext, RecordCache, Update},
};
use crate::{
    data::{Data, ErasedSerde, Flow},
    error::{Error, Result, SerdeError, SerdeOrigin},
    record::{Headers, ValueAndTimestamp},
    serdes::{Serde, SerdeRef},
    state::{BytesIter, KeyValueBytesStore, KeyValueSupplier, Order},
    task::{ProducerRecord, Runtime},
};

/// A key-value store of a task: a record cache where it is enabled, serdes, the changelog, and an engine of bytes.
///
/// Processors reach it through their context; every method but these is there.
pub struct KeyValueStore<K, V> {
    name: Arc<str>,
    topic: Arc<str>,
    key_serde: SerdeRef<K>,
    value_serde: SerdeRef<V>,
    engine: Box<dyn KeyValueBytesStore>,
    changelog: Option<(Arc<str>, i32)>,
    format: Format,
    cache: Option<RecordCache<K, V>>,
    /// The node that forwards what the cache flushes, and whether it wants old values.
    listener: Option<Listener>,
    flushing: VecDeque<Flushing<K, V>>,
    key_buffer: Vec<u8>,
    value_buffer: Vec<u8>,
}

/// The store of tables and aggregates: each value with the timestamp of its last update.
pub type TimestampedKeyValueStore<K, V> = KeyValueStore<K, ValueAndTimestamp<V>>;

impl<K, V> std::fmt::Debug for KeyValueStore<K, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyValueStore").field("name", &self.name).finish_non_exhaustive()
    }
}

/// How a stored value becomes a changelog record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// As it is, with the timestamp of the record being processed.
    Plain,
    /// Without its first 8 bytes, which are the record's timestamp (KIP-258).
    Timestamped,
}

#[derive(Clone, Copy)]
struct Listener {
    slot: usize,
    send_old: bool,
}

struct Flushing<K, V> {
    bytes: Box<[u8]>,
    key: K,
    value: Option<V>,
    value_bytes: Option<Vec<u8>>,
    context: EntryContext,
}

impl<K, V> Flushing<K, V> {
    fn of(entry: Entry<K, V>) -> Self {
        let Entry { bytes, key, value, value_bytes, context, .. } = entry;
        Flushing { bytes, key, value, value_bytes, context }
    }
}

/// A row that left the cache, for the node that forwards it.
pub(crate) struct Flushed<K, V> {
    pub(crate) key: K,
    pub(crate) new: Option<V>,
    pub(crate) old: Option<V>,
    pub(crate) timestamp: i64,
    pub(crate) headers: Headers,
}

/// What a key-value store is made from.
pub(crate) struct KeyValueSpec<K, V> {
    pub(crate) name: String,
    pub(crate) supplier: Arc<dyn Fn(&StoreInit<'_>) -> KeyValueSupplier + Send + Sync>,
    pub(crate) key_serde: Option<ErasedSerde>,
    pub(crate) value_serde: ValueSerde<V>,
    pub(crate) format: Format,
    pub(crate) types: std::marker::PhantomData<fn() -> (K, V)>,
}

type ValueSerde<V> = Arc<dyn Fn(&StoreInit<'_>) -> Option<SerdeRef<V>> + Send + Sync>;

impl<K: Data, V: Data> KeyValueSpec<K, V> {
    /// A store of plain values.
    pub(crate) fn plain(supplier: KeyValueSupplier, key: Option<ErasedSerde>, value: Option<ErasedSerde>) -> Self {
        KeyValueSpec {
            name: supplier.name().to_owned(),
            supplier: Arc::new(move |_| supplier.clone()),
            key_serde: key,
            value_serde: Arc::new(move |init| resolve(value.as_ref(), init, false)),
            format: Format::Plain,
            types: std::marker::PhantomData,
        }
    }
}

impl<K: Data, V: Data> KeyValueSpec<K, ValueAndTimestamp<V>> {
    /// A store of values with their timestamps.
    pub(crate) fn timestamped(
        name: String,
        supplier: Option<KeyValueSupplier>,
        in_memory: Option<bool>,
        key: Option<ErasedSerde>,
        value: Option<ErasedSerde>,
    ) -> Self {
        let store = name.clone();
        KeyValueSpec {
            name,
            supplier: Arc::new(move |init| match &supplier {
                Some(supplier) => supplier.clone(),
                None if in_memory.unwrap_or_else(|| init.config.stores_in_memory()) => {
                    KeyValueSupplier::in_memory(store.clone())
                }
                None => KeyValueSupplier::persistent_timestamped(store.clone()),
            }),
            key_serde: key,
            value_serde: Arc::new(move |init| {
                resolve(value.as_ref(), init, false)
                    .map(|serde| Arc::new(ValueAndTimestampSerde(serde)) as SerdeRef<ValueAndTimestamp<V>>)
            }),
            format: Format::Timestamped,
            types: std::marker::PhantomData,
        }
    }
}

/// The serde that was named or inherited, else the type's own, as this configuration wants it.
pub(crate) fn resolve<T: Data>(named: Option<&ErasedSerde>, init: &StoreInit<'_>, is_key: bool) -> Option<SerdeRef<T>> {
    crate::task::resolve_serde(named, init.config, is_key)
}

impl<K: Data, V: Flow> KeyValueSpec<K, V> {
    pub(crate) fn make(&self, init: &StoreInit<'_>) -> Result<Box<dyn AnyStore>> {
        let missing = |type_name| Box::new(Error::MissingSerde { node: self.name.clone(), type_name });
        let key_serde = resolve::<K>(self.key_serde.as_ref(), init, true);
        let key_serde = key_serde.ok_or_else(|| missing(std::any::type_name::<K>()))?;
        let value_serde = (self.value_serde)(init).ok_or_else(|| missing(std::any::type_name::<V>()))?;
        let name: Arc<str> = Arc::from(self.name.as_str());
        Ok(Box::new(KeyValueStore {
            topic: init.changelog.as_ref().map_or_else(|| name.clone(), |(topic, _)| topic.clone()),
            name,
            key_serde,
            value_serde,
            engine: match self.format {
                Format::Plain => (self.supplier)(init).get(init.engine)?,
                Format::Timestamped => (self.supplier)(init).get_timestamped(init.engine)?,
            },
            changelog: init.changelog.clone(),
            format: self.format,
            cache: init.caching.then(RecordCache::new),
            listener: None,
            flushing: VecDeque::new(),
            key_buffer: Vec::new(),
            value_buffer: Vec::new(),
        }))
    }
}

impl<K: Flow, V: Flow> KeyValueStore<K, V> {
    /// Tells the store which node forwards its flushed rows. Returns whether the store caches; if it does not, the
    /// node forwards every update itself.
    pub(crate) fn set_flush_listener(&mut self, slot: usize, send_old: bool) -> bool {
        self.listener = Some(Listener { slot, send_old });
        self.cache.is_some()
    }

    pub(crate) fn get(&mut self, rt: &mut Runtime, key: &K) -> Result<Option<V>> {
        self.encode_key(key)?;
        if let Some(cache) = &mut self.cache {
            if let Some(entry) = cache.get(&self.key_buffer) {
                return Ok(entry.value.clone());
            }
            let Some(bytes) = self.engine.get(&self.key_buffer)? else { return Ok(None) };
            let value = decode(&*self.value_serde, &self.topic, &bytes)?;
            let update =
                Update { key, value: Some(value.clone()), value_bytes: None, weight: bytes.len(), dirty: None };
            cache.put(&self.key_buffer, update, &mut rt.cache.used);
            self.make_room(rt)?;
            return Ok(Some(value));
        }
        let Some(bytes) = self.engine.get(&self.key_buffer)? else { return Ok(None) };
        decode(&*self.value_serde, &self.topic, &bytes).map(Some)
    }

    /// Puts, or deletes where `value` is `None`.
    pub(crate) fn put(&mut self, rt: &mut Runtime, key: &K, value: Option<V>) -> Result<()> {
        self.encode_key(key)?;
        let Some(cache) = &mut self.cache else {
            self.value_buffer.clear();
            let bytes = match &value {
                Some(value) => {
                    encode(&*self.value_serde, &self.topic, &self.name, value, &mut self.value_buffer)?;
                    Some(self.value_buffer.as_slice())
                }
                None => None,
            };
            self.engine.put(&self.key_buffer, bytes)?;
            return log(self.changelog.as_ref(), self.format, rt, &self.key_buffer, bytes);
        };
        let (weight, value_bytes) = match &value {
            None => (0, None),
            Some(some) => match self.value_serde.serialized_len(some) {
                Some(len) => (len, None),
                None => {
                    let mut bytes = Vec::new();
                    encode(&*self.value_serde, &self.topic, &self.name, some, &mut bytes)?;
                    (bytes.len(), Some(bytes))
                }
            },
        };
        let update = Update { key, value, value_bytes, weight, dirty: Some(EntryContext::of(rt)) };
        cache.put(&self.key_buffer, update, &mut rt.cache.used);
        self.make_room(rt)
    }

    /// Deletes; returns what was there.
    pub(crate) fn delete(&mut self, rt: &mut Runtime, key: &K) -> Result<Option<V>> {
        let old = self.get(rt, key)?;
        self.put(rt, key, None)?;
        Ok(old)
    }

    /// Puts where there is nothing yet; returns what is there.
    pub(crate) fn put_if_absent(&mut self, rt: &mut Runtime, key: &K, value: Option<V>) -> Result<Option<V>> {
        let old = self.get(rt, key)?;
        if old.is_none() {
            self.put(rt, key, value)?;
        }
        Ok(old)
    }

    /// Entries between two keys, in the order of their bytes; `None` leaves a side open.
    pub(crate) fn range(&mut self, from: Option<&K>, to: Option<&K>, order: Order) -> Result<Vec<(K, V)>> {
        let mut ends = (None, None);
        if let Some(from) = from {
            self.encode_key(from)?;
            ends.0 = Some(self.key_buffer.clone());
        }
        if let Some(to) = to {
            self.encode_key(to)?;
            ends.1 = Some(self.key_buffer.clone());
        }
        let (from, to) = (ends.0.as_deref(), ends.1.as_deref());
        let below = self.engine.range(from, to, order)?;
        let within = |key: &[u8]| from.is_none_or(|from| key >= from) && to.is_none_or(|to| key <= to);
        self.merge(below, within, order)
    }

    /// Entries whose key's bytes begin with `prefix`.
    pub(crate) fn prefix_scan(&mut self, prefix: &[u8], order: Order) -> Result<Vec<(K, V)>> {
        let below = self.engine.prefix(prefix, order)?;
        self.merge(below, |key| key.starts_with(prefix), order)
    }

    pub(crate) fn approximate_num_entries(&self) -> u64 {
        self.engine.approximate_num_entries()
    }

    /// What is in the engine, under what is in the cache.
    fn merge(&self, below: BytesIter, within: impl Fn(&[u8]) -> bool, order: Order) -> Result<Vec<(K, V)>> {
        let mut cached: Vec<&Entry<K, V>> = match &self.cache {
            Some(cache) => cache.entries().filter(|entry| within(&entry.bytes)).collect(),
            None => Vec::new(),
        };
        cached.sort_by(|a, b| match order {
            Order::Forward => a.bytes.cmp(&b.bytes),
            Order::Reverse => b.bytes.cmp(&a.bytes),
        });
        let mut cached = cached.into_iter().peekable();
        let mut merged = Vec::new();
        for item in below {
            let (key, value) = item?;
            let before = |entry: &Entry<K, V>| match order {
                Order::Forward => *entry.bytes < *key,
                Order::Reverse => *entry.bytes > *key,
            };
            while let Some(entry) = cached.next_if(|entry| before(entry)) {
                merged.extend(entry.value.clone().map(|value| (entry.key.clone(), value)));
            }
            match cached.next_if(|entry| *entry.bytes == *key) {
                Some(entry) => merged.extend(entry.value.clone().map(|value| (entry.key.clone(), value))),
                None => {
                    let key = self.key_serde.deserialize(&self.topic, &key);
                    let key = key.map_err(|source| unreadable(&self.topic, SerdeOrigin::Key, source))?;
                    merged.push((key, decode(&*self.value_serde, &self.topic, &value)?));
                }
            }
        }
        merged.extend(cached.filter_map(|entry| entry.value.clone().map(|value| (entry.key.clone(), value))));
        Ok(merged)
    }

    fn encode_key(&mut self, key: &K) -> Result<()> {
        self.key_buffer.clear();
        self.key_serde.serialize(&self.topic, key, &mut self.key_buffer).map_err(|source| {
            let (node, topic) = (self.name.to_string(), self.topic.to_string());
            Box::new(Error::Serialization { node, topic, origin: SerdeOrigin::Key, source })
        })
    }

    /// Evicts the least recently used entries of this cache until the task's caches fit their budget. A dirty one
    /// takes all dirty ones with it, so that rows leave in the order in which they were updated.
    fn make_room(&mut self, rt: &mut Runtime) -> Result<()> {
        while rt.cache.used > rt.cache.max {
            let Some(cache) = &mut self.cache else { return Ok(()) };
            let Some((entry, dirty)) = cache.evict(&mut rt.cache.used) else { return Ok(()) };
            if dirty {
                self.flushing.push_back(Flushing::of(entry));
                self.start_flush();
                match self.listener {
                    Some(listener) => rt.evicted.push(listener.slot),
                    None => self.write_flushing(rt)?,
                }
            }
        }
        Ok(())
    }

    /// Moves what is dirty to the flush queue; it stays in the cache, clean.
    fn start_flush(&mut self) {
        let Some(cache) = &mut self.cache else { return };
        while let Some(entry) = cache.next_dirty() {
            self.flushing.push_back(Flushing {
                bytes: entry.bytes.clone(),
                key: entry.key.clone(),
                value: entry.value.clone(),
                value_bytes: entry.value_bytes.clone(),
                context: entry.context.clone(),
            });
        }
    }

    fn write_flushing(&mut self, rt: &mut Runtime) -> Result<()> {
        while self.next_flushed(rt)?.is_some() {}
        Ok(())
    }

    /// Writes the next row of the flush queue below and returns it, with the record context it was written under.
    pub(crate) fn next_flushed(&mut self, rt: &mut Runtime) -> Result<Option<Flushed<K, V>>> {
        while let Some(row) = self.flushing.pop_front() {
            let old_wanted = self.listener.is_some_and(|l| l.send_old || row.value.is_none());
            let old = if old_wanted { self.engine.get(&row.bytes)? } else { None };
            // A row that was never below and is gone again leaves no trace, neither there nor downstream.
            if self.listener.is_some() && row.value.is_none() && old.is_none() {
                self.forget(&row.bytes, rt);
                continue;
            }
            self.value_buffer.clear();
            let bytes = match (&row.value, &row.value_bytes) {
                (None, _) => None,
                (Some(_), Some(bytes)) => Some(bytes.as_slice()),
                (Some(value), None) => {
                    encode(&*self.value_serde, &self.topic, &self.name, value, &mut self.value_buffer)?;
                    Some(self.value_buffer.as_slice())
                }
            };
            let Flushing { context, key, value, .. } = &row;
            rt.context.topic = context.topic.clone();
            rt.context.partition = context.partition;
            rt.context.offset = context.offset;
            rt.context.timestamp = context.timestamp;
            rt.context.headers = context.headers.clone();
            self.engine.put(&row.bytes, bytes)?;
            log(self.changelog.as_ref(), self.format, rt, &row.bytes, bytes)?;
            if value.is_none() {
                self.forget(&row.bytes, rt);
            }
            let old = match old.filter(|_| self.listener.is_some_and(|l| l.send_old)) {
                Some(old) => Some(decode(&*self.value_serde, &self.topic, &old)?),
                None => None,
            };
            let (timestamp, headers) = (context.timestamp, context.headers.clone());
            return Ok(Some(Flushed { key: key.clone(), new: value.clone(), old, timestamp, headers }));
        }
        Ok(None)
    }

    /// A deleted row that is written needs no entry any more, unless it was updated meanwhile.
    fn forget(&mut self, bytes: &[u8], rt: &mut Runtime) {
        if let Some(cache) = &mut self.cache
            && !cache.is_dirty(bytes)
            && cache.peek(bytes).is_some_and(|entry| entry.value.is_none())
        {
            cache.remove_key(bytes, &mut rt.cache.used);
        }
    }
}

fn encode<T: ?Sized + Serde<V>, V>(serde: &T, topic: &str, store: &str, value: &V, out: &mut Vec<u8>) -> Result<()> {
    serde.serialize(topic, value, out).map_err(|source| {
        let (node, topic) = (store.to_owned(), topic.to_owned());
        Box::new(Error::Serialization { node, topic, origin: SerdeOrigin::Value, source })
    })
}

fn decode<T: ?Sized + Serde<V>, V>(serde: &T, topic: &str, bytes: &[u8]) -> Result<V> {
    serde.deserialize(topic, bytes).map_err(|source| unreadable(topic, SerdeOrigin::Value, source))
}

fn unreadable(topic: &str, origin: SerdeOrigin, source: SerdeError) -> Box<Error> {
    Box::new(Error::Deserialization { topic: topic.to_owned(), partition: -1, offset: -1, origin, source })
}

/// Sends a write to the changelog.
fn log(
    changelog: Option<&(Arc<str>, i32)>,
    format: Format,
    rt: &mut Runtime,
    key: &[u8],
    value: Option<&[u8]>,
) -> Result<()> {
    let Some((topic, partition)) = changelog else { return Ok(()) };
    let (timestamp, value) = match (format, value.and_then(|value| value.split_first_chunk::<8>())) {
        (Format::Timestamped, Some((timestamp, value))) => (i64::from_be_bytes(*timestamp), Some(value)),
        _ => (rt.context.timestamp, value),
    };
    rt.collector.send(ProducerRecord {
        topic,
        partition: Some(*partition),
        timestamp: Some(timestamp),
        headers: &Headers::new(),
        key: Some(key),
        value,
    })
}

impl<K: Flow, V: Flow> AnyStore for KeyValueStore<K, V> {
    fn name(&self) -> &str {
        &self.name
    }

    fn flush_cache(&mut self, rt: &mut Runtime) -> Result<Option<usize>> {
        self.start_flush();
        match self.listener {
            _ if self.flushing.is_empty() => Ok(None),
            Some(listener) => Ok(Some(listener.slot)),
            None => self.write_flushing(rt).map(|()| None),
        }
    }

    fn commit(&mut self, changelog_offset: Option<i64>) -> Result<()> {
        self.engine.commit(changelog_offset)
    }

    fn committed_offset(&self) -> Result<Option<i64>> {
        self.engine.committed_offset()
    }

    fn restore(&mut self, key: &[u8], value: Option<&[u8]>, timestamp: i64) -> Result<()> {
        match (self.format, value) {
            (Format::Timestamped, Some(value)) => {
                self.value_buffer.clear();
                self.value_buffer.extend_from_slice(&timestamp.to_be_bytes());
                self.value_buffer.extend_from_slice(value);
                self.engine.put(key, Some(&self.value_buffer))
            }
            _ => self.engine.put(key, value),
        }
    }

    fn persistent(&self) -> bool {
        self.engine.persistent()
    }

    fn close(&mut self) -> Result<()> {
        self.engine.close()
    }
}

/// 8 bytes of timestamp, big endian, and the value's own bytes.
pub(crate) struct ValueAndTimestampSerde<V>(pub(crate) SerdeRef<V>);

impl<V: Flow> Serde<ValueAndTimestamp<V>> for ValueAndTimestampSerde<V> {
    fn serialize(&self, topic: &str, value: &ValueAndTimestamp<V>, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        out.extend_from_slice(&value.timestamp.to_be_bytes());
        self.0.serialize(topic, &value.value, out)
    }

    fn deserialize(&self, topic: &str, bytes: &[u8]) -> Result<ValueAndTimestamp<V>, SerdeError> {
        let (timestamp, value) = bytes.split_first_chunk::<8>().ok_or_else(|| SerdeError::new("no timestamp"))?;
        Ok(ValueAndTimestamp::new(self.0.deserialize(topic, value)?, i64::from_be_bytes(*timestamp)))
    }

    fn serialized_len(&self, value: &ValueAndTimestamp<V>) -> Option<usize> {
        self.0.serialized_len(&value.value).map(|len| len + 8)
    }
}
