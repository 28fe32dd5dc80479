//! Appending.

use std::io::IoSlice;

use bytes::Bytes;
use vltava_protocol::record::{BATCH_OVERHEAD, RecordBatchHeader};

use super::Log;
use crate::append::{AppendContext, AppendOrigin, Appender, PreparedAppend};
use crate::config::MessageTimestampType;
use crate::error::{LogError, Result};
use crate::log_offset::LogOffsetMetadata;
use crate::producer_state::{BatchMetadata, CompletedTxn, ProducerAppendInfo, TransactionStart, VerificationGuard};
use crate::transaction_index::AbortedTransaction;

/// What an append did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppendInfo {
    /// Offset of the first record, -1 where nothing was appended.
    pub first_offset: i64,
    /// Offset of the last record.
    pub last_offset: i64,
    /// The latest timestamp of the records, in milliseconds.
    pub max_timestamp: i64,
    /// The time of the append where the log has `LogAppendTime`, else -1.
    pub log_append_time: i64,
    /// The log start offset at the time.
    pub log_start_offset: i64,
    /// The records were there already: nothing was written, the offsets are the old ones.
    pub is_duplicate: bool,
    /// Bytes written.
    pub size: usize,
}

/// What an append will change in the state of producers.
#[derive(Default)]
struct ProducerUpdates {
    infos: Vec<ProducerAppendInfo>,
    completed: Vec<CompletedTxn>,
    duplicate: Option<BatchMetadata>,
}

impl Log {
    /// Checks records and appends them: [`Appender::prepare`] and [`Log::append_prepared`] in one.
    ///
    /// # Errors
    /// As these two.
    pub fn append_as_leader(
        &mut self,
        appender: &mut Appender,
        records: Bytes,
        context: AppendContext,
    ) -> Result<AppendInfo> {
        let prepared = appender.prepare(records, context, &self.config)?;
        self.append_prepared(prepared)
    }

    /// Appends what a leader sent: offsets and epochs are kept.
    ///
    /// # Errors
    /// As [`Log::append_as_leader`], and [`LogError::UnexpectedAppendOffset`] where it does not continue the log.
    pub fn append_as_follower(
        &mut self,
        appender: &mut Appender,
        records: Bytes,
        leader_epoch: i32,
        now_ms: i64,
    ) -> Result<AppendInfo> {
        self.append_as_leader(appender, records, AppendContext::replication(leader_epoch, now_ms))
    }

    /// Appends checked records in one write, giving them the next offsets. They are readable at once; they are in the
    /// page cache, not necessarily on disk.
    ///
    /// The settings must not have changed since [`Appender::prepare`] in a way that matters to the caller.
    ///
    /// # Errors
    /// [`LogError::OutOfOrderSequence`], [`LogError::InvalidProducerEpoch`], [`LogError::InvalidTxnState`],
    /// [`LogError::TransactionCoordinatorFenced`], [`LogError::RecordBatchTooLarge`]; nothing was appended then.
    /// [`LogError::Storage`] where the disk is full or fails: the log is offline then.
    pub fn append_prepared(&mut self, prepared: PreparedAppend) -> Result<AppendInfo> {
        self.guarded("appending records", |log| log.append_unguarded(prepared))
    }

    fn append_unguarded(&mut self, mut prepared: PreparedAppend) -> Result<AppendInfo> {
        let Some(first_offset) = self.assign_offsets(&mut prepared)? else {
            return Ok(self.append_info(&prepared, -1, -1));
        };
        let last_offset = prepared.batches.last().map_or(-1, |batch| batch.header.last_offset());
        if prepared.size as u64 > self.config.segment_size() {
            return Err(LogError::RecordBatchTooLarge(format!(
                "Message batch size is {} bytes in append to partition {}, which exceeds the maximum configured \
                 segment size of {}.",
                prepared.size, self.topic_partition, self.config.segment_bytes
            )));
        }
        for batch in &prepared.batches {
            let (epoch, offset) = (batch.header.partition_leader_epoch(), batch.header.base_offset());
            if epoch >= 0 && self.leader_epochs.is_update_needed(epoch, offset) {
                self.leader_epochs.assign(epoch, offset)?;
            }
        }
        self.maybe_roll(&prepared, first_offset, last_offset)?;
        let updates = self.check_producers(&prepared)?;
        if let Some(duplicate) = updates.duplicate {
            let mut info = self.append_info(&prepared, duplicate.first_offset(), duplicate.last_offset);
            info.log_append_time = duplicate.timestamp;
            info.is_duplicate = true;
            info.size = 0;
            return Ok(info);
        }
        self.write_batches(&prepared, last_offset)?;
        self.update_log_end_offset(last_offset + 1);
        self.update_high_watermark_with_log_end_offset();
        self.apply_producer_updates(updates)?;
        self.producers.update_map_end_offset(last_offset + 1);
        self.maybe_increment_first_unstable_offset()?;
        if self.log_end_offset() - self.recovery_point >= self.config.flush_messages {
            self.flush_to(self.log_end_offset())?;
        }
        Ok(self.append_info(&prepared, first_offset, last_offset))
    }

    /// Begins to ask whether a transaction is open, before the first batch of it is appended. The guard goes with that
    /// append, once the transaction coordinator has said that it is ([`AppendContext::verification_guard`]);
    /// [`VerificationGuard::SENTINEL`] says that the transaction is open here and nothing need be asked.
    ///
    /// # Errors
    /// [`LogError::InvalidProducerEpoch`] where the producer has a newer epoch; [`LogError::Closed`],
    /// [`LogError::Offline`].
    pub fn start_verification(&mut self, start: &TransactionStart, now_ms: i64) -> Result<VerificationGuard> {
        self.check_usable()?;
        self.producers.start_verification(start, now_ms)
    }

