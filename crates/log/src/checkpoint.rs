//! The small text files of a log directory and of a partition's directory, in Kafka's formats.

mod clean_shutdown;
mod meta_properties;
mod offsets;
mod partition_metadata;

use std::fmt::Display;
use std::path::Path;
use std::{fs, io};

pub use clean_shutdown::CleanShutdownFile;
pub use meta_properties::MetaProperties;
pub use offsets::{
    CLEANER_OFFSET_CHECKPOINT, LOG_START_OFFSET_CHECKPOINT, RECOVERY_POINT_CHECKPOINT, REPLICATION_OFFSET_CHECKPOINT,
    read_offset_checkpoint, write_offset_checkpoint,
};
pub use partition_metadata::PartitionMetadata;

use crate::error::{LogError, Result};
use crate::file;

/// Both kinds of checkpoint files are of version 0.
const VERSION: &str = "0";

/// Writes version, number of entries, and an entry per line; whole or not at all.
pub(crate) fn write<T: Display>(path: &Path, entries: impl ExactSizeIterator<Item = T>) -> Result<()> {
    Ok(file::write_atomically(path, text(entries).as_bytes())?)
}

/// As [`write`], without waiting for the disk: a loss of power may leave an empty file, which has no entries.
pub(crate) fn write_unsynced<T: Display>(path: &Path, entries: impl ExactSizeIterator<Item = T>) -> Result<()> {
    Ok(file::write_unsynced(path, text(entries).as_bytes())?)
}

fn text<T: Display>(entries: impl ExactSizeIterator<Item = T>) -> String {
    let mut text = format!("{VERSION}\n{}\n", entries.len());
    for entry in entries {
        text += &format!("{entry}\n");
    }
    text
}

/// Reads what [`write`] wrote. A missing or empty file has no entries.
pub(crate) fn read<T>(path: &Path, parse: impl Fn(&str) -> Option<T>) -> Result<Vec<T>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) if e.kind() == io::ErrorKind::InvalidData => return Err(LogError::malformed(path, "it is not text")),
        Err(e) => return Err(e.into()),
    };
    let mut lines = text.lines();
    let Some(version) = lines.next() else { return Ok(Vec::new()) };
    if version != VERSION {
        let reason = format!("unrecognised version {version}, expected version {VERSION}");
        return Err(LogError::malformed(path, reason));
    }
    let Some(count) = lines.next() else { return Ok(Vec::new()) };
    let malformed_line = |line: &str| LogError::malformed(path, format!("malformed line: {line}"));
    let expected: usize = count.parse().map_err(|_| malformed_line(count))?;
    let entries: Vec<T> = lines.map(|line| parse(line).ok_or_else(|| malformed_line(line))).collect::<Result<_>>()?;
    if entries.len() != expected {
        let reason = format!("expected {expected} entries, but found {}", entries.len());
        return Err(LogError::malformed(path, reason));
    }
    Ok(entries)
}
