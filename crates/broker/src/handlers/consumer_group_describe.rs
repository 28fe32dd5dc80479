//! ConsumerGroupDescribe (69), versions 0–1.
//!
//! Describes groups of the consumer protocol (KIP-848): their epochs, what their members have and shall have.
//!
//! Versions: 1 the protocol that a member speaks (KIP-1099).

use std::collections::BTreeSet;

use vltava_protocol::ErrorCode;
use vltava_protocol::messages::consumer_group_describe_response::DescribedGroup;
use vltava_protocol::messages::{ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse};
use vltava_security::acl::AclOperation;

use crate::config::BrokerConfig;
use crate::coordinator::group::GroupCoordinator;
use crate::coordinator::{self, ClusterTopics};
use crate::metadata::MetadataStore;
use crate::request::RequestContext;
use crate::security::Resource;

pub(crate) async fn handle(
    config: &BrokerConfig,
    metadata: &MetadataStore,
    groups: &GroupCoordinator,
    context: &RequestContext,
    request: &ConsumerGroupDescribeRequest,
) -> ConsumerGroupDescribeResponse {
    let topics = ClusterTopics::of(metadata);
    let is_served = coordinator::serves_consumer_groups(config, metadata);
    let may_see = |group_id: &&String| !is_served || context.may(AclOperation::Describe, Resource::group(group_id));
    let (allowed, refused): (Vec<_>, Vec<_>) = request.group_ids.iter().partition(may_see);
    let refused = refused.into_iter().map(|group_id| DescribedGroup {
        group_id: group_id.clone(),
        error_code: ErrorCode::GroupAuthorizationFailed.code(),
        ..DescribedGroup::default()
    });
    let mut described: Vec<DescribedGroup> = refused.collect();
    for group_id in allowed {
        let group =
            if is_served { describe(groups, &topics, group_id).await } else { Err(ErrorCode::UnsupportedVersion) };
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
    hide_topics(context, &mut described);
    ConsumerGroupDescribeResponse { groups: described, ..ConsumerGroupDescribeResponse::default() }
}

/// A group with topics that the sender may not see is not described.
fn hide_topics(context: &RequestContext, groups: &mut [DescribedGroup]) {
    if !context.is_judged() {
        return;
    }
    let topics = |group: &DescribedGroup| -> BTreeSet<String> {
        let assignments = group.members.iter().flat_map(|member| [&member.assignment, &member.target_assignment]);
        assignments.flat_map(|assignment| &assignment.topic_partitions).map(|topic| topic.topic_name.clone()).collect()
    };
    let hidden: BTreeSet<String> = groups
        .iter()
        .flat_map(topics)
        .collect::<BTreeSet<String>>()
        .into_iter()
        .filter(|topic| !context.may(AclOperation::Describe, Resource::topic(topic)))
        .collect();
    for group in groups.iter_mut().filter(|group| !topics(group).is_disjoint(&hidden)) {
        let text = "The group has described topic(s) that the client is not authorized to describe.";
        *group = DescribedGroup {
            group_id: std::mem::take(&mut group.group_id),
            error_code: ErrorCode::TopicAuthorizationFailed.code(),
            error_message: Some(text.to_owned()),
            ..DescribedGroup::default()
        };
    }
}

async fn describe(
    groups: &GroupCoordinator,
    topics: &ClusterTopics<'_>,
    group_id: &str,
) -> Result<DescribedGroup, ErrorCode> {
    if group_id.is_empty() {
        return Err(ErrorCode::InvalidGroupId);
    }
    groups.with_shard(group_id, |shard, _| shard.describe_consumer_group(topics, group_id)).await
}
