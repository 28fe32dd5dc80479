//! All partitions of this broker: found by name or id, opened, deleted, looked after.

mod placement;
mod storage;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::RwLock;
use tracing::error;
use vltava_log::Now;
use vltava_metrics::Counter;
use vltava_protocol::{ErrorCode, Uuid};

pub(crate) use placement::Placement;
pub(crate) use storage::{DirView, Storage};

use crate::metadata::image::{PartitionImage, TopicImage};
use crate::metrics::{TopicCounters, TopicMetrics};
use crate::partition::Partition;

/// The partitions of a topic, by number.
#[derive(Debug)]
pub(crate) struct TopicPartitions {
    name: Arc<str>,
    id: Uuid,
    partitions: Vec<Hosted>,
    metrics: Arc<TopicMetrics>,
}

/// What the partitions of a topic are opened with.
struct Opening<'a> {
    topic: &'a TopicImage,
    node_id: i32,
    settings: &'a vltava_log::LogConfig,
    now_ms: i64,
    metrics: &'a Arc<TopicMetrics>,
}

/// A partition of this broker.
#[derive(Debug, Clone)]
enum Hosted {
    Online(Arc<Partition>),
    /// Its log directory is not there, or has failed.
    Offline,
}

impl Hosted {
    fn online(&self) -> Option<&Arc<Partition>> {
        match self {
            Self::Online(partition) => Some(partition),
            Self::Offline => None,
        }
    }
}

impl TopicPartitions {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What the topic counts.
    pub(crate) fn metrics(&self) -> &TopicMetrics {
        &self.metrics
    }

    /// A partition by its number. One that is offline answers as Kafka's does.
    pub(crate) fn partition(&self, index: i32) -> Result<&Arc<Partition>, ErrorCode> {
        let hosted = usize::try_from(index).ok().and_then(|index| self.partitions.get(index));
        hosted.ok_or(ErrorCode::UnknownTopicOrPartition)?.online().ok_or(ErrorCode::KafkaStorageError)
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
    storage: Arc<Storage>,
    /// What all topics count.
    metrics: Arc<TopicCounters>,
    /// Fetches that wait for data.
    waiting_fetches: AtomicUsize,
    /// Those that waited in vain.
    expired_fetches: Counter,
}

impl Partitions {
    pub(crate) fn new(storage: Arc<Storage>, metrics: Arc<TopicCounters>) -> Self {
        Self {
            tables: RwLock::default(),
            storage,
            metrics,
            waiting_fetches: AtomicUsize::new(0),
            expired_fetches: Counter::default(),
        }
    }

    /// Counts a fetch that waits, until what this gives is dropped.
    pub(crate) fn waits(&self) -> Waits<'_> {
        self.waiting_fetches.fetch_add(1, Ordering::Relaxed);
        Waits(self)
    }

    pub(crate) fn expired_fetches(&self) -> u64 {
        self.expired_fetches.count()
    }

    pub(crate) fn waiting_fetches(&self) -> usize {
        self.waiting_fetches.load(Ordering::Relaxed)
    }

    /// All topics, and all partitions that are online, by name and number.
    pub(crate) fn listed(&self) -> (Vec<Arc<TopicPartitions>>, Vec<Arc<Partition>>) {
        let mut topics: Vec<Arc<TopicPartitions>> = self.tables.read().by_id.values().cloned().collect();
        topics.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let partitions = topics.iter().flat_map(|topic| topic.partitions.iter().filter_map(Hosted::online).cloned());
        let partitions = partitions.collect();
        (topics, partitions)
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
        let topic = tables.by_name.get(topic).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        topic.partition(index).cloned()
    }

    /// A partition of a topic given by id.
    pub(crate) fn by_id(&self, id: Uuid, index: i32) -> Result<Arc<Partition>, ErrorCode> {
        let tables = self.tables.read();
        let topic = tables.by_id.get(&id).ok_or(ErrorCode::UnknownTopicId)?;
        topic.partition(index).cloned()
    }

