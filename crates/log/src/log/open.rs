//! Opening a log: finishing what a crash interrupted, recovering what it damaged.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use vltava_protocol::Uuid;
use vltava_protocol::record::Decompressor;

use super::Log;
use crate::batch::{Scanned, Scanner, end_txn_marker};
use crate::checkpoint::PartitionMetadata;
use crate::config::LogConfig;
use crate::dynamic::DynamicLogSettings;
use crate::error::{LogError, Result};
use crate::file;
use crate::file_names::{self, CLEANED, DELETED, INDEX, LOG, SWAP, TIME_INDEX, TXN_INDEX};
use crate::leader_epoch::LeaderEpochCache;
use crate::log_dir::LogDir;
use crate::log_offset::LogOffsetMetadata;
use crate::producer_state::ProducerStateManager;
use crate::segment::{LogSegment, Recovered};
use crate::topic_partition::TopicPartition;

/// How to open a log.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// The settings.
    pub config: Arc<LogConfig>,
    /// The topic's id, where it is known.
    pub topic_id: Option<Uuid>,
    /// From `log-start-offset-checkpoint`, 0 where it is not there.
    pub log_start_offset: i64,
    /// From `recovery-point-offset-checkpoint`, 0 where it is not there.
    pub recovery_point: i64,
    /// Whether the last stop was clean, so that nothing needs to be recovered.
    pub had_clean_shutdown: bool,
    /// What may change while the log is open.
    pub dynamic: Arc<DynamicLogSettings>,
    /// The most bytes that the records of one appended batch may decompress to; default 128 MiB.
    pub max_decompressed_batch_bytes: usize,
    /// Seed of what is drawn by chance: `segment.jitter.ms`.
    pub seed: u64,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            config: Arc::new(LogConfig::default()),
            topic_id: None,
            log_start_offset: 0,
            recovery_point: 0,
            had_clean_shutdown: false,
            dynamic: Arc::default(),
            max_decompressed_batch_bytes: Decompressor::DEFAULT_LIMIT,
            seed: 0,
        }
    }
}

/// What opening a log had to repair.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// Base offsets of the segments that were checked batch by batch.
    pub recovered_segments: Vec<i64>,
    /// Bytes that were cut off because they were no valid batches.
    pub truncated_bytes: u64,
    /// Base offsets of segments that were deleted because one before them was cut.
    pub deleted_segments: Vec<i64>,
}

impl Log {
    /// Opens the log of a partition in `log_dir`, creating it where it does not exist.
    ///
    /// After an unclean stop all segments from the recovery point on are checked and the log is cut at the first
    /// batch that is not whole and valid; later segments are deleted. A segment whose index is missing or damaged is
    /// checked in any case.
    ///
    /// # Errors
    /// [`LogError::Storage`], [`LogError::Malformed`], [`LogError::OldMessageFormat`],
    /// [`LogError::InconsistentTopicId`].
    pub fn open(
        log_dir: &Arc<LogDir>,
        topic_partition: TopicPartition,
        options: LogOptions,
        now_ms: i64,
    ) -> Result<Self> {
        let dir = log_dir.path().join(topic_partition.to_string());
        log_dir.check()?;
        let result = Self::load(log_dir, dir, topic_partition.clone(), options, now_ms);
        log_dir.guard(result, || format!("error while opening the log of {topic_partition}"))
    }

