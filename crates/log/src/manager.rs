//! The logs of one log directory.

mod cleaning;
mod lock;
mod on_disk;
mod stop;
mod tasks;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fmt, fs};

use cleaning::Cleaning;
use lock::DirectoryLock;
pub use on_disk::{DirKind, PartitionOnDisk};
use parking_lot::Mutex;
use tasks::Tasks;
use vltava_protocol::Uuid;
use vltava_protocol::record::Decompressor;

use crate::checkpoint::{
    CLEANER_OFFSET_CHECKPOINT, CleanShutdownFile, LOG_START_OFFSET_CHECKPOINT, RECOVERY_POINT_CHECKPOINT,
    REPLICATION_OFFSET_CHECKPOINT, read_offset_checkpoint,
};
use crate::config::LogConfig;
use crate::dynamic::DynamicLogSettings;
use crate::error::{LogError, Result};
use crate::file_names::PartitionDir;
use crate::log::{Log, LogOptions};
use crate::log_dir::{FailureListener, LogDir};
use crate::now::Now;
use crate::topic_partition::TopicPartition;

/// A log behind its lock.
pub type SharedLog = Arc<Mutex<Log>>;

/// The settings of a [`LogManager`]; `new` gives Kafka's defaults.
#[derive(Clone, Debug)]
pub struct LogManagerConfig {
    /// The log directory, one of `log.dirs`. Created where it does not exist.
    pub dir: PathBuf,
    /// `log.retention.check.interval.ms`, default 5 minutes.
    pub retention_check_interval_ms: i64,
    /// `log.flush.scheduler.interval.ms`: how often `flush.ms` is looked at. Default: never.
    pub flush_scheduler_interval_ms: i64,
    /// `log.flush.offset.checkpoint.interval.ms`, default 1 minute.
    pub recovery_point_checkpoint_interval_ms: i64,
    /// `log.flush.start.offset.checkpoint.interval.ms`, default 1 minute.
    pub log_start_offset_checkpoint_interval_ms: i64,
    /// `replica.high.watermark.checkpoint.interval.ms`, default 5 seconds.
    pub high_watermark_checkpoint_interval_ms: i64,
    /// `log.initial.task.delay.ms`: when the first of the tasks above run. Default 30 seconds.
    pub initial_task_delay_ms: i64,
    /// `producer.id.expiration.check.interval.ms`, default 10 minutes.
    pub producer_id_expiration_check_interval_ms: i64,
    /// What may change while the manager is open; the managers of a broker share it.
    pub dynamic: Arc<DynamicLogSettings>,
    /// The most bytes that the records of one batch decompress to, in appends and for compaction. Default 128 MiB.
    pub max_decompressed_batch_bytes: usize,
    /// Seed of what is drawn by chance: jitter and the names of deleted directories.
    pub seed: u64,
}

impl LogManagerConfig {
    /// Kafka's defaults for a log directory.
    pub fn new(dir: impl Into<PathBuf>, seed: u64) -> Self {
        Self {
            dir: dir.into(),
            retention_check_interval_ms: 5 * 60 * 1000,
            flush_scheduler_interval_ms: i64::MAX,
            recovery_point_checkpoint_interval_ms: 60 * 1000,
            log_start_offset_checkpoint_interval_ms: 60 * 1000,
            high_watermark_checkpoint_interval_ms: 5 * 1000,
            initial_task_delay_ms: 30 * 1000,
            producer_id_expiration_check_interval_ms: 10 * 60 * 1000,
            dynamic: Arc::default(),
            max_decompressed_batch_bytes: Decompressor::DEFAULT_LIMIT,
            seed,
        }
    }
}

/// What an existing log is opened with by [`LogManager::load_logs`].
#[derive(Clone, Debug)]
pub struct LoadedLogConfig {
    /// The settings of its topic.
    pub config: Arc<LogConfig>,
    /// The topic's id, where it is known.
    pub topic_id: Option<Uuid>,
}

