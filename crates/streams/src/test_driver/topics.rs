//! Typed ends of a test driver.

use std::{cell::Cell, collections::BTreeMap, fmt, time::Duration};

use super::{SentRecord, TopologyTestDriver};
use crate::{
    data::Nullable,
    error::{Error, Result, SerdeError, SerdeOrigin},
    record::{Headers, Record},
    serdes::SerdeRef,
};

/// A record read from an output topic.
pub type TestRecord<K, V> = Record<K, V>;

/// An input topic of a [`TopologyTestDriver`]. Records get timestamps from 0 on unless they say otherwise.
pub struct TestInputTopic<K: Nullable, V: Nullable> {
    driver: TopologyTestDriver,
    topic: String,
    key_serde: SerdeRef<K::Some>,
    value_serde: SerdeRef<V::Some>,
    timestamp: Cell<i64>,
    advance: Cell<i64>,
}

impl<K: Nullable, V: Nullable> fmt::Debug for TestInputTopic<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestInputTopic").field("topic", &self.topic).finish_non_exhaustive()
    }
}

impl<K: Nullable, V: Nullable> TestInputTopic<K, V> {
    pub(super) fn new(
        driver: TopologyTestDriver,
        topic: &str,
        key_serde: SerdeRef<K::Some>,
        value_serde: SerdeRef<V::Some>,
    ) -> Self {
        let topic = topic.to_owned();
        TestInputTopic { driver, topic, key_serde, value_serde, timestamp: Cell::new(0), advance: Cell::new(0) }
    }

    /// The timestamp of the next record, and what every record adds to it; both in ms, from 0 on.
    #[must_use]
    pub fn with_auto_advance(self, start: i64, advance: i64) -> Self {
        self.timestamp.set(start);
        self.advance.set(advance);
        self
    }

    /// Moves the timestamp of the next record.
    pub fn advance_time(&self, by: Duration) {
        let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        self.timestamp.set(self.timestamp.get().saturating_add(by));
    }

    fn next_timestamp(&self) -> Result<i64> {
        let (timestamp, advance) = (self.timestamp.get(), self.advance.get());
        if advance < 0 {
            return Err(Box::new(Error::IllegalArgument(format!("invalid advance {advance}: must be >= 0"))));
        }
        self.timestamp.set(timestamp.saturating_add(advance));
        Ok(timestamp)
    }

    fn null_key(&self) -> Result<K> {
        K::from_option(None).ok_or_else(|| {
            let message =
                format!("a record of {} without a key: the key's type has no null, take an Option", self.topic);
            Box::new(Error::IllegalArgument(message))
        })
    }

    /// Sends a record with the next timestamp.
    ///
    /// # Errors
    /// If it cannot be serialised, or processing fails.
    pub fn pipe(&self, key: K, value: V) -> Result<()> {
        let timestamp = self.next_timestamp()?;
        self.pipe_at(key, value, timestamp)
    }

    /// Sends a record without a key, with the next timestamp.
    ///
    /// # Errors
    /// If the key's type has no null, it cannot be serialised, or processing fails.
    pub fn pipe_value(&self, value: V) -> Result<()> {
        self.pipe(self.null_key()?, value)
    }

    /// Sends a record without a key, with a timestamp, in ms since the epoch.
    ///
    /// # Errors
    /// As [`pipe_value`](Self::pipe_value).
    pub fn pipe_value_at(&self, value: V, timestamp: i64) -> Result<()> {
        self.pipe_at(self.null_key()?, value, timestamp)
    }

    /// Sends a record with a timestamp, in ms since the epoch.
    ///
    /// # Errors
    /// If it cannot be serialised, or processing fails.
    pub fn pipe_at(&self, key: K, value: V, timestamp: i64) -> Result<()> {
        self.pipe_record(Record::new(key, value, timestamp))
    }

    /// Sends a record with its timestamp and headers.
    ///
    /// # Errors
    /// If it cannot be serialised, or processing fails.
    pub fn pipe_record(&self, record: Record<K, V>) -> Result<()> {
        let failed = |origin, source: SerdeError| {
            let (node, topic) = ("the test's input".to_owned(), self.topic.clone());
            Box::new(Error::Serialization { node, topic, origin, source })
        };
        let (mut key, mut value) = (Vec::new(), Vec::new());
        if let Some(some) = record.key.as_some() {
            let done = self.key_serde.serialize(&self.topic, some, &mut key);
            done.map_err(|source| failed(SerdeOrigin::Key, source))?;
        }
        if let Some(some) = record.value.as_some() {
            let done = self.value_serde.serialize(&self.topic, some, &mut value);
            done.map_err(|source| failed(SerdeOrigin::Value, source))?;
        }
        let key = record.key.as_some().map(|_| key.as_slice());
        let value = record.value.as_some().map(|_| value.as_slice());
        self.driver.pipe_bytes(&self.topic, key, value, record.timestamp, record.headers)
    }

    /// Sends records, each with its own timestamp and headers.
    ///
    /// # Errors
    /// At the first that fails.
    pub fn pipe_records(&self, records: impl IntoIterator<Item = Record<K, V>>) -> Result<()> {
        records.into_iter().try_for_each(|record| self.pipe_record(record))
    }

    /// Sends several values with one key each, with the next timestamps.
    ///
    /// # Errors
    /// At the first that fails.
    pub fn pipe_key_values(&self, records: impl IntoIterator<Item = (K, V)>) -> Result<()> {
        records.into_iter().try_for_each(|(key, value)| self.pipe(key, value))
    }

