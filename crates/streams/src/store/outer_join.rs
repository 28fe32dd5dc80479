//! What an outer join of streams remembers of the records that have not met any other: until their windows close.
//!
//! Key and value have the JVM's bytes: the timestamp (8), 1 for the left side (1), the record's key; and a list of
//! values, each with 1 in front for the left side. Several records of one key, side and time stand in one list.

use std::{marker::PhantomData, sync::Arc};

use bytes::Bytes;

use super::{AnyStore, StoreInit, changelog, core::unreadable};
use crate::{
    data::{Data, ErasedSerde, Flow},
    error::{Error, Result, SerdeError, SerdeOrigin},
    processing::Runtime,
    record::Headers,
    serdes::{SerdeRef, length},
    state::{BytesIter, KeyFormat, KeyValueBytesStore, KeyValueSupplier, Order, forward},
};

/// A value of one side of a join.
pub(crate) enum LeftOrRight<A, B> {
    Left(A),
    Right(B),
}

/// The shared store of both sides of a join, and the time that they share.
pub(crate) struct OuterJoinStore<K, A, B> {
    name: Arc<str>,
    topic: Arc<str>,
    key_serde: SerdeRef<K>,
    left_serde: SerdeRef<A>,
    right_serde: SerdeRef<B>,
    engine: Box<dyn KeyValueBytesStore>,
    changelog: Option<(Arc<str>, i32)>,
    pub(crate) time: TimeTracker,
    key_buffer: Vec<u8>,
    value_buffer: Vec<u8>,
}

/// The time that both sides of a join have seen, and when to look for closed windows again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TimeTracker {
    pub(crate) stream_time: i64,
    /// The lowest timestamp that may be in the store. `i64::MAX` where that is not known.
    pub(crate) min_time: i64,
    next_emit: i64,
    emit_interval: i64,
}

impl TimeTracker {
    pub(crate) fn new(emit_interval: i64) -> Self {
        TimeTracker { stream_time: -1, min_time: i64::MAX, next_emit: 0, emit_interval }
    }

    pub(crate) fn advance(&mut self, timestamp: i64) {
        self.stream_time = self.stream_time.max(timestamp);
    }

    /// Whether a window may have closed whose end lies `after` behind its record's timestamp, grace included; at most
    /// once per interval of wall-clock time.
    pub(crate) fn due(&mut self, after: i64, now: i64) -> bool {
        // A clock that was set back is not waited for until it has caught up.
        let early = now < self.next_emit && self.next_emit.saturating_sub(now) <= self.emit_interval;
        // As the JVM does it, an unknown minimum wraps around and is worth a look.
        if self.min_time.wrapping_add(after) >= self.stream_time || early {
            return false;
        }
        self.next_emit = now.saturating_add(self.emit_interval);
        self.min_time = i64::MAX;
        true
    }
}

type Types<K, A, B> = PhantomData<fn() -> (K, A, B)>;

/// What such a store is made from.
pub(crate) struct OuterJoinSpec<K, A, B> {
    pub(crate) name: String,
    pub(crate) in_memory: Option<bool>,
    pub(crate) key_serde: Option<ErasedSerde>,
    pub(crate) left_serde: Option<ErasedSerde>,
    pub(crate) right_serde: Option<ErasedSerde>,
    pub(crate) types: Types<K, A, B>,
}

impl<K: Data, A: Data, B: Data> OuterJoinSpec<K, A, B> {
    pub(crate) fn make(&self, init: &StoreInit<'_>) -> Result<Box<dyn AnyStore>> {
        let supplier = match self.in_memory.unwrap_or_else(|| init.config.fields().stores_in_memory) {
            true => KeyValueSupplier::in_memory(self.name.clone()),
            false => KeyValueSupplier::persistent(self.name.clone()),
        };
        let name: Arc<str> = Arc::from(self.name.as_str());
        Ok(Box::new(OuterJoinStore::<K, A, B> {
            topic: init.topic(&name),
            key_serde: init.serde(&name, self.key_serde.as_ref(), true)?,
            left_serde: init.serde(&name, self.left_serde.as_ref(), false)?,
            right_serde: init.serde(&name, self.right_serde.as_ref(), false)?,
            name,
            engine: supplier.get(init.engine, KeyFormat::OuterJoin)?,
            changelog: init.changelog.clone(),
            time: TimeTracker::new(init.config.fields().outer_join_emit_interval_ms),
            key_buffer: Vec::new(),
            value_buffer: Vec::new(),
        }))
    }
}

