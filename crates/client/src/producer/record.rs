//! What is sent, and what is known of it afterwards.

use std::sync::Arc;

use vltava_protocol::record::HeaderView;

/// A record to send: slices of the caller's, copied once, into the batch.
///
/// ```
/// use vltava_client::producer::ProducerRecord;
///
/// let record = ProducerRecord::new("users").key(b"1").value(b"mitch");
/// assert_eq!(record.partition, None);
/// ```
#[derive(Debug, Clone, Copy)]
pub struct ProducerRecord<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The partition; `None` leaves it to the partitioner.
    pub partition: Option<i32>,
    /// Milliseconds since the epoch; `None` for now.
    pub timestamp: Option<i64>,
    /// The key.
    pub key: Option<&'a [u8]>,
    /// The value; `None` is a tombstone in a compacted topic.
    pub value: Option<&'a [u8]>,
    /// Headers in order; names may repeat.
    pub headers: &'a [HeaderView<'a>],
}

impl<'a> ProducerRecord<'a> {
    /// A record without key, value and headers.
    #[must_use]
    pub const fn new(topic: &'a str) -> Self {
        Self { topic, partition: None, timestamp: None, key: None, value: None, headers: &[] }
    }

    /// With a key.
    #[must_use]
    pub fn key(self, key: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        Self { key: Some(key.as_ref()), ..self }
    }

    /// With a value.
    #[must_use]
    pub fn value(self, value: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        Self { value: Some(value.as_ref()), ..self }
    }

    /// To this partition, whatever the partitioner thinks.
    #[must_use]
    pub const fn partition(self, partition: i32) -> Self {
        Self { partition: Some(partition), ..self }
    }

    /// With a timestamp, in milliseconds since the epoch.
    #[must_use]
    pub const fn timestamp(self, timestamp: i64) -> Self {
        Self { timestamp: Some(timestamp), ..self }
    }

    /// With headers.
    #[must_use]
    pub const fn headers(self, headers: &'a [HeaderView<'a>]) -> Self {
        Self { headers, ..self }
    }

    /// Upper estimate of the size of a batch with only this record, before compression, in bytes.
    #[must_use]
    pub fn size_upper_bound(&self) -> usize {
        /// Header of a batch, and of a record at its longest, as Kafka counts them.
        const OVERHEAD: usize = 61 + 21;
        const VARINT: usize = 5;
        let headers: usize = self
            .headers
            .iter()
            .map(|header| 2 * VARINT + header.key_bytes().len() + header.value().map_or(0, <[u8]>::len))
            .sum();
        OVERHEAD + self.key.map_or(0, <[u8]>::len) + self.value.map_or(0, <[u8]>::len) + headers
    }
}

/// Where an acknowledged record is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordMetadata {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// The record's offset; `None` with `acks=0`, or when the broker has forgotten where it put a duplicate.
    pub offset: Option<i64>,
    /// The record's timestamp in milliseconds since the epoch: the producer's, or the broker's where the topic has
    /// `message.timestamp.type=LogAppendTime`.
    pub timestamp: i64,
}
