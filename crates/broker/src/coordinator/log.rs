//! The log under a coordinator.

use std::fmt::Debug;
use std::sync::Arc;

use bytes::Bytes;
use vltava_log::VerificationGuard;
use vltava_protocol::ErrorCode;

use crate::partition::EndTransaction;
use crate::partition::{Isolation, LeaderListener, Led};
use crate::partitions::Partitions;

/// The partitions of a coordinator's topic.
pub(crate) trait CoordinatorLog: Debug + Send + Sync + 'static {
    /// Returns where a partition stands that this broker leads. From now on `listener` hears of its high watermark,
    /// in place of an earlier one, until the leader epoch is over.
    ///
    /// # Errors
    ///
    /// The partition is not there, or not led by this broker.
    fn lead(&self, partition: i32, listener: Arc<dyn LeaderListener>) -> Result<Led, ErrorCode>;

    /// Appends a batch in a leader epoch; returns the end of the log after it. One of a producer's transaction brings the
    /// guard that allows it. It is in the log when this returns, and
    /// committed when the high watermark has come there, which may be before this returns.
    ///
    /// # Errors
    ///
    /// `NOT_LEADER_OR_FOLLOWER` if the epoch is over, and whatever a log refuses by.
    fn append(
        &self,
        partition: i32,
        leader_epoch: i32,
        batch: &Bytes,
        guard: VerificationGuard,
        now_ms: i64,
    ) -> Result<i64, ErrorCode>;

    /// Appends the marker that ends a producer's transaction, as [`CoordinatorLog::append`] does a batch.
    ///
    /// # Errors
    ///
    /// As [`CoordinatorLog::append`]; those of a producer or coordinator that is fenced.
    fn end_transaction(
        &self,
        partition: i32,
        leader_epoch: i32,
        marker: &EndTransaction,
        now_ms: i64,
    ) -> Result<i64, ErrorCode>;

    /// Reads whole batches from `offset` up to the end of the log, committed or not; at least one, if there is one.
    ///
    /// # Errors
    ///
    /// Whatever a log refuses by.
    fn read(&self, partition: i32, offset: i64, max_bytes: usize) -> Result<Bytes, ErrorCode>;
}

/// A topic of this broker as the log of a coordinator.
#[derive(Debug)]
pub(crate) struct TopicLog {
    topic: &'static str,
    partitions: Arc<Partitions>,
}

impl TopicLog {
    pub(crate) fn new(topic: &'static str, partitions: &Arc<Partitions>) -> Self {
        Self { topic, partitions: Arc::clone(partitions) }
    }
}

impl CoordinatorLog for TopicLog {
    fn lead(&self, partition: i32, listener: Arc<dyn LeaderListener>) -> Result<Led, ErrorCode> {
        self.partitions.by_name(self.topic, partition)?.listen(listener)
    }

    fn append(
        &self,
        partition: i32,
        leader_epoch: i32,
        batch: &Bytes,
        guard: VerificationGuard,
        now_ms: i64,
    ) -> Result<i64, ErrorCode> {
        let partition = self.partitions.by_name(self.topic, partition)?;
        partition.append_from_coordinator(batch, leader_epoch, guard, now_ms).map_err(|failure| failure.code)
    }

    fn end_transaction(
        &self,
        partition: i32,
        leader_epoch: i32,
        marker: &EndTransaction,
        now_ms: i64,
    ) -> Result<i64, ErrorCode> {
        let partition = self.partitions.by_name(self.topic, partition)?;
        let appended = partition.append_end_transaction_marker(marker, Some(leader_epoch), now_ms);
        appended.map_err(|failure| failure.code)
    }

    fn read(&self, partition: i32, offset: i64, max_bytes: usize) -> Result<Bytes, ErrorCode> {
        let partition = self.partitions.by_name(self.topic, partition)?;
        partition.read(offset, -1, max_bytes, true, Isolation::LogEnd)?.read()
    }
}
