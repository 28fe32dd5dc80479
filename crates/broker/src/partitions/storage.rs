//! The log directories, each with the manager of its logs.

mod dir;
mod load;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};
use vltava_log::manager::SharedLog;
use vltava_log::{CleanerSettings, LogConfig, LogError, Now, Pace, TopicPartition};
use vltava_protocol::Uuid;

use dir::StorageDir;
pub(crate) use dir::{DirFailures, DirView};

use super::{OpenError, Opening};
use crate::config::BrokerConfig;
use crate::error::BrokerError;
use crate::log_dirs::{self, Identity, random_id};
use crate::metadata::topic_name::CLUSTER_METADATA;
use crate::metrics::FlushTimes;
use crate::partition::Partition;

/// How often the managers are asked at the least, so that a stop is not waited for.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How long after a failure they are asked again.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(5);

/// The id that Kafka gives the metadata's topic.
const METADATA_TOPIC_ID: Uuid = Uuid::from_u128(1);

/// The largest batch of metadata: what a start says of a million partitions, and more than Kafka writes.
const MOST_METADATA_BYTES: i32 = 64 * 1024 * 1024;

/// The log directories of a broker. They are locked while this value lives.
#[derive(Debug)]
pub(crate) struct Storage {
    dirs: Vec<StorageDir>,
    cluster_id: String,
    node_id: i32,
}

impl Storage {
    /// Creates and locks the directories, and checks whose they are. Nothing is changed where that is refused; where all
    /// are empty, they are formatted. A directory that cannot be used is offline, unless it is the metadata log's.
    pub(crate) fn open(
        config: &BrokerConfig,
        failures: &DirFailures,
        flushes: &Arc<FlushTimes>,
        now: Now,
    ) -> Result<Self, BrokerError> {
        let metadata_path = config.metadata_log_dir();
        let mut paths: Vec<(&Path, bool)> = config.log_dirs.iter().map(|path| (path.as_path(), true)).collect();
        if paths.iter().all(|(path, _)| *path != metadata_path) {
            paths.push((metadata_path, false));
        }
        let mut dirs: Vec<StorageDir> = Vec::new();
        let mut candidates = Vec::new();
        let mut known: Vec<std::path::PathBuf> = Vec::new();
        for (path, is_data) in paths {
            let canonical = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
            if known.contains(&canonical) {
                return Err(BrokerError::LogDir { path: canonical, reason: "is named more than once".to_owned() });
            }
            known.push(canonical);
            let dir = StorageDir::open(config, path, failures, flushes, now)?.for_partitions(is_data);
            candidates.push(dir.candidate(path == metadata_path));
            dirs.push(dir);
        }
        let cluster_id = log_dirs::verify(&candidates, config.node_id, config.cluster_id())?;
        for (dir, candidate) in dirs.iter_mut().zip(&candidates) {
            dir.is_metadata = candidate.is_metadata;
            match &candidate.identity {
                Identity::Known(properties) => dir.set_id(properties.directory_id),
                Identity::Blank => {}
                Identity::Failed(reason) => dir.set_failed(reason.clone()),
            }
        }
        let is_new = cluster_id.is_none();
        let configured = || config.cluster_id().map_or_else(|| random_id().to_string(), str::to_owned);
        let cluster_id = cluster_id.unwrap_or_else(configured);
        let storage = Self { dirs, cluster_id, node_id: config.node_id };
        if let (true, Some(dir)) = (storage.online().is_empty() && !is_new, storage.dirs.first()) {
            let reason = dir.failure().unwrap_or_default();
            return Err(BrokerError::AllDirsFailed { path: dir.path.clone(), reason });
        }
        for (dir, candidate) in storage.dirs.iter().zip(&candidates) {
            let has_no_id = matches!(&candidate.identity, Identity::Known(known) if known.directory_id.is_none());
            if has_no_id || (is_new && dir.id().is_none()) {
                dir.format(&storage.cluster_id, storage.node_id)?;
            }
        }
        Ok(storage)
    }

