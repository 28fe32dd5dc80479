//! What groups have in common whose coordinator assigns: consumer groups (KIP-848) and streams groups (KIP-1071). Kafka calls
//! such groups modern ones.
//!
//! Everything here folds from records. A group has an *epoch*, which grows with every change of its members and of what they
//! read; a *target assignment*, computed for an epoch; and for each member the *current assignment*, which moves to the target
//! at the member's own pace. What is assigned, and how a member gets from one assignment to the next, is a [`ModernKind`]'s own.
//!
//! - `modern/member.rs`: a member, and its epochs.
//! - `modern/fold.rs`: how records fold into a group.
//! - `modern/lifecycle.rs`: how groups and members come and go in the coordinator, and their deadlines.

mod fold;
mod lifecycle;
mod member;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use vltava_protocol::ErrorCode;

pub(crate) use fold::Change;
pub(super) use lifecycle::{Kept, tombstones, unknown_member};
pub(crate) use member::{MemberState, ModernMember};

/// The epoch of a group before its first member.
const INITIAL_EPOCH: i32 = 1;
/// The epoch by which a member says that it leaves.
pub(super) const LEAVE_EPOCH: i32 = -1;
/// The epoch by which a static member says that it will be back.
pub(super) const STATIC_LEAVE_EPOCH: i32 = -2;
/// The first version of OffsetCommit that carries a member's epoch.
const EPOCH_COMMIT_MIN_VERSION: i16 = 9;

/// A kind of modern groups: what a group of it has beside the rest, and its records.
pub(crate) trait ModernKind: Clone + Debug + Default + PartialEq {
    /// What a member says of itself and of what it wants.
    type Wants: Clone + Debug + Default + PartialEq;
    /// What a member shall have.
    type Target: Clone + Debug + Default + PartialEq;
    /// What a member has.
    type Owned: Clone + Debug + Default + PartialEq;
    /// A partition of which offsets are committed.
    type Read<'a>;

    /// The record of a group's epoch.
    type GroupRecord: Clone + Debug + PartialEq;
    /// The record of who a member is.
    type MemberRecord: Clone + Debug + PartialEq;
    /// The record of the target's epoch.
    type TargetRecord: Clone + Debug + PartialEq;
    /// The record of a member's target.
    type TargetOfRecord: Clone + Debug + PartialEq;
    /// The record of what a member has.
    type CurrentRecord: Clone + Debug + PartialEq;
    /// What is said by the records that only groups of this kind have.
    type OwnChange: Clone + Debug + PartialEq;

    /// The name of the kind in texts.
    const NAME: &'static str;
    /// The name at the beginning of a text.
    const TITLE: &'static str;
    /// The epoch of the assignment of a group before its first member.
    const INITIAL_ASSIGNMENT_EPOCH: i32;
    /// The epoch before the first of a member.
    const INITIAL_PREVIOUS_EPOCH: i32;
    /// The number of [`MemberState::Stable`] in records; the other states follow.
    const STABLE: i8;

    fn apply_group(group: &mut ModernGroup<Self>, record: Self::GroupRecord);

    fn member_record(member: &ModernMember<Self>) -> Self::MemberRecord;
    fn apply_member(member: &mut ModernMember<Self>, record: Self::MemberRecord);

    fn target_record(epoch: i32, timestamp_ms: i64) -> Self::TargetRecord;
    /// The epoch of a target, and when it was computed.
    fn epoch_of_target(record: &Self::TargetRecord) -> (i32, i64);

    fn target_of_record(target: &Self::Target) -> Self::TargetOfRecord;
    fn target(record: Self::TargetOfRecord) -> Self::Target;

    fn current_record(member: &ModernMember<Self>) -> Self::CurrentRecord;
    fn apply_current(member: &mut ModernMember<Self>, record: Self::CurrentRecord);

    fn apply_own(group: &mut ModernGroup<Self>, change: Self::OwnChange);
    /// Whether the record only takes back.
    fn is_removal(change: &Self::OwnChange) -> bool;
    /// What takes back the group's own records, the last ones of it.
    fn removal(&self) -> Vec<Change<Self>>;

    /// Whether there is all that an assignment needs.
    fn is_ready(&self) -> bool {
        true
    }

