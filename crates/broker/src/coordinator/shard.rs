//! What a coordinator's state machine is given and gives.

/// The time, on both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Now {
    /// Of a clock that never goes back, ms: deadlines are counted by it.
    pub(crate) elapsed_ms: i64,
    /// Of the wall clock, ms since the epoch: what is written into records.
    pub(crate) timestamp_ms: i64,
}

/// Names a request that waits for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ReplyToken(pub(crate) u64);
