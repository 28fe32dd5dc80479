//! What stays of a batch.

use bytes::Bytes;
use vltava_protocol::record::{
    Codec, Decompressor, NO_TIMESTAMP, ProducerState, RecordBatch, RecordBatchBuilder, RecordBatchHeader, RecordView,
    TimestampType,
};

use super::offset_map::OffsetMap;
use super::{CleanerStats, CleaningPlan, corrupt};
use crate::batch::BatchHeader;
use crate::error::{LogError, Result};

/// What becomes of a batch.
pub(super) enum Filtered {
    /// It goes.
    Nothing,
    /// This is written: the batch as it is, with fewer records, or without any.
    Batch(BatchHeader, Bytes),
}

/// What becomes of a batch of which no record stays.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Empty {
    Delete,
    /// Its header says up to where the log or a producer went.
    Retain,
}

/// Decides by the keys of one cleaning.
pub(super) struct BatchFilter<'a> {
    plan: &'a CleaningPlan,
    map: &'a OffsetMap,
    now_ms: i64,
}

impl<'a> BatchFilter<'a> {
    pub(super) fn new(plan: &'a CleaningPlan, map: &'a OffsetMap, now_ms: i64) -> Self {
        Self { plan, map, now_ms }
    }

    /// Filters a batch. `can_discard` says that its transaction was aborted, or, of a marker, that nothing of its
    /// transaction is left.
    pub(super) fn filter(
        &self,
        batch: &RecordBatch,
        can_discard: bool,
        decompressor: &mut Decompressor,
        stats: &mut CleanerStats,
    ) -> Result<Filtered> {
        let horizon = batch.delete_horizon_ms();
        let discards_records = if batch.is_control() {
            can_discard && horizon.is_some_and(|horizon| horizon <= self.now_ms)
        } else {
            can_discard
        };
        let empty = self.when_empty(batch);
        let mut retained = 0_u64;
        let mut read = 0_u64;
        let mut has_tombstones = false;
        if !discards_records {
            for record in batch.records(decompressor).map_err(corrupt)? {
                let record = record.map_err(corrupt)?;
                read += 1;
                if batch.is_control() || retains(self.map, horizon, self.now_ms, &record) {
                    retained += 1;
                    has_tombstones |= record.value().is_none();
                }
            }
        } else {
            read = u64::try_from(batch.count()).unwrap_or(0);
        }
        stats.messages_read += read;
        stats.messages_written += retained;
        if retained == 0 {
            return Ok(match empty {
                Empty::Delete => Filtered::Nothing,
                Empty::Retain => empty_batch(batch)?,
            });
        }
        // KIP-534: tombstones and markers get the time from which on they may go.
        let marker_of_nothing = can_discard && batch.is_control();
        let needs_horizon = (has_tombstones || marker_of_nothing) && horizon.is_none();
        if retained == read && !needs_horizon {
            return Ok(Filtered::Batch(*batch.header(), batch.bytes().clone()));
        }
        let horizon = if needs_horizon {
            Some(self.now_ms.saturating_add(self.plan.config.delete_retention_ms))
        } else {
            horizon
        };
        self.rebuild(batch, horizon, decompressor)
    }

    fn when_empty(&self, batch: &RecordBatch) -> Empty {
        let last = self.plan.last_records.get(&batch.producer_id());
        let is_last_of_producer = last.is_some_and(|last| match last.last_data_offset {
            Some(offset) => batch.last_offset() == offset,
            None => batch.is_control() && batch.producer_epoch() == last.producer_epoch,
        });
        let ends_the_round = batch.next_offset() == self.plan.first_uncleanable_offset;
        if (batch.has_producer_id() && is_last_of_producer) || ends_the_round { Empty::Retain } else { Empty::Delete }
    }

    /// The batch with the records that stay, under their offsets.
    fn rebuild(&self, batch: &RecordBatch, horizon: Option<i64>, decompressor: &mut Decompressor) -> Result<Filtered> {
        let mut builder = RecordBatchBuilder::new(Codec::from(batch.compression()))
            .base_offset(batch.base_offset())
            .partition_leader_epoch(batch.partition_leader_epoch());
        if batch.is_control() {
            builder = builder.control();
        }
        if batch.timestamp_type() == TimestampType::LogAppendTime {
            builder = builder.log_append_time(batch.max_timestamp());
        }
        if let Some(horizon) = horizon {
            builder = builder.delete_horizon_ms(horizon);
        }
        let old_horizon = batch.delete_horizon_ms();
        for record in batch.records(decompressor).map_err(corrupt)? {
            let record = record.map_err(corrupt)?;
            if batch.is_control() || retains(self.map, old_horizon, self.now_ms, &record) {
                builder.append_with_offset(&record).map_err(corrupt)?;
            }
        }
        builder.set_producer_state(producer_state(batch));
        builder.set_last_offset(batch.last_offset()).map_err(corrupt)?;
        let bytes = builder.build().map_err(|e| LogError::Compression(e.to_string()))?;
        let header = RecordBatchHeader::parse(&bytes).map_err(corrupt)?;
        Ok(Filtered::Batch(header, bytes))
    }
}

/// Whether a record is the latest of its key and no tombstone whose time is over.
fn retains(map: &OffsetMap, horizon: Option<i64>, now_ms: i64, record: &RecordView<'_>) -> bool {
    if record.offset() > map.latest_offset() {
        return true;
    }
    let Some(key) = record.key() else { return false };
    let is_latest = record.offset() >= map.get(key);
    let keeps_tombstones = horizon.is_none_or(|horizon| now_ms < horizon);
    is_latest && (record.value().is_some() || keeps_tombstones)
}

/// Who wrote the batch. One that says it is of a transaction and names no producer, which Kafka's brokers take from clients as
/// this one does, is of none: no marker ends it, and nobody waits for it. It is written without saying so.
fn producer_state(batch: &RecordBatch) -> ProducerState {
    if batch.has_producer_id() { batch.producer_state() } else { ProducerState::NONE }
}

/// The header of a batch without its records: offsets, sequence numbers and epochs stay known.
fn empty_batch(batch: &RecordBatch) -> Result<Filtered> {
    let attributes = batch.attributes().with_compression(vltava_protocol::record::Compression::None);
    let attributes = attributes.with_delete_horizon(false);
    let mut header = RecordBatchHeader::empty(batch.base_offset(), batch.last_offset_delta(), attributes);
    header.set_partition_leader_epoch(batch.partition_leader_epoch());
    // Whether the timestamps changed does not matter: the checksum is set anew below.
    let _ = header.set_max_timestamp(batch.timestamp_type(), batch.max_timestamp().max(NO_TIMESTAMP));
    header.set_producer_state(producer_state(batch)).map_err(corrupt)?;
    header.update_crc(&[]);
    Ok(Filtered::Batch(header, Bytes::copy_from_slice(&header.to_bytes())))
}
