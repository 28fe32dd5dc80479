//! What is not over yet, and how far what is held back may go.
//!
//! A record of a topic that is held back goes when everything else that was given before the next barrier is acknowledged.
//! Barriers count *epochs*. A batch of other records is known by the epoch in which it was opened, one that is held back by
//! the last epoch of its records: it may go when that epoch is over, and nothing of it or of an earlier one is open or has
//! failed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use foldhash::fast::RandomState;
use hashbrown::HashSet;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::delivery::BatchCompletion;

/// All batches that are not over.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    state: Mutex<State>,
    epoch: AtomicU64,
    /// The epoch after that of the last record that is held back; 0 if there was none.
    held_until: AtomicU64,
    /// Whether any topic is held back.
    is_used: AtomicBool,
    has_failed: AtomicBool,
    /// The sender has something that only waits for the next barrier.
    awaits_barrier: AtomicBool,
    /// Something is held back behind a failure.
    pub(crate) stuck: Notify,
}

#[derive(Debug, Default)]
struct State {
    all: HashSet<ByAddress, RandomState>,
    /// How many batches that are not held back were opened in each epoch.
    open: BTreeMap<u64, usize>,
    /// Epochs with a batch that failed, as long as nobody has accepted that.
    failed: BTreeSet<u64>,
}

/// A batch's completion, as a member of a set.
#[derive(Debug, Clone)]
struct ByAddress(Arc<BatchCompletion>);

impl PartialEq for ByAddress {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for ByAddress {}

impl std::hash::Hash for ByAddress {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.0).hash(state);
    }
}

impl Pending {
    /// The epoch that records are given in now.
    #[inline]
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// The epoch of a record that is held back.
    #[inline]
    pub(crate) fn epoch_of_held(&self) -> u64 {
        let epoch = self.epoch();
        if self.held_until.load(Ordering::Relaxed) <= epoch {
            self.held_until.fetch_max(epoch + 1, Ordering::AcqRel);
        }
        epoch
    }

    pub(crate) fn insert(&self, batch: &Arc<BatchCompletion>) {
        let mut state = self.state.lock();
        if state.all.insert(ByAddress(Arc::clone(batch)))
            && let Some(epoch) = batch.epoch()
        {
            *state.open.entry(epoch).or_default() += 1;
        }
    }

    /// A batch is over. If it failed, what is held back behind it stays until that is accepted.
    pub(crate) fn remove(&self, batch: &Arc<BatchCompletion>, failed: bool) {
        let mut state = self.state.lock();
        if !state.all.remove(&ByAddress(Arc::clone(batch))) {
            return;
        }
        let Some(epoch) = batch.epoch() else { return };
        if let Some(count) = state.open.get_mut(&epoch) {
            *count -= 1;
            if *count == 0 {
                state.open.remove(&epoch);
            }
        }
        if failed && self.is_used() {
            state.failed.insert(epoch);
            self.has_failed.store(true, Ordering::Release);
            drop(state);
            self.stuck.notify_waiters();
        }
    }

    /// Held batches whose last epoch is below this one may go.
    pub(crate) fn released_below(&self) -> u64 {
        let state = self.state.lock();
        let open = state.open.keys().next().copied();
        let failed = state.failed.first().copied();
        [open, failed].into_iter().flatten().fold(self.epoch(), u64::min)
    }

    /// Ends the epoch. Whether the sender waits for that.
    #[inline]
    pub(crate) fn barrier(&self) -> bool {
        self.epoch.fetch_add(1, Ordering::SeqCst);
        self.awaits_barrier.load(Ordering::SeqCst) && self.awaits_barrier.swap(false, Ordering::SeqCst)
    }

    /// The sender asks to be woken at the next barrier. Gives the epoch after that, for it may have been meanwhile.
    pub(crate) fn await_barrier(&self) -> u64 {
        self.awaits_barrier.store(true, Ordering::SeqCst);
        self.epoch.load(Ordering::SeqCst)
    }

    /// Lets go what is held back behind failures. Whether there was one.
    pub(crate) fn accept_failures(&self) -> bool {
        let mut state = self.state.lock();
        self.has_failed.store(false, Ordering::Release);
        !std::mem::take(&mut state.failed).is_empty()
    }

    /// Whether a failure is not accepted.
    #[inline]
    pub(crate) fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::Acquire)
    }

    /// From now on there are topics that are held back.
    pub(crate) fn set_used(&self) {
        self.is_used.store(true, Ordering::Release);
    }

    #[inline]
    pub(crate) fn is_used(&self) -> bool {
        self.is_used.load(Ordering::Acquire)
    }

    /// Whether what is held back up to this epoch waits for a barrier.
    pub(crate) fn is_stuck(&self, epoch: u64) -> bool {
        epoch >= self.epoch() || self.state.lock().failed.first().is_some_and(|failed| *failed <= epoch)
    }

    /// Whether something was held back since the last barrier.
    pub(crate) fn has_held_since_barrier(&self) -> bool {
        self.held_until.load(Ordering::Acquire) > self.epoch()
    }

    /// Whether a batch that is not held back is open.
    pub(crate) fn has_open(&self) -> bool {
        !self.state.lock().open.is_empty()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.state.lock().all.is_empty()
    }

    pub(crate) fn all(&self) -> Vec<Arc<BatchCompletion>> {
        self.state.lock().all.iter().map(|one| Arc::clone(&one.0)).collect()
    }
}