/// All logs of one log directory: opens them, and runs what has to be done now and then when
/// [`LogManager::run`] is called. Shared by reference between threads; needs none of its own.
pub struct LogManager {
    config: LogManagerConfig,
    log_dir: Arc<LogDir>,
    had_clean_shutdown: bool,
    /// The broker epoch that the marker of a clean stop names.
    previous_broker_epoch: i64,
    /// Whether the marker of a clean stop is still to be taken away.
    is_untouched: Mutex<bool>,
    recovery_points: BTreeMap<TopicPartition, i64>,
    log_start_offsets: BTreeMap<TopicPartition, i64>,
    high_watermarks: BTreeMap<TopicPartition, i64>,
    logs: Mutex<BTreeMap<TopicPartition, SharedLog>>,
    /// Partitions that were deleted: what the checkpoints say of them is of another log.
    forgotten: Mutex<BTreeSet<TopicPartition>>,
    /// Held while logs are created, so that one partition is not opened twice.
    creation: Mutex<fastrand::Rng>,
    tasks: Mutex<Tasks>,
    cleaning: Cleaning,
    lock: Mutex<Option<DirectoryLock>>,
}

impl LogManager {
    /// Locks the directory and reads its checkpoints. No log is opened yet, and nothing is changed: until the first one
    /// is, the stop before this counts as it was. `on_failure` is told when the directory goes offline.
    ///
    /// # Errors
    /// [`LogError::DirectoryInUse`] where another broker uses the directory; [`LogError::Storage`].
    pub fn open(config: LogManagerConfig, on_failure: Option<FailureListener>, now: Now) -> Result<Self> {
        let log_dir = Arc::new(LogDir::new(&config.dir).with_failure_listener(on_failure));
        let opened = Self::open_dir(&config);
        let context = || format!("failed to open log directory {}", config.dir.display());
        let (lock, had_clean_shutdown) = log_dir.guard(opened, context)?;
        let checkpoint = |name: &str| {
            read_offset_checkpoint(&config.dir.join(name)).unwrap_or_else(|e| {
                tracing::warn!(dir = %config.dir.display(), "error while reading {name}, its offsets are not used: {e}");
                BTreeMap::new()
            })
        };
        Ok(Self {
            recovery_points: checkpoint(RECOVERY_POINT_CHECKPOINT),
            log_start_offsets: checkpoint(LOG_START_OFFSET_CHECKPOINT),
            high_watermarks: checkpoint(REPLICATION_OFFSET_CHECKPOINT),
            log_dir,
            had_clean_shutdown,
            previous_broker_epoch: CleanShutdownFile::new(&config.dir).read().unwrap_or(-1),
            is_untouched: Mutex::new(true),
            logs: Mutex::new(BTreeMap::new()),
            forgotten: Mutex::new(BTreeSet::new()),
            creation: Mutex::new(fastrand::Rng::with_seed(config.seed)),
            tasks: Mutex::new(Tasks::new(&config, now.uptime_ms)),
            cleaning: Cleaning::new(checkpoint(CLEANER_OFFSET_CHECKPOINT)),
            lock: Mutex::new(Some(lock)),
            config,
        })
    }

    fn open_dir(config: &LogManagerConfig) -> Result<(DirectoryLock, bool)> {
        fs::create_dir_all(&config.dir)?;
        let lock = DirectoryLock::acquire(&config.dir)?;
        Ok((lock, CleanShutdownFile::new(&config.dir).exists()))
    }

    /// Takes the marker of a clean stop away before the first change: a crash from here on, while logs are opened too,
    /// is an unclean stop.
    fn begin(&self) -> Result<()> {
        let mut is_untouched = self.is_untouched.lock();
        if *is_untouched {
            CleanShutdownFile::new(&self.config.dir).delete()?;
            *is_untouched = false;
        }
        Ok(())
    }

    /// The directory and whether it works.
    pub fn log_dir(&self) -> &Arc<LogDir> {
        &self.log_dir
    }

    /// Whether the last stop was clean.
    pub fn had_clean_shutdown(&self) -> bool {
        self.had_clean_shutdown
    }

    /// The broker epoch of the last clean stop, -1 where there was none.
    pub fn previous_broker_epoch(&self) -> i64 {
        self.previous_broker_epoch
    }

    /// The log of a partition, if it is open.
    pub fn log(&self, topic_partition: &TopicPartition) -> Option<SharedLog> {
        self.logs.lock().get(topic_partition).cloned()
    }

