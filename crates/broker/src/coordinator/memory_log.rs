//! A log in memory, for tests: its high watermark stays behind and its appends fail when they are told to. It knows
//! producers with transactions as Kafka's logs do.

mod producers;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use vltava_log::VerificationGuard;
use vltava_protocol::record::control::EndTransactionMarker;
use vltava_protocol::record::{BatchPatch, Decompressor, RecordBatch, RecordBatches};
use vltava_protocol::{ErrorCode, TimestampMs};

use super::log::CoordinatorLog;
use crate::partition::{EndTransaction, LeaderListener, Led};
pub(super) use producers::Producers;

/// What becomes of appends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nothing is written.
    Refused(ErrorCode),
    /// The batch is written, and an error told.
    Written(ErrorCode),
}

#[derive(Debug, Default)]
pub(super) struct MemoryLog {
    partitions: Mutex<BTreeMap<i32, Partition>>,
    fault: Mutex<Option<Fault>>,
    /// Whether the high watermark waits for [`MemoryLog::commit`].
    is_slow: Mutex<bool>,
}

#[derive(Debug, Default)]
struct Partition {
    leader_epoch: i32,
    is_offline: bool,
    high_watermark: i64,
    batches: Vec<RecordBatch>,
    producers: Producers,
    listener: Option<Arc<dyn LeaderListener>>,
}

impl Partition {
    fn end(&self) -> i64 {
        self.batches.last().map_or(0, |batch| batch.header().next_offset())
    }

    fn commit(&mut self, offset: i64) {
        let ends = self.batches.iter().map(|batch| batch.header().next_offset());
        let committed = ends.take_while(|end| *end <= offset).last().unwrap_or(0);
        self.high_watermark = self.high_watermark.max(committed);
        if let Some(listener) = &self.listener {
            listener.committed(self.high_watermark);
        }
    }
}

impl MemoryLog {
    pub(super) fn fail(&self, fault: Option<Fault>) {
        *self.fault.lock() = fault;
    }

    pub(super) fn set_slow(&self, is_slow: bool) {
        *self.is_slow.lock() = is_slow;
    }

    /// Moves the high watermark of a partition to the last end of a batch up to `offset`.
    pub(super) fn commit(&self, partition: i32, offset: i64) {
        self.partitions.lock().entry(partition).or_default().commit(offset);
    }

    /// Ends the leader epoch of a partition; another leader had nothing that was not committed.
    pub(super) fn depose(&self, partition: i32) {
        let mut partitions = self.partitions.lock();
        let partition = partitions.entry(partition).or_default();
        partition.leader_epoch += 1;
        let high_watermark = partition.high_watermark;
        partition.batches.retain(|batch| batch.header().next_offset() <= high_watermark);
        partition.producers = Producers::replayed(&partition.batches);
        if let Some(listener) = partition.listener.take() {
            listener.over();
        }
    }

    /// Takes a partition offline, as a broken disk does.
    pub(super) fn set_offline(&self, partition: i32) {
        self.depose(partition);
        self.partitions.lock().entry(partition).or_default().is_offline = true;
    }

    pub(super) fn high_watermark(&self, partition: i32) -> i64 {
        self.partitions.lock().get(&partition).map_or(0, |partition| partition.high_watermark)
    }

    pub(super) fn end(&self, partition: i32) -> i64 {
        self.partitions.lock().get(&partition).map_or(0, Partition::end)
    }

    /// Returns the batches of all partitions.
    pub(super) fn batches(&self) -> Vec<RecordBatch> {
        self.partitions.lock().values().flat_map(|partition| partition.batches.clone()).collect()
    }

    /// Returns the records of a partition, with their offsets.
    pub(super) fn records(&self, partition: i32) -> Vec<(i64, Bytes, Option<Bytes>)> {
        let partitions = self.partitions.lock();
        let batches = partitions.get(&partition).map_or(&[][..], |partition| &partition.batches);
        let mut decompressor = Decompressor::new();
        let mut all = Vec::new();
        for batch in batches {
            for record in batch.records(&mut decompressor).unwrap().map(Result::unwrap) {
                let value = record.value().map(Bytes::copy_from_slice);
                all.push((record.offset(), Bytes::copy_from_slice(record.key().unwrap()), value));
            }
        }
        all
    }

