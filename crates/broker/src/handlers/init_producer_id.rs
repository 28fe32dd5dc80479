//! InitProducerId (22), versions 0–5.
//!
//! Gives an idempotent producer an id of its own, with epoch 0; and a transactional one the id of its transactional id with
//! the next epoch, which fences whoever had it before. An open transaction is aborted for that first: the client is told
//! `CONCURRENT_TRANSACTIONS`, and asks again. Ids are taken from blocks of 1000 that are recorded in the metadata log before
//! the first of them is given, so that none is given twice over a restart.
//!
//! Two-phase commit (KIP-939) is in version 6, which Kafka 4.3 has for tests only.
//!
//! Versions: 2 flexible · 3 own id and epoch (KIP-360) · 4 `PRODUCER_FENCED` (KIP-588) · 5 KIP-890.

use vltava_protocol::ErrorCode;
use vltava_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse};
use vltava_protocol::record::{NO_PRODUCER_EPOCH, NO_PRODUCER_ID};
use vltava_security::acl::{AclOperation, ResourceType};

use crate::coordinator::transaction::{InitProducerId, TransactionCoordinator};
use crate::request::RequestContext;
use crate::security::Resource;

/// The first version whose clients know that they are fenced by name.
const FENCED_VERSION: i16 = 4;

pub(crate) async fn handle(
    transactions: &TransactionCoordinator,
    context: &RequestContext,
    request: &InitProducerIdRequest,
) -> InitProducerIdResponse {
    if let Err(error) = authorize(context, request) {
        let (error_code, producer_epoch) = (error.code(), NO_PRODUCER_EPOCH);
        return InitProducerIdResponse { error_code, producer_epoch, ..InitProducerIdResponse::default() };
    }
    let given = give(transactions, request).await;
    let (producer_id, producer_epoch) = given.unwrap_or((NO_PRODUCER_ID, NO_PRODUCER_EPOCH));
    let error = match given.err() {
        Some(ErrorCode::ProducerFenced) if context.version < FENCED_VERSION => ErrorCode::InvalidProducerEpoch,
        error => error.unwrap_or(ErrorCode::None),
    };
    InitProducerIdResponse {
        error_code: error.code(),
        producer_id,
        producer_epoch,
        ..InitProducerIdResponse::default()
    }
}

fn authorize(context: &RequestContext, request: &InitProducerIdRequest) -> Result<(), ErrorCode> {
    let Some(id) = &request.transactional_id else {
        // Who may write to any topic may do it idempotently (KIP-679).
        let may_write = context.may_quietly(AclOperation::IdempotentWrite, Resource::CLUSTER)
            || context.may_with_some(AclOperation::Write, ResourceType::Topic);
        return if may_write { Ok(()) } else { Err(ErrorCode::ClusterAuthorizationFailed) };
    };
    let may = |operation| context.may(operation, Resource::transactional_id(id));
    match may(AclOperation::Write) && (!request.enable2_pc || may(AclOperation::TwoPhaseCommit)) {
        true => Ok(()),
        false => Err(ErrorCode::TransactionalIdAuthorizationFailed),
    }
}

async fn give(transactions: &TransactionCoordinator, request: &InitProducerIdRequest) -> Result<(i64, i16), ErrorCode> {
    let had = match (request.producer_id, request.producer_epoch) {
        (NO_PRODUCER_ID, NO_PRODUCER_EPOCH) => None,
        (NO_PRODUCER_ID, _) | (_, NO_PRODUCER_EPOCH) => return Err(ErrorCode::InvalidRequest),
        had => Some(had),
    };
    let Some(transactional_id) = request.transactional_id.clone() else {
        return transactions.new_producer_id().await.map(|id| (id, 0));
    };
    let request = InitProducerId {
        transactional_id,
        timeout_ms: request.transaction_timeout_ms,
        had,
        two_phase_commit: request.enable2_pc,
        keeps_prepared: request.keep_prepared_txn,
    };
    transactions.init_producer_id(&request).await
}
