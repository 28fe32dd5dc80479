//! The end of a consumer.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::core::{Core, Goodbye};
use super::io::Inner;
use super::{Consumer, GroupMembershipOperation};
use crate::ClientError;
use crate::net::{ConnectionKey, SendOptions};

/// How long the last words to the brokers may take when nobody waits for them.
const LAST_WORDS: Duration = Duration::from_secs(1);

impl Consumer {
    pub(super) async fn close_within(
        &self,
        timeout: Duration,
        operation: GroupMembershipOperation,
    ) -> Result<(), ClientError> {
        let _guard = self.exclude_poll()?;
        let inner = self.inner();
        if inner.closed.load(Ordering::Acquire) {
            return Ok(());
        }
        let deadline = Instant::now() + timeout.min(Duration::from_secs(u64::from(u32::MAX)));
        let left = || deadline.saturating_duration_since(Instant::now());
        let mut result = Ok(());
        if inner.config.enable_auto_commit {
            let offsets = inner.read(Core::consumed);
            if !offsets.is_empty()
                && let Err(error) = self.commit_sync_within(offsets, left()).await
            {
                tracing::warn!(%error, "commit of offsets at the end failed");
                result = Err(error);
            }
        }
        if inner.config.group_id.is_some() {
            let commits = self.wait_for_commits(deadline).await;
            result = result.and(commits);
        }
        let listener = tokio::time::timeout_at(deadline.into(), self.give_up_partitions())
            .await
            .unwrap_or_else(|_| Err(ClientError::timeout("rebalance listener", timeout)));
        result = result.and(listener);
        say_goodbye(inner, operation, left()).await;
        result
    }

    /// Tells the listener that the partitions go, and gives them up.
    pub(super) async fn give_up_partitions(&self) -> Result<(), ClientError> {
        let result = match self.inner().read(Core::farewell) {
            Some((call, partitions)) => self.call_listener(call, &partitions).await,
            None => Ok(()),
        };
        self.inner().turn(|core, _| core.give_up());
        result.map_err(|source| ClientError::RebalanceCallback { source: Box::new(source) })
    }
}

/// The last handle was dropped: the brokers are told in the background.
pub(super) fn abandon(inner: &Arc<Inner>) {
    if !inner.closed.load(Ordering::Acquire) {
        let inner = Arc::clone(inner);
        let cluster = inner.cluster.clone();
        cluster.spawn(async move { say_goodbye(&inner, GroupMembershipOperation::Default, LAST_WORDS).await });
    }
}

/// Leaves the group, if it is to, closes the fetch sessions and then all connections.
async fn say_goodbye(inner: &Arc<Inner>, operation: GroupMembershipOperation, timeout: Duration) {
    let Goodbye { coordinator, leaving, sessions } = inner.turn(|core, _| core.close(operation));
    let goodbye = async {
        for (request, node) in leaving.into_iter().zip(coordinator.into_iter().cycle()) {
            if let Err(error) = inner.ask_coordinator(node, request).await {
                tracing::debug!(%error, "leaving the group failed");
            }
        }
        for call in sessions {
            // A fetch that the broker holds back is in front of it on that connection.
            let key = ConnectionKey::data(call.node);
            if inner.cluster.open_connection(key).is_some() {
                let _ = inner.cluster.send_with(key, &call.request, SendOptions::default()).await;
            }
        }
    };
    if tokio::time::timeout(timeout, goodbye).await.is_err() {
        tracing::debug!("the consumer was closed before the brokers had answered");
    }
    inner.end();
}
