//! The answer for one partition, read record by record.

use std::collections::HashSet;

use bytes::Bytes;
use vltava_protocol::messages::fetch_response::AbortedTransaction;
use vltava_protocol::record::control::ControlRecordType;
use vltava_protocol::record::{Decompressor, RecordBatch, RecordBatches, RecordError, RecordScanner};

use super::Asked;
use super::tally::AnswerId;
use crate::config::IsolationLevel;
use crate::consumer::records::PartitionRecords;
use crate::consumer::subscription::FetchEpoch;
use crate::metrics::Amount;
use crate::{ClientError, TopicPartition};

/// What an answer brought for one partition.
#[derive(Debug)]
pub(crate) struct CompletedFetch {
    pub(crate) partition: TopicPartition,
    /// The partition's [`fetch_epoch`](crate::consumer::subscription::PartitionState::fetch_epoch)
    /// when the request was sent.
    pub(crate) fetch_epoch: FetchEpoch,
    /// Size of the batches that have not been read, in bytes.
    pub(crate) bytes_left: usize,
    next_offset: i64,
    /// Behind the batch that was begun last.
    batch_end: i64,
    last_epoch: Option<i32>,
    batches: RecordBatches,
    current: Option<Current>,
    /// Sorted, the first one at the end.
    aborted: Vec<AbortedTransaction>,
    aborted_producers: HashSet<i64>,
    failure: Option<ClientError>,
    any_read: bool,
    /// Which answer brought it.
    pub(crate) answer: AnswerId,
    /// How much was read, decompressed.
    pub(crate) amount: Amount,
}

/// A batch that is being read.
#[derive(Debug)]
struct Current {
    batch: RecordBatch,
    records: RecordScanner,
}

/// How batches are read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReadOptions {
    pub(crate) isolation: IsolationLevel,
    pub(crate) check_crcs: bool,
}

impl CompletedFetch {
    pub(crate) fn new(
        partition: TopicPartition,
        answer: AnswerId,
        asked: Asked,
        records: Bytes,
        aborted: Option<Vec<AbortedTransaction>>,
    ) -> Self {
        let mut aborted = aborted.unwrap_or_default();
        aborted.sort_by_key(|transaction| std::cmp::Reverse(transaction.first_offset));
        Self {
            partition,
            fetch_epoch: asked.fetch_epoch,
            bytes_left: records.len(),
            next_offset: asked.offset,
            batch_end: asked.offset,
            last_epoch: None,
            batches: RecordBatches::new(records),
            current: None,
            aborted,
            aborted_producers: HashSet::new(),
            failure: None,
            any_read: false,
            answer,
            amount: Amount::default(),
        }
    }

    /// The offset of the next record to return.
    pub(crate) fn next_offset(&self) -> i64 {
        self.next_offset
    }

    /// The leader epoch of the last batch that was read.
    pub(crate) fn last_epoch(&self) -> Option<i32> {
        self.last_epoch
    }

    /// Whether anything was read from it.
    pub(crate) fn any_read(&self) -> bool {
        self.any_read
    }

    /// Reads up to `max` records into `out`. Returns whether all have been read.
    ///
    /// # Errors
    /// For a batch or record that cannot be read, if no record before it was returned by this call;
    /// the same error comes back until the position is moved by [`Consumer::seek`](crate::Consumer::seek).
    pub(crate) fn read(
        &mut self,
        max: usize,
        options: ReadOptions,
        decompressor: &mut Decompressor,
        out: &mut PartitionRecords,
    ) -> Result<bool, ClientError> {
        if let Some(error) = &self.failure {
            return Err(error.clone());
        }
        let limit = out.len() + max;
        let start = out.len();
        let done = loop {
            match self.read_some(limit, options, decompressor, out) {
                Ok(Progress::Limit) => break false,
                Ok(Progress::End) => break true,
                Ok(Progress::Batch) => {}
                Err(reason) => {
                    let error = self.unreadable(&reason);
                    self.failure = Some(error.clone());
                    if out.len() == start {
                        return Err(error);
                    }
                    break false;
                }
            }
        };
        out.set_next_offset(self.next_offset, self.last_epoch);
        Ok(done)
    }

