//! AddOffsetsToTxn (25), versions 0–4.
//!
//! Adds the partition of the groups' topic in which a group's offsets are kept to a producer's transaction, before the
//! producer commits offsets in it. Clients of `transaction.version` 2 leave it to the broker that gets the offsets.
//!
//! Versions: 2 `PRODUCER_FENCED` (KIP-588) · 3 flexible · 4 `TRANSACTION_ABORTABLE` (KIP-890).

use std::collections::BTreeSet;

use vltava_log::TopicPartition;
use vltava_protocol::ErrorCode;
use vltava_protocol::messages::{AddOffsetsToTxnRequest, AddOffsetsToTxnResponse};
use vltava_security::acl::AclOperation;

use crate::config::BrokerConfig;
use crate::coordinator;
use crate::coordinator::group::GroupCoordinator;
use crate::coordinator::transaction::TransactionCoordinator;
use crate::metadata::topic_name::CONSUMER_OFFSETS;
use crate::request::RequestContext;
use crate::security::Resource;

/// The first version whose clients know that they are fenced by name.
const FENCED_VERSION: i16 = 2;

pub(crate) async fn handle(
    config: &BrokerConfig,
    groups: &GroupCoordinator,
    transactions: &TransactionCoordinator,
    context: &RequestContext,
    request: &AddOffsetsToTxnRequest,
) -> AddOffsetsToTxnResponse {
    let refuse =
        |error: ErrorCode| AddOffsetsToTxnResponse { error_code: error.code(), ..AddOffsetsToTxnResponse::default() };
    if !context.may(AclOperation::Write, Resource::transactional_id(&request.transactional_id)) {
        return refuse(ErrorCode::TransactionalIdAuthorizationFailed);
    }
    if !context.may(AclOperation::Read, Resource::group(&request.group_id)) {
        return refuse(ErrorCode::GroupAuthorizationFailed);
    }
    let added = match coordinator::partition_of_group(config, groups, &request.group_id) {
        Some(partition) => {
            let partitions = BTreeSet::from([TopicPartition::new(CONSUMER_OFFSETS, partition)]);
            let producer = (request.producer_id, request.producer_epoch);
            transactions.add_partitions(&request.transactional_id, producer, &partitions, 0).await
        }
        None => Err(ErrorCode::CoordinatorNotAvailable),
    };
    let error = match added.err() {
        Some(ErrorCode::ProducerFenced) if context.version < FENCED_VERSION => ErrorCode::InvalidProducerEpoch,
        error => error.unwrap_or(ErrorCode::None),
    };
    AddOffsetsToTxnResponse { error_code: error.code(), ..AddOffsetsToTxnResponse::default() }
}
