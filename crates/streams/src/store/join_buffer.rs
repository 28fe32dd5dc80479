//! The records of a stream that wait for their table's rows: Kafka's `RocksDBTimeOrderedKeyValueBuffer` (KIP-923).
//!
//! A key is 0, the record's timestamp (8 bytes), its key and a number of its own (4 bytes), so that records stand in the
//! order in which they leave. A value is the record context and the value; the changelog's has 8 zeros more behind it.
//! The engine is persistent whatever `dsl.store.suppliers.class` says, as in Kafka.
//!
//! After a restart Kafka numbers records from 1 again, counts them from 0, and restores them under other keys, and so may
//! lose or forget some of them. This one reads the times and numbers of what is there.

use std::{marker::PhantomData, sync::Arc};

use bytes::Bytes;

use super::{
    AnyStore, StoreInit,
    buffer::format::{self, BufferValue},
    changelog,
    core::unreadable,
};
use crate::{
    data::{Data, ErasedSerde, Flow},
    error::{Error, Result, SerdeOrigin},
    processing::{RecordContext, Runtime},
    record::Headers,
    serdes::SerdeRef,
    state::{KeyFormat, KeyValueBytesStore, KeyValueSupplier, Order, forward},
};

/// The records of a stream-table join that are within its grace period.
pub(crate) struct JoinBuffer<K, V> {
    name: Arc<str>,
    /// What serdes are told as topic: the join's name.
    topic: Arc<str>,
    key_serde: SerdeRef<K>,
    value_serde: SerdeRef<V>,
    engine: Box<dyn KeyValueBytesStore>,
    changelog: Option<(Arc<str>, i32)>,
    /// In ms.
    grace: i64,
    /// The greatest timestamp that was put.
    stream_time: i64,
    /// No key in the buffer is before this one, so that a search need not pass what was deleted.
    first: Vec<u8>,
    /// The number of the last record.
    sequence: u32,
}

/// What such a buffer is made from.
pub(crate) struct JoinBufferSpec<K, V> {
    pub(crate) name: String,
    pub(crate) join: String,
    /// In ms.
    pub(crate) grace: i64,
    pub(crate) key_serde: Option<ErasedSerde>,
    pub(crate) value_serde: Option<ErasedSerde>,
    pub(crate) types: PhantomData<fn() -> (K, V)>,
}

/// A record whose time has come, under the context it came in with.
pub(crate) struct Due<K, V> {
    pub(crate) key: K,
    pub(crate) value: V,
    pub(crate) context: RecordContext,
    /// Its key in the buffer.
    pub(crate) place: Bytes,
}

impl<K: Data, V: Data> JoinBufferSpec<K, V> {
    pub(crate) fn make(&self, init: &StoreInit<'_>) -> Result<Box<dyn AnyStore>> {
        let mut buffer = JoinBuffer::<K, V> {
            name: Arc::from(self.name.as_str()),
            topic: Arc::from(self.join.as_str()),
            key_serde: init.serde(&self.join, self.key_serde.as_ref(), true)?,
            value_serde: init.serde(&self.join, self.value_serde.as_ref(), false)?,
            engine: KeyValueSupplier::persistent(self.name.clone()).get(init.engine, KeyFormat::JoinBuffer)?,
            changelog: init.changelog.clone(),
            grace: self.grace,
            stream_time: -1,
            first: lower_bound(0).to_vec(),
            sequence: 0,
        };
        buffer.look_through()?;
        Ok(Box::new(buffer))
    }
}

const PREFIX: u8 = 0;
const LAST_SEQUENCE: u32 = i32::MAX as u32;

fn lower_bound(timestamp: i64) -> [u8; 9] {
    let mut bound = [PREFIX; 9];
    if let Some(place) = bound.last_chunk_mut::<8>() {
        *place = timestamp.max(0).to_be_bytes();
    }
    bound
}

/// Timestamp, key and number of a record, from its key in the buffer.
fn parts(place: &[u8]) -> Option<(i64, &[u8], u32)> {
    let rest = place.strip_prefix(&[PREFIX])?;
    let (timestamp, rest) = rest.split_first_chunk::<8>()?;
    let (key, sequence) = rest.split_last_chunk::<4>()?;
    Some((i64::from_be_bytes(*timestamp), key, u32::from_be_bytes(*sequence)))
}

impl<K: Flow, V: Flow> JoinBuffer<K, V> {
    /// Knows times and numbers of what is there, and of nothing else.
    fn look_through(&mut self) -> Result<()> {
        (self.stream_time, self.sequence, self.first) = (-1, 0, lower_bound(0).to_vec());
        for entry in self.engine.all(Order::Forward)? {
            self.seen(&entry?.0)?;
        }
        Ok(())
    }

