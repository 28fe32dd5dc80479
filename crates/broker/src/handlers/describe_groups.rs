//! DescribeGroups (15), versions 0–6.
//!
//! Describes groups of the classic protocol and their members.
//!
//! Versions: 1 throttle time · 3 authorized operations (KIP-430) · 4 static members (KIP-345) · 5 flexible · 6 a group
//! that is not there is an error (KIP-1043).

use vltava_protocol::ErrorCode;
use vltava_protocol::messages::describe_groups_response::DescribedGroup;
use vltava_protocol::messages::{DescribeGroupsRequest, DescribeGroupsResponse};
use vltava_security::acl::AclOperation;

use crate::coordinator::group::GroupCoordinator;
use crate::request::RequestContext;
use crate::security::Resource;

pub(crate) async fn handle(
    groups: &GroupCoordinator,
    context: &RequestContext,
    request: &DescribeGroupsRequest,
) -> DescribeGroupsResponse {
    let (allowed, refused): (Vec<_>, Vec<_>) =
        request.groups.iter().partition(|group_id| context.may(AclOperation::Describe, Resource::group(group_id)));
    let refused = refused.into_iter().map(|group_id| DescribedGroup {
        group_id: group_id.clone(),
        error_code: ErrorCode::GroupAuthorizationFailed.code(),
        ..DescribedGroup::default()
    });
    let mut described: Vec<DescribedGroup> = refused.collect();
    for group_id in allowed {
        let group = groups.with_shard(group_id, |shard, _| shard.describe_group(context.version, group_id)).await;
        let mut group = group.unwrap_or_else(|error| DescribedGroup {
            group_id: group_id.clone(),
            error_code: error.code(),
            ..DescribedGroup::default()
        });
        if request.include_authorized_operations && group.error_code == 0 {
            group.authorized_operations = context.authorized_operations(Resource::group(group_id));
        }
        described.push(group);
    }
    DescribeGroupsResponse { groups: described, ..DescribeGroupsResponse::default() }
}
