//! What the stores on disk of one application share.

use std::{
    fmt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use crossbeam_channel::Sender;
use lsm_tree::{Cache, Config, DescriptorTable, SequenceNumberCounter};

use super::{
    background::{self, Job},
    storage,
};
use crate::error::Result;

/// No less than this is written at a time, so that many stores do not write tiny tables.
const SMALLEST_MEMTABLE: u64 = 1 << 20;

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

impl LsmEngine {
    /// An engine with a thread of its own, which ends when the last store is gone.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn new(options: LsmOptions) -> Result<Self> {
        let (jobs, work) = crossbeam_channel::unbounded();
        thread::Builder::new()
            .name("state-store-flush".to_owned())
            .spawn(move || background::work_off(&work))
            .map_err(|error| storage("the flush thread", "starting", error))?;
        Ok(LsmEngine(Arc::new(Shared {
            options,
            cache: Arc::new(Cache::with_capacity_bytes(options.block_cache_bytes)),
            descriptors: Arc::new(DescriptorTable::new(256)),
            open_stores: AtomicUsize::new(0),
            jobs,
        })))
    }

    /// How a tree in a directory is opened.
    pub(super) fn config(&self, path: &Path) -> Config {
        let (cache, descriptors) = (self.0.cache.clone(), self.0.descriptors.clone());
        let config = Config::new(path, SequenceNumberCounter::default(), SequenceNumberCounter::default());
        config.use_cache(cache).use_descriptor_table(Some(descriptors))
    }

    pub(super) fn opened(&self) {
        self.0.open_stores.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn closed(&self) {
        self.0.open_stores.fetch_sub(1, Ordering::Relaxed);
    }

    /// Has the background write something.
    pub(super) fn send(&self, job: Job) {
        // The thread lives as long as the engine that the store holds.
        let _ = self.0.jobs.send(job);
    }

    /// How much a store may have in memory in one place, in bytes.
    pub(super) fn memtable_limit(&self) -> u64 {
        // Of every store there is what is not committed, what is and may be about to get that, and what is being written
        // meanwhile and may have got as much.
        let memtables = 4 * self.0.open_stores.load(Ordering::Relaxed).max(1) as u64;
        (self.0.options.write_buffer_bytes / memtables).max(SMALLEST_MEMTABLE)
    }
}

impl fmt::Debug for LsmEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LsmEngine").field("options", &self.0.options).finish_non_exhaustive()
    }
}
