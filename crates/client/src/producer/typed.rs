//! A producer of keys and values that are not bytes.

use std::{cell::Cell, fmt, sync::Arc};

use vltava_serde::{Serde, SerdeConfig, SerdeError, SerdeRef};

use super::{Delivery, Producer, ProducerRecord};
use crate::error::ClientError;

/// A [`Producer`] for one topic whose keys are `K` and values `V`. Cheap to clone.
///
/// ```no_run
/// # async fn example(producer: vltava_client::Producer) -> Result<(), vltava_client::ClientError> {
/// use vltava_client::producer::TypedProducer;
/// use vltava_client::serdes::{BigEndian, StringSerde};
///
/// let users = TypedProducer::<i64, String>::new(producer, "users", BigEndian, StringSerde);
/// let delivery = users.send(Some(&1), Some(&"mitch".to_owned())).await?;
/// delivery.await?;
/// # Ok(())
/// # }
/// ```
pub struct TypedProducer<K, V> {
    producer: Producer,
    topic: Arc<str>,
    keys: SerdeRef<K>,
    values: SerdeRef<V>,
}

impl<K, V> Clone for TypedProducer<K, V> {
    fn clone(&self) -> Self {
        Self {
            producer: self.producer.clone(),
            topic: Arc::clone(&self.topic),
            keys: Arc::clone(&self.keys),
            values: Arc::clone(&self.values),
        }
    }
}

impl<K, V> fmt::Debug for TypedProducer<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypedProducer").field("topic", &self.topic).finish_non_exhaustive()
    }
}

thread_local! {
    /// The buffers of the last record, for the next one.
    static BUFFERS: Cell<(Vec<u8>, Vec<u8>)> = const { Cell::new((Vec::new(), Vec::new())) };
}

impl<K: 'static, V: 'static> TypedProducer<K, V> {
    /// A producer for `topic` over another one. The serdes are told which of them is for keys; clients have no settings
    /// for serdes.
    pub fn new(producer: Producer, topic: impl Into<Arc<str>>, keys: impl Serde<K>, values: impl Serde<V>) -> Self {
        let config = SerdeConfig::default();
        let keys = keys.configure(&config, true).unwrap_or_else(|| Arc::new(keys));
        let values = values.configure(&config, false).unwrap_or_else(|| Arc::new(values));
        Self { producer, topic: topic.into(), keys, values }
    }

    /// The producer of bytes underneath.
    #[must_use]
    pub fn producer(&self) -> &Producer {
        &self.producer
    }

    /// Sends a record; see [`Producer::send`]. A value of `None` is a tombstone.
    ///
    /// # Errors
    /// As [`Producer::send`], and [`ClientError::RecordSerialization`].
    pub async fn send(&self, key: Option<&K>, value: Option<&V>) -> Result<Delivery, ClientError> {
        self.send_to(None, None, key, value).await
    }

    /// As [`send`](Self::send), to a partition and with a timestamp in milliseconds since the epoch.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn send_to(
        &self,
        partition: Option<i32>,
        timestamp: Option<i64>,
        key: Option<&K>,
        value: Option<&V>,
    ) -> Result<Delivery, ClientError> {
        let (mut key_buffer, mut value_buffer) = BUFFERS.take();
        key_buffer.clear();
        value_buffer.clear();
        if let Some(key) = key {
            self.keys.serialize(&self.topic, key, &mut key_buffer).map_err(|source| self.unwritable("key", source))?;
        }
        if let Some(value) = value {
            let written = self.values.serialize(&self.topic, value, &mut value_buffer);
            written.map_err(|source| self.unwritable("value", source))?;
        }
        let record = ProducerRecord {
            partition,
            timestamp,
            key: key.map(|_| key_buffer.as_slice()),
            value: value.map(|_| value_buffer.as_slice()),
            ..ProducerRecord::new(&self.topic)
        };
        let result = self.producer.send(record).await;
        BUFFERS.set((key_buffer, value_buffer));
        result
    }
    fn unwritable(&self, part: &'static str, source: SerdeError) -> ClientError {
        ClientError::RecordSerialization { topic: Arc::clone(&self.topic), part, source }
    }
}
