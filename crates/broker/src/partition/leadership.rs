//! Who wants to know how far what it appends is committed, and for how long this broker leads.

use std::fmt::Debug;
use std::sync::Arc;

use parking_lot::RwLock;

/// Hears what becomes of the records of a partition in one leader epoch. It is called where the log is appended to, and
/// must not wait for anything.
pub(crate) trait LeaderListener: Debug + Send + Sync {
    /// The high watermark has come here.
    fn committed(&self, high_watermark: i64);

    /// The epoch is over: the partition has another, is offline, or gone. Nothing is heard after this.
    fn over(&self);
}

/// Where a partition stands in a leader epoch of this broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Led {
    pub(crate) leader_epoch: i32,
    pub(crate) log_start_offset: i64,
    pub(crate) end_offset: i64,
    pub(crate) high_watermark: i64,
}

/// The listener of a partition, which hardly any has.
#[derive(Debug, Default)]
pub(super) struct Listener(RwLock<Option<Arc<dyn LeaderListener>>>);

impl Listener {
    /// Has another one listen.
    pub(super) fn set(&self, listener: Arc<dyn LeaderListener>) {
        *self.0.write() = Some(listener);
    }

    pub(super) fn committed(&self, high_watermark: i64) {
        if let Some(listener) = &*self.0.read() {
            listener.committed(high_watermark);
        }
    }

    /// Ends the epoch of whoever listens.
    pub(super) fn over(&self) {
        if let Some(listener) = self.0.write().take() {
            listener.over();
        }
    }
}

#[cfg(test)]
mod tests;
