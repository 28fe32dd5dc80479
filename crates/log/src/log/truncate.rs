//! Truncating the end of the log.

use vltava_protocol::TimestampMs;

use super::Log;
use crate::error::{LogError, Result};

impl Log {
    /// Removes records at and above `target_offset`: from the first batch that holds one of them. Whether anything
    /// was removed.
    ///
    /// # Errors
    /// [`LogError::InvalidArgument`] for a negative offset; [`LogError::Storage`], [`LogError::Offline`].
    pub fn truncate_to(&mut self, target_offset: i64, now: TimestampMs) -> Result<bool> {
        let TimestampMs(now_ms) = now;
        if target_offset < 0 {
            return Err(LogError::InvalidArgument(format!(
                "cannot truncate partition {} to a negative offset ({target_offset})",
                self.topic_partition
            )));
        }
        if target_offset < self.high_watermark() {
            tracing::warn!(
                partition = %self.topic_partition,
                "truncating to offset {target_offset} below high watermark {}",
                self.high_watermark()
            );
        }
        self.guarded("truncating the log", |log| {
            if target_offset >= log.log_end_offset() {
                log.leader_epochs.truncate_from_end(log.log_end_offset())?;
                return Ok(false);
            }
            if log.segments.first_key_value().is_none_or(|(base, _)| *base > target_offset) {
                log.restart_at(target_offset, None, now_ms)?;
                return Ok(true);
            }
            let above = log.segments.split_off(&(target_offset + 1));
            log.delete_segments(above.into_values().collect())?;
            log.active_segment()?.truncate_to(target_offset, now_ms)?;
            // A batch that began below the target went as a whole: offsets are not used twice, there is a gap.
            log.update_log_end_offset(target_offset);
            log.leader_epochs.truncate_from_end(target_offset)?;
            log.log_start_offset = log.log_start_offset.min(target_offset);
            log.rebuild_producer_state(target_offset, now_ms, false)?;
            if log.high_watermark() >= log.log_end_offset() {
                log.update_high_watermark(log.log_end_offset());
            }
            Ok(true)
        })
    }

    /// Removes everything and goes on at `new_offset`. The log start offset is that too, unless another is given.
    ///
    /// # Errors
    /// [`LogError::Storage`], [`LogError::Offline`].
    pub fn truncate_fully_and_start_at(
        &mut self,
        new_offset: i64,
        log_start_offset: Option<i64>,
        now: TimestampMs,
    ) -> Result<()> {
        self.guarded("truncating the entire log", |log| log.restart_at(new_offset, log_start_offset, now.0))
    }

    fn restart_at(&mut self, new_offset: i64, log_start_offset: Option<i64>, now_ms: i64) -> Result<()> {
        let all = std::mem::take(&mut self.segments);
        self.delete_segments(all.into_values().collect())?;
        self.add_segment(new_offset, now_ms)?;
        self.update_log_end_offset(new_offset);
        self.leader_epochs.clear_and_write()?;
        self.producers.truncate_fully_and_start_at(new_offset)?;
        self.log_start_offset = log_start_offset.unwrap_or(new_offset);
        self.recovery_point = self.recovery_point.max(self.log_start_offset).min(new_offset);
        self.rebuild_producer_state(new_offset, now_ms, false)?;
        self.update_high_watermark(new_offset);
        Ok(())
    }
}