/// The values of one side, one key and one time, as bytes.
pub(crate) struct Unjoined {
    pub(crate) bytes: Bytes,
    pub(crate) timestamp: i64,
    pub(crate) left: bool,
    values: Bytes,
}

impl<K: Flow, A: Flow, B: Flow> OuterJoinStore<K, A, B> {
    /// Adds a record that has met none yet.
    pub(crate) fn add(
        &mut self,
        rt: &mut Runtime,
        (timestamp, key): (i64, &K),
        value: LeftOrRight<&A, &B>,
    ) -> Result<()> {
        self.encode_key(timestamp, matches!(value, LeftOrRight::Left(_)), key)?;
        let old = self.engine.get(&self.key_buffer)?;
        let list = &mut self.value_buffer;
        begin_list(list, old.as_deref()).map_err(|source| unreadable(&self.topic, SerdeOrigin::Value, source))?;
        let start = list.len();
        list.extend_from_slice(&[0; 4]);
        let done = match value {
            LeftOrRight::Left(value) => {
                list.push(1);
                self.left_serde.serialize(&self.topic, value, list)
            }
            LeftOrRight::Right(value) => {
                list.push(0);
                self.right_serde.serialize(&self.topic, value, list)
            }
        };
        let len = done.and_then(|()| length(self.value_buffer.len() - start - 4));
        let len = len.map_err(|source| self.failed(SerdeOrigin::Value, source))?;
        if let Some(place) = self.value_buffer.get_mut(start..start + 4) {
            place.copy_from_slice(&len.to_be_bytes());
        }
        self.engine.put(&self.key_buffer, Some(&self.value_buffer))?;
        self.log(rt, &self.key_buffer, Some(&self.value_buffer))
    }

    /// Forgets the records of one side, key and time, if there are any.
    pub(crate) fn remove(&mut self, rt: &mut Runtime, timestamp: i64, left: bool, key: &K) -> Result<()> {
        self.encode_key(timestamp, left, key)?;
        if self.engine.get(&self.key_buffer)?.is_none() {
            return Ok(());
        }
        self.engine.put(&self.key_buffer, None)?;
        self.log(rt, &self.key_buffer, None)
    }

    /// Forgets an entry of [`unjoined`](Self::unjoined).
    pub(crate) fn remove_bytes(&mut self, rt: &mut Runtime, key: &[u8]) -> Result<()> {
        self.engine.put(key, None)?;
        self.log(rt, key, None)
    }

    /// What has met none, by time, right side before left side, and key. The iterator owns what it reads.
    pub(crate) fn unjoined(&self) -> Result<impl Iterator<Item = Result<Unjoined>> + use<K, A, B>> {
        let entries: BytesIter = self.engine.all(Order::Forward)?;
        let topic = self.topic.clone();
        Ok(entries.map(move |entry| {
            let (bytes, values) = entry?;
            let Some((timestamp, [side, ..])) = bytes.split_first_chunk::<8>() else {
                let source = SerdeError::new("no timestamp and side of a join");
                return Err(unreadable(&topic, SerdeOrigin::Key, source));
            };
            let (timestamp, left) = (i64::from_be_bytes(*timestamp), *side == 1);
            Ok(Unjoined { bytes, timestamp, left, values })
        }))
    }

    /// The key of an entry.
    pub(crate) fn key(&self, entry: &Unjoined) -> Result<K> {
        let bytes = entry.bytes.get(9..).ok_or_else(|| SerdeError::new("no key behind timestamp and side of a join"));
        let key = bytes.and_then(|bytes| self.key_serde.deserialize(&self.topic, bytes));
        key.map_err(|source| unreadable(&self.topic, SerdeOrigin::Key, source))
    }