    /// Asks or tells a partition something of producers.
    pub(super) fn with_producers<T>(&self, partition: i32, work: impl FnOnce(&mut Producers) -> T) -> T {
        work(&mut self.partitions.lock().entry(partition).or_default().producers)
    }

    /// Returns the batches of a partition.
    pub(super) fn batches_of(&self, partition: i32) -> Vec<RecordBatch> {
        self.partitions.lock().get(&partition).map_or_else(Vec::new, |partition| partition.batches.clone())
    }

    /// Begins another topic: there are no records.
    pub(super) fn clear(&self) {
        self.partitions.lock().clear();
    }
}

impl CoordinatorLog for MemoryLog {
    fn lead(&self, partition: i32, listener: Arc<dyn LeaderListener>) -> Result<Led, ErrorCode> {
        let mut partitions = self.partitions.lock();
        let partition = partitions.entry(partition).or_default();
        if partition.is_offline {
            return Err(ErrorCode::KafkaStorageError);
        }
        partition.listener = Some(listener);
        Ok(Led {
            leader_epoch: partition.leader_epoch,
            log_start_offset: 0,
            end_offset: partition.end(),
            high_watermark: partition.high_watermark,
        })
    }

    fn append(
        &self,
        partition: i32,
        leader_epoch: i32,
        batch: &Bytes,
        _: VerificationGuard,
        _: i64,
    ) -> Result<i64, ErrorCode> {
        self.write(partition, leader_epoch, batch, |producers, batch, end| {
            let header = batch.header();
            if header.is_transactional() { producers.append(header, end) } else { Ok(()) }
        })
    }

    fn end_transaction(
        &self,
        partition: i32,
        leader_epoch: i32,
        end: &EndTransaction,
        now_ms: i64,
    ) -> Result<i64, ErrorCode> {
        let marker = EndTransactionMarker { committed: end.committed, coordinator_epoch: end.coordinator_epoch };
        let batch = marker.to_batch(TimestampMs(now_ms), end.producer_id, end.producer_epoch).unwrap();
        self.write(partition, leader_epoch, &batch, |producers, _, _| producers.end(end))
    }

    fn read(&self, partition: i32, offset: i64, _: usize) -> Result<Bytes, ErrorCode> {
        let partitions = self.partitions.lock();
        let batches = partitions.get(&partition).map_or(&[][..], |partition| &partition.batches);
        // One at a time: a load has to come back for the next.
        let batch = batches.iter().find(|batch| batch.header().next_offset() > offset);
        Ok(batch.map_or_else(Bytes::new, |batch| batch.bytes().clone()))
    }
}

impl MemoryLog {
    /// Writes a batch that `check` takes, and has it committed unless the log is slow.
    fn write(
        &self,
        partition: i32,
        leader_epoch: i32,
        batch: &Bytes,
        check: impl FnOnce(&mut Producers, &RecordBatch, i64) -> Result<(), ErrorCode>,
    ) -> Result<i64, ErrorCode> {
        let fault = *self.fault.lock();
        if let Some(Fault::Refused(error)) = fault {
            return Err(error);
        }
        let mut partitions = self.partitions.lock();
        let partition = partitions.entry(partition).or_default();
        if partition.leader_epoch != leader_epoch {
            return Err(ErrorCode::NotLeaderOrFollower);
        }
        let mut bytes = BytesMut::from(&batch[..]);
        BatchPatch::new(&mut bytes).unwrap().set_base_offset(partition.end());
        let batch = RecordBatches::new(bytes.freeze()).next().unwrap().unwrap();
        let end = partition.end();
        check(&mut partition.producers, &batch, end)?;
        partition.batches.push(batch);
        if !*self.is_slow.lock() {
            partition.commit(i64::MAX);
        }
        match fault {
            Some(Fault::Written(error)) => Err(error),
            _ => Ok(partition.end()),
        }
    }
}
