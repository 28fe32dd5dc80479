//! Where a sink's records go: which topic, which partitions.

use std::sync::Arc;

use super::record_context::RecordMetadata;

pub(crate) type PartitionerRef<K, V> = Arc<dyn StreamPartitioner<K, V>>;
pub(crate) type TopicRef<K, V> = Arc<dyn TopicNameExtractor<K, V>>;

/// Chooses the partitions of a record in a topic.
pub trait StreamPartitioner<K, V>: Send + Sync {
    /// The partitions, of `num_partitions` numbered from 0: `None` for the producer's choice by the key's hash, an
    /// empty list to drop the record, several to send it to each.
    fn partitions(&self, topic: &str, key: Option<&K>, value: Option<&V>, num_partitions: i32) -> Option<Vec<i32>>;
}

impl<K, V, F> StreamPartitioner<K, V> for F
where
    F: Fn(&str, Option<&K>, Option<&V>, i32) -> Option<Vec<i32>> + Send + Sync,
{
    fn partitions(&self, topic: &str, key: Option<&K>, value: Option<&V>, num_partitions: i32) -> Option<Vec<i32>> {
        self(topic, key, value, num_partitions)
    }
}

/// Names the topic a record goes to. The topic must exist.
pub trait TopicNameExtractor<K, V>: Send + Sync {
    /// The topic.
    fn extract(&self, key: &K, value: &V, metadata: &RecordMetadata<'_>) -> String;

    /// How `describe()` shows it.
    fn name(&self) -> String {
        std::any::type_name::<Self>().to_owned()
    }
}
