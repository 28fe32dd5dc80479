//! What writes tables: one thread for all stores of an engine, or the store itself where that cannot keep up.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use crossbeam_channel::Receiver;
use lsm_tree::{AbstractTree, AnyTree, InternalValue, SeqNo, ValueType, compaction::Leveled};
use parking_lot::Mutex;

use super::{damage, journal};
use crate::state::overlay::{Overlay, Row};

/// So many sets of tables are left as they are while a store is restored: each merge writes what was merged before once more.
const RUNS_OF_A_RESTORATION: usize = 16;

/// So many rows are copied into one allocation, of which the tree then has parts.
const ROWS_OF_A_BLOCK: usize = 128;

/// What is committed and has to get into tables.
pub(super) struct Sealed {
    pub(super) entries: Overlay,
    /// The number under which it is in the tree: that of its last batch.
    pub(super) seqno: SeqNo,
    /// The files of the journal that are of no use then.
    pub(super) journals: Vec<PathBuf>,
    /// Whether more is to be restored: until all is there nobody reads, and tables need not be merged soon.
    pub(super) is_restoring: bool,
    /// Whether it is in tables, or has not to be there any more.
    pub(super) done: AtomicBool,
}

impl Sealed {
    /// What has nothing to be written, and only tables to be merged.
    pub(super) fn nothing(seqno: SeqNo) -> Self {
        let (entries, journals, done) = (Overlay::default(), Vec::new(), AtomicBool::new(true));
        Sealed { entries, seqno, journals, is_restoring: false, done }
    }

    pub(super) fn is_done(&self) -> bool {
        self.done.load(Ordering::Acquire)
    }
}

/// Something to be written for a store.
pub(super) struct Job {
    pub(super) background: Arc<Background>,
    pub(super) sealed: Arc<Sealed>,
}

/// Does what comes, until the engine is gone.
pub(super) fn work_off(jobs: &Receiver<Job>) {
    for Job { background, sealed } in jobs {
        background.run(&sealed);
    }
}

/// What a store and the thread that works for it share.
pub(super) struct Background {
    tree: AnyTree,
    /// Held while files are written.
    pub(super) working: Mutex<()>,
    /// The thread is to write nothing any more: the files are another's, or are being deleted.
    stopped: AtomicBool,
    /// What went wrong; the next commit tells.
    pub(super) failure: Mutex<Option<damage::Failure>>,
}

impl Background {
    pub(super) fn new(tree: AnyTree) -> Self {
        Background { tree, working: Mutex::default(), stopped: AtomicBool::default(), failure: Mutex::default() }
    }

    /// Returns when the thread writes nothing and will not.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        drop(self.working.lock());
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// Writes it now, unless that was done.
    pub(super) fn write(&self, sealed: &Sealed) -> Result<(), damage::Failure> {
        let _working = self.working.lock();
        damage::guarded(|| self.flush(sealed))
    }

    fn run(&self, sealed: &Sealed) {
        let _working = self.working.lock();
        if self.is_stopped() {
            return;
        }
        let done = damage::guarded(|| {
            self.flush(sealed)?;
            let may_wait = sealed.is_restoring && self.tree.l0_run_count() < RUNS_OF_A_RESTORATION;
            match self.is_stopped() || may_wait {
                true => Ok(()),
                false => self.tree.compact(Arc::new(Leveled::default()), sealed.seqno + 1),
            }
        });
        if let Err(error) = done {
            self.failure.lock().get_or_insert(error);
        }
    }

    /// Straight into tables: the rows are in order, so that the tree's memtable has nothing to do.
    fn flush(&self, sealed: &Sealed) -> lsm_tree::Result<()> {
        if sealed.is_done() {
            return Ok(());
        }
        let mut rows = sealed.entries.iter();
        let blocks = std::iter::from_fn(|| {
            let block = Row::copied(rows.by_ref().take(ROWS_OF_A_BLOCK));
            (!block.is_empty()).then_some(block)
        });
        let items = blocks.flatten().map(|(key, value)| match value {
            Some(value) => Ok(InternalValue::from_components(key, value, sealed.seqno, ValueType::Value)),
            None => Ok(InternalValue::new_tombstone(key, sealed.seqno)),
        });
        let lock = self.tree.get_flush_lock();
        if let Some((tables, blobs)) = self.tree.flush_to_tables(items)? {
            self.tree.register_tables(&tables, blobs.as_deref(), None, &[], sealed.seqno + 1)?;
        }
        drop(lock);
        journal::remove(&sealed.journals).map_err(lsm_tree::Error::Io)?;
        sealed.done.store(true, Ordering::Release);
        Ok(())
    }
}
