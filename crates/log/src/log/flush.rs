//! Forcing the log to disk.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use super::Log;
use crate::checkpoint::PartitionMetadata;
use crate::error::Result;
use crate::file;
use crate::log_dir::LogDir;

/// Files to be forced to disk, outside of the log's lock.
#[derive(Debug)]
pub struct FlushPlan {
    files: Vec<Arc<File>>,
    /// Directories in which files came into being, the inner one first.
    dirs: Vec<PathBuf>,
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
            for dir in &self.dirs {
                file::sync_dir(dir)?;
            }
            Ok(())
        };
        let context = || format!("error while flushing {}", self.dirs.first().cloned().unwrap_or_default().display());
        self.log_dir.guard(self.log_dir.flush(flush), context)?;
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

    /// All that is not on disk yet, for `flush.ms`; `None` where nothing is due. `uptime_ms` is of a clock that never
    /// goes back; the time since a flush by another cause counts from the first call after it.
    ///
    /// # Errors
    /// As [`Log::flush_plan`].
    pub fn flush_plan_by_time(&mut self, uptime_ms: i64) -> Result<Option<FlushPlan>> {
        let last_flushed_ms = *self.last_flushed_ms.get_or_insert(uptime_ms);
        let is_due = uptime_ms.saturating_sub(last_flushed_ms) >= self.config.flush_ms;
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
            for path in log.unsynced_files() {
                files.push(Arc::new(File::open(path)?));
            }
            let dirs = log.unsynced_dirs();
            log.mark_small_files_synced();
            for (_, segment) in log.segments.range_mut(from..offset.max(from)) {
                segment.mark_synced();
            }
            Ok(FlushPlan { files, dirs, log_dir: Arc::clone(&log.log_dir), offset })
        })
    }

    /// Says that everything below `offset` is on disk.
    pub fn mark_flushed(&mut self, offset: i64) {
        if offset > self.recovery_point {
            self.recovery_point = offset;
            self.last_flushed_ms = None;
        }
    }

    /// Waits until everything is on disk.
    ///
    /// # Errors
    /// [`LogError::Storage`](crate::LogError::Storage), [`LogError::Offline`](crate::LogError::Offline).
    pub fn flush(&mut self) -> Result<()> {
        self.guarded("flushing the log", |log| log.flush_to(log.log_end_offset()))
    }

    pub(super) fn flush_to(&mut self, offset: i64) -> Result<()> {
        if offset <= self.recovery_point {
            return Ok(());
        }
        let log_dir = Arc::clone(&self.log_dir);
        log_dir.flush(|| {
            let from = self.floor_base_offset(self.recovery_point);
            for (_, segment) in self.segments.range_mut(from..) {
                segment.flush()?;
            }
            self.sync_small_files()
        })?;
        self.mark_flushed(offset);
        Ok(())
    }

    /// Waits until all that was written is on disk, also where there is nothing below the log end offset to flush.
    pub(super) fn sync_everything(&mut self) -> Result<()> {
        if !self.is_unsynced() {
            return Ok(());
        }
        for segment in self.segments.values_mut() {
            segment.flush()?;
        }
        self.sync_small_files()?;
        self.mark_flushed(self.log_end_offset());
        Ok(())
    }

    /// Whether something was written that is not known to be on disk. What an empty log consists of is not worth a
    /// wait: it is made again from the metadata.
    pub(super) fn is_unsynced(&self) -> bool {
        self.log_end_offset() > self.recovery_point
            || self.producers.unsynced_file().is_some()
            || self.segments.values().any(|segment| segment.is_unsynced())
            || (self.log_end_offset() > 0 && self.leader_epochs.unsynced_file().is_some())
    }

    fn sync_small_files(&mut self) -> Result<()> {
        for path in self.unsynced_files() {
            file::sync_path(&path)?;
        }
        for dir in self.unsynced_dirs() {
            file::sync_dir(&dir)?;
        }
        self.mark_small_files_synced();
        Ok(())
    }

    fn unsynced_files(&self) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> = self.leader_epochs.unsynced_file().map(PathBuf::from).into_iter().collect();
        files.extend(self.producers.unsynced_file());
        if self.topic_id_is_unsynced {
            files.push(PartitionMetadata::path(&self.dir));
        }
        files.retain(|path| path.exists());
        files
    }

    fn unsynced_dirs(&self) -> Vec<PathBuf> {
        let mut dirs = vec![self.dir.clone()];
        if self.dir_is_unsynced {
            dirs.push(self.log_dir.path().to_owned());
        }
        dirs
    }

    pub(super) fn mark_small_files_synced(&mut self) {
        self.leader_epochs.mark_synced();
        self.producers.mark_synced();
        self.topic_id_is_unsynced = false;
        self.dir_is_unsynced = false;
    }

    /// Base offset of the segment that holds `offset`, or of the first one.
    pub(super) fn floor_base_offset(&self, offset: i64) -> i64 {
        let floor = self.segments.range(..=offset).next_back().or_else(|| self.segments.first_key_value());
        floor.map_or(0, |(base, _)| *base)
    }
}
