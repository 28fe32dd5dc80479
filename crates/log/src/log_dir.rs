//! A directory of logs and whether it still works.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

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
    on_failure: Option<FailureListener>,
    on_flush: OnceLock<Arc<dyn FlushListener>>,
}

/// Told when logs are forced to disk, on the thread that waits for it: what Kafka's `LogFlushStats` are made of. It has the
/// clock that this crate has not.
pub trait FlushListener: Send + Sync {
    /// A flush begins; gives what [`FlushListener::ends`] is to get.
    fn begins(&self) -> u64;
    /// The flush is over, whatever came of it.
    fn ends(&self, begun: u64);
}

/// Told once, on the thread that met the failure, when a log directory goes offline. It must not wait for anything.
pub type FailureListener = Arc<dyn Fn(&Path) + Send + Sync>;

impl LogDir {
    /// A directory that works so far.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            offline: AtomicBool::new(false),
            reason: Mutex::new(String::new()),
            on_failure: None,
            on_flush: OnceLock::new(),
        }
    }

    /// Has `listener` told when the directory goes offline.
    #[must_use]
    pub fn with_failure_listener(mut self, listener: Option<FailureListener>) -> Self {
        self.on_failure = listener;
        self
    }

    /// Has `listener` told of every flush from now on. The first one stays.
    pub fn listen_to_flushes(&self, listener: Arc<dyn FlushListener>) {
        // There is one broker to a directory.
        let _ = self.on_flush.set(listener);
    }

    /// Forces something to disk, and has it told.
    pub(crate) fn flush<T>(&self, flush: impl FnOnce() -> T) -> T {
        let Some(listener) = self.on_flush.get() else { return flush() };
        let begun = listener.begins();
        let flushed = flush();
        listener.ends(begun);
        flushed
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
        let is_first = {
            let mut reason = self.reason.lock();
            let is_first = !self.is_offline();
            if is_first {
                *reason = format!("{context}: {source}");
                self.offline.store(true, Ordering::Release);
            }
            is_first
        };
        if is_first {
            tracing::error!(dir = %self.path.display(), %source, "{context}; the log dir goes offline");
            if let Some(listener) = &self.on_failure {
                listener(&self.path);
            }
        }
        LogError::Storage { context, source }
    }

    /// Adds `context` to a storage error and takes the directory offline; other errors pass. So does a lack of file
    /// descriptors, which is the process's and not the disk's: the same call succeeds once others are closed.
    pub(crate) fn guard<T>(&self, result: Result<T>, context: impl FnOnce() -> String) -> Result<T> {
        match result {
            Err(LogError::Storage { context: inner, source }) => {
                let outer = context();
                let context = if inner.is_empty() { outer } else { format!("{outer}: {inner}") };
                if is_out_of_descriptors(&source) {
                    tracing::warn!(dir = %self.path.display(), %source, "{context}");
                    return Err(LogError::OutOfDescriptors { context, source });
                }
                Err(self.fail(context, source))
            }
            other => other,
        }
    }
}

/// `EMFILE` and `ENFILE`: the process, or the system, has no descriptor left.
fn is_out_of_descriptors(error: &io::Error) -> bool {
    let codes = [rustix::io::Errno::MFILE, rustix::io::Errno::NFILE].map(rustix::io::Errno::raw_os_error);
    error.raw_os_error().is_some_and(|code| codes.contains(&code))
}

impl fmt::Debug for LogDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogDir").field("path", &self.path).field("offline", &self.is_offline()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    fn storage(code: rustix::io::Errno) -> Result<()> {
        Err(code.into())
    }

    #[test]
    fn a_lack_of_descriptors_is_no_failure_of_the_disk() {
        let dir = LogDir::new("d");
        for code in [rustix::io::Errno::MFILE, rustix::io::Errno::NFILE] {
            let error = dir.guard(storage(code), || "opening a segment".to_owned()).unwrap_err();
            assert!(matches!(error, LogError::OutOfDescriptors { .. }), "{error:?}");
            assert!(error.is_retriable() && !error.is_fatal());
            assert_eq!(error.code(), vltava_protocol::ErrorCode::KafkaStorageError);
            dir.check().unwrap();
        }
    }

    #[test]
    fn a_flush_is_told_from_its_beginning_to_its_end() {
        struct Told(Mutex<Vec<u64>>);
        impl FlushListener for Told {
            fn begins(&self) -> u64 {
                7
            }
            fn ends(&self, begun: u64) {
                self.0.lock().push(begun);
            }
        }
        let (dir, told) = (LogDir::new("d"), Arc::new(Told(Mutex::default())));
        assert_eq!(dir.flush(|| 1), 1);
        dir.listen_to_flushes(told.clone());
        assert_eq!(dir.flush(|| told.0.lock().len()), 0);
        assert_eq!(*told.0.lock(), [7]);
    }

    #[test]
    fn a_full_disk_or_a_failed_one_takes_the_directory_offline_and_is_told_once() {
        for code in [rustix::io::Errno::NOSPC, rustix::io::Errno::IO, rustix::io::Errno::ROFS] {
            let told = Arc::new(AtomicUsize::new(0));
            let count = Arc::clone(&told);
            let listener: FailureListener = Arc::new(move |path: &Path| {
                assert_eq!(path, Path::new("d"));
                count.fetch_add(1, Ordering::Relaxed);
            });
            let dir = LogDir::new("d").with_failure_listener(Some(listener));
            for _ in 0..2 {
                let error = dir.guard(storage(code), || "writing".to_owned()).unwrap_err();
                assert!(matches!(error, LogError::Storage { .. }), "{error:?}");
                assert!(dir.is_offline());
            }
            assert_eq!(told.load(Ordering::Relaxed), 1);
        }
    }
}
