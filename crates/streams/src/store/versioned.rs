//! Versioned key-value stores (KIP-889): every value of a key with the time from which it was valid.

mod row;
mod rows;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use rows::Rows;

use super::{AnyStore, ChosenSerdes, StoreInit, core::unreadable};
use crate::{
    data::{Data, ErasedSerde, Flow},
    error::{Error, Result, SerdeOrigin},
    metrics::{
        Recorder,
        store::{Meter, Operation, Scope},
    },
    processing::Runtime,
    record::{Headers, ProducerRecord},
    serdes::SerdeRef,
    state::{KeyFormat, KeyValueSupplier, Order, Shared},
};

/// A value of a versioned store and when it was valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionedRecord<V> {
    /// The value.
    pub value: V,
    /// From when it is valid, in ms since the epoch.
    pub timestamp: i64,
    /// Until when, exclusive; `None` for the newest version.
    pub valid_to: Option<i64>,
}

/// What became of a put into a versioned store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionedPut {
    /// It is the newest version.
    Latest,
    /// It is valid up to this time, from which a newer version is.
    ValidTo(i64),
    /// It is older than the store's history, and was dropped.
    NotPut,
}

/// A versioned key-value store of a task.
///
/// A put that is older than the history (by the greatest timestamp put) is dropped and counted. The newest version of
/// a key never expires; older ones can be read for as long as the history is.
///
/// As in Kafka, a deletion of the same time as the newest value takes its place without a trace if no version ended
/// there: what is put before it later is then valid beyond it.
pub struct VersionedKeyValueStore<K, V> {
    name: Arc<str>,
    topic: Arc<str>,
    key_serde: SerdeRef<K>,
    value_serde: SerdeRef<V>,
    rows: Shared<Rows>,
    changelog: Option<(Arc<str>, i32)>,
    key_buffer: Vec<u8>,
    value_buffer: Vec<u8>,
    meter: Meter,
}

impl<K, V> std::fmt::Debug for VersionedKeyValueStore<K, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VersionedKeyValueStore").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What a versioned store is made from.
pub(crate) struct VersionedSpec<K, V> {
    supplier: KeyValueSupplier,
    key_serde: Option<ErasedSerde>,
    value_serde: Option<ErasedSerde>,
    types: std::marker::PhantomData<fn() -> (K, V)>,
}

impl<K: Data, V: Data> VersionedSpec<K, V> {
    pub(crate) fn new(supplier: KeyValueSupplier, (key_serde, value_serde): ChosenSerdes) -> Self {
        VersionedSpec { supplier, key_serde, value_serde, types: std::marker::PhantomData }
    }

    pub(crate) fn make(&self, init: &StoreInit<'_>) -> Result<Box<dyn AnyStore>> {
        let name = self.supplier.name();
        let Some(history) = self.supplier.history() else {
            return Err(Box::new(Error::IllegalArgument(format!("the engine of store {name} keeps no versions"))));
        };
        let name: Arc<str> = Arc::from(name);
        Ok(Box::new(VersionedKeyValueStore::<K, V> {
            topic: init.topic(&name),
            key_serde: init.serde(&name, self.key_serde.as_ref(), true)?,
            value_serde: init.serde(&name, self.value_serde.as_ref(), false)?,
            name,
            rows: init.sharing.share(self.supplier.name(), || {
                let segment_interval = self.supplier.segment_interval();
                let engine = self.supplier.get(init.engine, KeyFormat::Versioned { segment_interval })?;
                Rows::new(engine, history, segment_interval)
            })?,
            changelog: init.changelog.clone(),
            key_buffer: Vec::new(),
            value_buffer: Vec::new(),
            meter: Meter::default(),
        }))
    }
}

impl<K: Flow, V: Flow> VersionedKeyValueStore<K, V> {
    fn encode_key(&mut self, key: &K) -> Result<Vec<u8>> {
        self.key_buffer.clear();
        self.key_serde.serialize(&self.topic, key, &mut self.key_buffer).map_err(|source| {
            let (node, topic) = (self.name.to_string(), self.topic.to_string());
            Box::new(Error::Serialization { node, topic, origin: SerdeOrigin::Key, source })
        })?;
        Ok(self.key_buffer.clone())
    }

