//! A consumer whose keys and values are values.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use vltava_serde::{Serde, SerdeConfig, SerdeError, SerdeRef};

use super::{Consumer, ConsumerRecord, PartitionRecords};
use crate::ClientError;

/// A [`Consumer`] whose keys are `K` and values `V`.
///
/// A record that cannot be deserialised is not passed over: `poll` returns the records before it,
/// then [`ClientError::RecordDeserialization`] again and again, until the position is moved past it
/// by [`Consumer::seek`].
///
/// ```no_run
/// use std::time::Duration;
/// use vltava_client::consumer::TypedConsumer;
/// use vltava_client::serdes::{BigEndian, StringSerde};
///
/// # async fn example(consumer: vltava_client::Consumer) -> Result<(), vltava_client::ClientError> {
/// let consumer = TypedConsumer::<String, i64>::new(consumer, StringSerde, BigEndian);
/// for record in consumer.poll(Duration::from_secs(1)).await? {
///     println!("{:?} = {:?}", record.key, record.value);
/// }
/// # Ok(())
/// # }
/// ```
pub struct TypedConsumer<K, V> {
    consumer: Consumer,
    keys: SerdeRef<K>,
    values: SerdeRef<V>,
}

/// A record with its key and value deserialised; `None` where the record has none.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TypedRecord<K, V> {
    /// The key.
    pub key: Option<K>,
    /// The value.
    pub value: Option<V>,
    /// The record as it was read: partition, offset, timestamp, headers.
    pub record: ConsumerRecord,
}

impl<K: 'static, V: 'static> TypedConsumer<K, V> {
    /// Reads with `consumer`, which should not be polled besides this. The serdes are told which of them is for keys;
    /// clients have no settings for serdes.
    pub fn new(consumer: Consumer, keys: impl Serde<K>, values: impl Serde<V>) -> Self {
        let config = SerdeConfig::default();
        let keys = keys.configure(&config, true).unwrap_or_else(|| Arc::new(keys));
        let values = values.configure(&config, false).unwrap_or_else(|| Arc::new(values));
        Self { consumer, keys, values }
    }

    /// The consumer, for everything but `poll`.
    #[must_use]
    pub fn consumer(&self) -> &Consumer {
        &self.consumer
    }

    /// As [`Consumer::poll`], with the records deserialised.
    ///
    /// Cancel-safe: a dropped future loses no record.
    ///
    /// # Errors
    /// As [`Consumer::poll`], and [`ClientError::RecordDeserialization`] if nothing that comes before
    /// is left to return.
    pub async fn poll(&self, timeout: Duration) -> Result<Vec<TypedRecord<K, V>>, ClientError> {
        let polled = self.consumer.poll(timeout).await?;
        let mut records = Vec::with_capacity(polled.len());
        let mut failure = None;
        for partition in polled.into_partitions() {
            if let Err(error) = self.take(partition, &mut records) {
                failure.get_or_insert(error);
            }
        }
        match failure {
            Some(error) if records.is_empty() => Err(error),
            _ => Ok(records),
        }
    }

    /// Deserialises the records of a partition up to the first that fails, where its position goes
    /// back to.
    fn take(&self, partition: PartitionRecords, records: &mut Vec<TypedRecord<K, V>>) -> Result<(), ClientError> {
        for record in partition.into_owned_records() {
            match self.deserialize(&record) {
                Ok((key, value)) => records.push(TypedRecord { key, value, record }),
                Err((part, source)) => {
                    let partition = record.topic_partition().clone();
                    match self.consumer.seek(&partition, record.offset()) {
                        // It went to another member meanwhile, which will meet the same record.
                        Ok(()) | Err(ClientError::NotAssigned { .. }) => {}
                        Err(error) => return Err(error),
                    }
                    return Err(ClientError::RecordDeserialization {
                        partition,
                        offset: record.offset(),
                        part,
                        record: Box::new(record),
                        source,
                    });
                }
            }
        }
        Ok(())
    }

    #[expect(clippy::type_complexity, reason = "key and value, or which of them failed and why")]
    fn deserialize(&self, record: &ConsumerRecord) -> Result<(Option<K>, Option<V>), (&'static str, SerdeError)> {
        let topic = record.topic();
        let key = record.key().map(|bytes| self.keys.deserialize(topic, bytes)).transpose();
        let value = record.value().map(|bytes| self.values.deserialize(topic, bytes)).transpose();
        Ok((key.map_err(|error| ("key", error))?, value.map_err(|error| ("value", error))?))
    }
}

impl<K, V> fmt::Debug for TypedConsumer<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TypedConsumer").field(&self.consumer).finish()
    }
}
