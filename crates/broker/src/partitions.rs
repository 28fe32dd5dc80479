//! All partitions of this broker: found by name or id, opened, deleted, looked after.

mod storage;

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;
use vltava_protocol::{ErrorCode, Uuid};

pub(crate) use storage::Storage;

use crate::metadata::image::TopicImage;
use crate::partition::Partition;

/// The partitions of a topic, by number.
#[derive(Debug)]
pub(crate) struct TopicPartitions {
    name: Arc<str>,
    id: Uuid,
    partitions: Vec<Arc<Partition>>,
}

impl TopicPartitions {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn partition(&self, index: i32) -> Option<&Arc<Partition>> {
        self.partitions.get(usize::try_from(index).ok()?)
    }
}

#[derive(Debug, Default)]
struct Tables {
    by_name: HashMap<Arc<str>, Arc<TopicPartitions>>,
    by_id: HashMap<Uuid, Arc<TopicPartitions>>,
}

/// The partitions, and the directories their logs are in.
#[derive(Debug)]
pub(crate) struct Partitions {
    tables: RwLock<Tables>,
    storage: Storage,
}

impl Partitions {
    pub(crate) fn new(storage: Storage) -> Self {
        Self { tables: RwLock::default(), storage }
    }

    pub(crate) fn topic(&self, name: &str) -> Option<Arc<TopicPartitions>> {
        self.tables.read().by_name.get(name).cloned()
    }

    pub(crate) fn topic_by_id(&self, id: Uuid) -> Option<Arc<TopicPartitions>> {
        self.tables.read().by_id.get(&id).cloned()
    }

    /// A partition of a topic given by name.
    pub(crate) fn by_name(&self, topic: &str, index: i32) -> Result<Arc<Partition>, ErrorCode> {
        let tables = self.tables.read();
        let found = tables.by_name.get(topic).and_then(|topic| topic.partition(index));
        found.cloned().ok_or(ErrorCode::UnknownTopicOrPartition)
    }

    /// A partition of a topic given by id.
    pub(crate) fn by_id(&self, id: Uuid, index: i32) -> Result<Arc<Partition>, ErrorCode> {
        let tables = self.tables.read();
        let topic = tables.by_id.get(&id).ok_or(ErrorCode::UnknownTopicId)?;
        topic.partition(index).cloned().ok_or(ErrorCode::UnknownTopicOrPartition)
    }

    /// All partitions, in no order.
    pub(crate) fn all(&self) -> Vec<Arc<Partition>> {
        self.tables.read().by_id.values().flat_map(|topic| topic.partitions.iter().cloned()).collect()
    }

    /// How many partitions there are.
    pub(crate) fn count(&self) -> usize {
        self.tables.read().by_id.values().map(|topic| topic.partitions.len()).sum()
    }

    /// Makes the partitions of `topic` be what the metadata says: opens those that are not open.
    pub(crate) fn open(
        &self,
        topic: &TopicImage,
        settings: &vltava_log::LogConfig,
        now_ms: i64,
    ) -> Result<(), OpenError> {
        let known = self.topic_by_id(topic.id).map(|known| known.partitions.clone()).unwrap_or_default();
        let mut partitions = known;
        for (image, index) in topic.partitions.iter().zip(0_i32..).skip(partitions.len()) {
            let directory = image.directories.first().copied().unwrap_or_default();
            let opened = self.storage.open(topic, index, directory, settings, now_ms)?;
            partitions.push(Arc::new(opened));
        }
        for (partition, image) in partitions.iter().zip(&topic.partitions) {
            partition
                .lead(image.leader_epoch)
                .map_err(|source| OpenError { partition: format!("{}-{}", topic.name, partition.index()), source })?;
        }
        let opened = Arc::new(TopicPartitions { name: Arc::clone(&topic.name), id: topic.id, partitions });
        let mut tables = self.tables.write();
        tables.by_name.insert(Arc::clone(&topic.name), Arc::clone(&opened));
        tables.by_id.insert(topic.id, opened);
        Ok(())
    }

    /// Takes a deleted topic away and lets go who waits for it. Its files are renamed now and
    /// removed later.
    pub(crate) fn delete(&self, id: Uuid, now_ms: i64) {
        let removed = {
            let mut tables = self.tables.write();
            let removed = tables.by_id.remove(&id);
            if let Some(topic) = &removed
                && tables.by_name.get(&topic.name).is_some_and(|current| current.id == id)
            {
                tables.by_name.remove(&topic.name);
            }
            removed
        };
        for partition in removed.iter().flat_map(|topic| &topic.partitions) {
            partition.set_gone();
            self.storage.delete(partition, now_ms);
        }
    }

    /// The directory that a new partition goes to: one after the other.
    pub(crate) fn directory_for(&self, index: i32) -> Uuid {
        self.storage.directory_for(index)
    }

    pub(crate) fn storage(&self) -> &Storage {
        &self.storage
    }
}

/// A log that cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open the log of {partition}: {source}")]
pub(crate) struct OpenError {
    pub(crate) partition: String,
    pub(crate) source: vltava_log::LogError,
}
