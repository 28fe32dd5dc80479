//! What is committed for a partition.

/// An offset to commit, or as committed: the next one to read, with the epoch of the record before
/// it and a text of the application's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetAndMetadata {
    /// Offset of the next record to read.
    pub offset: i64,
    /// Leader epoch of the last record read, by which a later reader notices that the log was
    /// truncated; `None` if it is not known.
    pub leader_epoch: Option<i32>,
    /// Anything; brokers limit it by `offset.metadata.max.bytes` (4096 by default).
    pub metadata: String,
}

impl OffsetAndMetadata {
    /// An offset without epoch and metadata.
    #[must_use]
    pub fn new(offset: i64) -> Self {
        Self { offset, leader_epoch: None, metadata: String::new() }
    }

    /// The same offset with a text of the application's own.
    #[must_use]
    pub fn with_metadata(self, metadata: impl Into<String>) -> Self {
        Self { metadata: metadata.into(), ..self }
    }

    /// The same offset with the epoch of the last record read.
    #[must_use]
    pub fn with_leader_epoch(self, epoch: i32) -> Self {
        Self { leader_epoch: Some(epoch), ..self }
    }
}

impl From<i64> for OffsetAndMetadata {
    fn from(offset: i64) -> Self {
        Self::new(offset)
    }
}
