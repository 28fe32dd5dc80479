//! Compaction: keeping the latest record of each key.
//!
//! The work is done on files that no longer change, without the log's lock: [`Log::plan_cleaning`] takes stock under
//! the lock, [`Cleaner::clean`] writes new segments beside the old ones, [`Log::replace_segments`] swaps them in.

mod filter;
mod offset_map;
mod transactions;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fs::{File, FileTimes};
use std::io::IoSlice;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use filter::{BatchFilter, Filtered};
use offset_map::OffsetMap;
use parking_lot::Mutex;
use transactions::CleanedTransactions;
use vltava_protocol::record::{Decompressor, RecordBatch};

use crate::batch::{BatchHeader, Scanned, Scanner, end_txn_marker_of};
use crate::config::LogConfig;
use crate::error::{LogError, Result};
use crate::file;
use crate::file_names::{self, CLEANED, INDEX, LOG, TIME_INDEX, TXN_INDEX};
use crate::log::Log;
use crate::segment::LogSegment;
use crate::topic_partition::TopicPartition;
use crate::transaction_index::AbortedTransaction;

/// Read and written at once at the least, whatever the settings say.
const SMALLEST_BUFFER: usize = 4096;

/// What a compaction may take. May differ from one to the next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CleanerSettings {
    /// Memory for keys, in bytes: what `log.cleaner.dedupe.buffer.size` gives one thread. Only what is needed is taken.
    pub dedupe_buffer_size: u64,
    /// `log.cleaner.io.buffer.load.factor`: the part of that memory that may be filled.
    pub dedupe_buffer_load_factor: f64,
    /// Memory for reading and writing, half of it each, in bytes: what `log.cleaner.io.buffer.size` gives one thread. At
    /// least 8 KiB are used, and more where a batch is larger.
    pub io_buffer_size: usize,
}

impl Default for CleanerSettings {
    /// Kafka's, for one thread.
    fn default() -> Self {
        Self { dedupe_buffer_size: 128 * 1024 * 1024, dedupe_buffer_load_factor: 0.9, io_buffer_size: 512 * 1024 }
    }
}

/// What is to be cleaned of a log.
#[derive(Debug)]
pub(crate) struct CleaningPlan {
    pub(crate) topic_partition: TopicPartition,
    pub(crate) dir: PathBuf,
    pub(crate) config: Arc<LogConfig>,
    /// The segments below the first uncleanable offset, in order.
    pub(crate) segments: Vec<SourceSegment>,
    pub(crate) first_dirty_offset: i64,
    pub(crate) first_uncleanable_offset: i64,
    /// Aborted transactions in these segments, by first offset.
    pub(crate) aborted: Vec<AbortedTransaction>,
    pub(crate) last_records: HashMap<i64, LastRecord>,
    /// Bytes that were cleaned before, and bytes that were not.
    pub(crate) clean_bytes: u64,
    pub(crate) cleanable_bytes: u64,
    /// `max.compaction.lag.ms` is over.
    pub(crate) is_overdue: bool,
}

/// A segment to be cleaned.
#[derive(Debug)]
pub(crate) struct SourceSegment {
    pub(crate) base_offset: i64,
    /// Base offset of the next segment.
    pub(crate) next_base_offset: i64,
    pub(crate) file: Arc<File>,
    pub(crate) size: u64,
    pub(crate) index_entries: usize,
    pub(crate) last_modified_ms: i64,
}

/// The last that is known of an active producer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LastRecord {
    /// Offset of its last data record; `None` where only a marker is known.
    pub(crate) last_data_offset: Option<i64>,
    pub(crate) producer_epoch: i16,
}

impl CleaningPlan {
    /// Part of the log that was not cleaned yet.
    pub(crate) fn cleanable_ratio(&self) -> f64 {
        let total = self.clean_bytes + self.cleanable_bytes;
        if total == 0 { 0.0 } else { self.cleanable_bytes as f64 / total as f64 }
    }

