//! Reading by offset.

use std::fs::File;
use std::sync::Arc;

use bytes::Bytes;

use super::Log;
use crate::error::{LogError, Result};
use crate::file;
use crate::log_dir::LogDir;
use crate::log_offset::LogOffsetMetadata;
use crate::transaction_index::AbortedTransaction;

/// Up to where a reader may see the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchIsolation {
    /// The log end offset: for replicas.
    LogEnd,
    /// The high watermark: for consumers.
    HighWatermark,
    /// The last stable offset: for consumers of committed data, who also learn of aborted transactions.
    TxnCommitted,
}

/// A range of a segment's file, found by [`Log::read`] and read without the log's lock.
#[derive(Debug)]
pub struct ReadPlan {
    /// Offset that was asked for, and where the first batch that holds it begins.
    pub fetch_offset: LogOffsetMetadata,
    /// Whether the first batch is larger than the limit, so that only a part of it is in the range.
    pub first_entry_incomplete: bool,
    /// Aborted transactions in the range, for [`FetchIsolation::TxnCommitted`].
    pub aborted_transactions: Option<Vec<AbortedTransaction>>,
    file: Option<Arc<File>>,
    position: u64,
    length: usize,
    log_dir: Arc<LogDir>,
}

impl ReadPlan {
    /// Bytes that will be read.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there is nothing to read.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The file and the position of the range in it, for sending it without reading it; `None` where the range is
    /// empty. The file stays readable when the segment is deleted.
    ///
    /// # Errors
    /// [`LogError::Offline`], if the log directory is.
    pub fn file_range(&self) -> Result<Option<(&Arc<File>, u64)>> {
        self.log_dir.check()?;
        Ok(self.file.as_ref().map(|file| (file, self.position)))
    }

    /// Reads the batches, in one read. The last one may be cut off.
    ///
    /// # Errors
    /// [`LogError::Storage`]; the log directory is offline then.
    pub fn read(&self) -> Result<Bytes> {
        let Some(file) = &self.file else { return Ok(Bytes::new()) };
        self.log_dir.check()?;
        let mut buffer = Vec::with_capacity(self.length);
        let read = file::read_up_to_at(file, &mut buffer, self.length, self.position).map_err(LogError::from);
        self.log_dir.guard(read, || format!("error while reading a segment in {}", self.log_dir.path().display()))?;
        Ok(Bytes::from(buffer))
    }
}

impl Log {
    /// Finds the batches from the one that holds `start_offset` on, up to `max_bytes`. With `min_one_message` the
    /// first batch is whole, however large it is.
    ///
    /// A read never crosses from one segment into the next, so it may give less than there is.
    ///
    /// # Errors
    /// [`LogError::OffsetOutOfRange`] below the log start offset and above the log end offset;
    /// [`LogError::CorruptRecord`], [`LogError::Storage`], [`LogError::Offline`].
    pub fn read(
        &mut self,
        start_offset: i64,
        max_bytes: usize,
        isolation: FetchIsolation,
        min_one_message: bool,
    ) -> Result<ReadPlan> {
        self.guarded("reading", |log| log.read_unguarded(start_offset, max_bytes, isolation, min_one_message))
    }

