//! What a partition knows of producers with transactions, by the rules of Kafka's logs.

use std::collections::BTreeMap;

use vltava_protocol::ErrorCode;
use vltava_protocol::record::{RecordBatch, RecordBatchHeader};

use crate::partition::EndTransaction;

/// The producers of a partition.
#[derive(Clone, Debug, Default)]
pub(in crate::coordinator) struct Producers {
    producers: BTreeMap<i64, Producer>,
    /// The questions to the transaction coordinator that are under way, by producer.
    questions: BTreeMap<i64, Question>,
    last_guard: u64,
}

#[derive(Clone, Copy, Debug)]
struct Producer {
    epoch: i16,
    coordinator_epoch: i32,
    last_sequence: i32,
    /// The first offset of the open transaction.
    open_since: Option<i64>,
}

impl Default for Producer {
    fn default() -> Self {
        Self { epoch: -1, coordinator_epoch: -1, last_sequence: -1, open_since: None }
    }
}

#[derive(Clone, Copy, Debug)]
struct Question {
    guard: u64,
    epoch: i16,
    bumps: bool,
}

impl Producers {
    /// The producers of a log.
    pub(in crate::coordinator) fn replayed(batches: &[RecordBatch]) -> Self {
        let mut producers = Self::default();
        for batch in batches.iter().filter(|batch| batch.header().is_transactional()) {
            let header = batch.header();
            let producer = producers.producers.entry(header.producer_id()).or_default();
            producer.epoch = header.producer_epoch();
            if header.is_control() {
                producer.open_since = None;
                producer.last_sequence = -1;
            } else {
                producer.last_sequence = header.last_sequence();
                producer.open_since.get_or_insert(header.base_offset());
            }
        }
        producers
    }

    /// The first offset of the oldest open transaction.
    pub(in crate::coordinator) fn first_unstable_offset(&self) -> Option<i64> {
        self.producers.values().filter_map(|producer| producer.open_since).min()
    }

    /// Begins to ask for a transaction; none where it is open here.
    pub(in crate::coordinator) fn start_verification(
        &mut self,
        producer_id: i64,
        epoch: i16,
        bumps: bool,
    ) -> Result<Option<u64>, ErrorCode> {
        if let Some(known) = self.producers.get(&producer_id) {
            if epoch < known.epoch {
                return Err(ErrorCode::InvalidProducerEpoch);
            }
            if epoch == known.epoch && known.open_since.is_some() {
                return Ok(None);
            }
        }
        let last_guard = &mut self.last_guard;
        let question = self.questions.entry(producer_id).or_insert_with(|| {
            *last_guard += 1;
            Question { guard: *last_guard, epoch, bumps }
        });
        question.epoch = question.epoch.max(epoch);
        Ok(Some(question.guard))
    }

    /// Forgets what was asked, as a process does that dies.
    pub(in crate::coordinator) fn forget_questions(&mut self) {
        self.questions.clear();
    }

    /// Whether a batch of a client belongs to a transaction that is open here, or was asked for.
    pub(in crate::coordinator) fn verify(
        &self,
        producer_id: i64,
        epoch: i16,
        guard: Option<u64>,
    ) -> Result<(), ErrorCode> {
        let known = self.producers.get(&producer_id);
        if known.is_some_and(|known| epoch < known.epoch) {
            return Err(ErrorCode::InvalidProducerEpoch);
        }
        let is_open = known.is_some_and(|known| epoch == known.epoch && known.open_since.is_some());
        let is_asked = guard.is_some() && self.questions.get(&producer_id).map(|question| question.guard) == guard;
        if is_open || is_asked { Ok(()) } else { Err(ErrorCode::InvalidTxnState) }
    }

    /// Checks a batch's sequence number; one that is here already is given as true.
    pub(in crate::coordinator) fn is_duplicate(&self, header: &RecordBatchHeader) -> Result<bool, ErrorCode> {
        let first = header.base_sequence();
        let known = self.producers.get(&header.producer_id()).filter(|known| known.epoch == header.producer_epoch());
        match known.map_or(-1, |known| known.last_sequence) {
            last if first <= last => Ok(true),
            last if first == last + 1 => Ok(false),
            _ => Err(ErrorCode::OutOfOrderSequenceNumber),
        }
    }

    /// Takes a transactional batch that begins at an offset.
    pub(in crate::coordinator) fn append(&mut self, header: &RecordBatchHeader, offset: i64) -> Result<(), ErrorCode> {
        let (id, epoch) = (header.producer_id(), header.producer_epoch());
        if self.producers.get(&id).is_some_and(|known| epoch < known.epoch) {
            return Err(ErrorCode::InvalidProducerEpoch);
        }
        let producer = self.producers.entry(id).or_default();
        producer.epoch = epoch;
        producer.last_sequence = header.last_sequence();
        producer.open_since.get_or_insert(offset);
        self.questions.remove(&id);
        Ok(())
    }

    /// Takes a marker.
    pub(in crate::coordinator) fn end(&mut self, end: &EndTransaction) -> Result<(), ErrorCode> {
        let epoch = end.producer_epoch;
        if let Some(known) = self.producers.get(&end.producer_id) {
            let is_old = epoch < known.epoch;
            // KIP-890: one that ends a transaction of version 2 has bumped the epoch.
            let is_no_bump = end.transaction_version >= 2 && epoch == known.epoch && known.open_since.is_some();
            if is_old || is_no_bump {
                return Err(ErrorCode::InvalidProducerEpoch);
            }
            if end.coordinator_epoch < known.coordinator_epoch {
                return Err(ErrorCode::TransactionCoordinatorFenced);
            }
        }
        let producer = self.producers.entry(end.producer_id).or_default();
        if producer.epoch != epoch {
            producer.last_sequence = -1;
        }
        producer.epoch = epoch;
        producer.coordinator_epoch = end.coordinator_epoch;
        producer.open_since = None;
        if self.questions.get(&end.producer_id).is_some_and(|question| !(question.bumps && question.epoch == epoch)) {
            self.questions.remove(&end.producer_id);
        }
        Ok(())
    }
}