    /// Whether it is worth it: `min.cleanable.dirty.ratio`, or records that must not wait longer.
    pub(crate) fn is_worthwhile(&self) -> bool {
        (self.is_overdue && self.cleanable_bytes > 0) || self.cleanable_ratio() > self.config.min_cleanable_dirty_ratio
    }
}

/// What a cleaning did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CleanerStats {
    /// Bytes of the segments that were cleaned.
    pub bytes_read: u64,
    /// Bytes of the segments in their place.
    pub bytes_written: u64,
    /// Records in the segments that were cleaned.
    pub messages_read: u64,
    /// Records that were kept.
    pub messages_written: u64,
    /// The offset up to which the log is clean now.
    pub end_offset: i64,
}

/// Told of the bytes that a compaction has read and written since it was last told, about as many at a time as are read at
/// once; the compaction goes on when it returns. In its place Kafka has a `Throttler`.
pub type Pace<'a> = &'a dyn Fn(usize);

/// Cleans logs, one at a time.
pub(crate) struct Cleaner<'a> {
    max_keys: usize,
    /// Bytes read, and written, at a time.
    chunk: usize,
    pace: Pace<'a>,
    /// What the pace is not told of yet.
    moved: usize,
    decompressor: Decompressor,
    /// Whether to give up what is under way.
    stop: Arc<AtomicBool>,
}

impl<'a> Cleaner<'a> {
    /// Memory is taken as it is needed, up to what the settings say. A cleaning ends with [`LogError::Closed`] when
    /// `stop` is set.
    pub(crate) fn new(settings: &CleanerSettings, stop: Arc<AtomicBool>) -> Self {
        // Kafka's map has 24 bytes per key.
        let max_keys = (settings.dedupe_buffer_size as f64 / 24.0 * settings.dedupe_buffer_load_factor) as usize;
        let chunk = (settings.io_buffer_size / 2).max(SMALLEST_BUFFER);
        let decompressor = Decompressor::default();
        Self { max_keys: max_keys.max(1), chunk, pace: &|_| (), moved: 0, decompressor, stop }
    }

    /// The same, which tells `pace` how it gets on.
    pub(crate) fn with_pace(mut self, pace: Pace<'a>) -> Self {
        self.pace = pace;
        self
    }

    fn moved(&mut self, bytes: usize) {
        self.moved += bytes;
        if self.moved >= self.chunk {
            (self.pace)(std::mem::take(&mut self.moved));
        }
    }

    /// The same, which decompresses up to `limit` bytes per batch; never less than the default of 128 MiB, which what is
    /// in a log may have been appended under.
    pub(crate) fn with_max_decompressed_bytes(mut self, limit: usize) -> Self {
        self.decompressor.set_limit(limit.max(Decompressor::DEFAULT_LIMIT));
        self
    }

    fn check_stop(&self, plan: &CleaningPlan) -> Result<()> {
        if self.stop.load(Ordering::Relaxed) { Err(LogError::Closed(plan.topic_partition.clone())) } else { Ok(()) }
    }

    /// Cleans what `plan` says and swaps the result in. `None` where the log changed under it, so that nothing was
    /// done from some segment on.
    pub(crate) fn clean(&mut self, log: &Mutex<Log>, plan: &CleaningPlan, now_ms: i64) -> Result<Option<CleanerStats>> {
        let map = self.build_offset_map(plan);
        let Some(map) = unless_changed(map, log, &plan.segments)? else { return Ok(None) };
        let end_offset = map.latest_offset() + 1;
        if end_offset <= plan.first_dirty_offset {
            return Err(LogError::InvalidConfig(
                "log.cleaner.dedupe.buffer.size is too small for the keys of one batch".to_owned(),
            ));
        }
        let mut stats = CleanerStats { end_offset, ..CleanerStats::default() };
        let mut transactions = CleanedTransactions::new(&plan.aborted);
        for group in group_segments(plan, end_offset) {
            let cleaned = self.clean_group(plan, group, &map, &mut transactions, now_ms, &mut stats);
            if cleaned.is_err() {
                remove_cleaned_files(plan, group)?;
            }
            let Some(cleaned) = unless_changed(cleaned, log, group)? else { return Ok(None) };
            stats.bytes_written += cleaned.size();
            if !log.lock().replace_segments(cleaned, group)? {
                return Ok(None);
            }
        }
        Ok(Some(stats))
    }

