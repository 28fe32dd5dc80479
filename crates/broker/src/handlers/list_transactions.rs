//! ListTransactions (66), versions 0–2.
//!
//! Lists the transactional ids of this broker (KIP-664), in the order of their partitions and names.
//!
//! Versions: 1 by age (KIP-994) · 2 by a regular expression (KIP-1152).

use vltava_protocol::messages::{ListTransactionsRequest, ListTransactionsResponse};
use vltava_security::acl::AclOperation;

use crate::coordinator::transaction::TransactionCoordinator;
use crate::request::RequestContext;
use crate::security::Resource;

pub(crate) async fn handle(
    transactions: &TransactionCoordinator,
    context: &RequestContext,
    request: &ListTransactionsRequest,
) -> ListTransactionsResponse {
    let listed = transactions.list(
        &request.producer_id_filters,
        &request.state_filters,
        request.duration_filter,
        request.transactional_id_pattern.as_deref(),
    );
    match listed.await {
        Ok((mut transaction_states, unknown_state_filters)) => {
            transaction_states.retain(|state| {
                context.may(AclOperation::Describe, Resource::transactional_id(&state.transactional_id))
            });
            ListTransactionsResponse {
                unknown_state_filters,
                transaction_states,
                ..ListTransactionsResponse::default()
            }
        }
        Err(error) => ListTransactionsResponse { error_code: error.code(), ..ListTransactionsResponse::default() },
    }
}
