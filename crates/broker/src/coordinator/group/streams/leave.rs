//! How members of streams groups go, and how the groups come and go.

use std::sync::Arc;

use vltava_protocol::messages::{StreamsGroupHeartbeatRequest, StreamsGroupHeartbeatResponse};

use super::heartbeat::StreamsHeartbeat;
use super::{Change, Streams, StreamsGroup};
use crate::coordinator::group::config::GroupCoordinatorConfig;
use crate::coordinator::group::kind::Group;
use crate::coordinator::group::modern::{Kept, unknown_member};
use crate::coordinator::group::records::CoordinatorRecord;
use crate::coordinator::group::shard::{GroupCoordinatorShard, Refused};

impl GroupCoordinatorShard {
    pub(in crate::coordinator::group) fn streams_group(&self, id: &str) -> Option<&StreamsGroup> {
        self.modern_group(id)
    }

    pub(super) fn streams_group_mut(&mut self, id: &str) -> Option<&mut StreamsGroup> {
        self.modern_group_mut(id)
    }

    /// Lets a member go.
    pub(super) fn streams_group_leave(
        &mut self,
        request: &StreamsGroupHeartbeatRequest,
    ) -> Result<StreamsHeartbeat, Refused> {
        let group_id: Arc<str> = request.group_id.as_str().into();
        let group = self.known_group::<Streams>(&group_id)?;
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
        self.core.cancel_members(group_id, [member_id]);
        self.remove_member::<Streams>(group_id, member_id);
        let Some(group) = self.streams_group(group_id) else { return };
        let (epoch, hash, validated) =
            (group.epoch.saturating_add(1), group.metadata_hash, group.own.validated_topology_epoch);
        let configs = group.own.assignment_configs.clone();
        self.set_streams_epoch(group_id, epoch, hash, validated, configs);
    }
}

impl Kept for Streams {
    fn of(group: &Group) -> Option<&StreamsGroup> {
        if let Group::Streams(group) = group { Some(group) } else { None }
    }

    fn of_mut(group: &mut Group) -> Option<&mut StreamsGroup> {
        if let Group::Streams(group) = group { Some(group) } else { None }
    }

    fn kept(group: StreamsGroup) -> Group {
        Group::Streams(Box::new(group))
    }

    fn record(group: String, change: Change) -> CoordinatorRecord {
        CoordinatorRecord::Streams { group, change }
    }

    fn session_timeout_ms(config: &GroupCoordinatorConfig, group: &str) -> i32 {
        config.streams_of(group).session_timeout_ms
    }

    fn fence(shard: &mut GroupCoordinatorShard, group: &Arc<str>, member: &Arc<str>) {
        shard.fence_streams_member(group, member);
    }
}
