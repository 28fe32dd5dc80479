//! The log of one partition.

mod append;
mod clean;
mod flush;
mod open;
mod read;
mod retention;
mod roll;
mod timestamp;
mod truncate;
mod watermark;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use append::AppendInfo;
pub use flush::FlushPlan;
pub use open::{LogOptions, RecoveryReport};
pub use read::{FetchIsolation, ReadPlan};
pub use timestamp::{TimestampAndOffset, TimestampQuery};
use vltava_protocol::Uuid;
pub use watermark::LogStartOffsetIncrementReason;

use crate::checkpoint::PartitionMetadata;
use crate::config::LogConfig;
use crate::dynamic::DynamicLogSettings;
use crate::error::{LogError, Result};
use crate::file_names::{self, DELETE_DIR};
use crate::leader_epoch::LeaderEpochCache;
use crate::log_dir::LogDir;
use crate::log_offset::LogOffsetMetadata;
use crate::producer_state::{ProducerStateEntry, ProducerStateManager};
use crate::segment::LogSegment;
use crate::topic_partition::TopicPartition;

/// The log of one partition: segments of record batches in a directory.
///
/// Meant to be behind a lock that is held shortly: nothing here waits for the disk except where it says so.
#[derive(Debug)]
pub struct Log {
    log_dir: Arc<LogDir>,
    dir: PathBuf,
    topic_partition: TopicPartition,
    topic_id: Option<Uuid>,
    /// `partition.metadata` is not known to be on disk.
    topic_id_is_unsynced: bool,
    /// The log directory does not durably hold the partition's directory yet.
    dir_is_unsynced: bool,
    config: Arc<LogConfig>,
    max_decompressed_batch_bytes: usize,
    dynamic: Arc<DynamicLogSettings>,
    /// By base offset; never empty, the last one is appended to.
    segments: BTreeMap<i64, LogSegment>,
    /// The offset of the next record.
    next_offset: LogOffsetMetadata,
    log_start_offset: i64,
    high_watermark: LogOffsetMetadata,
    first_unstable_offset: Option<LogOffsetMetadata>,
    leader_epochs: LeaderEpochCache,
    producers: ProducerStateManager,
    /// Below this everything is on disk.
    recovery_point: i64,
    /// On a clock that never goes back; `None` until the first look after a flush.
    last_flushed_ms: Option<i64>,
    /// Segments below this were rolled and wait for a flush.
    flush_wanted: Option<i64>,
    /// Files that were taken out of the log, and when to remove them.
    pending_deletes: Vec<PendingDelete>,
    random: fastrand::Rng,
    is_closed: bool,
    recovery: RecoveryReport,
}

#[derive(Debug)]
struct PendingDelete {
    /// On a clock that never goes back; `None` until the first look, from which `file.delete.delay.ms` counts.
    due_ms: Option<i64>,
    paths: Vec<PathBuf>,
}

impl Log {
    /// The partition.
    pub fn topic_partition(&self) -> &TopicPartition {
        &self.topic_partition
    }

    /// The topic's id, once it is known.
    pub fn topic_id(&self) -> Option<Uuid> {
        self.topic_id
    }

    /// The partition's directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The log directory that the partition's directory lies in.
    pub fn log_dir(&self) -> &Arc<LogDir> {
        &self.log_dir
    }

    /// The settings.
    pub fn config(&self) -> &Arc<LogConfig> {
        &self.config
    }

    /// The most bytes that the records of one appended batch may decompress to.
    pub fn max_decompressed_batch_bytes(&self) -> usize {
        self.max_decompressed_batch_bytes
    }

    /// Replaces the settings.
    pub fn update_config(&mut self, config: impl Into<Arc<LogConfig>>) {
        self.config = config.into();
        for segment in self.segments.values_mut() {
            segment.set_config(&self.config);
        }
    }

    /// The first offset that can be read.
    pub fn log_start_offset(&self) -> i64 {
        self.log_start_offset
    }

    /// The offset that the next record gets.
    pub fn log_end_offset(&self) -> i64 {
        self.next_offset.message_offset
    }

    /// Below this offset everything is known to be on disk.
    pub fn recovery_point(&self) -> i64 {
        self.recovery_point
    }

    /// Bytes of all segments.
    pub fn size(&self) -> u64 {
        self.segments.values().map(LogSegment::size).sum()
    }

    /// Number of segments.
    pub fn segment_count(&self) -> usize {
        self.segments.len()
    }

    /// The base offsets of all segments, in order.
    pub fn segment_base_offsets(&self) -> impl Iterator<Item = i64> {
        self.segments.keys().copied()
    }

    /// Which leader epoch began where.
    pub fn leader_epochs(&self) -> &LeaderEpochCache {
        &self.leader_epochs
    }

    /// The producers that the log remembers, in no order.
    pub fn active_producers(&self) -> impl Iterator<Item = &ProducerStateEntry> {
        self.producers.producers()
    }

