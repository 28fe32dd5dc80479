//! The time of a store whose entries expire.

/// The greatest time of what was put into a store, in ms, or less: see
/// [`SegmentedBytesStore`](super::SegmentedBytesStore).
#[derive(Clone, Copy, Debug)]
pub(crate) struct StoreTime {
    now: i64,
    limit: i64,
}

impl Default for StoreTime {
    fn default() -> Self {
        StoreTime { now: -1, limit: i64::MAX }
    }
}

impl StoreTime {
    /// -1 before the first put.
    pub(crate) fn now(self) -> i64 {
        self.now
    }

    /// Something of this time is put.
    pub(crate) fn advance(&mut self, time: i64) {
        self.now = self.now.max(time.min(self.limit));
    }

    /// Goes no further than this, until it is asked again.
    pub(crate) fn limit(&mut self, limit: i64) {
        self.limit = limit;
        self.now = self.now.min(limit);
    }

    /// Nothing was put.
    pub(crate) fn reset(&mut self) {
        self.now = -1;
    }
}
