//! The log directories, each with the manager of its logs.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tracing::{info, warn};
use vltava_log::manager::{LoadedLogConfig, LogManager, LogManagerConfig, SharedLog};
use vltava_log::{LogConfig, LogError, TopicPartition};
use vltava_protocol::Uuid;

use super::OpenError;
use crate::config::BrokerConfig;
use crate::error::BrokerError;
use crate::log_dirs::LogDirs;
use crate::metadata::image::{MetadataImage, TopicImage};
use crate::metadata::topic_name::CLUSTER_METADATA;
use crate::partition::Partition;

/// How often the managers are asked at the least, so that a stop is not waited for.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How long after a failure they are asked again.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(5);

/// The log directories of a broker. They are locked while this value lives.
#[derive(Debug)]
pub(crate) struct Storage {
    dirs: Vec<StorageDir>,
}

#[derive(Debug)]
struct StorageDir {
    /// Known once the directory has its identity.
    id: Mutex<Uuid>,
    manager: LogManager,
}

impl Storage {
    /// Creates and locks the directories. From here on a stop counts as unclean until
    /// [`Self::close`] says otherwise.
    pub(crate) fn lock(config: &BrokerConfig, now_ms: i64) -> Result<Self, BrokerError> {
        let mut dirs = Vec::new();
        for path in &config.log_dirs {
            fs::create_dir_all(path).map_err(|e| BrokerError::io("create", path, e))?;
            let path = fs::canonicalize(path).map_err(|e| BrokerError::io("open", path, e))?;
            let manager = LogManager::open(manager_config(config, &path), now_ms).map_err(|error| match error {
                LogError::DirectoryInUse { dir } => BrokerError::DirectoryLocked { path: dir },
                source => BrokerError::Log { partition: path.display().to_string(), source },
            })?;
            dirs.push(StorageDir { id: Mutex::default(), manager });
        }
        Ok(Self { dirs })
    }

    /// The paths of the directories, in the order of the configuration.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &std::path::Path> {
        self.dirs.iter().map(|dir| dir.manager.log_dir().path())
    }

    /// Takes the ids that the directories have.
    pub(crate) fn identify(&self, log_dirs: &LogDirs) {
        for (dir, identified) in self.dirs.iter().zip(log_dirs.iter()) {
            *dir.id.lock() = identified.id;
        }
    }

    /// Whether every directory was left cleanly.
    pub(crate) fn had_clean_shutdown(&self) -> bool {
        self.dirs.iter().all(|dir| dir.manager.had_clean_shutdown())
    }

    /// The directory that a new partition goes to: one after the other.
    pub(crate) fn directory_for(&self, index: i32) -> Uuid {
        let at = usize::try_from(index).unwrap_or(0) % self.dirs.len().max(1);
        self.dirs.get(at).map(|dir| *dir.id.lock()).unwrap_or_default()
    }

    /// Opens the metadata log, in the first directory.
    pub(crate) fn open_metadata(&self, now_ms: i64) -> Result<SharedLog, BrokerError> {
        let name = TopicPartition::new(CLUSTER_METADATA, 0);
        let failed = |source| BrokerError::Log { partition: name.to_string(), source };
        let dir = self.dirs.first().ok_or_else(|| failed(no_directory()))?;
        // Nothing of it is ever deleted: the image is folded from its beginning.
        let config = LogConfig { delete: false, compact: false, retention_ms: -1, ..LogConfig::default() };
        let opened = dir.manager.get_or_create_log(&name, Some(METADATA_TOPIC_ID), config, now_ms);
        let log = opened.map_err(failed)?;
        advance(&log).map_err(failed)?;
        Ok(log)
    }

    /// Opens, several at a time, the logs of all partitions that the metadata knows, and sets the
    /// others aside.
    pub(crate) fn load(
        &self,
        image: &MetadataImage,
        config_of: impl Fn(&TopicImage) -> LogConfig,
        now_ms: i64,
    ) -> Result<(), BrokerError> {
        let known = |name: &TopicPartition| {
            let topic = image.topic(&name.topic)?;
            let index = usize::try_from(name.partition).ok()?;
            (index < topic.partitions.len()).then_some(topic)
        };
        for dir in &self.dirs {
            let failed = |source| {
                let partition = dir.manager.log_dir().path().display().to_string();
                BrokerError::Log { partition, source }
            };
            for name in dir.manager.partitions_on_disk().map_err(failed)? {
                if known(&name).is_none() && *name.topic != *CLUSTER_METADATA {
                    set_aside(dir, &name);
                }
            }
            let loaded = |name: &TopicPartition| {
                let topic = known(name)?;
                Some(LoadedLogConfig { config: Arc::new(config_of(topic)), topic_id: Some(topic.id) })
            };
            dir.manager.load_logs(loaded, now_ms).map_err(failed)?;
        }
        Ok(())
    }

    /// Opens a partition in the directory that has it, or else the one it belongs to.
    pub(super) fn open(
        &self,
        topic: &TopicImage,
        index: i32,
        directory: Uuid,
        config: &LogConfig,
        now_ms: i64,
    ) -> Result<Partition, OpenError> {
        let name = TopicPartition::new(Arc::clone(&topic.name), index);
        let failed = |source| OpenError { partition: name.to_string(), source };
        let dir = self.dirs.iter().find(|dir| dir.manager.log(&name).is_some());
        let dir = dir.or_else(|| self.dirs.iter().find(|dir| *dir.id.lock() == directory)).or(self.dirs.first());
        let dir = dir.ok_or_else(|| failed(no_directory()))?;
        let log = dir.manager.get_or_create_log(&name, Some(topic.id), config.clone(), now_ms).map_err(failed)?;
        advance(&log).map_err(failed)?;
        let report = log.lock().recovery_report().clone();
        if report.truncated_bytes > 0 || !report.deleted_segments.is_empty() {
            warn!(partition = %name, ?report, "the log was damaged, its end is cut off");
        }
        let id = *dir.id.lock();
        Ok(Partition::new(Arc::clone(&topic.name), index, id, log))
    }

    /// Renames the directory of a deleted partition; its files go after `file.delete.delay.ms`.
    pub(super) fn delete(&self, partition: &Partition, now_ms: i64) {
        let name = TopicPartition::new(partition.topic(), partition.index());
        for dir in &self.dirs {
            if let Err(error) = dir.manager.delete_log(&name, now_ms) {
                warn!(partition = %name, %error, "cannot delete the log");
            }
        }
    }

    /// Does what is due: retention, flushes, checkpoints, removal of files. Waits for the disk.
    /// Gives how long it may be until the next call.
    pub(crate) fn run_due(&self, now_ms: i64) -> Duration {
        let mut pause = LONGEST_PAUSE;
        for dir in &self.dirs {
            let next = match dir.manager.run(now_ms) {
                Ok(next_ms) => Duration::from_millis(u64::try_from(next_ms - now_ms).unwrap_or(0)),
                Err(error) => {
                    warn!(%error, "the upkeep of the logs failed");
                    PAUSE_AFTER_FAILURE
                }
            };
            pause = pause.min(next);
        }
        pause
    }

    /// Compacts what needs it, the log with the most to gain first, until nothing does or `stop`
    /// says so. Reads and writes whole segments.
    pub(crate) fn clean(&self, now_ms: impl Fn() -> i64, stop: impl Fn() -> bool) {
        for dir in &self.dirs {
            while !stop() {
                match dir.manager.clean_filthiest_log(now_ms()) {
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(error) => {
                        warn!(%error, "a log cannot be compacted");
                        break;
                    }
                }
            }
        }
    }

    /// Closes every log, flushed, and marks the stop as clean.
    pub(crate) fn close(&self, broker_epoch: i64) {
        for dir in &self.dirs {
            match dir.manager.shutdown(broker_epoch) {
                Ok(()) => info!(dir = %dir.manager.log_dir().path().display(), "all logs are closed"),
                Err(error) => warn!(%error, "the logs are not closed cleanly"),
            }
        }
    }
}

