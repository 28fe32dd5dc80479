//! A partition: the one owner of its log, behind a short lock.
//!
//! There is one replica, so the high watermark is the end of the log. Checking a batch, and reading
//! from a file, happen outside of the lock.

mod failure;
mod leadership;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use bytes::Bytes;
use vltava_log::manager::SharedLog;
use vltava_log::{
    AppendContext, Appender, FetchIsolation, LogConfig, LogError, LogStartOffsetIncrementReason, ReadPlan,
    TimestampQuery, TransactionStart, VerificationGuard,
};
use vltava_protocol::messages::describe_producers_response::ProducerState;
use vltava_protocol::record::control::EndTransactionMarker;
use vltava_protocol::wire::{FileRecords, Records};
use vltava_protocol::{ErrorCode, TimestampMs, Uuid};

pub(crate) use failure::{AppendFailure, ReadFailure};
use leadership::Listener;
pub(crate) use leadership::{LeaderListener, Led};

use crate::metrics::TopicMetrics;
use crate::waiting::{Stable, Waiters};

thread_local! {
    /// The codecs and buffers of the checks before an append: one set for each worker thread.
    static APPENDER: RefCell<Appender> = RefCell::new(Appender::new());
}

/// Up to where a reader may read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Isolation {
    /// The high watermark.
    ReadUncommitted,
    /// The last stable offset: before any transaction that is still open.
    ReadCommitted,
    /// The end of the log, committed or not: for a coordinator of this broker.
    LogEnd,
}

impl Isolation {
    pub(crate) fn from_wire(level: i8) -> Self {
        if level == 1 { Self::ReadCommitted } else { Self::ReadUncommitted }
    }
}

/// What an append to a partition came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Appended {
    pub(crate) base_offset: i64,
    /// -1 unless the broker sets timestamps.
    pub(crate) log_append_time_ms: i64,
    pub(crate) log_start_offset: i64,
    /// The end of the log after it.
    end_offset: i64,
}

/// The end of a transaction, as its coordinator has it written into a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EndTransaction {
    pub(crate) producer_id: i64,
    pub(crate) producer_epoch: i16,
    pub(crate) coordinator_epoch: i32,
    pub(crate) committed: bool,
    /// From 2 on the marker's epoch is above that of what it ends (KIP-890).
    pub(crate) transaction_version: i16,
}

/// What a partition has for a reader.
#[derive(Debug, Default)]
pub(crate) struct ReadData {
    /// `None` where there are none.
    batches: Option<ReadPlan>,
    pub(crate) high_watermark: i64,
    pub(crate) last_stable_offset: i64,
    pub(crate) log_start_offset: i64,
    /// Producer and first offset; given to readers of committed records only.
    pub(crate) aborted: Option<Vec<(i64, i64)>>,
    /// Epoch and end offset, where the reader's log went another way.
    pub(crate) diverging: Option<(i32, i64)>,
}

impl ReadData {
    /// The batches, to be sent: where they lie, if there is much of them.
    pub(crate) fn records(&self) -> Result<Records, ReadFailure> {
        /// Below, they are copied into the one write of the answer, which a file would cut in three. Not measured.
        const SENT_FROM_FILE: usize = 32 * 1024;
        let Some(plan) = self.batches.as_ref().filter(|plan| plan.len() >= SENT_FROM_FILE) else {
            return self.read().map(Records::Memory);
        };
        let range = plan.file_range().map_err(|error| failure::code(&error))?;
        Ok(range.map_or_else(Records::default, |(file, position)| {
            Records::File(FileRecords { file: Arc::clone(file), position, len: plan.len() })
        }))
    }

    /// The batches, read.
    pub(crate) fn read(&self) -> Result<Bytes, ReadFailure> {
        self.batches.as_ref().map_or(Ok(Bytes::new()), |plan| plan.read().map_err(|error| failure::code(&error)))
    }
}

/// An offset that was looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FoundOffset {
    pub(crate) offset: i64,
    pub(crate) timestamp: i64,
    pub(crate) leader_epoch: i32,
}

