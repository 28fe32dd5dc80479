//! What every typed store shares: the record cache, the value's serde, the changelog, and the engine below.

use std::{collections::VecDeque, sync::Arc};

use super::{
    cache::{Entry, EntryContext, RecordCache, Update},
    changelog::{Changelog, Format},
    engine::Engine,
    with_headers::write_headers,
};
use crate::{
    data::Flow,
    error::{Error, Result, SerdeError, SerdeOrigin},
    metrics::{
        Recorder,
        cache::CacheMeter,
        store::{Meter, Scope},
    },
    processing::Runtime,
    record::Headers,
    serdes::{Serde, SerdeRef},
};

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

/// The shared part of a store of keys `K`. Its keys' bytes are written to [`key_buffer`](Self::key_buffer) by the store
/// around it.
pub(crate) struct StoreCore<K, V, E> {
    pub(crate) name: Arc<str>,
    /// The topic that serdes are told: the changelog, or the store's name without one.
    pub(crate) topic: Arc<str>,
    pub(crate) value_serde: SerdeRef<V>,
    pub(crate) engine: E,
    pub(crate) changelog: Changelog,
    cache: Option<RecordCache<K, V>>,
    /// Whether reads are as of the last commit.
    committed_only: bool,
    /// The bytes of the key at hand: what orders the cache, and behind them the engine's key.
    pub(crate) key_buffer: Vec<u8>,
    /// How many bytes of a key are only for the order of the cache.
    prefix: usize,
    /// The node that forwards what the cache flushes, and whether it wants old values.
    listener: Option<Listener>,
    flushing: VecDeque<Flushing<K, V>>,
    value_buffer: Vec<u8>,
    pub(crate) meter: Meter,
    cache_meter: CacheMeter,
}

/// What a [`StoreCore`] is made from.
pub(crate) struct CoreParts<V, E> {
    pub(crate) name: Arc<str>,
    pub(crate) value_serde: SerdeRef<V>,
    pub(crate) engine: E,
    pub(crate) changelog: Changelog,
    pub(crate) caching: bool,
    pub(crate) prefix: usize,
}

impl<K: Flow, V: Flow, E: Engine> StoreCore<K, V, E> {
    pub(crate) fn new(parts: CoreParts<V, E>) -> Self {
        let CoreParts { name, value_serde, engine, changelog, caching, prefix } = parts;
        StoreCore {
            topic: changelog.partition.as_ref().map_or_else(|| name.clone(), |(topic, _)| topic.clone()),
            name,
            value_serde,
            engine,
            changelog,
            cache: caching.then(RecordCache::new),
            committed_only: false,
            key_buffer: Vec::new(),
            prefix,
            listener: None,
            flushing: VecDeque::new(),
            value_buffer: Vec::new(),
            meter: Meter::default(),
            cache_meter: CacheMeter::default(),
        }
    }

    /// From here on what is counted is told there.
    pub(crate) fn measure(&mut self, recorder: &Recorder, scope: Scope) {
        self.meter.measure(recorder, scope, self.engine.persistent(), &self.name);
        if self.cache.is_some() {
            self.cache_meter.measure(recorder, &self.name);
        }
    }

    /// The task is over in which it was measured.
    pub(crate) fn unmeasure(&mut self) {
        (self.meter, self.cache_meter) = (Meter::default(), CacheMeter::default());
    }

    pub(crate) fn record_metrics(&mut self, now: i64) {
        self.meter.record(now);
        self.cache_meter.record(now);
    }

    /// Tells the store which node forwards its flushed rows. Returns whether the store caches; if it does not, the
    /// node forwards every update itself.
    pub(crate) fn set_flush_listener(&mut self, slot: usize, send_old: bool) -> bool {
        self.listener = Some(Listener { slot, send_old });
        self.cache.is_some()
    }

    pub(crate) fn has_cache(&self) -> bool {
        self.cache.is_some()
    }

    /// Before the cache is read by ranges.
    pub(crate) fn order_cache(&mut self) {
        if let Some(cache) = &mut self.cache {
            cache.keep_order();
        }
    }

    /// The cache as reads see it.
    pub(crate) fn read_cache(&self) -> Option<&RecordCache<K, V>> {
        self.cache.as_ref().filter(|_| !self.committed_only)
    }

    /// The value of the key in the buffer; what was found below is cached if `keep` is its key.
    #[inline]
    pub(crate) fn get(&mut self, rt: &mut Runtime, keep: Option<&K>) -> Result<Option<V>> {
        if let Some(cache) = &mut self.cache
            && !self.committed_only
        {
            let found = cache.get(&self.key_buffer);
            self.cache_meter.read(found.is_some());
            if let Some(entry) = found {
                return Ok(entry.value.clone());
            }
        }
        let key = self.key_buffer.get(self.prefix..).unwrap_or_default();
        let Some(bytes) = self.engine.get(key)? else { return Ok(None) };
        let value = self.decode(&bytes)?;
        if let (Some(cache), Some(key)) = (&mut self.cache, keep) {
            let update =
                Update { key, value: Some(value.clone()), value_bytes: None, weight: bytes.len(), dirty: None };
            cache.put(&self.key_buffer, update, &mut rt.cache.used);
            self.make_room(rt)?;
        }
        Ok(Some(value))
    }

