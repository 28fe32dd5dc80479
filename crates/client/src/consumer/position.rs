//! Where a consumer reads, and what it commits.

use std::fmt;

/// The leader of a partition and its epoch, as the metadata had it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct LeaderAndEpoch {
    /// The leader's broker id.
    pub(crate) leader: Option<i32>,
    /// Its epoch, if the broker tells it.
    pub(crate) epoch: Option<i32>,
}

/// The next offset to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FetchPosition {
    pub(crate) offset: i64,
    /// Epoch of the last record read, or of a committed offset.
    pub(crate) offset_epoch: Option<i32>,
    /// The leader for which the position holds.
    pub(crate) leader: LeaderAndEpoch,
}

impl fmt::Display for FetchPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "offset {}", self.offset)?;
        if let Some(epoch) = self.offset_epoch {
            write!(f, " of epoch {epoch}")?;
        }
        Ok(())
    }
}

/// The answer to a look-up by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct OffsetAndTimestamp {
    /// Offset of the first record whose timestamp is at or after the time asked for.
    pub offset: i64,
    /// That record's timestamp in milliseconds since the epoch.
    pub timestamp: i64,
    /// That record's leader epoch, if the broker tells it.
    pub leader_epoch: Option<i32>,
}
