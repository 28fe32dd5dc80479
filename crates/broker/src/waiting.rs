//! Fetches that wait for data: parked on the partitions they want, woken by the append that gives
//! them enough. Nothing here polls.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// A fetch that waits for `min_bytes`.
#[derive(Debug)]
pub(crate) struct FetchWaiter {
    missing_bytes: AtomicI64,
    wake: Notify,
}

impl FetchWaiter {
    pub(crate) fn new(missing_bytes: i64) -> Arc<Self> {
        Arc::new(Self { missing_bytes: AtomicI64::new(missing_bytes), wake: Notify::new() })
    }

    /// Waits until enough came, or something else happened to a partition. Cancel-safe.
    pub(crate) async fn woken(&self) {
        self.wake.notified().await;
    }

    fn grown(&self, bytes: i64) {
        if self.missing_bytes.fetch_sub(bytes, Ordering::AcqRel) <= bytes {
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

    pub(crate) fn leave(&self, ticket: u64) {
        let mut parked = self.parked.lock();
        parked.retain(|(parked, _)| *parked != ticket);
        self.count.store(parked.len(), Ordering::SeqCst);
    }

    /// Tells the waiters that the partition has so many bytes more.
    pub(crate) fn grown(&self, bytes: usize) {
        if self.count.load(Ordering::SeqCst) == 0 {
            return;
        }
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        for (_, waiter) in self.parked.lock().iter() {
            waiter.grown(bytes);
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
        let waiter = FetchWaiter::new(100);
        let ticket = a.park(&waiter);
        b.park(&waiter);
        a.grown(60);
        assert!(!is_woken(&waiter));
        b.grown(40);
        assert!(is_woken(&waiter));
        a.leave(ticket);
        a.grown(1000);
        assert!(!is_woken(&waiter));
        b.wake_all();
        assert!(is_woken(&waiter));
    }
}