    fn load(
        log_dir: &Arc<LogDir>,
        dir: PathBuf,
        topic_partition: TopicPartition,
        options: LogOptions,
        now_ms: i64,
    ) -> Result<Self> {
        let is_new = match fs::create_dir(&dir) {
            Ok(()) => true,
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => false,
            Err(e) => return Err(e.into()),
        };
        let topic_id = if is_new { None } else { PartitionMetadata::read(&dir)?.map(|m| m.topic_id) };
        let mut log = Self {
            log_dir: Arc::clone(log_dir),
            topic_id,
            topic_id_is_unsynced: false,
            dir_is_unsynced: is_new,
            segments: BTreeMap::new(),
            next_offset: LogOffsetMetadata::only(0),
            log_start_offset: options.log_start_offset,
            high_watermark: LogOffsetMetadata::only(0),
            first_unstable_offset: None,
            leader_epochs: LeaderEpochCache::open(&dir)?,
            producers: ProducerStateManager::open(&dir, Arc::clone(&options.dynamic))?,
            recovery_point: options.recovery_point,
            last_flushed_ms: None,
            flush_wanted: None,
            pending_deletes: Vec::new(),
            random: fastrand::Rng::with_seed(options.seed),
            is_closed: false,
            recovery: RecoveryReport::default(),
            config: Arc::clone(&options.config),
            max_decompressed_batch_bytes: options.max_decompressed_batch_bytes,
            dynamic: Arc::clone(&options.dynamic),
            dir,
            topic_partition,
        };
        if let Some(topic_id) = options.topic_id {
            log.assign_topic_id(topic_id)?;
        }
        if !is_new {
            finish_interrupted_swaps(&log.dir)?;
            log.load_segments(&options, now_ms)?;
        }
        let next_offset = log.recover(&options, now_ms)?;
        log.leader_epochs.truncate_from_end(next_offset)?;
        log.leader_epochs.truncate_from_start(options.log_start_offset)?;
        let first_base = log.segments.first_key_value().map_or(0, |(base, _)| *base);
        log.log_start_offset = options.log_start_offset.max(first_base);
        log.recovery_point =
            if options.had_clean_shutdown { next_offset } else { options.recovery_point.min(next_offset) };
        log.recovery_point = log.recovery_point.max(log.log_start_offset);
        log.update_log_end_offset(next_offset);
        let bases: Vec<i64> = log.segments.keys().copied().collect();
        log.producers.remove_stray_snapshots(&bases)?;
        log.rebuild_producer_state(next_offset, now_ms, options.had_clean_shutdown)?;
        // The high watermark is not known yet: it comes from its checkpoint or from the leader.
        log.high_watermark = LogOffsetMetadata::only(log.log_start_offset);
        log.maybe_increment_first_unstable_offset()?;
        if !options.had_clean_shutdown {
            let from = log.floor_base_offset(log.recovery_point);
            log.segments.range_mut(from..).for_each(|(_, segment)| segment.mark_unsynced());
        }
        Ok(log)
    }

    fn load_segments(&mut self, options: &LogOptions, now_ms: i64) -> Result<()> {
        for base_offset in segment_base_offsets(&self.dir)? {
            let jitter = self.config.random_segment_jitter(&mut self.random);
            let (mut segment, is_damaged) = LogSegment::open(&self.dir, base_offset, &self.config, jitter, now_ms)?;
            if is_damaged {
                let will_be_recovered = !options.had_clean_shutdown && base_offset >= options.recovery_point;
                if !will_be_recovered {
                    tracing::warn!(
                        segment = %segment.path().display(),
                        "an index file is missing or corrupt, recovering segment and rebuilding index files"
                    );
                }
                self.recover_segment(&mut segment, options.log_start_offset, now_ms)?;
            }
            self.segments.insert(base_offset, segment);
        }
        Ok(())
    }

    /// Recovers what may not be on disk; gives the log end offset.
    fn recover(&mut self, options: &LogOptions, now_ms: i64) -> Result<i64> {
        if !options.had_clean_shutdown {
            self.recover_unflushed(options, now_ms)?;
        }
        let mut next_offset = None;
        if let Some(base) = self.segments.keys().next_back().copied() {
            next_offset = Some(self.next_offset_of(base, options, now_ms)?);
        }
        if let Some(end) = next_offset
            && end < options.log_start_offset
        {
            tracing::warn!(
                partition = %self.topic_partition,
                "deleting all segments because log end offset {end} is smaller than log start offset {}",
                options.log_start_offset
            );
            let all = std::mem::take(&mut self.segments);
            self.recovery.deleted_segments.extend(all.keys());
            self.delete_segments(all.into_values().collect())?;
            self.leader_epochs.clear_and_write()?;
            self.producers.truncate_fully_and_start_at(options.log_start_offset)?;
            next_offset = None;
        }
        match next_offset {
            Some(offset) => Ok(offset),
            None => {
                self.add_segment(options.log_start_offset, now_ms)?;
                Ok(options.log_start_offset)
            }
        }
    }

