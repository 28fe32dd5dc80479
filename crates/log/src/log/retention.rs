//! Deleting old segments.

use super::{Log, LogStartOffsetIncrementReason};
use crate::error::Result;
use crate::segment::LogSegment;

impl Log {
    /// Deletes segments that are too old, too many, or below the log start offset; gives their number. Their files go
    /// after `file.delete.delay.ms`.
    ///
    /// # Errors
    /// [`LogError::Storage`](crate::LogError::Storage), [`LogError::Offline`](crate::LogError::Offline).
    pub fn delete_old_segments(&mut self, now_ms: i64) -> Result<usize> {
        self.guarded("deleting segments", |log| {
            let mut deleted = log.delete_start_offset_breached(now_ms)?;
            if log.config.delete {
                deleted += log.delete_retention_size_breached(now_ms)?;
                deleted += log.delete_retention_ms_breached(now_ms)?;
            }
            Ok(deleted)
        })
    }

    fn delete_start_offset_breached(&mut self, now_ms: i64) -> Result<usize> {
        let start = self.log_start_offset;
        self.delete_while(now_ms, "log start offset breach", |_, next| Ok(next.is_some_and(|next| next <= start)))
    }

    fn delete_retention_ms_breached(&mut self, now_ms: i64) -> Result<usize> {
        let retention_ms = self.config.retention_ms;
        if retention_ms < 0 {
            return Ok(0);
        }
        self.delete_while(now_ms, "log retention time breach", |segment, _| {
            Ok(now_ms.saturating_sub(segment.largest_timestamp()?) > retention_ms)
        })
    }

    fn delete_retention_size_breached(&mut self, now_ms: i64) -> Result<usize> {
        let Ok(retention_bytes) = u64::try_from(self.config.retention_bytes) else { return Ok(0) };
        let Some(mut excess) = self.size().checked_sub(retention_bytes) else { return Ok(0) };
        self.delete_while(now_ms, "log retention size breach", |segment, _| {
            Ok(match excess.checked_sub(segment.size()) {
                Some(left) => {
                    excess = left;
                    true
                }
                None => false,
            })
        })
    }

    /// Deletes segments from the first one on as long as `should_delete` says so, given the base offset of the next
    /// one. Nothing above the high watermark goes.
    fn delete_while(
        &mut self,
        now_ms: i64,
        reason: &str,
        mut should_delete: impl FnMut(&LogSegment, Option<i64>) -> Result<bool>,
    ) -> Result<usize> {
        let bases: Vec<i64> = self.segments.keys().copied().collect();
        let mut deletable = Vec::new();
        for (n, base) in bases.iter().enumerate() {
            let next = bases.get(n + 1).copied();
            let Some(segment) = self.segments.get(base) else { break };
            let upper_bound = next.unwrap_or_else(|| self.log_end_offset());
            let is_last_and_empty = next.is_none() && segment.size() == 0;
            let is_below = self.high_watermark() >= upper_bound;
            if !is_below || is_last_and_empty || !should_delete(segment, next)? {
                break;
            }
            deletable.push(*base);
        }
        if deletable.is_empty() {
            return Ok(0);
        }
        if deletable.len() == self.segments.len() {
            // There is always a segment to append to.
            self.roll_at(0, now_ms)?;
        }
        let first_kept = self.segments.keys().find(|base| !deletable.contains(base)).copied();
        if let Some(first_kept) = first_kept {
            self.increment_log_start_offset(first_kept)?;
        }
        tracing::info!(partition = %self.topic_partition, segments = ?deletable, "deleting segments due to {reason}");
        let segments = deletable.iter().filter_map(|base| self.segments.remove(base)).collect();
        self.delete_segments(segments)?;
        Ok(deletable.len())
    }

    fn increment_log_start_offset(&mut self, offset: i64) -> Result<()> {
        let reason = LogStartOffsetIncrementReason::SegmentDeletion;
        self.maybe_increment_log_start_offset(offset, reason)?;
        Ok(())
    }
}
