//! The index of aborted transactions of a segment.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::file;
use crate::open_file::OpenFile;

/// An aborted transaction, as kept in a `.txnindex` file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortedTransaction {
    /// The producer.
    pub producer_id: i64,
    /// Offset of the transaction's first record in the partition.
    pub first_offset: i64,
    /// Offset of its abort marker.
    pub last_offset: i64,
    /// The last stable offset right after it was aborted.
    pub last_stable_offset: i64,
}

const ENTRY: usize = 34;
const VERSION: i16 = 0;

impl AbortedTransaction {
    fn to_bytes(self) -> [u8; ENTRY] {
        let mut bytes = [0; ENTRY];
        let fields = [self.producer_id, self.first_offset, self.last_offset, self.last_stable_offset];
        let (version, rest) = bytes.split_at_mut(2);
        version.copy_from_slice(&VERSION.to_be_bytes());
        for (place, field) in rest.as_chunks_mut::<8>().0.iter_mut().zip(fields) {
            *place = field.to_be_bytes();
        }
        bytes
    }

    fn parse(bytes: &[u8; ENTRY]) -> io::Result<Self> {
        let (version, rest) = bytes.split_at(2);
        if version != VERSION.to_be_bytes() {
            let message = "unexpected aborted transaction version in a transaction index";
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        let mut fields = rest.as_chunks::<8>().0.iter().map(|field| i64::from_be_bytes(*field));
        let mut next = || fields.next().unwrap_or_default();
        Ok(Self { producer_id: next(), first_offset: next(), last_offset: next(), last_stable_offset: next() })
    }
}

/// Reads an index of aborted transactions, the file `OFFSET.txnindex`; an entry that is cut off at its end is left out.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] for a version that is not known, and those of the operating system.
pub fn read_transaction_index(path: &Path) -> io::Result<Vec<AbortedTransaction>> {
    std::fs::read(path)?.as_chunks::<ENTRY>().0.iter().map(AbortedTransaction::parse).collect()
}

/// What a search for aborted transactions found in one segment.
#[derive(Debug, Default)]
pub(crate) struct TxnIndexSearchResult {
    pub(crate) aborted: Vec<AbortedTransaction>,
    /// Whether later segments need not be searched.
    pub(crate) is_complete: bool,
}

/// The file exists only where the segment holds abort markers.
#[derive(Debug)]
pub(crate) struct TransactionIndex {
    path: PathBuf,
    file: OpenFile,
    entries: usize,
    last_offset: Option<i64>,
}

impl TransactionIndex {
    /// The index of a segment; `Ok(None)` where the file is damaged.
    pub(crate) fn load(path: PathBuf, base_offset: i64) -> io::Result<Option<Self>> {
        let mut index = Self { path, file: OpenFile::default(), entries: 0, last_offset: None };
        match std::fs::metadata(&index.path) {
            Ok(metadata) => index.entries = (metadata.len() / ENTRY as u64) as usize,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Some(index)),
            Err(e) => return Err(e),
        }
        let all = match index.all() {
            Ok(all) => all,
            Err(e) if e.kind() == io::ErrorKind::InvalidData => return Ok(None),
            Err(e) => return Err(e),
        };
        index.last_offset = all.last().map(|txn| txn.last_offset);
        Ok(all.iter().all(|txn| txn.last_offset >= base_offset).then_some(index))
    }

    /// An index without entries; an old file of that name goes.
    pub(crate) fn create(path: PathBuf) -> io::Result<Self> {
        file::remove_if_exists(&path)?;
        Ok(Self { path, file: OpenFile::default(), entries: 0, last_offset: None })
    }

