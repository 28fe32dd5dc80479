//! TxnOffsetCommit (28), versions 0–5.
//!
//! Stores offsets of a group as a part of a producer's transaction: they count when that is committed. The partition of the
//! groups' topic has to be in the transaction; since version 5 the broker adds it. Offsets of partitions that do not exist
//! are refused one by one.
//!
//! Versions: 2 leader epochs · 3 flexible, members and generations (KIP-447) · 4 `TRANSACTION_ABORTABLE` (KIP-890) · 5 no
//! AddOffsetsToTxn before (KIP-890).

use vltava_protocol::ErrorCode;
use vltava_protocol::messages::txn_offset_commit_request::TxnOffsetCommitRequestTopic;
use vltava_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use vltava_protocol::messages::{TxnOffsetCommitRequest, TxnOffsetCommitResponse};
use vltava_security::acl::AclOperation;

use crate::coordinator::group::GroupCoordinator;
use crate::coordinator::transaction::TransactionCoordinator;
use crate::coordinator::{self, ClusterTopics};
use crate::metadata::MetadataStore;
use crate::metadata::image::MetadataImage;
use crate::partitions::Partitions;
use crate::request::RequestContext;
use crate::security::Resource;
use crate::transaction_verification::TransactionSupport;

/// The first version whose clients know that a coordinator is being loaded.
const LOADING_VERSION: i16 = 2;

pub(crate) async fn handle(
    metadata: &MetadataStore,
    partitions: &Partitions,
    groups: &GroupCoordinator,
    transactions: &TransactionCoordinator,
    context: &RequestContext,
    request: &TxnOffsetCommitRequest,
) -> TxnOffsetCommitResponse {
    let image = metadata.image();
    let mut answers = Answers::default();
    let refusal = if !context.may(AclOperation::Write, Resource::transactional_id(&request.transactional_id)) {
        Some(ErrorCode::TransactionalIdAuthorizationFailed)
    } else if !context.may(AclOperation::Read, Resource::group(&request.group_id)) {
        Some(ErrorCode::GroupAuthorizationFailed)
    } else {
        None
    };
    if let Some(error) = refusal {
        request.topics.iter().for_each(|topic| answers.refuse(topic, error));
        return answers.into_response();
    }
    let (allowed, refused): (Vec<_>, Vec<_>) =
        request.topics.iter().partition(|topic| context.may(AclOperation::Read, Resource::topic(&topic.name)));
    refused.into_iter().for_each(|topic| answers.refuse(topic, ErrorCode::TopicAuthorizationFailed));
    let accepted: Vec<_> =
        allowed.into_iter().filter_map(|topic| existing(&image, topic.clone(), &mut answers)).collect();
    if accepted.is_empty() {
        return answers.into_response();
    }
    let commit = TxnOffsetCommitRequest { topics: accepted.clone(), ..request.clone() };
    let support = TransactionSupport::of_txn_offset_commit(context.version);
    let topics = ClusterTopics::of(metadata);
    let committed =
        coordinator::commit_in_transaction(partitions, groups, transactions, &topics, support, commit).await;
    match committed {
        Ok(topics) => topics.into_iter().for_each(|topic| answers.merge(topic)),
        Err(error) => {
            let error = match error {
                ErrorCode::CoordinatorLoadInProgress if context.version < LOADING_VERSION => {
                    ErrorCode::CoordinatorNotAvailable
                }
                error => error,
            };
            accepted.iter().for_each(|topic| answers.refuse(topic, error));
        }
    }
    answers.into_response()
}

/// Keeps those of a topic's partitions that exist.
fn existing(
    image: &MetadataImage,
    mut topic: TxnOffsetCommitRequestTopic,
    answers: &mut Answers,
) -> Option<TxnOffsetCommitRequestTopic> {
    let count = image.topic(&topic.name).map_or(0, |topic| topic.partitions.len());
    let exists = |index: i32| usize::try_from(index).is_ok_and(|index| index < count);
    for partition in topic.partitions.iter().filter(|partition| !exists(partition.partition_index)) {
        answers.add(&topic.name, partition.partition_index, ErrorCode::UnknownTopicOrPartition.code());
    }
    topic.partitions.retain(|partition| exists(partition.partition_index));
    (!topic.partitions.is_empty()).then_some(topic)
}

/// The answer in the making: a topic is in it once.
#[derive(Default)]
struct Answers(Vec<TxnOffsetCommitResponseTopic>);

impl Answers {
    fn add(&mut self, name: &str, partition_index: i32, error_code: i16) {
        let partition = TxnOffsetCommitResponsePartition {
            partition_index,
            error_code,
            ..TxnOffsetCommitResponsePartition::default()
        };
        match self.0.iter_mut().find(|topic| topic.name == name) {
            Some(topic) => topic.partitions.push(partition),
            None => self.0.push(TxnOffsetCommitResponseTopic {
                name: name.to_owned(),
                partitions: vec![partition],
                ..TxnOffsetCommitResponseTopic::default()
            }),
        }
    }

    fn merge(&mut self, topic: TxnOffsetCommitResponseTopic) {
        for partition in topic.partitions {
            self.add(&topic.name, partition.partition_index, partition.error_code);
        }
    }

    fn refuse(&mut self, topic: &TxnOffsetCommitRequestTopic, error: ErrorCode) {
        for partition in &topic.partitions {
            self.add(&topic.name, partition.partition_index, error.code());
        }
    }

    fn into_response(self) -> TxnOffsetCommitResponse {
        TxnOffsetCommitResponse { topics: self.0, ..TxnOffsetCommitResponse::default() }
    }
}
