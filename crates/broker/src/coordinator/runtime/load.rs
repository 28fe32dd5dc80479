//! A shard from its log.

use bytes::Bytes;
use vltava_protocol::ErrorCode;
use vltava_protocol::record::control::ControlRecordType;
use vltava_protocol::record::{Decompressor, RecordBatch, RecordBatches, RecordError};
use vltava_protocol::wire::DecodeError;

use super::records::CoordinatorRecord;
use super::service::OffsetsLog;
use super::shard::GroupCoordinatorShard;
use crate::coordinator::record::NO_PRODUCER_ID;

/// How much is read at once, bytes; Kafka's default of `offsets.load.buffer.size`.
const LOAD_BUFFER_BYTES: usize = 5 * 1024 * 1024;

/// Why a shard cannot be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoadError {
    #[error("the log cannot be read: {}", .0.message())]
    Log(ErrorCode),
    #[error("batch at or after offset {offset}: {source}")]
    Batch { offset: i64, source: RecordError },
    #[error("record at offset {offset}: {source}")]
    Record { offset: i64, source: DecodeError },
    #[error("record at offset {offset} has no key")]
    NoKey { offset: i64 },
}

/// Replays a partition's log into a shard.
pub(super) fn replay(
    mut shard: GroupCoordinatorShard,
    log: &dyn OffsetsLog,
    partition: i32,
) -> Result<GroupCoordinatorShard, LoadError> {
    let mut decompressor = Decompressor::new();
    let (mut offset, end) = log.bounds(partition).map_err(LoadError::Log)?;
    let mut passed_over = 0_u64;
    while offset < end {
        let before = offset;
        let bytes = log.read(partition, offset, LOAD_BUFFER_BYTES).map_err(LoadError::Log)?;
        for batch in RecordBatches::new(bytes) {
            let batch = batch.map_err(|source| LoadError::Batch { offset, source })?;
            passed_over += replay_batch(&mut shard, &batch, &mut decompressor)?;
            offset = batch.header().next_offset();
        }
        if offset == before {
            // Compaction may have left nothing up to the end.
            break;
        }
    }
    if passed_over > 0 {
        tracing::warn!(partition, records = passed_over, "passed over records of group types that are not served");
    }
    Ok(shard)
}

/// Replays a batch, and returns how many of its records mean nothing to this coordinator.
fn replay_batch(
    shard: &mut GroupCoordinatorShard,
    batch: &RecordBatch,
    decompressor: &mut Decompressor,
) -> Result<u64, LoadError> {
    let header = batch.header();
    let (producer_id, base_offset) = (header.producer_id(), header.base_offset());
    let in_batch = |source| LoadError::Batch { offset: base_offset, source };
    let mut passed_over = 0;
    for record in batch.records(decompressor).map_err(in_batch)? {
        let record = record.map_err(in_batch)?;
        let offset = record.offset();
        if header.is_control() {
            match ControlRecordType::parse(record.key()).map_err(in_batch)? {
                ControlRecordType::Commit => shard.replay_end_transaction(producer_id, true),
                ControlRecordType::Abort => shard.replay_end_transaction(producer_id, false),
                _ => {}
            }
            continue;
        }
        let key = record.key().ok_or(LoadError::NoKey { offset })?;
        let value = record.value().map(Bytes::copy_from_slice);
        let decoded = CoordinatorRecord::decode(Bytes::copy_from_slice(key), value)
            .map_err(|source| LoadError::Record { offset, source })?;
        match decoded {
            Some(decoded) => shard.replay(offset, transaction_of(batch), decoded),
            None => passed_over += 1,
        }
    }
    Ok(passed_over)
}

/// Returns the producer whose transaction the records of a batch wait for, or -1.
fn transaction_of(batch: &RecordBatch) -> i64 {
    let header = batch.header();
    if header.is_transactional() { header.producer_id() } else { NO_PRODUCER_ID }
}