    /// The epoch since which a member holds a partition, also one that it has to give up.
    fn held_since(&self, member: &ModernMember<Self>, partition: Self::Read<'_>) -> Option<i32>;

    /// The member is about to be another.
    fn forget(&mut self, _member: &ModernMember<Self>) {}

    /// The member is another.
    fn note(&mut self, _member: &ModernMember<Self>) {}

    /// A member is out of its group.
    fn member_removed(_group: &mut ModernGroup<Self>, _member: &ModernMember<Self>) {}
}

/// The states of a modern group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ModernGroupState {
    /// No members.
    Empty,
    /// Something is not there that an assignment needs, such as topics.
    NotReady,
    /// The target assignment is older than the group's epoch.
    Assigning,
    /// Members are on their way to the target assignment.
    Reconciling,
    /// Every member has its target assignment.
    Stable,
}

impl ModernGroupState {
    /// The state's name in answers.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::NotReady => "NotReady",
            Self::Assigning => "Assigning",
            Self::Reconciling => "Reconciling",
            Self::Stable => "Stable",
        }
    }
}

/// A group whose coordinator assigns.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ModernGroup<K: ModernKind> {
    pub(super) id: Arc<str>,
    pub(super) epoch: i32,
    /// Of the topics that are read: their ids and numbers of partitions.
    pub(super) metadata_hash: i64,
    /// The group epoch that the target assignment was computed for.
    pub(super) assignment_epoch: i32,
    pub(super) assignment_timestamp_ms: i64,
    pub(super) members: BTreeMap<Arc<str>, ModernMember<K>>,
    pub(super) target: BTreeMap<Arc<str>, K::Target>,
    /// What only groups of the kind have.
    pub(super) own: K,
}

impl<K: ModernKind> ModernGroup<K> {
    /// Makes a group without members.
    pub(super) fn new(id: Arc<str>) -> Self {
        Self {
            id,
            epoch: INITIAL_EPOCH,
            metadata_hash: 0,
            assignment_epoch: K::INITIAL_ASSIGNMENT_EPOCH,
            assignment_timestamp_ms: 0,
            members: BTreeMap::new(),
            target: BTreeMap::new(),
            own: K::default(),
        }
    }

    pub(super) fn state(&self) -> ModernGroupState {
        if self.members.is_empty() {
            ModernGroupState::Empty
        } else if !self.own.is_ready() {
            ModernGroupState::NotReady
        } else if self.epoch > self.assignment_epoch {
            ModernGroupState::Assigning
        } else if self.members.values().all(|member| member.is_reconciled_to(self.assignment_epoch)) {
            ModernGroupState::Stable
        } else {
            ModernGroupState::Reconciling
        }
    }

    /// Whether the last target was computed less than this time ago.
    pub(super) fn has_recent_target(&self, timestamp_ms: i64, interval_ms: i32) -> bool {
        let last = self.assignment_timestamp_ms;
        last != 0 && timestamp_ms < last.saturating_add(i64::from(interval_ms))
    }

    /// Checks that a commit comes from a member that may still have read its partitions.
    ///
    /// # Errors
    ///
    /// `UNKNOWN_MEMBER_ID`, `UNSUPPORTED_VERSION` for a request older than epochs, or `STALE_MEMBER_EPOCH`.
    pub(super) fn validate_commit<'a>(
        &self,
        api_version: i16,
        member_id: &str,
        epoch: i32,
        partitions: impl IntoIterator<Item = K::Read<'a>>,
    ) -> Result<(), ErrorCode> {
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
    pub(super) fn validate_epoch<'a>(
        &self,
        member_id: &str,
        epoch: i32,
        partitions: impl IntoIterator<Item = K::Read<'a>>,
    ) -> Result<(), ErrorCode> {
        if epoch < 0 && self.members.is_empty() {
            return Ok(());
        }
        let member = self.members.get(member_id).ok_or(ErrorCode::UnknownMemberId)?;
        // A member that has not heard of its newest epoch may commit what it was given in an older one (KIP-1251).
        let holds = |partition| self.own.held_since(member, partition).is_some_and(|since| epoch >= since);
        if epoch == member.epoch || (epoch < member.epoch && partitions.into_iter().all(holds)) {
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
