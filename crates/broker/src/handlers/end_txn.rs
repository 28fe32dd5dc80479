//! EndTxn (26), versions 0–5.
//!
//! Commits or aborts a producer's transaction. It is decided when this is answered; the markers that tell the partitions
//! are written after that, and until they are the next transaction waits (`CONCURRENT_TRANSACTIONS`).
//!
//! Versions: 2 `PRODUCER_FENCED` (KIP-588) · 3 flexible · 4 `TRANSACTION_ABORTABLE` (KIP-890) · 5 another epoch for the next
//! transaction (KIP-890).

use vltava_protocol::ErrorCode;
use vltava_protocol::messages::{EndTxnRequest, EndTxnResponse};
use vltava_protocol::record::{NO_PRODUCER_EPOCH, NO_PRODUCER_ID};
use vltava_security::acl::AclOperation;

use crate::coordinator::transaction::{EPOCH_BUMP_VERSION, EndRequest, TransactionCoordinator};
use crate::request::RequestContext;
use crate::security::Resource;

/// The first version whose clients know that they are fenced by name.
const FENCED_VERSION: i16 = 2;
/// The first version whose clients take another epoch from the answer.
const EPOCH_BUMP_REQUEST_VERSION: i16 = 5;

pub(crate) async fn handle(
    transactions: &TransactionCoordinator,
    context: &RequestContext,
    request: &EndTxnRequest,
) -> EndTxnResponse {
    if !context.may(AclOperation::Write, Resource::transactional_id(&request.transactional_id)) {
        let error_code = ErrorCode::TransactionalIdAuthorizationFailed.code();
        return EndTxnResponse { error_code, ..EndTxnResponse::default() };
    }
    let bumps = context.version >= EPOCH_BUMP_REQUEST_VERSION;
    let end = EndRequest {
        transactional_id: request.transactional_id.clone(),
        producer_id: request.producer_id,
        producer_epoch: request.producer_epoch,
        committed: request.committed,
        client_version: if bumps { EPOCH_BUMP_VERSION } else { 0 },
    };
    let ended = transactions.end_transaction(&end).await;
    let (producer_id, producer_epoch) = ended.unwrap_or((NO_PRODUCER_ID, NO_PRODUCER_EPOCH));
    let error = match ended.err() {
        Some(ErrorCode::ProducerFenced) if context.version < FENCED_VERSION => ErrorCode::InvalidProducerEpoch,
        error => error.unwrap_or(ErrorCode::None),
    };
    EndTxnResponse { error_code: error.code(), producer_id, producer_epoch, ..EndTxnResponse::default() }
}
