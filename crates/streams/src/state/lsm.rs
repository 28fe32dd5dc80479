//! The embedded LSM tree: a store that outlives the process.
//!
//! The tree has no write-ahead log, for the changelog is one. What a commit covers and the changelog offset that
//! says so stand in the same memtable, and a memtable is sealed only at a commit: so every set of tables on disk
//! holds data and offset that belong together, whatever moment a process dies at. After a crash a store is as of its
//! last sealed memtable, and the changelog is read from that offset on.
//!
//! Every block on disk has a checksum. Where one does not match, or a file is missing, the store is
//! [damaged](Error::CorruptedStore) and says so in its directory, so that it is never opened again (`damage.rs`).

mod damage;

use std::{
    collections::BTreeMap,
    fmt, fs,
    ops::Bound,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use bytes::{BufMut, Bytes, BytesMut};
use crossbeam_channel::{Receiver, Sender};
use lsm_tree::{
    AbstractTree, AnyTree, Cache, Config, DescriptorTable, Guard, SeqNo, SequenceNumberCounter, compaction::Leveled,
};
use parking_lot::Mutex;

use super::{BytesIter, KeyValueBytesStore, Order};
use crate::error::{Error, Result};

/// Where the entries of the store begin; the one key below them is the store's own.
const DATA: u8 = 1;
/// The key of the changelog offset; with a partition's number behind it, that of a partition of a global store's topic.
const OFFSET: &[u8] = &[0];
/// A memtable is sealed at no less than this, so that many stores do not write tiny tables.
const SMALLEST_MEMTABLE: u64 = 1 << 20;
/// More sealed memtables than this, and the writer flushes by itself: the background cannot keep up.
const SEALED_LIMIT: usize = 1;

/// How much memory the persistent stores of a process may take together, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct LsmOptions {
    /// Blocks read from disk, over all stores. Default 32 MiB; more costs memory and spares reads.
    pub block_cache_bytes: u64,
    /// Writes not yet in tables, over all stores, as long as no more is written between two commits. Default 32 MiB;
    /// more costs memory and spares compaction.
    pub write_buffer_bytes: u64,
}

impl Default for LsmOptions {
    fn default() -> Self {
        LsmOptions { block_cache_bytes: 32 << 20, write_buffer_bytes: 32 << 20 }
    }
}

/// What the stores of one application share: the block cache, the write budget and the thread that flushes.
#[derive(Clone)]
pub struct LsmEngine(Arc<Shared>);

struct Shared {
    options: LsmOptions,
    cache: Arc<Cache>,
    descriptors: Arc<DescriptorTable>,
    open_stores: AtomicUsize,
    jobs: Sender<Job>,
}

/// A tree with sealed memtables to write out.
struct Job {
    tree: AnyTree,
    eviction_seqno: SeqNo,
    background: Arc<Background>,
}

/// What a store and the thread that works for it in the background share.
#[derive(Default)]
struct Background {
    /// Held while files are written.
    working: Mutex<()>,
    /// Nothing is to be written any more: the files are another's, or are being deleted.
    stopped: AtomicBool,
    /// What went wrong; the next commit tells.
    failure: Mutex<Option<damage::Failure>>,
}

impl Background {
    /// Returns when nothing is written and nothing will be.
    fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        drop(self.working.lock());
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    fn run(&self, tree: &AnyTree, eviction_seqno: SeqNo) {
        let _working = self.working.lock();
        if self.is_stopped() {
            return;
        }
        let done = damage::guarded(|| {
            flush(tree, eviction_seqno).and_then(|()| match self.is_stopped() {
                true => Ok(()),
                false => tree.compact(Arc::new(Leveled::default()), eviction_seqno),
            })
        });
        if let Err(error) = done {
            self.failure.lock().get_or_insert(error);
        }
    }
}

