//! How far a store is behind its changelog (KIP-535).

/// How far a store is in its changelog; Kafka's `LagInfo`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LagInfo {
    current_offset_position: i64,
    end_offset_position: i64,
}

impl LagInfo {
    pub(crate) fn new(current_offset_position: i64, end_offset_position: i64) -> Self {
        LagInfo { current_offset_position, end_offset_position }
    }

    /// The store has what lies before this offset: the end, for that of a running task.
    #[must_use]
    pub fn current_offset_position(&self) -> i64 {
        self.current_offset_position
    }

    /// The offset at which the changelog ends.
    #[must_use]
    pub fn end_offset_position(&self) -> i64 {
        self.end_offset_position
    }

    /// How many offsets lie between the two.
    #[must_use]
    pub fn offset_lag(&self) -> i64 {
        (self.end_offset_position - self.current_offset_position).max(0)
    }
}
