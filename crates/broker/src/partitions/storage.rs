//! The log directories: logs are opened, checkpointed, closed and deleted here.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use tracing::{info, warn};
use vltava_log::checkpoint::{
    CleanShutdownFile, LOG_START_OFFSET_CHECKPOINT, RECOVERY_POINT_CHECKPOINT, REPLICATION_OFFSET_CHECKPOINT,
    read_offset_checkpoint, write_offset_checkpoint,
};
use vltava_log::{Log, LogConfig, LogDir, LogError, LogOptions, TopicPartition};
use vltava_protocol::Uuid;

use super::OpenError;
use crate::config::BrokerConfig;
use crate::error::BrokerError;
use crate::log_dirs::{LogDirs, random_id};
use crate::metadata::image::TopicImage;
use crate::partition::Partition;

/// The ends of the names of directories that are no partitions any more.
const DELETED: &str = "-delete";
const STRAY: &str = "-stray";

type Offsets = BTreeMap<TopicPartition, i64>;

/// The log directories of a broker.
#[derive(Debug)]
pub(crate) struct Storage {
    dirs: Vec<StorageDir>,
    producer_id_expiration_ms: i64,
}

#[derive(Debug)]
struct StorageDir {
    id: Uuid,
    log_dir: Arc<LogDir>,
    had_clean_shutdown: bool,
    recovery_points: Offsets,
    log_start_offsets: Offsets,
    doomed: Mutex<Vec<Doomed>>,
}

/// A directory to be removed.
#[derive(Debug)]
struct Doomed {
    due_ms: i64,
    path: PathBuf,
}

impl Storage {
    /// Reads what the last run left in the directories. From here on a stop counts as unclean
    /// until [`Self::mark_clean`] says otherwise.
    pub(crate) fn load(log_dirs: &LogDirs, config: &BrokerConfig) -> Result<Self, BrokerError> {
        let mut dirs = Vec::new();
        for dir in log_dirs.iter() {
            let path = dir.path.as_path();
            let failed = |source| BrokerError::Log { partition: path.display().to_string(), source };
            let marker = CleanShutdownFile::new(path);
            let had_clean_shutdown = marker.exists();
            marker.delete().map_err(failed)?;
            dirs.push(StorageDir {
                id: dir.id,
                log_dir: Arc::new(LogDir::new(path)),
                had_clean_shutdown,
                recovery_points: read_offset_checkpoint(&path.join(RECOVERY_POINT_CHECKPOINT)).map_err(failed)?,
                log_start_offsets: read_offset_checkpoint(&path.join(LOG_START_OFFSET_CHECKPOINT)).map_err(failed)?,
                doomed: Mutex::new(left_over(path)),
            });
        }
        Ok(Self { dirs, producer_id_expiration_ms: config.long("producer.id.expiration.ms") })
    }

    /// Whether every directory was left cleanly.
    pub(crate) fn had_clean_shutdown(&self) -> bool {
        self.dirs.iter().all(|dir| dir.had_clean_shutdown)
    }

    pub(crate) fn directory_for(&self, index: i32) -> Uuid {
        let at = usize::try_from(index).unwrap_or(0) % self.dirs.len().max(1);
        self.dirs.get(at).map(|dir| dir.id).unwrap_or_default()
    }

    /// Opens a partition in the directory that has it, or else the one it belongs to.
    pub(super) fn open(
        &self,
        topic: &TopicImage,
        index: i32,
        directory: Uuid,
        config: LogConfig,
        now_ms: i64,
    ) -> Result<Partition, OpenError> {
        let name = TopicPartition::new(Arc::clone(&topic.name), index);
        let failed = |source| OpenError { partition: name.to_string(), source };
        let dir = self.dirs.iter().find(|dir| dir.log_dir.path().join(name.to_string()).is_dir());
        let dir = dir.or_else(|| self.dirs.iter().find(|dir| dir.id == directory)).or(self.dirs.first());
        let dir = dir.ok_or_else(|| failed(LogError::InvalidArgument("there is no log directory".to_owned())))?;
        let log = self.open_log(dir, &name, Some(topic.id), config, now_ms).map_err(failed)?;
        Ok(Partition::new(Arc::clone(&topic.name), index, dir.id, log))
    }

    /// Opens the metadata log, in the first directory.
    pub(crate) fn open_metadata(&self, now_ms: i64) -> Result<Log, BrokerError> {
        let name = TopicPartition::new(crate::metadata::topic_name::CLUSTER_METADATA, 0);
        let failed = |source| BrokerError::Log { partition: name.to_string(), source };
        let dir = self.dirs.first();
        let dir = dir.ok_or_else(|| failed(LogError::InvalidArgument("there is no log directory".to_owned())))?;
        // Nothing of it is ever deleted: the image is folded from its beginning.
        let config = LogConfig { delete: false, compact: false, retention_ms: -1, ..LogConfig::default() };
        self.open_log(dir, &name, Some(METADATA_TOPIC_ID), config, now_ms).map_err(failed)
    }

    fn open_log(
        &self,
        dir: &StorageDir,
        name: &TopicPartition,
        topic_id: Option<Uuid>,
        config: LogConfig,
        now_ms: i64,
    ) -> Result<Log, LogError> {
        let options = LogOptions {
            config: Arc::new(config),
            topic_id,
            log_start_offset: dir.log_start_offsets.get(name).copied().unwrap_or(0),
            recovery_point: dir.recovery_points.get(name).copied().unwrap_or(0),
            had_clean_shutdown: dir.had_clean_shutdown,
            producer_id_expiration_ms: self.producer_id_expiration_ms,
            seed: fastrand::u64(..),
        };
        let mut log = Log::open(&dir.log_dir, name.clone(), options, now_ms)?;
        // One replica: whatever is in the log is committed.
        log.advance_high_watermark_to_log_end()?;
        let report = log.recovery_report();
        if report.truncated_bytes > 0 || !report.deleted_segments.is_empty() {
            warn!(partition = %name, ?report, "the log was damaged, its end is cut off");
        }
        Ok(log)
    }

