//! `.kafka_cleanshutdown`: says that the logs of a directory need no recovery.

use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::error::Result;
use crate::file;

/// The marker that a broker leaves behind when it stopped in order.
#[derive(Debug)]
pub struct CleanShutdownFile {
    path: PathBuf,
}

impl CleanShutdownFile {
    /// The marker of a log directory.
    pub fn new(log_dir: &Path) -> Self {
        Self { path: log_dir.join(".kafka_cleanshutdown") }
    }

    /// Whether the last stop was clean.
    pub fn exists(&self) -> bool {
        self.path.exists()
    }

    /// The epoch of the broker that stopped cleanly; `None` where the marker is missing or has none.
    pub fn read(&self) -> Option<i64> {
        let text = fs::read_to_string(&self.path).ok()?;
        let (_, rest) = text.split_once("\"brokerEpoch\"")?;
        let rest = rest.trim_start().strip_prefix(':')?.trim_start();
        let end = rest.find(|c: char| c != '-' && !c.is_ascii_digit()).unwrap_or(rest.len());
        rest.get(..end)?.parse().ok()
    }

    /// Leaves the marker, on disk when this returns.
    ///
    /// # Errors
    /// [`LogError::Storage`](crate::LogError::Storage).
    pub fn write(&self, broker_epoch: i64) -> Result<()> {
        let text = format!("{{\"version\":0,\"brokerEpoch\":{broker_epoch}}}");
        Ok(file::write_atomically(&self.path, text.as_bytes())?)
    }

    /// Takes the marker away, so that a crash from now on is seen as one.
    ///
    /// # Errors
    /// [`LogError::Storage`](crate::LogError::Storage).
    pub fn delete(&self) -> Result<()> {
        match fs::remove_file(&self.path) {
            Ok(()) => match self.path.parent() {
                Some(dir) => Ok(file::sync_dir(dir)?),
                None => Ok(()),
            },
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(e.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_written_read_and_deleted() {
        let dir = tempfile::tempdir().unwrap();
        let marker = CleanShutdownFile::new(dir.path());
        assert!(!marker.exists());
        assert_eq!(marker.read(), None);
        marker.write(-1).unwrap();
        assert!(marker.exists());
        assert_eq!(marker.read(), Some(-1));
        fs::write(dir.path().join(".kafka_cleanshutdown"), r#"{ "brokerEpoch" : 17, "version":0}"#).unwrap();
        assert_eq!(marker.read(), Some(17));
        marker.delete().unwrap();
        marker.delete().unwrap();
        assert!(!marker.exists());
    }
}
