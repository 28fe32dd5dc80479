//! Which leader epoch began at which offset: `leader-epoch-checkpoint`.

use std::path::{Path, PathBuf};

use crate::checkpoint;
use crate::error::{LogError, Result};

const FILE_NAME: &str = "leader-epoch-checkpoint";

/// The start of a leader epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEntry {
    /// The leader epoch, from 0.
    pub epoch: i32,
    /// The first offset that was written in it.
    pub start_offset: i64,
}

/// The epochs of a log in order, both epochs and start offsets growing, kept in a file.
#[derive(Debug)]
pub struct LeaderEpochCache {
    path: PathBuf,
    epochs: Vec<EpochEntry>,
    /// The file was written and is not known to be on disk.
    is_unsynced: bool,
}

impl LeaderEpochCache {
    /// Reads the file of a partition's directory; empty where there is none.
    pub(crate) fn open(dir: &Path) -> Result<Self> {
        let path = dir.join(FILE_NAME);
        let entries = checkpoint::read(&path, |line| {
            let (epoch, offset) = line.split_once(' ')?;
            Some(EpochEntry { epoch: epoch.parse().ok()?, start_offset: offset.trim().parse().ok()? })
        })?;
        let mut cache = Self { path, epochs: Vec::with_capacity(entries.len()), is_unsynced: false };
        for entry in entries {
            cache.insert(entry)?;
        }
        Ok(cache)
    }

    /// The epochs in order.
    pub fn entries(&self) -> &[EpochEntry] {
        &self.epochs
    }

    /// The newest epoch.
    pub fn latest(&self) -> Option<EpochEntry> {
        self.epochs.last().copied()
    }

    /// The epoch that `offset` was written in; `None` below the first.
    pub fn epoch_for_offset(&self, offset: i64) -> Option<i32> {
        let after = self.epochs.partition_point(|entry| entry.start_offset <= offset);
        self.epochs.get(after.checked_sub(1)?).map(|entry| entry.epoch)
    }

    /// The largest epoch not above `requested`, and the offset where the next one begins (KIP-101, KIP-279).
    ///
    /// For the newest epoch that is the log end offset; for one above it there is no answer.
    pub fn end_offset_for(&self, requested: i32, log_end_offset: i64) -> Option<(i32, i64)> {
        if requested < 0 {
            return None;
        }
        if self.latest()?.epoch == requested {
            return Some((requested, log_end_offset));
        }
        let higher = self.epochs.partition_point(|entry| entry.epoch <= requested);
        let end = self.epochs.get(higher)?.start_offset;
        let floor = higher.checked_sub(1).and_then(|n| self.epochs.get(n));
        Some((floor.map_or(requested, |entry| entry.epoch), end))
    }

    /// Notes that `epoch` begins at `start_offset`; entries that contradict this go. Written at once where it is new.
    pub(crate) fn assign(&mut self, epoch: i32, start_offset: i64) -> Result<()> {
        if self.insert(EpochEntry { epoch, start_offset })? { self.write() } else { Ok(()) }
    }

    /// Whether [`LeaderEpochCache::assign`] would change anything.
    pub(crate) fn is_update_needed(&self, epoch: i32, start_offset: i64) -> bool {
        self.latest().is_none_or(|latest| epoch != latest.epoch || start_offset < latest.start_offset)
    }

    /// Removes epochs that begin at or above `end_offset`.
    pub(crate) fn truncate_from_end(&mut self, end_offset: i64) -> Result<()> {
        let keep = self.epochs.partition_point(|entry| entry.start_offset < end_offset);
        if end_offset < 0 || keep == self.epochs.len() {
            return Ok(());
        }
        self.epochs.truncate(keep);
        self.write()
    }

    /// Removes epochs that end at or below `start_offset`; the one that holds it begins there from now on.
    pub(crate) fn truncate_from_start(&mut self, start_offset: i64) -> Result<()> {
        let at_or_below = self.epochs.partition_point(|entry| entry.start_offset <= start_offset);
        let Some(last) = at_or_below.checked_sub(1) else { return Ok(()) };
        if last == 0 && self.epochs.first().is_some_and(|entry| entry.start_offset == start_offset) {
            return Ok(());
        }
        self.epochs.drain(..last);
        if let Some(first) = self.epochs.first_mut() {
            first.start_offset = start_offset;
        }
        self.write()
    }

    pub(crate) fn clear_and_write(&mut self) -> Result<()> {
        self.epochs.clear();
        self.write()
    }

