use std::fs::File;
use std::sync::Arc;

use bytes::Bytes;

/// Record batches within a message, in memory or in a file: Kafka's `MemoryRecords` and `FileRecords`.
///
/// What is read from the wire is in memory. Whoever can send from a file may put a part of it into a message instead of
/// reading it: see [`Writer::with_files`](super::Writer::with_files).
#[derive(Debug, Clone, PartialEq)]
pub enum Records {
    /// The batches themselves.
    Memory(Bytes),
    /// Where they lie.
    File(FileRecords),
}

/// Record batches that lie in a file. The file must have them as long as this exists.
#[derive(Debug, Clone)]
pub struct FileRecords {
    /// The file, open for reading.
    pub file: Arc<File>,
    /// Where the first batch begins, in bytes.
    pub position: u64,
    /// Their size in bytes.
    pub len: usize,
}

impl Records {
    /// Their size in bytes.
    pub fn len(&self) -> usize {
        match self {
            Self::Memory(bytes) => bytes.len(),
            Self::File(file) => file.len,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The batches, if they are in memory, as those of every message that was decoded.
    pub fn memory(&self) -> Option<&Bytes> {
        match self {
            Self::Memory(bytes) => Some(bytes),
            Self::File(_) => None,
        }
    }

    /// The batches, if they are in memory.
    pub fn into_memory(self) -> Option<Bytes> {
        match self {
            Self::Memory(bytes) => Some(bytes),
            Self::File(_) => None,
        }
    }
}

impl Default for Records {
    fn default() -> Self {
        Self::Memory(Bytes::new())
    }
}

impl From<Bytes> for Records {
    fn from(bytes: Bytes) -> Self {
        Self::Memory(bytes)
    }
}

impl PartialEq for FileRecords {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.file, &other.file) && self.position == other.position && self.len == other.len
    }
}
