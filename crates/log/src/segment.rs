//! One segment of a log: a file of batches, its two indexes and its transaction index.

mod recover;

pub(crate) use recover::Recovered;

use std::fs::File;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use vltava_protocol::record::NO_TIMESTAMP;

use crate::LogConfig;
use crate::batch::{BatchHeader, Scanned, Scanner};
use crate::error::{LogError, Result};
use crate::file;
use crate::file_names::{self, INDEX, LOG, TIME_INDEX, TXN_INDEX};
use crate::offset_index::OffsetIndex;
use crate::open_file::OpenFile;
use crate::time_index::{TimeIndex, TimestampOffset};
use crate::transaction_index::TransactionIndex;

/// Bytes read at once where the headers of a few batches are looked for: a little more than lies between two
/// entries of an index.
const HEADER_SCAN_CHUNK: usize = 8 * 1024;

/// A batch in a segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchPosition {
    pub(crate) header: BatchHeader,
    pub(crate) position: u64,
    pub(crate) size: usize,
}

/// What an append says about the batch that it is going to write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RollParams {
    pub(crate) max_segment_ms: i64,
    pub(crate) max_segment_bytes: u64,
    pub(crate) max_timestamp_in_messages: i64,
    pub(crate) max_offset_in_messages: i64,
    pub(crate) messages_size: u64,
    pub(crate) now_ms: i64,
}

/// A segment; its files are open while it is written to, and as long as somebody reads them.
#[derive(Debug)]
pub(crate) struct LogSegment {
    base_offset: i64,
    path: PathBuf,
    file: OpenFile,
    size: u64,
    offset_index: OffsetIndex,
    time_index: TimeIndex,
    txn_index: TransactionIndex,
    index_interval_bytes: u64,
    roll_jitter_ms: i64,
    created_ms: i64,
    /// Timestamp of the first batch, once it was looked at.
    rolling_based_timestamp: Option<i64>,
    max_timestamp_so_far: TimestampOffset,
    bytes_since_last_index_entry: u64,
    /// Whether the file is longer than its batches.
    is_preallocated: bool,
    /// Something was written that is not known to be on disk.
    is_unsynced: bool,
}

impl LogSegment {
    /// Creates an empty segment; old files of that name are emptied.
    pub(crate) fn create(
        dir: &Path,
        base_offset: i64,
        suffix: &str,
        config: &LogConfig,
        jitter_ms: i64,
        now_ms: i64,
    ) -> Result<Self> {
        let path = |kind| file_names::segment_file(dir, base_offset, kind, suffix);
        let file = file::open(&path(LOG), true)?;
        file.set_len(0)?;
        if config.preallocate {
            file.set_len(config.segment_size())?;
        }
        let max_index = config.max_index_size();
        Ok(Self {
            base_offset,
            path: path(LOG),
            file: OpenFile::kept(file),
            size: 0,
            offset_index: OffsetIndex::create(path(INDEX), base_offset, max_index)?,
            time_index: TimeIndex::create(path(TIME_INDEX), base_offset, max_index)?,
            txn_index: TransactionIndex::create(path(TXN_INDEX))?,
            index_interval_bytes: config.index_interval_bytes(),
            roll_jitter_ms: jitter_ms,
            created_ms: now_ms,
            rolling_based_timestamp: None,
            max_timestamp_so_far: TimestampOffset { timestamp: NO_TIMESTAMP, offset: base_offset },
            bytes_since_last_index_entry: 0,
            is_preallocated: config.preallocate,
            is_unsynced: false,
        })
    }

    /// Opens a segment that exists. The flag says whether an index is missing or damaged: then the segment must be
    /// recovered before it is used.
    pub(crate) fn open(
        dir: &Path,
        base_offset: i64,
        config: &LogConfig,
        jitter_ms: i64,
        now_ms: i64,
    ) -> Result<(Self, bool)> {
        let path = |kind| file_names::segment_file(dir, base_offset, kind, "");
        let max_index = config.max_index_size();
        let size = std::fs::metadata(path(LOG))?.len();
        let offset_index = OffsetIndex::load(path(INDEX), base_offset, max_index, size)?;
        let time_index = TimeIndex::load(path(TIME_INDEX), base_offset, max_index)?;
        let txn_index = TransactionIndex::load(path(TXN_INDEX), base_offset)?;
        let is_damaged = offset_index.is_none() || time_index.is_none() || txn_index.is_none();
        let offset_index = match offset_index {
            Some(index) => index,
            None => OffsetIndex::create(path(INDEX), base_offset, max_index)?,
        };
        let time_index = match time_index {
            Some(index) => index,
            None => TimeIndex::create(path(TIME_INDEX), base_offset, max_index)?,
        };
        let txn_index = match txn_index {
            Some(index) => index,
            None => TransactionIndex::create(path(TXN_INDEX))?,
        };
        let segment = Self {
            base_offset,
            path: path(LOG),
            file: OpenFile::default(),
            size,
            max_timestamp_so_far: time_index.last_entry(),
            offset_index,
            time_index,
            txn_index,
            index_interval_bytes: config.index_interval_bytes(),
            roll_jitter_ms: jitter_ms,
            created_ms: now_ms,
            rolling_based_timestamp: None,
            bytes_since_last_index_entry: 0,
            is_preallocated: false,
            is_unsynced: is_damaged,
        };
        Ok((segment, is_damaged))
    }

