//! ListPartitionReassignments (46), version 0 (KIP-455).
//!
//! Reassignments that are under way: on a single node there are none.

use vltava_protocol::messages::{ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse};

use crate::request::RequestContext;

pub(crate) fn handle(_: &RequestContext, _: &ListPartitionReassignmentsRequest) -> ListPartitionReassignmentsResponse {
    ListPartitionReassignmentsResponse { error_message: None, ..ListPartitionReassignmentsResponse::default() }
}
