//! Rebuilding a segment's indexes from its data, and cutting what is damaged at its end.

use vltava_protocol::record::NO_TIMESTAMP;

use super::LogSegment;
use crate::batch::{BatchHeader, Scanned, Scanner, crc_matches, end_txn_marker};
use crate::error::{LogError, Result};
use crate::leader_epoch::LeaderEpochCache;
use crate::log_offset::LogOffsetMetadata;
use crate::producer_state::ProducerStateManager;
use crate::time_index::TimestampOffset;
use crate::transaction_index::AbortedTransaction;

/// Everything is read, so in large pieces.
const RECOVERY_CHUNK: usize = 1024 * 1024;

/// What a recovery of a segment did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recovered {
    /// All valid batches were kept and this many bytes after them removed.
    Truncated(u64),
    /// Offsets do not grow, so the segment cannot be indexed.
    InvalidOffsets,
}

impl LogSegment {
    /// Checks every batch, rebuilds the indexes, replays producer state and leader epochs, and truncates the segment
    /// at the first batch that is not whole and valid.
    pub(crate) fn recover(
        &mut self,
        producers: &mut ProducerStateManager,
        leader_epochs: &mut LeaderEpochCache,
    ) -> Result<Recovered> {
        self.is_unsynced = true;
        self.offset_index.reset()?;
        self.time_index.reset()?;
        self.txn_index.reset()?;
        self.max_timestamp_so_far = TimestampOffset { timestamp: NO_TIMESTAMP, offset: self.base_offset };
        self.rolling_based_timestamp = None;
        let file = self.file()?;
        let mut scanner = Scanner::new(&file, 0..self.size, RECOVERY_CHUNK);
        let mut last_index_entry = 0;
        let valid_bytes = loop {
            let (position, size, header) = match scanner.next()? {
                Scanned::Batch { position, size, header } => (position, size, header),
                Scanned::End { position } => break position,
                Scanned::Damaged { position, reason } => {
                    if let Some(magic) = scanner.legacy_magic(position)? {
                        return Err(LogError::OldMessageFormat { path: self.path.clone(), position, magic });
                    }
                    self.report_invalid(position, reason);
                    break position;
                }
            };
            let batch = scanner.batch(position, size)?;
            if !crc_matches(&header, batch) {
                self.report_invalid(position, "the checksum is wrong");
                break position;
            }
            if !self.offset_index.can_append_offset(header.last_offset()) {
                // Not written by this crate, which rolls before that.
                self.report_invalid(position, "the offset is too far from the segment's base offset");
                break position;
            }
            if header.max_timestamp() > self.max_timestamp_so_far.timestamp {
                self.max_timestamp_so_far =
                    TimestampOffset { timestamp: header.max_timestamp(), offset: header.last_offset() };
            }
            if position - last_index_entry > self.index_interval_bytes {
                if self.offset_index.append(header.last_offset(), position)?.is_err() {
                    return Ok(Recovered::InvalidOffsets);
                }
                self.time_index.maybe_append(self.max_timestamp_so_far)?;
                last_index_entry = position;
            }
            if header.partition_leader_epoch() >= 0
                && leader_epochs.latest().is_none_or(|e| header.partition_leader_epoch() > e.epoch)
            {
                leader_epochs.assign(header.partition_leader_epoch(), header.base_offset())?;
            }
            let marker = end_txn_marker(&header, batch);
            self.replay_producer(producers, &header, marker)?;
        };
        let truncated = self.size - valid_bytes;
        if truncated > 0 {
            self.truncate_file(valid_bytes)?;
        }
        self.time_index.maybe_append(self.max_timestamp_so_far)?;
        self.bytes_since_last_index_entry = 0;
        self.offset_index.file.seal()?;
        self.time_index.file.seal()?;
        self.txn_index.seal();
        self.file.release();
        Ok(Recovered::Truncated(truncated))
    }

    fn replay_producer(
        &mut self,
        producers: &mut ProducerStateManager,
        header: &BatchHeader,
        marker: Option<crate::producer_state::EndTxnMarker>,
    ) -> Result<()> {
        if header.has_producer_id() {
            let mut info = producers.prepare_update(header.producer_id(), false).replicated();
            let mut completed = None;
            if header.is_control() {
                if let Some(marker) = marker {
                    completed = info.append_end_txn(header, marker, 0)?;
                }
            } else {
                info.append_data(header, LogOffsetMetadata::only(header.base_offset()))?;
            }
            producers.update(info);
            if let Some(txn) = completed {
                let last_stable_offset = producers.last_stable_offset(&txn);
                if txn.is_aborted {
                    self.txn_index.append(AbortedTransaction {
                        producer_id: txn.producer_id,
                        first_offset: txn.first_offset,
                        last_offset: txn.last_offset,
                        last_stable_offset,
                    })?;
                }
                producers.complete_txn(&txn)?;
            }
        }
        producers.update_map_end_offset(header.next_offset());
        Ok(())
    }

    fn report_invalid(&self, position: u64, reason: &str) {
        tracing::warn!(
            segment = %self.path.display(),
            position,
            "found invalid messages in log segment at byte offset {position}: {reason}"
        );
    }
}
