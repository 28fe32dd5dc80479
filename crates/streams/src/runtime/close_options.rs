//! How an application is closed (KIP-812, KIP-1153).

use std::time::Duration;

pub use vltava_client::consumer::GroupMembershipOperation;

/// How an application is closed: how long that may take, and whether its members leave the group.
///
/// # Examples
/// ```no_run
/// use std::time::Duration;
/// use vltava_streams::{CloseOptions, GroupMembershipOperation};
/// # fn example(streams: vltava_streams::KafkaStreams) -> vltava_streams::Result<()> {
/// let options = CloseOptions::timeout(Duration::from_secs(10))
///     .with_group_membership_operation(GroupMembershipOperation::LeaveGroup);
/// streams.close_with(options)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloseOptions {
    pub(super) timeout: Duration,
    pub(super) operation: GroupMembershipOperation,
}

impl Default for CloseOptions {
    /// Without end, and with [`GroupMembershipOperation::Default`].
    fn default() -> Self {
        CloseOptions { timeout: Duration::MAX, operation: GroupMembershipOperation::Default }
    }
}

impl CloseOptions {
    /// Within `timeout`; as [`KafkaStreams::close`](crate::KafkaStreams::close) takes it.
    #[must_use]
    pub fn timeout(timeout: Duration) -> Self {
        Self::default().with_timeout(timeout)
    }

    /// With that for the memberships of the threads.
    #[must_use]
    pub fn group_membership_operation(operation: GroupMembershipOperation) -> Self {
        Self::default().with_group_membership_operation(operation)
    }

    /// How long it may take; without end unless it is said.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        CloseOptions { timeout, ..self }
    }

    /// What becomes of the memberships of the threads. Where they
    ///
    /// - leave, others have their tasks at once, and whoever starts next waits for nobody;
    /// - remain, tasks are nobody's until the sessions are over (`session.timeout.ms`), and an application that starts again
    ///   before that waits for it: unless it is one of static members (`group.instance.id`), which go on as if they had not
    ///   been away, without a rebalance.
    ///
    /// By default dynamic members leave, and static ones remain. In Kafka 4.3 all remain by default.
    #[must_use]
    pub fn with_group_membership_operation(self, operation: GroupMembershipOperation) -> Self {
        CloseOptions { operation, ..self }
    }
}
