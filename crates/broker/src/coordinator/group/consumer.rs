//! A group that speaks the consumer protocol (KIP-848): the coordinator assigns, each member follows at its own pace.
//!
//! Everything here folds from records. A group has an *epoch*, which grows with every change of its members,
//! subscriptions and topics; a *target assignment*, computed for an epoch; and for each member the *current
//! assignment*, which moves to the target without a partition ever having two owners: a member first gives up what it
//! has to (`UnrevokedPartitions`), then waits for what others still hold (`UnreleasedPartitions`).

mod assign;
mod describe;
mod fold;
mod heartbeat;
mod leave;
mod member;
mod reconcile;
mod topics;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use vltava_protocol::{ErrorCode, Uuid};

pub(crate) use fold::Change;
pub(super) use leave::tombstones;
pub(super) use member::{ConsumerMember, LEAVE_EPOCH, MemberState, Owned, Partitions, STATIC_LEAVE_EPOCH};
pub(crate) use topics::TopicMetadata;
pub(super) use topics::metadata_hash;

/// The epoch of a group before its first member.
const INITIAL_EPOCH: i32 = 1;

/// The states of a consumer group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConsumerGroupState {
    /// No members.
    Empty,
    /// The target assignment is older than the group's epoch.
    Assigning,
    /// Members are on their way to the target assignment.
    Reconciling,
    /// Every member has its target assignment.
    Stable,
}

impl ConsumerGroupState {
    /// The state's name in answers.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Assigning => "Assigning",
            Self::Reconciling => "Reconciling",
            Self::Stable => "Stable",
        }
    }
}

/// What a regular expression stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ResolvedRegex {
    pub(super) topics: BTreeSet<String>,
    /// Of the metadata in which the topics were looked for.
    pub(super) version: i64,
    pub(super) timestamp_ms: i64,
}

/// A consumer group.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ConsumerGroup {
    pub(super) id: Arc<str>,
    pub(super) epoch: i32,
    /// Of the topics subscribed to: their ids and numbers of partitions.
    pub(super) metadata_hash: i64,
    /// The group epoch that the target assignment was computed for.
    pub(super) assignment_epoch: i32,
    pub(super) assignment_timestamp_ms: i64,
    pub(super) members: BTreeMap<Arc<str>, ConsumerMember>,
    pub(super) static_members: BTreeMap<String, Arc<str>>,
    pub(super) target: BTreeMap<Arc<str>, Partitions>,
    pub(super) regexes: BTreeMap<String, ResolvedRegex>,
    /// Who holds a partition, or still has to give it up: the epoch of its owner.
    owners: BTreeMap<Uuid, BTreeMap<i32, i32>>,
    /// The version of the metadata and the epoch of the group when the topics were last looked at; not recorded.
    pub(super) checked: Option<(i64, i32)>,
}

impl ConsumerGroup {
    /// Makes a group without members.
    pub(super) fn new(id: Arc<str>) -> Self {
        Self {
            id,
            epoch: INITIAL_EPOCH,
            metadata_hash: 0,
            assignment_epoch: 0,
            assignment_timestamp_ms: 0,
            members: BTreeMap::new(),
            static_members: BTreeMap::new(),
            target: BTreeMap::new(),
            regexes: BTreeMap::new(),
            owners: BTreeMap::new(),
            checked: None,
        }
    }

    pub(super) fn state(&self) -> ConsumerGroupState {
        if self.members.is_empty() {
            ConsumerGroupState::Empty
        } else if self.epoch > self.assignment_epoch {
            ConsumerGroupState::Assigning
        } else if self.members.values().all(|member| member.is_reconciled_to(self.assignment_epoch)) {
            ConsumerGroupState::Stable
        } else {
            ConsumerGroupState::Reconciling
        }
    }

    /// Returns the member of an instance.
    pub(super) fn static_member(&self, instance_id: &str) -> Option<&ConsumerMember> {
        self.members.get(self.static_members.get(instance_id)?)
    }

