//! ListGroups (16), versions 0–5.
//!
//! Lists the groups that this broker coordinates, which are all.
//!
//! Versions: 1 throttle time · 3 flexible · 4 by state (KIP-518) · 5 by type (KIP-848).

use vltava_protocol::messages::{ListGroupsRequest, ListGroupsResponse};

use crate::coordinator::group::GroupCoordinator;
use crate::request::RequestContext;

pub(crate) async fn handle(
    groups: &GroupCoordinator,
    _: &RequestContext,
    request: &ListGroupsRequest,
) -> ListGroupsResponse {
    let listed = groups.with_all_shards(|shard, _| shard.list_groups(&request.states_filter, &request.types_filter));
    match listed.await {
        Ok(groups) => {
            ListGroupsResponse { groups: groups.into_iter().flatten().collect(), ..ListGroupsResponse::default() }
        }
        Err(error) => ListGroupsResponse { error_code: error.code(), ..ListGroupsResponse::default() },
    }
}
