//! The state of one producer.

use vltava_protocol::record::{NO_SEQUENCE, NO_TIMESTAMP, decrement_sequence};

use crate::batch::BatchHeader;

/// A batch that a producer wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchMetadata {
    pub(crate) last_sequence: i32,
    pub(crate) last_offset: i64,
    pub(crate) offset_delta: i32,
    pub(crate) timestamp: i64,
}

impl BatchMetadata {
    const NONE: Self = Self { last_sequence: NO_SEQUENCE, last_offset: -1, offset_delta: 0, timestamp: NO_TIMESTAMP };

    pub(crate) fn first_sequence(&self) -> i32 {
        decrement_sequence(self.last_sequence, self.offset_delta)
    }

    pub(crate) fn first_offset(&self) -> i64 {
        self.last_offset - i64::from(self.offset_delta)
    }
}

/// A producer may have five batches in flight, so five are remembered.
const BATCHES_TO_RETAIN: usize = 5;

/// The last batches of a producer, oldest first, in place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LastBatches {
    batches: [BatchMetadata; BATCHES_TO_RETAIN],
    len: u8,
}

impl LastBatches {
    pub(crate) const EMPTY: Self = Self { batches: [BatchMetadata::NONE; BATCHES_TO_RETAIN], len: 0 };

    pub(crate) fn as_slice(&self) -> &[BatchMetadata] {
        self.batches.get(..usize::from(self.len)).unwrap_or_default()
    }

    fn push(&mut self, batch: BatchMetadata) {
        if usize::from(self.len) == BATCHES_TO_RETAIN {
            self.batches.copy_within(1.., 0);
            self.len -= 1;
        }
        if let Some(place) = self.batches.get_mut(usize::from(self.len)) {
            *place = batch;
            self.len += 1;
        }
    }
}

/// What is known of one producer.
#[derive(Clone, Copy, Debug)]
pub struct ProducerStateEntry {
    /// The producer's id.
    pub producer_id: i64,
    /// Its newest epoch, -1 where none was seen.
    pub producer_epoch: i16,
    /// Epoch of the transaction coordinator that wrote its last marker, -1 where there was none.
    pub coordinator_epoch: i32,
    /// Timestamp of its last batch or marker, in milliseconds.
    pub last_timestamp: i64,
    /// Where its open transaction begins.
    pub current_txn_first_offset: Option<i64>,
    pub(crate) batches: LastBatches,
}

impl ProducerStateEntry {
    pub(crate) fn empty(producer_id: i64) -> Self {
        Self {
            producer_id,
            producer_epoch: -1,
            coordinator_epoch: -1,
            last_timestamp: NO_TIMESTAMP,
            current_txn_first_offset: None,
            batches: LastBatches::EMPTY,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.batches.as_slice().is_empty()
    }

    /// Sequence number of its last record, -1 where none is known.
    pub fn last_sequence(&self) -> i32 {
        self.last_batch().last_sequence
    }

    /// Offset of its last record, -1 where none is known.
    pub fn last_data_offset(&self) -> i64 {
        self.last_batch().last_offset
    }

    /// By how many offsets its last batch ends behind its beginning.
    pub fn last_offset_delta(&self) -> i32 {
        self.last_batch().offset_delta
    }

    fn last_batch(&self) -> BatchMetadata {
        self.batches.as_slice().last().copied().unwrap_or(BatchMetadata::NONE)
    }

    pub(crate) fn add_batch(&mut self, producer_epoch: i16, batch: BatchMetadata) {
        self.maybe_update_epoch(producer_epoch);
        self.batches.push(batch);
        self.last_timestamp = batch.timestamp;
    }

    fn maybe_update_epoch(&mut self, producer_epoch: i16) {
        if self.producer_epoch != producer_epoch {
            self.batches = LastBatches::EMPTY;
            self.producer_epoch = producer_epoch;
        }
    }

    /// Takes over what came after this state.
    pub(crate) fn merge(&mut self, next: &Self) {
        self.maybe_update_epoch(next.producer_epoch);
        for batch in next.batches.as_slice() {
            self.batches.push(*batch);
        }
        self.coordinator_epoch = next.coordinator_epoch;
        self.current_txn_first_offset = next.current_txn_first_offset;
        self.last_timestamp = next.last_timestamp;
    }

    /// Takes over a transaction marker.
    pub(crate) fn end_transaction(&mut self, producer_epoch: i16, coordinator_epoch: i32, timestamp: i64) {
        self.maybe_update_epoch(producer_epoch);
        self.coordinator_epoch = coordinator_epoch;
        self.current_txn_first_offset = None;
        self.last_timestamp = timestamp;
    }

    /// The remembered batch that `header` repeats.
    pub(crate) fn find_duplicate(&self, header: &BatchHeader) -> Option<BatchMetadata> {
        if header.producer_epoch() != self.producer_epoch {
            return None;
        }
        let (first, last) = (header.base_sequence(), header.last_sequence());
        let same = |batch: &&BatchMetadata| batch.first_sequence() == first && batch.last_sequence == last;
        self.batches.as_slice().iter().find(same).copied()
    }

    pub(crate) fn is_expired(&self, now_ms: i64, expiration_ms: i64) -> bool {
        self.current_txn_first_offset.is_none() && now_ms.saturating_sub(self.last_timestamp) >= expiration_ms
    }
}
