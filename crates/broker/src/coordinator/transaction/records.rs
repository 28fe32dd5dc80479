//! The records of `__transaction_state`, from and to bytes.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use vltava_log::TopicPartition;
use vltava_protocol::record::NO_PRODUCER_EPOCH;
use vltava_protocol::records::CoordinatorKey;
use vltava_protocol::records::transaction::transaction_log_value::PartitionsSchema;
use vltava_protocol::records::transaction::{TransactionLogKey, TransactionLogValue};
use vltava_protocol::wire::{DecodeError, Message, Reader};

use super::metadata::TransactionMetadata;
use super::state::TransactionState;
use crate::coordinator::record::{RecordBytes, RecordError, encode};

/// The first `transaction.version` whose records have tagged fields (KIP-890).
const FLEXIBLE_RECORDS_VERSION: i16 = 1;

/// What is known of a transactional id; none if it was removed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TransactionRecord {
    pub(crate) transactional_id: String,
    pub(crate) metadata: Option<TransactionMetadata>,
}

impl TransactionRecord {
    /// Reads a record; none if it is of a type or version that another Kafka has, which Kafka passes over too.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] for bytes that are not what they say they are.
    pub(crate) fn decode(key: Bytes, value: Option<Bytes>) -> Result<Option<Self>, DecodeError> {
        let mut reader = Reader::new(key);
        if reader.i16()? != TransactionLogKey::RECORD_TYPE {
            return Ok(None);
        }
        let transactional_id = TransactionLogKey::decode(&mut reader, 0)?.transactional_id;
        let Some(value) = value else { return Ok(Some(Self { transactional_id, metadata: None })) };
        let mut reader = Reader::new(value);
        let version = reader.i16()?;
        if !(TransactionLogValue::MIN_VERSION..=TransactionLogValue::MAX_VERSION).contains(&version) {
            return Ok(None);
        }
        let value = TransactionLogValue::decode(&mut reader, version)?;
        Ok(Some(Self { transactional_id, metadata: Some(metadata_of(value)?) }))
    }

    /// Writes the record as Kafka does where the cluster's `transaction.version` is `version`.
    ///
    /// # Errors
    ///
    /// [`RecordError::Encode`] for a string that is too long.
    pub(crate) fn encode(&self, version: i16) -> Result<RecordBytes, RecordError> {
        let key = TransactionLogKey { transactional_id: self.transactional_id.clone() };
        let mut value = self.metadata.as_ref().map(value_of);
        let is_flexible = version >= FLEXIBLE_RECORDS_VERSION;
        if let Some(value) = value.as_mut().filter(|_| !is_flexible) {
            let none = TransactionLogValue::default();
            value.previous_producer_id = none.previous_producer_id;
            value.next_producer_id = none.next_producer_id;
            value.client_transaction_version = none.client_transaction_version;
        }
        encode(&key, value.as_ref(), i16::from(is_flexible))
    }
}

fn metadata_of(value: TransactionLogValue) -> Result<TransactionMetadata, DecodeError> {
    let unknown = DecodeError::Unknown { what: "transaction state", value: i32::from(value.transaction_status) };
    let state = TransactionState::from_id(value.transaction_status).ok_or(unknown)?;
    let topics = value.transaction_partitions.into_iter().flatten().flat_map(|topic| {
        let name: Arc<str> = topic.topic.into();
        topic.partition_ids.into_iter().map(move |partition| TopicPartition::new(Arc::clone(&name), partition))
    });
    Ok(TransactionMetadata {
        producer_id: value.producer_id,
        previous_producer_id: value.previous_producer_id,
        next_producer_id: value.next_producer_id,
        producer_epoch: value.producer_epoch,
        last_producer_epoch: NO_PRODUCER_EPOCH,
        timeout_ms: value.transaction_timeout_ms,
        state,
        partitions: topics.collect(),
        start_timestamp_ms: value.transaction_start_timestamp_ms,
        last_update_timestamp_ms: value.transaction_last_update_timestamp_ms,
        client_version: value.client_transaction_version,
    })
}

fn value_of(metadata: &TransactionMetadata) -> TransactionLogValue {
    let topics = by_topic(&metadata.partitions).into_iter().map(|(topic, partition_ids)| PartitionsSchema {
        topic: topic.to_string(),
        partition_ids,
        ..PartitionsSchema::default()
    });
    TransactionLogValue {
        producer_id: metadata.producer_id,
        previous_producer_id: metadata.previous_producer_id,
        next_producer_id: metadata.next_producer_id,
        producer_epoch: metadata.producer_epoch,
        transaction_timeout_ms: metadata.timeout_ms,
        transaction_status: metadata.state.id(),
        transaction_partitions: (metadata.state != TransactionState::Empty).then(|| topics.collect()),
        transaction_last_update_timestamp_ms: metadata.last_update_timestamp_ms,
        transaction_start_timestamp_ms: metadata.start_timestamp_ms,
        client_transaction_version: metadata.client_version,
        ..TransactionLogValue::default()
    }
}

/// The numbers of partitions by topic.
pub(crate) fn by_topic<'a>(
    partitions: impl IntoIterator<Item = &'a TopicPartition>,
) -> BTreeMap<&'a Arc<str>, Vec<i32>> {
    let mut topics: BTreeMap<_, Vec<i32>> = BTreeMap::new();
    for partition in partitions {
        topics.entry(&partition.topic).or_default().push(partition.partition);
    }
    topics
}
