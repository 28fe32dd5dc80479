//! AddPartitionsToTxn (24), versions 0–5.
//!
//! Adds partitions to a producer's transaction, which begins with the first. If one of them is not there, none is added.
//! Clients use versions up to 3, with one transaction. Versions 4 and 5 are for brokers: several transactions, and the
//! question whether partitions are in one.
//!
//! Versions: 2 `PRODUCER_FENCED` (KIP-588) · 3 flexible · 4 several transactions, verification (KIP-890) ·
//! 5 `TRANSACTION_ABORTABLE` (KIP-890).

use std::collections::BTreeSet;
use std::sync::Arc;

use vltava_log::TopicPartition;
use vltava_protocol::ErrorCode;
use vltava_protocol::messages::add_partitions_to_txn_request::{
    AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use vltava_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnResult, AddPartitionsToTxnTopicResult,
};
use vltava_protocol::messages::{AddPartitionsToTxnRequest, AddPartitionsToTxnResponse};
use vltava_security::acl::AclOperation;

use crate::coordinator::transaction::{EPOCH_BUMP_VERSION, TransactionCoordinator};
use crate::metadata::MetadataStore;
use crate::metadata::image::MetadataImage;
use crate::metadata::topic_name;
use crate::request::RequestContext;
use crate::security::Resource;

/// The first version whose clients know that they are fenced by name.
const FENCED_VERSION: i16 = 2;
/// The first version with several transactions.
const BATCHED_VERSION: i16 = 4;

pub(crate) async fn handle(
    metadata: &MetadataStore,
    transactions: &TransactionCoordinator,
    context: &RequestContext,
    request: &AddPartitionsToTxnRequest,
) -> AddPartitionsToTxnResponse {
    let image = metadata.image();
    if context.version >= BATCHED_VERSION && !context.may(AclOperation::ClusterAction, Resource::CLUSTER) {
        let error_code = ErrorCode::ClusterAuthorizationFailed.code();
        return AddPartitionsToTxnResponse { error_code, ..AddPartitionsToTxnResponse::default() };
    }
    if context.version < BATCHED_VERSION {
        let transaction = AddPartitionsToTxnTransaction {
            transactional_id: request.v3_and_below_transactional_id.clone(),
            producer_id: request.v3_and_below_producer_id,
            producer_epoch: request.v3_and_below_producer_epoch,
            topics: request.v3_and_below_topics.clone(),
            ..AddPartitionsToTxnTransaction::default()
        };
        let results = add(&image, transactions, context, &transaction).await;
        return AddPartitionsToTxnResponse {
            results_by_topic_v3_and_below: results,
            ..AddPartitionsToTxnResponse::default()
        };
    }
    let mut results = Vec::with_capacity(request.transactions.len());
    for transaction in &request.transactions {
        results.push(AddPartitionsToTxnResult {
            transactional_id: transaction.transactional_id.clone(),
            topic_results: add(&image, transactions, context, transaction).await,
            ..AddPartitionsToTxnResult::default()
        });
    }
    AddPartitionsToTxnResponse { results_by_transaction: results, ..AddPartitionsToTxnResponse::default() }
}

/// Adds or verifies the partitions of one transaction.
async fn add(
    image: &MetadataImage,
    transactions: &TransactionCoordinator,
    context: &RequestContext,
    transaction: &AddPartitionsToTxnTransaction,
) -> Vec<AddPartitionsToTxnTopicResult> {
    let (topics, version) = (&transaction.topics, context.version);
    let is_client = version < BATCHED_VERSION;
    if is_client && !context.may(AclOperation::Write, Resource::transactional_id(&transaction.transactional_id)) {
        return results(topics, |_, _| ErrorCode::TransactionalIdAuthorizationFailed);
    }
    // As Kafka: nobody may write to the coordinators' topics like this.
    let may_write = |topic: &AddPartitionsToTxnTopic| {
        !topic_name::is_internal(&topic.name)
            && context.may_each(AclOperation::Write, Resource::topic(&topic.name), topic.partitions.len())
    };
    let is_refused = |topic: &&AddPartitionsToTxnTopic| is_client && context.is_judged() && !may_write(topic);
    let refused: BTreeSet<&str> = topics.iter().filter(is_refused).map(|topic| topic.name.as_str()).collect();
    let exists = |topic: &AddPartitionsToTxnTopic, index: i32| {
        let count = image.topic(&topic.name).map_or(0, |topic| topic.partitions.len());
        usize::try_from(index).is_ok_and(|index| index < count)
    };
    let all_exist = topics.iter().all(|topic| topic.partitions.iter().all(|index| exists(topic, *index)));
    if !refused.is_empty() || !all_exist {
        return results(topics, |topic, index| match exists(topic, index) {
            _ if refused.contains(topic.name.as_str()) => ErrorCode::TopicAuthorizationFailed,
            true => ErrorCode::OperationNotAttempted,
            false => ErrorCode::UnknownTopicOrPartition,
        });
    }
    let partitions: BTreeSet<_> = topics
        .iter()
        .flat_map(|topic| {
            let name: Arc<str> = topic.name.as_str().into();
            topic.partitions.iter().map(move |index| TopicPartition::new(Arc::clone(&name), *index))
        })
        .collect();
    let id = transaction.transactional_id.as_str();
    let producer = (transaction.producer_id, transaction.producer_epoch);
    if transaction.verify_only {
        let verified = transactions.verify_partitions(id, producer, &partitions).await;
        return results(topics, |topic, index| match &verified {
            Ok(refused) => {
                let partition = TopicPartition::new(topic.name.as_str(), index);
                refused.get(&partition).copied().unwrap_or(ErrorCode::None)
            }
            Err(error) => *error,
        });
    }
    // Who sends the newer versions follows the newer protocol.
    let client_version = if version >= BATCHED_VERSION { EPOCH_BUMP_VERSION } else { 0 };
    let added = transactions.add_partitions(id, producer, &partitions, client_version).await;
    let error = match added.err() {
        Some(ErrorCode::ProducerFenced) if version < FENCED_VERSION => ErrorCode::InvalidProducerEpoch,
        error => error.unwrap_or(ErrorCode::None),
    };
    results(topics, |_, _| error)
}

fn results(
    topics: &[AddPartitionsToTxnTopic],
    error: impl Fn(&AddPartitionsToTxnTopic, i32) -> ErrorCode,
) -> Vec<AddPartitionsToTxnTopicResult> {
    let result = |topic: &AddPartitionsToTxnTopic| AddPartitionsToTxnTopicResult {
        name: topic.name.clone(),
        results_by_partition: topic
            .partitions
            .iter()
            .map(|index| AddPartitionsToTxnPartitionResult {
                partition_index: *index,
                partition_error_code: error(topic, *index).code(),
                ..AddPartitionsToTxnPartitionResult::default()
            })
            .collect(),
        ..AddPartitionsToTxnTopicResult::default()
    };
    topics.iter().map(result).collect()
}