    /// Sends several values with one key each, the first at `start`, in ms since the epoch, each `advance` after the one
    /// before it.
    ///
    /// # Errors
    /// At the first that fails.
    pub fn pipe_key_values_at(
        &self,
        records: impl IntoIterator<Item = (K, V)>,
        start: i64,
        advance: Duration,
    ) -> Result<()> {
        let advance = i64::try_from(advance.as_millis()).unwrap_or(i64::MAX);
        let timestamps = std::iter::successors(Some(start), |last| Some(last.saturating_add(advance)));
        records.into_iter().zip(timestamps).try_for_each(|((key, value), at)| self.pipe_at(key, value, at))
    }

    /// Sends several values without keys, with the next timestamps.
    ///
    /// # Errors
    /// As [`pipe_value`](Self::pipe_value), at the first that fails.
    pub fn pipe_values(&self, values: impl IntoIterator<Item = V>) -> Result<()> {
        values.into_iter().try_for_each(|value| self.pipe_value(value))
    }

    /// Sends several values without keys, timed as in [`pipe_key_values_at`](Self::pipe_key_values_at).
    ///
    /// # Errors
    /// As [`pipe_value`](Self::pipe_value), at the first that fails.
    pub fn pipe_values_at(&self, values: impl IntoIterator<Item = V>, start: i64, advance: Duration) -> Result<()> {
        let keyed = values.into_iter().map(|value| Ok((self.null_key()?, value))).collect::<Result<Vec<_>>>()?;
        self.pipe_key_values_at(keyed, start, advance)
    }
}

/// An output topic of a [`TopologyTestDriver`]; every record is read once.
pub struct TestOutputTopic<K: Nullable, V: Nullable> {
    driver: TopologyTestDriver,
    topic: String,
    key_serde: SerdeRef<K::Some>,
    value_serde: SerdeRef<V::Some>,
}

impl<K: Nullable, V: Nullable> fmt::Debug for TestOutputTopic<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestOutputTopic").field("topic", &self.topic).finish_non_exhaustive()
    }
}

impl<K: Nullable, V: Nullable> TestOutputTopic<K, V> {
    pub(super) fn new(
        driver: TopologyTestDriver,
        topic: &str,
        key_serde: SerdeRef<K::Some>,
        value_serde: SerdeRef<V::Some>,
    ) -> Self {
        TestOutputTopic { driver, topic: topic.to_owned(), key_serde, value_serde }
    }

    /// How many records wait.
    #[must_use]
    pub fn queue_size(&self) -> usize {
        self.driver.waiting(&self.topic)
    }

    /// Whether none wait.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue_size() == 0
    }

    /// The next record, if there is one.
    ///
    /// # Errors
    /// If nothing was ever written to the topic and no sink writes there, its bytes cannot be read, or it is null where the type is not.
    pub fn read_record(&self) -> Result<Option<TestRecord<K, V>>> {
        let Some(SentRecord { key, value, timestamp, headers, .. }) = self.driver.next_of(&self.topic)? else {
            return Ok(None);
        };
        let failed = |origin, source: SerdeError| {
            let (topic, partition, offset) = (self.topic.clone(), 0, -1);
            Box::new(Error::Deserialization { topic, partition, offset, origin, source })
        };
        let key = key.map(|bytes| self.key_serde.deserialize(&self.topic, &bytes)).transpose();
        let key = K::from_option(key.map_err(|source| failed(SerdeOrigin::Key, source))?);
        let value = value.map(|bytes| self.value_serde.deserialize(&self.topic, &bytes)).transpose();
        let value = V::from_option(value.map_err(|source| failed(SerdeOrigin::Value, source))?);
        let null = |origin| failed(origin, SerdeError::new("null, and the type has no null"));
        Ok(Some(Record {
            key: key.ok_or_else(|| null(SerdeOrigin::Key))?,
            value: value.ok_or_else(|| null(SerdeOrigin::Value))?,
            timestamp: timestamp.unwrap_or(-1),
            headers: Headers::clone(&headers),
        }))
    }

    /// The next record's value, if there is one.
    ///
    /// # Errors
    /// As [`read_record`](Self::read_record).
    pub fn read_value(&self) -> Result<Option<V>> {
        Ok(self.read_record()?.map(|record| record.value))
    }

    /// The next record's key and value, if there is one.
    ///
    /// # Errors
    /// As [`read_record`](Self::read_record).
    pub fn read_key_value(&self) -> Result<Option<(K, V)>> {
        Ok(self.read_record()?.map(|record| (record.key, record.value)))
    }

    /// All records that wait.
    ///
    /// # Errors
    /// As [`read_record`](Self::read_record).
    pub fn read_records(&self) -> Result<Vec<TestRecord<K, V>>> {
        std::iter::from_fn(|| self.read_record().transpose()).collect()
    }

    /// All values that wait.
    ///
    /// # Errors
    /// As [`read_record`](Self::read_record).
    pub fn read_values(&self) -> Result<Vec<V>> {
        Ok(self.read_records()?.into_iter().map(|record| record.value).collect())
    }

    /// All keys and values that wait.
    ///
    /// # Errors
    /// As [`read_record`](Self::read_record).
    pub fn read_key_values(&self) -> Result<Vec<(K, V)>> {
        Ok(self.read_records()?.into_iter().map(|record| (record.key, record.value)).collect())
    }

    /// The newest value of every key that waits.
    ///
    /// # Errors
    /// As [`read_record`](Self::read_record).
    pub fn read_key_values_to_map(&self) -> Result<BTreeMap<K, V>>
    where
        K: Ord,
    {
        Ok(self.read_key_values()?.into_iter().collect())
    }
}
