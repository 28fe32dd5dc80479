//! High watermark, last stable offset and log start offset.

use super::Log;
use crate::error::{LogError, Result};
use crate::log_offset::LogOffsetMetadata;

/// Why the log start offset moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogStartOffsetIncrementReason {
    /// The leader's moved.
    LeaderOffsetIncremented,
    /// Retention removed segments.
    SegmentDeletion,
    /// A client asked for it (DeleteRecords).
    ClientRecordDeletion,
    /// A snapshot of the metadata log covers what is below.
    SnapshotGenerated,
}

impl Log {
    /// The first offset that is not yet known to be on all in-sync replicas.
    pub fn high_watermark(&self) -> i64 {
        self.high_watermark.message_offset
    }

    /// Below this offset all transactions are decided and replicated.
    pub fn last_stable_offset(&self) -> i64 {
        let high_watermark = self.high_watermark();
        self.first_unstable_offset.map_or(high_watermark, |offset| offset.message_offset.min(high_watermark))
    }

    /// The first offset of the oldest transaction that is open or not yet replicated.
    pub fn first_unstable_offset(&self) -> Option<i64> {
        self.first_unstable_offset.map(|offset| offset.message_offset)
    }

    /// The first offset of the oldest open transaction.
    pub fn first_undecided_offset(&self) -> Option<i64> {
        self.producers.first_undecided_offset()
    }

    /// Moves the high watermark up to the log end offset, as the leader of a partition with one replica does after an
    /// append. Whether it moved.
    ///
    /// # Errors
    /// [`LogError::Storage`], [`LogError::Offline`].
    pub fn advance_high_watermark_to_log_end(&mut self) -> Result<bool> {
        Ok(self.maybe_increment_high_watermark(self.next_offset)?.is_some())
    }

    /// Moves the high watermark up; the old one where it moved.
    ///
    /// # Errors
    /// [`LogError::InvalidArgument`] above the log end offset; [`LogError::Storage`], [`LogError::Offline`].
    pub fn maybe_increment_high_watermark(&mut self, new: LogOffsetMetadata) -> Result<Option<LogOffsetMetadata>> {
        if new.message_offset > self.log_end_offset() {
            return Err(LogError::InvalidArgument(format!(
                "high watermark {} update exceeds current log end offset {}",
                new.message_offset,
                self.log_end_offset()
            )));
        }
        self.check_usable()?;
        let old = self.high_watermark;
        let is_later_place = old.message_offset == new.message_offset
            && old.segment_base_offset.is_some()
            && old.segment_base_offset < new.segment_base_offset;
        if old.message_offset < new.message_offset || is_later_place {
            self.set_high_watermark(new);
            return Ok(Some(old));
        }
        Ok(None)
    }

    /// Sets the high watermark, within the log's bounds; gives what it is then. For a follower, which is told by the
    /// leader, and at start.
    pub fn update_high_watermark(&mut self, offset: i64) -> i64 {
        let new = if offset < self.log_start_offset {
            LogOffsetMetadata::only(self.log_start_offset)
        } else if offset >= self.log_end_offset() {
            self.next_offset
        } else {
            LogOffsetMetadata::only(offset)
        };
        self.set_high_watermark(new);
        new.message_offset
    }

    fn set_high_watermark(&mut self, new: LogOffsetMetadata) {
        if new.message_offset < self.high_watermark.message_offset {
            tracing::warn!(
                partition = %self.topic_partition,
                "non-monotonic update of high watermark from {} to {}",
                self.high_watermark.message_offset,
                new.message_offset
            );
        }
        self.high_watermark = new;
        self.producers.on_high_watermark_updated(new.message_offset);
        self.refresh_first_unstable_offset();
    }

    /// Where the log end offset is the high watermark, its place moves with a roll.
    pub(super) fn update_high_watermark_with_log_end_offset(&mut self) {
        if self.high_watermark() >= self.log_end_offset() {
            self.set_high_watermark(self.next_offset);
        }
    }

    pub(super) fn maybe_increment_first_unstable_offset(&mut self) -> Result<()> {
        self.refresh_first_unstable_offset();
        Ok(())
    }

    fn refresh_first_unstable_offset(&mut self) {
        self.first_unstable_offset = self.producers.first_unstable_offset().map(|offset| {
            if offset.message_offset < self.log_start_offset {
                LogOffsetMetadata::only(self.log_start_offset)
            } else {
                offset
            }
        });
    }

    /// Moves the log start offset up, so that nothing below it can be read. Segments below it go with the next
    /// retention. Whether it moved.
    ///
    /// # Errors
    /// [`LogError::OffsetOutOfRange`] above the high watermark; [`LogError::Storage`], [`LogError::Offline`].
    pub fn maybe_increment_log_start_offset(
        &mut self,
        new: i64,
        reason: LogStartOffsetIncrementReason,
    ) -> Result<bool> {
        self.guarded("increasing the log start offset", |log| {
            if new > log.high_watermark() {
                return Err(LogError::OffsetOutOfRange(format!(
                    "Cannot increment the log start offset to {new} of partition {} since it is larger than the high \
                     watermark {}",
                    log.topic_partition,
                    log.high_watermark()
                )));
            }
            if new <= log.log_start_offset {
                return Ok(false);
            }
            log.log_start_offset = new;
            log.recovery_point = log.recovery_point.max(new);
            tracing::info!(partition = %log.topic_partition, "incremented log start offset to {new} due to {reason:?}");
            log.leader_epochs.truncate_from_start(new)?;
            log.producers.on_log_start_offset_incremented(new);
            log.maybe_increment_first_unstable_offset()?;
            Ok(true)
        })
    }

    pub(super) fn fetch_high_watermark(&mut self) -> Result<LogOffsetMetadata> {
        if self.high_watermark.message_offset_only() {
            self.high_watermark = self.locate(self.high_watermark.message_offset)?;
        }
        Ok(self.high_watermark)
    }

    pub(super) fn fetch_last_stable_offset(&mut self) -> Result<LogOffsetMetadata> {
        let high_watermark = self.fetch_high_watermark()?;
        match self.first_unstable_offset {
            Some(unstable) if unstable.message_offset < high_watermark.message_offset => {
                let located =
                    if unstable.message_offset_only() { self.locate(unstable.message_offset)? } else { unstable };
                self.first_unstable_offset = Some(located);
                Ok(located)
            }
            _ => Ok(high_watermark),
        }
    }

    /// Finds where an offset is; only the offset where that cannot be said.
    pub(super) fn locate(&mut self, offset: i64) -> Result<LogOffsetMetadata> {
        if offset == self.log_end_offset() {
            return Ok(self.next_offset);
        }
        let mut base = self.floor_base_offset(offset);
        while let Some(segment) = self.segments.get_mut(&base) {
            if let Some(batch) = segment.translate_offset(offset)? {
                return Ok(LogOffsetMetadata::at(offset, base, batch.position));
            }
            match self.segments.range(base + 1..).next() {
                Some((next, _)) => base = *next,
                None => break,
            }
        }
        Ok(LogOffsetMetadata::only(offset))
    }
}
