//! ListGroups (16), versions 0–5.
//!
//! Lists the groups that this broker coordinates, which are all.
//!
//! Versions: 1 throttle time · 3 flexible · 4 by state (KIP-518) · 5 by type (KIP-848).

use vltava_protocol::messages::list_groups_response::ListedGroup;
use vltava_protocol::messages::{ListGroupsRequest, ListGroupsResponse};
use vltava_security::acl::AclOperation;

use crate::coordinator::group::GroupCoordinator;
use crate::request::RequestContext;
use crate::security::Resource;

pub(crate) async fn handle(
    groups: &GroupCoordinator,
    context: &RequestContext,
    request: &ListGroupsRequest,
) -> ListGroupsResponse {
    let sees_all = context.may_quietly(AclOperation::Describe, Resource::CLUSTER);
    let listed = groups.with_all_shards(|shard, _| shard.list_groups(&request.states_filter, &request.types_filter));
    match listed.await {
        Ok(groups) => {
            let mut groups: Vec<ListedGroup> = groups.into_iter().flatten().collect();
            let sees = |group: &str| context.may_quietly(AclOperation::Describe, Resource::group(group));
            groups.retain(|group| sees_all || sees(&group.group_id));
            ListGroupsResponse { groups, ..ListGroupsResponse::default() }
        }
        Err(error) => ListGroupsResponse { error_code: error.code(), ..ListGroupsResponse::default() },
    }
}