    /// The latest offset of each key in the dirty part, as far as there is room.
    fn build_offset_map(&mut self, plan: &CleaningPlan) -> Result<OffsetMap> {
        let mut map = OffsetMap::new(self.max_keys);
        let start = plan.first_dirty_offset;
        // One that ended before what is walked through must not be taken for open in it: its producer's next transaction
        // would seem to be aborted.
        let walked = plan.segments.iter().find(|segment| segment.next_base_offset > start);
        let walked_from = walked.map_or(start, |segment| segment.base_offset);
        let aborted: Vec<_> = plan.aborted.iter().filter(|txn| txn.last_offset >= walked_from).copied().collect();
        let mut transactions = CleanedTransactions::new(&aborted);
        for segment in plan.segments.iter().filter(|segment| segment.next_base_offset > start) {
            let mut scanner = Scanner::new(&segment.file, 0..segment.size, self.chunk);
            while let Some((header, batch)) = next_batch(&mut scanner, segment)? {
                self.moved(batch.bytes().len());
                self.check_stop(plan)?;
                let is_aborted = transactions.on_batch(&header, end_txn_marker_of(&batch));
                if header.last_offset() < start {
                    continue;
                }
                if !header.is_control() && !is_aborted {
                    for record in batch.records(&mut self.decompressor).map_err(corrupt)? {
                        let record = record.map_err(corrupt)?;
                        if let Some(key) = record.key()
                            && record.offset() >= start
                            && !map.put(key, record.offset())
                        {
                            return Ok(map);
                        }
                    }
                }
                map.update_latest_offset(header.last_offset());
            }
            map.update_latest_offset(segment.next_base_offset - 1);
        }
        Ok(map)
    }

    fn clean_group(
        &mut self,
        plan: &CleaningPlan,
        group: &[SourceSegment],
        map: &OffsetMap,
        transactions: &mut CleanedTransactions<'_>,
        now_ms: i64,
        stats: &mut CleanerStats,
    ) -> Result<LogSegment> {
        let base_offset = group.first().map_or(0, |segment| segment.base_offset);
        let mut cleaned = LogSegment::create(&plan.dir, base_offset, CLEANED, &plan.config, 0, now_ms)?;
        let filter = BatchFilter::new(plan, map, now_ms);
        let mut output = Output::default();
        for segment in group {
            stats.bytes_read += segment.size;
            let mut scanner = Scanner::new(&segment.file, 0..segment.size, self.chunk);
            while let Some((header, batch)) = next_batch(&mut scanner, segment)? {
                self.moved(batch.bytes().len());
                self.check_stop(plan)?;
                let marker = end_txn_marker_of(&batch);
                let can_discard = transactions.on_batch(&header, marker);
                for aborted in transactions.take_retained_aborted() {
                    cleaned.txn_index().append(aborted)?;
                }
                match filter.filter(&batch, can_discard, &mut self.decompressor, stats)? {
                    Filtered::Nothing => {}
                    Filtered::Batch(header, bytes) => output.push(header, bytes),
                }
                if output.size >= self.chunk {
                    self.moved(output.size);
                    output.write_to(&mut cleaned)?;
                }
            }
        }
        self.moved(output.size);
        output.write_to(&mut cleaned)?;
        // On disk before the old ones go.
        cleaned.on_become_inactive()?;
        cleaned.mark_unsynced();
        cleaned.flush()?;
        let modified_ms = group.last().map_or(0, |segment| segment.last_modified_ms);
        set_last_modified(&cleaned, modified_ms)?;
        Ok(cleaned)
    }
}

