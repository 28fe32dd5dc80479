//! Produce (0), versions 3–13.
//!
//! Appends one record batch to each partition named. The batch is checked by the log: checksum,
//! size, sequence numbers, timestamps. An answer with `acks` 1 or all goes out when the records are
//! in the log; there is one replica, so both mean the same. With `acks=0` there is no answer: a
//! failure ends the connection.
//!
//! A transactional batch is appended where its transaction is open: known to the partition by an
//! earlier batch, or to the transaction coordinator, which is asked before the first one (KIP-890).
//! From version 12 on it adds the partition to the transaction by that; before, the client has. The
//! batches of one request are of one producer. Where the coordinator says no, or a marker came in
//! between, the batch is refused: were it appended, the last stable offset would never pass it.
//!
//! The batch is not copied: what came off the socket is written to the segment's file. The write
//! goes to the page cache and is short, so it is done on the thread that serves the connection.
//!
//! Versions: 5 log start offset · 8 errors by record (KIP-467) · 9 flexible · 10 current leader
//! (KIP-951) · 11 abortable errors, 12 adds to the transaction (KIP-890) · 13 topic ids (KIP-516).

mod transactions;

use std::sync::Arc;

use vltava_log::VerificationGuard;
use vltava_protocol::ErrorCode;
use vltava_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use vltava_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, PartitionProduceResponse, TopicProduceResponse,
};
use vltava_protocol::messages::{ProduceRequest, ProduceResponse};
use vltava_protocol::wire::Records;
use vltava_security::acl::AclOperation;

use crate::clock;
use crate::config::BrokerConfig;
use crate::coordinator::transaction::TransactionCoordinator;
use crate::metadata::topic_name;
use crate::partition::{AppendFailure, Partition};
use crate::partitions::Partitions;
use crate::partitions::TopicPartitions;
use crate::request::{Answer, RequestContext};
use crate::security::Resource;
use transactions::Verified;

pub(crate) async fn handle(
    config: &BrokerConfig,
    partitions: &Partitions,
    coordinator: &TransactionCoordinator,
    context: &RequestContext,
    request: &ProduceRequest,
) -> Answer<ProduceResponse> {
    let answer = append_batches(config, partitions, coordinator, context, request).await;
    context.charge_produce();
    answer
}

async fn append_batches(
    config: &BrokerConfig,
    partitions: &Partitions,
    coordinator: &TransactionCoordinator,
    context: &RequestContext,
    request: &ProduceRequest,
) -> Answer<ProduceResponse> {
    let transactional_id = match (transactions::is_transactional(request), &request.transactional_id) {
        (false, _) => None,
        (true, Some(id)) if context.may(AclOperation::Write, Resource::transactional_id(id)) => Some(id),
        (true, _) => return refuse_all(request, ErrorCode::TransactionalIdAuthorizationFailed, None),
    };
    let topics = request.topic_data.iter().map(|topic| writable(partitions, context, topic));
    let Some(id) = transactional_id else { return append_all(topics, context, request, &Verified::default()) };
    let topics: Topics = topics.collect();
    match transactions::verify(config, coordinator, &topics, context.version, id, request).await {
        Ok(verified) => append_all(topics.into_iter(), context, request, &verified),
        Err(code) => refuse_all(request, code, Some(code.message())),
    }
}

/// What the topics of a request are, in its order.
type Topics = Vec<Result<Arc<TopicPartitions>, ErrorCode>>;

/// The partitions of a topic in a request, which its sender may write to.
fn writable(
    partitions: &Partitions,
    context: &RequestContext,
    topic: &TopicProduceData,
) -> Result<Arc<TopicPartitions>, ErrorCode> {
    let known = topic_of(partitions, context.version, topic);
    let name = match &known {
        Ok(known) => known.name(),
        // Kafka tells whether an id is known to whoever asks.
        Err(ErrorCode::UnknownTopicId) => return known,
        Err(_) => &topic.name,
    };
    match context.may_each(AclOperation::Write, Resource::topic(name), topic.partition_data.len()) {
        true => known,
        false => Err(ErrorCode::TopicAuthorizationFailed),
    }
}

