//! What the names of Kafka's files say.

use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// What a file is, by its suffix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Segment,
    /// Of the metadata log.
    Snapshot,
    OffsetIndex,
    TimeIndex,
    ProducerSnapshot,
    TransactionIndex,
    Unknown,
}

impl Kind {
    pub(super) fn of(file: &Path) -> Self {
        match file.extension().and_then(|suffix| suffix.to_str()) {
            Some("log") => Self::Segment,
            Some("checkpoint") => Self::Snapshot,
            Some("index") => Self::OffsetIndex,
            Some("timeindex") => Self::TimeIndex,
            Some("snapshot") => Self::ProducerSnapshot,
            Some("txnindex") => Self::TransactionIndex,
            _ => Self::Unknown,
        }
    }
}

/// The name without folders.
pub(super) fn short(file: &Path) -> String {
    file.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The offset that a file's name begins with, up to its first point.
pub(super) fn base_offset(file: &Path) -> Result<i64, Failure> {
    let name = short(file);
    let digits = name.split('.').next().unwrap_or_default();
    digits.parse().map_err(|_| Failure::Message(format!("{digits:?} is no offset")))
}

/// A file of the same segment with another suffix.
pub(super) fn beside(file: &Path, suffix: &str) -> PathBuf {
    let name = short(file);
    file.with_file_name(format!("{}.{suffix}", name.split('.').next().unwrap_or_default()))
}

/// End offset and epoch of a snapshot of the metadata log: `OFFSET-EPOCH.checkpoint`.
pub(super) fn snapshot_id(file: &Path) -> Option<(i64, i32)> {
    let name = short(file);
    let (offset, epoch) = name.strip_suffix(".checkpoint")?.split_once('-')?;
    Some((offset.parse().ok()?, epoch.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_files_are() {
        let cases = [
            ("d/00000000000000000012.log", Kind::Segment),
            ("00000000000000000012.index", Kind::OffsetIndex),
            ("00000000000000000012.timeindex", Kind::TimeIndex),
            ("00000000000000000012.snapshot", Kind::ProducerSnapshot),
            ("00000000000000000012.txnindex", Kind::TransactionIndex),
            ("bootstrap.checkpoint", Kind::Snapshot),
            ("leader-epoch-checkpoint", Kind::Unknown),
        ];
        for (name, kind) in cases {
            assert_eq!(Kind::of(Path::new(name)), kind, "{name}");
        }
        assert_eq!(base_offset(Path::new("d/00000000000000000012.log")).unwrap(), 12);
        assert_eq!(beside(Path::new("d/00012.timeindex"), "log"), Path::new("d/00012.log"));
        assert_eq!(snapshot_id(Path::new("00000000000000000007-0000000003.checkpoint")), Some((7, 3)));
        assert_eq!(snapshot_id(Path::new("bootstrap.checkpoint")), None);
        assert_eq!(base_offset(Path::new("x.log")).unwrap_err().message(), "\"x\" is no offset");
    }
}