impl FoundOffset {
    pub(crate) const NONE: Self = Self { offset: -1, timestamp: -1, leader_epoch: -1 };
}

/// What a partition's log is like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LogView {
    /// In bytes.
    pub(crate) size: u64,
    pub(crate) start_offset: i64,
    pub(crate) end_offset: i64,
    pub(crate) high_watermark: i64,
    pub(crate) last_stable_offset: i64,
    pub(crate) segments: usize,
    /// That it remembers.
    pub(crate) producers: usize,
}

/// A partition of which this broker is the leader.
#[derive(Debug)]
pub(crate) struct Partition {
    topic: Arc<str>,
    index: i32,
    directory_id: Uuid,
    leader_epoch: AtomicI32,
    log: SharedLog,
    waiters: Waiters,
    listener: Listener,
    gone: AtomicBool,
    /// Of its topic.
    metrics: Arc<TopicMetrics>,
}

impl Partition {
    pub(crate) fn new(
        topic: Arc<str>,
        index: i32,
        directory_id: Uuid,
        log: SharedLog,
        metrics: Arc<TopicMetrics>,
    ) -> Self {
        Self {
            topic,
            index,
            directory_id,
            leader_epoch: AtomicI32::new(0),
            log,
            waiters: Waiters::default(),
            listener: Listener::default(),
            gone: AtomicBool::new(false),
            metrics,
        }
    }

    pub(crate) fn topic(&self) -> &str {
        &self.topic
    }

    pub(crate) fn index(&self) -> i32 {
        self.index
    }

    pub(crate) fn directory_id(&self) -> Uuid {
        self.directory_id
    }

    /// What its topic counts.
    pub(crate) fn metrics(&self) -> &TopicMetrics {
        &self.metrics
    }

    pub(crate) fn waiters(&self) -> &Waiters {
        &self.waiters
    }

    /// Whether the topic was deleted.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// Notes that the topic is deleted, and lets go who waits for records of it.
    pub(crate) fn set_gone(&self) {
        self.gone.store(true, Ordering::Release);
        self.set_offline();
    }

    /// Notes that nothing more can be had from here, and lets go who waits.
    pub(crate) fn set_offline(&self) {
        self.listener.over();
        self.waiters.wake_all();
    }

    /// Has a listener hear of the high watermark from now on, in place of an earlier one, until the leader epoch is over.
    pub(crate) fn listen(&self, listener: Arc<dyn LeaderListener>) -> Result<Led, ErrorCode> {
        self.listener.set(listener);
        if self.is_gone() {
            self.listener.over();
            return Err(ErrorCode::UnknownTopicOrPartition);
        }
        let log = self.log.lock();
        Ok(Led {
            leader_epoch: self.leader_epoch.load(Ordering::Acquire),
            log_start_offset: log.log_start_offset(),
            end_offset: log.log_end_offset(),
            high_watermark: log.high_watermark(),
        })
    }

    /// Begins a leader epoch at the end of the log.
    pub(crate) fn lead(&self, leader_epoch: i32) -> Result<(), LogError> {
        let mut log = self.log.lock();
        if log.leader_epochs().latest().is_none_or(|entry| entry.epoch < leader_epoch) {
            log.assign_leader_epoch(leader_epoch)?;
        }
        drop(log);
        if self.leader_epoch.swap(leader_epoch, Ordering::AcqRel) != leader_epoch {
            self.listener.over();
        }
        Ok(())
    }

    /// Checks the leader epoch that a client believes in; -1 is not checked.
    pub(crate) fn check_leader_epoch(&self, current: i32) -> Result<(), ErrorCode> {
        let ours = self.leader_epoch.load(Ordering::Acquire);
        match current {
            ..0 => Ok(()),
            _ if current < ours => Err(ErrorCode::FencedLeaderEpoch),
            _ if current > ours => Err(ErrorCode::UnknownLeaderEpoch),
            _ => Ok(()),
        }
    }

    pub(crate) fn log_start_offset(&self) -> i64 {
        self.log.lock().log_start_offset()
    }

