//! The embedded LSM tree: a store that outlives the process.
//!
//! What was put since the last commit lies in an ordered map of its own ([`Overlay`]), so that it can be forgotten. When it is
//! committed it goes into a second one, and when that is full the background writes it into tables. The memtable of the
//! tree itself, a list that many threads may write to at once, costs several times as much, and is not used.
//!
//! What a commit covers and the changelog offset that says so go together all the way: so every set of tables on disk holds
//! data and offset that belong together, whatever moment a process dies at. The batches that are in no table yet are in
//! a [`Journal`] that nobody waits for: a store whose process died is as of its last commit. Where the machine died it may
//! be as of an earlier one, and the changelog is read from that one's offset on.
//!
//! Every block on disk has a checksum. Where one does not match, or a file is missing, the store is
//! [damaged](Error::CorruptedStore) and says so in its directory, so that it is never opened again (`damage.rs`).

mod background;
mod damage;
mod engine;
mod journal;

use std::{
    collections::BTreeMap,
    fmt, fs,
    ops::Bound,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use lsm_tree::{AbstractTree, AnyTree, Guard, SeqNo};

use background::{Background, Job, Sealed};
pub use engine::{LsmEngine, LsmOptions};
use journal::Journal;

use super::{BytesIter, KeyValueBytesStore, Order, overlay::Overlay};
use crate::error::{Error, Result};

/// Where the entries of the store begin; the one key below them is the store's own.
const DATA: u8 = 1;
/// The key of the changelog offset; with a partition's number behind it, that of a partition of a global store's topic.
const OFFSET: &[u8] = &[0];
/// The key of the number of the last batch, in one that has no offset: so the tables tell of every batch that is in them,
/// even if all else in it is gone again.
const LAST: &[u8] = &[0, 0xff];

/// How much longer a journal may be than what it has is in memory.
const JOURNAL_FACTOR: u64 = 2;
/// The number of a tree's first batch. The tree numbers the sets of its tables in the same sequence, from 0 whenever it is
/// opened, and gives a reader the last set below the reader's number: that has to be the last of all.
const FIRST_BATCH: SeqNo = 1 << 27;

fn storage(store: &str, doing: &str, source: impl std::error::Error) -> Box<Error> {
    Box::new(Error::Store { store: store.to_owned(), message: format!("{doing}: {source}") })
}

/// A key-value store on disk, of one task.
pub struct LsmKeyValueStore {
    name: String,
    path: PathBuf,
    tree: AnyTree,
    /// What is in the tree below this number is read there; 0 for nothing.
    visible: SeqNo,
    /// The number of the next batch.
    seqno: SeqNo,
    journal: Journal,
    /// What is being written into tables. This and the maps below have the keys of the tree.
    sealed: Option<Arc<Sealed>>,
    /// What was committed since that was sealed.
    committed: Overlay,
    /// What was put since the last commit.
    uncommitted: Overlay,
    /// Whether reads leave that out.
    committed_only: bool,
    restoration: Restoration,
    /// Whether a restoration has ended: what is restored from then on is put.
    is_restored: bool,
    /// The offset of the last commit, if there was one since the store was opened.
    offset: Option<i64>,
    engine: LsmEngine,
    background: Arc<Background>,
}

/// What there is of a restoration in what is committed, and in no journal.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Restoration {
    None,
    /// Rows whose offset is still to come. Without it they are not to be written.
    Open,
    /// Rows with their offset.
    Covered,
}

impl LsmEngine {
    /// Opens or creates the store `name` in the directory `path`.
    ///
    /// # Errors
    /// If the directory cannot be made, or its tables cannot be read: [`Error::CorruptedStore`] where they are damaged, or
    /// were found so before.
    pub fn open(&self, name: &str, path: &Path) -> Result<LsmKeyValueStore> {
        fs::create_dir_all(path).map_err(|error| storage(name, "creating its directory", error))?;
        damage::check(name, path)?;
        let opened = damage::guarded(|| self.config(path).open());
        let tree = opened.map_err(|error| damage::failed(name, path, "opening", error))?;
        // Entries written under a lower number than those on disk would be hidden by them.
        let highest = tree.get_highest_seqno();
        let next = highest.map_or(FIRST_BATCH, |highest| FIRST_BATCH.max(highest + 1));
        let mut committed = Overlay::default();
        let recovered = Journal::open(path, next, |_, (key, value)| committed.put([&key], value.as_deref()));
        let recovered = recovered.map_err(|error| storage(name, "reading its journal", error))?;
        if recovered.dropped > 0 {
            let bytes = recovered.dropped;
            tracing::warn!(store = name, bytes, "the end of its journal is lost: it is as of an earlier commit");
        }
        let (journal, seqno) = (recovered.journal, recovered.next);
        self.opened();
        Ok(LsmKeyValueStore {
            name: name.to_owned(),
            path: path.to_owned(),
            background: Arc::new(Background::new(tree.clone())),
            tree,
            visible: highest.map_or(0, |_| next),
            seqno,
            journal,
            sealed: None,
            committed,
            uncommitted: Overlay::default(),
            committed_only: false,
            restoration: Restoration::None,
            is_restored: false,
            offset: None,
            engine: self.clone(),
        })
    }
}

