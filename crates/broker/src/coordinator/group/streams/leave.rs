//! How members of streams groups go, and how the groups come and go.

use std::sync::Arc;

use vltava_protocol::ErrorCode;
use vltava_protocol::messages::{StreamsGroupHeartbeatRequest, StreamsGroupHeartbeatResponse};

use super::fold::Change;
use super::heartbeat::{StreamsHeartbeat, unknown_member};
use super::{MemberState, StreamsGroup, StreamsMember};
use crate::coordinator::group::kind::Group;
use crate::coordinator::group::records::CoordinatorRecord;
use crate::coordinator::group::shard::{GroupCoordinatorShard, Refused};
use crate::coordinator::group::timer_key::TimerKey;

impl GroupCoordinatorShard {
    pub(in crate::coordinator::group) fn streams_group(&self, id: &str) -> Option<&StreamsGroup> {
        match self.groups.get(id)? {
            Group::Streams(group) => Some(group),
            Group::Classic(_) | Group::Consumer(_) => None,
        }
    }

    pub(super) fn streams_group_mut(&mut self, id: &str) -> Option<&mut StreamsGroup> {
        match self.groups.get_mut(id)? {
            Group::Streams(group) => Some(group),
            Group::Classic(_) | Group::Consumer(_) => None,
        }
    }

    pub(super) fn streams_member(&self, group: &str, member: &str) -> Option<&StreamsMember> {
        self.streams_group(group)?.members.get(member)
    }

    /// Emits a record of a streams group and folds it into the state.
    pub(super) fn emit_streams(&mut self, group: &Arc<str>, change: Change) {
        self.emit_and_replay(CoordinatorRecord::Streams { group: group.to_string(), change });
    }

    /// Checks that there is a streams group, or may be one: an empty classic group becomes one.
    ///
    /// # Errors
    ///
    /// `GROUP_ID_NOT_FOUND` if nobody may make the group, or it is of another kind.
    pub(super) fn check_streams_group(&self, group_id: &str, is_joining: bool) -> Result<(), Refused> {
        match self.groups.get(group_id) {
            Some(Group::Streams(_)) => Ok(()),
            None if is_joining => Ok(()),
            None => Err(not_found(format!("Streams group {group_id} not found."))),
            Some(Group::Classic(group)) if is_joining && group.is_vacant() => Ok(()),
            Some(_) => Err(not_found(format!("Group {group_id} is not a streams group."))),
        }
    }

    /// Makes room for a streams group where an empty classic one is.
    pub(super) fn make_streams_group(&mut self, group_id: &Arc<str>) {
        if let Some(Group::Classic(_)) = self.groups.get(group_id) {
            self.emit_and_replay(CoordinatorRecord::group_tombstone(group_id));
        }
    }

    /// Lets a member go.
    pub(super) fn streams_group_leave(
        &mut self,
        request: &StreamsGroupHeartbeatRequest,
    ) -> Result<StreamsHeartbeat, Refused> {
        let group_id: Arc<str> = request.group_id.as_str().into();
        let Some(group) = self.streams_group(&group_id) else {
            let exists = self.groups.contains_key(&group_id);
            let text = if exists { "is not a streams group." } else { "not found." };
            return Err(not_found(format!("Group {group_id} {text}")));
        };
        let id = request.member_id.as_str();
        let member_id = group.members.get(id).map(|member| member.id.clone());
        let member_id = member_id.ok_or_else(|| unknown_member(id, &group_id))?;
        if request.shutdown_application {
            self.request_shutdown(&group_id, &member_id);
        }
        tracing::info!(group = %group_id, member = id, "member has left");
        self.fence_streams_member(&group_id, &member_id);
        let response = StreamsGroupHeartbeatResponse {
            member_id: request.member_id.clone(),
            member_epoch: request.member_epoch,
            status: Some(Vec::new()),
            ..StreamsGroupHeartbeatResponse::default()
        };
        Ok(StreamsHeartbeat { response, missing: Vec::new() })
    }

    /// Takes a member out of its group, which is in another epoch then.
    fn fence_streams_member(&mut self, group_id: &Arc<str>, member_id: &Arc<str>) {
        self.core.cancel_session(group_id, member_id);
        self.core.timers.cancel(&TimerKey::Rebalance { group: group_id.clone(), member: member_id.clone() });
        self.emit_streams(group_id, Change::Current(member_id.to_string(), None));
        self.emit_streams(group_id, Change::TargetOf(member_id.to_string(), None));
        self.emit_streams(group_id, Change::Member(member_id.to_string(), None));
        let Some(group) = self.streams_group(group_id) else { return };
        let (epoch, hash, validated) =
            (group.epoch.saturating_add(1), group.metadata_hash, group.validated_topology_epoch);
        let configs = group.assignment_configs.clone();
        self.set_streams_epoch(group_id, epoch, hash, validated, configs);
    }

    /// A member was not heard of for the time of its session.
    pub(in crate::coordinator::group) fn expire_streams_session(&mut self, group: &Arc<str>, member: &Arc<str>) {
        if self.streams_member(group, member).is_some() {
            tracing::info!(%group, %member, "member has failed");
            self.fence_streams_member(group, member);
        }
    }

    /// A member has not given up its tasks within its rebalance timeout.
    pub(in crate::coordinator::group) fn expire_streams_revocation(&mut self, group: &Arc<str>, member: &Arc<str>) {
        let is_late = |member: &StreamsMember| member.state == MemberState::UnrevokedTasks;
        if self.streams_member(group, member).is_some_and(is_late) {
            tracing::info!(%group, %member, "member did not give up its tasks in time");
            self.fence_streams_member(group, member);
        }
    }
}

/// Returns the records that remove a group.
pub(in crate::coordinator::group) fn tombstones(group: &StreamsGroup) -> Vec<CoordinatorRecord> {
    let members = || group.members.keys().map(|id| id.to_string());
    let changes = members()
        .map(|id| Change::Current(id, None))
        .chain(members().map(|id| Change::TargetOf(id, None)))
        .chain([Change::Target(None)])
        .chain(members().map(|id| Change::Member(id, None)))
        .chain([Change::Group(None), Change::Topology(None)]);
    changes.map(|change| CoordinatorRecord::Streams { group: group.id.to_string(), change }).collect()
}

fn not_found(text: String) -> Refused {
    Refused::new(ErrorCode::GroupIdNotFound, text)
}
