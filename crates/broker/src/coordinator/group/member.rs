//! A member of a group that speaks the classic protocol.

use std::sync::Arc;

use bytes::Bytes;
use vltava_protocol::messages::describe_groups_response::DescribedGroupMember;
use vltava_protocol::messages::join_group_request::JoinGroupRequestProtocol;

use crate::coordinator::shard::ReplyToken;

/// One member: what it asked for, what it was given, and the requests of it that wait.
#[derive(Debug, Clone)]
pub(super) struct ClassicMember {
    pub(super) id: Arc<str>,
    pub(super) group_instance_id: Option<String>,
    pub(super) client_id: String,
    pub(super) client_host: String,
    pub(super) rebalance_timeout_ms: i32,
    pub(super) session_timeout_ms: i32,
    /// The assignors the member offers, best first, with its subscription in each one's form.
    pub(super) protocols: Vec<JoinGroupRequestProtocol>,
    pub(super) assignment: Bytes,
    pub(super) awaiting_join: Option<ReplyToken>,
    pub(super) awaiting_sync: Option<ReplyToken>,
    /// Whether the member has not been through a join phase yet: its first wait does not count as a heartbeat.
    pub(super) is_new: bool,
}

impl ClassicMember {
    /// Returns the member's subscription in the form of `protocol`.
    pub(super) fn metadata(&self, protocol: &str) -> Option<&Bytes> {
        self.protocols.iter().find(|offered| offered.name == protocol).map(|offered| &offered.metadata)
    }

    /// Returns whether the member offers exactly these protocols with these subscriptions, in this order.
    pub(super) fn offers(&self, protocols: &[JoinGroupRequestProtocol]) -> bool {
        self.protocols.len() == protocols.len()
            && self.protocols.iter().zip(protocols).all(|(a, b)| a.name == b.name && a.metadata == b.metadata)
    }

    /// Returns the first of the member's protocols that is among the candidates.
    pub(super) fn vote(&self, is_candidate: impl Fn(&str) -> bool) -> Option<&str> {
        self.protocols.iter().map(|offered| offered.name.as_str()).find(|name| is_candidate(name))
    }

    /// Returns whether the member is known to be there because one of its requests is parked here.
    pub(super) fn has_satisfied_heartbeat(&self) -> bool {
        !self.is_new && (self.awaiting_join.is_some() || self.awaiting_sync.is_some())
    }

    /// Describes the member, with its subscription if the group has agreed on `protocol`.
    pub(super) fn describe(&self, protocol: Option<&str>) -> DescribedGroupMember {
        DescribedGroupMember {
            member_id: self.id.to_string(),
            group_instance_id: self.group_instance_id.clone(),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            member_metadata: protocol.and_then(|name| self.metadata(name)).cloned().unwrap_or_default(),
            member_assignment: self.assignment.clone(),
            ..DescribedGroupMember::default()
        }
    }
}