impl LsmKeyValueStore {
    fn failed(&self, doing: &str, error: damage::Failure) -> Box<Error> {
        damage::failed(&self.name, &self.path, doing, error)
    }

    fn journal_failed(&self, doing: &str) -> impl FnOnce(std::io::Error) -> Box<Error> {
        let (name, doing) = (self.name.clone(), format!("{doing} its journal"));
        move |error| storage(&name, &doing, error)
    }

    /// Reads one entry, of what is committed.
    fn read(&self, key: &[u8]) -> Result<Option<Bytes>> {
        let sealed = || self.sealed.as_ref()?.entries.get(key);
        if let Some(row) = self.committed.get(key).or_else(sealed) {
            return Ok(row.value_bytes());
        }
        if self.visible == 0 {
            return Ok(None);
        }
        let found = damage::guarded(|| self.tree.get(key, self.visible));
        Ok(found.map_err(|error| self.failed("reading", error))?.map(Bytes::from))
    }

    /// Entries with the keys of the tree.
    fn scan(&self, (from, to): &Range, committed_only: bool, order: Order) -> BytesIter {
        let bounds = || (from.as_ref().map(Vec::as_slice), to.as_ref().map(Vec::as_slice));
        let mut found = self.scan_tree((from.clone(), to.clone()), order);
        if let Some(sealed) = &self.sealed {
            found = sealed.entries.over(bounds(), order, found);
        }
        found = self.committed.over(bounds(), order, found);
        if !committed_only {
            found = self.uncommitted.over(bounds(), order, found);
        }
        found
    }

    fn scan_tree(&self, range: Range, order: Order) -> BytesIter {
        if self.visible == 0 {
            return Box::new(std::iter::empty());
        }
        let entries = self.tree.range::<Vec<u8>, _>(range, self.visible, None);
        let (store, path) = (self.name.clone(), self.path.clone());
        let read = move |entry: lsm_tree::IterGuardImpl| match entry.into_inner() {
            Ok((key, value)) => Ok((Bytes::from(key), Bytes::from(value))),
            Err(error) => Err(damage::failed(&store, &path, "scanning", error.into())),
        };
        match order {
            Order::Forward => Box::new(entries.map(read)),
            Order::Reverse => Box::new(entries.rev().map(read)),
        }
    }

    /// [`scan`](Self::scan) with the store's own keys.
    fn scan_data(&self, range: &Range, order: Order) -> BytesIter {
        let found = self.scan(range, self.committed_only, order);
        Box::new(found.map(|entry| entry.map(|(key, value)| (key.slice(1..), value))))
    }

    /// Commits what was put, with offsets by the keys of the tree.
    fn commit_with(&mut self, offsets: impl IntoIterator<Item = (Bytes, i64)>) -> Result<()> {
        if let Some(error) = self.background.failure.lock().take() {
            return Err(self.failed("flushing", error));
        }
        let offset = |(key, offset): (Bytes, i64)| (key, offset.to_be_bytes());
        let mut own: Vec<_> = offsets.into_iter().map(offset).collect();
        let is_empty = self.uncommitted.len() == 0;
        if own.is_empty() {
            if is_empty && self.restoration != Restoration::Open {
                return Ok(());
            }
            own.push((Bytes::from_static(LAST), self.seqno.to_be_bytes()));
        }
        let is_restored = self.restoration != Restoration::None;
        if is_restored {
            self.restoration = Restoration::Covered;
        } else {
            let rows = self.uncommitted.iter().map(|row| (row.key(), row.value()));
            let own = own.iter().map(|(key, offset)| (&key[..], Some(&offset[..])));
            let written = self.journal.append(self.seqno, rows.chain(own));
            written.map_err(self.journal_failed("writing"))?;
        }
        self.seqno += 1;
        self.committed.append(&mut self.uncommitted);
        own.into_iter().for_each(|(key, offset)| self.committed.put([&key], Some(&offset)));
        self.settle();
        // While a store is restored nothing of it is uncommitted: that share is free.
        let limit = self.engine.memtable_limit() * if is_restored { 2 } else { 1 };
        // The same few keys again and again take no more memory, but the journal has them all.
        let is_full = self.committed.bytes() >= limit || self.journal.len() >= JOURNAL_FACTOR * limit;
        let is_over = is_restored && !is_empty;
        if is_full || is_over { self.seal() } else { Ok(()) }
    }

