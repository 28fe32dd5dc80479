//! Records that outlive their `poll`.

use std::fmt;

use bytes::Bytes;
use vltava_protocol::record::{Headers, RecordSpan, RecordView, TimestampType};

use super::BatchPart;
use crate::TopicPartition;

/// A record with all that is known of it. It shares its batch's memory: keeping one record keeps
/// the whole (decompressed) batch.
#[derive(Clone)]
pub struct ConsumerRecord {
    topic_partition: TopicPartition,
    bytes: Bytes,
    span: RecordSpan,
    timestamp_type: TimestampType,
    leader_epoch: Option<i32>,
}

impl ConsumerRecord {
    pub(super) fn new(topic_partition: &TopicPartition, part: &BatchPart, span: &RecordSpan) -> Self {
        Self {
            topic_partition: topic_partition.clone(),
            bytes: part.bytes.clone(),
            span: *span,
            timestamp_type: part.timestamp_type,
            leader_epoch: part.leader_epoch,
        }
    }

    /// The partition it was read from.
    #[must_use]
    pub fn topic_partition(&self) -> &TopicPartition {
        &self.topic_partition
    }

    /// The topic it was read from.
    #[must_use]
    pub fn topic(&self) -> &str {
        self.topic_partition.topic()
    }

    /// The number of the partition it was read from.
    #[must_use]
    pub fn partition(&self) -> i32 {
        self.topic_partition.partition()
    }

    /// Its offset in the partition.
    #[must_use]
    pub fn offset(&self) -> i64 {
        self.span.offset()
    }

    /// Its timestamp in milliseconds since the epoch, -1 for none.
    #[must_use]
    pub fn timestamp(&self) -> i64 {
        self.span.timestamp()
    }

    /// Whether the timestamp is the producer's or the broker's.
    #[must_use]
    pub fn timestamp_type(&self) -> TimestampType {
        self.timestamp_type
    }

    /// The leader epoch under which it was appended, if it is known.
    #[must_use]
    pub fn leader_epoch(&self) -> Option<i32> {
        self.leader_epoch
    }

    /// The key, if it is not null.
    #[must_use]
    pub fn key(&self) -> Option<&[u8]> {
        self.view().key()
    }

    /// The value, if it is not null.
    #[must_use]
    pub fn value(&self) -> Option<&[u8]> {
        self.view().value()
    }

    /// The key as bytes that share the batch's memory.
    #[must_use]
    pub fn key_bytes(&self) -> Option<Bytes> {
        self.key().map(|key| self.bytes.slice_ref(key))
    }

    /// The value as bytes that share the batch's memory.
    #[must_use]
    pub fn value_bytes(&self) -> Option<Bytes> {
        self.value().map(|value| self.bytes.slice_ref(value))
    }

    /// The headers, in the producer's order.
    #[must_use]
    pub fn headers(&self) -> Headers<'_> {
        self.view().headers()
    }

    /// The record, borrowed.
    #[must_use]
    pub fn view(&self) -> RecordView<'_> {
        self.span.view(&self.bytes)
    }
}

impl fmt::Debug for ConsumerRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConsumerRecord")
            .field("partition", &format_args!("{}", self.topic_partition))
            .field("record", &self.view())
            .finish()
    }
}