    /// The values of an entry, in the order in which they came.
    pub(crate) fn values(&self, entry: &Unjoined) -> Result<Vec<LeftOrRight<A, B>>> {
        let failed = |source| unreadable(&self.topic, SerdeOrigin::Value, source);
        let value = |bytes: &[u8]| match bytes.split_first() {
            Some((1, value)) => Ok(LeftOrRight::Left(self.left_serde.deserialize(&self.topic, value)?)),
            Some((_, value)) => Ok(LeftOrRight::Right(self.right_serde.deserialize(&self.topic, value)?)),
            None => Err(SerdeError::new("no side of a join")),
        };
        let mut rest = entry.values.get(HEAD..).ok_or_else(|| failed(no_head()))?;
        let mut values = Vec::new();
        while !rest.is_empty() {
            let item = rest
                .split_first_chunk::<4>()
                .and_then(|(len, rest)| rest.split_at_checked(usize::try_from(i32::from_be_bytes(*len)).ok()?));
            let Some((item, more)) = item else {
                return Err(failed(SerdeError::new("a list of values ends within one")));
            };
            values.push(value(item).map_err(failed)?);
            rest = more;
        }
        Ok(values)
    }

    fn encode_key(&mut self, timestamp: i64, left: bool, key: &K) -> Result<()> {
        self.key_buffer.clear();
        self.key_buffer.extend_from_slice(&timestamp.to_be_bytes());
        self.key_buffer.push(u8::from(left));
        let done = self.key_serde.serialize(&self.topic, key, &mut self.key_buffer);
        done.map_err(|source| self.failed(SerdeOrigin::Key, source))
    }

    fn failed(&self, origin: SerdeOrigin, source: SerdeError) -> Box<Error> {
        let (node, topic) = (self.name.to_string(), self.topic.to_string());
        Box::new(Error::Serialization { node, topic, origin, source })
    }

    fn log(&self, rt: &mut Runtime, key: &[u8], value: Option<&[u8]>) -> Result<()> {
        let Some(changelog) = &self.changelog else { return Ok(()) };
        let timestamp = Some(rt.context.timestamp);
        changelog::send(changelog, rt, (key, value), timestamp, &Headers::new())
    }
}

/// A list in the form of Kafka's `ListSerde`: 1 for values of different lengths, their number, then each behind its
/// length.
const HEAD: usize = 5;

/// Writes the head of a list that has one value more than `old`, and the values of that.
fn begin_list(list: &mut Vec<u8>, old: Option<&[u8]>) -> Result<(), SerdeError> {
    let (count, values) = match old.map(|old| old.split_first_chunk::<HEAD>()) {
        Some(Some(([_, a, b, c, d], values))) => (i32::from_be_bytes([*a, *b, *c, *d]), values),
        Some(None) => return Err(no_head()),
        None => (0, &[][..]),
    };
    list.clear();
    list.push(1);
    list.extend_from_slice(&count.saturating_add(1).to_be_bytes());
    list.extend_from_slice(values);
    Ok(())
}

fn no_head() -> SerdeError {
    SerdeError::new("values of a join without their number")
}

impl<K: Flow, A: Flow, B: Flow> AnyStore for OuterJoinStore<K, A, B> {
    forward!([engine]: persistent commit clear close raw_entries);

    fn name(&self) -> &str {
        &self.name
    }

    fn flush_cache(&mut self, _rt: &mut Runtime) -> Result<Option<usize>> {
        Ok(None)
    }

    fn forget(&mut self) -> Result<bool> {
        self.time = TimeTracker::new(self.time.emit_interval);
        self.engine.forget()
    }

    fn recycle(&mut self) -> Result<bool> {
        self.time = TimeTracker::new(self.time.emit_interval);
        Ok(true)
    }

    fn restore(&mut self, key: &[u8], value: Option<&[u8]>, _timestamp: i64) -> Result<()> {
        self.engine.restore(key, value)
    }
}

#[cfg(test)]
mod tests {
    use super::begin_list;

    #[test]
    fn a_list_grows_by_one_and_a_damaged_one_is_not_taken_for_none() {
        let mut list = Vec::new();
        begin_list(&mut list, None).unwrap();
        assert_eq!(list, [1, 0, 0, 0, 1]);
        begin_list(&mut list, Some(&[1, 0, 0, 0, 1, 0, 0, 0, 0])).unwrap();
        assert_eq!(list, [1, 0, 0, 0, 2, 0, 0, 0, 0]);
        assert!(begin_list(&mut list, Some(&[1, 0, 0])).is_err());
    }
}
