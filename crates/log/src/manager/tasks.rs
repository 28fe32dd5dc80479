//! What has to be done now and then.

use std::collections::BTreeMap;
use std::path::PathBuf;

use parking_lot::Mutex;

use super::{LogManager, LogManagerConfig, remove_dir};
use crate::checkpoint::{
    LOG_START_OFFSET_CHECKPOINT, RECOVERY_POINT_CHECKPOINT, REPLICATION_OFFSET_CHECKPOINT, write_offset_checkpoint,
};
use crate::error::{LogError, Result};
use crate::log::Log;
use crate::now::Now;
use crate::topic_partition::TopicPartition;

/// How often removals of files and flushes after a roll are looked at.
const HOUSEKEEPING_INTERVAL_MS: i64 = 1000;

/// When what is due, and which offsets the checkpoints hold.
#[derive(Debug)]
pub(super) struct Tasks {
    retention: Periodic,
    flush: Periodic,
    recovery_points: Periodic,
    log_start_offsets: Periodic,
    high_watermarks: Periodic,
    producer_expiration: Periodic,
    housekeeping: Periodic,
    deleted_dirs: Vec<(i64, PathBuf)>,
    written: BTreeMap<&'static str, BTreeMap<TopicPartition, i64>>,
}

#[derive(Debug)]
struct Periodic {
    interval_ms: i64,
    next_ms: i64,
}

impl Periodic {
    fn new(interval_ms: i64, first_ms: i64) -> Self {
        Self { interval_ms, next_ms: if interval_ms == i64::MAX { i64::MAX } else { first_ms } }
    }

    fn is_due(&mut self, now_ms: i64) -> bool {
        let is_due = now_ms >= self.next_ms;
        if is_due {
            self.next_ms = now_ms.saturating_add(self.interval_ms.max(1));
        }
        is_due
    }
}

impl Tasks {
    /// All times are of the clock that never goes back.
    pub(super) fn new(config: &LogManagerConfig, now_ms: i64) -> Self {
        let first_ms = now_ms.saturating_add(config.initial_task_delay_ms);
        let periodic = |interval_ms| Periodic::new(interval_ms, first_ms);
        let after_interval = |interval_ms: i64| Periodic::new(interval_ms, now_ms.saturating_add(interval_ms));
        Self {
            retention: periodic(config.retention_check_interval_ms),
            flush: periodic(config.flush_scheduler_interval_ms),
            recovery_points: periodic(config.recovery_point_checkpoint_interval_ms),
            log_start_offsets: periodic(config.log_start_offset_checkpoint_interval_ms),
            high_watermarks: after_interval(config.high_watermark_checkpoint_interval_ms),
            producer_expiration: after_interval(config.producer_id_expiration_check_interval_ms),
            housekeeping: after_interval(HOUSEKEEPING_INTERVAL_MS),
            deleted_dirs: Vec::new(),
            written: BTreeMap::new(),
        }
    }

    /// Notes that a directory is to be removed at `due_ms`.
    pub(super) fn delete_dir(&mut self, path: PathBuf, due_ms: i64) {
        if self.deleted_dirs.iter().all(|(_, known)| *known != path) {
            self.deleted_dirs.push((due_ms, path));
        }
    }

    fn due_dirs(&mut self, now_ms: i64) -> Vec<PathBuf> {
        self.deleted_dirs.extract_if(.., |(due_ms, _)| *due_ms <= now_ms).map(|(_, path)| path).collect()
    }

    fn next_ms(&self) -> i64 {
        let periodic = [
            &self.retention,
            &self.flush,
            &self.recovery_points,
            &self.log_start_offsets,
            &self.high_watermarks,
            &self.producer_expiration,
            &self.housekeeping,
        ];
        periodic.into_iter().map(|p| p.next_ms).min().unwrap_or(i64::MAX)
    }
}

