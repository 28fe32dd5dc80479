//! ElectLeaders (43), versions 0–2 (KIP-460).
//!
//! A partition's one replica is here and leads it, so that there is never anybody else to elect.
//!
//! Versions: 1 unclean elections, an error for the whole answer · 2 flexible.

use vltava_protocol::ErrorCode;
use vltava_protocol::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use vltava_protocol::messages::{ElectLeadersRequest, ElectLeadersResponse};
use vltava_security::acl::AclOperation;

use crate::metadata::MetadataStore;
use crate::metadata::image::MetadataImage;
use crate::request::{ApiError, RequestContext};

/// The first version with an error for the whole answer.
const WHOLE_ERROR_VERSION: i16 = 1;

/// Preferred and unclean elections.
const ELECTION_TYPES: [i8; 2] = [0, 1];

pub(crate) fn handle(
    metadata: &MetadataStore,
    context: &RequestContext,
    request: &ElectLeadersRequest,
) -> ElectLeadersResponse {
    if let Err(error) = context.need_of_cluster(AclOperation::Alter) {
        return refused(context, request, &error);
    }
    if !ELECTION_TYPES.contains(&request.election_type) {
        let text = format!("Unknown election type {}", request.election_type);
        return refused(context, request, &ApiError::new(ErrorCode::InvalidRequest, text));
    }
    let image = metadata.image();
    let results = match &request.topic_partitions {
        // Partitions that have their leader already are left out where all are meant.
        None => image.topics().map(|topic| result(&topic.name, Vec::new())).collect(),
        Some(topics) => {
            let elected = topics.iter().map(|topic| {
                let partitions = topic.partitions.iter().map(|index| elect(&image, &topic.topic, *index));
                result(&topic.topic, partitions.collect())
            });
            elected.collect()
        }
    };
    ElectLeadersResponse { replica_election_results: results, ..ElectLeadersResponse::default() }
}

/// One answer for everything in the request.
fn refused(context: &RequestContext, request: &ElectLeadersRequest, error: &ApiError) -> ElectLeadersResponse {
    let error_code = error.code.code();
    let results = request.topic_partitions.iter().flatten().map(|topic| {
        let partition = |index: &i32| PartitionResult {
            partition_id: *index,
            error_code,
            error_message: error.text(),
            ..PartitionResult::default()
        };
        result(&topic.topic, topic.partitions.iter().map(partition).collect())
    });
    let results = results.collect();
    let error_code = if context.version < WHOLE_ERROR_VERSION { 0 } else { error_code };
    ElectLeadersResponse { error_code, replica_election_results: results, ..ElectLeadersResponse::default() }
}

fn result(topic: &str, partition_result: Vec<PartitionResult>) -> ReplicaElectionResult {
    ReplicaElectionResult { topic: topic.to_owned(), partition_result, ..ReplicaElectionResult::default() }
}

fn elect(image: &MetadataImage, topic: &str, index: i32) -> PartitionResult {
    let partitions = image.topic(topic).map(|topic| topic.partitions.len());
    let unknown = |text| ApiError::new(ErrorCode::UnknownTopicOrPartition, text);
    let error = match (partitions, usize::try_from(index)) {
        (None, _) => unknown(format!("No such topic as {topic}")),
        (Some(count), Ok(index)) if index < count => {
            ApiError::new(ErrorCode::ElectionNotNeeded, ErrorCode::ElectionNotNeeded.message())
        }
        _ => unknown(format!("No such partition as {topic}-{index}")),
    };
    PartitionResult {
        partition_id: index,
        error_code: error.code.code(),
        error_message: error.text(),
        ..PartitionResult::default()
    }
}
