//! A member of a consumer group.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use vltava_protocol::Uuid;
use vltava_protocol::records::group::ConsumerGroupMemberMetadataValue;

/// The epoch by which a member says that it leaves.
pub(in super::super) const LEAVE_EPOCH: i32 = -1;
/// The epoch by which a static member says that it will be back.
pub(in super::super) const STATIC_LEAVE_EPOCH: i32 = -2;

/// Partitions by topic.
pub(in super::super) type Partitions = BTreeMap<Uuid, BTreeSet<i32>>;
/// Partitions that a member has, each with the epoch in which it was given.
pub(in super::super) type Owned = BTreeMap<Uuid, BTreeMap<i32, i32>>;

/// Where a member is on its way to the target assignment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in super::super) enum MemberState {
    /// It has what it shall have for its epoch.
    #[default]
    Stable,
    /// It has to give up partitions.
    UnrevokedPartitions,
    /// It has given up what it had to, and waits for what others hold.
    UnreleasedPartitions,
    /// A state of another version.
    Unknown,
}

impl MemberState {
    pub(in super::super) fn code(self) -> i8 {
        match self {
            Self::Stable => 0,
            Self::UnrevokedPartitions => 1,
            Self::UnreleasedPartitions => 2,
            Self::Unknown => 127,
        }
    }

    pub(in super::super) fn from_code(code: i8) -> Self {
        match code {
            0 => Self::Stable,
            1 => Self::UnrevokedPartitions,
            2 => Self::UnreleasedPartitions,
            _ => Self::Unknown,
        }
    }
}

/// A member: what it wants, and what it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct ConsumerMember {
    pub(in super::super) id: Arc<str>,
    pub(in super::super) instance_id: Option<String>,
    pub(in super::super) rack_id: Option<String>,
    pub(in super::super) client_id: String,
    pub(in super::super) client_host: String,
    pub(in super::super) rebalance_timeout_ms: i32,
    pub(in super::super) topics: BTreeSet<String>,
    /// None or not empty.
    pub(in super::super) regex: Option<String>,
    pub(in super::super) assignor: Option<String>,
    pub(in super::super) epoch: i32,
    pub(in super::super) previous_epoch: i32,
    pub(in super::super) state: MemberState,
    pub(in super::super) assigned: Owned,
    pub(in super::super) pending_revocation: Owned,
}

impl ConsumerMember {
    /// Makes a member that has just come.
    pub(in super::super) fn new(id: Arc<str>) -> Self {
        Self {
            id,
            instance_id: None,
            rack_id: None,
            client_id: String::new(),
            client_host: String::new(),
            rebalance_timeout_ms: -1,
            topics: BTreeSet::new(),
            regex: None,
            assignor: None,
            epoch: 0,
            previous_epoch: -1,
            state: MemberState::Stable,
            assigned: Owned::new(),
            pending_revocation: Owned::new(),
        }
    }

    pub(in super::super) fn is_reconciled_to(&self, epoch: i32) -> bool {
        self.state == MemberState::Stable && self.epoch == epoch
    }

    /// Returns the epoch since which the member holds a partition, also one that it has to give up.
    pub(in super::super) fn holds_since(&self, topic: Uuid, partition: i32) -> Option<i32> {
        let since = |owned: &Owned| owned.get(&topic)?.get(&partition).copied();
        since(&self.assigned).or_else(|| since(&self.pending_revocation))
    }

    /// Moves to another epoch, and remembers the one before.
    pub(in super::super) fn advance_to(&mut self, epoch: i32) {
        self.previous_epoch = self.epoch;
        self.epoch = epoch;
    }

    /// The record of what the member wants.
    pub(in super::super) fn metadata(&self) -> ConsumerGroupMemberMetadataValue {
        ConsumerGroupMemberMetadataValue {
            instance_id: self.instance_id.clone(),
            rack_id: self.rack_id.clone(),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            subscribed_topic_names: self.topics.iter().cloned().collect(),
            subscribed_topic_regex: self.regex.clone(),
            rebalance_timeout_ms: self.rebalance_timeout_ms,
            server_assignor: self.assignor.clone(),
            ..ConsumerGroupMemberMetadataValue::default()
        }
    }

    /// Takes over what the member wants.
    pub(in super::super) fn set_metadata(&mut self, value: ConsumerGroupMemberMetadataValue) {
        self.instance_id = value.instance_id;
        self.rack_id = value.rack_id;
        self.client_id = value.client_id;
        self.client_host = value.client_host;
        self.topics = value.subscribed_topic_names.into_iter().collect();
        self.regex = value.subscribed_topic_regex.filter(|regex| !regex.is_empty());
        self.rebalance_timeout_ms = value.rebalance_timeout_ms;
        self.assignor = value.server_assignor;
    }
}