    /// Returns the epoch of who holds a partition.
    pub(super) fn owner_epoch(&self, topic: Uuid, partition: i32) -> Option<i32> {
        self.owners.get(&topic)?.get(&partition).copied()
    }

    /// Returns the topics that members subscribe to, by name or by expression.
    pub(super) fn subscribed_topics(&self) -> BTreeSet<&str> {
        self.members.values().flat_map(|member| self.topics_of(member)).collect()
    }

    /// Returns the topics that a member subscribes to, by name or by expression.
    pub(super) fn topics_of<'a>(&'a self, member: &'a ConsumerMember) -> impl Iterator<Item = &'a str> {
        let by_regex = member.regex.as_ref().and_then(|regex| self.regexes.get(regex));
        let by_regex = by_regex.into_iter().flat_map(|resolved| &resolved.topics);
        member.topics.iter().chain(by_regex).map(String::as_str)
    }

    pub(super) fn is_subscribed_to(&self, topic: &str) -> bool {
        self.members.values().any(|member| self.topics_of(member).any(|name| name == topic))
    }

    /// Returns how many members subscribe by a regular expression.
    pub(super) fn subscribers_of(&self, regex: &str) -> usize {
        self.members.values().filter(|member| member.regex.as_deref() == Some(regex)).count()
    }

    /// Checks that a commit of a partition comes from a member that may still have read it.
    ///
    /// # Errors
    ///
    /// `UNKNOWN_MEMBER_ID`, `UNSUPPORTED_VERSION` for a request older than epochs, or `STALE_MEMBER_EPOCH`.
    pub(super) fn validate_commit(
        &self,
        api_version: i16,
        member_id: &str,
        epoch: i32,
        partitions: impl IntoIterator<Item = (Uuid, i32)>,
    ) -> Result<(), ErrorCode> {
        if epoch < 0 && self.members.is_empty() {
            return Ok(());
        }
        if api_version < EPOCH_COMMIT_MIN_VERSION && self.members.contains_key(member_id) {
            return Err(ErrorCode::UnsupportedVersion);
        }
        self.validate_epoch(member_id, epoch, partitions)
    }

    /// Checks that whoever commits offsets is a member that knows its epoch, or nobody in particular if there are none.
    ///
    /// # Errors
    ///
    /// `UNKNOWN_MEMBER_ID` or `STALE_MEMBER_EPOCH`.
    pub(super) fn validate_epoch(
        &self,
        member_id: &str,
        epoch: i32,
        partitions: impl IntoIterator<Item = (Uuid, i32)>,
    ) -> Result<(), ErrorCode> {
        if epoch < 0 && self.members.is_empty() {
            return Ok(());
        }
        let member = self.members.get(member_id).ok_or(ErrorCode::UnknownMemberId)?;
        if epoch > member.epoch {
            return Err(ErrorCode::StaleMemberEpoch);
        }
        // A member that has not heard of its newest epoch may commit what it was given in an older one (KIP-1251).
        let holds = |(topic, partition)| member.holds_since(topic, partition).is_some_and(|since| epoch >= since);
        if epoch == member.epoch || partitions.into_iter().all(holds) {
            Ok(())
        } else {
            Err(ErrorCode::StaleMemberEpoch)
        }
    }

    /// Checks who asks for offsets: nobody in particular, or a member that knows its epoch.
    ///
    /// # Errors
    ///
    /// `UNKNOWN_MEMBER_ID` or `STALE_MEMBER_EPOCH`.
    pub(super) fn validate_fetch(&self, member_id: Option<&str>, epoch: i32) -> Result<(), ErrorCode> {
        let Some(member_id) = member_id else {
            return if epoch < 0 { Ok(()) } else { Err(ErrorCode::UnknownMemberId) };
        };
        let member = self.members.get(member_id).ok_or(ErrorCode::UnknownMemberId)?;
        if member.epoch == epoch { Ok(()) } else { Err(ErrorCode::StaleMemberEpoch) }
    }
}

/// The first version of OffsetCommit that carries a member's epoch.
const EPOCH_COMMIT_MIN_VERSION: i16 = 9;