    /// Sets offsets and leader epochs where this replica leads, checks them where it follows. Gives the first offset;
    /// `None` where there is nothing to append.
    fn assign_offsets(&self, prepared: &mut PreparedAppend) -> Result<Option<i64>> {
        let context = prepared.context;
        let next = self.log_end_offset();
        let last = prepared.batches.last().map_or(-1, |batch| batch.header.last_offset());
        match context.origin {
            AppendOrigin::Client | AppendOrigin::Coordinator => {
                let mut offset = next;
                for batch in &mut prepared.batches {
                    batch.header.set_base_offset(offset);
                    batch.header.set_partition_leader_epoch(context.leader_epoch);
                    offset = batch.header.next_offset();
                }
                Ok((!prepared.batches.is_empty()).then_some(next))
            }
            AppendOrigin::RaftLeader | AppendOrigin::Replication => {
                let Some(first) = prepared.batches.first().map(|batch| batch.header.base_offset()) else {
                    return Ok(None);
                };
                if first < next {
                    return Err(LogError::UnexpectedAppendOffset {
                        message: format!(
                            "Unexpected offset in append to {}. First offset {first} is less than the next offset \
                             {next}, last offset in append: {last}. Log start offset = {}",
                            self.topic_partition, self.log_start_offset
                        ),
                        first_offset: first,
                        last_offset: last,
                    });
                }
                Ok(Some(first))
            }
        }
    }

    /// All batches, with their new headers, in one write.
    fn write_batches(&mut self, prepared: &PreparedAppend, last_offset: i64) -> Result<()> {
        let headers: Vec<[u8; BATCH_OVERHEAD]> = prepared.batches.iter().map(|b| b.header.to_bytes()).collect();
        let mut buffers = Vec::with_capacity(2 * headers.len());
        for (header, batch) in headers.iter().zip(&prepared.batches) {
            buffers.push(IoSlice::new(header));
            buffers.push(IoSlice::new(&batch.records));
        }
        let batches = prepared.batches.iter().map(|batch| batch.header);
        self.active_segment()?.append(last_offset, &mut buffers, batches)
    }

    fn append_info(&self, prepared: &PreparedAppend, first_offset: i64, last_offset: i64) -> AppendInfo {
        let is_append_time = self.config.message_timestamp_type == MessageTimestampType::LogAppendTime
            && matches!(prepared.context.origin, AppendOrigin::Client | AppendOrigin::Coordinator);
        AppendInfo {
            first_offset,
            last_offset,
            max_timestamp: prepared.max_timestamp,
            log_append_time: if is_append_time { prepared.context.now_ms } else { -1 },
            log_start_offset: self.log_start_offset,
            is_duplicate: false,
            size: if first_offset < 0 { 0 } else { prepared.size },
        }
    }

    /// What the batches change in the state of producers, and whether they may.
    fn check_producers(&mut self, prepared: &PreparedAppend) -> Result<ProducerUpdates> {
        let mut updates = ProducerUpdates::default();
        let (base, mut position) = (self.active_base_offset(), self.active_segment()?.size());
        let context = &prepared.context;
        for batch in &prepared.batches {
            let header = &batch.header;
            if header.has_producer_id() {
                if context.origin == AppendOrigin::Client
                    && let Some(entry) = self.producers.last_entry(header.producer_id())
                    && let Some(duplicate) = entry.find_duplicate(header)
                {
                    updates.duplicate = Some(duplicate);
                    return Ok(updates);
                }
                let is_checked = matches!(context.origin, AppendOrigin::Client | AppendOrigin::Coordinator);
                if is_checked && header.is_transactional() {
                    let guard = self.dynamic.verifies_transactions().then_some(context.verification_guard);
                    self.producers.check_transaction(header, guard)?;
                }
                let first_offset = LogOffsetMetadata::at(header.base_offset(), base, position);
                let info = self.producer_update(&mut updates.infos, header, context)?;
                if header.is_control() {
                    if let Some(marker) = batch.marker {
                        let version = context.transaction_version;
                        updates.completed.extend(info.append_end_txn(header, marker, version)?);
                    }
                } else {
                    info.append_data(header, first_offset)?;
                }
                if header.is_transactional() {
                    self.producers.end_verification(header);
                }
            }
            position += header.size() as u64;
        }
        Ok(updates)
    }

    fn producer_update<'a>(
        &self,
        infos: &'a mut Vec<ProducerAppendInfo>,
        header: &RecordBatchHeader,
        context: &AppendContext,
    ) -> Result<&'a mut ProducerAppendInfo> {
        let producer_id = header.producer_id();
        let position = infos.iter().position(|info| info.producer_id() == producer_id).unwrap_or_else(|| {
            let info = self.producers.prepare_update(producer_id, context.origin == AppendOrigin::Client);
            infos.push(if context.origin == AppendOrigin::Replication { info.replicated() } else { info });
            infos.len() - 1
        });
        infos
            .get_mut(position)
            .ok_or_else(|| LogError::InvalidArgument(format!("no state of producer {producer_id} is prepared")))
    }

    fn apply_producer_updates(&mut self, updates: ProducerUpdates) -> Result<()> {
        for info in updates.infos {
            self.producers.update(info);
        }
        for txn in &updates.completed {
            let last_stable_offset = self.producers.last_stable_offset(txn);
            if txn.is_aborted {
                self.active_segment()?.txn_index().append(AbortedTransaction {
                    producer_id: txn.producer_id,
                    first_offset: txn.first_offset,
                    last_offset: txn.last_offset,
                    last_stable_offset,
                })?;
            }
            self.producers.complete_txn(txn)?;
        }
        Ok(())
    }
}
