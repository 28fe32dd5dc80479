//! DescribeTopicPartitions (75), version 0 (KIP-966).
//!
//! Tells the partitions of topics page by page: topics in the order of their names, at most
//! `max.request.partition.size.limit` partitions in an answer, and a cursor to where the next one
//! goes on. Without names it tells of every topic. Topics are not created.

use std::collections::BTreeSet;

use vltava_protocol::ErrorCode;
use vltava_protocol::messages::describe_topic_partitions_request::TopicRequest;
use vltava_protocol::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use vltava_protocol::messages::{DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse};
use vltava_security::acl::AclOperation;

use crate::config::BrokerConfig;
use crate::metadata::MetadataStore;
use crate::metadata::image::{MetadataImage, PartitionImage, TopicImage};
use crate::metadata::topic_name;
use crate::request::RequestContext;
use crate::security::Resource;

pub(crate) fn handle(
    config: &BrokerConfig,
    metadata: &MetadataStore,
    context: &RequestContext,
    request: &DescribeTopicPartitionsRequest,
) -> DescribeTopicPartitionsResponse {
    let image = metadata.image();
    let (from_topic, from_partition) = match &request.cursor {
        Some(cursor) => (cursor.topic_name.as_str(), usize::try_from(cursor.partition_index).unwrap_or(0)),
        None => ("", 0),
    };
    if !is_within(request) {
        return refused(request);
    }
    let names = names(&image, request, from_topic);
    let limit = config.max_request_partition_size_limit.min(request.response_partition_limit);
    let mut left = usize::try_from(limit).unwrap_or(0).max(1);

    let (names, refused): (Vec<_>, Vec<_>) =
        names.into_iter().partition(|name| context.may(AclOperation::Describe, Resource::topic(name)));
    let mut response = DescribeTopicPartitionsResponse::default();
    for name in names {
        if left == 0 {
            response.next_cursor = Some(cursor(&name, 0));
            break;
        }
        let Some(topic) = image.topic(&name) else {
            response.topics.push(unknown(&name));
            continue;
        };
        let first = if name == from_topic { from_partition } else { 0 };
        let last = topic.partitions.len().min(first.saturating_add(left));
        response.topics.push(describe(config.node_id, &image, topic, first, last));
        left -= last.saturating_sub(first);
        if last < topic.partitions.len() {
            response.next_cursor = Some(cursor(&name, last));
            break;
        }
    }
    for topic in &mut response.topics {
        if let Some(name) = &topic.name {
            topic.topic_authorized_operations = context.authorized_operations(Resource::topic(name));
        }
    }
    // What the sender may not see is not told of where nobody named it.
    let refused = refused.into_iter().filter(|_| !request.topics.is_empty());
    response.topics.extend(refused.map(|name| DescribeTopicPartitionsResponseTopic {
        error_code: ErrorCode::TopicAuthorizationFailed.code(),
        name: Some(name),
        ..DescribeTopicPartitionsResponseTopic::default()
    }));
    response
}

/// Whether the cursor is at a partition of a topic that the request asks for.
fn is_within(request: &DescribeTopicPartitionsRequest) -> bool {
    request.cursor.as_ref().is_none_or(|cursor| {
        let is_asked = request.topics.is_empty() || request.topics.iter().any(|topic| topic.name == cursor.topic_name);
        is_asked && cursor.partition_index >= 0
    })
}

fn refused(request: &DescribeTopicPartitionsRequest) -> DescribeTopicPartitionsResponse {
    let topic = |topic: &TopicRequest| DescribeTopicPartitionsResponseTopic {
        error_code: ErrorCode::InvalidRequest.code(),
        name: Some(topic.name.clone()),
        ..DescribeTopicPartitionsResponseTopic::default()
    };
    DescribeTopicPartitionsResponse { topics: request.topics.iter().map(topic).collect(), ..Default::default() }
}

/// The topics to tell of, sorted, from the cursor on.
fn names(image: &MetadataImage, request: &DescribeTopicPartitionsRequest, from: &str) -> Vec<String> {
    if request.topics.is_empty() {
        return image.topics_from(from).map(|topic| topic.name.to_string()).collect();
    }
    let wanted: BTreeSet<&str> = request.topics.iter().map(|topic| topic.name.as_str()).collect();
    wanted.into_iter().filter(|name| *name >= from).map(str::to_owned).collect()
}

fn cursor(topic: &str, partition: usize) -> Cursor {
    Cursor {
        topic_name: topic.to_owned(),
        partition_index: i32::try_from(partition).unwrap_or(i32::MAX),
        ..Cursor::default()
    }
}

fn unknown(name: &str) -> DescribeTopicPartitionsResponseTopic {
    let error = match topic_name::invalid(name) {
        Some(_) => ErrorCode::InvalidTopicException,
        None => ErrorCode::UnknownTopicOrPartition,
    };
    DescribeTopicPartitionsResponseTopic {
        error_code: error.code(),
        name: Some(name.to_owned()),
        is_internal: topic_name::is_internal(name),
        ..DescribeTopicPartitionsResponseTopic::default()
    }
}

fn describe(
    node_id: i32,
    image: &MetadataImage,
    topic: &TopicImage,
    first: usize,
    last: usize,
) -> DescribeTopicPartitionsResponseTopic {
    let all = topic.partitions.iter().zip(0_i32..);
    let describe = |(partition, index)| DescribeTopicPartitionsResponsePartition {
        offline_replicas: image.offline_replicas(partition, node_id),
        ..describe_partition(partition, index)
    };
    DescribeTopicPartitionsResponseTopic {
        name: Some(topic.name.to_string()),
        topic_id: topic.id,
        is_internal: topic_name::is_internal(&topic.name),
        partitions: all.take(last).skip(first).map(describe).collect(),
        ..DescribeTopicPartitionsResponseTopic::default()
    }
}

fn describe_partition(partition: &PartitionImage, index: i32) -> DescribeTopicPartitionsResponsePartition {
    DescribeTopicPartitionsResponsePartition {
        partition_index: index,
        leader_id: partition.leader,
        leader_epoch: partition.leader_epoch,
        replica_nodes: partition.replicas.clone(),
        isr_nodes: partition.isr.clone(),
        eligible_leader_replicas: Some(Vec::new()),
        last_known_elr: Some(Vec::new()),
        ..DescribeTopicPartitionsResponsePartition::default()
    }
}
