//! The files of segments: open as long as somebody needs them.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Arc, Weak};

use crate::file;

/// A file that is opened when it is needed. Who writes to it keeps it open; else it is closed with the last one who has it,
/// such as an answer that is being sent: a partition may have thousands of segments, and the process only so many
/// descriptors.
#[derive(Debug, Default)]
pub(crate) struct OpenFile {
    kept: Option<Arc<File>>,
    shared: Weak<File>,
}

impl OpenFile {
    /// One that was opened to be written to.
    pub(crate) fn kept(file: File) -> Self {
        Self { kept: Some(Arc::new(file)), shared: Weak::new() }
    }

    /// The file where it is open.
    pub(crate) fn get(&self) -> Option<Arc<File>> {
        self.kept.clone().or_else(|| self.shared.upgrade())
    }

    /// The file for a while; `path` says where it is, and `create` whether it may come into being.
    pub(crate) fn open(&mut self, path: &Path, create: bool) -> io::Result<Arc<File>> {
        if let Some(file) = self.get() {
            return Ok(file);
        }
        let file = Arc::new(file::open(path, create)?);
        self.shared = Arc::downgrade(&file);
        Ok(file)
    }

    /// The file for who will write to it again, until [`release`](Self::release).
    pub(crate) fn keep(&mut self, path: &Path, create: bool) -> io::Result<&Arc<File>> {
        let file = match self.kept.take() {
            Some(file) => file,
            None => self.open(path, create)?,
        };
        Ok(self.kept.insert(file))
    }

    /// Nobody will write to it soon.
    pub(crate) fn release(&mut self) {
        if let Some(file) = self.kept.take() {
            self.shared = Arc::downgrade(&file);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_open_for_who_writes_and_as_long_as_somebody_reads() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let mut file = OpenFile::default();
        assert!(file.open(&path, false).is_err());
        drop(file.open(&path, true).unwrap());
        assert!(file.get().is_none());
        let reader = file.open(&path, false).unwrap();
        assert!(Arc::ptr_eq(&reader, &file.open(&path, false).unwrap()));
        assert!(Arc::ptr_eq(&reader, file.keep(&path, false).unwrap()));
        file.release();
        assert!(Arc::ptr_eq(&reader, &file.get().unwrap()));
        drop(reader);
        assert!(file.get().is_none());
    }
}
