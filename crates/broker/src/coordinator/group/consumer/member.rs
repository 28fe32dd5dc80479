//! A member of a consumer group.

use std::collections::{BTreeMap, BTreeSet};

use vltava_protocol::Uuid;

use super::Consumer;
use crate::coordinator::group::modern::ModernMember;

/// Partitions by topic.
pub(in super::super) type Partitions = BTreeMap<Uuid, BTreeSet<i32>>;
/// Partitions that a member has, each with the epoch in which it was given.
pub(in super::super) type Owned = BTreeMap<Uuid, BTreeMap<i32, i32>>;

/// A member of a consumer group.
pub(in super::super) type ConsumerMember = ModernMember<Consumer>;

/// What a member of a consumer group wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wants {
    pub(super) topics: BTreeSet<String>,
    /// None or not empty.
    pub(super) regex: Option<String>,
    pub(super) assignor: Option<String>,
}

impl ConsumerMember {
    /// Returns the epoch since which the member holds a partition, also one that it has to give up.
    pub(super) fn holds_since(&self, topic: Uuid, partition: i32) -> Option<i32> {
        let since = |owned: &Owned| owned.get(&topic)?.get(&partition).copied();
        since(&self.assigned).or_else(|| since(&self.pending_revocation))
    }
}