impl LsmEngine {
    /// An engine with a thread of its own, which ends when the last store is gone.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn new(options: LsmOptions) -> Result<Self> {
        let (jobs, work) = crossbeam_channel::unbounded();
        thread::Builder::new()
            .name("state-store-flush".to_owned())
            .spawn(move || flush_and_compact(&work))
            .map_err(|error| storage("the flush thread", "starting", error))?;
        Ok(LsmEngine(Arc::new(Shared {
            options,
            cache: Arc::new(Cache::with_capacity_bytes(options.block_cache_bytes)),
            descriptors: Arc::new(DescriptorTable::new(256)),
            open_stores: AtomicUsize::new(0),
            jobs,
        })))
    }

    /// Opens or creates the store `name` in the directory `path`.
    ///
    /// # Errors
    /// If the directory cannot be made, or its tables cannot be read: [`Error::CorruptedStore`] where they are damaged, or
    /// were found so before.
    pub fn open(&self, name: &str, path: &Path) -> Result<LsmKeyValueStore> {
        fs::create_dir_all(path).map_err(|error| storage(name, "creating its directory", error))?;
        damage::check(name, path)?;
        let config = Config::new(path, SequenceNumberCounter::default(), SequenceNumberCounter::default())
            .use_cache(self.0.cache.clone())
            .use_descriptor_table(Some(self.0.descriptors.clone()));
        let opened = damage::guarded(|| config.open());
        let tree = opened.map_err(|error| damage::failed(name, path, "opening", error))?;
        // Entries written under a lower number than those on disk would be hidden by them.
        let seqno = tree.get_highest_seqno().map_or(0, |highest| highest + 1);
        self.0.open_stores.fetch_add(1, Ordering::Relaxed);
        Ok(LsmKeyValueStore {
            name: name.to_owned(),
            path: path.to_owned(),
            tree,
            seqno,
            engine: self.clone(),
            background: Arc::default(),
            key_buffer: BytesMut::new(),
        })
    }

    fn memtable_limit(&self) -> u64 {
        // Of every store one memtable is written to while another one is flushed.
        let memtables = 2 * self.0.open_stores.load(Ordering::Relaxed).max(1) as u64;
        (self.0.options.write_buffer_bytes / memtables).max(SMALLEST_MEMTABLE)
    }
}

impl fmt::Debug for LsmEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LsmEngine").field("options", &self.0.options).finish_non_exhaustive()
    }
}

fn flush_and_compact(work: &Receiver<Job>) {
    for Job { tree, eviction_seqno, background } in work {
        background.run(&tree, eviction_seqno);
    }
}

fn flush(tree: &AnyTree, eviction_seqno: SeqNo) -> lsm_tree::Result<()> {
    let lock = tree.get_flush_lock();
    tree.flush(&lock, eviction_seqno).map(|_| ())
}

fn storage(store: &str, doing: &str, source: impl std::error::Error) -> Box<Error> {
    Box::new(Error::Store { store: store.to_owned(), message: format!("{doing}: {source}") })
}

/// A key-value store on disk, of one task.
pub struct LsmKeyValueStore {
    name: String,
    path: PathBuf,
    tree: AnyTree,
    /// The number of the next write; reads see what is below it.
    seqno: SeqNo,
    engine: LsmEngine,
    background: Arc<Background>,
    key_buffer: BytesMut,
}

impl LsmKeyValueStore {
    fn key(&mut self, key: &[u8]) -> Bytes {
        self.key_buffer.reserve(key.len() + 1);
        self.key_buffer.put_u8(DATA);
        self.key_buffer.put_slice(key);
        self.key_buffer.split().freeze()
    }

    fn failed(&self, doing: &str, error: damage::Failure) -> Box<Error> {
        damage::failed(&self.name, &self.path, doing, error)
    }

    /// Reads one entry of the store's own, or of its data.
    fn read(&self, key: &[u8]) -> Result<Option<Bytes>> {
        let found = damage::guarded(|| self.tree.get(key, self.seqno));
        Ok(found.map_err(|error| self.failed("reading", error))?.map(Bytes::from))
    }

    fn scan(&self, from: Bound<Vec<u8>>, to: Bound<Vec<u8>>, order: Order) -> BytesIter {
        let entries = self.tree.range::<Vec<u8>, _>((from, to), self.seqno, None);
        let (store, path) = (self.name.clone(), self.path.clone());
        let read = move |entry: lsm_tree::IterGuardImpl| match entry.into_inner() {
            Ok((key, value)) => Ok((Bytes::from(key).slice(1..), Bytes::from(value))),
            Err(error) => Err(damage::failed(&store, &path, "scanning", error.into())),
        };
        match order {
            Order::Forward => Box::new(entries.map(read)),
            Order::Reverse => Box::new(entries.rev().map(read)),
        }
    }

