//! `partition.metadata`: the id of the topic that a partition's directory belongs to.

use std::path::{Path, PathBuf};
use std::{fs, io};

use vltava_protocol::Uuid;

use crate::error::{LogError, Result};
use crate::file;

const FILE_NAME: &str = "partition.metadata";

/// The contents of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionMetadata {
    /// The topic's id.
    pub topic_id: Uuid,
}

impl PartitionMetadata {
    /// Reads the file of a partition's directory; `None` where there is none, or an empty one, which is what a loss of
    /// power leaves of a file that was not flushed yet.
    ///
    /// # Errors
    /// [`LogError::Malformed`], [`LogError::Storage`].
    pub fn read(dir: &Path) -> Result<Option<Self>> {
        let path = Self::path(dir);
        let text = match fs::read_to_string(&path) {
            Ok(text) if text.is_empty() => return Ok(None),
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e.into()),
        };
        let mut lines = text.lines();
        let mut value = |key: &str| {
            let line = lines.next().unwrap_or_default();
            let value = line.split_once(':').filter(|(k, _)| k.trim() == key).map(|(_, v)| v.trim());
            value.ok_or_else(|| LogError::malformed(&path, format!("malformed line: {line}")))
        };
        let version = value("version")?;
        if version.parse::<i32>().map_or(true, |v| v < 0) {
            return Err(LogError::malformed(&path, format!("unrecognised version {version}")));
        }
        let topic_id = value("topic_id")?;
        match topic_id.parse::<Uuid>() {
            Ok(topic_id) if topic_id != Uuid::ZERO => Ok(Some(Self { topic_id })),
            _ => Err(LogError::malformed(&path, format!("invalid topic id {topic_id}"))),
        }
    }

    /// Writes the file. It is in the page cache when this returns; the log's next flush brings it to the disk.
    ///
    /// # Errors
    /// [`LogError::Storage`].
    pub fn write(&self, dir: &Path) -> Result<()> {
        let text = format!("version: 0\ntopic_id: {}", self.topic_id);
        Ok(file::write_unsynced(&Self::path(dir), text.as_bytes())?)
    }

    /// The file of a partition's directory.
    pub(crate) fn path(dir: &Path) -> PathBuf {
        dir.join(FILE_NAME)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_in_kafkas_format() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(PartitionMetadata::read(dir.path()).unwrap(), None);
        let metadata = PartitionMetadata { topic_id: Uuid::from_u128(0x1234) };
        metadata.write(dir.path()).unwrap();
        let text = fs::read_to_string(dir.path().join(FILE_NAME)).unwrap();
        assert_eq!(text, format!("version: 0\ntopic_id: {}", metadata.topic_id));
        assert_eq!(PartitionMetadata::read(dir.path()).unwrap(), Some(metadata));
    }

    #[test]
    fn refuses_what_it_does_not_understand() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE_NAME), "").unwrap();
        assert_eq!(PartitionMetadata::read(dir.path()).unwrap(), None);
        for text in ["version: x\ntopic_id: AAAAAAAAAAAAAAAAAAAAAQ", "version: 0\n", "version: 0\ntopic_id: short"] {
            fs::write(dir.path().join(FILE_NAME), text).unwrap();
            assert!(matches!(PartitionMetadata::read(dir.path()), Err(LogError::Malformed { .. })), "{text:?}");
        }
    }
}
