//! The offset index: for every `index.interval.bytes` of a segment, which batch lies where.

use std::io;
use std::path::PathBuf;

use crate::index::IndexFile;

/// A batch's last offset and the position where the batch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OffsetPosition {
    pub(crate) offset: i64,
    pub(crate) position: u64,
}

/// An offset that cannot follow the index's last one, or lies too far from its base offset.
#[derive(Debug)]
pub(crate) struct InvalidIndexOffset;

/// Entries of 4 bytes offset, relative to the segment's base offset, and 4 bytes position.
#[derive(Debug)]
pub(crate) struct OffsetIndex {
    base_offset: i64,
    pub(crate) file: IndexFile<8>,
    last_offset: i64,
}

impl OffsetIndex {
    pub(crate) fn create(path: PathBuf, base_offset: i64, max_bytes: usize) -> io::Result<Self> {
        Ok(Self { base_offset, file: IndexFile::create(path, max_bytes)?, last_offset: base_offset })
    }

    /// `Ok(None)` where the file is missing or cannot be true for a segment of `log_size` bytes.
    pub(crate) fn load(path: PathBuf, base_offset: i64, max_bytes: usize, log_size: u64) -> io::Result<Option<Self>> {
        let Some(file) = IndexFile::load(path, max_bytes)? else { return Ok(None) };
        let mut index = Self { base_offset, file, last_offset: base_offset };
        if let Some(last) = index.last_entry()? {
            if last.offset < base_offset || last.position >= log_size || last.position == 0 {
                return Ok(None);
            }
            index.last_offset = last.offset;
        }
        Ok(Some(index))
    }

    /// The entry with the largest offset that is not above `target`; the segment's start where there is none.
    pub(crate) fn lookup(&mut self, target: i64) -> io::Result<OffsetPosition> {
        let base = self.base_offset;
        let found = self.file.last_where(|entry| decode(base, entry).offset <= target)?;
        Ok(found.map_or(OffsetPosition { offset: base, position: 0 }, |(_, entry)| decode(base, &entry)))
    }

    /// The first entry at or after `position + length`: an offset that a read of that range stays below.
    pub(crate) fn fetch_upper_bound_offset(&mut self, position: u64, length: u64) -> io::Result<Option<i64>> {
        let base = self.base_offset;
        let below = self.file.last_where(|entry| decode(base, entry).position < position + length)?;
        let next = below.map_or(0, |(n, _)| n + 1);
        if next >= self.file.entries() {
            return Ok(None);
        }
        Ok(Some(decode(base, &self.file.entry(next)?).offset))
    }

    /// Adds an entry; offsets must grow.
    pub(crate) fn append(&mut self, offset: i64, position: u64) -> io::Result<Result<(), InvalidIndexOffset>> {
        if self.file.entries() > 0 && offset <= self.last_offset {
            return Ok(Err(InvalidIndexOffset));
        }
        let (Some(relative), Ok(position)) = (self.relative(offset), u32::try_from(position)) else {
            return Ok(Err(InvalidIndexOffset));
        };
        let entry = (u64::from(relative) << 32 | u64::from(position)).to_be_bytes();
        self.file.append(entry)?;
        self.last_offset = offset;
        Ok(Ok(()))
    }

    /// Removes entries at and above `offset`.
    pub(crate) fn truncate_to(&mut self, offset: i64) -> io::Result<()> {
        let base = self.base_offset;
        let keep = self.file.last_where(|entry| decode(base, entry).offset < offset)?.map_or(0, |(n, _)| n + 1);
        self.file.truncate(keep)?;
        self.last_offset = self.last_entry()?.map_or(base, |entry| entry.offset);
        Ok(())
    }

    pub(crate) fn reset(&mut self) -> io::Result<()> {
        self.last_offset = self.base_offset;
        self.file.truncate(0)
    }

    /// Whether the offset can be told relative to the base offset in 31 bits.
    pub(crate) fn can_append_offset(&self, offset: i64) -> bool {
        self.relative(offset).is_some()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.file.entries() >= self.file.max_entries()
    }

    pub(crate) fn last_offset(&self) -> i64 {
        self.last_offset
    }

    fn relative(&self, offset: i64) -> Option<u32> {
        let relative = offset.checked_sub(self.base_offset)?;
        i32::try_from(relative).ok()?.try_into().ok()
    }

    fn last_entry(&mut self) -> io::Result<Option<OffsetPosition>> {
        match self.file.entries().checked_sub(1) {
            None => Ok(None),
            Some(last) => Ok(Some(decode(self.base_offset, &self.file.entry(last)?))),
        }
    }
}

fn decode(base_offset: i64, entry: &[u8; 8]) -> OffsetPosition {
    let entry = u64::from_be_bytes(*entry);
    let relative = (entry >> 32) as u32 as i32;
    OffsetPosition { offset: base_offset + i64::from(relative), position: entry & 0xffff_ffff }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn sample(dir: &Path) -> OffsetIndex {
        let mut index = OffsetIndex::create(dir.join("i"), 100, 80).unwrap();
        for (offset, position) in [(110, 5_000), (120, 10_000), (130, 15_000)] {
            index.append(offset, position).unwrap().unwrap();
        }
        index
    }

    #[test]
    fn looks_up_the_largest_offset_not_above_the_target() {
        let dir = tempfile::tempdir().unwrap();
        let mut index = sample(dir.path());
        let cases = [(100, 100, 0), (109, 100, 0), (110, 110, 5_000), (125, 120, 10_000), (999, 130, 15_000)];
        for (target, offset, position) in cases {
            assert_eq!(index.lookup(target).unwrap(), OffsetPosition { offset, position });
        }
        assert_eq!(index.fetch_upper_bound_offset(0, 5_000).unwrap(), Some(110));
        assert_eq!(index.fetch_upper_bound_offset(5_000, 1).unwrap(), Some(120));
        assert_eq!(index.fetch_upper_bound_offset(15_000, 1).unwrap(), None);
    }

    #[test]
    fn refuses_offsets_that_do_not_grow_or_are_too_far_away() {
        let dir = tempfile::tempdir().unwrap();
        let mut index = sample(dir.path());
        assert!(index.append(130, 16_000).unwrap().is_err());
        assert!(!index.can_append_offset(99));
        assert!(index.can_append_offset(100 + i64::from(i32::MAX)));
        assert!(!index.can_append_offset(101 + i64::from(i32::MAX)));
        assert!(index.append(101 + i64::from(i32::MAX), 16_000).unwrap().is_err());
        assert_eq!(index.file.entries(), 3);
    }

    #[test]
    fn truncates_below_an_offset() {
        let dir = tempfile::tempdir().unwrap();
        for (to, entries, last) in [(131, 3, 130), (130, 2, 120), (115, 1, 110), (110, 0, 100), (5, 0, 100)] {
            let mut index = sample(dir.path());
            index.truncate_to(to).unwrap();
            assert_eq!((index.file.entries(), index.last_offset()), (entries, last), "to {to}");
        }
    }

    #[test]
    fn a_position_outside_of_the_segment_is_damage() {
        let dir = tempfile::tempdir().unwrap();
        let mut index = sample(dir.path());
        index.file.seal().unwrap();
        let load = |size| OffsetIndex::load(dir.path().join("i"), 100, 80, size).unwrap();
        assert_eq!(load(15_001).unwrap().last_offset(), 130);
        assert!(load(15_000).is_none());
    }
}
