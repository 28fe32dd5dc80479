//! A file of sorted entries of fixed size: what the offset index and the time index have in common.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::file;
use crate::open_file::OpenFile;

/// Entries that wait in memory before they are written, and half of which stay there for readers at the log's end.
///
/// An index is rebuilt from the log where it may lack something after an unclean stop, so its entries need not be on
/// disk before the segment is rolled, flushed or closed: one write for many appends.
const TAIL_ENTRIES: usize = 512;

/// Entries of `N` bytes, at the end in memory, before that on disk.
#[derive(Debug)]
pub(crate) struct IndexFile<const N: usize> {
    path: PathBuf,
    file: OpenFile,
    entries: usize,
    /// Entries that are in the file.
    on_disk: usize,
    /// The entries from `tail_start` on.
    tail: Vec<[u8; N]>,
    tail_start: usize,
    max_entries: usize,
}

impl<const N: usize> IndexFile<N> {
    /// A new index; an old file of that name is emptied.
    pub(crate) fn create(path: PathBuf, max_bytes: usize) -> io::Result<Self> {
        let file = file::open(&path, true)?;
        file.set_len(0)?;
        let file = OpenFile::kept(file);
        Ok(Self { path, file, entries: 0, on_disk: 0, tail: Vec::new(), tail_start: 0, max_entries: max_bytes / N })
    }

