//! A group of instances of a Kafka Streams application (KIP-1071): the coordinator makes the internal topics known,
//! assigns tasks, and each member follows at its own pace.
//!
//! Everything here folds from records, as in [consumer groups](super::consumer): an *epoch* of the group, a *target
//! assignment* computed for an epoch, and each member's *current assignment*. Beside that there is a *topology*, which
//! the first member brings; its topics are looked at whenever the cluster's topics change, and nobody has a task before
//! all of them are there (`NotReady`). What is found is not recorded, nor who wants the application to end.

mod assign;
mod configure;
mod describe;
mod endpoints;
mod fold;
mod heartbeat;
mod leave;
mod member;
mod reconcile;
mod request;
mod status;
mod target;
mod tasks;
mod topology;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use vltava_protocol::ErrorCode;

use configure::ConfiguredTopology;
pub(crate) use configure::InternalTopic;
pub(crate) use fold::Change;
pub(crate) use heartbeat::StreamsHeartbeat;
pub(super) use leave::tombstones;
pub(super) use member::{MemberState, StreamsMember};
pub(crate) use status::StatusCode;
pub(super) use tasks::Tasks;
use topology::StreamsTopology;

/// The epoch of a group before its first member, and of its assignment.
const INITIAL_EPOCH: i32 = 1;
/// The epoch by which a member says that it leaves.
const LEAVE_EPOCH: i32 = -1;
/// The epoch by which a static member would say that it will be back.
const STATIC_LEAVE_EPOCH: i32 = -2;
/// The first version of OffsetCommit that carries a member's epoch.
const EPOCH_COMMIT_MIN_VERSION: i16 = 9;

/// The states of a streams group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StreamsGroupState {
    /// No members.
    Empty,
    /// The topics of the topology are not there, or do not fit together.
    NotReady,
    /// The target assignment is older than the group's epoch.
    Assigning,
    /// Members are on their way to the target assignment.
    Reconciling,
    /// Every member has its target assignment.
    Stable,
}

impl StreamsGroupState {
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

/// A streams group.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct StreamsGroup {
    pub(super) id: Arc<str>,
    pub(super) epoch: i32,
    /// Of the topics of the topology: their ids and numbers of partitions.
    metadata_hash: i64,
    /// The epoch of the topology whose topics were found to be right; -1 if they were not.
    validated_topology_epoch: i32,
    /// What the last epoch's assignment is asked for with.
    assignment_configs: BTreeMap<String, String>,
    /// The group epoch that the target assignment was computed for.
    pub(super) assignment_epoch: i32,
    assignment_timestamp_ms: i64,
    pub(super) members: BTreeMap<Arc<str>, StreamsMember>,
    pub(super) target: BTreeMap<Arc<str>, Tasks>,
    topology: Option<Arc<StreamsTopology>>,
    /// The topology with the counts of its topics; not recorded.
    configured: Option<Arc<ConfiguredTopology>>,
    /// The version of the metadata in which the topics were last looked at; not recorded.
    checked: Option<i64>,
    /// The member that wants the application to end; not recorded.
    shutdown_requested_by: Option<Arc<str>>,
    /// Grows when the tasks of members with an endpoint change; not recorded.
    endpoint_epoch: i32,
}

impl StreamsGroup {
    /// Makes a group without members.
    pub(super) fn new(id: Arc<str>) -> Self {
        Self {
            id,
            epoch: INITIAL_EPOCH,
            metadata_hash: 0,
            validated_topology_epoch: 0,
            assignment_configs: BTreeMap::new(),
            assignment_epoch: INITIAL_EPOCH,
            assignment_timestamp_ms: 0,
            members: BTreeMap::new(),
            target: BTreeMap::new(),
            topology: None,
            configured: None,
            checked: None,
            shutdown_requested_by: None,
            endpoint_epoch: 0,
        }
    }

    pub(super) fn state(&self) -> StreamsGroupState {
        if self.members.is_empty() {
            StreamsGroupState::Empty
        } else if self.topology.as_ref().is_none_or(|topology| topology.epoch != self.validated_topology_epoch) {
            StreamsGroupState::NotReady
        } else if self.epoch > self.assignment_epoch {
            StreamsGroupState::Assigning
        } else if self.members.values().all(|member| member.is_reconciled_to(self.assignment_epoch)) {
            StreamsGroupState::Stable
        } else {
            StreamsGroupState::Reconciling
        }
    }

    /// Returns whether the application reads a topic. A group without members reads nothing, so that its offsets expire.
    pub(super) fn is_subscribed_to(&self, topic: &str) -> bool {
        let reads = |topology: &Arc<StreamsTopology>| topology.reader_of(topic).is_some();
        !self.members.is_empty() && self.topology.as_ref().is_some_and(reads)
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
        partitions: impl IntoIterator<Item = (&'a str, i32)>,
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
        partitions: impl IntoIterator<Item = (&'a str, i32)>,
    ) -> Result<(), ErrorCode> {
        if epoch < 0 && self.members.is_empty() {
            return Ok(());
        }
        let member = self.members.get(member_id).ok_or(ErrorCode::UnknownMemberId)?;
        // A member that has not heard of its newest epoch may commit what it was given in an older one (KIP-1251).
        let holds = |(topic, partition): (&str, i32)| {
            let reader = self.topology.as_ref().and_then(|topology| topology.reader_of(topic));
            let since = reader.and_then(|subtopology| {
                let id = &subtopology.subtopology_id;
                let pending = || member.pending_revocation.active_since(id, partition);
                member.assigned.active_since(id, partition).or_else(pending)
            });
            since.is_some_and(|since| epoch >= since)
        };
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