    fn unreadable(&self, reason: &RecordError) -> ClientError {
        let (partition, offset) = (self.partition.clone(), self.next_offset);
        match *reason {
            RecordError::DecompressedTooLarge { limit } => {
                ClientError::DecompressedBatchTooLarge { partition, offset, next_offset: self.batch_end, limit }
            }
            _ => ClientError::RecordsUnreadable { partition, offset, reason: reason.to_string().into() },
        }
    }

    /// Reads from the current batch, or goes to the next one.
    fn read_some(
        &mut self,
        limit: usize,
        options: ReadOptions,
        decompressor: &mut Decompressor,
        out: &mut PartitionRecords,
    ) -> Result<Progress, RecordError> {
        let Some(current) = &mut self.current else {
            if out.len() >= limit {
                return Ok(Progress::Limit);
            }
            return self.next_batch(options, decompressor);
        };
        // Records before the position were returned by an earlier fetch of the same batch.
        let spans = out.spans_mut();
        let (before, begun) = (spans.len(), current.records.bytes_read());
        let mut outcome =
            current.records.scan(self.next_offset, limit.saturating_sub(before), spans).map(|()| Progress::Batch);
        if let Some(last) = spans.get(before..).and_then(<[_]>::last) {
            self.next_offset = last.offset() + 1;
        }
        self.amount += Amount { bytes: current.records.bytes_read() - begun, records: spans.len() - before };
        self.any_read = true;
        out.end_batch(current.records.bytes(), current.batch.timestamp_type(), self.last_epoch);
        if outcome.is_ok() {
            if current.records.is_finished() {
                // The last records may have been compacted away: the batch ends behind them.
                self.next_offset = self.next_offset.max(current.batch.next_offset());
                self.current = None;
            } else {
                outcome = Ok(Progress::Limit);
            }
        }
        outcome
    }

    fn next_batch(&mut self, options: ReadOptions, decompressor: &mut Decompressor) -> Result<Progress, RecordError> {
        let Some(batch) = self.batches.next().transpose()? else {
            self.bytes_left = 0;
            return Ok(Progress::End);
        };
        self.bytes_left = self.bytes_left.saturating_sub(batch.size());
        self.any_read = true;
        self.batch_end = batch.next_offset();
        let epoch = batch.partition_leader_epoch();
        self.last_epoch = (epoch >= 0).then_some(epoch);
        if options.check_crcs {
            batch.verify_crc()?;
        }
        if options.isolation == IsolationLevel::ReadCommitted && batch.has_producer_id() {
            self.begin_aborted_up_to(batch.last_offset());
            if is_abort_marker(&batch, decompressor)? {
                self.aborted_producers.remove(&batch.producer_id());
            } else if batch.is_transactional() && self.aborted_producers.contains(&batch.producer_id()) {
                self.next_offset = self.next_offset.max(batch.next_offset());
                return Ok(Progress::Batch);
            }
        }
        if batch.is_control() {
            // Markers are not for applications.
            self.next_offset = self.next_offset.max(batch.next_offset());
            return Ok(Progress::Batch);
        }
        let records = batch.decode(decompressor)?.into_scanner();
        self.current = Some(Current { batch, records });
        Ok(Progress::Batch)
    }

    /// Takes note of aborted transactions that began at or before `offset`.
    fn begin_aborted_up_to(&mut self, offset: i64) {
        while let Some(transaction) = self.aborted.pop_if(|transaction| transaction.first_offset <= offset) {
            self.aborted_producers.insert(transaction.producer_id);
        }
    }
}

/// What one step of reading came to.
enum Progress {
    /// The limit is reached, or records are left.
    Limit,
    /// A batch was begun or ended: go on.
    Batch,
    /// All has been read.
    End,
}

fn is_abort_marker(batch: &RecordBatch, decompressor: &mut Decompressor) -> Result<bool, RecordError> {
    if !batch.is_control() {
        return Ok(false);
    }
    match batch.records(decompressor)?.next() {
        Some(record) => Ok(ControlRecordType::parse(record?.key())? == ControlRecordType::Abort),
        None => Ok(false),
    }
}
