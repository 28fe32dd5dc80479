//! How a foreign-key join is made: Kafka's `TableJoined`.

use std::{fmt, sync::Arc};

/// Chooses the partition of a key in a topic.
pub(crate) type KeyPartitioner<K> = Arc<dyn Fn(&str, Option<&K>, i32) -> Option<i32> + Send + Sync>;

/// The name and the partitioners of a foreign-key join. `K` is the key of the table that is joined, `KO` that of the
/// other table, which is the foreign key.
///
/// A partitioner gets topic, key and number of partitions, and names one partition, or `None` for that of the key's
/// hash. It must agree with how the table's own topic is partitioned: otherwise rows do not meet.
pub struct TableJoined<K, KO> {
    pub(crate) name: Option<String>,
    pub(crate) partitioner: Option<KeyPartitioner<K>>,
    pub(crate) other_partitioner: Option<KeyPartitioner<KO>>,
}

impl<K, KO> Clone for TableJoined<K, KO> {
    fn clone(&self) -> Self {
        TableJoined {
            name: self.name.clone(),
            partitioner: self.partitioner.clone(),
            other_partitioner: self.other_partitioner.clone(),
        }
    }
}

impl<K, KO> Default for TableJoined<K, KO> {
    fn default() -> Self {
        TableJoined { name: None, partitioner: None, other_partitioner: None }
    }
}

impl<K, KO> fmt::Debug for TableJoined<K, KO> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableJoined").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<K, KO> TableJoined<K, KO> {
    /// Nothing chosen.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
    /// With a name, from which those of all nodes, of both topics and of the subscription store are made.
    #[must_use]
    pub fn named(name: impl Into<String>) -> Self {
        Self::default().with_name(name)
    }
    /// A name, from which those of all nodes, of both topics and of the subscription store are made.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }
    /// How the topic of the table that is joined is partitioned. Default: an answer goes to the partition that its
    /// question came from.
    #[must_use]
    pub fn with_partitioner(
        mut self,
        partitioner: impl Fn(&str, Option<&K>, i32) -> Option<i32> + Send + Sync + 'static,
    ) -> Self {
        self.partitioner = Some(Arc::new(partitioner));
        self
    }
    /// How the topic of the other table is partitioned. Default: by the key's hash.
    #[must_use]
    pub fn with_other_partitioner(
        mut self,
        partitioner: impl Fn(&str, Option<&KO>, i32) -> Option<i32> + Send + Sync + 'static,
    ) -> Self {
        self.other_partitioner = Some(Arc::new(partitioner));
        self
    }
}
