//! StreamsGroupDescribe (89), version 0.
//!
//! Describes streams groups (KIP-1071): their topology, their epochs, which tasks their members have and shall have.

use std::collections::BTreeSet;

use vltava_protocol::ErrorCode;
use vltava_protocol::messages::streams_group_describe_response::DescribedGroup;
use vltava_protocol::messages::{StreamsGroupDescribeRequest, StreamsGroupDescribeResponse};
use vltava_security::acl::AclOperation;

use crate::config::BrokerConfig;
use crate::coordinator;
use crate::coordinator::group::GroupCoordinator;
use crate::metadata::MetadataStore;
use crate::request::RequestContext;
use crate::security::Resource;

pub(crate) async fn handle(
    config: &BrokerConfig,
    metadata: &MetadataStore,
    groups: &GroupCoordinator,
    context: &RequestContext,
    request: &StreamsGroupDescribeRequest,
) -> StreamsGroupDescribeResponse {
    let is_served = coordinator::serves_streams_groups(config, metadata);
    let may_see = |group_id: &&String| !is_served || context.may(AclOperation::Describe, Resource::group(group_id));
    let (allowed, refused): (Vec<_>, Vec<_>) = request.group_ids.iter().partition(may_see);
    let mut described: Vec<DescribedGroup> =
        refused.into_iter().map(|group_id| failed(group_id, ErrorCode::GroupAuthorizationFailed)).collect();
    for group_id in allowed {
        let group = if is_served { describe(groups, group_id).await } else { Err(ErrorCode::UnsupportedVersion) };
        let mut group = group.unwrap_or_else(|error| failed(group_id, error));
        if request.include_authorized_operations && group.error_code == 0 {
            group.authorized_operations = context.authorized_operations(Resource::group(group_id));
        }
        described.push(group);
    }
    hide_topics(context, &mut described);
    StreamsGroupDescribeResponse { groups: described, ..StreamsGroupDescribeResponse::default() }
}

fn failed(group_id: &str, error: ErrorCode) -> DescribedGroup {
    DescribedGroup { group_id: group_id.to_owned(), error_code: error.code(), ..DescribedGroup::default() }
}

/// A group with topics that the sender may not see is not described.
fn hide_topics(context: &RequestContext, groups: &mut [DescribedGroup]) {
    if !context.is_judged() {
        return;
    }
    let topics = |group: &DescribedGroup| -> BTreeSet<String> {
        let subtopologies = group.topology.iter().flat_map(|topology| topology.subtopologies.iter().flatten());
        let of_one = |subtopology: &vltava_protocol::messages::streams_group_describe_response::Subtopology| {
            let outer = subtopology.source_topics.iter().chain(&subtopology.repartition_sink_topics).cloned();
            let inner = subtopology.repartition_source_topics.iter().chain(&subtopology.state_changelog_topics);
            outer.chain(inner.map(|topic| topic.name.clone())).collect::<Vec<_>>()
        };
        subtopologies.flat_map(of_one).collect()
    };
    let hidden: BTreeSet<String> = groups
        .iter()
        .flat_map(topics)
        .collect::<BTreeSet<String>>()
        .into_iter()
        .filter(|topic| !context.may(AclOperation::Describe, Resource::topic(topic)))
        .collect();
    for group in groups.iter_mut().filter(|group| !topics(group).is_disjoint(&hidden)) {
        let text = "The described group uses topics that the client is not authorized to describe.";
        let group_id = std::mem::take(&mut group.group_id);
        *group = DescribedGroup {
            error_message: Some(text.to_owned()),
            ..failed(&group_id, ErrorCode::TopicAuthorizationFailed)
        };
    }
}

async fn describe(groups: &GroupCoordinator, group_id: &str) -> Result<DescribedGroup, ErrorCode> {
    if group_id.is_empty() {
        return Err(ErrorCode::InvalidGroupId);
    }
    groups.with_shard(group_id, |shard, _| shard.describe_streams_group(group_id)).await
}
