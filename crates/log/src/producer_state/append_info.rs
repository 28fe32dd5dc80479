//! What an append changes in the state of one producer, and whether it may.

use vltava_protocol::record::NO_SEQUENCE;

use super::TxnMetadata;
use super::entry::{BatchMetadata, LastBatches, ProducerStateEntry};
use super::verification::VerificationState;
use crate::batch::BatchHeader;
use crate::error::{LogError, Result};
use crate::log_offset::LogOffsetMetadata;

/// A transaction that a marker ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CompletedTxn {
    pub(crate) producer_id: i64,
    pub(crate) first_offset: i64,
    pub(crate) last_offset: i64,
    pub(crate) is_aborted: bool,
}

/// The contents of a control record that ends a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EndTxnMarker {
    pub(crate) is_abort: bool,
    pub(crate) coordinator_epoch: i32,
    pub(crate) timestamp: i64,
}

/// Updates of one producer's state, gathered while an append is checked.
#[derive(Debug)]
pub(crate) struct ProducerAppendInfo {
    current: ProducerStateEntry,
    updated: ProducerStateEntry,
    started: Vec<TxnMetadata>,
    /// Records of clients are checked; what a leader accepted is taken as it is.
    from_client: bool,
    from_replication: bool,
    /// The transaction that the producer asked for, of which nothing was appended yet.
    asked_for: Option<VerificationState>,
}

impl ProducerAppendInfo {
    pub(super) fn new(
        producer_id: i64,
        current: Option<&ProducerStateEntry>,
        from_client: bool,
        asked_for: Option<VerificationState>,
    ) -> Self {
        let current = current.copied().unwrap_or_else(|| ProducerStateEntry::empty(producer_id));
        let updated = ProducerStateEntry { batches: LastBatches::EMPTY, ..current };
        Self { current, updated, started: Vec::new(), from_client, from_replication: false, asked_for }
    }

    /// The records were accepted before: they are replayed or replicated.
    pub(crate) fn replicated(mut self) -> Self {
        self.from_replication = true;
        self
    }

    pub(crate) fn producer_id(&self) -> i64 {
        self.updated.producer_id
    }

    pub(super) fn into_parts(self) -> (ProducerStateEntry, Vec<TxnMetadata>) {
        (self.updated, self.started)
    }

    /// Adds a batch of data, whose offsets are assigned.
    pub(crate) fn append_data(&mut self, header: &BatchHeader, first_offset: LogOffsetMetadata) -> Result<()> {
        self.check_epoch(header.producer_epoch(), header.base_offset(), 0)?;
        if self.from_client {
            self.check_sequence(header.producer_epoch(), header.base_sequence(), header.base_offset())?;
        }
        let batch = BatchMetadata {
            last_sequence: header.last_sequence(),
            last_offset: header.last_offset(),
            offset_delta: header.last_offset_delta(),
            timestamp: header.max_timestamp(),
        };
        self.updated.add_batch(header.producer_epoch(), batch);
        match (self.updated.current_txn_first_offset, header.is_transactional()) {
            (Some(_), false) => Err(LogError::InvalidTxnState(format!(
                "expected transactional write from producer {} at offset {}",
                header.producer_id(),
                header.base_offset()
            ))),
            (None, true) => {
                self.updated.current_txn_first_offset = Some(header.base_offset());
                let txn = TxnMetadata { producer_id: header.producer_id(), first_offset, last_offset: None };
                self.started.push(txn);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Adds a transaction marker; gives the transaction that it ends.
    pub(crate) fn append_end_txn(
        &mut self,
        header: &BatchHeader,
        marker: EndTxnMarker,
        transaction_version: i16,
    ) -> Result<Option<CompletedTxn>> {
        let offset = header.base_offset();
        self.check_epoch(header.producer_epoch(), offset, transaction_version)?;
        if self.updated.coordinator_epoch > marker.coordinator_epoch && !self.from_replication {
            return Err(LogError::TransactionCoordinatorFenced(format!(
                "invalid coordinator epoch for producer id {} at offset {offset}: {} (zombie), {} (current)",
                header.producer_id(),
                marker.coordinator_epoch,
                self.updated.coordinator_epoch
            )));
        }
        let completed = self.updated.current_txn_first_offset.map(|first_offset| CompletedTxn {
            producer_id: header.producer_id(),
            first_offset,
            last_offset: offset,
            is_aborted: marker.is_abort,
        });
        self.updated.end_transaction(header.producer_epoch(), marker.coordinator_epoch, marker.timestamp);
        Ok(completed)
    }

    fn check_epoch(&self, producer_epoch: i16, offset: i64, transaction_version: i16) -> Result<()> {
        let current = self.updated.producer_epoch;
        // KIP-890: a marker of transaction version 2 bumps the epoch, an equal one is of an older transaction.
        let strict = transaction_version >= 2;
        let is_invalid = if strict { producer_epoch <= current } else { producer_epoch < current };
        if !is_invalid || self.from_replication {
            return Ok(());
        }
        let may_be_retry = self.updated.current_txn_first_offset.is_none() || producer_epoch == i16::MAX;
        if strict && producer_epoch == current && may_be_retry {
            return Ok(());
        }
        Err(LogError::InvalidProducerEpoch(format!(
            "epoch of producer {} at offset {offset} is {producer_epoch}, which is {} the last seen epoch {current}",
            self.producer_id(),
            if strict { "not above" } else { "below" },
        )))
    }

    fn check_sequence(&self, producer_epoch: i16, first_sequence: i32, offset: i64) -> Result<()> {
        let refuse = |what: String| {
            let producer = self.producer_id();
            Err(LogError::OutOfOrderSequence(format!("{what} for producer {producer} at offset {offset}")))
        };
        if let Some(asked_for) = self.asked_for {
            if asked_for.supports_epoch_bump && first_sequence != 0 && self.current.is_empty() {
                return refuse(format!(
                    "invalid sequence number {first_sequence}, where a producer of transaction version 2 without state \
                     begins at 0,"
                ));
            }
            if first_sequence > asked_for.lowest_sequence {
                return refuse(format!(
                    "out of order sequence number {first_sequence} (earliest seen sequence number {})",
                    asked_for.lowest_sequence
                ));
            }
        }
        if producer_epoch != self.updated.producer_epoch {
            // With no epoch known the producer may have been forgotten: any sequence may be right.
            if first_sequence != 0 && self.updated.producer_epoch != -1 {
                return refuse(format!(
                    "invalid sequence number {first_sequence} of new epoch {producer_epoch} (current epoch {})",
                    self.updated.producer_epoch
                ));
            }
            return Ok(());
        }
        let last = if !self.updated.is_empty() {
            self.updated.last_sequence()
        } else if producer_epoch == self.current.producer_epoch {
            self.current.last_sequence()
        } else {
            NO_SEQUENCE
        };
        let in_sequence = i64::from(first_sequence) == i64::from(last) + 1 || (first_sequence == 0 && last == i32::MAX);
        if self.current.producer_epoch != -1 && !in_sequence {
            return refuse(format!(
                "out of order sequence number {first_sequence} (current end sequence number {last})"
            ));
        }
        Ok(())
    }
}