    pub(crate) fn append(&mut self, txn: AbortedTransaction) -> io::Result<()> {
        if self.last_offset.is_some_and(|last| last >= txn.last_offset) {
            let message = "the last offsets of aborted transactions must grow";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let position = (self.entries * ENTRY) as u64;
        file::write_all_at(self.file.keep(&self.path, true)?, &txn.to_bytes(), position)?;
        self.entries += 1;
        self.last_offset = Some(txn.last_offset);
        Ok(())
    }

    pub(crate) fn all(&mut self) -> io::Result<Vec<AbortedTransaction>> {
        if self.entries == 0 {
            return Ok(Vec::new());
        }
        let mut bytes = vec![0; self.entries * ENTRY];
        file::read_exact_at(&*self.file.open(&self.path, true)?, &mut bytes, 0)?;
        bytes.as_chunks::<ENTRY>().0.iter().map(AbortedTransaction::parse).collect()
    }

    /// The transactions that a reader of `fetch_offset..upper_bound_offset` must know of.
    pub(crate) fn collect(&mut self, fetch_offset: i64, upper_bound_offset: i64) -> io::Result<TxnIndexSearchResult> {
        let mut result = TxnIndexSearchResult::default();
        for txn in self.all()? {
            if txn.last_offset >= fetch_offset && txn.first_offset < upper_bound_offset {
                result.aborted.push(txn);
            }
            if txn.last_stable_offset >= upper_bound_offset {
                result.is_complete = true;
                break;
            }
        }
        Ok(result)
    }

    /// Removes transactions that end at or above `offset`.
    pub(crate) fn truncate_to(&mut self, offset: i64) -> io::Result<()> {
        let all = self.all()?;
        let keep = all.partition_point(|txn| txn.last_offset < offset);
        if keep < self.entries {
            self.file.keep(&self.path, true)?.set_len((keep * ENTRY) as u64)?;
            self.entries = keep;
            self.last_offset = keep.checked_sub(1).and_then(|n| all.get(n)).map(|txn| txn.last_offset);
        }
        Ok(())
    }

    pub(crate) fn reset(&mut self) -> io::Result<()> {
        if self.entries > 0 || self.file.get().is_some() {
            self.file.keep(&self.path, true)?.set_len(0)?;
        }
        self.entries = 0;
        self.last_offset = None;
        Ok(())
    }

    /// Closes the file: nothing will be appended any more.
    pub(crate) fn seal(&mut self) {
        self.file.release();
    }

    /// The file for a flush; `None` where there is none.
    pub(crate) fn shared_file(&mut self) -> io::Result<Option<Arc<File>>> {
        if self.entries == 0 {
            return Ok(None);
        }
        self.file.open(&self.path, true).map(Some)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn set_path(&mut self, path: PathBuf) {
        self.path = path;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn txn(producer_id: i64, first_offset: i64, last_offset: i64, last_stable_offset: i64) -> AbortedTransaction {
        AbortedTransaction { producer_id, first_offset, last_offset, last_stable_offset }
    }

    #[test]
    fn collects_what_overlaps_and_knows_when_it_is_complete() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.txnindex");
        let all = [txn(0, 0, 10, 11), txn(1, 5, 15, 13), txn(2, 18, 35, 25), txn(3, 32, 50, 40)];
        let mut index = TransactionIndex::create(path.clone()).unwrap();
        assert!(!path.exists());
        for one in all {
            index.append(one).unwrap();
        }
        assert!(index.append(txn(9, 1, 50, 60)).is_err());
        let mut index = TransactionIndex::load(path, 0).unwrap().unwrap();
        let cases: [(i64, i64, &[AbortedTransaction], bool); 4] =
            [(0, 100, &all, false), (0, 32, &all[..3], true), (0, 35, &all, true), (16, 20, &all[2..3], true)];
        for (from, to, expected, complete) in cases {
            let found = index.collect(from, to).unwrap();
            assert_eq!((found.aborted.as_slice(), found.is_complete), (expected, complete), "{from}..{to}");
        }
        index.truncate_to(36).unwrap();
        assert_eq!(index.all().unwrap(), &all[..3]);
        index.reset().unwrap();
        assert_eq!(index.all().unwrap(), &[]);
        index.append(all[0]).unwrap();
    }

    #[test]
    fn an_entry_before_the_segment_or_of_another_version_is_damage() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.txnindex");
        TransactionIndex::create(path.clone()).unwrap().append(txn(0, 0, 10, 11)).unwrap();
        assert!(TransactionIndex::load(path.clone(), 11).unwrap().is_none());
        std::fs::write(&path, [7; ENTRY]).unwrap();
        assert!(TransactionIndex::load(path, 0).unwrap().is_none());
    }
}