    fn recover_unflushed(&mut self, options: &LogOptions, now_ms: i64) -> Result<()> {
        let from = self.floor_base_offset(options.recovery_point);
        let unflushed: Vec<i64> = self.segments.range(from..).map(|(base, _)| *base).collect();
        for base in unflushed {
            // Taken out, so that producer state is rebuilt from the segments before it only.
            let mut later = self.segments.split_off(&base);
            let Some(mut segment) = later.remove(&base) else { continue };
            let recovered = if self.recovery.recovered_segments.contains(&base) {
                0
            } else {
                self.recover_segment(&mut segment, options.log_start_offset, now_ms)?
            };
            self.segments.insert(base, segment);
            if recovered > 0 {
                tracing::warn!(
                    partition = %self.topic_partition,
                    "corruption found in segment {base}, {recovered} bytes truncated"
                );
                self.recovery.deleted_segments.extend(later.keys());
                self.delete_segments(later.into_values().collect())?;
                return Ok(());
            }
            self.segments.append(&mut later);
        }
        Ok(())
    }

    /// The end of the last segment. One that does not end with a whole batch, although its indexes are there, is
    /// recovered.
    fn next_offset_of(&mut self, base: i64, options: &LogOptions, now_ms: i64) -> Result<i64> {
        let Some(mut segment) = self.segments.remove(&base) else { return Ok(base) };
        let next = match segment.read_next_offset() {
            Err(LogError::CorruptRecord(reason)) => {
                tracing::warn!(segment = %segment.path().display(), "{reason}, recovering segment");
                self.recover_segment(&mut segment, options.log_start_offset, now_ms)?;
                segment.read_next_offset()
            }
            next => next,
        };
        self.segments.insert(base, segment);
        next
    }

    /// Checks a segment; gives the number of bytes that were cut off.
    fn recover_segment(&mut self, segment: &mut LogSegment, log_start_offset: i64, now_ms: i64) -> Result<u64> {
        let base = segment.base_offset();
        self.rebuild_producer_state_from(log_start_offset, base, now_ms, false)?;
        let truncated = match segment.recover(&mut self.producers, &mut self.leader_epochs)? {
            Recovered::Truncated(bytes) => bytes,
            Recovered::InvalidOffsets => {
                tracing::warn!(
                    partition = %self.topic_partition,
                    "found invalid offset during recovery; deleting the corrupt segment and creating an empty one \
                     with starting offset {base}"
                );
                let size = segment.size();
                segment.clear(now_ms)?;
                size
            }
        };
        self.producers.take_snapshot()?;
        self.recovery.recovered_segments.push(base);
        self.recovery.truncated_bytes += truncated;
        Ok(truncated)
    }

    pub(super) fn rebuild_producer_state(&mut self, last_offset: i64, now_ms: i64, was_clean: bool) -> Result<()> {
        self.rebuild_producer_state_from(self.log_start_offset, last_offset, now_ms, was_clean)
    }

    /// Brings producer state to `last_offset`, from the latest snapshot and the segments after it.
    fn rebuild_producer_state_from(
        &mut self,
        log_start_offset: i64,
        last_offset: i64,
        now_ms: i64,
        was_clean: bool,
    ) -> Result<()> {
        let mut to_snapshot: Vec<i64> = self.segments.keys().rev().take(2).copied().collect();
        to_snapshot.push(last_offset);
        to_snapshot.sort_unstable();
        if self.producers.latest_snapshot_offset().is_none() && was_clean {
            // A clean stop leaves a snapshot where there were producers: there were none.
            for offset in to_snapshot {
                self.producers.update_map_end_offset(offset);
                self.producers.take_snapshot()?;
            }
            return Ok(());
        }
        let was_empty = self.producers.is_empty() && self.producers.map_end_offset() >= last_offset;
        self.producers.truncate_and_reload(log_start_offset, last_offset, now_ms)?;
        if last_offset > self.producers.map_end_offset() && !was_empty {
            let from = self.floor_base_offset(self.producers.map_end_offset());
            for (base, segment) in self.segments.range_mut(from..last_offset.max(from)) {
                let start = (*base).max(self.producers.map_end_offset()).max(log_start_offset);
                self.producers.update_map_end_offset(start);
                if to_snapshot.contains(base) {
                    self.producers.take_snapshot()?;
                }
                load_producers(&mut self.producers, segment, start, last_offset)?;
            }
        }
        self.producers.update_map_end_offset(last_offset);
        self.producers.take_snapshot()?;
        Ok(())
    }
}