    /// All partitions that are online, in no order.
    pub(crate) fn all(&self) -> Vec<Arc<Partition>> {
        let tables = self.tables.read();
        tables.by_id.values().flat_map(|topic| topic.partitions.iter().filter_map(Hosted::online).cloned()).collect()
    }

    /// How many partitions there are.
    pub(crate) fn count(&self) -> usize {
        self.tables.read().by_id.values().map(|topic| topic.partitions.len()).sum()
    }

    /// Makes the partitions of `topic` be what the metadata says: opens those that `node_id` leads and that are not open,
    /// takes those offline that have no leader.
    ///
    /// One that cannot be opened is offline; the first error is given when all have been tried.
    pub(crate) fn open(
        &self,
        topic: &TopicImage,
        node_id: i32,
        settings: &vltava_log::LogConfig,
        now_ms: i64,
    ) -> Result<(), OpenError> {
        let known = self.topic_by_id(topic.id);
        let metrics = match &known {
            Some(known) => Arc::clone(&known.metrics),
            None => Arc::new(TopicMetrics::new(&self.metrics)),
        };
        let known = known.map(|known| known.partitions.clone()).unwrap_or_default();
        let opening = Opening { topic, node_id, settings, now_ms, metrics: &metrics };
        let mut outcome = Ok(());
        let mut known = known.into_iter();
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for (image, index) in topic.partitions.iter().zip(0_i32..) {
            let known = known.next().and_then(|hosted| hosted.online().cloned());
            let hosted = match self.host(&opening, image, index, known.as_ref()) {
                Ok(hosted) => hosted,
                Err(error) => {
                    error!(%error, "a partition is offline");
                    outcome = outcome.and(Err(error));
                    Hosted::Offline
                }
            };
            if let (Some(known), Hosted::Offline) = (known, &hosted) {
                known.set_offline();
            }
            partitions.push(hosted);
        }
        let opened = Arc::new(TopicPartitions { name: Arc::clone(&topic.name), id: topic.id, partitions, metrics });
        let mut tables = self.tables.write();
        tables.by_name.insert(Arc::clone(&topic.name), Arc::clone(&opened));
        tables.by_id.insert(topic.id, opened);
        outcome
    }

    fn host(
        &self,
        opening: &Opening<'_>,
        image: &PartitionImage,
        index: i32,
        known: Option<&Arc<Partition>>,
    ) -> Result<Hosted, OpenError> {
        let Opening { topic, node_id, .. } = *opening;
        if image.leader != node_id {
            return Ok(Hosted::Offline);
        }
        let directory = image.directory_of(node_id);
        let partition = match known.filter(|known| known.directory_id() == directory) {
            Some(known) => Some(Arc::clone(known)),
            None => self.storage.open_partition(opening, index, directory)?.map(Arc::new),
        };
        let Some(partition) = partition else { return Ok(Hosted::Offline) };
        let failed = |source| OpenError { partition: format!("{}-{index}", topic.name), source };
        partition.lead(image.leader_epoch).map_err(failed)?;
        Ok(Hosted::Online(partition))
    }

    /// Takes a deleted topic away and lets go who waits for it. Its files are renamed now and
    /// removed later.
    pub(crate) fn delete(&self, id: Uuid, now: Now) {
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
        for partition in removed.iter().flat_map(|topic| &topic.partitions).filter_map(Hosted::online) {
            partition.set_gone();
            self.storage.delete(partition, now);
        }
    }

    pub(crate) fn storage(&self) -> &Storage {
        &self.storage
    }
}

/// A fetch that waits.
#[derive(Debug)]
pub(crate) struct Waits<'a>(&'a Partitions);

impl Waits<'_> {
    /// It waited in vain.
    pub(crate) fn expired(&self) {
        self.0.expired_fetches.increment();
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.waiting_fetches.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A log that cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open the log of {partition}: {source}")]
pub(crate) struct OpenError {
    pub(crate) partition: String,
    pub(crate) source: vltava_log::LogError,
}