    /// Number of open logs.
    pub fn log_count(&self) -> usize {
        self.logs.lock().len()
    }

    /// All open logs, in order of topic and partition.
    pub fn logs(&self) -> Vec<(TopicPartition, SharedLog)> {
        self.logs.lock().iter().map(|(tp, log)| (tp.clone(), Arc::clone(log))).collect()
    }

    /// Opens all logs of the directory that are not open yet, with the settings that `config_of` gives; those it gives
    /// none for are left alone. Recovers them where the last stop was not clean, several at a time.
    ///
    /// # Errors
    /// The first that opening a log gives; [`LogError::Malformed`] for a directory that is none of a partition.
    pub fn load_logs(&self, config_of: impl Fn(&TopicPartition) -> Option<LoadedLogConfig>, now: Now) -> Result<()> {
        self.log_dir.guard(self.begin(), || format!("failed to begin with {}", self.config.dir.display()))?;
        let mut to_load = Vec::new();
        for (path, dir) in self.partition_dirs()? {
            match dir {
                PartitionDir::Current(tp) if self.log(&tp).is_some() => {}
                PartitionDir::Current(tp) => {
                    if let Some(loaded) = config_of(&tp) {
                        to_load.push((tp, loaded));
                    }
                }
                PartitionDir::Deleted(_) => self.delete_dir_later(path, now),
                PartitionDir::Future(tp) | PartitionDir::Stray(tp) => {
                    tracing::warn!(dir = %path.display(), "a future or stray directory of {tp} is left alone");
                }
            }
        }
        if !self.had_clean_shutdown && !to_load.is_empty() {
            let dir = self.config.dir.display();
            tracing::info!("recovering {} logs from {dir} since no clean shutdown file was found", to_load.len());
        }
        self.for_each(to_load, |(tp, loaded)| {
            let seed = self.creation.lock().u64(..);
            self.open_log(tp, loaded.topic_id, loaded.config, seed, now.wall_ms).map(|_| ())
        })
    }

    fn delete_dir_later(&self, path: PathBuf, now: Now) {
        let delay_ms = LogConfig::default().file_delete_delay_ms;
        self.tasks.lock().delete_dir(path, now.uptime_ms.saturating_add(delay_ms));
    }

    /// The log of a partition, opened or created where it is not open yet.
    ///
    /// # Errors
    /// As [`Log::open`].
    pub fn get_or_create_log(
        &self,
        topic_partition: &TopicPartition,
        topic_id: Option<Uuid>,
        config: impl Into<Arc<LogConfig>>,
        now_ms: i64,
    ) -> Result<SharedLog> {
        let mut random = self.creation.lock();
        if let Some(log) = self.log(topic_partition) {
            if let Some(topic_id) = topic_id {
                log.lock().assign_topic_id(topic_id)?;
            }
            return Ok(log);
        }
        let seed = random.u64(..);
        self.open_log(topic_partition.clone(), topic_id, config.into(), seed, now_ms)
    }

    /// Opens a log as after a crash, whatever the last stop was: every batch is checked, and the log is cut where one is
    /// not valid.
    ///
    /// # Errors
    /// As [`Log::open`].
    pub fn recover_log(
        &self,
        topic_partition: &TopicPartition,
        topic_id: Option<Uuid>,
        config: impl Into<Arc<LogConfig>>,
        now_ms: i64,
    ) -> Result<SharedLog> {
        let seed = self.creation.lock().u64(..);
        let options = LogOptions {
            had_clean_shutdown: false,
            recovery_point: 0,
            ..self.options_of(topic_partition, topic_id, config.into(), seed)
        };
        self.open_with(topic_partition.clone(), options, now_ms)
    }

    fn open_log(
        &self,
        tp: TopicPartition,
        topic_id: Option<Uuid>,
        config: Arc<LogConfig>,
        seed: u64,
        now_ms: i64,
    ) -> Result<SharedLog> {
        let options = self.options_of(&tp, topic_id, config, seed);
        self.open_with(tp, options, now_ms)
    }

