//! SyncGroup (14), versions 0–5.
//!
//! Gives a member of the classic protocol its assignment; the leader's request brings everybody's. The answer waits
//! for the leader.
//!
//! Versions: 1 throttle time · 3 static members (KIP-345) · 4 flexible · 5 what was agreed on is said (KIP-559).

use std::sync::Arc;

use bytes::Bytes;
use vltava_protocol::ErrorCode;
use vltava_protocol::messages::{SyncGroupRequest, SyncGroupResponse};
use vltava_security::acl::AclOperation;

use crate::coordinator::group::GroupCoordinator;
use crate::request::RequestContext;
use crate::security::Resource;

/// The first version in which a member says what was agreed on.
const AGREED_VERSION: i16 = 5;

pub(crate) async fn handle(
    groups: &Arc<GroupCoordinator>,
    context: &RequestContext,
    request: &SyncGroupRequest,
) -> SyncGroupResponse {
    let says_what = request.protocol_type.is_some() && request.protocol_name.is_some();
    if context.version >= AGREED_VERSION && !says_what {
        let error_code = ErrorCode::InconsistentGroupProtocol.code();
        return SyncGroupResponse { error_code, ..SyncGroupResponse::default() };
    }
    if !context.may(AclOperation::Read, Resource::group(&request.group_id)) {
        let error_code = ErrorCode::GroupAuthorizationFailed.code();
        return SyncGroupResponse { error_code, ..SyncGroupResponse::default() };
    }
    let mut request = request.clone();
    for assignment in &mut request.assignments {
        // The group keeps it for a generation: not the whole request with it.
        assignment.assignment = Bytes::copy_from_slice(&assignment.assignment);
    }
    groups.sync_group(request).await
}
