//! Key-value stores, plain and timestamped.

use std::ops::Bound;

use bytes::Bytes;

use super::{
    AnyStore, StoreInit,
    changelog::Format,
    core::{CoreParts, Flushed, StoreCore, any_store, unreadable},
    merge,
    spec::StoreSpec,
};
use crate::{
    data::{Data, Flow},
    error::{Result, SerdeError, SerdeOrigin},
    metrics::store::Operation,
    processing::Runtime,
    record::{ValueAndTimestamp, ValueTimestampHeaders},
    serdes::{Serde, SerdeRef},
    state::{BytesIter, KeyFormat, KeyValueBytesStore, KeyValueSupplier, Order},
};

/// A key-value store of a task: a record cache where it is enabled, serdes, the changelog, and an engine of bytes.
///
/// Processors reach it through their context; every method but these is there.
pub struct KeyValueStore<K, V> {
    core: StoreCore<K, V, Box<dyn KeyValueBytesStore>>,
    key_serde: SerdeRef<K>,
}

/// The store of tables and aggregates: each value with the timestamp of its last update.
pub type TimestampedKeyValueStore<K, V> = KeyValueStore<K, ValueAndTimestamp<V>>;

/// The store that keeps headers with its values and their timestamps (KIP-1271).
pub type TimestampedKeyValueStoreWithHeaders<K, V> = KeyValueStore<K, ValueTimestampHeaders<V>>;

impl<K, V> std::fmt::Debug for KeyValueStore<K, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyValueStore").field("name", &self.core.name).finish_non_exhaustive()
    }
}

impl<K: Data, V: Flow> StoreSpec<KeyValueSupplier, K, V> {
    pub(crate) fn make(&self, init: &StoreInit<'_>) -> Result<Box<dyn AnyStore>> {
        let (key_serde, value_serde) = self.serdes(init)?;
        let supplier = (self.supply.supplier)(init);
        let core = StoreCore::new(CoreParts {
            name: self.name(),
            value_serde,
            engine: init.sharing.key_value(&self.supply.name, || match self.format {
                Format::Timestamped => supplier.get_timestamped(init.engine),
                Format::TimestampedWithHeaders => supplier.get_with_headers(init.engine, KeyFormat::Plain),
                Format::Plain | Format::Joined | Format::WithHeaders => supplier.get(init.engine, KeyFormat::Plain),
            })?,
            changelog: self.changelog(init),
            caching: init.caching,
            prefix: 0,
        });
        Ok(Box::new(KeyValueStore { core, key_serde }))
    }
}

impl<K: Flow, V: Flow> KeyValueStore<K, V> {
    /// Whether `dsl.store.format` made it a store that keeps headers; what the DSL puts has none.
    pub(crate) fn has_headers_format(&self) -> bool {
        self.core.changelog.headers_format
    }

    pub(crate) fn set_flush_listener(&mut self, slot: usize, send_old: bool) -> bool {
        self.core.set_flush_listener(slot, send_old)
    }

    pub(crate) fn next_flushed(&mut self, rt: &mut Runtime) -> Result<Option<Flushed<K, V>>> {
        self.core.next_flushed(rt)
    }

    pub(crate) fn get(&mut self, rt: &mut Runtime, key: &K) -> Result<Option<V>> {
        let start = self.core.meter.start();
        let found = self.read(rt, key);
        self.core.meter.done(Operation::Get, start);
        found
    }

    #[inline]
    fn read(&mut self, rt: &mut Runtime, key: &K) -> Result<Option<V>> {
        self.encode_key(key)?;
        self.core.get(rt, Some(key))
    }

    /// What a query sees: nothing is cached for it.
    pub(crate) fn look_up(&mut self, rt: &mut Runtime, key: &K, skip_cache: bool) -> Result<Option<V>> {
        self.encode_key(key)?;
        if skip_cache { self.core.get_below() } else { self.core.get(rt, None) }
    }

    /// Puts, or deletes where `value` is `None`.
    pub(crate) fn put(&mut self, rt: &mut Runtime, key: &K, value: Option<V>) -> Result<()> {
        let start = self.core.meter.start();
        let done = self.write(rt, key, value);
        self.core.meter.done(Operation::Put, start);
        self.core.meter.reached(rt.context.timestamp, rt.wall_clock);
        done
    }

    #[inline]
    fn write(&mut self, rt: &mut Runtime, key: &K, value: Option<V>) -> Result<()> {
        self.encode_key(key)?;
        self.core.put(rt, key, value)
    }

    /// Puts and deletes in order. Where the engine forgets something for it, that comes first in the changelog.
    pub(crate) fn put_all(
        &mut self,
        rt: &mut Runtime,
        entries: impl IntoIterator<Item = (K, Option<V>)>,
    ) -> Result<()> {
        let start = self.core.meter.start();
        let done = self.write_all(rt, entries);
        self.core.meter.done(Operation::PutAll, start);
        done
    }