    /// Formats directories that are empty, now that the metadata tells which ones this broker had.
    pub(crate) fn format_new(&self, registered: &[Uuid]) -> Result<(), BrokerError> {
        let present: Vec<Uuid> = self.dirs.iter().filter_map(StorageDir::id).collect();
        for dir in self.dirs.iter().filter(|dir| dir.id().is_none() && dir.manager().is_some()) {
            log_dirs::verify_new(&dir.path, registered, &present)?;
            dir.format(&self.cluster_id, self.node_id)?;
            info!(dir = %dir.path.display(), "an empty log directory is formatted and used from now on");
        }
        Ok(())
    }

    pub(crate) fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// The directories as they are described.
    pub(crate) fn views(&self) -> impl Iterator<Item = DirView<'_>> {
        self.dirs.iter().filter(|dir| dir.is_data).map(StorageDir::view)
    }

    /// The id of the directory of the metadata log.
    pub(crate) fn metadata_directory(&self) -> Option<Uuid> {
        self.dirs.iter().find(|dir| dir.is_metadata).and_then(StorageDir::id)
    }

    /// The ids of the directories for partitions that work, in the order of the configuration.
    pub(crate) fn online(&self) -> Vec<Uuid> {
        self.dirs.iter().filter(|dir| dir.is_data && dir.is_online()).filter_map(StorageDir::id).collect()
    }

    /// Why the broker cannot go on without `failed`, as Kafka decides: it holds the metadata log, or no other one for
    /// partitions is left. `None` where it can.
    pub(crate) fn fatal_failure(&self, failed: &Path) -> Option<BrokerError> {
        let dir = self.dirs.iter().find(|dir| dir.path == failed)?;
        let reason = dir.failure().unwrap_or_default();
        if dir.is_metadata {
            return Some(BrokerError::MetadataDirFailed { path: dir.path.clone(), reason });
        }
        self.online().is_empty().then(|| BrokerError::AllDirsFailed { path: dir.path.clone(), reason })
    }

    /// Whether every directory was left cleanly.
    pub(crate) fn had_clean_shutdown(&self) -> bool {
        self.dirs.iter().filter_map(StorageDir::manager).all(|manager| manager.had_clean_shutdown())
    }

    /// The directories that new partitions go to, one after the other: those that work, the one with the fewest logs
    /// first.
    pub(crate) fn directories_for_new(&self) -> Vec<Uuid> {
        let online = self.dirs.iter().filter(|dir| dir.is_data && dir.is_online());
        let mut dirs: Vec<(usize, Uuid)> = online
            .filter_map(|dir| {
                Some((dir.manager()?.log_count().saturating_sub(usize::from(dir.is_metadata)), dir.id()?))
            })
            .collect();
        dirs.sort_by_key(|(logs, _)| *logs);
        dirs.into_iter().map(|(_, id)| id).collect()
    }

    /// Opens the metadata log, after a look at each of its batches: one that is damaged is refused, because what would be
    /// cut off with it is topics. What a crash left of a write at its end is cut off, as Kafka does.
    pub(crate) fn open_metadata(&self, now: Now) -> Result<SharedLog, BrokerError> {
        let name = TopicPartition::new(CLUSTER_METADATA, 0);
        let failed = |source| BrokerError::Log { partition: name.to_string(), source };
        let dir = self.dirs.iter().find(|dir| dir.is_metadata);
        let Some((dir, manager)) = dir.and_then(|dir| Some((dir, dir.manager()?))) else {
            return Err(failed(no_directory()));
        };
        let path = dir.path.join(name.to_string());
        let damage = if path.is_dir() { vltava_log::find_damage(&path).map_err(failed)? } else { None };
        if let Some(damage) = &damage {
            if !damage.is_torn_tail {
                return Err(BrokerError::MetadataDamaged {
                    path: damage.path.clone(),
                    position: damage.position,
                    offset: damage.offset,
                    reason: damage.reason.clone(),
                });
            }
            warn!(?damage, "the end of the metadata log was not written whole and is cut off");
        }
        // Nothing of it is ever deleted: the image is folded from its beginning.
        let config = LogConfig {
            delete: false,
            compact: false,
            retention_ms: -1,
            max_message_bytes: MOST_METADATA_BYTES,
            ..LogConfig::default()
        };
        let opened = match damage {
            None => manager.get_or_create_log(&name, Some(METADATA_TOPIC_ID), config, now.wall_ms),
            Some(_) => manager.recover_log(&name, Some(METADATA_TOPIC_ID), config, now.wall_ms),
        };
        let log = opened.map_err(failed)?;
        advance(&log).map_err(failed)?;
        Ok(log)
    }

    /// Opens a partition in the directory it belongs to; `None` where that is not there.
    pub(super) fn open_partition(
        &self,
        opening: &Opening<'_>,
        index: i32,
        directory: Uuid,
    ) -> Result<Option<Partition>, OpenError> {
        let Opening { topic, settings, now_ms, metrics, .. } = *opening;
        let name = TopicPartition::new(Arc::clone(&topic.name), index);
        let failed = |source| OpenError { partition: name.to_string(), source };
        let dir = self.dirs.iter().find(|dir| dir.is_data && dir.is_online() && dir.id() == Some(directory));
        let Some(manager) = dir.and_then(StorageDir::manager) else { return Ok(None) };
        let log = manager.get_or_create_log(&name, Some(topic.id), settings.clone(), now_ms).map_err(failed)?;
        advance(&log).map_err(failed)?;
        let report = log.lock().recovery_report().clone();
        if report.truncated_bytes > 0 || !report.deleted_segments.is_empty() {
            warn!(partition = %name, ?report, "the log was damaged, its end is cut off");
        }
        Ok(Some(Partition::new(Arc::clone(&topic.name), index, directory, log, Arc::clone(metrics))))
    }

    /// Renames the directory of a deleted partition; its files go after `file.delete.delay.ms`.
    pub(super) fn delete(&self, partition: &Partition, now: Now) {
        let name = TopicPartition::new(partition.topic(), partition.index());
        for manager in self.dirs.iter().filter_map(StorageDir::manager) {
            if let Err(error) = manager.delete_log(&name, now) {
                warn!(partition = %name, %error, "cannot delete the log");
            }
        }
    }

    /// Does what is due: retention, flushes, checkpoints, removal of files. Waits for the disk.
    /// Gives how long it may be until the next call.
    pub(crate) fn run_due(&self, now: Now) -> Duration {
        let mut pause = LONGEST_PAUSE;
        for dir in self.dirs.iter().filter(|dir| dir.is_online()) {
            let Some(manager) = dir.manager() else { continue };
            let next = match manager.run(now) {
                Ok(next_ms) => Duration::from_millis(u64::try_from(next_ms - now.uptime_ms).unwrap_or(0)),
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
    /// says so. Reads and writes whole segments. Several threads may do it at once.
    pub(crate) fn clean(
        &self,
        settings: impl Fn() -> CleanerSettings,
        now_ms: impl Fn() -> i64,
        pace: Pace<'_>,
        stop: impl Fn() -> bool,
    ) {
        for manager in self.dirs.iter().filter(|dir| dir.is_online()).filter_map(StorageDir::manager) {
            while !stop() {
                match manager.clean_filthiest_log(&settings(), now_ms(), pace) {
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
            let Some(manager) = dir.manager() else { continue };
            match manager.shutdown(broker_epoch) {
                Ok(()) => info!(dir = %dir.path.display(), "all logs are closed"),
                Err(error) => warn!(%error, "the logs are not closed cleanly"),
            }
        }
    }

    /// Lets the directories go after a start that was refused: what was clean stays clean.
    pub(crate) fn abandon(&self) {
        for manager in self.dirs.iter().filter_map(StorageDir::manager).filter(|manager| manager.had_clean_shutdown()) {
            if let Err(error) = manager.shutdown(manager.previous_broker_epoch()) {
                warn!(%error, "the next start checks the logs");
            }
        }
    }
}

/// One replica: whatever is in the log is committed.
fn advance(log: &SharedLog) -> Result<(), LogError> {
    log.lock().advance_high_watermark_to_log_end().map(|_| ())
}

fn no_directory() -> LogError {
    LogError::InvalidArgument("there is no log directory".to_owned())
}