/// A segment that is truncated or deleted while it is read looks damaged: that is no failure, `None` is given then.
fn unless_changed<T>(result: Result<T>, log: &Mutex<Log>, segments: &[SourceSegment]) -> Result<Option<T>> {
    match result {
        Err(LogError::Storage { .. } | LogError::CorruptRecord(_)) if !log.lock().are_unchanged(segments) => Ok(None),
        result => result.map(Some),
    }
}

/// What an interrupted cleaning left behind.
fn remove_cleaned_files(plan: &CleaningPlan, group: &[SourceSegment]) -> Result<()> {
    for kind in [LOG, INDEX, TIME_INDEX, TXN_INDEX] {
        if let Some(first) = group.first() {
            file::remove_if_exists(&file_names::segment_file(&plan.dir, first.base_offset, kind, CLEANED))?;
        }
    }
    Ok(())
}

/// Batches that wait to be written together.
#[derive(Default)]
struct Output {
    headers: Vec<BatchHeader>,
    bytes: Vec<Bytes>,
    size: usize,
}

impl Output {
    fn push(&mut self, header: BatchHeader, bytes: Bytes) {
        self.size += bytes.len();
        self.headers.push(header);
        self.bytes.push(bytes);
    }

    fn write_to(&mut self, segment: &mut LogSegment) -> Result<()> {
        let Some(last) = self.headers.last() else { return Ok(()) };
        let last_offset = last.last_offset();
        let mut buffers: Vec<IoSlice<'_>> = self.bytes.iter().map(|bytes| IoSlice::new(bytes)).collect();
        segment.append(last_offset, &mut buffers, self.headers.iter().copied())?;
        *self = Self::default();
        Ok(())
    }
}

fn next_batch(scanner: &mut Scanner<'_>, segment: &SourceSegment) -> Result<Option<(BatchHeader, RecordBatch)>> {
    match scanner.next()? {
        Scanned::Batch { position, size, header } => {
            let bytes = Bytes::copy_from_slice(scanner.batch(position, size)?);
            Ok(Some((header, RecordBatch::parse(bytes).map_err(corrupt)?)))
        }
        Scanned::End { .. } => Ok(None),
        Scanned::Damaged { position, reason } => Err(LogError::CorruptRecord(format!(
            "{reason} at position {position} of the segment with base offset {}",
            segment.base_offset
        ))),
    }
}

/// Neighbouring segments that together are no larger than one may be.
fn group_segments(plan: &CleaningPlan, end_offset: i64) -> Vec<&[SourceSegment]> {
    let max_size = plan.config.segment_size();
    let max_entries = plan.config.max_index_size() / 12;
    let cleanable = plan.segments.partition_point(|segment| segment.base_offset < end_offset);
    let mut rest = plan.segments.get(..cleanable).unwrap_or_default();
    let mut groups = Vec::new();
    while let Some(first) = rest.first() {
        let (mut size, mut entries) = (first.size, first.index_entries);
        let fits = |segment: &SourceSegment| {
            size += segment.size;
            entries += segment.index_entries;
            let spans = segment.next_base_offset - 1 - first.base_offset;
            size <= max_size && entries <= max_entries && spans <= i64::from(i32::MAX)
        };
        let others = rest.iter().skip(1).map(fits).take_while(|fits| *fits).count();
        let (group, later) = rest.split_at(1 + others);
        groups.push(group);
        rest = later;
    }
    groups
}

/// Retention by the time of the file must go on from where it was.
fn set_last_modified(segment: &LogSegment, ms: i64) -> Result<()> {
    let modified = UNIX_EPOCH + Duration::from_millis(u64::try_from(ms).unwrap_or(0));
    let file = File::options().write(true).open(segment.path())?;
    Ok(file.set_times(FileTimes::new().set_modified(modified))?)
}

fn corrupt(error: vltava_protocol::record::RecordError) -> LogError {
    LogError::CorruptRecord(error.to_string())
}
