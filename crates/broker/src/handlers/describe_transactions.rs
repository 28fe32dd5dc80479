//! DescribeTransactions (65), version 0.
//!
//! Tells of transactional ids in which state their transactions are, who their producers are, and which partitions are in
//! them (KIP-664).

use vltava_protocol::ErrorCode;
use vltava_protocol::messages::describe_transactions_response::TransactionState;
use vltava_protocol::messages::{DescribeTransactionsRequest, DescribeTransactionsResponse};
use vltava_security::acl::AclOperation;

use crate::coordinator::transaction::TransactionCoordinator;
use crate::request::RequestContext;
use crate::security::Resource;

pub(crate) async fn handle(
    transactions: &TransactionCoordinator,
    context: &RequestContext,
    request: &DescribeTransactionsRequest,
) -> DescribeTransactionsResponse {
    let mut response = DescribeTransactionsResponse::default();
    for id in &request.transactional_ids {
        let mut state = match context.may(AclOperation::Describe, Resource::transactional_id(id)) {
            true => transactions.describe(id).await,
            false => TransactionState {
                transactional_id: id.clone(),
                error_code: ErrorCode::TransactionalIdAuthorizationFailed.code(),
                ..TransactionState::default()
            },
        };
        state.topics.retain(|topic| context.may(AclOperation::Describe, Resource::topic(&topic.topic)));
        response.transaction_states.push(state);
    }
    response
}
