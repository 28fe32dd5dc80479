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
    /// cooperative one, and with `group.protocol=consumer`, those that move away.
    fn on_partitions_revoked<'a>(
        &'a mut self,
        consumer: &'a Consumer,
        partitions: &'a [TopicPartition],
    ) -> BoxFuture<'a, Result<(), ClientError>> {
        let _ = (consumer, partitions);
        Box::pin(ready(Ok(())))
    }

    /// Partitions have come, after every rebalance; under the cooperative protocol, and with
    /// `group.protocol=consumer`, only new ones.
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

type Callback = Box<dyn FnMut(&Consumer, &[TopicPartition]) -> Result<(), ClientError> + Send>;

/// A [`RebalanceListener`] of closures, for what needs no waiting: seeking, pausing, starting a commit, keeping a list.
///
/// ```no_run
/// # fn example(consumer: vltava_client::Consumer) -> Result<(), vltava_client::ClientError> {
/// use vltava_client::RebalanceCallbacks;
///
/// let callbacks = RebalanceCallbacks::new()
///     .on_assigned(|consumer, partitions| consumer.seek_to_beginning(partitions))
///     .on_revoked(|_, partitions| {
///         println!("given up: {partitions:?}");
///         Ok(())
///     });
/// consumer.subscribe_with(["words"], callbacks)?;
/// # Ok(())
/// # }
/// ```
#[derive(Default)]
#[must_use]
pub struct RebalanceCallbacks {
    assigned: Option<Callback>,
    revoked: Option<Callback>,
    lost: Option<Callback>,
}

impl std::fmt::Debug for RebalanceCallbacks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RebalanceCallbacks")
            .field("assigned", &self.assigned.is_some())
            .field("revoked", &self.revoked.is_some())
            .field("lost", &self.lost.is_some())
            .finish()
    }
}

impl RebalanceCallbacks {
    /// Without any closure: hears of nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Calls this for partitions that have come, as
    /// [`on_partitions_assigned`](RebalanceListener::on_partitions_assigned).
    pub fn on_assigned(
        mut self,
        callback: impl FnMut(&Consumer, &[TopicPartition]) -> Result<(), ClientError> + Send + 'static,
    ) -> Self {
        self.assigned = Some(Box::new(callback));
        self
    }

    /// Calls this for partitions that are about to be given up, as
    /// [`on_partitions_revoked`](RebalanceListener::on_partitions_revoked).
    pub fn on_revoked(
        mut self,
        callback: impl FnMut(&Consumer, &[TopicPartition]) -> Result<(), ClientError> + Send + 'static,
    ) -> Self {
        self.revoked = Some(Box::new(callback));
        self
    }

    /// Calls this for partitions that were taken away, as [`on_partitions_lost`](RebalanceListener::on_partitions_lost);
    /// without it, the closure for revoked ones is called.
    pub fn on_lost(
        mut self,
        callback: impl FnMut(&Consumer, &[TopicPartition]) -> Result<(), ClientError> + Send + 'static,
    ) -> Self {
        self.lost = Some(Box::new(callback));
        self
    }
}

fn call<'a>(
    callback: Option<&mut Callback>,
    consumer: &Consumer,
    partitions: &[TopicPartition],
) -> BoxFuture<'a, Result<(), ClientError>> {
    Box::pin(ready(callback.map_or(Ok(()), |callback| callback(consumer, partitions))))
}

impl RebalanceListener for RebalanceCallbacks {
    fn on_partitions_revoked<'a>(
        &'a mut self,
        consumer: &'a Consumer,
        partitions: &'a [TopicPartition],
    ) -> BoxFuture<'a, Result<(), ClientError>> {
        call(self.revoked.as_mut(), consumer, partitions)
    }

    fn on_partitions_assigned<'a>(
        &'a mut self,
        consumer: &'a Consumer,
        partitions: &'a [TopicPartition],
    ) -> BoxFuture<'a, Result<(), ClientError>> {
        call(self.assigned.as_mut(), consumer, partitions)
    }

    fn on_partitions_lost<'a>(
        &'a mut self,
        consumer: &'a Consumer,
        partitions: &'a [TopicPartition],
    ) -> BoxFuture<'a, Result<(), ClientError>> {
        call(self.lost.as_mut().or(self.revoked.as_mut()), consumer, partitions)
    }
}
