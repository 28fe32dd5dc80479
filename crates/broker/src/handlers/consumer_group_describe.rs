//! ConsumerGroupDescribe (69), versions 0–1.
//!
//! Describes groups of the consumer protocol (KIP-848): their epochs, what their members have and shall have.
//!
//! Versions: 1 the protocol that a member speaks (KIP-1099).

use vltava_protocol::ErrorCode;
use vltava_protocol::messages::consumer_group_describe_response::DescribedGroup;
use vltava_protocol::messages::{ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse};

use crate::config::BrokerConfig;
use crate::coordinator::group::GroupCoordinator;
use crate::coordinator::{self, ClusterTopics};
use crate::metadata::MetadataStore;
use crate::request::RequestContext;
use crate::security::operations;

pub(crate) async fn handle(
    config: &BrokerConfig,
    metadata: &MetadataStore,
    groups: &GroupCoordinator,
    _: &RequestContext,
    request: &ConsumerGroupDescribeRequest,
) -> ConsumerGroupDescribeResponse {
    let topics = ClusterTopics::of(metadata);
    let is_served = coordinator::serves_consumer_groups(config, metadata);
    let mut described = Vec::with_capacity(request.group_ids.len());
    for group_id in &request.group_ids {
        let group =
            if is_served { describe(groups, &topics, group_id).await } else { Err(ErrorCode::UnsupportedVersion) };
        let mut group = group.unwrap_or_else(|error| DescribedGroup {
            group_id: group_id.clone(),
            error_code: error.code(),
            ..DescribedGroup::default()
        });
        if request.include_authorized_operations && group.error_code == 0 {
            group.authorized_operations = operations::GROUP;
        }
        described.push(group);
    }
    ConsumerGroupDescribeResponse { groups: described, ..ConsumerGroupDescribeResponse::default() }
}

async fn describe(
    groups: &GroupCoordinator,
    topics: &ClusterTopics,
    group_id: &str,
) -> Result<DescribedGroup, ErrorCode> {
    if group_id.is_empty() {
        return Err(ErrorCode::InvalidGroupId);
    }
    groups.with_shard(group_id, |shard, _| shard.describe_consumer_group(topics, group_id)).await
}
