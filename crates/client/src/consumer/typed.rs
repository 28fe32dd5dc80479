//! A consumer whose keys and values are values.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use super::{Consumer, ConsumerRecord, PartitionRecords};
use crate::ClientError;
use crate::serdes::Deserializer;

/// A [`Consumer`] with deserialisers for keys and values.
///
/// A record that cannot be deserialised is not passed over: `poll` returns the records before it,
/// then [`ClientError::RecordDeserialization`] again and again, until the position is moved past it
/// by [`Consumer::seek`].
///
/// ```no_run
/// use std::time::Duration;
/// use vltava_client::consumer::TypedConsumer;
/// use vltava_client::serdes::{BigEndian, Utf8};
///
/// # async fn example(consumer: vltava_client::Consumer) -> Result<(), vltava_client::ClientError> {
/// let consumer: TypedConsumer<String, i64, _, _> = TypedConsumer::new(consumer, Utf8, BigEndian);
/// for record in consumer.poll(Duration::from_secs(1)).await? {
///     println!("{:?} = {:?}", record.key, record.value);
/// }
/// # Ok(())
/// # }
/// ```
pub struct TypedConsumer<K, V, KD, VD> {
    consumer: Consumer,
    key_deserializer: KD,
    value_deserializer: VD,
    types: PhantomData<fn() -> (K, V)>,
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

impl<K, V, KD, VD> TypedConsumer<K, V, KD, VD>
where
    KD: Deserializer<K>,
    VD: Deserializer<V>,
{
    /// Reads with `consumer`, which should not be polled besides this.
    pub fn new(consumer: Consumer, key_deserializer: KD, value_deserializer: VD) -> Self {
        Self { consumer, key_deserializer, value_deserializer, types: PhantomData }
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
                        source: Box::new(source),
                    });
                }
            }
        }
        Ok(())
    }

    #[expect(clippy::type_complexity, reason = "key and value, or which of them failed and why")]
    fn deserialize(&self, record: &ConsumerRecord) -> Result<(Option<K>, Option<V>), (&'static str, ClientError)> {
        let key = record.key().map(|bytes| self.key_deserializer.deserialize(bytes)).transpose();
        let value = record.value().map(|bytes| self.value_deserializer.deserialize(bytes)).transpose();
        Ok((key.map_err(|error| ("key", error))?, value.map_err(|error| ("value", error))?))
    }
}

impl<K, V, KD, VD> fmt::Debug for TypedConsumer<K, V, KD, VD> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TypedConsumer").field(&self.consumer).finish()
    }
}
