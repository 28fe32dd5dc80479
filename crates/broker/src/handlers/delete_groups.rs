//! DeleteGroups (42), versions 0–2.
//!
//! Deletes groups that have no members, with their offsets.
//!
//! Versions: 2 flexible.

use std::collections::HashSet;

use vltava_protocol::ErrorCode;
use vltava_protocol::messages::delete_groups_response::DeletableGroupResult;
use vltava_protocol::messages::{DeleteGroupsRequest, DeleteGroupsResponse};
use vltava_security::acl::AclOperation;

use crate::coordinator::group::GroupCoordinator;
use crate::request::RequestContext;
use crate::security::Resource;

pub(crate) async fn handle(
    groups: &GroupCoordinator,
    context: &RequestContext,
    request: &DeleteGroupsRequest,
) -> DeleteGroupsResponse {
    let mut seen = HashSet::new();
    let mut results = Vec::with_capacity(request.groups_names.len());
    let named = request.groups_names.iter().filter(|group_id| seen.insert(group_id.as_str()));
    let (allowed, refused): (Vec<_>, Vec<_>) =
        named.partition(|group_id| context.may(AclOperation::Delete, Resource::group(group_id)));
    for group_id in allowed {
        let deleted =
            groups.with_shard(group_id, |shard, now| shard.delete_groups(now, std::slice::from_ref(group_id)));
        match deleted.await {
            Ok(deleted) => results.extend(deleted),
            Err(error) => results.push(DeletableGroupResult {
                group_id: group_id.clone(),
                error_code: error.code(),
                ..DeletableGroupResult::default()
            }),
        }
    }
    results.extend(refused.into_iter().map(|group_id| DeletableGroupResult {
        group_id: group_id.clone(),
        error_code: ErrorCode::GroupAuthorizationFailed.code(),
        ..DeletableGroupResult::default()
    }));
    DeleteGroupsResponse { results, ..DeleteGroupsResponse::default() }
}