    fn read_unguarded(
        &mut self,
        start_offset: i64,
        max_bytes: usize,
        isolation: FetchIsolation,
        min_one_message: bool,
    ) -> Result<ReadPlan> {
        if start_offset < self.log_start_offset {
            return Err(LogError::OffsetOutOfRange(format!(
                "Received request for offset {start_offset} for partition {}, but we only have log segments starting \
                 from offset: {}.",
                self.topic_partition, self.log_start_offset
            )));
        }
        if start_offset > self.log_end_offset() {
            return Err(LogError::OffsetOutOfRange(format!(
                "Received request for offset {start_offset} for partition {}, but we only have log segments upto {}.",
                self.topic_partition,
                self.log_end_offset()
            )));
        }
        let max_offset = match isolation {
            FetchIsolation::LogEnd => self.next_offset,
            FetchIsolation::HighWatermark => self.fetch_high_watermark()?,
            FetchIsolation::TxnCommitted => self.fetch_last_stable_offset()?,
        };
        let includes_aborted = isolation == FetchIsolation::TxnCommitted;
        if start_offset >= max_offset.message_offset {
            let at = if start_offset == max_offset.message_offset {
                max_offset
            } else {
                LogOffsetMetadata::only(start_offset)
            };
            return Ok(self.empty_plan(at, includes_aborted));
        }
        let mut base = self.floor_base_offset(start_offset);
        loop {
            let Some(segment) = self.segments.get_mut(&base) else {
                return Ok(self.empty_plan(self.next_offset, includes_aborted));
            };
            if let Some(batch) = segment.translate_offset(start_offset)? {
                // A batch that begins in a segment above the limit, or where the limit's place is unknown, is not read.
                let max_position = match max_offset.segment_base_offset {
                    Some(limit) if base < limit => segment.size(),
                    Some(limit) if base == limit => max_offset.relative_position_in_segment,
                    _ => batch.position,
                };
                let at = LogOffsetMetadata::at(batch.header.base_offset(), base, batch.position);
                let limit = if min_one_message { max_bytes.max(batch.size) } else { max_bytes };
                let length = max_position.saturating_sub(batch.position).min(limit as u64) as usize;
                if length == 0 {
                    return Ok(self.empty_plan(at, includes_aborted));
                }
                let file = Some(segment.file()?);
                let aborted_transactions = if includes_aborted {
                    Some(self.aborted_in(start_offset, base, batch.position, length)?)
                } else {
                    None
                };
                return Ok(ReadPlan {
                    fetch_offset: at,
                    first_entry_incomplete: limit < batch.size,
                    aborted_transactions,
                    file,
                    position: batch.position,
                    length,
                    log_dir: Arc::clone(&self.log_dir),
                });
            }
            // Compaction may have emptied the rest of the segment.
            base = match self.segments.range(base + 1..).next() {
                Some((next, _)) => *next,
                None => return Ok(self.empty_plan(self.next_offset, includes_aborted)),
            };
        }
    }

    fn empty_plan(&self, fetch_offset: LogOffsetMetadata, includes_aborted: bool) -> ReadPlan {
        ReadPlan {
            fetch_offset,
            first_entry_incomplete: false,
            aborted_transactions: includes_aborted.then(Vec::new),
            file: None,
            position: 0,
            length: 0,
            log_dir: Arc::clone(&self.log_dir),
        }
    }

    fn aborted_in(
        &mut self,
        start_offset: i64,
        base: i64,
        position: u64,
        length: usize,
    ) -> Result<Vec<AbortedTransaction>> {
        let next_base = self.segments.range(base + 1..).next().map(|(next, _)| *next);
        let log_end_offset = self.log_end_offset();
        let upper_bound = match self.segments.get_mut(&base) {
            Some(segment) => segment.offset_index().fetch_upper_bound_offset(position, length as u64)?,
            None => None,
        };
        let upper_bound = upper_bound.unwrap_or_else(|| next_base.unwrap_or(log_end_offset));
        self.collect_aborted(base, start_offset, upper_bound)
    }

    /// The aborted transactions that overlap with `start_offset..upper_bound_offset`.
    ///
    /// # Errors
    /// [`LogError::Storage`], [`LogError::Offline`].
    pub fn collect_aborted_transactions(
        &mut self,
        start_offset: i64,
        upper_bound_offset: i64,
    ) -> Result<Vec<AbortedTransaction>> {
        let base = self.floor_base_offset(start_offset);
        self.guarded("reading aborted transactions", |log| log.collect_aborted(base, start_offset, upper_bound_offset))
    }

    pub(super) fn collect_aborted(
        &mut self,
        base: i64,
        start: i64,
        upper_bound: i64,
    ) -> Result<Vec<AbortedTransaction>> {
        let mut aborted = Vec::new();
        for (_, segment) in self.segments.range_mut(base..) {
            let found = segment.txn_index().collect(start, upper_bound)?;
            aborted.extend(found.aborted);
            if found.is_complete {
                break;
            }
        }
        Ok(aborted)
    }
}
