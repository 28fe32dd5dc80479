//! JoinGroup (11), versions 0–9.
//!
//! Lets a member into a group of the classic protocol. The answer comes when the group has its next generation: after
//! `group.initial.rebalance.delay.ms` in an empty group, when all members have joined again in others, at the latest
//! after the largest rebalance timeout of the members.
//!
//! Versions: 1 rebalance timeout · 2 throttle time · 4 a new member is told its id first (KIP-394) · 5 static members
//! (KIP-345) · 6 flexible · 7 protocol type in the answer, null protocol (KIP-559) · 8 reason (KIP-800) · 9 a leader
//! that assigns nothing (KIP-814).

use std::sync::Arc;

use bytes::Bytes;
use vltava_protocol::ErrorCode;
use vltava_protocol::messages::{JoinGroupRequest, JoinGroupResponse};
use vltava_security::acl::AclOperation;

use crate::coordinator::group::GroupCoordinator;
use crate::request::RequestContext;
use crate::security::Resource;

/// The first version in which no protocol is null, and not an empty name.
const NULL_PROTOCOL_VERSION: i16 = 7;

pub(crate) async fn handle(
    groups: &Arc<GroupCoordinator>,
    context: &RequestContext,
    request: &JoinGroupRequest,
) -> JoinGroupResponse {
    if !context.may(AclOperation::Read, Resource::group(&request.group_id)) {
        let has_null = context.version >= NULL_PROTOCOL_VERSION;
        return JoinGroupResponse {
            error_code: ErrorCode::GroupAuthorizationFailed.code(),
            protocol_name: (!has_null).then(String::new),
            ..JoinGroupResponse::default()
        };
    }
    let mut request = request.clone();
    for protocol in &mut request.protocols {
        // The group keeps it for as long as the member stays: not the whole request with it.
        protocol.metadata = Bytes::copy_from_slice(&protocol.metadata);
    }
    let mut response = groups.join_group(&context.caller(), request).await;
    let name = response.protocol_name.take().filter(|name| !name.is_empty());
    response.protocol_name =
        if context.version < NULL_PROTOCOL_VERSION { Some(name.unwrap_or_default()) } else { name };
    response
}