    fn insert(&mut self, entry: EpochEntry) -> Result<bool> {
        if entry.epoch < 0 || entry.start_offset < 0 {
            return Err(LogError::InvalidArgument(format!(
                "received invalid partition leader epoch {} with start offset {}",
                entry.epoch, entry.start_offset
            )));
        }
        if !self.is_update_needed(entry.epoch, entry.start_offset) {
            return Ok(false);
        }
        let conflicts = |old: &EpochEntry| old.epoch >= entry.epoch || old.start_offset >= entry.start_offset;
        while self.epochs.last().is_some_and(conflicts) {
            self.epochs.pop();
        }
        self.epochs.push(entry);
        Ok(true)
    }

    /// The file, where it waits to be brought to the disk.
    pub(crate) fn unsynced_file(&self) -> Option<&Path> {
        self.is_unsynced.then_some(self.path.as_path())
    }

    /// Says that the file is on disk.
    pub(crate) fn mark_synced(&mut self) {
        self.is_unsynced = false;
    }

    /// The epochs are in the batches too, so the disk is not waited for here but when the batches are flushed.
    fn write(&mut self) -> Result<()> {
        let lines = self.epochs.iter().map(|e| format!("{} {}", e.epoch, e.start_offset));
        checkpoint::write_unsynced(&self.path, lines)?;
        self.is_unsynced = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(dir: &Path, entries: &[(i32, i64)]) -> LeaderEpochCache {
        let mut cache = LeaderEpochCache::open(dir).unwrap();
        cache.clear_and_write().unwrap();
        for (epoch, start) in entries {
            cache.assign(*epoch, *start).unwrap();
        }
        cache
    }

    fn entries(cache: &LeaderEpochCache) -> Vec<(i32, i64)> {
        cache.entries().iter().map(|e| (e.epoch, e.start_offset)).collect()
    }

    #[test]
    fn assigns_and_keeps_in_kafkas_format() {
        let dir = tempfile::tempdir().unwrap();
        let mut c = cache(dir.path(), &[(0, 0), (0, 5), (2, 10), (2, 12)]);
        assert_eq!(entries(&c), [(0, 0), (2, 10)]);
        assert_eq!(std::fs::read_to_string(dir.path().join(FILE_NAME)).unwrap(), "0\n2\n0 0\n2 10\n");
        assert_eq!(entries(&LeaderEpochCache::open(dir.path()).unwrap()), [(0, 0), (2, 10)]);
        // An older epoch or offset shows that what was noted after it is not true.
        c.assign(3, 8).unwrap();
        assert_eq!(entries(&c), [(0, 0), (3, 8)]);
        c.assign(1, 9).unwrap();
        assert_eq!(entries(&c), [(0, 0), (1, 9)]);
        assert!(c.assign(-1, 9).is_err());
    }

    #[test]
    fn end_offsets() {
        let dir = tempfile::tempdir().unwrap();
        let c = cache(dir.path(), &[(2, 0), (4, 10), (7, 30)]);
        let cases = [
            (-1, None),
            (1, Some((1, 0))),
            (2, Some((2, 10))),
            (3, Some((2, 10))),
            (4, Some((4, 30))),
            (6, Some((4, 30))),
            (7, Some((7, 99))),
            (8, None),
        ];
        for (requested, expected) in cases {
            assert_eq!(c.end_offset_for(requested, 99), expected, "epoch {requested}");
        }
        assert_eq!(cache(dir.path(), &[]).end_offset_for(0, 99), None);
        let c = cache(dir.path(), &[(2, 5), (4, 10)]);
        for (offset, epoch) in [(4, None), (5, Some(2)), (9, Some(2)), (10, Some(4)), (1_000, Some(4))] {
            assert_eq!(c.epoch_for_offset(offset), epoch);
        }
    }

    #[test]
    fn truncates_at_both_ends() {
        let dir = tempfile::tempdir().unwrap();
        let all = [(2, 0), (4, 10), (7, 30)];
        for (end, expected) in [(31, 3), (30, 2), (11, 2), (10, 1), (0, 0)] {
            let mut c = cache(dir.path(), &all);
            c.truncate_from_end(end).unwrap();
            assert_eq!(entries(&c), &all[..expected]);
            assert_eq!(entries(&LeaderEpochCache::open(dir.path()).unwrap()), &all[..expected]);
        }
        let cases: [(i64, &[(i32, i64)]); 4] =
            [(0, &all), (5, &[(2, 5), (4, 10), (7, 30)]), (10, &[(4, 10), (7, 30)]), (50, &[(7, 50)])];
        for (start, expected) in cases {
            let mut c = cache(dir.path(), &all);
            c.truncate_from_start(start).unwrap();
            assert_eq!(entries(&c), expected);
        }
    }
}
