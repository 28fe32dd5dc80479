//! DeleteGroups (42), versions 0–2.
//!
//! Deletes groups that have no members, with their offsets.
//!
//! Versions: 2 flexible.

use std::collections::HashSet;

use vltava_protocol::messages::delete_groups_response::DeletableGroupResult;
use vltava_protocol::messages::{DeleteGroupsRequest, DeleteGroupsResponse};

use crate::coordinator::group::GroupCoordinator;
use crate::request::RequestContext;

pub(crate) async fn handle(
    groups: &GroupCoordinator,
    _: &RequestContext,
    request: &DeleteGroupsRequest,
) -> DeleteGroupsResponse {
    let mut seen = HashSet::new();
    let mut results = Vec::with_capacity(request.groups_names.len());
    for group_id in request.groups_names.iter().filter(|group_id| seen.insert(group_id.as_str())) {
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
    DeleteGroupsResponse { results, ..DeleteGroupsResponse::default() }
}
