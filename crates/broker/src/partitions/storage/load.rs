//! Finding and opening the logs of a start.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use parking_lot::Mutex;
use tracing::{info, warn};
use vltava_log::manager::{DirKind, LoadedLogConfig, LogManager, PartitionOnDisk};
use vltava_log::{LogConfig, LogError, Now, TopicPartition};
use vltava_protocol::Uuid;

use super::{Storage, StorageDir};
use crate::error::BrokerError;
use crate::metadata::image::{MetadataImage, TopicImage};
use crate::metadata::topic_name::CLUSTER_METADATA;
use crate::partitions::placement::Placement;

impl Storage {
    /// Looks where the log of each partition is. Deletions that were interrupted are finished; what no topic of the
    /// metadata has is set aside. `removed` are the topics that were deleted.
    pub(crate) fn place(
        &self,
        image: &MetadataImage,
        removed: &HashSet<Uuid>,
        now: Now,
    ) -> Result<Placement, BrokerError> {
        let mut found: HashMap<(Uuid, i32), (Uuid, &StorageDir)> = HashMap::new();
        for dir in self.dirs.iter().filter(|dir| dir.is_data) {
            let (Some(manager), Some(id)) = (dir.manager(), dir.id()) else { continue };
            for partition in manager.partitions_on_disk().map_err(|source| failed(dir, source))? {
                let name = &partition.topic_partition;
                if *name.topic == *CLUSTER_METADATA {
                    continue;
                }
                let Some(topic) = topic_of(image, &partition) else {
                    dispose(manager, &partition, removed, now).map_err(|source| failed(dir, source))?;
                    continue;
                };
                if let Some((_, other)) = found.insert((topic.id, name.partition), (id, dir)) {
                    let reason = format!("holds {name}, and so does `{}`: one of them is a copy", other.path.display());
                    return Err(BrokerError::LogDir { path: dir.path.clone(), reason });
                }
            }
        }
        let online = self.online();
        let is_missing = |id: &Uuid| !online.contains(id);
        let is_complete = self.views().all(|dir| dir.is_online) && !image.directories().iter().any(is_missing);
        let found = found.into_iter().map(|(partition, (id, _))| (partition, id)).collect();
        Ok(Placement { online, is_complete, found, was_clean: self.had_clean_shutdown() })
    }

    /// Opens, several at a time, the logs of all partitions that are led here.
    pub(crate) fn load(
        &self,
        image: &MetadataImage,
        config_of: impl Fn(&TopicImage) -> LogConfig + Sync,
        now: Now,
    ) -> Result<(), BrokerError> {
        let configs: Mutex<HashMap<Uuid, Arc<LogConfig>>> = Mutex::default();
        let loaded = |dir: Uuid, name: &TopicPartition| {
            let topic = image.topic(&name.topic)?;
            let partition = topic.partitions.get(usize::try_from(name.partition).ok()?)?;
            if partition.directory_of(self.node_id) != dir {
                return None;
            }
            let config = Arc::clone(configs.lock().entry(topic.id).or_insert_with(|| Arc::new(config_of(topic))));
            Some(LoadedLogConfig { config, topic_id: Some(topic.id) })
        };
        let outcome: Mutex<Result<(), BrokerError>> = Mutex::new(Ok(()));
        std::thread::scope(|scope| {
            for dir in self.dirs.iter().filter(|dir| dir.is_data) {
                let (Some(manager), Some(id)) = (dir.manager(), dir.id()) else { continue };
                let (loaded, outcome) = (&loaded, &outcome);
                scope.spawn(move || {
                    if let Err(source) = manager.load_logs(|name| loaded(id, name), now) {
                        *outcome.lock() = Err(failed(dir, source));
                    }
                });
            }
        });
        outcome.into_inner()
    }
}

/// The topic of the metadata that a directory belongs to. One without `partition.metadata` is of the topic of its
/// name: it was written before its file was, or by a version that had none.
fn topic_of<'a>(image: &'a MetadataImage, partition: &PartitionOnDisk) -> Option<&'a Arc<TopicImage>> {
    let name = &partition.topic_partition;
    let topic = image.topic(&name.topic)?;
    let index = usize::try_from(name.partition).ok()?;
    let is_its = partition.topic_id.is_none_or(|id| id == topic.id) && index < topic.partitions.len();
    (partition.kind == DirKind::Current && is_its).then_some(topic)
}

/// Puts away what no topic has. What was deleted, or never written to, goes; the rest is kept: somebody may want to
/// look at it.
fn dispose(
    manager: &LogManager,
    partition: &PartitionOnDisk,
    removed: &HashSet<Uuid>,
    now: Now,
) -> Result<(), LogError> {
    let path = partition.path().display();
    if partition.topic_id.is_some_and(|id| removed.contains(&id)) || partition.is_empty()? {
        info!(%path, "the topic of this log was deleted: it is removed");
        return manager.finish_deletion(partition, now);
    }
    match partition.kind {
        DirKind::Stray => warn!(%path, "a stray log is left alone"),
        DirKind::Current => {
            let to = manager.set_aside(partition)?;
            warn!(%path, to = %to.display(), "a log that no topic has is set aside");
        }
    }
    Ok(())
}

fn failed(dir: &StorageDir, source: LogError) -> BrokerError {
    BrokerError::Log { partition: dir.path.display().to_string(), source }
}
