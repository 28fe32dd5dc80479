//! AlterPartitionReassignments (45), versions 0–1 (KIP-455).
//!
//! A single node holds the one replica of each partition, so that the only assignment that can be
//! asked for is the one that is there; any other is refused in Kafka's words.
//!
//! Versions: 1 whether the replication factor may change.

use vltava_protocol::ErrorCode;
use vltava_protocol::messages::alter_partition_reassignments_request::ReassignablePartition;
use vltava_protocol::messages::alter_partition_reassignments_response::{
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use vltava_protocol::messages::{AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse};
use vltava_security::acl::AclOperation;

use crate::config::BrokerConfig;
use crate::controller::topics;
use crate::metadata::MetadataStore;
use crate::request::{ApiError, RequestContext};

pub(crate) fn handle(
    config: &BrokerConfig,
    metadata: &MetadataStore,
    context: &RequestContext,
    request: &AlterPartitionReassignmentsRequest,
) -> AlterPartitionReassignmentsResponse {
    let refusal = context.need_of_cluster(AclOperation::Alter).err();
    let responses = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|wanted| {
            let error = match &refusal {
                Some(error) => Some(error.clone()),
                None => reassign(config, metadata, &topic.name, wanted).err(),
            };
            ReassignablePartitionResponse {
                partition_index: wanted.partition_index,
                error_code: error.as_ref().map_or(0, |error| error.code.code()),
                error_message: error.and_then(|error| error.message),
                ..ReassignablePartitionResponse::default()
            }
        });
        ReassignableTopicResponse {
            name: topic.name.clone(),
            partitions: partitions.collect(),
            ..ReassignableTopicResponse::default()
        }
    });
    AlterPartitionReassignmentsResponse {
        // Kafka does not say it again to who may not.
        allow_replication_factor_change: refusal.is_some() || request.allow_replication_factor_change,
        error_code: refusal.as_ref().map_or(0, |error| error.code.code()),
        error_message: refusal.as_ref().and_then(ApiError::text),
        responses: responses.collect(),
        ..AlterPartitionReassignmentsResponse::default()
    }
}

fn reassign(
    config: &BrokerConfig,
    metadata: &MetadataStore,
    topic: &str,
    wanted: &ReassignablePartition,
) -> Result<(), ApiError> {
    let image = metadata.image();
    let unknown = |text| ApiError::new(ErrorCode::UnknownTopicOrPartition, text);
    let found = image.topic(topic).ok_or_else(|| unknown(format!("Unable to find a topic named {topic}.")))?;
    let index = wanted.partition_index;
    let exists = usize::try_from(index).is_ok_and(|index| index < found.partitions.len());
    if !exists {
        return Err(unknown(format!("Unable to find partition {topic}:{index}.")));
    }
    match &wanted.replicas {
        Some(replicas) => topics::check_replicas(config.node_id, replicas),
        None => Err(ErrorCode::NoReassignmentInProgress.into()),
    }
}
