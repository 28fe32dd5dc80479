//! What the leader of a partition tells its coordinator.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use tokio::sync::Notify;

use crate::partition::LeaderListener;

/// The time in which a partition has one leader epoch: how far its log is committed, and whether it is over.
#[derive(Debug)]
pub(super) struct Tenure {
    high_watermark: AtomicI64,
    is_over: AtomicBool,
    /// Whether answers wait for the high watermark: only then is anybody woken by it.
    is_awaited: AtomicBool,
    changed: Arc<Notify>,
}

impl Tenure {
    /// Begins a tenure; `changed` is told of its end, and of what is awaited.
    pub(super) fn new(changed: &Arc<Notify>) -> Arc<Self> {
        Arc::new(Self {
            high_watermark: AtomicI64::new(0),
            is_over: AtomicBool::new(false),
            is_awaited: AtomicBool::new(false),
            changed: Arc::clone(changed),
        })
    }

    pub(super) fn high_watermark(&self) -> i64 {
        self.high_watermark.load(Ordering::SeqCst)
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }

    /// Whoever awaits looks at the high watermark after this: then either it sees the new one, or is woken by it.
    pub(super) fn set_awaited(&self, is_awaited: bool) {
        self.is_awaited.store(is_awaited, Ordering::SeqCst);
    }
}

impl LeaderListener for Tenure {
    fn committed(&self, high_watermark: i64) {
        self.high_watermark.fetch_max(high_watermark, Ordering::SeqCst);
        if self.is_awaited.load(Ordering::SeqCst) {
            self.changed.notify_one();
        }
    }

    fn over(&self) {
        self.is_over.store(true, Ordering::Release);
        self.changed.notify_one();
    }
}