    /// The value of the key in the buffer as of the last flush.
    pub(crate) fn get_below(&self) -> Result<Option<V>> {
        let key = self.key_buffer.get(self.prefix..).unwrap_or_default();
        self.engine.get(key)?.map(|bytes| self.decode(&bytes)).transpose()
    }

    /// Puts under the key in the buffer, or deletes where `value` is `None`.
    pub(crate) fn put(&mut self, rt: &mut Runtime, key: &K, value: Option<V>) -> Result<()> {
        let Some(cache) = &mut self.cache else {
            self.value_buffer.clear();
            let bytes = match &value {
                Some(value) => {
                    encode(&*self.value_serde, &self.topic, &self.name, value, &mut self.value_buffer)?;
                    Some(self.value_buffer.as_slice())
                }
                None => None,
            };
            let key = self.key_buffer.get(self.prefix..).unwrap_or_default();
            if !self.engine.put(key, bytes)? {
                rt.drop_record("its segment in the store has expired");
            }
            self.changelog.log_evicted(rt, &mut self.engine)?;
            return self.changelog.log(rt, key, bytes);
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

    /// Deletes the key in the buffer, whether or not it has expired.
    pub(crate) fn remove(&mut self, rt: &mut Runtime, key: &K) -> Result<()> {
        if self.cache.is_some() {
            return self.put(rt, key, None);
        }
        let key = self.key_buffer.get(self.prefix..).unwrap_or_default();
        self.engine.remove(key)?;
        self.changelog.log(rt, key, None)
    }

    /// Puts below the cache, under a key that is in use by no other value: what stores do that keep every value.
    pub(crate) fn put_duplicate(&mut self, rt: &mut Runtime, value: Option<&V>) -> Result<()> {
        self.value_buffer.clear();
        let bytes = match value {
            Some(value) => {
                encode(&*self.value_serde, &self.topic, &self.name, value, &mut self.value_buffer)?;
                Some(self.value_buffer.as_slice())
            }
            None => None,
        };
        let key = self.key_buffer.get(self.prefix..).unwrap_or_default();
        // As in the JVM a null moves the time of an engine in memory on, and of no other.
        let counts = bytes.is_some() || !self.engine.persistent();
        if counts && !self.engine.put(key, bytes)? {
            rt.drop_record("its segment in the store has expired");
        }
        self.changelog.log(rt, key, bytes)
    }

    /// The bytes of a value; they are in the buffer.
    pub(crate) fn encode(&mut self, value: &V) -> Result<&[u8]> {
        self.value_buffer.clear();
        encode(&*self.value_serde, &self.topic, &self.name, value, &mut self.value_buffer)?;
        Ok(&self.value_buffer)
    }

    pub(crate) fn decode(&self, bytes: &[u8]) -> Result<V> {
        let value = self.value_serde.deserialize(&self.topic, bytes);
        value.map_err(|source| unreadable(&self.topic, SerdeOrigin::Value, source))
    }

    /// The error of a key that has no bytes.
    #[cold]
    pub(crate) fn unwritable_key(&self, source: SerdeError) -> Box<Error> {
        let (node, topic) = (self.name.to_string(), self.topic.to_string());
        Box::new(Error::Serialization { node, topic, origin: SerdeOrigin::Key, source })
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
        if rt.is_flushing {
            rt.collector.end_unit(false)?;
        }
        while let Some(row) = self.flushing.pop_front() {
            let below = row.bytes.get(self.prefix..).unwrap_or_default();
            let old_wanted = self.listener.is_some_and(|l| l.send_old || row.value.is_none());
            let old = if old_wanted { self.engine.get(below)? } else { None };
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
            if !self.engine.put(below, bytes)? {
                rt.drop_record("its segment in the store has expired");
            }
            self.changelog.log_evicted(rt, &mut self.engine)?;
            self.changelog.log(rt, below, bytes)?;
            if value.is_none() {
                self.forget(&row.bytes, rt);
            }
            let old = match old.filter(|_| self.listener.is_some_and(|l| l.send_old)) {
                Some(old) => Some(self.decode(&old)?),
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

    /// Starts a flush: see [`AnyStore::flush_cache`](super::AnyStore::flush_cache).
    pub(crate) fn flush_cache(&mut self, rt: &mut Runtime) -> Result<Option<usize>> {
        self.start_flush();
        match self.listener {
            _ if self.flushing.is_empty() => Ok(None),
            Some(listener) => Ok(Some(listener.slot)),
            None => self.write_flushing(rt).map(|()| None),
        }
    }

    /// Empties the cache of what is not below. The task whose memory it counted for is gone.
    pub(crate) fn forget_cache(&mut self) {
        self.flushing.clear();
        if let Some(cache) = &mut self.cache {
            *cache = RecordCache::new();
        }
    }

    /// See [`AnyStore::read_committed`](super::AnyStore::read_committed).
    pub(crate) fn read_committed(&mut self, only: bool) {
        self.committed_only = only;
    }

    pub(crate) fn time(&self) -> Option<i64> {
        self.engine.time()
    }

    pub(crate) fn limit_time(&mut self, limit: i64) {
        self.engine.limit_time(limit);
    }

    /// Takes a record of the changelog.
    pub(crate) fn restore(
        &mut self,
        key: &[u8],
        value: Option<&[u8]>,
        timestamp: i64,
        headers: &Headers,
    ) -> Result<()> {
        let Some(value) = value else { return self.engine.restore(key, None) };
        self.value_buffer.clear();
        if matches!(self.changelog.format, Format::WithHeaders | Format::TimestampedWithHeaders) {
            write_headers(headers, &mut self.value_buffer).map_err(|why| Error::unwritable(&self.name, &why))?;
        }
        if matches!(self.changelog.format, Format::Timestamped | Format::TimestampedWithHeaders) {
            self.value_buffer.extend_from_slice(&timestamp.to_be_bytes());
        }
        self.value_buffer.extend_from_slice(value);
        self.engine.restore(key, Some(&self.value_buffer))?;
        // What is forgotten while restoring was deleted from the changelog when it was first forgotten.
        while self.engine.take_evicted().is_some() {}
        Ok(())
    }
}

fn encode<T: ?Sized + Serde<V>, V>(serde: &T, topic: &str, store: &str, value: &V, out: &mut Vec<u8>) -> Result<()> {
    serde.serialize(topic, value, out).map_err(|source| {
        let (node, topic) = (store.to_owned(), topic.to_owned());
        Box::new(Error::Serialization { node, topic, origin: SerdeOrigin::Value, source })
    })
}

pub(crate) fn unreadable(topic: &str, origin: SerdeOrigin, source: SerdeError) -> Box<Error> {
    Box::new(Error::Deserialization { topic: topic.to_owned(), partition: -1, offset: -1, origin, source })
}

/// [`AnyStore`](super::AnyStore) for a store whose `core` does the work.
macro_rules! any_store {
    ($store:ident, $scope:ident $(, forgets $field:ident)?) => {
        impl<K: Flow, V: Flow> AnyStore for $store<K, V> {
            $crate::state::forward!([core.engine]: persistent commit_offsets commit_partitions clear close);
            fn commit(&mut self, changelog_offset: Option<i64>) -> Result<()> {
                let start = self.core.meter.start();
                let done = self.core.engine.commit(changelog_offset);
                self.core.meter.done($crate::metrics::store::Operation::Commit, start);
                done
            }
            fn measure(&mut self, recorder: &$crate::metrics::Recorder) {
                self.core.measure(recorder, $crate::metrics::store::Scope::$scope);
            }
            fn record_metrics(&mut self, now: i64) {
                self.core.record_metrics(now);
            }
            fn name(&self) -> &str {
                &self.core.name
            }
            fn flush_cache(&mut self, rt: &mut Runtime) -> Result<Option<usize>> {
                self.core.flush_cache(rt)
            }
            fn forget(&mut self) -> Result<bool> {
                self.core.forget_cache();
                self.core.unmeasure();
                $(self.$field = self.$field.take().map(|_| Default::default());)?
                self.core.engine.forget()
            }
            fn recycle(&mut self) -> Result<bool> {
                self.core.forget_cache();
                self.core.unmeasure();
                $(self.$field = self.$field.take().map(|_| Default::default());)?
                Ok(true)
            }
            fn read_committed(&mut self, only: bool) {
                self.core.read_committed(only);
                self.core.engine.read_committed(only);
            }
            fn restore(&mut self, key: &[u8], value: Option<&[u8]>, timestamp: i64) -> Result<()> {
                self.core.restore(key, value, timestamp, &$crate::record::Headers::new())
            }
            fn restore_with_headers(
                &mut self,
                key: &[u8],
                value: Option<&[u8]>,
                timestamp: i64,
                headers: &$crate::record::Headers,
            ) -> Result<()> {
                self.core.restore(key, value, timestamp, headers)
            }
            fn time(&self) -> Option<i64> {
                self.core.time()
            }
            fn limit_time(&mut self, limit: i64) {
                self.core.limit_time(limit);
            }
        }
    };
}
pub(super) use any_store;