    pub(crate) fn base_offset(&self) -> i64 {
        self.base_offset
    }

    /// Bytes of batches.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The data file, which stays readable when the segment is deleted.
    pub(crate) fn file(&mut self) -> Result<Arc<File>> {
        Ok(self.file.open(&self.path, false)?)
    }

    /// The data file where it is open.
    pub(crate) fn open_file(&self) -> Option<Arc<File>> {
        self.file.get()
    }

    /// Entries of the larger index.
    pub(crate) fn index_entries(&self) -> usize {
        self.offset_index.file.entries().max(self.time_index.file.entries())
    }

    /// The paths of all files.
    pub(crate) fn paths(&self) -> [PathBuf; 4] {
        [&self.path, self.offset_index.file.path(), self.time_index.file.path(), self.txn_index.path()]
            .map(Path::to_owned)
    }

    pub(crate) fn txn_index(&mut self) -> &mut TransactionIndex {
        &mut self.txn_index
    }

    pub(crate) fn offset_index(&mut self) -> &mut OffsetIndex {
        &mut self.offset_index
    }

    /// The latest timestamp and an offset up to which nothing is later.
    pub(crate) fn max_timestamp_so_far(&self) -> TimestampOffset {
        self.max_timestamp_so_far
    }

    /// Says that `index.interval.bytes` or `segment.index.bytes` changed.
    pub(crate) fn set_config(&mut self, config: &LogConfig) {
        self.index_interval_bytes = config.index_interval_bytes();
        self.offset_index.file.set_max_bytes(config.max_index_size());
        self.time_index.file.set_max_bytes(config.max_index_size());
    }

    /// Whether the next append belongs into a new segment.
    pub(crate) fn should_roll(&mut self, params: &RollParams) -> Result<bool> {
        if self.size > params.max_segment_bytes.saturating_sub(params.messages_size)
            || self.offset_index.is_full()
            || self.time_index.is_full()
            || !self.offset_index.can_append_offset(params.max_offset_in_messages)
        {
            return Ok(true);
        }
        if self.size == 0 {
            return Ok(false);
        }
        let waited = self.time_waited_for_roll(params.now_ms, params.max_timestamp_in_messages)?;
        Ok(waited > params.max_segment_ms.saturating_sub(self.roll_jitter_ms))
    }

    /// By the time of its records where they have timestamps, else by the clock.
    fn time_waited_for_roll(&mut self, now_ms: i64, message_timestamp: i64) -> Result<i64> {
        match self.first_batch_timestamp()? {
            Some(first) if first >= 0 => Ok(message_timestamp.saturating_sub(first)),
            _ => Ok(now_ms.saturating_sub(self.created_ms)),
        }
    }

    /// Max timestamp of the first batch.
    pub(crate) fn first_batch_timestamp(&mut self) -> Result<Option<i64>> {
        if self.rolling_based_timestamp.is_none() && self.size > 0 {
            let file = self.file()?;
            if let Scanned::Batch { header, .. } = Scanner::new(&file, 0..self.size, 0).next()? {
                self.rolling_based_timestamp = Some(header.max_timestamp());
            }
        }
        Ok(self.rolling_based_timestamp)
    }

