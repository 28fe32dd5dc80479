//! Heartbeat (12), versions 0–4.
//!
//! Keeps a member of the classic protocol in its group, and tells it when to join again.
//!
//! Versions: 1 throttle time · 3 static members (KIP-345) · 4 flexible.

use vltava_protocol::ErrorCode;
use vltava_protocol::messages::{HeartbeatRequest, HeartbeatResponse};
use vltava_security::acl::AclOperation;

use crate::coordinator::group::GroupCoordinator;
use crate::request::RequestContext;
use crate::security::Resource;

pub(crate) async fn handle(
    groups: &GroupCoordinator,
    context: &RequestContext,
    request: &HeartbeatRequest,
) -> HeartbeatResponse {
    if !context.may(AclOperation::Read, Resource::group(&request.group_id)) {
        let error_code = ErrorCode::GroupAuthorizationFailed.code();
        return HeartbeatResponse { error_code, ..HeartbeatResponse::default() };
    }
    let result = groups.with_shard(&request.group_id, |shard, now| shard.heartbeat(now, request)).await;
    let error = match result.and_then(|result| result) {
        // While its group is being loaded a member is neither known nor unknown: it goes on.
        Ok(()) | Err(ErrorCode::CoordinatorLoadInProgress) => ErrorCode::None,
        Err(error) => error,
    };
    HeartbeatResponse { error_code: error.code(), ..HeartbeatResponse::default() }
}