    /// What the log is like now.
    pub(crate) fn log_view(&self) -> LogView {
        let log = self.log.lock();
        LogView {
            size: log.size(),
            start_offset: log.log_start_offset(),
            end_offset: log.log_end_offset(),
            high_watermark: log.high_watermark(),
            last_stable_offset: log.last_stable_offset(),
            segments: log.segment_count(),
            producers: log.producer_count(),
        }
    }

    pub(crate) fn size_bytes(&self) -> u64 {
        self.log.lock().size()
    }

    /// Begins to ask whether a transaction is open, before its first batch here is appended;
    /// [`VerificationGuard::SENTINEL`] where it is open here already.
    pub(crate) fn start_verification(
        &self,
        start: &TransactionStart,
        now_ms: i64,
    ) -> Result<VerificationGuard, ErrorCode> {
        if self.is_gone() {
            return Err(ErrorCode::UnknownTopicOrPartition);
        }
        self.log.lock().start_verification(start, now_ms).map_err(|error| failure::code(&error))
    }

    /// Appends what a client sent. `guard` is what [`Self::start_verification`] gave, once the transaction was found open.
    pub(crate) fn append_from_client(
        &self,
        records: &Bytes,
        guard: VerificationGuard,
        now_ms: i64,
    ) -> Result<Appended, AppendFailure> {
        let context = AppendContext::client(self.leader_epoch.load(Ordering::Acquire), now_ms);
        self.append(records, AppendContext { verification_guard: guard, ..context })
    }

    /// Appends what a coordinator of this broker wrote in a leader epoch; gives the end of the log after it. `guard` as
    /// for [`Self::append_from_client`].
    pub(crate) fn append_from_coordinator(
        &self,
        records: &Bytes,
        leader_epoch: i32,
        guard: VerificationGuard,
        now_ms: i64,
    ) -> Result<i64, AppendFailure> {
        self.check_leads_in(leader_epoch)?;
        let context = AppendContext::coordinator(leader_epoch, now_ms);
        let appended = self.append(records, AppendContext { verification_guard: guard, ..context })?;
        Ok(appended.end_offset)
    }

    /// Appends the marker that ends a transaction: in whatever epoch this broker leads, or in one that a coordinator
    /// names whose log this is. Gives the end of the log after it; it is committed when the high watermark is there,
    /// which it is when this returns, as there is one replica.
    ///
    /// `INVALID_PRODUCER_EPOCH` for a marker that comes too late, `TRANSACTION_COORDINATOR_FENCED` for one of a
    /// coordinator that has a successor.
    #[allow(dead_code)] // Called by the transaction coordinator only.
    pub(crate) fn append_end_transaction_marker(
        &self,
        end: &EndTransaction,
        leader_epoch: Option<i32>,
        now_ms: i64,
    ) -> Result<i64, AppendFailure> {
        let leader_epoch = match leader_epoch {
            Some(leader_epoch) => self.check_leads_in(leader_epoch).map(|()| leader_epoch)?,
            None => self.leader_epoch.load(Ordering::Acquire),
        };
        let marker = EndTransactionMarker { committed: end.committed, coordinator_epoch: end.coordinator_epoch };
        let records = marker
            .to_batch(TimestampMs(now_ms), end.producer_id, end.producer_epoch)
            .map_err(|error| AppendFailure::new(error.error_code(), error.to_string()))?;
        let context = AppendContext::coordinator(leader_epoch, now_ms);
        let context = AppendContext { transaction_version: end.transaction_version, ..context };
        self.append(&records, context).map(|appended| appended.end_offset)
    }

    fn check_leads_in(&self, leader_epoch: i32) -> Result<(), ErrorCode> {
        if leader_epoch == self.leader_epoch.load(Ordering::Acquire) {
            Ok(())
        } else {
            Err(ErrorCode::NotLeaderOrFollower)
        }
    }

    fn append(&self, records: &Bytes, context: AppendContext) -> Result<Appended, AppendFailure> {
        let appended = self.append_to_log(records, context);
        match &appended {
            Ok(appended) => self.metrics.appended(appended.end_offset - appended.base_offset, records.len()),
            Err(failure) => self.metrics.refused(failure.code, records.len()),
        }
        appended
    }

