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

use crate::coordinator::transaction::{EPOCH_BUMP_VERSION, TransactionCoordinator};
use crate::metadata::MetadataStore;
use crate::metadata::image::MetadataImage;
use crate::request::RequestContext;

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
    if context.version < BATCHED_VERSION {
        let transaction = AddPartitionsToTxnTransaction {
            transactional_id: request.v3_and_below_transactional_id.clone(),
            producer_id: request.v3_and_below_producer_id,
            producer_epoch: request.v3_and_below_producer_epoch,
            topics: request.v3_and_below_topics.clone(),
            ..AddPartitionsToTxnTransaction::default()
        };
        let results = add(&image, transactions, context.version, &transaction).await;
        return AddPartitionsToTxnResponse {
            results_by_topic_v3_and_below: results,
            ..AddPartitionsToTxnResponse::default()
        };
    }
    let mut results = Vec::with_capacity(request.transactions.len());
    for transaction in &request.transactions {
        results.push(AddPartitionsToTxnResult {
            transactional_id: transaction.transactional_id.clone(),
            topic_results: add(&image, transactions, context.version, transaction).await,
            ..AddPartitionsToTxnResult::default()
        });
    }
    AddPartitionsToTxnResponse { results_by_transaction: results, ..AddPartitionsToTxnResponse::default() }
}

/// Adds or verifies the partitions of one transaction.
async fn add(
    image: &MetadataImage,
    transactions: &TransactionCoordinator,
    version: i16,
    transaction: &AddPartitionsToTxnTransaction,
) -> Vec<AddPartitionsToTxnTopicResult> {
    let topics = &transaction.topics;
    let exists = |topic: &AddPartitionsToTxnTopic, index: i32| {
        let count = image.topic(&topic.name).map_or(0, |topic| topic.partitions.len());
        usize::try_from(index).is_ok_and(|index| index < count)
    };
    if !topics.iter().all(|topic| topic.partitions.iter().all(|index| exists(topic, *index))) {
        return results(topics, |topic, index| match exists(topic, index) {
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
