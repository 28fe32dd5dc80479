//! Produce (0), versions 3–13.
//!
//! Appends one record batch to each partition named. The batch is checked by the log: checksum,
//! size, sequence numbers, timestamps. An answer with `acks` 1 or all goes out when the records are
//! in the log; there is one replica, so both mean the same. With `acks=0` there is no answer: a
//! failure ends the connection.
//!
//! There is no transaction coordinator yet, so there is no transaction that a batch could belong to:
//! transactional batches are refused as Kafka refuses them, all of the request where it names no
//! transaction, else where the coordinator knows none of that name. Were one appended, the last
//! stable offset would never pass it.
//!
//! The batch is not copied: what came off the socket is written to the segment's file. The write
//! goes to the page cache and is short, so it is done on the thread that serves the connection.
//!
//! Versions: 5 log start offset · 8 errors by record (KIP-467) · 9 flexible · 10 current leader
//! (KIP-951) · 13 topic ids (KIP-516).

use bytes::Bytes;
use vltava_protocol::ErrorCode;
use vltava_protocol::messages::produce_request::PartitionProduceData;
use vltava_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, PartitionProduceResponse, TopicProduceResponse,
};
use vltava_protocol::messages::{ProduceRequest, ProduceResponse};
use vltava_protocol::record::RecordBatchHeader;
use vltava_protocol::wire::Records;

use crate::clock;
use crate::metadata::topic_name;
use crate::partition::{AppendFailure, Partition};
use crate::partitions::Partitions;
use crate::partitions::TopicPartitions;
use crate::request::{Answer, RequestContext};

pub(crate) fn handle(
    partitions: &Partitions,
    context: &RequestContext,
    request: &ProduceRequest,
) -> Answer<ProduceResponse> {
    if request.transactional_id.is_none() && is_transactional(request) {
        return refuse_all(request, ErrorCode::TransactionalIdAuthorizationFailed);
    }
    let mut failed = false;
    let mut response = ProduceResponse::default();
    for topic in &request.topic_data {
        let known = if context.version >= 13 {
            partitions.topic_by_id(topic.topic_id).ok_or(ErrorCode::UnknownTopicId)
        } else {
            partitions.topic(&topic.name).ok_or(ErrorCode::UnknownTopicOrPartition)
        };
        let mut partition_responses = Vec::with_capacity(topic.partition_data.len());
        for data in &topic.partition_data {
            let appended = match &known {
                Ok(known) => append(context, request, known, data),
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

/// Whether any of the batches belongs to a transaction, as their headers say.
fn is_transactional(request: &ProduceRequest) -> bool {
    let data = request.topic_data.iter().flat_map(|topic| &topic.partition_data);
    let mut records = data.filter_map(|data| data.records.as_ref().and_then(Records::memory));
    records.any(is_transactional_batch)
}

fn is_transactional_batch(records: &Bytes) -> bool {
    RecordBatchHeader::parse(records).is_ok_and(|header| header.is_transactional())
}

/// One answer for everything in the request.
fn refuse_all(request: &ProduceRequest, code: ErrorCode) -> Answer<ProduceResponse> {
    if request.acks == 0 {
        return Answer::Disconnect;
    }
    let mut response = ProduceResponse::default();
    for topic in &request.topic_data {
        let refused = |data: &PartitionProduceData| refused(data.index, AppendFailure::new(code, code.message()));
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
    if is_transactional_batch(records) {
        // What Kafka's transaction coordinator says of a transactional id that it has not seen.
        return Err(ErrorCode::InvalidProducerIdMapping.into());
    }
    let appended = partition.append_from_client(records, clock::wall_clock_ms()).map_err(|failure| {
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
