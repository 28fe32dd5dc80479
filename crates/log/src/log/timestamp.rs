//! Offsets by timestamp, for ListOffsets.

use bytes::Bytes;
use vltava_protocol::record::{Decompressor, NO_TIMESTAMP, RecordBatch, TimestampType};

use super::Log;
use crate::batch::BatchHeader;
use crate::error::{LogError, Result};
use crate::file;
use crate::segment::{BatchPosition, LogSegment};

/// What offset is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampQuery {
    /// The log start offset (-2).
    Earliest,
    /// The log end offset (-1); the caller limits it by isolation level.
    Latest,
    /// The first record with the largest timestamp (-3, KIP-734).
    MaxTimestamp,
    /// The first record at or after this time, in milliseconds.
    At(i64),
}

/// An offset and what is known of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampAndOffset {
    /// The record's timestamp, -1 for [`TimestampQuery::Earliest`] and [`TimestampQuery::Latest`].
    pub timestamp: i64,
    /// The offset.
    pub offset: i64,
    /// The leader epoch that the offset was written in.
    pub leader_epoch: Option<i32>,
}

impl Log {
    /// Looks an offset up by time; `None` where no record is late enough.
    ///
    /// # Errors
    /// [`LogError::CorruptRecord`], [`LogError::Storage`], [`LogError::Offline`].
    pub fn fetch_offset_by_timestamp(&mut self, query: TimestampQuery) -> Result<Option<TimestampAndOffset>> {
        self.guarded("looking an offset up by timestamp", |log| match query {
            TimestampQuery::Earliest => {
                let first = log.leader_epochs.entries().first();
                let leader_epoch = first.filter(|e| e.start_offset <= log.log_start_offset).map(|e| e.epoch);
                let offset = log.log_start_offset;
                Ok(Some(TimestampAndOffset { timestamp: NO_TIMESTAMP, offset, leader_epoch }))
            }
            TimestampQuery::Latest => Ok(Some(TimestampAndOffset {
                timestamp: NO_TIMESTAMP,
                offset: log.log_end_offset(),
                leader_epoch: log.leader_epochs.latest().map(|e| e.epoch),
            })),
            TimestampQuery::MaxTimestamp => log.offset_of_max_timestamp(),
            TimestampQuery::At(timestamp) => log.search_by_timestamp(timestamp),
        })
    }

    fn offset_of_max_timestamp(&mut self) -> Result<Option<TimestampAndOffset>> {
        let mut latest: Option<(i64, i64)> = None;
        for (base, segment) in &self.segments {
            let timestamp = segment.max_timestamp_so_far().timestamp;
            if latest.is_none_or(|(_, best)| timestamp > best) {
                latest = Some((*base, timestamp));
            }
        }
        let Some((base, timestamp)) = latest.filter(|(_, timestamp)| *timestamp >= 0) else { return Ok(None) };
        let Some(segment) = self.segments.get_mut(&base) else { return Ok(None) };
        let hint = segment.max_timestamp_so_far().offset;
        let start = segment.offset_index().lookup(hint)?.position;
        let Some(batch) = segment.first_batch_where(start, |h| h.max_timestamp() == timestamp)? else {
            return Ok(None);
        };
        find_in_batch(segment, &batch, timestamp, 0)
    }

    fn search_by_timestamp(&mut self, timestamp: i64) -> Result<Option<TimestampAndOffset>> {
        let start = self.log_start_offset;
        for segment in self.segments.values_mut() {
            if segment.largest_timestamp()? < timestamp {
                continue;
            }
            // What is late enough may lie below the log start offset: then a later batch or segment has the answer.
            let Some(batch) = segment.find_batch_by_timestamp(timestamp, start)? else { continue };
            if let Some(found) = find_from(segment, batch, timestamp, start)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

/// The first record at or after `timestamp` and `start` in `batch` or the batches after it.
fn find_from(
    segment: &mut LogSegment,
    mut batch: BatchPosition,
    timestamp: i64,
    start: i64,
) -> Result<Option<TimestampAndOffset>> {
    loop {
        if let Some(found) = find_in_batch(segment, &batch, timestamp, start)? {
            return Ok(Some(found));
        }
        let next = batch.position + batch.size as u64;
        let matches = |h: &BatchHeader| h.max_timestamp() >= timestamp && h.last_offset() >= start;
        match segment.first_batch_where(next, matches)? {
            None => return Ok(None),
            Some(found) => batch = found,
        }
    }
}

/// The first record in a batch at or after `timestamp` and `start`.
fn find_in_batch(
    segment: &mut LogSegment,
    position: &BatchPosition,
    timestamp: i64,
    start: i64,
) -> Result<Option<TimestampAndOffset>> {
    let mut bytes = vec![0; position.size];
    file::read_exact_at(&*segment.file()?, &mut bytes, position.position)?;
    let corrupt = |e: vltava_protocol::record::RecordError| LogError::CorruptRecord(e.to_string());
    let batch = RecordBatch::parse(Bytes::from(bytes)).map_err(corrupt)?;
    let leader_epoch = Some(batch.partition_leader_epoch()).filter(|epoch| *epoch >= 0);
    // All records of such a batch have the same time.
    if batch.timestamp_type() == TimestampType::LogAppendTime && batch.base_offset() >= start {
        let offset = batch.base_offset();
        return Ok(Some(TimestampAndOffset { timestamp: batch.max_timestamp(), offset, leader_epoch }));
    }
    // What was appended is looked through whatever limit holds now: as outlines it takes time, and no memory.
    let mut decompressor = Decompressor::with_limit(usize::MAX);
    for record in batch.outlines(&mut decompressor).map_err(corrupt)? {
        let record = record.map_err(corrupt)?;
        if record.timestamp >= timestamp && record.offset >= start {
            let (timestamp, offset) = (record.timestamp, record.offset);
            return Ok(Some(TimestampAndOffset { timestamp, offset, leader_epoch }));
        }
    }
    Ok(None)
}
