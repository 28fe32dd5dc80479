//! Which partition a record goes to.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};

use vltava_protocol::record::partition_for_key;

use super::record::ProducerRecord;

/// What a partitioner may know of a topic.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct TopicPartitions {
    /// How many partitions the topic has; at least one.
    pub count: i32,
}

/// Chooses the partition of records that do not name one.
///
/// The example: purchases have a composite key of customer and time, and all purchases of a customer shall be in one
/// partition, in order, so the customer alone decides.
///
/// ```
/// use vltava_client::producer::{Partitioner, ProducerRecord, TopicPartitions, partition_for_key};
///
/// /// Keys are `customer/time`.
/// #[derive(Debug)]
/// struct ByCustomer;
///
/// impl Partitioner for ByCustomer {
///     fn partition(&self, record: &ProducerRecord<'_>, topic: TopicPartitions) -> Option<i32> {
///         let key = record.key?;
///         let customer = key.split(|byte| *byte == b'/').next().unwrap_or(key);
///         Some(partition_for_key(customer, topic.count))
///     }
/// }
///
/// let partition = |key: &[u8]| {
///     let record = ProducerRecord::new("purchases").key(key);
///     ByCustomer.partition(&record, TopicPartitions::of(12))
/// };
/// assert_eq!(partition(b"elyse/2026-11-20"), partition(b"elyse/2026-11-21"));
/// ```
pub trait Partitioner: Send + Sync + fmt::Debug {
    /// The partition for a record, from 0 to `topic.count - 1`, or `None` to spread it over all partitions by the sticky
    /// strategy (KIP-794), as records without a key are by default.
    fn partition(&self, record: &ProducerRecord<'_>, topic: TopicPartitions) -> Option<i32>;
}

impl TopicPartitions {
    /// A topic with this many partitions.
    #[must_use]
    pub const fn of(count: i32) -> Self {
        Self { count }
    }
}

/// Kafka's default: records with a key go by the murmur2 hash of the key, others are spread.
#[derive(Debug, Clone, Copy, Default)]
pub struct DefaultPartitioner {
    /// `partitioner.ignore.keys`: spread all.
    pub ignore_keys: bool,
}

impl Partitioner for DefaultPartitioner {
    #[inline]
    fn partition(&self, record: &ProducerRecord<'_>, topic: TopicPartitions) -> Option<i32> {
        record.key.filter(|_| !self.ignore_keys).map(|key| partition_for_key(key, topic.count))
    }
}

/// Goes round all partitions, record by record, whatever the keys (Kafka's `RoundRobinPartitioner`).
#[derive(Debug, Default)]
pub struct RoundRobinPartitioner {
    next: AtomicU32,
}

impl Partitioner for RoundRobinPartitioner {
    fn partition(&self, _: &ProducerRecord<'_>, topic: TopicPartitions) -> Option<i32> {
        let count = u32::try_from(topic.count).ok().filter(|count| *count > 0)?;
        i32::try_from(self.next.fetch_add(1, Ordering::Relaxed) % count).ok()
    }
}
