//! Forcing the log to disk.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use super::Log;
use crate::error::Result;
use crate::file;
use crate::log_dir::LogDir;

/// Files to be forced to disk, outside of the log's lock.
#[derive(Debug)]
pub struct FlushPlan {
    files: Vec<Arc<File>>,
    dir: PathBuf,
    log_dir: Arc<LogDir>,
    offset: i64,
}

impl FlushPlan {
    /// Waits until the files are on disk. Gives the offset for [`Log::mark_flushed`].
    ///
    /// # Errors
    /// [`LogError::Storage`](crate::LogError::Storage); the log directory is offline then.
    pub fn run(&self) -> Result<i64> {
        let flush = || -> Result<()> {
            for file in &self.files {
                file::sync_data(file)?;
            }
            Ok(file::sync_dir(&self.dir)?)
        };
        self.log_dir.guard(flush(), || format!("error while flushing {}", self.dir.display()))?;
        Ok(self.offset)
    }
}

impl Log {
    /// What a roll left to be flushed; `None` where nothing is.
    ///
    /// # Errors
    /// [`LogError::Storage`](crate::LogError::Storage), [`LogError::Offline`](crate::LogError::Offline).
    pub fn flush_plan(&mut self) -> Result<Option<FlushPlan>> {
        match self.flush_wanted.take() {
            Some(offset) if offset > self.recovery_point => self.plan_flush(offset).map(Some),
            _ => Ok(None),
        }
    }

    /// All that is not on disk yet, for `flush.ms`; `None` where nothing is due at `now_ms`.
    ///
    /// # Errors
    /// As [`Log::flush_plan`].
    pub fn flush_plan_by_time(&mut self, now_ms: i64) -> Result<Option<FlushPlan>> {
        let is_due = now_ms.saturating_sub(self.last_flushed_ms) >= self.config.flush_ms;
        if !is_due || self.log_end_offset() <= self.recovery_point {
            return Ok(None);
        }
        self.plan_flush(self.log_end_offset()).map(Some)
    }

    fn plan_flush(&mut self, offset: i64) -> Result<FlushPlan> {
        self.guarded("preparing a flush", |log| {
            let from = log.floor_base_offset(log.recovery_point);
            let mut files = Vec::new();
            for (_, segment) in log.segments.range_mut(from..offset.max(from)) {
                files.extend(segment.files_to_flush()?);
            }
            Ok(FlushPlan { files, dir: log.dir.clone(), log_dir: Arc::clone(&log.log_dir), offset })
        })
    }

    /// Says that everything below `offset` is on disk.
    pub fn mark_flushed(&mut self, offset: i64, now_ms: i64) {
        if offset > self.recovery_point {
            self.recovery_point = offset;
            self.last_flushed_ms = now_ms;
        }
    }

    /// Waits until everything is on disk.
    ///
    /// # Errors
    /// [`LogError::Storage`](crate::LogError::Storage), [`LogError::Offline`](crate::LogError::Offline).
    pub fn flush(&mut self, now_ms: i64) -> Result<()> {
        self.guarded("flushing the log", |log| log.flush_to(log.log_end_offset(), now_ms))
    }

    /// As [`Log::flush`], also where there is nothing below the log end offset to flush.
    pub(super) fn flush_all(&mut self) -> Result<()> {
        let last_flushed_ms = self.last_flushed_ms;
        self.guarded("flushing the log", |log| log.flush_to(log.log_end_offset(), last_flushed_ms))
    }

    pub(super) fn flush_to(&mut self, offset: i64, now_ms: i64) -> Result<()> {
        if offset <= self.recovery_point {
            return Ok(());
        }
        let from = self.floor_base_offset(self.recovery_point);
        for (_, segment) in self.segments.range_mut(from..) {
            segment.flush()?;
        }
        file::sync_dir(&self.dir)?;
        self.mark_flushed(offset, now_ms);
        Ok(())
    }

    /// Base offset of the segment that holds `offset`, or of the first one.
    pub(super) fn floor_base_offset(&self, offset: i64) -> i64 {
        let floor = self.segments.range(..=offset).next_back().or_else(|| self.segments.first_key_value());
        floor.map_or(0, |(base, _)| *base)
    }
}