    fn write_all(&mut self, rt: &mut Runtime, entries: impl IntoIterator<Item = (K, Option<V>)>) -> Result<()> {
        if self.core.has_cache() {
            return entries.into_iter().try_for_each(|(key, value)| self.write(rt, &key, value));
        }
        let mut encoded = Vec::new();
        for (key, value) in entries {
            self.encode_key(&key)?;
            let value = value.map(|value| self.core.encode(&value).map(Bytes::copy_from_slice)).transpose()?;
            encoded.push((Bytes::copy_from_slice(&self.core.key_buffer), value));
        }
        self.core.engine.put_batch(&encoded)?;
        self.core.changelog.log_evicted(rt, &mut self.core.engine)?;
        encoded.iter().try_for_each(|(key, value)| self.core.changelog.log(rt, key, value.as_deref()))
    }

    /// Deletes; returns what was there.
    pub(crate) fn delete(&mut self, rt: &mut Runtime, key: &K) -> Result<Option<V>> {
        let start = self.core.meter.start();
        let old = self.read(rt, key)?;
        self.write(rt, key, None)?;
        self.core.meter.done(Operation::Delete, start);
        Ok(old)
    }

    /// Puts where there is nothing yet; returns what is there.
    pub(crate) fn put_if_absent(&mut self, rt: &mut Runtime, key: &K, value: Option<V>) -> Result<Option<V>> {
        let start = self.core.meter.start();
        let old = self.read(rt, key)?;
        if old.is_none() {
            self.write(rt, key, value)?;
        }
        self.core.meter.done(Operation::PutIfAbsent, start);
        self.core.meter.reached(rt.context.timestamp, rt.wall_clock);
        Ok(old)
    }

    /// Entries between two keys, in the order of their bytes; `None` leaves a side open.
    pub(crate) fn range(&mut self, from: Option<&K>, to: Option<&K>, order: Order) -> Result<Vec<(K, V)>> {
        let start = self.core.meter.start();
        let operation = if from.is_none() && to.is_none() { Operation::All } else { Operation::Range };
        let found = self.read_range(from, to, order);
        self.core.meter.done(operation, start);
        found
    }

    fn read_range(&mut self, from: Option<&K>, to: Option<&K>, order: Order) -> Result<Vec<(K, V)>> {
        let mut ends = (None, None);
        if let Some(from) = from {
            self.encode_key(from)?;
            ends.0 = Some(self.core.key_buffer.clone());
        }
        if let Some(to) = to {
            self.encode_key(to)?;
            ends.1 = Some(self.core.key_buffer.clone());
        }
        let (from, to) = (ends.0.as_deref(), ends.1.as_deref());
        let below = self.core.engine.range(from, to, order)?;
        let bounds = (from.map_or(Bound::Unbounded, Bound::Included), to.map_or(Bound::Unbounded, Bound::Included));
        self.merge(below, bounds, |_| true, order)
    }

    /// Entries whose key's bytes begin with `prefix`.
    pub(crate) fn prefix_scan(&mut self, prefix: &[u8], order: Order) -> Result<Vec<(K, V)>> {
        let start = self.core.meter.start();
        let below = self.core.engine.prefix(prefix, order)?;
        let found =
            self.merge(below, (Bound::Included(prefix), Bound::Unbounded), |key| key.starts_with(prefix), order);
        self.core.meter.done(Operation::PrefixScan, start);
        found
    }

    pub(crate) fn approximate_num_entries(&self) -> u64 {
        self.core.engine.approximate_num_entries()
    }

    /// What is in the engine, under what is in the cache.
    fn merge(
        &mut self,
        below: BytesIter,
        bounds: (Bound<&[u8]>, Bound<&[u8]>),
        within: impl Fn(&[u8]) -> bool,
        order: Order,
    ) -> Result<Vec<(K, V)>> {
        self.core.order_cache();
        let cached = self.core.read_cache().into_iter().flat_map(|cache| cache.range(bounds, order));
        let cached = cached.filter(|entry| within(&entry.bytes));
        let (core, key_serde) = (&self.core, &self.key_serde);
        merge::sorted(
            cached,
            below,
            order,
            |entry, (key, _)| (*entry.bytes).cmp(key),
            |entry, value| (entry.key.clone(), value),
            |(key, value)| {
                let key = key_serde.deserialize(&core.topic, &key);
                let key = key.map_err(|source| unreadable(&core.topic, SerdeOrigin::Key, source))?;
                Ok((key, core.decode(&value)?))
            },
        )
    }

    fn encode_key(&mut self, key: &K) -> Result<()> {
        self.core.key_buffer.clear();
        let written = self.key_serde.serialize(&self.core.topic, key, &mut self.core.key_buffer);
        written.map_err(|source| self.core.unwritable_key(source))
    }
}

any_store!(KeyValueStore, KeyValue);

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
