//! What the deadlines of a group shard are for.

use std::sync::Arc;

/// What a deadline is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum TimerKey {
    /// A member, known or still to rejoin with its new id, that has to be heard of.
    Session { group: Arc<str>, member: Arc<str> },
    /// The end of a group's join phase.
    Join { group: Arc<str> },
    /// The time by which every member has to ask for its assignment.
    Sync { group: Arc<str> },
    /// The time by which a member of a consumer or streams group has to give up what it has.
    Rebalance { group: Arc<str>, member: Arc<str> },
    /// The first assignment of a streams group that was empty.
    FirstAssignment { group: Arc<str> },
    /// The next look for offsets past their retention.
    OffsetExpiration,
}
