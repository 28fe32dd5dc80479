//! The producer's memory: how much is in use, and buffers to use again.

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Accounts for `buffer.memory`, and keeps the buffers of acknowledged batches for the next ones.
#[derive(Debug)]
pub(crate) struct BufferPool {
    limit: usize,
    batch_size: usize,
    used: AtomicUsize,
    waiting: AtomicUsize,
    freed: Notify,
    spare: Mutex<Vec<Vec<u8>>>,
}

impl BufferPool {
    pub(crate) fn new(limit: usize, batch_size: usize) -> Self {
        Self {
            limit,
            batch_size,
            used: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            freed: Notify::new(),
            spare: Mutex::new(Vec::new()),
        }
    }

    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Takes `size` bytes out of the budget, if they are there.
    pub(crate) fn try_reserve(&self, size: usize) -> bool {
        self.used
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, |used| {
                used.checked_add(size).filter(|sum| *sum <= self.limit)
            })
            .is_ok()
    }

    /// Gives `size` bytes back.
    pub(crate) fn release(&self, size: usize) {
        self.used.fetch_sub(size, Ordering::AcqRel);
        if self.has_waiters() {
            self.freed.notify_waiters();
        }
    }

    /// How many wait for memory.
    pub(crate) fn waiters(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Whether somebody waits for memory: then batches are sent before their time.
    pub(crate) fn has_waiters(&self) -> bool {
        self.waiting.load(Ordering::Acquire) > 0
    }

    /// Waits until `size` bytes can be reserved, and reserves nothing: whoever waited tries again. `begun` is called when
    /// [`has_waiters`](Self::has_waiters) says that somebody waits.
    pub(crate) async fn wait(&self, size: usize, begun: impl FnOnce()) {
        let _waiting = Waiting::begin(self);
        begun();
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            if self.used().saturating_add(size) <= self.limit {
                return;
            }
            freed.await;
        }
    }

    /// A buffer whose length is at least `size`, used before if one is there.
    pub(crate) fn take_buffer(&self, size: usize) -> Vec<u8> {
        if size == self.batch_size
            && let Some(buffer) = self.spare.lock().pop()
        {
            return buffer;
        }
        vec![0; size]
    }

    /// Keeps the buffer of a batch for another one, unless somebody still holds it.
    pub(crate) fn recycle(&self, batch: Bytes) {
        if !batch.is_unique() {
            return;
        }
        let mut buffer = Vec::from(batch);
        if buffer.capacity() != self.batch_size {
            return;
        }
        buffer.resize(self.batch_size, 0);
        let mut spare = self.spare.lock();
        if (spare.len() + 1) * self.batch_size <= self.limit {
            spare.push(buffer);
        }
    }
}

/// Counts somebody as waiting, also if he gives up in between.
struct Waiting<'a>(&'a BufferPool);

impl<'a> Waiting<'a> {
    fn begin(pool: &'a BufferPool) -> Self {
        pool.waiting.fetch_add(1, Ordering::AcqRel);
        Self(pool)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}
