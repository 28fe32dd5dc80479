//! ListPartitionReassignments (46), version 0 (KIP-455).
//!
//! Reassignments that are under way: on a single node there are none.

use vltava_protocol::messages::list_partition_reassignments_response::{
    OngoingPartitionReassignment, OngoingTopicReassignment,
};
use vltava_protocol::messages::{ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse};
use vltava_security::acl::AclOperation;

use crate::request::{ApiError, RequestContext};

pub(crate) fn handle(
    context: &RequestContext,
    request: &ListPartitionReassignmentsRequest,
) -> ListPartitionReassignmentsResponse {
    match context.need_of_cluster(AclOperation::Describe) {
        Ok(()) => {
            ListPartitionReassignmentsResponse { error_message: None, ..ListPartitionReassignmentsResponse::default() }
        }
        Err(error) => refused(request, &error),
    }
}

/// As Kafka: the partitions that were asked for, with nothing about them.
fn refused(request: &ListPartitionReassignmentsRequest, error: &ApiError) -> ListPartitionReassignmentsResponse {
    let topics = request.topics.iter().flatten().map(|topic| {
        let partition = |index: &i32| OngoingPartitionReassignment {
            partition_index: *index,
            ..OngoingPartitionReassignment::default()
        };
        OngoingTopicReassignment {
            name: topic.name.clone(),
            partitions: topic.partition_indexes.iter().map(partition).collect(),
            ..OngoingTopicReassignment::default()
        }
    });
    ListPartitionReassignmentsResponse {
        error_code: error.code.code(),
        error_message: error.text(),
        topics: topics.collect(),
        ..ListPartitionReassignmentsResponse::default()
    }
}