    fn append_to_log(&self, records: &Bytes, context: AppendContext) -> Result<Appended, AppendFailure> {
        if self.is_gone() {
            return Err(ErrorCode::UnknownTopicOrPartition.into());
        }
        let (config, max_decompressed_bytes) = {
            let log = self.log.lock();
            (Arc::clone(log.config()), log.max_decompressed_batch_bytes())
        };
        let context = AppendContext { max_decompressed_bytes, ..context };
        let prepare = |appender: &RefCell<Appender>| appender.borrow_mut().prepare(records.clone(), context, &config);
        let prepared = APPENDER.with(prepare).map_err(|error| self.refused(error))?;
        let mut log = self.log.lock();
        let stable_before = log.last_stable_offset();
        let info = log.append_prepared(prepared);
        let info = info.map_err(|error| AppendFailure::of_log(error, log.log_start_offset()))?;
        let advanced = log.advance_high_watermark_to_log_end();
        advanced.map_err(|error| AppendFailure::of_log(error, log.log_start_offset()))?;
        let high_watermark = log.high_watermark();
        let stable = match log.last_stable_offset() {
            after if after == stable_before => Stable::Still,
            _ if stable_before == info.first_offset => Stable::Grown,
            _ => Stable::Jumped,
        };
        drop(log);
        let appended = Appended {
            base_offset: info.first_offset,
            log_append_time_ms: info.log_append_time,
            log_start_offset: info.log_start_offset,
            end_offset: info.last_offset.saturating_add(1),
        };
        self.listener.committed(high_watermark);
        self.waiters.grown(info.size, stable);
        Ok(appended)
    }

    fn refused(&self, error: LogError) -> AppendFailure {
        AppendFailure::of_log(error, self.log_start_offset())
    }

    /// Reads whole batches from the one that holds `offset` on, up to `max_bytes`; one batch even
    /// if it is larger, where `min_one` says so.
    pub(crate) fn read(
        &self,
        offset: i64,
        last_fetched_epoch: i32,
        max_bytes: usize,
        min_one: bool,
        isolation: Isolation,
    ) -> Result<ReadData, ReadFailure> {
        if self.is_gone() {
            return Err(ErrorCode::UnknownTopicOrPartition);
        }
        let mut log = self.log.lock();
        let mut data = ReadData {
            high_watermark: log.high_watermark(),
            last_stable_offset: log.last_stable_offset(),
            log_start_offset: log.log_start_offset(),
            ..ReadData::default()
        };
        if last_fetched_epoch >= 0 {
            let end = log.log_end_offset();
            let known = log.leader_epochs().end_offset_for(last_fetched_epoch, end);
            let (epoch, end_offset) = known.ok_or(ErrorCode::OffsetOutOfRange)?;
            if epoch < last_fetched_epoch || end_offset < offset {
                data.diverging = Some((epoch, end_offset));
                return Ok(data);
            }
        }
        let upper = match isolation {
            Isolation::ReadUncommitted => FetchIsolation::HighWatermark,
            Isolation::ReadCommitted => FetchIsolation::TxnCommitted,
            Isolation::LogEnd => FetchIsolation::LogEnd,
        };
        let plan = log.read(offset, max_bytes, upper, min_one).map_err(|error| failure::code(&error))?;
        drop(log);
        if plan.first_entry_incomplete {
            // As Kafka answers: a part of a batch is of no use to a reader, and an error to Apache's consumer.
            return Ok(data);
        }
        if isolation == Isolation::ReadCommitted {
            let aborted = plan.aborted_transactions.iter().flatten();
            data.aborted = Some(aborted.map(|txn| (txn.producer_id, txn.first_offset)).collect());
        }
        data.batches = Some(plan);
        Ok(data)
    }