    /// Buffers a record, which is the one being processed; false if it is too late to wait.
    pub(crate) fn put(&mut self, rt: &mut Runtime, key: &K, value: &V) -> Result<bool> {
        let timestamp = rt.context.timestamp;
        if timestamp < self.closed() {
            return Ok(false);
        }
        self.sequence = if self.sequence >= LAST_SEQUENCE { 0 } else { self.sequence + 1 };
        let mut place = lower_bound(timestamp).to_vec();
        self.encode(&self.key_serde, key, SerdeOrigin::Key, &mut place)?;
        place.extend_from_slice(&self.sequence.to_be_bytes());
        let mut new = Vec::new();
        self.encode(&self.value_serde, value, SerdeOrigin::Value, &mut new)?;
        let context = format::kept(&rt.context);
        let value = BufferValue { prior: None, old: None, new: Some(new.into()), context };
        let too_long = |why| Error::unwritable(&self.name, &why);
        let (row, logged) = (value.write_without_time().map_err(too_long)?, value.write(0).map_err(too_long)?);
        self.engine.put(&place, Some(&row))?;
        self.log(rt, &place, Some(&logged))?;
        self.stream_time = self.stream_time.max(timestamp);
        if place < self.first {
            self.first = place;
        }
        Ok(true)
    }

    /// The first record that has waited for as long as the grace period; it stays until it is removed.
    pub(crate) fn first_due(&mut self) -> Result<Option<Due<K, V>>> {
        let closed = self.closed();
        if self.first.as_slice() > &lower_bound(closed.saturating_add(1))[..] || closed < 0 {
            return Ok(None);
        }
        // One range per record: what is joined may take long, and an iterator would hold what is deleted meanwhile.
        let Some((place, value)) = self.engine.first(Some(&self.first), None)? else {
            self.first = lower_bound(closed.saturating_add(1)).to_vec();
            return Ok(None);
        };
        let Some((timestamp, key, _)) = parts(&place) else { return Err(self.damaged()) };
        self.first.clear();
        self.first.extend_from_slice(&place);
        if timestamp > closed {
            return Ok(None);
        }
        let Some(BufferValue { new: Some(value), context, .. }) = format::read_without_time(&value) else {
            return Err(self.damaged());
        };
        let key = self.key_serde.deserialize(&self.topic, key);
        let value = self.value_serde.deserialize(&self.topic, &value);
        Ok(Some(Due {
            key: key.map_err(|source| unreadable(&self.topic, SerdeOrigin::Key, source))?,
            value: value.map_err(|source| unreadable(&self.topic, SerdeOrigin::Value, source))?,
            context,
            place,
        }))
    }

    pub(crate) fn remove(&mut self, rt: &mut Runtime, place: &[u8]) -> Result<()> {
        self.engine.put(place, None)?;
        self.log(rt, place, None)
    }

    /// Up to here, included, the grace period is over.
    fn closed(&self) -> i64 {
        self.stream_time.saturating_sub(self.grace)
    }

    /// Learns time and number of a record that was there before.
    fn seen(&mut self, place: &[u8]) -> Result<()> {
        let (timestamp, _, sequence) = parts(place).ok_or_else(|| self.damaged())?;
        self.stream_time = self.stream_time.max(timestamp);
        self.sequence = self.sequence.max(sequence);
        Ok(())
    }

    #[cold]
    fn damaged(&self) -> Box<Error> {
        let message = "a record in it or in its changelog is not one of a join's buffer".to_owned();
        Box::new(Error::Store { store: self.name.to_string(), message })
    }

    fn encode<T: 'static>(&self, serde: &SerdeRef<T>, value: &T, origin: SerdeOrigin, out: &mut Vec<u8>) -> Result<()> {
        serde.serialize(&self.topic, value, out).map_err(|source| {
            let (node, topic) = (self.name.to_string(), self.topic.to_string());
            Box::new(Error::Serialization { node, topic, origin, source })
        })
    }

    fn log(&self, rt: &mut Runtime, key: &[u8], value: Option<&[u8]>) -> Result<()> {
        let Some(changelog) = &self.changelog else { return Ok(()) };
        changelog::send(changelog, rt, (key, value), None, &Headers::new())
    }
}

impl<K: Flow, V: Flow> AnyStore for JoinBuffer<K, V> {
    forward!([engine]: persistent commit close raw_entries);

    fn name(&self) -> &str {
        &self.name
    }

    fn flush_cache(&mut self, _rt: &mut Runtime) -> Result<Option<usize>> {
        Ok(None)
    }

    fn forget(&mut self) -> Result<bool> {
        let forgotten = self.engine.forget()?;
        self.look_through()?;
        Ok(forgotten)
    }

    fn recycle(&mut self) -> Result<bool> {
        Ok(true)
    }

    fn restore(&mut self, key: &[u8], value: Option<&[u8]>, _timestamp: i64) -> Result<()> {
        // A deletion tells of a record that was there too.
        self.seen(key)?;
        let value = match value {
            Some(value) => Some(value.split_last_chunk::<8>().ok_or_else(|| self.damaged())?.0),
            None => None,
        };
        self.engine.restore(key, value)
    }

    fn clear(&mut self) -> Result<()> {
        (self.stream_time, self.sequence, self.first) = (-1, 0, lower_bound(0).to_vec());
        self.engine.clear()
    }
}