    /// What is written into tables is read there.
    fn settle(&mut self) {
        if let Some(sealed) = self.sealed.take_if(|sealed| sealed.is_done()) {
            self.visible = sealed.seqno + 1;
        }
    }

    /// What is committed is to be written.
    fn take_committed(&mut self) -> Arc<Sealed> {
        let (entries, journals) = (std::mem::take(&mut self.committed), self.journal.rotate());
        let is_restoring = std::mem::replace(&mut self.restoration, Restoration::None) != Restoration::None;
        // There was a batch, or nothing would be here.
        let seqno = self.seqno.saturating_sub(1);
        let sealed = Arc::new(Sealed { entries, seqno, journals, is_restoring, done: AtomicBool::new(false) });
        self.sealed = Some(sealed.clone());
        sealed
    }

    fn seal(&mut self) -> Result<()> {
        // One at a time: if the background cannot keep up, it is helped.
        self.write_sealed("flushing")?;
        let (sealed, background) = (self.take_committed(), self.background.clone());
        self.engine.send(Job { background, sealed });
        Ok(())
    }

    fn write_sealed(&mut self, doing: &str) -> Result<()> {
        self.settle();
        if let Some(sealed) = &self.sealed {
            self.background.write(sealed).map_err(|error| self.failed(doing, error))?;
        }
        self.settle();
        Ok(())
    }
}

impl KeyValueBytesStore for LsmKeyValueStore {
    fn name(&self) -> &str {
        &self.name
    }