    /// The end of what a reader may read.
    pub(crate) fn latest_offset(&self, isolation: Isolation) -> FoundOffset {
        let log = self.log.lock();
        let offset = match isolation {
            Isolation::ReadUncommitted => log.high_watermark(),
            Isolation::ReadCommitted => log.last_stable_offset(),
            Isolation::LogEnd => log.log_end_offset(),
        };
        let leader_epoch = self.leader_epoch.load(Ordering::Acquire);
        FoundOffset { offset, timestamp: -1, leader_epoch }
    }

    /// The first offset that can be read.
    pub(crate) fn earliest_offset(&self) -> FoundOffset {
        let log = self.log.lock();
        let offset = log.log_start_offset();
        let leader_epoch = log.leader_epochs().epoch_for_offset(offset).unwrap_or(-1);
        FoundOffset { offset, timestamp: -1, leader_epoch }
    }

    /// The first record with the largest timestamp; none where that is one that a reader may not read yet.
    pub(crate) fn offset_of_max_timestamp(&self, isolation: Isolation) -> Result<FoundOffset, ErrorCode> {
        self.find_by_timestamp(TimestampQuery::MaxTimestamp, isolation)
    }

    /// The first record at or after `timestamp` that a reader may read.
    pub(crate) fn offset_for_timestamp(&self, timestamp: i64, isolation: Isolation) -> Result<FoundOffset, ErrorCode> {
        self.find_by_timestamp(TimestampQuery::At(timestamp), isolation)
    }

    fn find_by_timestamp(&self, query: TimestampQuery, isolation: Isolation) -> Result<FoundOffset, ErrorCode> {
        let end = self.latest_offset(isolation).offset;
        let found = self.log.lock().fetch_offset_by_timestamp(query).map_err(|error| failure::code(&error))?;
        Ok(match found {
            Some(found) if found.offset < end => FoundOffset {
                offset: found.offset,
                timestamp: found.timestamp,
                leader_epoch: found.leader_epoch.unwrap_or(-1),
            },
            _ => FoundOffset::NONE,
        })
    }

    /// The latest epoch up to `epoch` and where its records end.
    pub(crate) fn end_offset_for_epoch(&self, epoch: i32) -> Option<(i32, i64)> {
        let log = self.log.lock();
        if epoch == self.leader_epoch.load(Ordering::Acquire) {
            return Some((epoch, log.log_end_offset()));
        }
        log.leader_epochs().end_offset_for(epoch, log.log_end_offset())
    }

    /// Deletes what lies before `offset`, -1 for everything; gives the new log start offset.
    pub(crate) fn delete_records(&self, offset: i64) -> Result<i64, ErrorCode> {
        let mut log = self.log.lock();
        if !log.config().delete && log.config().compact {
            return Err(ErrorCode::PolicyViolation);
        }
        let high_watermark = log.high_watermark();
        let offset = if offset == -1 { high_watermark } else { offset };
        if offset < 0 || offset > high_watermark {
            return Err(ErrorCode::OffsetOutOfRange);
        }
        let reason = LogStartOffsetIncrementReason::ClientRecordDeletion;
        log.maybe_increment_log_start_offset(offset, reason).map_err(|error| failure::code(&error))?;
        Ok(log.log_start_offset())
    }

    /// What is known of the producers that wrote here, by their id.
    pub(crate) fn active_producers(&self) -> Vec<ProducerState> {
        /// What Kafka tells for a start offset where no transaction is open.
        const NO_TRANSACTION: i64 = -1;
        let log = self.log.lock();
        let described = log.active_producers().map(|entry| ProducerState {
            producer_id: entry.producer_id,
            producer_epoch: i32::from(entry.producer_epoch),
            last_sequence: entry.last_sequence(),
            last_timestamp: entry.last_timestamp,
            coordinator_epoch: entry.coordinator_epoch,
            current_txn_start_offset: entry.current_txn_first_offset.unwrap_or(NO_TRANSACTION),
            ..ProducerState::default()
        });
        let mut producers: Vec<_> = described.collect();
        drop(log);
        producers.sort_unstable_by_key(|producer| producer.producer_id);
        producers
    }

    pub(crate) fn update_config(&self, config: LogConfig) {
        self.log.lock().update_config(config);
    }
}
