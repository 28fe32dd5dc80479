//! LeaveGroup (13), versions 0–5.
//!
//! Takes members out of a group of the classic protocol: one that goes, or, for an administrator, any.
//!
//! Versions: 1 throttle time · 3 several members, by member or instance id (KIP-345) · 4 flexible · 5 reason (KIP-800).

use vltava_protocol::ErrorCode;
use vltava_protocol::messages::leave_group_request::MemberIdentity;
use vltava_protocol::messages::{LeaveGroupRequest, LeaveGroupResponse};
use vltava_security::acl::AclOperation;

use crate::coordinator::ClusterTopics;
use crate::coordinator::group::GroupCoordinator;
use crate::metadata::MetadataStore;
use crate::request::RequestContext;
use crate::security::Resource;

/// The first version with several members.
const SEVERAL_MEMBERS_VERSION: i16 = 3;

pub(crate) async fn handle(
    metadata: &MetadataStore,
    groups: &GroupCoordinator,
    context: &RequestContext,
    request: &LeaveGroupRequest,
) -> LeaveGroupResponse {
    if !context.may(AclOperation::Read, Resource::group(&request.group_id)) {
        let error_code = ErrorCode::GroupAuthorizationFailed.code();
        return LeaveGroupResponse { error_code, ..LeaveGroupResponse::default() };
    }
    let mut request = request.clone();
    if context.version < SEVERAL_MEMBERS_VERSION {
        let member_id = std::mem::take(&mut request.member_id);
        request.members = vec![MemberIdentity { member_id, ..MemberIdentity::default() }];
    }
    let group_id = request.group_id.clone();
    let topics = ClusterTopics::of(metadata);
    let left = groups.with_shard(&group_id, |shard, now| {
        let left = shard.leave_consumer_group(now, &topics, &request);
        left.map_or_else(|| shard.leave_group(now, request), Ok)
    });
    match left.await.and_then(|result| result) {
        Err(error) => LeaveGroupResponse { error_code: error.code(), ..LeaveGroupResponse::default() },
        Ok(members) if context.version < SEVERAL_MEMBERS_VERSION => {
            let error_code = members.first().map_or(0, |member| member.error_code);
            LeaveGroupResponse { error_code, ..LeaveGroupResponse::default() }
        }
        Ok(members) => LeaveGroupResponse { members, ..LeaveGroupResponse::default() },
    }
}
