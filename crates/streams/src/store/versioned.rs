//! Versioned key-value stores (KIP-889): every value of a key with the time from which it was valid.
//!
//! In the engine each version is a row: 0, the length of the key (4 bytes), the key, and the version's timestamp, all
//! big endian; and whether it is a value (1) or a deletion (0), then the value's bytes. Versions that have ended, and
//! deletions, have another row by which they are found when they expire: 1, the number of the segment of time in which
//! they ended (8 bytes), and their own row.

use std::sync::Arc;

use super::{AnyStore, StoreInit, core::unreadable, key_value::resolve};
use crate::{
    data::{Data, ErasedSerde, Flow},
    error::{Error, Result, SerdeOrigin},
    record::Headers,
    serdes::SerdeRef,
    state::{KeyValueBytesStore, KeyValueSupplier, Order},
    task::{ProducerRecord, Runtime},
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
pub struct VersionedKeyValueStore<K, V> {
    name: Arc<str>,
    topic: Arc<str>,
    key_serde: SerdeRef<K>,
    value_serde: SerdeRef<V>,
    engine: Box<dyn KeyValueBytesStore>,
    changelog: Option<(Arc<str>, i32)>,
    /// In ms.
    history: i64,
    /// Versions expire in segments of this, in ms.
    segment_interval: i64,
    stream_time: i64,
    /// Segments before this one have expired.
    live_segment: i64,
    key_buffer: Vec<u8>,
    value_buffer: Vec<u8>,
}

impl<K, V> std::fmt::Debug for VersionedKeyValueStore<K, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VersionedKeyValueStore").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What a versioned store is made from.
pub(crate) struct VersionedSpec<K, V> {
    pub(crate) supplier: KeyValueSupplier,
    pub(crate) key_serde: Option<ErasedSerde>,
    pub(crate) value_serde: Option<ErasedSerde>,
    pub(crate) types: std::marker::PhantomData<fn() -> (K, V)>,
}

impl<K: Data, V: Data> VersionedSpec<K, V> {
    pub(crate) fn make(&self, init: &StoreInit<'_>) -> Result<Box<dyn AnyStore>> {
        let name = self.supplier.name();
        let missing = |type_name| Box::new(Error::MissingSerde { node: name.to_owned(), type_name });
        let key_serde = resolve::<K>(self.key_serde.as_ref(), init, true);
        let value_serde = resolve::<V>(self.value_serde.as_ref(), init, false);
        let Some(history) = self.supplier.history() else {
            return Err(Box::new(Error::IllegalArgument(format!("the engine of store {name} keeps no versions"))));
        };
        let name: Arc<str> = Arc::from(name);
        Ok(Box::new(VersionedKeyValueStore {
            topic: init.changelog.as_ref().map_or_else(|| name.clone(), |(topic, _)| topic.clone()),
            name,
            key_serde: key_serde.ok_or_else(|| missing(std::any::type_name::<K>()))?,
            value_serde: value_serde.ok_or_else(|| missing(std::any::type_name::<V>()))?,
            engine: self.supplier.get(init.engine)?,
            changelog: init.changelog.clone(),
            history,
            segment_interval: self.supplier.segment_interval(),
            stream_time: -1,
            live_segment: 0,
            key_buffer: Vec::new(),
            value_buffer: Vec::new(),
        }))
    }
}

/// One version: its timestamp and its value, none for a deletion.
type Version = (i64, Option<bytes::Bytes>);

fn row(key: &[u8], timestamp: i64) -> Vec<u8> {
    let length = u32::try_from(key.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&[0], &length[..], key, &timestamp.max(0).to_be_bytes()].concat()
}

fn ended_row(segment: i64, row: &[u8]) -> Vec<u8> {
    [&[1], &segment.to_be_bytes()[..], row].concat()
}

/// The first of some rows, as a version.
fn first(mut rows: crate::state::BytesIter) -> Result<Option<Version>> {
    Ok(rows.next().transpose()?.map(version))
}

fn version((key, value): (bytes::Bytes, bytes::Bytes)) -> Version {
    let timestamp = key.last_chunk::<8>().map_or(0, |bytes| i64::from_be_bytes(*bytes));
    (timestamp, (value.first() == Some(&1)).then(|| value.slice(1..)))
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

    /// The newest version at or before a time.
    fn floor(&self, key: &[u8], timestamp: i64) -> Result<Option<Version>> {
        first(self.engine.range(Some(&row(key, 0)), Some(&row(key, timestamp)), Order::Reverse)?)
    }

    /// The oldest version after a time.
    fn after(&self, key: &[u8], timestamp: i64) -> Result<Option<Version>> {
        let from = row(key, timestamp.saturating_add(1));
        first(self.engine.range(Some(&from), Some(&row(key, i64::MAX)), Order::Forward)?)
    }

    /// Puts a version; a deletion where there is no value.
    pub(crate) fn put(&mut self, rt: &mut Runtime, key: &K, value: Option<&V>, timestamp: i64) -> Result<VersionedPut> {
        let key = self.encode_key(key)?;
        self.value_buffer.clear();
        let bytes = match value {
            Some(value) => {
                self.value_serde.serialize(&self.topic, value, &mut self.value_buffer).map_err(|source| {
                    let (node, topic) = (self.name.to_string(), self.topic.to_string());
                    Box::new(Error::Serialization { node, topic, origin: SerdeOrigin::Value, source })
                })?;
                Some(std::mem::take(&mut self.value_buffer))
            }
            None => None,
        };
        let done = self.put_bytes(&key, bytes.as_deref(), timestamp)?;
        if done == VersionedPut::NotPut {
            rt.drop_record("it is older than the history of its store");
        }
        self.log(rt, &key, bytes.as_deref(), timestamp)?;
        Ok(done)
    }

    fn put_bytes(&mut self, key: &[u8], value: Option<&[u8]>, timestamp: i64) -> Result<VersionedPut> {
        if timestamp < self.stream_time.saturating_sub(self.history) {
            return Ok(VersionedPut::NotPut);
        }
        self.stream_time = self.stream_time.max(timestamp);
        self.expire()?;
        let stored = match value {
            Some(value) => [&[1], value].concat(),
            None => vec![0],
        };
        let (before, next) = (self.floor(key, timestamp)?, self.after(key, timestamp)?);
        let next = next.map(|(next, _)| next);
        if let Some((before, value)) = before {
            self.unfile(key, (before, value.is_some()), next)?;
            if before < timestamp {
                self.file(key, (before, value.is_some()), Some(timestamp))?;
            }
        }
        self.engine.put(&row(key, timestamp), Some(&stored))?;
        self.file(key, (timestamp, value.is_some()), next)?;
        Ok(next.map_or(VersionedPut::Latest, VersionedPut::ValidTo))
    }

    fn segment(&self, time: i64) -> i64 {
        time / self.segment_interval
    }

    /// The row by which a version expires: by its end, or, of a deletion that nothing follows, by its own time. A value
    /// that nothing follows never does.
    fn filed(&self, key: &[u8], (version, is_value): (i64, bool), end: Option<i64>) -> Option<Vec<u8>> {
        let end = end.or_else(|| (!is_value).then_some(version))?;
        Some(ended_row(self.segment(end), &row(key, version)))
    }

    fn file(&mut self, key: &[u8], version: (i64, bool), end: Option<i64>) -> Result<()> {
        let filed = self.filed(key, version, end);
        filed.map_or(Ok(()), |filed| self.engine.put(&filed, Some(&[])))
    }

    fn unfile(&mut self, key: &[u8], version: (i64, bool), end: Option<i64>) -> Result<()> {
        let filed = self.filed(key, version, end);
        filed.map_or(Ok(()), |filed| self.engine.put(&filed, None))
    }

    /// Drops the versions that ended in segments before the history.
    fn expire(&mut self) -> Result<()> {
        let live = self.segment(self.stream_time.saturating_sub(self.history));
        if live <= self.live_segment {
            return Ok(());
        }
        let ended = self.engine.range(Some(&[1]), Some(&ended_row(live - 1, &[0xff])), Order::Forward)?;
        let ended: Vec<_> = ended.map(|entry| entry.map(|(row, _)| row)).collect::<Result<_>>()?;
        for row in ended {
            self.engine.put(row.get(9..).unwrap_or_default(), None)?;
            self.engine.put(&row, None)?;
        }
        self.live_segment = live;
        Ok(())
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
        let is_late = timestamp < self.stream_time.saturating_sub(self.history);
        let existing = if is_late { None } else { self.get_as_of(key, timestamp)? };
        self.put(rt, key, None, timestamp)?;
        Ok(existing)
    }

    /// The newest version.
    pub(crate) fn get(&mut self, key: &K) -> Result<Option<VersionedRecord<V>>> {
        let key = self.encode_key(key)?;
        let Some((timestamp, Some(value))) = self.floor(&key, i64::MAX)? else { return Ok(None) };
        Ok(Some(VersionedRecord { value: self.decode(&value)?, timestamp, valid_to: None }))
    }

    /// The version that was valid at a time; none for a time before the history, unless the newest was.
    pub(crate) fn get_as_of(&mut self, key: &K, as_of: i64) -> Result<Option<VersionedRecord<V>>> {
        let key = self.encode_key(key)?;
        if as_of < 0 {
            return Ok(None);
        }
        let Some((timestamp, Some(value))) = self.floor(&key, as_of)? else { return Ok(None) };
        let valid_to = self.after(&key, timestamp)?.map(|(next, _)| next);
        if valid_to.is_some() && as_of < self.stream_time.saturating_sub(self.history) {
            return Ok(None);
        }
        Ok(Some(VersionedRecord { value: self.decode(&value)?, timestamp, valid_to }))
    }

    /// The versions of a key that were valid at some time between two, both included; of times before the history only
    /// the newest version.
    pub(crate) fn get_between(
        &mut self,
        key: &K,
        (from, to): (i64, i64),
        order: Order,
    ) -> Result<Vec<VersionedRecord<V>>> {
        let key = self.encode_key(key)?;
        let expired = to < self.stream_time.saturating_sub(self.history);
        let (mut versions, mut valid_to) = (Vec::new(), None);
        for entry in self.engine.range(Some(&row(&key, 0)), Some(&row(&key, i64::MAX)), Order::Reverse)? {
            let (timestamp, value) = version(entry?);
            let end = valid_to.replace(timestamp);
            if end.is_some_and(|end| expired || end <= from) {
                break;
            }
            if let Some(value) = value.filter(|_| timestamp <= to) {
                versions.push(VersionedRecord { value: self.decode(&value)?, timestamp, valid_to: end });
            }
        }
        if order == Order::Forward {
            versions.reverse();
        }
        Ok(versions)
    }

    /// All versions that are values, by key and time.
    pub(crate) fn all(&self) -> Result<Vec<(K, VersionedRecord<V>)>> {
        let mut found: Vec<(Vec<u8>, i64, Option<bytes::Bytes>)> = Vec::new();
        for entry in self.engine.range(Some(&[0]), Some(&[1]), Order::Forward)? {
            let (row, value) = entry?;
            let (key, timestamp) = row.split_last_chunk::<8>().unwrap_or((&[], &[0; 8]));
            let key = key.get(5..).unwrap_or_default().to_vec();
            found.push((key, i64::from_be_bytes(*timestamp), (value.first() == Some(&1)).then(|| value.slice(1..))));
        }
        let nexts = found.iter().skip(1).map(Some).chain([None]);
        let mut all = Vec::new();
        for ((key, timestamp, value), next) in found.iter().zip(nexts) {
            let Some(value) = value else { continue };
            let valid_to = next.filter(|(other, ..)| other == key).map(|(_, next, _)| *next);
            let own = self.key_serde.deserialize(&self.topic, key);
            let own = own.map_err(|source| unreadable(&self.topic, SerdeOrigin::Key, source))?;
            let value = self.decode(value)?;
            all.push((key, (own, VersionedRecord { value, timestamp: *timestamp, valid_to })));
        }
        all.sort_by_key(|(key, _)| *key);
        Ok(all.into_iter().map(|(_, version)| version).collect())
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
        self.engine.commit(changelog_offset)
    }
    fn committed_offset(&self) -> Result<Option<i64>> {
        self.engine.committed_offset()
    }
    fn restore(&mut self, key: &[u8], value: Option<&[u8]>, timestamp: i64) -> Result<()> {
        self.put_bytes(key, value, timestamp).map(drop)
    }
    fn persistent(&self) -> bool {
        self.engine.persistent()
    }
    fn close(&mut self) -> Result<()> {
        self.engine.close()
    }
}