impl LogManager {
    /// Does what is due: retention, flushes by time and after rolls, checkpoints, expiry of producers, removal of
    /// deleted files. Waits for the disk. Gives [`Now::uptime_ms`] of when it wants to be called again.
    ///
    /// What is due is told by `uptime_ms` alone; how old records are, by the wall clock.
    ///
    /// # Errors
    /// The first failure. The other logs are looked at nevertheless, unless the directory went offline.
    pub fn run(&self, now: Now) -> Result<i64> {
        let now_ms = now.uptime_ms;
        self.log_dir.check()?;
        let mut tasks = self.tasks.lock();
        let is_retention = tasks.retention.is_due(now_ms);
        let is_flush = tasks.flush.is_due(now_ms);
        let is_expiration = tasks.producer_expiration.is_due(now_ms);
        let is_housekeeping = tasks.housekeeping.is_due(now_ms);
        let is_recovery_points = tasks.recovery_points.is_due(now_ms);
        let is_log_start_offsets = tasks.log_start_offsets.is_due(now_ms);
        let is_high_watermarks = tasks.high_watermarks.is_due(now_ms);
        let due_dirs = tasks.due_dirs(now_ms);
        let next_ms = tasks.next_ms();
        drop(tasks);

        let mut result = Ok(());
        if is_retention {
            result = result.and(self.each(|log| log.lock().delete_old_segments(now.wall_ms).map(|_| ())));
        }
        if is_expiration {
            result = result.and(self.each(|log| {
                log.lock().remove_expired_producers(now.wall_ms);
                Ok(())
            }));
        }
        if is_flush {
            result = result.and(self.each(|log| flush(log, now_ms, true)));
        }
        if is_housekeeping || is_recovery_points {
            result = result.and(self.each(|log| {
                flush(log, now_ms, false)?;
                log.lock().delete_due_files(now_ms)
            }));
        }
        let on_dir = || -> Result<()> {
            for dir in due_dirs {
                remove_dir(&dir)?;
            }
            if is_recovery_points {
                self.checkpoint_recovery_points()?;
            }
            if is_log_start_offsets {
                self.checkpoint_log_start_offsets()?;
            }
            if is_high_watermarks {
                self.checkpoint_high_watermarks()?;
            }
            Ok(())
        };
        let context = || format!("error while writing to {}", self.config.dir.display());
        result.and(self.log_dir.guard(on_dir(), context)).map(|()| next_ms)
    }

    /// Runs a task for every log; gives the first error. A log that was closed meanwhile is being deleted.
    fn each(&self, task: impl Fn(&Mutex<Log>) -> Result<()>) -> Result<()> {
        let mut result = Ok(());
        for (tp, log) in self.logs() {
            match task(&log) {
                Ok(()) | Err(LogError::Closed(_)) => {}
                Err(e) => {
                    tracing::warn!(partition = %tp, "a background task failed: {e}");
                    result = result.and(Err(e));
                }
            }
        }
        result
    }

    /// Writes up to where each log is on disk.
    ///
    /// # Errors
    /// [`LogError::Storage`].
    pub fn checkpoint_recovery_points(&self) -> Result<()> {
        self.checkpoint(RECOVERY_POINT_CHECKPOINT, |log| Some(log.recovery_point()))
    }

    /// Writes the log start offsets that are above their first segment.
    ///
    /// # Errors
    /// [`LogError::Storage`].
    pub fn checkpoint_log_start_offsets(&self) -> Result<()> {
        self.checkpoint(LOG_START_OFFSET_CHECKPOINT, |log| {
            let first_segment = log.segment_base_offsets().next().unwrap_or(0);
            (log.log_start_offset() > first_segment).then(|| log.log_start_offset())
        })
    }

    /// Writes the high watermarks.
    ///
    /// # Errors
    /// [`LogError::Storage`].
    pub fn checkpoint_high_watermarks(&self) -> Result<()> {
        self.checkpoint(REPLICATION_OFFSET_CHECKPOINT, |log| Some(log.high_watermark()))
    }

    /// Writes a checkpoint where it differs from what was written last. Logs that were not opened yet keep what the
    /// checkpoint said of them.
    fn checkpoint(&self, name: &'static str, offset_of: impl Fn(&Log) -> Option<i64>) -> Result<()> {
        let logs = self.logs();
        let mut offsets = self.unopened_offsets(name);
        for (tp, log) in logs {
            match offset_of(&log.lock()) {
                Some(offset) => offsets.insert(tp, offset),
                None => offsets.remove(&tp),
            };
        }
        if self.tasks.lock().written.get(name) == Some(&offsets) {
            return Ok(());
        }
        write_offset_checkpoint(&self.path(name), &offsets)?;
        self.tasks.lock().written.insert(name, offsets);
        Ok(())
    }
}

/// Flushes a log outside of its lock.
fn flush(log: &Mutex<Log>, uptime_ms: i64, by_time: bool) -> Result<()> {
    let plan = {
        let mut log = log.lock();
        if by_time { log.flush_plan_by_time(uptime_ms)? } else { log.flush_plan()? }
    };
    if let Some(plan) = plan {
        let offset = plan.run()?;
        log.lock().mark_flushed(offset);
    }
    Ok(())
}