    fn seal(&mut self) -> Result<()> {
        if self.tree.rotate_memtable().is_none() {
            return Ok(());
        }
        if self.tree.sealed_memtable_count() > SEALED_LIMIT {
            let done = damage::guarded(|| flush(&self.tree, self.seqno));
            return done.map_err(|error| self.failed("flushing", error));
        }
        let job = Job { tree: self.tree.clone(), eviction_seqno: self.seqno, background: self.background.clone() };
        // The thread lives as long as the engine that this store holds.
        let _ = self.engine.0.jobs.send(job);
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
        self.read(&[&[DATA], key].concat())
    }

    fn put(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<()> {
        let key = self.key(key);
        match value {
            Some(value) => self.tree.insert(key, Bytes::copy_from_slice(value), self.seqno),
            None => self.tree.remove(key, self.seqno),
        };
        self.seqno += 1;
        Ok(())
    }

    fn range(&self, from: Option<&[u8]>, to: Option<&[u8]>, order: Order) -> Result<BytesIter> {
        let bound = |key: &[u8]| Bound::Included([&[DATA], key].concat());
        let from = from.map_or(Bound::Included(vec![DATA]), bound);
        let to = to.map_or(Bound::Excluded(vec![DATA + 1]), bound);
        Ok(self.scan(from, to, order))
    }

    fn prefix(&self, prefix: &[u8], order: Order) -> Result<BytesIter> {
        let from = [&[DATA], prefix].concat();
        let to = after_prefix(from.clone());
        Ok(self.scan(Bound::Included(from), Bound::Excluded(to), order))
    }

    fn approximate_num_entries(&self) -> u64 {
        // Not the changelog offset.
        (self.tree.approximate_len() as u64).saturating_sub(1)
    }

    fn commit(&mut self, changelog_offset: Option<i64>) -> Result<()> {
        if let Some(error) = self.background.failure.lock().take() {
            return Err(self.failed("flushing", error));
        }
        if let Some(offset) = changelog_offset {
            self.tree.insert(OFFSET, offset.to_be_bytes(), self.seqno);
            self.seqno += 1;
        }
        if self.tree.active_memtable().size() >= self.engine.memtable_limit() { self.seal() } else { Ok(()) }
    }

    fn committed_offset(&self) -> Result<Option<i64>> {
        let offset = self.read(OFFSET)?.and_then(|bytes| <[u8; 8]>::try_from(&*bytes).ok());
        Ok(offset.map(i64::from_be_bytes))
    }

    fn commit_partitions(&mut self, offsets: &BTreeMap<i32, i64>) -> Result<()> {
        for (partition, offset) in offsets {
            let key = [OFFSET, &partition.to_be_bytes()].concat();
            self.tree.insert(key, offset.to_be_bytes(), self.seqno);
            self.seqno += 1;
        }
        self.commit(None)
    }

    fn committed_partitions(&self) -> Result<Option<BTreeMap<i32, i64>>> {
        let range = (Bound::Excluded(OFFSET.to_vec()), Bound::Excluded(vec![DATA]));
        let mut offsets = BTreeMap::new();
        for entry in self.tree.range::<Vec<u8>, _>(range, self.seqno, None) {
            let (key, offset) = entry.into_inner().map_err(|error| self.failed("reading", error.into()))?;
            if let (Some(partition), Ok(offset)) = (key.last_chunk::<4>(), <[u8; 8]>::try_from(&*offset)) {
                offsets.insert(i32::from_be_bytes(*partition), i64::from_be_bytes(offset));
            }
        }
        Ok(Some(offsets))
    }

    fn needs_commit(&self) -> bool {
        self.tree.active_memtable().size() >= self.engine.memtable_limit()
    }

    fn clear(&mut self) -> Result<()> {
        // What the background has begun would bring tables back.
        let _working = self.background.working.lock();
        damage::guarded(|| self.tree.clear()).map_err(|error| self.failed("emptying", error))
    }

    /// Writes what was committed to disk; what was put since the last commit is written too, so commit first.
    fn close(&mut self) -> Result<()> {
        self.background.stop();
        self.tree.rotate_memtable();
        damage::guarded(|| flush(&self.tree, self.seqno)).map_err(|error| self.failed("closing", error))
    }

    fn discard(&mut self) -> Result<()> {
        self.background.stop();
        Ok(())
    }
}

impl Drop for LsmKeyValueStore {
    fn drop(&mut self) {
        self.background.stop();
        self.engine.0.open_stores.fetch_sub(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for LsmKeyValueStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LsmKeyValueStore").field("name", &self.name).finish_non_exhaustive()
    }
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