    /// Writes batches at the end, all in one write. `buffers` hold their bytes, `batches` their headers.
    pub(crate) fn append(
        &mut self,
        largest_offset: i64,
        buffers: &mut [IoSlice<'_>],
        batches: impl Iterator<Item = BatchHeader>,
    ) -> Result<()> {
        if !self.offset_index.can_append_offset(largest_offset) {
            return Err(LogError::InvalidArgument(format!(
                "offset {largest_offset} is too far from the base offset of {}",
                self.path.display()
            )));
        }
        let file = self.file.keep(&self.path, false)?;
        self.is_unsynced = true;
        file::write_vectored_all_at(file, buffers, self.size)?;
        for header in batches {
            if header.max_timestamp() > self.max_timestamp_so_far.timestamp {
                self.max_timestamp_so_far =
                    TimestampOffset { timestamp: header.max_timestamp(), offset: header.last_offset() };
            }
            if self.size == 0 {
                self.rolling_based_timestamp = Some(header.max_timestamp());
            }
            if self.bytes_since_last_index_entry > self.index_interval_bytes {
                if self.offset_index.append(header.last_offset(), self.size)?.is_err() {
                    return Err(io::Error::other("offsets of a segment must grow").into());
                }
                self.time_index.maybe_append(self.max_timestamp_so_far)?;
                self.bytes_since_last_index_entry = 0;
            }
            let size = header.size() as u64;
            self.size += size;
            self.bytes_since_last_index_entry += size;
        }
        Ok(())
    }

    /// The first batch whose last offset is at or above `offset`.
    pub(crate) fn translate_offset(&mut self, offset: i64) -> Result<Option<BatchPosition>> {
        let start = self.offset_index.lookup(offset)?.position;
        self.first_batch_where(start, |header| header.last_offset() >= offset)
    }

    /// The first batch from position `start` on that `matches`.
    pub(crate) fn first_batch_where(
        &mut self,
        start: u64,
        matches: impl Fn(&BatchHeader) -> bool,
    ) -> Result<Option<BatchPosition>> {
        if start >= self.size {
            return Ok(None);
        }
        let file = self.file()?;
        let mut scanner = Scanner::new(&file, start..self.size, HEADER_SCAN_CHUNK);
        loop {
            match scanner.next()? {
                Scanned::Batch { position, size, header } if matches(&header) => {
                    return Ok(Some(BatchPosition { header, position, size }));
                }
                Scanned::Batch { .. } => {}
                Scanned::End { .. } => return Ok(None),
                Scanned::Damaged { position, reason } => return Err(self.damaged(position, reason)),
            }
        }
    }

    /// The offset after the last batch.
    ///
    /// # Errors
    /// [`LogError::CorruptRecord`] where the file does not end with a whole batch.
    pub(crate) fn read_next_offset(&mut self) -> Result<i64> {
        let last_indexed = self.offset_index.last_offset();
        let start = self.offset_index.lookup(last_indexed)?.position;
        let mut next = self.base_offset;
        if start < self.size {
            let file = self.file()?;
            let mut scanner = Scanner::new(&file, start..self.size, HEADER_SCAN_CHUNK);
            loop {
                match scanner.next()? {
                    Scanned::Batch { header, .. } => next = header.next_offset(),
                    Scanned::End { position } if position == self.size => break,
                    Scanned::End { position } => return Err(self.damaged(position, "part of a batch")),
                    Scanned::Damaged { position, reason } => return Err(self.damaged(position, reason)),
                }
            }
        }
        Ok(next)
    }

    /// Removes batches from the first one that holds `offset` or more; gives the number of bytes removed.
    pub(crate) fn truncate_to(&mut self, offset: i64, now_ms: i64) -> Result<u64> {
        let mapping = self.translate_offset(offset)?;
        self.offset_index.truncate_to(offset)?;
        self.time_index.truncate_to(offset)?;
        self.txn_index.truncate_to(offset)?;
        let mut removed = 0;
        if let Some(batch) = mapping {
            removed = self.size - batch.position;
            self.truncate_file(batch.position)?;
        }
        if self.size == 0 {
            self.created_ms = now_ms;
            self.rolling_based_timestamp = None;
        }
        self.bytes_since_last_index_entry = 0;
        if self.max_timestamp_so_far.timestamp >= 0 {
            self.max_timestamp_so_far = self.read_largest_timestamp()?;
        }
        Ok(removed)
    }

    /// Removes all batches.
    pub(crate) fn clear(&mut self, now_ms: i64) -> Result<()> {
        self.truncate_file(0)?;
        self.offset_index.reset()?;
        self.time_index.reset()?;
        self.txn_index.reset()?;
        self.created_ms = now_ms;
        self.rolling_based_timestamp = None;
        self.bytes_since_last_index_entry = 0;
        self.max_timestamp_so_far = self.time_index.last_entry();
        Ok(())
    }

    fn truncate_file(&mut self, size: u64) -> Result<()> {
        self.file.keep(&self.path, false)?.set_len(size)?;
        self.size = size;
        self.is_unsynced = true;
        Ok(())
    }

    fn read_largest_timestamp(&mut self) -> Result<TimestampOffset> {
        let mut largest = self.time_index.last_entry();
        let start = self.offset_index.lookup(largest.offset)?.position;
        if start < self.size {
            let file = self.file()?;
            let mut scanner = Scanner::new(&file, start..self.size, HEADER_SCAN_CHUNK);
            while let Scanned::Batch { header, .. } = scanner.next()? {
                if header.max_timestamp() > largest.timestamp {
                    largest = TimestampOffset { timestamp: header.max_timestamp(), offset: header.last_offset() };
                }
            }
        }
        Ok(largest)
    }

    /// The first batch that may hold a record at or after `timestamp` and `starting_offset`, by its max timestamp.
    pub(crate) fn find_batch_by_timestamp(
        &mut self,
        timestamp: i64,
        starting_offset: i64,
    ) -> Result<Option<BatchPosition>> {
        let from = self.time_index.lookup(timestamp)?.offset.max(starting_offset);
        let start = self.offset_index.lookup(from)?.position;
        self.first_batch_where(start, |h| h.max_timestamp() >= timestamp && h.last_offset() >= starting_offset)
    }

    /// Closes the files, which are opened for reading only from now on: nothing will be appended any more.
    pub(crate) fn on_become_inactive(&mut self) -> Result<()> {
        let entries = self.time_index.file.entries();
        self.time_index.maybe_append(self.max_timestamp_so_far)?;
        self.is_unsynced |= self.time_index.file.entries() > entries;
        self.offset_index.file.seal()?;
        self.time_index.file.seal()?;
        if self.is_preallocated {
            self.file()?.set_len(self.size)?;
            self.is_preallocated = false;
        }
        self.txn_index.seal();
        self.file.release();
        Ok(())
    }

    /// Brings everything into the files.
    pub(crate) fn close(&mut self) -> Result<()> {
        self.on_become_inactive()
    }

    /// The open files, for a flush outside of the log's lock. Index entries are written first.
    pub(crate) fn files_to_flush(&mut self) -> Result<Vec<Arc<File>>> {
        if !self.is_unsynced {
            return Ok(Vec::new());
        }
        self.offset_index.file.write_tail()?;
        self.time_index.file.write_tail()?;
        let mut files = vec![self.file()?, self.offset_index.file.shared_file()?, self.time_index.file.shared_file()?];
        files.extend(self.txn_index.shared_file()?);
        Ok(files)
    }

    /// Waits until everything is on disk.
    pub(crate) fn flush(&mut self) -> Result<()> {
        for file in self.files_to_flush()? {
            file::sync_data(&file)?;
        }
        self.is_unsynced = false;
        Ok(())
    }

    /// Whether something was written that is not known to be on disk.
    pub(crate) fn is_unsynced(&self) -> bool {
        self.is_unsynced
    }

    /// Says that what [`LogSegment::files_to_flush`] gave is on disk, or about to be.
    pub(crate) fn mark_synced(&mut self) {
        self.is_unsynced = false;
    }

    /// Says that the files may not be on disk, although nothing was written to them by this process.
    pub(crate) fn mark_unsynced(&mut self) {
        self.is_unsynced = true;
    }

    /// Timestamp of the latest record, or when the file was last written where records have none.
    pub(crate) fn largest_timestamp(&self) -> Result<i64> {
        match self.largest_record_timestamp() {
            Some(timestamp) => Ok(timestamp),
            None => self.last_modified_ms(),
        }
    }

    pub(crate) fn largest_record_timestamp(&self) -> Option<i64> {
        (self.max_timestamp_so_far.timestamp >= 0).then_some(self.max_timestamp_so_far.timestamp)
    }

    pub(crate) fn last_modified_ms(&self) -> Result<i64> {
        let modified = std::fs::metadata(&self.path)?.modified()?;
        Ok(modified.duration_since(UNIX_EPOCH).map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX)))
    }

    /// Renames all files; gives their new paths.
    pub(crate) fn change_suffix(&mut self, old: &str, new: &str) -> Result<Vec<PathBuf>> {
        let renamed = |path: &Path| {
            let path = path.to_string_lossy();
            PathBuf::from(format!("{}{new}", path.strip_suffix(old).unwrap_or(&path)))
        };
        let paths: Vec<PathBuf> = self.paths().iter().map(|path| renamed(path)).collect();
        // The data first: after a crash in between, indexes without data are removed when the log is opened.
        for from in &self.paths() {
            file::rename_if_exists(from, &renamed(from))?;
        }
        self.offset_index.file.set_path(renamed(self.offset_index.file.path()));
        self.time_index.file.set_path(renamed(self.time_index.file.path()));
        self.txn_index.set_path(renamed(self.txn_index.path()));
        self.path = renamed(&self.path);
        Ok(paths)
    }

    fn damaged(&self, position: u64, reason: &str) -> LogError {
        LogError::CorruptRecord(format!("{reason} at position {position} of {}", self.path.display()))
    }
}