    /// An index that exists. `Ok(None)` where the file is missing or its length is no multiple of the entry size.
    pub(crate) fn load(path: PathBuf, max_bytes: usize) -> io::Result<Option<Self>> {
        let length = match std::fs::metadata(&path) {
            Ok(metadata) => metadata.len(),
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        if length % N as u64 != 0 {
            return Ok(None);
        }
        let entries = (length / N as u64) as usize;
        let max_entries = max_bytes / N;
        let tail_start = entries;
        let file = OpenFile::default();
        Ok(Some(Self { path, file, entries, on_disk: entries, tail: Vec::new(), tail_start, max_entries }))
    }

    pub(crate) fn entries(&self) -> usize {
        self.entries
    }

    pub(crate) fn max_entries(&self) -> usize {
        self.max_entries
    }

    pub(crate) fn set_max_bytes(&mut self, max_bytes: usize) {
        self.max_entries = max_bytes / N;
    }

    pub(crate) fn append(&mut self, entry: [u8; N]) -> io::Result<()> {
        self.tail.push(entry);
        self.entries += 1;
        if self.tail.len() >= TAIL_ENTRIES {
            self.write_tail()?;
            let cut = self.tail.len() - TAIL_ENTRIES / 2;
            self.tail.drain(..cut);
            self.tail_start += cut;
        }
        Ok(())
    }

    pub(crate) fn entry(&mut self, n: usize) -> io::Result<[u8; N]> {
        if n >= self.tail_start
            && let Some(entry) = self.tail.get(n - self.tail_start)
        {
            return Ok(*entry);
        }
        let file = self.shared_file()?;
        entry_on_disk(&file, n)
    }

    /// The last entry for which `before` holds. It must hold for a first part of the entries and for none after it.
    pub(crate) fn last_where(&mut self, before: impl Fn(&[u8; N]) -> bool) -> io::Result<Option<(usize, [u8; N])>> {
        if self.tail.first().is_some_and(&before) {
            let n = self.tail.partition_point(&before) - 1;
            return Ok(self.tail.get(n).map(|entry| (self.tail_start + n, *entry)));
        }
        // Halve until what is left is one small read.
        const BLOCK_ENTRIES: usize = 256;
        let (mut low, mut high) = (0, self.tail_start);
        if low == high {
            return Ok(None);
        }
        let file = self.shared_file()?;
        while high - low > BLOCK_ENTRIES {
            let middle = low + (high - low) / 2;
            if before(&entry_on_disk(&file, middle)?) { low = middle } else { high = middle }
        }
        let mut block = vec![0; (high - low) * N];
        file::read_exact_at(&file, &mut block, (low * N) as u64)?;
        let (block, _) = block.as_chunks::<N>();
        let found = block.partition_point(&before);
        Ok(found.checked_sub(1).and_then(|n| Some((low + n, *block.get(n)?))))
    }

    /// Keeps the first `entries` entries.
    pub(crate) fn truncate(&mut self, entries: usize) -> io::Result<()> {
        if entries >= self.entries {
            return Ok(());
        }
        self.entries = entries;
        if entries >= self.tail_start {
            self.tail.truncate(entries - self.tail_start);
        } else {
            self.tail.clear();
            self.tail_start = entries;
        }
        if entries < self.on_disk {
            self.file.keep(&self.path, true)?.set_len((entries * N) as u64)?;
            self.on_disk = entries;
        }
        Ok(())
    }

    /// Brings all entries into the file.
    pub(crate) fn write_tail(&mut self) -> io::Result<()> {
        let unwritten = self.tail.get(self.on_disk - self.tail_start.min(self.on_disk)..).unwrap_or_default();
        if self.on_disk == self.entries || unwritten.is_empty() {
            return Ok(());
        }
        let bytes = unwritten.as_flattened().to_vec();
        let position = (self.on_disk * N) as u64;
        file::write_all_at(self.file.keep(&self.path, true)?, &bytes, position)?;
        self.on_disk = self.entries;
        Ok(())
    }

    /// Writes what is missing, closes the file and gives the memory back: nothing will be appended any more.
    pub(crate) fn seal(&mut self) -> io::Result<()> {
        self.write_tail()?;
        self.tail = Vec::new();
        self.tail_start = self.entries;
        self.file.release();
        Ok(())
    }

    /// The file for a while, also outside of the log's lock.
    pub(crate) fn shared_file(&mut self) -> io::Result<Arc<File>> {
        self.file.open(&self.path, true)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Says that the file was renamed.
    pub(crate) fn set_path(&mut self, path: PathBuf) {
        self.path = path;
    }
}

fn entry_on_disk<const N: usize>(file: &File, n: usize) -> io::Result<[u8; N]> {
    let mut entry = [0; N];
    file::read_exact_at(file, &mut entry, (n * N) as u64)?;
    Ok(entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(entry: &[u8; 8]) -> u64 {
        u64::from_be_bytes(*entry)
    }

    #[test]
    fn finds_entries_in_memory_and_on_disk_and_keeps_them_over_a_reload() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("i");
        let mut index = IndexFile::<8>::create(path.clone(), 1 << 20).unwrap();
        assert_eq!(index.last_where(|_| true).unwrap(), None);
        for n in 0..5_000_u64 {
            index.append((n * 10).to_be_bytes()).unwrap();
        }
        let check = |index: &mut IndexFile<8>, entries: u64| {
            assert_eq!(index.entries() as u64, entries);
            for target in [0, 1, 9, 10, 11, 2_555, 2_560, 10_000, 47_437, 47_440, 49_990, 60_000] {
                let found = index.last_where(|e| number(e) <= target).unwrap().map(|(n, e)| (n as u64, number(&e)));
                let expected = (target / 10).min(entries - 1);
                assert_eq!(found, Some((expected, expected * 10)), "target {target}");
            }
            assert_eq!(index.last_where(|_| false).unwrap(), None);
        };
        check(&mut index, 5_000);
        index.seal().unwrap();
        check(&mut index, 5_000);
        let mut reloaded = IndexFile::<8>::load(path.clone(), 1 << 20).unwrap().unwrap();
        check(&mut reloaded, 5_000);

        for keep in [4_999, 4_900, 300, 3] {
            index.truncate(keep).unwrap();
            check(&mut index, keep as u64);
        }
        index.append(30_u64.to_be_bytes()).unwrap();
        index.append(40_u64.to_be_bytes()).unwrap();
        check(&mut index, 5);
        index.write_tail().unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 40);
        index.truncate(4).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 32);
    }

    #[test]
    fn a_file_with_part_of_an_entry_is_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("i");
        assert!(IndexFile::<8>::load(path.clone(), 64).unwrap().is_none());
        std::fs::write(&path, [0; 12]).unwrap();
        assert!(IndexFile::<8>::load(path, 64).unwrap().is_none());
    }
}