/// Replays the batches of a segment from `start` up to the one that holds `end`.
fn load_producers(producers: &mut ProducerStateManager, segment: &mut LogSegment, start: i64, end: i64) -> Result<()> {
    let Some(first) = segment.translate_offset(start)? else { return Ok(()) };
    let file = segment.file()?;
    // Only headers are read, but all of them.
    let mut scanner = Scanner::new(&file, first.position..segment.size(), 64 * 1024);
    while let Scanned::Batch { position, size, header } = scanner.next()? {
        if header.last_offset() >= end {
            break;
        }
        if !header.has_producer_id() {
            continue;
        }
        let mut info = producers.prepare_update(header.producer_id(), false).replicated();
        let mut completed = None;
        if header.is_control() {
            if let Some(marker) = end_txn_marker(&header, scanner.batch(position, size)?) {
                completed = info.append_end_txn(&header, marker, 0)?;
            }
        } else {
            info.append_data(&header, LogOffsetMetadata::only(header.base_offset()))?;
        }
        producers.update(info);
        if let Some(txn) = completed {
            producers.complete_txn(&txn)?;
        }
    }
    Ok(())
}

/// The base offsets of the segments in a directory, in order. Indexes without data are removed.
fn segment_base_offsets(dir: &Path) -> Result<Vec<i64>> {
    let names = file_names_in(dir)?;
    let mut bases: Vec<i64> =
        names.iter().filter(|name| name.ends_with(LOG)).filter_map(|name| file_names::offset_of(name)).collect();
    bases.sort_unstable();
    for name in &names {
        let is_index = [INDEX, TIME_INDEX, TXN_INDEX].iter().any(|kind| name.ends_with(kind));
        if let Some(offset) = file_names::offset_of(name)
            && is_index
            && bases.binary_search(&offset).is_err()
        {
            tracing::warn!(dir = %dir.display(), "found an orphaned index file {name}, with no corresponding log file");
            file::remove_if_exists(&dir.join(name))?;
        }
    }
    Ok(bases)
}

/// Removes what deletions and compactions left, and finishes a compaction that was complete but for its renames.
fn finish_interrupted_swaps(dir: &Path) -> Result<()> {
    let mut min_cleaned = i64::MAX;
    let mut swaps = Vec::new();
    let mut cleaned = Vec::new();
    for name in file_names_in(dir)? {
        let Some(offset) = file_names::offset_of(&name) else { continue };
        if name.ends_with(DELETED) {
            file::remove_if_exists(&dir.join(&name))?;
        } else if name.ends_with(CLEANED) {
            min_cleaned = min_cleaned.min(offset);
            cleaned.push(name);
        } else if name.ends_with(SWAP) {
            swaps.push((offset, name));
        }
    }
    // Segments are renamed to .swap from the last to the first: one above a .cleaned is not part of a whole set.
    let (invalid, valid): (Vec<_>, Vec<_>) = swaps.into_iter().partition(|(offset, _)| *offset >= min_cleaned);
    for name in cleaned.iter().chain(invalid.iter().map(|(_, name)| name)) {
        file::remove_if_exists(&dir.join(name))?;
    }
    let (mut min_swap, mut max_swap) = (i64::MAX, i64::MIN);
    for (offset, name) in &valid {
        let Some(log) = name.strip_suffix(SWAP).filter(|name| name.ends_with(LOG)) else { continue };
        tracing::info!("found log file {name} from an interrupted swap operation, which replaces {log}");
        min_swap = min_swap.min(*offset);
        max_swap = max_swap.max(next_offset_of_file(&dir.join(name), *offset)?);
    }
    for name in file_names_in(dir)? {
        if let Some(offset) = file_names::offset_of(&name)
            && !name.ends_with(SWAP)
            && (min_swap..max_swap).contains(&offset)
        {
            file::remove_if_exists(&dir.join(&name))?;
        }
    }
    for (_, name) in &valid {
        if let Some(target) = name.strip_suffix(SWAP) {
            fs::rename(dir.join(name), dir.join(target))?;
        }
    }
    Ok(())
}

/// The offset after the last batch of a segment file of which the index is not to be trusted.
fn next_offset_of_file(path: &Path, base_offset: i64) -> Result<i64> {
    let file = file::open(path, false)?;
    let size = file.metadata()?.len();
    let mut scanner = Scanner::new(&file, 0..size, 64 * 1024);
    let mut next = base_offset;
    while let Scanned::Batch { header, .. } = scanner.next()? {
        next = header.next_offset();
    }
    Ok(next)
}

fn file_names_in(dir: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            continue;
        }
        names.extend(entry.file_name().to_str().map(str::to_owned));
    }
    Ok(names)
}
