//! DescribeQuorum (55), versions 0–2 (KIP-595, KIP-836).
//!
//! The quorum of the metadata log: this node alone, which leads it.
//!
//! Versions: 1 times of the voters' fetches · 2 directories and endpoints of the voters (KIP-853).

use vltava_protocol::ErrorCode;
use vltava_protocol::messages::describe_quorum_request::PartitionData as Asked;
use vltava_protocol::messages::describe_quorum_response::{
    Listener, Node as QuorumNode, PartitionData, ReplicaState, TopicData,
};
use vltava_protocol::messages::{DescribeQuorumRequest, DescribeQuorumResponse};
use vltava_security::acl::AclOperation;

use crate::advertised::Advertised;
use crate::clock;
use crate::metadata::MetadataStore;
use crate::metadata::topic_name::CLUSTER_METADATA;
use crate::partitions::Partitions;
use crate::request::RequestContext;

/// The first version that tells endpoints and directories.
const FIRST_WITH_NODES: i16 = 2;

pub(crate) fn handle(
    advertised: &Advertised,
    metadata: &MetadataStore,
    partitions: &Partitions,
    context: &RequestContext,
    request: &DescribeQuorumRequest,
) -> DescribeQuorumResponse {
    if let Err(error) = context.need_of_cluster(AclOperation::Describe) {
        return DescribeQuorumResponse {
            error_code: error.code.code(),
            error_message: Some(match context.version >= FIRST_WITH_NODES {
                true => error.code.message().to_owned(),
                false => String::new(),
            }),
            ..DescribeQuorumResponse::default()
        };
    }
    let has_nodes = context.version >= FIRST_WITH_NODES;
    let topics = request.topics.iter().map(|topic| {
        let is_quorum = topic.topic_name == CLUSTER_METADATA;
        let partitions = topic.partitions.iter().map(|asked| match is_quorum && asked.partition_index == 0 {
            true => quorum(advertised, metadata, partitions, has_nodes),
            false => unknown(asked, has_nodes),
        });
        TopicData { topic_name: topic.topic_name.clone(), partitions: partitions.collect(), ..TopicData::default() }
    });
    let listeners = advertised.endpoints.iter().map(|(name, (host, port))| Listener {
        name: name.clone(),
        host: host.clone(),
        port: *port,
        ..Listener::default()
    });
    let this_node = QuorumNode { node_id: advertised.node_id, listeners: listeners.collect(), ..QuorumNode::default() };
    let topics: Vec<TopicData> = topics.collect();
    let is_asked = topics.iter().flat_map(|topic| &topic.partitions).any(|partition| partition.error_code == 0);
    DescribeQuorumResponse {
        topics,
        nodes: if has_nodes && is_asked { vec![this_node] } else { Vec::new() },
        ..DescribeQuorumResponse::default()
    }
}

fn quorum(
    advertised: &Advertised,
    metadata: &MetadataStore,
    partitions: &Partitions,
    has_directory: bool,
) -> PartitionData {
    let directory = partitions.storage().metadata_directory().filter(|_| has_directory);
    let end_offset = metadata.end_offset();
    let now_ms = clock::wall_clock_ms();
    PartitionData {
        leader_id: advertised.node_id,
        leader_epoch: metadata.epoch(),
        // Every record of the one voter is committed.
        high_watermark: end_offset,
        current_voters: vec![ReplicaState {
            replica_id: advertised.node_id,
            replica_directory_id: directory.unwrap_or_default(),
            log_end_offset: end_offset,
            last_fetch_timestamp: now_ms,
            last_caught_up_timestamp: now_ms,
            ..ReplicaState::default()
        }],
        ..PartitionData::default()
    }
}

fn unknown(asked: &Asked, has_text: bool) -> PartitionData {
    let text = ErrorCode::UnknownTopicOrPartition.message().to_owned();
    PartitionData {
        partition_index: asked.partition_index,
        error_message: Some(if has_text { text } else { String::new() }),
        error_code: ErrorCode::UnknownTopicOrPartition.code(),
        ..PartitionData::default()
    }
}
