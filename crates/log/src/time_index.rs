//! The time index: the largest timestamp so far, with its offset, for every `index.interval.bytes` of a segment.

use std::io;
use std::path::PathBuf;

use vltava_protocol::record::NO_TIMESTAMP;

use crate::index::IndexFile;

/// A timestamp and an offset up to which no record is later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimestampOffset {
    pub(crate) timestamp: i64,
    pub(crate) offset: i64,
}

/// Entries of 8 bytes timestamp and 4 bytes offset relative to the segment's base offset.
#[derive(Debug)]
pub(crate) struct TimeIndex {
    base_offset: i64,
    pub(crate) file: IndexFile<12>,
    last: TimestampOffset,
}

impl TimeIndex {
    pub(crate) fn create(path: PathBuf, base_offset: i64, max_bytes: usize) -> io::Result<Self> {
        let last = TimestampOffset { timestamp: NO_TIMESTAMP, offset: base_offset };
        Ok(Self { base_offset, file: IndexFile::create(path, max_bytes)?, last })
    }

    /// `Ok(None)` where the file is missing or cannot be true.
    pub(crate) fn load(path: PathBuf, base_offset: i64, max_bytes: usize) -> io::Result<Option<Self>> {
        let Some(file) = IndexFile::load(path, max_bytes)? else { return Ok(None) };
        let last = TimestampOffset { timestamp: NO_TIMESTAMP, offset: base_offset };
        let mut index = Self { base_offset, file, last };
        index.last = index.read_last()?;
        if index.file.entries() > 0 {
            let first = decode(base_offset, &index.file.entry(0)?);
            if index.last.timestamp < first.timestamp || index.last.offset < base_offset {
                return Ok(None);
            }
        }
        Ok(Some(index))
    }

    /// The entry with the largest timestamp that is not above `target`; the segment's start where there is none.
    pub(crate) fn lookup(&mut self, target: i64) -> io::Result<TimestampOffset> {
        let base = self.base_offset;
        let found = self.file.last_where(|entry| decode(base, entry).timestamp <= target)?;
        let start = TimestampOffset { timestamp: NO_TIMESTAMP, offset: base };
        Ok(found.map_or(start, |(_, entry)| decode(base, &entry)))
    }

    /// Adds an entry where the timestamp is later than the last one.
    pub(crate) fn maybe_append(&mut self, entry: TimestampOffset) -> io::Result<()> {
        if entry.timestamp <= self.last.timestamp || entry.offset < self.last.offset {
            return Ok(());
        }
        let Ok(relative) = i32::try_from(entry.offset - self.base_offset) else { return Ok(()) };
        let bytes = (i128::from(entry.timestamp) << 32 | i128::from(relative as u32)).to_be_bytes();
        let Some(bytes) = bytes.last_chunk::<12>() else { return Ok(()) };
        self.file.append(*bytes)?;
        self.last = entry;
        Ok(())
    }

    /// Removes entries whose offset is at or above `offset`.
    pub(crate) fn truncate_to(&mut self, offset: i64) -> io::Result<()> {
        let base = self.base_offset;
        let keep = self.file.last_where(|entry| decode(base, entry).offset < offset)?.map_or(0, |(n, _)| n + 1);
        self.file.truncate(keep)?;
        self.last = self.read_last()?;
        Ok(())
    }

    pub(crate) fn reset(&mut self) -> io::Result<()> {
        self.file.truncate(0)?;
        self.last = self.read_last()?;
        Ok(())
    }

    /// One place stays free for the entry that closes the segment.
    pub(crate) fn is_full(&self) -> bool {
        self.file.entries() + 1 >= self.file.max_entries()
    }

    pub(crate) fn last_entry(&self) -> TimestampOffset {
        self.last
    }

    fn read_last(&mut self) -> io::Result<TimestampOffset> {
        match self.file.entries().checked_sub(1) {
            None => Ok(TimestampOffset { timestamp: NO_TIMESTAMP, offset: self.base_offset }),
            Some(last) => Ok(decode(self.base_offset, &self.file.entry(last)?)),
        }
    }
}

fn decode(base_offset: i64, entry: &[u8; 12]) -> TimestampOffset {
    let mut wide = [0; 16];
    wide.get_mut(4..).unwrap_or_default().copy_from_slice(entry);
    let wide = u128::from_be_bytes(wide);
    let relative = wide as u32 as i32;
    TimestampOffset { timestamp: (wide >> 32) as u64 as i64, offset: base_offset + i64::from(relative) }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn entry(timestamp: i64, offset: i64) -> TimestampOffset {
        TimestampOffset { timestamp, offset }
    }

    fn sample(dir: &Path) -> TimeIndex {
        let mut index = TimeIndex::create(dir.join("t"), 45, 1_200).unwrap();
        for (timestamp, offset) in [(10, 55), (20, 65), (20, 70), (15, 72), (30, 75)] {
            index.maybe_append(entry(timestamp, offset)).unwrap();
        }
        index
    }

    #[test]
    fn keeps_only_later_timestamps_and_finds_the_largest_not_above() {
        let dir = tempfile::tempdir().unwrap();
        let mut index = sample(dir.path());
        assert_eq!(index.file.entries(), 3);
        assert_eq!(index.last_entry(), entry(30, 75));
        for (target, found) in [(9, (-1, 45)), (10, (10, 55)), (25, (20, 65)), (99, (30, 75))] {
            assert_eq!(index.lookup(target).unwrap(), entry(found.0, found.1));
        }
        index.file.seal().unwrap();
        let mut reloaded = TimeIndex::load(dir.path().join("t"), 45, 1_200).unwrap().unwrap();
        assert_eq!(reloaded.last_entry(), entry(30, 75));
        assert_eq!(reloaded.lookup(29).unwrap(), entry(20, 65));
    }

    #[test]
    fn truncates_by_offset() {
        let dir = tempfile::tempdir().unwrap();
        for (to, last) in [(76, (30, 75)), (75, (20, 65)), (65, (10, 55)), (55, (-1, 45))] {
            let mut index = sample(dir.path());
            index.truncate_to(to).unwrap();
            assert_eq!(index.last_entry(), entry(last.0, last.1), "to {to}");
        }
    }

    #[test]
    fn timestamps_that_go_back_are_damage() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t");
        let mut bytes = Vec::new();
        for (timestamp, offset) in [(30_i64, 5_i32), (20, 9)] {
            bytes.extend(timestamp.to_be_bytes());
            bytes.extend(offset.to_be_bytes());
        }
        std::fs::write(&path, bytes).unwrap();
        assert!(TimeIndex::load(path, 45, 1_200).unwrap().is_none());
    }
}
