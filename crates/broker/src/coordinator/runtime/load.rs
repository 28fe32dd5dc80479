//! A shard from its log.

use std::sync::Arc;

use bytes::Bytes;
use vltava_protocol::ErrorCode;
use vltava_protocol::record::control::ControlRecordType;
use vltava_protocol::record::{Decompressor, RecordBatch, RecordBatches, RecordError};
use vltava_protocol::wire::DecodeError;

use super::Shared;
use super::leader::Tenure;
use crate::coordinator::record::NO_PRODUCER_ID;
use crate::coordinator::shard::Shard;
use crate::partition::Led;

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

/// The work of loading a partition, in one leader epoch: no lock is held meanwhile.
pub(super) struct Load<S: Shard> {
    pub(super) shared: Arc<Shared<S>>,
    pub(super) partition: i32,
    pub(super) tenure: Arc<Tenure>,
    pub(super) led: Led,
}

impl<S: Shard> Load<S> {
    /// Returns whether the log has nothing to be read.
    pub(super) fn is_empty(&self) -> bool {
        self.led.log_start_offset == self.led.end_offset
    }

    /// Replays the log into a shard, from its start to where it ended when the partition was led.
    pub(super) fn replay(&self, seed: u64) -> Result<S, LoadError> {
        let mut shard = S::new(&self.shared.shard_config, seed);
        let mut decompressor = Decompressor::new();
        let mut offset = self.led.log_start_offset;
        let mut passed_over = 0_u64;
        while offset < self.led.end_offset {
            if self.tenure.is_over() {
                return Err(LoadError::Log(ErrorCode::NotLeaderOrFollower));
            }
            let before = offset;
            let max_bytes = self.shared.config.load_buffer_bytes;
            let bytes = self.shared.log.read(self.partition, offset, max_bytes).map_err(LoadError::Log)?;
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
            let (topic, partition) = (S::TOPIC, self.partition);
            tracing::warn!(topic, partition, records = passed_over, "passed over records of types that are not served");
        }
        Ok(shard)
    }
}

/// Replays a batch, and returns how many of its records mean nothing to this coordinator.
fn replay_batch<S: Shard>(
    shard: &mut S,
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
        let decoded =
            S::decode(Bytes::copy_from_slice(key), value).map_err(|source| LoadError::Record { offset, source })?;
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
