//! A member of a streams group: one stream thread's process, as the coordinator knows it.

use std::collections::BTreeMap;
use std::sync::Arc;

use vltava_protocol::messages::StreamsGroupHeartbeatRequest;
use vltava_protocol::records::group::StreamsGroupMemberMetadataValue;
use vltava_protocol::records::group::streams_group_member_metadata_value::{Endpoint, KeyValue};

use super::tasks::OwnedTasks;
use crate::coordinator::group::shard::Caller;

/// Where a member is on its way to the target assignment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in super::super) enum MemberState {
    /// It has what it shall have for its epoch.
    #[default]
    Stable,
    /// It has to give up tasks.
    UnrevokedTasks,
    /// It has given up what it had to, and waits for what others hold.
    UnreleasedTasks,
    /// A state of another version.
    Unknown,
}

impl MemberState {
    pub(super) fn code(self) -> i8 {
        match self {
            Self::Stable => 1,
            Self::UnrevokedTasks => 2,
            Self::UnreleasedTasks => 3,
            Self::Unknown => 127,
        }
    }

    pub(super) fn from_code(code: i8) -> Self {
        match code {
            1 => Self::Stable,
            2 => Self::UnrevokedTasks,
            3 => Self::UnreleasedTasks,
            _ => Self::Unknown,
        }
    }
}

/// A member: who it is, and what it has.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) struct StreamsMember {
    pub(in super::super) id: Arc<str>,
    /// Recorded, and never given yet: Kafka has no static members of streams groups either.
    pub(in super::super) instance_id: Option<String>,
    pub(in super::super) rack_id: Option<String>,
    pub(in super::super) client_id: String,
    pub(in super::super) client_host: String,
    pub(in super::super) rebalance_timeout_ms: i32,
    pub(in super::super) topology_epoch: i32,
    /// Of the process that the member belongs to: it has a task in one role only.
    pub(in super::super) process_id: String,
    /// Where the application answers queries.
    pub(in super::super) user_endpoint: Option<Endpoint>,
    pub(in super::super) client_tags: BTreeMap<String, String>,
    pub(in super::super) epoch: i32,
    pub(in super::super) previous_epoch: i32,
    pub(in super::super) state: MemberState,
    pub(in super::super) assigned: OwnedTasks,
    pub(in super::super) pending_revocation: OwnedTasks,
}

impl StreamsMember {
    /// Makes a member that has just come.
    pub(super) fn new(id: Arc<str>) -> Self {
        Self {
            id,
            instance_id: None,
            rack_id: None,
            client_id: String::new(),
            client_host: String::new(),
            rebalance_timeout_ms: -1,
            topology_epoch: -1,
            process_id: String::new(),
            user_endpoint: None,
            client_tags: BTreeMap::new(),
            epoch: 0,
            previous_epoch: 0,
            state: MemberState::Stable,
            assigned: OwnedTasks::default(),
            pending_revocation: OwnedTasks::default(),
        }
    }

    /// Returns the member as a heartbeat wants it: what that does not say stays.
    pub(super) fn updated(&self, caller: &Caller, request: &StreamsGroupHeartbeatRequest) -> Self {
        let mut member = self.clone();
        member.client_id.clone_from(&caller.client_id);
        member.client_host.clone_from(&caller.client_host);
        if request.rack_id.is_some() {
            member.rack_id.clone_from(&request.rack_id);
        }
        if request.rebalance_timeout_ms != -1 {
            member.rebalance_timeout_ms = request.rebalance_timeout_ms;
        }
        if let Some(topology) = &request.topology {
            member.topology_epoch = topology.epoch;
        }
        if let Some(process_id) = &request.process_id {
            member.process_id.clone_from(process_id);
        }
        if let Some(endpoint) = &request.user_endpoint {
            let endpoint = Endpoint { host: endpoint.host.clone(), port: endpoint.port, ..Endpoint::default() };
            member.user_endpoint = Some(endpoint);
        }
        if let Some(tags) = &request.client_tags {
            member.client_tags = tags.iter().map(|tag| (tag.key.clone(), tag.value.clone())).collect();
        }
        member
    }

    pub(super) fn is_reconciled_to(&self, epoch: i32) -> bool {
        self.state == MemberState::Stable && self.epoch == epoch
    }

    /// Moves to another epoch, and remembers the one before.
    pub(super) fn advance_to(&mut self, epoch: i32) {
        self.previous_epoch = self.epoch;
        self.epoch = epoch;
    }

    /// The record of who the member is.
    pub(super) fn metadata(&self) -> StreamsGroupMemberMetadataValue {
        let tag = |(key, value): (&String, &String)| KeyValue {
            key: key.clone(),
            value: value.clone(),
            ..KeyValue::default()
        };
        StreamsGroupMemberMetadataValue {
            instance_id: self.instance_id.clone(),
            rack_id: self.rack_id.clone(),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            rebalance_timeout_ms: self.rebalance_timeout_ms,
            topology_epoch: self.topology_epoch,
            process_id: self.process_id.clone(),
            user_endpoint: self.user_endpoint.clone(),
            client_tags: self.client_tags.iter().map(tag).collect(),
            ..StreamsGroupMemberMetadataValue::default()
        }
    }

    /// Takes over who the member is.
    pub(super) fn set_metadata(&mut self, value: StreamsGroupMemberMetadataValue) {
        self.instance_id = value.instance_id;
        self.rack_id = value.rack_id;
        self.client_id = value.client_id;
        self.client_host = value.client_host;
        self.rebalance_timeout_ms = value.rebalance_timeout_ms;
        self.topology_epoch = value.topology_epoch;
        self.process_id = value.process_id;
        self.user_endpoint = value.user_endpoint;
        self.client_tags = value.client_tags.into_iter().map(|tag| (tag.key, tag.value)).collect();
    }
}