    fn persistent(&self) -> bool {
        true
    }

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        let key = tree_key(key);
        match self.uncommitted.get(&key).filter(|_| !self.committed_only) {
            Some(row) => Ok(row.value_bytes()),
            None => self.read(&key),
        }
    }

    fn put(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<()> {
        self.uncommitted.put([&[DATA], key], value);
        Ok(())
    }

    fn restore(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<()> {
        if self.is_restored {
            return self.put(key, value);
        }
        self.committed.put([&[DATA], key], value);
        self.restoration = Restoration::Open;
        Ok(())
    }

    fn is_restoration_written(&mut self) -> Result<bool> {
        self.settle();
        if self.sealed.is_none() && self.restoration == Restoration::Covered {
            self.seal()?;
        }
        // What cannot be written is told to who ends the restoration.
        Ok(self.sealed.is_none() || self.background.failure.lock().is_some())
    }

    fn end_restoration(&mut self) -> Result<()> {
        self.is_restored = true;
        // Also what was restored last and is on its way: the journal goes on behind it.
        self.write_sealed("ending the restoration")?;
        if self.restoration == Restoration::Covered {
            self.take_committed();
            self.write_sealed("ending the restoration")?;
        }
        if self.tree.l0_run_count() > 1 {
            // From now on it is read: the tables that were left as they are are merged.
            let sealed = Arc::new(Sealed::nothing(self.seqno));
            self.engine.send(Job { background: self.background.clone(), sealed });
        }
        Ok(())
    }

    fn range(&self, from: Option<&[u8]>, to: Option<&[u8]>, order: Order) -> Result<BytesIter> {
        Ok(self.scan_data(&bounds(from, to), order))
    }

    fn first(&self, from: Option<&[u8]>, to: Option<&[u8]>) -> Result<Option<(Bytes, Bytes)>> {
        if self.committed_only {
            return self.range(from, to, Order::Forward)?.next().transpose();
        }
        let (from, to) = bounds(from, to);
        let bounds = (from.as_ref().map(Vec::as_slice), to.as_ref().map(Vec::as_slice));
        let nothing = Overlay::default();
        let sealed = self.sealed.as_ref().map_or(&nothing, |sealed| &sealed.entries);
        let found = sealed.borrowed_over(bounds, self.scan_tree((from.clone(), to.clone()), Order::Forward));
        let found = self.committed.borrowed_over(bounds, found);
        let first = self.uncommitted.borrowed_over(bounds, found).next().transpose()?;
        Ok(first.map(|(key, value)| (key.slice(1..), value)))
    }

    fn prefix(&self, prefix: &[u8], order: Order) -> Result<BytesIter> {
        let from = tree_key(prefix);
        let to = after_prefix(from.clone());
        Ok(self.scan_data(&(Bound::Included(from), Bound::Excluded(to)), order))
    }

    fn approximate_num_entries(&self) -> u64 {
        let sealed = self.sealed.as_ref().map_or(0, |sealed| sealed.entries.len());
        let committed = self.tree.approximate_len() + sealed + self.committed.len();
        // Not the changelog offset.
        (committed.saturating_sub(1) + self.uncommitted.len()) as u64
    }

    fn commit(&mut self, changelog_offset: Option<i64>) -> Result<()> {
        // One that covers nothing more says nothing new.
        let offset = changelog_offset.filter(|_| self.uncommitted.len() > 0 || changelog_offset != self.offset);
        self.commit_with(offset.map(|offset| (Bytes::from_static(OFFSET), offset)))?;
        self.offset = changelog_offset.or(self.offset);
        Ok(())
    }

    fn forget(&mut self) -> Result<bool> {
        self.uncommitted.clear();
        Ok(true)
    }

    fn read_committed(&mut self, only: bool) {
        self.committed_only = only;
    }

    fn committed_offset(&self) -> Result<Option<i64>> {
        let offset = self.read(OFFSET)?.and_then(|bytes| <[u8; 8]>::try_from(&*bytes).ok());
        Ok(offset.map(i64::from_be_bytes))
    }

    fn commit_partitions(&mut self, offsets: &BTreeMap<i32, i64>) -> Result<()> {
        let key = |partition: &i32| [OFFSET, &partition.to_be_bytes()].concat().into();
        self.commit_with(offsets.iter().map(|(partition, offset)| (key(partition), *offset)))
    }

    fn committed_partitions(&self) -> Result<Option<BTreeMap<i32, i64>>> {
        let range = (Bound::Excluded(OFFSET.to_vec()), Bound::Excluded(vec![DATA]));
        let mut offsets = BTreeMap::new();
        for entry in self.scan(&range, true, Order::Forward) {
            let (key, offset) = entry?;
            if let (Some(partition), Ok(offset)) = (key.last_chunk::<4>(), <[u8; 8]>::try_from(&*offset)) {
                offsets.insert(i32::from_be_bytes(*partition), i64::from_be_bytes(offset));
            }
        }
        Ok(Some(offsets))
    }

    fn needs_commit(&self) -> bool {
        self.uncommitted.bytes() >= self.engine.memtable_limit()
    }

    fn uncommitted_bytes(&self) -> u64 {
        self.uncommitted.bytes()
    }

    fn clear(&mut self) -> Result<()> {
        self.uncommitted.clear();
        self.committed.clear();
        (self.restoration, self.is_restored) = (Restoration::None, false);
        self.offset = None;
        // What the background has begun would bring tables back, and so would what it has not begun yet.
        let background = self.background.clone();
        let _working = background.working.lock();
        if let Some(sealed) = self.sealed.take() {
            sealed.done.store(true, Ordering::Release);
        }
        // An empty tree with a journal would seem to be as of the journal's end.
        self.journal.clear().map_err(self.journal_failed("deleting"))?;
        self.visible = 0;
        damage::guarded(|| self.tree.clear()).map_err(|error| self.failed("emptying", error))
    }

    /// Writes what was committed to disk, and forgets what was put since.
    fn close(&mut self) -> Result<()> {
        self.uncommitted.clear();
        self.background.stop();
        self.write_sealed("closing")?;
        if self.restoration == Restoration::Open {
            // The journal has what was committed before.
            self.committed.clear();
            return Ok(());
        }
        if self.committed.len() > 0 {
            self.take_committed();
            self.write_sealed("closing")?;
        }
        self.journal.clear().map_err(self.journal_failed("deleting"))
    }

    fn discard(&mut self) -> Result<()> {
        self.background.stop();
        Ok(())
    }
}

impl Drop for LsmKeyValueStore {
    fn drop(&mut self) {
        self.background.stop();
        self.engine.closed();
    }
}

impl fmt::Debug for LsmKeyValueStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LsmKeyValueStore").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The ends of a range, in keys of the tree.
type Range = (Bound<Vec<u8>>, Bound<Vec<u8>>);

fn tree_key(key: &[u8]) -> Vec<u8> {
    [&[DATA], key].concat()
}

fn bounds(from: Option<&[u8]>, to: Option<&[u8]>) -> Range {
    let bound = |key: &[u8]| Bound::Included(tree_key(key));
    (from.map_or(Bound::Included(vec![DATA]), bound), to.map_or(Bound::Excluded(vec![DATA + 1]), bound))
}

/// The lowest key above all that begin with `prefix`; the first byte of a prefix here is never the highest.
fn after_prefix(mut prefix: Vec<u8>) -> Vec<u8> {
    while let Some(last) = prefix.pop() {
        if last < u8::MAX {
            prefix.push(last + 1);
            break;
        }
    }
    prefix
}

#[cfg(test)]
mod tests;
