//! What an application hears of rebalances.

use std::future::ready;

use super::Consumer;
use super::assignor::BoxFuture;
use crate::{ClientError, TopicPartition};

/// Told, within [`Consumer::poll`], which partitions come and go.
///
/// The calls may use the consumer: look up positions, seek, commit. They must not call `poll`. An
/// error does not stop the rebalance; `poll` returns the first one when the rebalance is done.
///
/// If the future of a `poll` is dropped while it waits for a listener, that call counts as done.
pub trait RebalanceListener: Send {
    /// Partitions are about to be given up. Their positions are still good: commit here.
    ///
    /// Under the eager protocol these are all partitions, before every rebalance; under the
    /// cooperative one those that move away.
    fn on_partitions_revoked<'a>(
        &'a mut self,
        consumer: &'a Consumer,
        partitions: &'a [TopicPartition],
    ) -> BoxFuture<'a, Result<(), ClientError>> {
        let _ = (consumer, partitions);
        Box::pin(ready(Ok(())))
    }

    /// Partitions have come, after every rebalance; under the cooperative protocol only new ones.
    fn on_partitions_assigned<'a>(
        &'a mut self,
        consumer: &'a Consumer,
        partitions: &'a [TopicPartition],
    ) -> BoxFuture<'a, Result<(), ClientError>> {
        let _ = (consumer, partitions);
        Box::pin(ready(Ok(())))
    }

    /// Partitions were taken away without warning: the group has given them to others already, so
    /// that offsets cannot be committed. Calls
    /// [`on_partitions_revoked`](Self::on_partitions_revoked) unless it is overridden.
    fn on_partitions_lost<'a>(
        &'a mut self,
        consumer: &'a Consumer,
        partitions: &'a [TopicPartition],
    ) -> BoxFuture<'a, Result<(), ClientError>> {
        self.on_partitions_revoked(consumer, partitions)
    }
}