    /// Number of producers that the log remembers.
    pub fn producer_count(&self) -> usize {
        self.producers.producer_count()
    }

    /// The last batch of a producer, for DescribeProducers and the like.
    pub fn producer(&self, producer_id: i64) -> Option<&ProducerStateEntry> {
        self.producers.last_entry(producer_id)
    }

    /// What opening the log had to repair.
    pub fn recovery_report(&self) -> &RecoveryReport {
        &self.recovery
    }

    /// Forgets producers that did not write for `producer.id.expiration.ms`.
    pub fn remove_expired_producers(&mut self, now_ms: i64) {
        self.producers.remove_expired(now_ms);
    }

    /// Notes that an epoch begins at the end of the log, as a new leader does.
    ///
    /// # Errors
    /// [`LogError::Storage`], [`LogError::Offline`].
    pub fn assign_leader_epoch(&mut self, epoch: i32) -> Result<()> {
        let end = self.log_end_offset();
        self.guarded("assigning a leader epoch", |log| log.leader_epochs.assign(epoch, end))
    }

    /// Notes the topic's id in `partition.metadata`.
    ///
    /// # Errors
    /// [`LogError::InconsistentTopicId`] where the log has another one; [`LogError::Storage`].
    pub fn assign_topic_id(&mut self, topic_id: Uuid) -> Result<()> {
        match self.topic_id {
            Some(current) if current != topic_id => Err(LogError::InconsistentTopicId(format!(
                "tried to assign topic id {topic_id} to log for topic partition {}, but log already contained topic \
                 id {current}",
                self.topic_partition
            ))),
            Some(_) => Ok(()),
            None => self.guarded("writing partition.metadata", |log| {
                PartitionMetadata { topic_id }.write(&log.dir)?;
                log.topic_id = Some(topic_id);
                log.topic_id_is_unsynced = true;
                Ok(())
            }),
        }
    }

    /// Writes all that is only in memory and flushes it to disk; nothing can be done with the log after this.
    ///
    /// # Errors
    /// [`LogError::Storage`], [`LogError::Offline`].
    pub fn close(&mut self) -> Result<()> {
        if self.is_closed {
            return Ok(());
        }
        self.write_out()?;
        self.guarded("closing the log", Self::sync_everything)?;
        self.is_closed = true;
        Ok(())
    }

    /// Writes all that is only in memory into the files, without a wait for the disk. Whether there is something to wait
    /// for: then either [`Log::close`] waits for this log alone, or the caller for a whole file system and calls
    /// [`Log::close_synced`].
    pub(crate) fn write_out(&mut self) -> Result<bool> {
        self.guarded("closing the log", |log| {
            log.producers.take_snapshot()?;
            for segment in log.segments.values_mut() {
                segment.close()?;
            }
            Ok(log.is_unsynced())
        })
    }

    /// Closes a log of which the caller knows that all that [`Log::write_out`] wrote is on disk.
    pub(crate) fn close_synced(&mut self) {
        self.mark_flushed(self.log_end_offset());
        self.mark_small_files_synced();
        self.is_closed = true;
    }

    /// Closes the log and renames its directory to what is removed later; gives the new directory. Reads that are
    /// planned already still succeed.
    pub(crate) fn rename_for_deletion(&mut self, unique: u128) -> Result<PathBuf> {
        self.guarded("renaming the directory", |log| {
            let renamed = log.log_dir.path().join(file_names::renamed_dir(&log.topic_partition, unique, DELETE_DIR));
            // Not waited for: the metadata tells that the topic is gone, and a start finishes what a loss of power undid.
            std::fs::rename(&log.dir, &renamed)?;
            log.is_closed = true;
            Ok(renamed)
        })
    }

    /// Runs one operation: refuses it where the log is closed or its directory offline, and takes the directory
    /// offline where a file cannot be read or written.
    fn guarded<T>(&mut self, doing: &str, operation: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.check_usable()?;
        let result = operation(self);
        self.log_dir
            .guard(result, || format!("error while {doing} of {} in {}", self.topic_partition, self.dir.display()))
    }

    fn check_usable(&self) -> Result<()> {
        if self.is_closed {
            return Err(LogError::Closed(self.topic_partition.clone()));
        }
        self.log_dir.check()
    }

    fn active_segment(&mut self) -> Result<&mut LogSegment> {
        // There is always one; a log without would be a mistake of this module.
        self.segments.values_mut().next_back().ok_or_else(|| LogError::Closed(self.topic_partition.clone()))
    }

    fn active_base_offset(&self) -> i64 {
        self.segments.last_key_value().map_or(0, |(base, _)| *base)
    }

    fn update_log_end_offset(&mut self, offset: i64) {
        let (base, size) = self.segments.last_key_value().map_or((0, 0), |(base, segment)| (*base, segment.size()));
        self.next_offset = LogOffsetMetadata::at(offset, base, size);
        self.recovery_point = self.recovery_point.min(offset);
    }
}