fn append_all(
    topics: impl Iterator<Item = Result<Arc<TopicPartitions>, ErrorCode>>,
    context: &RequestContext,
    request: &ProduceRequest,
    verified: &Verified,
) -> Answer<ProduceResponse> {
    let mut failed = false;
    let mut response = ProduceResponse::default();
    for (t, (topic, known)) in request.topic_data.iter().zip(topics).enumerate() {
        let mut partition_responses = Vec::with_capacity(topic.partition_data.len());
        for (p, data) in topic.partition_data.iter().enumerate() {
            let appended = match &known {
                Ok(known) => verified.of(t, p).and_then(|guard| append(context, request, known, data, guard)),
                Err(code) => Err(AppendFailure::from(*code)),
            };
            failed |= appended.is_err();
            partition_responses.push(appended.unwrap_or_else(|failure| refused(data.index, failure)));
        }
        response.responses.push(TopicProduceResponse {
            name: topic.name.clone(),
            topic_id: topic.topic_id,
            partition_responses,
            ..TopicProduceResponse::default()
        });
    }
    match (request.acks, failed) {
        (0, true) => Answer::Disconnect,
        (0, false) => Answer::Silent,
        _ => Answer::Response(response),
    }
}

/// The partitions of a topic in a request.
fn topic_of(
    partitions: &Partitions,
    version: i16,
    topic: &TopicProduceData,
) -> Result<Arc<TopicPartitions>, ErrorCode> {
    if version >= 13 {
        partitions.topic_by_id(topic.topic_id).ok_or(ErrorCode::UnknownTopicId)
    } else {
        partitions.topic(&topic.name).ok_or(ErrorCode::UnknownTopicOrPartition)
    }
}

/// One answer for everything in the request.
fn refuse_all(request: &ProduceRequest, code: ErrorCode, text: Option<&str>) -> Answer<ProduceResponse> {
    if request.acks == 0 {
        return Answer::Disconnect;
    }
    let mut response = ProduceResponse::default();
    for topic in &request.topic_data {
        let failure = || AppendFailure { message: text.map(str::to_owned), ..code.into() };
        let refused = |data: &PartitionProduceData| refused(data.index, failure());
        response.responses.push(TopicProduceResponse {
            name: topic.name.clone(),
            topic_id: topic.topic_id,
            partition_responses: topic.partition_data.iter().map(refused).collect(),
            ..TopicProduceResponse::default()
        });
    }
    Answer::Response(response)
}

fn append(
    context: &RequestContext,
    request: &ProduceRequest,
    topic: &TopicPartitions,
    data: &PartitionProduceData,
    guard: VerificationGuard,
) -> Result<PartitionProduceResponse, AppendFailure> {
    if !matches!(request.acks, -1..=1) {
        return Err(ErrorCode::InvalidRequiredAcks.into());
    }
    // The admin client writes to the coordinators' topics when it repairs them; nobody else may.
    if topic_name::is_internal(topic.name()) && context.client_id.as_deref() != Some("__admin_client") {
        let text = format!("Cannot append to internal topic {}", topic.name());
        return Err(AppendFailure::new(ErrorCode::InvalidTopicException, text));
    }
    let partition: &Partition = topic.partition(data.index)?;
    let records =
        data.records.as_ref().and_then(Records::memory).filter(|records| !records.is_empty()).ok_or_else(|| {
            let version = context.version;
            let text =
                format!("Produce requests with version {version} must have at least one record batch per partition");
            AppendFailure::new(ErrorCode::InvalidRecord, text)
        })?;
    let appended = partition.append_from_client(records, guard, clock::wall_clock_ms()).map_err(|failure| {
        match is_one_batch(records) {
            true => failure,
            // Kafka refuses these before it looks at the log.
            false => AppendFailure { log_start_offset: -1, ..failure },
        }
    })?;
    Ok(PartitionProduceResponse {
        index: data.index,
        base_offset: appended.base_offset,
        log_append_time_ms: appended.log_append_time_ms,
        log_start_offset: appended.log_start_offset,
        ..PartitionProduceResponse::default()
    })
}

/// Whether the bytes look like one whole batch of the format that there is.
fn is_one_batch(records: &[u8]) -> bool {
    const LENGTH_AT: usize = 8;
    const MAGIC_AT: usize = 16;
    let length = records.get(LENGTH_AT..).and_then(|rest| rest.first_chunk::<4>()).copied().map(i32::from_be_bytes);
    let whole = length.and_then(|length| usize::try_from(length).ok()).map(|length| length + LENGTH_AT + 4);
    records.get(MAGIC_AT) == Some(&2) && whole == Some(records.len())
}

fn refused(index: i32, failure: AppendFailure) -> PartitionProduceResponse {
    let record_errors = failure.record_errors.into_iter().map(|error| BatchIndexAndErrorMessage {
        batch_index: error.batch_index,
        batch_index_error_message: Some(error.message),
        ..BatchIndexAndErrorMessage::default()
    });
    PartitionProduceResponse {
        index,
        error_code: failure.code.code(),
        base_offset: -1,
        log_start_offset: failure.log_start_offset,
        record_errors: record_errors.collect(),
        error_message: failure.message,
        ..PartitionProduceResponse::default()
    }
}
