//! Records into batches.

use bytes::Bytes;
use vltava_protocol::ErrorCode;
use vltava_protocol::record::{Compression, Compressor, ProducerState, RecordBatchBuilder};

use super::record::{BATCH_OVERHEAD, RecordBytes};

/// Writes batches of records.
pub(super) struct BatchWriter {
    compression: Compression,
    compressor: Compressor,
}

impl BatchWriter {
    pub(super) fn new(compression: Compression) -> Self {
        Self { compression, compressor: Compressor::new() }
    }

    /// Makes batches of the records, none larger than `max_bytes` before compression unless a record alone is.
    pub(super) fn batches(
        &mut self,
        records: &[RecordBytes],
        max_bytes: usize,
        timestamp_ms: i64,
    ) -> impl Iterator<Item = Result<Bytes, ErrorCode>> {
        let mut rest = records;
        std::iter::from_fn(move || {
            let mut size = BATCH_OVERHEAD;
            let fitting = rest.iter().take_while(|record| {
                size = size.saturating_add(record.max_size());
                size <= max_bytes
            });
            let count = fitting.count().max(1);
            let (batch, after) = rest.split_at_checked(count)?;
            rest = after;
            Some(self.batch(batch, ProducerState::NONE, timestamp_ms))
        })
    }

    /// Makes the one batch of records that belong to a producer's transaction.
    pub(super) fn transactional_batch(
        &mut self,
        records: &[RecordBytes],
        producer: ProducerState,
        timestamp_ms: i64,
    ) -> Result<Bytes, ErrorCode> {
        self.batch(records, producer, timestamp_ms)
    }

    fn batch(
        &mut self,
        records: &[RecordBytes],
        producer: ProducerState,
        timestamp_ms: i64,
    ) -> Result<Bytes, ErrorCode> {
        let size: usize = records.iter().map(RecordBytes::max_size).sum();
        let mut builder = RecordBatchBuilder::with_capacity(self.compression, size.saturating_add(BATCH_OVERHEAD));
        for record in records {
            builder
                .append(timestamp_ms, Some(&record.key), record.value.as_deref(), [])
                .map_err(|_| ErrorCode::RecordListTooLarge)?;
        }
        builder.set_producer_state(producer);
        builder.build_with(&mut self.compressor).map_err(|_| ErrorCode::UnknownServerError)
    }
}

/// Whether a log that answers so has written nothing: it refuses the producer, or the size.
pub(super) fn is_refusal(error: ErrorCode) -> bool {
    matches!(
        error,
        ErrorCode::InvalidProducerEpoch
            | ErrorCode::InvalidTxnState
            | ErrorCode::TransactionCoordinatorFenced
            | ErrorCode::MessageTooLarge
            | ErrorCode::RecordListTooLarge
    )
}

/// Returns what a client is told about a failed append: something that it answers by looking for the coordinator
/// again, where that may help.
pub(super) fn response_error(error: ErrorCode) -> ErrorCode {
    match error {
        ErrorCode::UnknownTopicOrPartition | ErrorCode::NotEnoughReplicas | ErrorCode::RequestTimedOut => {
            ErrorCode::CoordinatorNotAvailable
        }
        ErrorCode::NotLeaderOrFollower | ErrorCode::KafkaStorageError => ErrorCode::NotCoordinator,
        ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge | ErrorCode::InvalidFetchSize => {
            ErrorCode::UnknownServerError
        }
        other => other,
    }
}
