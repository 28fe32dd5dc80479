//! How a consumer is closed (KIP-1092).

use std::time::Duration;

/// What becomes of a consumer's membership in its group when it closes (KIP-1092).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GroupMembershipOperation {
    /// It leaves, also where it is a static member: its partitions go to others at once.
    LeaveGroup,
    /// It says nothing: its partitions are nobody's until its session is over. Under `group.protocol=consumer` a static member
    /// says that it will be back.
    RemainInGroup,
    /// A dynamic member leaves, a static one remains.
    #[default]
    Default,
}

impl GroupMembershipOperation {
    /// Whether a member leaves for good.
    pub(crate) fn leaves(self, is_static: bool) -> bool {
        match self {
            Self::LeaveGroup => true,
            Self::RemainInGroup => false,
            Self::Default => !is_static,
        }
    }
}

/// How a consumer is closed, and how long that may take (KIP-1092).
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use vltava_client::consumer::{CloseOptions, GroupMembershipOperation};
///
/// let options = CloseOptions::timeout(Duration::from_secs(5))
///     .with_group_membership_operation(GroupMembershipOperation::RemainInGroup);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloseOptions {
    pub(super) timeout: Duration,
    pub(super) operation: GroupMembershipOperation,
}

impl Default for CloseOptions {
    /// Kafka's: 30 seconds, and the member's own way.
    fn default() -> Self {
        CloseOptions { timeout: Duration::from_secs(30), operation: GroupMembershipOperation::Default }
    }
}

impl CloseOptions {
    /// Within `timeout`.
    #[must_use]
    pub fn timeout(timeout: Duration) -> Self {
        Self::default().with_timeout(timeout)
    }

    /// With that for its membership.
    #[must_use]
    pub fn group_membership_operation(operation: GroupMembershipOperation) -> Self {
        Self::default().with_group_membership_operation(operation)
    }

    /// How long it may take; 30 seconds unless it is said.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        CloseOptions { timeout, ..self }
    }

    /// What becomes of its membership.
    #[must_use]
    pub fn with_group_membership_operation(self, operation: GroupMembershipOperation) -> Self {
        CloseOptions { operation, ..self }
    }
}
