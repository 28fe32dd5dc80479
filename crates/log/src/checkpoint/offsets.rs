//! `recovery-point-offset-checkpoint` and its like: an offset for each partition of a log directory.

use std::collections::BTreeMap;
use std::path::Path;

use crate::TopicPartition;
use crate::error::Result;

/// Up to where each log is known to be on disk.
pub const RECOVERY_POINT_CHECKPOINT: &str = "recovery-point-offset-checkpoint";
/// The start offsets of logs whose first records were deleted by a request.
pub const LOG_START_OFFSET_CHECKPOINT: &str = "log-start-offset-checkpoint";
/// The high watermarks.
pub const REPLICATION_OFFSET_CHECKPOINT: &str = "replication-offset-checkpoint";
/// Up to where each log was compacted.
pub const CLEANER_OFFSET_CHECKPOINT: &str = "cleaner-offset-checkpoint";

/// Reads one of these files; empty where it does not exist.
///
/// # Errors
/// [`LogError::Malformed`](crate::LogError::Malformed), [`LogError::Storage`](crate::LogError::Storage).
pub fn read_offset_checkpoint(path: &Path) -> Result<BTreeMap<TopicPartition, i64>> {
    let entries = super::read(path, |line| {
        let mut parts = line.split_whitespace();
        let (topic, partition, offset) = (parts.next()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        parts.next().is_none().then(|| (TopicPartition::new(topic, partition), offset))
    })?;
    Ok(entries.into_iter().collect())
}

/// Writes one of these files, whole or not at all, and waits until it is on disk.
///
/// # Errors
/// [`LogError::Storage`](crate::LogError::Storage).
pub fn write_offset_checkpoint(path: &Path, offsets: &BTreeMap<TopicPartition, i64>) -> Result<()> {
    super::write(path, offsets.iter().map(|(tp, offset)| format!("{} {} {offset}", tp.topic, tp.partition)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LogError;

    #[test]
    fn round_trips_in_kafkas_format() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(RECOVERY_POINT_CHECKPOINT);
        assert_eq!(read_offset_checkpoint(&path).unwrap(), BTreeMap::new());
        let offsets = BTreeMap::from([(TopicPartition::new("a", 1), 42), (TopicPartition::new("b-c", 0), 0)]);
        write_offset_checkpoint(&path, &offsets).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "0\n2\na 1 42\nb-c 0 0\n");
        assert_eq!(read_offset_checkpoint(&path).unwrap(), offsets);
    }

    #[test]
    fn refuses_what_it_does_not_understand() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c");
        for text in ["1\n0\n", "0\n1\n", "0\nx\n", "0\n1\na 1\n", "0\n1\na 1 2 3\n", "0\n2\na 1 2\n", "0\n1\na b 2\n"] {
            std::fs::write(&path, text).unwrap();
            assert!(matches!(read_offset_checkpoint(&path), Err(LogError::Malformed { .. })), "{text:?}");
        }
        std::fs::write(&path, "").unwrap();
        assert_eq!(read_offset_checkpoint(&path).unwrap(), BTreeMap::new());
    }
}
