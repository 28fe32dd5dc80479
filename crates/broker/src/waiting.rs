//! Fetches that wait for data: parked on the partitions they want, woken by the append that gives
//! them enough. Nothing here polls.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// What an append means for those who read committed records only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stable {
    /// Nothing: a transaction is open before it.
    Still,
    /// The last stable offset is behind it.
    Grown,
    /// It ended a transaction, so that much more than itself may be readable now.
    Jumped,
}

/// A fetch that waits for `min_bytes`.
#[derive(Debug)]
pub(crate) struct FetchWaiter {
    /// Whether it waits for the last stable offset, and not for the high watermark.
    reads_committed: bool,
    missing_bytes: AtomicI64,
    wake: Notify,
}

impl FetchWaiter {
    pub(crate) fn new(reads_committed: bool, missing_bytes: i64) -> Arc<Self> {
        Arc::new(Self { reads_committed, missing_bytes: AtomicI64::new(missing_bytes), wake: Notify::new() })
    }

    /// Waits until enough came, or something else happened to a partition. Cancel-safe.
    pub(crate) async fn woken(&self) {
        self.wake.notified().await;
    }

    fn grown(&self, bytes: i64, stable: Stable) {
        if self.reads_committed && stable == Stable::Still {
            return;
        }
        let has_enough = self.missing_bytes.fetch_sub(bytes, Ordering::AcqRel) <= bytes;
        // How much it is that became readable it finds out when it reads.
        if has_enough || (self.reads_committed && stable == Stable::Jumped) {
            self.wake.notify_one();
        }
    }
}

/// The waiters of a partition.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    /// The length of `parked`: an append that nobody waits for takes no lock.
    count: AtomicUsize,
    parked: Mutex<Vec<(u64, Arc<FetchWaiter>)>>,
}

static NEXT_TICKET: AtomicU64 = AtomicU64::new(0);

impl Waiters {
    /// Parks `waiter`; returns the ticket to [`Self::leave`] with.
    pub(crate) fn park(&self, waiter: &Arc<FetchWaiter>) -> u64 {
        let ticket = NEXT_TICKET.fetch_add(1, Ordering::Relaxed);
        let mut parked = self.parked.lock();
        parked.push((ticket, Arc::clone(waiter)));
        self.count.store(parked.len(), Ordering::SeqCst);
        ticket
    }

    /// How many wait.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    pub(crate) fn leave(&self, ticket: u64) {
        let mut parked = self.parked.lock();
        parked.retain(|(parked, _)| *parked != ticket);
        self.count.store(parked.len(), Ordering::SeqCst);
    }

    /// Tells the waiters that the partition has so many bytes more.
    pub(crate) fn grown(&self, bytes: usize, stable: Stable) {
        if self.count.load(Ordering::SeqCst) == 0 {
            return;
        }
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        for (_, waiter) in self.parked.lock().iter() {
            waiter.grown(bytes, stable);
        }
    }

    /// Wakes everybody, whatever they wait for: the partition is gone or changed its leader.
    pub(crate) fn wake_all(&self) {
        for (_, waiter) in self.parked.lock().iter() {
            waiter.wake.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_woken(waiter: &FetchWaiter) -> bool {
        use std::task::{Context, Poll, Waker};
        let woken = std::pin::pin!(waiter.woken());
        woken.poll(&mut Context::from_waker(Waker::noop())) == Poll::Ready(())
    }

    #[test]
    fn a_waiter_wakes_when_enough_came_over_all_its_partitions() {
        let (a, b) = (Waiters::default(), Waiters::default());
        let waiter = FetchWaiter::new(false, 100);
        let ticket = a.park(&waiter);
        b.park(&waiter);
        a.grown(60, Stable::Grown);
        assert!(!is_woken(&waiter));
        b.grown(40, Stable::Still);
        assert!(is_woken(&waiter));
        a.leave(ticket);
        a.grown(1000, Stable::Grown);
        assert!(!is_woken(&waiter));
        b.wake_all();
        assert!(is_woken(&waiter));
    }

    #[test]
    fn who_reads_committed_records_waits_for_the_end_of_transactions() {
        let waiters = Waiters::default();
        let waiter = FetchWaiter::new(true, 100);
        waiters.park(&waiter);
        waiters.grown(1000, Stable::Still);
        assert!(!is_woken(&waiter), "what belongs to an open transaction is not for it");
        waiters.grown(60, Stable::Grown);
        assert!(!is_woken(&waiter));
        waiters.grown(40, Stable::Grown);
        assert!(is_woken(&waiter));
        let waiter = FetchWaiter::new(true, 1_000_000);
        waiters.park(&waiter);
        waiters.grown(78, Stable::Jumped);
        assert!(is_woken(&waiter), "a small marker lets much be read");
    }
}