    fn decode(&self, bytes: &[u8]) -> Result<V> {
        let value = self.value_serde.deserialize(&self.topic, bytes);
        value.map_err(|source| unreadable(&self.topic, SerdeOrigin::Value, source))
    }

    /// Puts a version; a deletion where there is no value.
    pub(crate) fn put(&mut self, rt: &mut Runtime, key: &K, value: Option<&V>, timestamp: i64) -> Result<VersionedPut> {
        let start = self.meter.start();
        let done = self.write(rt, key, value, timestamp);
        self.meter.done(Operation::Put, start);
        self.meter.reached(rt.context.timestamp, rt.wall_clock);
        done
    }

    fn write(&mut self, rt: &mut Runtime, key: &K, value: Option<&V>, timestamp: i64) -> Result<VersionedPut> {
        let key = self.encode_key(key)?;
        self.value_buffer.clear();
        let bytes = match value {
            Some(value) => {
                self.value_serde.serialize(&self.topic, value, &mut self.value_buffer).map_err(|source| {
                    let (node, topic) = (self.name.to_string(), self.topic.to_string());
                    Box::new(Error::Serialization { node, topic, origin: SerdeOrigin::Value, source })
                })?;
                Some(Bytes::copy_from_slice(&self.value_buffer))
            }
            None => None,
        };
        let done = self.rows.write()?.put(&key, bytes.clone(), timestamp)?;
        if done == VersionedPut::NotPut {
            rt.drop_record("it is older than the history of its store");
        }
        self.log(rt, &key, bytes.as_deref(), timestamp)?;
        Ok(done)
    }

    fn log(&self, rt: &mut Runtime, key: &[u8], value: Option<&[u8]>, timestamp: i64) -> Result<()> {
        let Some((topic, partition)) = &self.changelog else { return Ok(()) };
        rt.collector.send(ProducerRecord {
            topic,
            partition: Some(*partition),
            timestamp: Some(timestamp),
            headers: &Headers::new(),
            key: Some(key),
            value,
        })
    }

    /// Deletes from a time on; returns what was valid then.
    pub(crate) fn delete(&mut self, rt: &mut Runtime, key: &K, timestamp: i64) -> Result<Option<VersionedRecord<V>>> {
        let start = self.meter.start();
        let is_late = timestamp < self.rows.read().horizon();
        let existing = if is_late { None } else { self.read_as_of(key, timestamp)? };
        self.write(rt, key, None, timestamp)?;
        self.meter.done(Operation::Delete, start);
        Ok(existing)
    }

    /// The newest version.
    pub(crate) fn get(&mut self, key: &K) -> Result<Option<VersionedRecord<V>>> {
        let start = self.meter.start();
        let found = self.read(key);
        self.meter.done(Operation::Get, start);
        found
    }

    fn read(&mut self, key: &K) -> Result<Option<VersionedRecord<V>>> {
        let key = self.encode_key(key)?;
        let Some((timestamp, value)) = self.rows.read().get(&key)? else { return Ok(None) };
        Ok(Some(VersionedRecord { value: self.decode(&value)?, timestamp, valid_to: None }))
    }

    /// The version that was valid at a time; none for a time before the history, unless the newest was.
    pub(crate) fn get_as_of(&mut self, key: &K, as_of: i64) -> Result<Option<VersionedRecord<V>>> {
        let start = self.meter.start();
        let found = self.read_as_of(key, as_of);
        self.meter.done(Operation::Get, start);
        found
    }

    fn read_as_of(&mut self, key: &K, as_of: i64) -> Result<Option<VersionedRecord<V>>> {
        let key = self.encode_key(key)?;
        let Some((timestamp, valid_to, value)) = self.rows.read().get_as_of(&key, as_of)? else { return Ok(None) };
        Ok(Some(VersionedRecord { value: self.decode(&value)?, timestamp, valid_to }))
    }

