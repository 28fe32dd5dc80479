//! DescribeProducers (61), version 0 (KIP-664).
//!
//! Tells what partitions know of the producers that wrote to them: epoch, last sequence number and
//! time, and where a transaction begins that is open. By that a transaction is found that hangs.

use vltava_protocol::ErrorCode;
use vltava_protocol::messages::describe_producers_response::{PartitionResponse, TopicResponse};
use vltava_protocol::messages::{DescribeProducersRequest, DescribeProducersResponse};
use vltava_security::acl::AclOperation;

use crate::metadata::{MetadataStore, topic_name};
use crate::partitions::Partitions;
use crate::request::{ApiError, RequestContext};
use crate::security::Resource;

pub(crate) fn handle(
    metadata: &MetadataStore,
    partitions: &Partitions,
    context: &RequestContext,
    request: &DescribeProducersRequest,
) -> DescribeProducersResponse {
    let image = metadata.image();
    let topics = request.topics.iter().map(|topic| {
        let refusal = match topic_name::invalid(&topic.name) {
            Some(reason) => Some(ApiError::new(ErrorCode::InvalidTopicException, reason)),
            None if !context.may(AclOperation::Read, Resource::topic(&topic.name)) => {
                Some(ErrorCode::TopicAuthorizationFailed.into())
            }
            None if image.topic(&topic.name).is_none() => Some(ErrorCode::UnknownTopicOrPartition.into()),
            None => None,
        };
        let described = topic.partition_indexes.iter().map(|index| match &refusal {
            Some(refusal) => PartitionResponse {
                partition_index: *index,
                error_code: refusal.code.code(),
                error_message: refusal.text(),
                ..PartitionResponse::default()
            },
            None => describe(partitions, &topic.name, *index),
        });
        TopicResponse { name: topic.name.clone(), partitions: described.collect(), ..TopicResponse::default() }
    });
    DescribeProducersResponse { topics: topics.collect(), ..DescribeProducersResponse::default() }
}

fn describe(partitions: &Partitions, topic: &str, index: i32) -> PartitionResponse {
    let (error_code, active_producers) = match partitions.by_name(topic, index) {
        Ok(partition) => (ErrorCode::None.code(), partition.active_producers()),
        Err(error) => (error.code(), Vec::new()),
    };
    PartitionResponse { partition_index: index, error_code, active_producers, ..PartitionResponse::default() }
}
