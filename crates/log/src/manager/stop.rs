//! A clean stop of all logs of a directory.

use parking_lot::Mutex;

use super::{LogManager, SharedLog, next_of};
use crate::checkpoint::CleanShutdownFile;
use crate::error::{LogError, Result};

/// From so many logs on that have something to be flushed, one wait for the whole file system is shorter than a wait
/// for each of their files: with four files a log, the waits grow into minutes with thousands of logs.
const FLUSH_TOGETHER: usize = 32;

impl LogManager {
    /// Flushes and closes all logs, several at a time, writes the checkpoints and the marker of a clean stop, and
    /// unlocks the directory. A directory that is offline gets no marker.
    ///
    /// # Errors
    /// The first that closing a log gives; the others are closed nevertheless.
    pub fn shutdown(&self, broker_epoch: i64) -> Result<()> {
        // The files are not to be touched by compactions after this.
        let _no_cleaning = self.cleaning.stop();
        let _creation = self.creation.lock();
        let result = self.close_all().and_then(|()| self.log_dir.check()).and_then(|()| {
            self.checkpoint_recovery_points()?;
            self.checkpoint_log_start_offsets()?;
            self.checkpoint_high_watermarks()?;
            CleanShutdownFile::new(&self.config.dir).write(broker_epoch)
        });
        let context = || format!("error while stopping log directory {}", self.config.dir.display());
        let result = self.log_dir.guard(result, context);
        self.logs.lock().clear();
        self.lock.lock().take();
        result
    }

    fn close_all(&self) -> Result<()> {
        let logs: Vec<SharedLog> = self.logs().into_iter().map(|(_, log)| log).collect();
        let unsynced: Mutex<Vec<SharedLog>> = Mutex::default();
        let written = self.for_each(logs, |log| {
            let mut locked = log.lock();
            match locked.write_out() {
                Ok(true) => {
                    drop(locked);
                    unsynced.lock().push(log);
                    Ok(())
                }
                Ok(false) => {
                    locked.close_synced();
                    Ok(())
                }
                // It was closed before, or deleted.
                Err(LogError::Closed(_)) => Ok(()),
                Err(error) => Err(error),
            }
        });
        let unsynced = unsynced.into_inner();
        let synced = if unsynced.len() >= FLUSH_TOGETHER && self.sync_file_system()? {
            for log in unsynced {
                log.lock().close_synced();
            }
            Ok(())
        } else {
            self.for_each(unsynced, |log| log.lock().close())
        };
        written.and(synced)
    }

    /// Waits until everything that was written to the directory's file system is on disk. `false` where the system
    /// cannot do that.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn sync_file_system(&self) -> Result<bool> {
        let lock = self.lock.lock();
        // Opened when the directory was: errors of all writes since then are told.
        let Some(lock) = lock.as_ref() else { return Ok(false) };
        match rustix::fs::syncfs(lock.file()) {
            Ok(()) => Ok(true),
            Err(error) => {
                self.log_dir.guard(Err(error.into()), || format!("error while flushing {}", self.config.dir.display()))
            }
        }
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    fn sync_file_system(&self) -> Result<bool> {
        Ok(false)
    }

    /// Does `work` for each of `items` on as many threads as `num.recovery.threads.per.data.dir` says; gives the first
    /// error, after all is done.
    pub(super) fn for_each<T: Send>(&self, items: Vec<T>, work: impl Fn(T) -> Result<()> + Sync) -> Result<()> {
        let threads = self.config.dynamic.recovery_threads().clamp(1, items.len().max(1));
        let items = Mutex::new(items.into_iter());
        let failed: Mutex<Option<LogError>> = Mutex::new(None);
        std::thread::scope(|scope| {
            let run = || {
                while let Some(item) = next_of(&items) {
                    if let Err(error) = work(item) {
                        failed.lock().get_or_insert(error);
                    }
                }
            };
            for _ in 1..threads {
                scope.spawn(run);
            }
            run();
        });
        failed.into_inner().map_or(Ok(()), Err)
    }
}
