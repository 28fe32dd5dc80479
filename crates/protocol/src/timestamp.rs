//! A point in time that cannot be taken for an offset or an identifier.

/// Milliseconds since the epoch, where an offset or an identifier stands beside them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimestampMs(pub i64);
