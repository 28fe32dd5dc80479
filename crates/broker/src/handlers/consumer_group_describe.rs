//! ConsumerGroupDescribe (69), versions 0–1.
//!
//! Describes groups of the consumer protocol (KIP-848): their epochs, what their members have and shall have.
//!
//! Versions: 1 the protocol that a member speaks (KIP-1099).

use vltava_protocol::ErrorCode;
use vltava_protocol::messages::consumer_group_describe_response::DescribedGroup;
use vltava_protocol::messages::{ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse};

use crate::authorized;
use crate::coordinator::ClusterTopics;
use crate::node::Node;

pub(crate) async fn handle(node: &Node, request: &ConsumerGroupDescribeRequest) -> ConsumerGroupDescribeResponse {
    let topics = node.cluster_topics();
    let mut groups = Vec::with_capacity(request.group_ids.len());
    for group_id in &request.group_ids {
        let mut group = describe(node, &topics, group_id).await.unwrap_or_else(|error| DescribedGroup {
            group_id: group_id.clone(),
            error_code: error.code(),
            ..DescribedGroup::default()
        });
        if request.include_authorized_operations && group.error_code == 0 {
            group.authorized_operations = authorized::GROUP;
        }
        groups.push(group);
    }
    ConsumerGroupDescribeResponse { groups, ..ConsumerGroupDescribeResponse::default() }
}

async fn describe(node: &Node, topics: &ClusterTopics, group_id: &str) -> Result<DescribedGroup, ErrorCode> {
    if !node.serves_consumer_groups() {
        return Err(ErrorCode::UnsupportedVersion);
    }
    if group_id.is_empty() {
        return Err(ErrorCode::InvalidGroupId);
    }
    node.groups.with_shard(group_id, |shard, _| shard.describe_consumer_group(topics, group_id)).await
}
