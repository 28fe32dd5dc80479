//! A clock that can be set back under running processes: libfaketime, loaded into them, reads how far from a file.
//!
//! Only the clock of the day goes back; the monotonic one does not, as on a machine whose clock is corrected.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};

const LIBRARY: &str = "faketime/libfaketimeMT.so.1";

/// The library of Debian's package, if it is installed.
pub fn library() -> Option<PathBuf> {
    let architectures = fs::read_dir("/usr/lib").ok()?.flatten().map(|entry| entry.path());
    architectures.map(|path| path.join(LIBRARY)).find(|library| library.exists())
}

/// The clock of those processes that are started with its environment.
#[derive(Debug)]
pub struct FakeClock {
    library: PathBuf,
    offset: PathBuf,
}

impl FakeClock {
    /// A clock that is right, until it is set back.
    ///
    /// # Errors
    /// The library is not there, or the folder cannot be written.
    pub fn new(folder: &Path) -> Result<Self> {
        let library = library().context("libfaketime is not installed")?;
        let clock = Self { library, offset: folder.join("clock") };
        fs::write(&clock.offset, "+0\n")?;
        Ok(clock)
    }

    /// What a process needs in its environment.
    pub fn environment(&self) -> Vec<(OsString, OsString)> {
        vec![
            ("LD_PRELOAD".into(), self.library.clone().into()),
            ("FAKETIME_TIMESTAMP_FILE".into(), self.offset.clone().into()),
            // Seconds after which the file is read again.
            ("FAKETIME_CACHE_DURATION".into(), "1".into()),
            ("FAKETIME_DONT_FAKE_MONOTONIC".into(), "1".into()),
            ("DONT_FAKE_MONOTONIC".into(), "1".into()),
        ]
    }

    /// Sets it back, once and for all.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn set_back(&self, by: Duration) -> Result<()> {
        // At once, so that no process reads half of it.
        let new = self.offset.with_extension("new");
        fs::write(&new, format!("-{}\n", by.as_secs()))?;
        Ok(fs::rename(new, &self.offset)?)
    }
}
