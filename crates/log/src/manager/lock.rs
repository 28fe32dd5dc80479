//! One broker per log directory.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use crate::error::{LogError, Result};
use crate::file;

/// The lock on `.lock`, held while this lives.
#[derive(Debug)]
pub(super) struct DirectoryLock {
    file: File,
}

impl DirectoryLock {
    /// The locked file.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Takes the lock, or fails at once.
    ///
    /// Two locks are taken: one by `flock`, which holds between two brokers of this kind in one process too, and a
    /// POSIX one, which is what a broker on the JVM takes.
    pub(super) fn acquire(dir: &Path) -> Result<Self> {
        let in_use = || LogError::DirectoryInUse { dir: dir.to_owned() };
        let file = file::open(&dir.join(".lock"), true)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(in_use()),
            Err(TryLockError::Error(e)) => return Err(e.into()),
        }
        match rustix::fs::fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { file }),
            Err(Errno::ACCESS | Errno::AGAIN) => Err(in_use()),
            Err(e) => Err(io::Error::from(e).into()),
        }
    }
}
