//! A directory of logs and whether it still works.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::error::{LogError, Result};

/// The health of one of `log.dirs`, shared by all logs in it.
///
/// The first failed read or write of any of its logs takes the whole directory offline, as in Kafka: from then on
/// every operation answers [`LogError::Offline`], so that nothing is served of which it is not known whether it is
/// on disk. A file that is not opened because process or system have no descriptor left says nothing about the disk:
/// that operation fails, and a later one may succeed.
pub struct LogDir {
    path: PathBuf,
    offline: AtomicBool,
    reason: Mutex<String>,
    /// Files that were not opened for want of descriptors.
    shortages: AtomicU64,
}

impl LogDir {
    /// A directory that works so far.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            offline: AtomicBool::new(false),
            reason: Mutex::default(),
            shortages: AtomicU64::new(0),
        }
    }

    /// The directory that the partitions' directories lie in.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a read or write failed.
    pub fn is_offline(&self) -> bool {
        self.offline.load(Ordering::Acquire)
    }

    /// Why the directory is offline.
    pub fn offline_reason(&self) -> Option<String> {
        self.is_offline().then(|| self.reason.lock().clone())
    }

    pub(crate) fn check(&self) -> Result<()> {
        match self.offline_reason() {
            None => Ok(()),
            Some(reason) => Err(LogError::Offline { dir: self.path.clone(), reason }),
        }
    }

    /// Takes the directory offline because of `error`; gives the error with its context back.
    pub(crate) fn fail(&self, context: String, source: io::Error) -> LogError {
        if lacks_descriptors(&source) {
            self.warn_of_shortage(&context, &source);
        } else if !self.is_offline() {
            *self.reason.lock() = format!("{context}: {source}");
            self.offline.store(true, Ordering::Release);
            tracing::error!(dir = %self.path.display(), %source, "{context}; the log dir goes offline");
        }
        LogError::Storage { context, source }
    }

    fn warn_of_shortage(&self, context: &str, source: &io::Error) {
        let failures = self.shortages.fetch_add(1, Ordering::Relaxed) + 1;
        // The first, and then ever more seldom: under load it may be thousands a second.
        if failures.is_power_of_two() {
            tracing::warn!(dir = %self.path.display(), %source, failures, "{context}; too few file descriptors");
        }
    }

    /// Adds `context` to a storage error and takes the directory offline; other errors pass.
    pub(crate) fn guard<T>(&self, result: Result<T>, context: impl FnOnce() -> String) -> Result<T> {
        match result {
            Err(LogError::Storage { context: inner, source }) => {
                let outer = context();
                let context = if inner.is_empty() { outer } else { format!("{outer}: {inner}") };
                Err(self.fail(context, source))
            }
            other => other,
        }
    }
}

/// Whether the process or the system has no descriptor left.
fn lacks_descriptors(error: &io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::MFILE, Errno::NFILE].iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

impl fmt::Debug for LogDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogDir").field("path", &self.path).field("offline", &self.is_offline()).finish()
    }
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn a_want_of_descriptors_is_no_failure_of_the_disk() {
        let dir = LogDir::new("/d");
        for errno in [Errno::MFILE, Errno::NFILE] {
            let error = dir.fail("opening".to_owned(), errno.into());
            assert!(matches!(error, LogError::Storage { .. }));
            assert!(!dir.is_offline());
        }
        dir.fail("writing".to_owned(), Errno::IO.into());
        assert!(dir.is_offline());
    }
}
