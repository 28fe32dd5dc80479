//! A member of a streams group: one stream thread's process, as the coordinator knows it.

use std::collections::BTreeMap;

use vltava_protocol::messages::StreamsGroupHeartbeatRequest;
use vltava_protocol::records::group::streams_group_member_metadata_value::Endpoint;

use super::Streams;
use crate::coordinator::group::modern::ModernMember;
use crate::coordinator::group::shard::Caller;

/// A member of a streams group.
pub(in super::super) type StreamsMember = ModernMember<Streams>;

/// What a member of a streams group says of itself.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Wants {
    pub(super) topology_epoch: i32,
    /// Of the process that the member belongs to: it has a task in one role only.
    pub(super) process_id: String,
    /// Where the application answers queries.
    pub(super) user_endpoint: Option<Endpoint>,
    pub(super) client_tags: BTreeMap<String, String>,
}

impl Default for Wants {
    fn default() -> Self {
        Self { topology_epoch: -1, process_id: String::new(), user_endpoint: None, client_tags: BTreeMap::new() }
    }
}

impl StreamsMember {
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
        let wants = &mut member.wants;
        if let Some(topology) = &request.topology {
            wants.topology_epoch = topology.epoch;
        }
        if let Some(process_id) = &request.process_id {
            wants.process_id.clone_from(process_id);
        }
        if let Some(endpoint) = &request.user_endpoint {
            let endpoint = Endpoint { host: endpoint.host.clone(), port: endpoint.port, ..Endpoint::default() };
            wants.user_endpoint = Some(endpoint);
        }
        if let Some(tags) = &request.client_tags {
            wants.client_tags = tags.iter().map(|tag| (tag.key.clone(), tag.value.clone())).collect();
        }
        member
    }
}