    /// The versions of a key that were valid at some time between two, both included; of times before the history only
    /// the newest version.
    pub(crate) fn get_between(&mut self, key: &K, times: (i64, i64), order: Order) -> Result<Vec<VersionedRecord<V>>> {
        let key = self.encode_key(key)?;
        let mut versions = self.rows.read().get_between(&key, times)?;
        if order == Order::Forward {
            versions.reverse();
        }
        let record = |(timestamp, valid_to, value): (i64, Option<i64>, Bytes)| {
            Ok(VersionedRecord { value: self.decode(&value)?, timestamp, valid_to })
        };
        versions.into_iter().map(record).collect()
    }

    /// All versions that are values, by key and time.
    pub(crate) fn all(&self) -> Result<Vec<(K, VersionedRecord<V>)>> {
        let mut all = Vec::new();
        let rows = self.rows.read().all()?;
        for (bytes, versions) in rows {
            for (timestamp, valid_to, value) in versions {
                let key = self.key_serde.deserialize(&self.topic, &bytes);
                let key = key.map_err(|source| unreadable(&self.topic, SerdeOrigin::Key, source))?;
                all.push((key, VersionedRecord { value: self.decode(&value)?, timestamp, valid_to }));
            }
        }
        Ok(all)
    }
}

impl<K: Flow, V: Flow> AnyStore for VersionedKeyValueStore<K, V> {
    fn name(&self) -> &str {
        &self.name
    }
    fn flush_cache(&mut self, _rt: &mut Runtime) -> Result<Option<usize>> {
        Ok(None)
    }
    fn commit(&mut self, changelog_offset: Option<i64>) -> Result<()> {
        let start = self.meter.start();
        let done = self.rows.write()?.commit(changelog_offset);
        self.meter.done(Operation::Commit, start);
        done
    }
    fn measure(&mut self, recorder: &Recorder) {
        let persistent = self.persistent();
        self.meter.measure(recorder, Scope::KeyValue, persistent, &self.name);
    }
    fn record_metrics(&mut self, now: i64) {
        self.meter.record(now);
    }
    fn committed_offset(&self) -> Result<Option<i64>> {
        self.rows.read().engine().committed_offset()
    }
    fn commit_partitions(&mut self, offsets: &BTreeMap<i32, i64>) -> Result<()> {
        self.rows.write()?.commit_partitions(offsets)
    }
    fn committed_partitions(&self) -> Result<Option<BTreeMap<i32, i64>>> {
        self.rows.read().engine().committed_partitions()
    }
    fn forget(&mut self) -> Result<bool> {
        self.meter = Meter::default();
        self.rows.write()?.forget()
    }
    fn recycle(&mut self) -> Result<bool> {
        self.meter = Meter::default();
        Ok(true)
    }
    fn read_committed(&mut self, only: bool) {
        if let Ok(mut rows) = self.rows.write() {
            rows.read_committed(only);
        }
    }
    fn uncommitted_bytes(&self) -> u64 {
        self.rows.read().engine().uncommitted_bytes()
    }
    fn restore(&mut self, key: &[u8], value: Option<&[u8]>, timestamp: i64) -> Result<()> {
        self.rows.write()?.put(key, value.map(Bytes::copy_from_slice), timestamp).map(drop)
    }
    fn time(&self) -> Option<i64> {
        Some(self.rows.read().stream_time())
    }
    fn limit_time(&mut self, limit: i64) {
        if let Ok(mut rows) = self.rows.write() {
            rows.limit_time(limit);
        }
    }
    fn persistent(&self) -> bool {
        self.rows.read().engine().persistent()
    }
    fn needs_commit(&self) -> bool {
        self.rows.read().engine().needs_commit()
    }
    fn clear(&mut self) -> Result<()> {
        self.rows.write()?.clear()
    }
    fn close(&mut self) -> Result<()> {
        self.rows.write()?.close()
    }
}