    fn options_of(&self, tp: &TopicPartition, topic_id: Option<Uuid>, config: Arc<LogConfig>, seed: u64) -> LogOptions {
        LogOptions {
            config,
            topic_id,
            log_start_offset: self.checkpointed(&self.log_start_offsets, tp).unwrap_or(0),
            recovery_point: self.checkpointed(&self.recovery_points, tp).unwrap_or(0),
            had_clean_shutdown: self.had_clean_shutdown,
            dynamic: Arc::clone(&self.config.dynamic),
            max_decompressed_batch_bytes: self.config.max_decompressed_batch_bytes,
            seed,
        }
    }

    /// What a checkpoint says of a partition, unless it is of one that was deleted.
    fn checkpointed(&self, offsets: &BTreeMap<TopicPartition, i64>, tp: &TopicPartition) -> Option<i64> {
        offsets.get(tp).copied().filter(|_| !self.forgotten.lock().contains(tp))
    }

    fn open_with(&self, tp: TopicPartition, options: LogOptions, now_ms: i64) -> Result<SharedLog> {
        self.log_dir.guard(self.begin(), || format!("failed to begin with {}", self.config.dir.display()))?;
        let mut log = Log::open(&self.log_dir, tp.clone(), options, now_ms)?;
        if let Some(high_watermark) = self.checkpointed(&self.high_watermarks, &tp) {
            log.update_high_watermark(high_watermark);
        }
        let log = Arc::new(Mutex::new(log));
        self.logs.lock().insert(tp, Arc::clone(&log));
        Ok(log)
    }

    /// Deletes a partition's log: its directory is renamed at once and removed after `file.delete.delay.ms`. Whether
    /// there was one. Reads that are planned already still succeed.
    ///
    /// # Errors
    /// [`LogError::Storage`], [`LogError::Offline`].
    pub fn delete_log(&self, topic_partition: &TopicPartition, now: Now) -> Result<bool> {
        let mut random = self.creation.lock();
        let Some(log) = self.log(topic_partition) else { return Ok(false) };
        let mut log = log.lock();
        let dir = log.rename_for_deletion(random.u128(..))?;
        self.logs.lock().remove(topic_partition);
        self.forgotten.lock().insert(topic_partition.clone());
        let due_ms = now.uptime_ms.saturating_add(log.config().file_delete_delay_ms);
        self.tasks.lock().delete_dir(dir, due_ms);
        Ok(true)
    }

    fn partition_dirs(&self) -> Result<Vec<(PathBuf, PartitionDir)>> {
        let list = || -> Result<Vec<(PathBuf, PartitionDir)>> {
            let mut dirs = Vec::new();
            for entry in fs::read_dir(&self.config.dir)? {
                let entry = entry?;
                if !entry.file_type()?.is_dir() {
                    continue;
                }
                let path = entry.path();
                let dir = entry.file_name().to_str().and_then(PartitionDir::parse);
                let Some(dir) = dir else {
                    let reason = "its name is not of the form topic-partition or topic-partition.uniqueid-delete; \
                                  log directories should only contain topic data";
                    return Err(LogError::malformed(&path, reason));
                };
                dirs.push((path, dir));
            }
            Ok(dirs)
        };
        self.log_dir.guard(list(), || format!("failed to list {}", self.config.dir.display()))
    }

    /// What a checkpoint said of partitions that were not opened yet.
    fn unopened_offsets(&self, name: &str) -> BTreeMap<TopicPartition, i64> {
        let mut offsets = match name {
            RECOVERY_POINT_CHECKPOINT => self.recovery_points.clone(),
            LOG_START_OFFSET_CHECKPOINT => self.log_start_offsets.clone(),
            REPLICATION_OFFSET_CHECKPOINT => self.high_watermarks.clone(),
            _ => BTreeMap::new(),
        };
        let forgotten = self.forgotten.lock();
        offsets.retain(|tp, _| !forgotten.contains(tp) && self.config.dir.join(tp.to_string()).is_dir());
        offsets
    }

    fn path(&self, name: &str) -> PathBuf {
        self.config.dir.join(name)
    }
}

fn next_of<T>(work: &Mutex<impl Iterator<Item = T>>) -> Option<T> {
    work.lock().next()
}

/// Removes a directory with all that is in it.
fn remove_dir(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e.into()),
        _ => Ok(()),
    }
}

impl fmt::Debug for LogManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogManager").field("log_dir", &self.log_dir).finish_non_exhaustive()
    }
}