    /// Renames the directory of a deleted partition; [`Self::remove_due`] removes it.
    pub(super) fn delete(&self, partition: &Partition, now_ms: i64) {
        let Some(dir) = self.dirs.iter().find(|dir| dir.id == partition.directory_id()) else { return };
        let unique = random_id().to_string().replace('_', "-");
        let name = format!("{}-{}.{unique}{DELETED}", partition.topic(), partition.index());
        // As in Kafka: the name of a directory has 255 characters at most.
        let name = if name.len() > 255 { format!("{unique}{DELETED}") } else { name };
        let to = dir.log_dir.path().join(name);
        let delay_ms = partition.with_log(|log| {
            if let Err(error) = fs::rename(log.dir(), &to) {
                warn!(from = %log.dir().display(), %error, "cannot rename the directory of a deleted partition");
            }
            log.config().file_delete_delay_ms
        });
        dir.doomed.lock().push(Doomed { due_ms: now_ms.saturating_add(delay_ms), path: to });
    }

    /// Removes the directories of deleted partitions whose time has come.
    pub(super) fn remove_due(&self, now_ms: i64) {
        for dir in &self.dirs {
            let mut doomed = dir.doomed.lock();
            let (due, later) = std::mem::take(&mut *doomed).into_iter().partition(|d: &Doomed| d.due_ms <= now_ms);
            *doomed = later;
            drop(doomed);
            for Doomed { path, .. } in due {
                if let Err(error) = fs::remove_dir_all(&path) {
                    warn!(path = %path.display(), %error, "cannot remove a deleted partition");
                }
            }
        }
    }

    /// Renames what looks like a partition and is none by the metadata. It is kept: somebody may
    /// want to look at it.
    pub(crate) fn set_strays_aside(&self, is_known: impl Fn(&str, i32) -> bool) {
        for dir in &self.dirs {
            for entry in fs::read_dir(dir.log_dir.path()).into_iter().flatten().flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                let Some((topic, index)) = partition_of(&name) else { continue };
                if !entry.path().is_dir() || is_known(topic, index) {
                    continue;
                }
                let to = entry.path().with_file_name(format!("{name}.{}{STRAY}", random_id()));
                match fs::rename(entry.path(), &to) {
                    Ok(()) => warn!(to = %to.display(), "a partition that no topic has is set aside"),
                    Err(error) => warn!(path = %entry.path().display(), %error, "cannot set a stray aside"),
                }
            }
        }
    }

    /// Writes the checkpoints of the given partitions.
    pub(super) fn checkpoint(&self, partitions: &[Arc<Partition>]) -> Result<(), LogError> {
        for dir in &self.dirs {
            let mut recovery_points = Offsets::new();
            let mut log_start_offsets = Offsets::new();
            let mut high_watermarks = Offsets::new();
            for partition in partitions.iter().filter(|partition| partition.directory_id() == dir.id) {
                partition.with_log(|log| {
                    let name = log.topic_partition();
                    recovery_points.insert(name.clone(), log.recovery_point());
                    high_watermarks.insert(name.clone(), log.high_watermark());
                    if log.log_start_offset() > 0 {
                        log_start_offsets.insert(name.clone(), log.log_start_offset());
                    }
                });
            }
            let path = dir.log_dir.path();
            write_offset_checkpoint(&path.join(RECOVERY_POINT_CHECKPOINT), &recovery_points)?;
            write_offset_checkpoint(&path.join(LOG_START_OFFSET_CHECKPOINT), &log_start_offsets)?;
            write_offset_checkpoint(&path.join(REPLICATION_OFFSET_CHECKPOINT), &high_watermarks)?;
        }
        Ok(())
    }

    /// Says that all logs are closed and whole.
    pub(crate) fn mark_clean(&self, broker_epoch: i64) -> Result<(), LogError> {
        for dir in &self.dirs {
            CleanShutdownFile::new(dir.log_dir.path()).write(broker_epoch)?;
        }
        info!("all logs are closed");
        Ok(())
    }
}

/// The id that Kafka gives the metadata's topic.
const METADATA_TOPIC_ID: Uuid = Uuid::from_u128(1);

/// Partitions that were deleted before the last stop: nobody reads them any more.
fn left_over(dir: &Path) -> Vec<Doomed> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let deleted = entries.filter(|entry| entry.file_name().to_string_lossy().ends_with(DELETED));
    deleted.map(|entry| Doomed { due_ms: 0, path: entry.path() }).collect()
}

/// Topic and number in the name of a partition's directory.
fn partition_of(name: &str) -> Option<(&str, i32)> {
    if name.ends_with(DELETED) || name.ends_with(STRAY) {
        return None;
    }
    let (topic, index) = name.rsplit_once('-')?;
    let is_number = !index.is_empty() && index.bytes().all(|b| b.is_ascii_digit());
    if !is_number || topic == crate::metadata::topic_name::CLUSTER_METADATA {
        return None;
    }
    Some((topic, index.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_told_from_other_directories() {
        assert_eq!(partition_of("a-b-12"), Some(("a-b", 12)));
        for other in ["a", "a-", "a-x", "t-0.abc-delete", "t-0.abc-stray", "__cluster_metadata-0"] {
            assert_eq!(partition_of(other), None, "{other}");
        }
    }
}