fn manager_config(config: &BrokerConfig, path: &std::path::Path) -> LogManagerConfig {
    let (upkeep, cleaner) = (&config.upkeep, &config.cleaner);
    LogManagerConfig {
        retention_check_interval_ms: upkeep.retention_check_interval_ms,
        flush_scheduler_interval_ms: upkeep.flush_scheduler_interval_ms,
        recovery_point_checkpoint_interval_ms: upkeep.recovery_point_checkpoint_interval_ms,
        log_start_offset_checkpoint_interval_ms: upkeep.log_start_offset_checkpoint_interval_ms,
        high_watermark_checkpoint_interval_ms: upkeep.high_watermark_checkpoint_interval_ms,
        initial_task_delay_ms: upkeep.initial_task_delay_ms,
        producer_id_expiration_ms: upkeep.producer_id_expiration_ms,
        producer_id_expiration_check_interval_ms: upkeep.producer_id_expiration_check_interval_ms,
        cleaner_dedupe_buffer_size: cleaner.dedupe_buffer_size,
        cleaner_io_buffer_load_factor: cleaner.io_buffer_load_factor,
        recovery_threads: upkeep.recovery_threads,
        ..LogManagerConfig::new(path, fastrand::u64(..))
    }
}

/// One replica: whatever is in the log is committed.
fn advance(log: &SharedLog) -> Result<(), LogError> {
    log.lock().advance_high_watermark_to_log_end().map(|_| ())
}

/// Renames what looks like a partition and is none by the metadata. It is kept: somebody may want
/// to look at it.
fn set_aside(dir: &StorageDir, name: &TopicPartition) {
    let from = dir.manager.log_dir().path().join(name.to_string());
    let to = from.with_file_name(format!("{name}.{:032x}-stray", fastrand::u128(..)));
    match fs::rename(&from, &to) {
        Ok(()) => warn!(to = %to.display(), "a partition that no topic has is set aside"),
        Err(error) => warn!(path = %from.display(), %error, "cannot set a stray partition aside"),
    }
}

fn no_directory() -> LogError {
    LogError::InvalidArgument("there is no log directory".to_owned())
}

/// The id that Kafka gives the metadata's topic.
const METADATA_TOPIC_ID: Uuid = Uuid::from_u128(1);
