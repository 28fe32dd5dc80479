//! DescribeTransactions (65), version 0.
//!
//! Tells of transactional ids in which state their transactions are, who their producers are, and which partitions are in
//! them (KIP-664).

use vltava_protocol::messages::{DescribeTransactionsRequest, DescribeTransactionsResponse};

use crate::coordinator::transaction::TransactionCoordinator;
use crate::request::RequestContext;

pub(crate) async fn handle(
    transactions: &TransactionCoordinator,
    _: &RequestContext,
    request: &DescribeTransactionsRequest,
) -> DescribeTransactionsResponse {
    let mut response = DescribeTransactionsResponse::default();
    for id in &request.transactional_ids {
        response.transaction_states.push(transactions.describe(id).await);
    }
    response
}
