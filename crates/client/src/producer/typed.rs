//! A producer of keys and values that are not bytes.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;

use super::{Delivery, Producer, ProducerRecord};
use crate::error::ClientError;
use crate::serdes::Serializer;

/// A [`Producer`] for one topic whose keys are `K` and values `V`. Cheap to clone if its serializers are.
///
/// ```no_run
/// # async fn example(producer: vltava_client::Producer) -> Result<(), vltava_client::ClientError> {
/// use vltava_client::producer::TypedProducer;
/// use vltava_client::serdes::{BigEndian, Utf8};
///
/// let users: TypedProducer<i64, String, _, _> = TypedProducer::new(producer, "users", BigEndian, Utf8);
/// let delivery = users.send(Some(&1), Some(&"mitch".to_owned())).await?;
/// delivery.await?;
/// # Ok(())
/// # }
/// ```
pub struct TypedProducer<K: ?Sized, V: ?Sized, KS, VS> {
    producer: Producer,
    topic: String,
    keys: KS,
    values: VS,
    types: PhantomData<fn(&K, &V)>,
}

impl<K: ?Sized, V: ?Sized, KS: Clone, VS: Clone> Clone for TypedProducer<K, V, KS, VS> {
    fn clone(&self) -> Self {
        Self {
            producer: self.producer.clone(),
            topic: self.topic.clone(),
            keys: self.keys.clone(),
            values: self.values.clone(),
            types: PhantomData,
        }
    }
}

impl<K: ?Sized, V: ?Sized, KS, VS> fmt::Debug for TypedProducer<K, V, KS, VS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypedProducer").field("topic", &self.topic).finish_non_exhaustive()
    }
}

thread_local! {
    /// The buffers of the last record, for the next one.
    static BUFFERS: Cell<(Vec<u8>, Vec<u8>)> = const { Cell::new((Vec::new(), Vec::new())) };
}

impl<K: ?Sized, V: ?Sized, KS: Serializer<K>, VS: Serializer<V>> TypedProducer<K, V, KS, VS> {
    /// A producer for `topic` over another one.
    pub fn new(producer: Producer, topic: impl Into<String>, keys: KS, values: VS) -> Self {
        Self { producer, topic: topic.into(), keys, values, types: PhantomData }
    }

    /// The producer of bytes underneath.
    #[must_use]
    pub fn producer(&self) -> &Producer {
        &self.producer
    }

    /// Sends a record; see [`Producer::send`]. A value of `None` is a tombstone.
    ///
    /// # Errors
    /// As [`Producer::send`], and [`ClientError::Serde`].
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
            self.keys.serialize(key, &mut key_buffer)?;
        }
        if let Some(value) = value {
            self.values.serialize(value, &mut value_buffer)?;
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
}
