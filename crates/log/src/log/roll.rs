//! Rolling segments, and removing their files.

use std::path::PathBuf;

use super::{Log, PendingDelete};
use crate::append::PreparedAppend;
use crate::error::{LogError, Result};
use crate::file;
use crate::file_names::DELETED;
use crate::segment::{LogSegment, RollParams};

impl Log {
    /// Closes the active segment and begins a new one at the log end offset. The old one is flushed later, by
    /// [`Log::flush_plan`]. Gives the new segment's base offset.
    ///
    /// # Errors
    /// [`LogError::Storage`], [`LogError::Offline`].
    pub fn roll(&mut self, now_ms: i64) -> Result<i64> {
        self.guarded("rolling a segment", |log| log.roll_at(0, now_ms))
    }

    pub(super) fn maybe_roll(&mut self, prepared: &PreparedAppend, first_offset: i64, last_offset: i64) -> Result<()> {
        let params = RollParams {
            max_segment_ms: self.config.max_segment_ms(),
            max_segment_bytes: self.config.segment_size(),
            max_timestamp_in_messages: prepared.max_timestamp,
            max_offset_in_messages: last_offset,
            messages_size: prepared.size as u64,
            now_ms: prepared.context.now_ms,
        };
        if self.active_segment()?.should_roll(&params)? {
            self.roll_at(first_offset, prepared.context.now_ms)?;
        }
        Ok(())
    }

    pub(super) fn roll_at(&mut self, expected_next_offset: i64, now_ms: i64) -> Result<i64> {
        let new_offset = expected_next_offset.max(self.log_end_offset());
        let active_base = self.active_base_offset();
        let active_size = self.active_segment()?.size();
        if new_offset < active_base || (new_offset == active_base && active_size > 0) {
            return Err(LogError::InvalidArgument(format!(
                "trying to roll a new log segment for topic partition {} with start offset {new_offset} which is not \
                 above the active segment's start offset {active_base}",
                self.topic_partition
            )));
        }
        if new_offset == active_base {
            // An empty segment with a full index, or one whose records are all too far away: begin it anew. The
            // producers' snapshot at its start tells of the segments before it and stays.
            if let Some(mut old) = self.segments.remove(&active_base) {
                let paths = old.change_suffix("", DELETED)?;
                self.delete_files_later(paths);
            }
        } else {
            self.active_segment()?.on_become_inactive()?;
        }
        self.add_segment(new_offset, now_ms)?;
        self.producers.update_map_end_offset(new_offset);
        self.producers.take_snapshot()?;
        self.update_log_end_offset(self.log_end_offset());
        self.update_high_watermark_with_log_end_offset();
        self.flush_wanted = Some(new_offset);
        tracing::debug!(partition = %self.topic_partition, "rolled new log segment at offset {new_offset}");
        Ok(new_offset)
    }

    pub(super) fn add_segment(&mut self, base_offset: i64, now_ms: i64) -> Result<()> {
        let jitter = self.config.random_segment_jitter(&mut self.random);
        let segment = LogSegment::create(&self.dir, base_offset, "", &self.config, jitter, now_ms)?;
        self.segments.insert(base_offset, segment);
        Ok(())
    }

    /// Renames the files of segments that were taken out of the log, and the producers' snapshots at their starts, to be
    /// removed `file.delete.delay.ms` later.
    pub(super) fn delete_segments(&mut self, segments: Vec<LogSegment>) -> Result<()> {
        let mut paths: Vec<PathBuf> = Vec::with_capacity(5 * segments.len());
        for mut segment in segments {
            paths.extend(segment.change_suffix("", DELETED)?);
            paths.extend(self.producers.mark_snapshot_for_deletion(segment.base_offset())?);
        }
        self.delete_files_later(paths);
        Ok(())
    }

    pub(super) fn delete_files_later(&mut self, paths: Vec<PathBuf>) {
        if !paths.is_empty() {
            self.pending_deletes.push(PendingDelete { due_ms: None, paths });
        }
    }

    /// Removes files whose `file.delete.delay.ms` is over, counted from the first call that saw them. `uptime_ms` is of a
    /// clock that never goes back.
    ///
    /// # Errors
    /// [`LogError::Storage`], [`LogError::Offline`].
    pub fn delete_due_files(&mut self, uptime_ms: i64) -> Result<()> {
        let due_ms = uptime_ms.saturating_add(self.config.file_delete_delay_ms);
        let mut is_any_due = false;
        for delete in &mut self.pending_deletes {
            is_any_due |= *delete.due_ms.get_or_insert(due_ms) <= uptime_ms;
        }
        if !is_any_due {
            return Ok(());
        }
        self.guarded("removing the files of deleted segments", |log| {
            let is_due = |delete: &mut PendingDelete| delete.due_ms.is_some_and(|due_ms| due_ms <= uptime_ms);
            let due = log.pending_deletes.extract_if(.., is_due);
            for path in due.flat_map(|delete| delete.paths) {
                file::remove_if_exists(&path)?;
            }
            Ok(())
        })
    }
}
