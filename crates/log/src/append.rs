//! Checking records before they are appended: everything that needs neither the log nor its lock.

use bytes::Bytes;
use vltava_protocol::record::validate::{self, AppendRules, BatchValidator, ValidationError};
use vltava_protocol::record::{
    Codec, Compression, Decompressor, NO_TIMESTAMP, RecordBatch, RecordBatchHeader, RecordBatches,
    RecordError as BatchError, TimestampType,
};
use vltava_protocol::{ErrorCode, TimestampMs};

use crate::batch::end_txn_marker_of;
use crate::config::{BrokerCompression, LogConfig, MessageTimestampType};
use crate::error::{LogError, RecordError, Result};
use crate::producer_state::{EndTxnMarker, VerificationGuard};

/// Where an append comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendOrigin {
    /// A client: everything is checked, control records are refused.
    Client,
    /// A coordinator in this broker: no sequence numbers, control records allowed.
    Coordinator,
    /// The leader of a Raft quorum: offsets and leader epochs are set already.
    RaftLeader,
    /// A leader that this replica follows: what it accepted is taken as it is.
    Replication,
}

/// Who appends, and when.
#[derive(Clone, Copy, Debug)]
pub struct AppendContext {
    /// Where the records come from.
    pub origin: AppendOrigin,
    /// The epoch of the partition's leader.
    pub leader_epoch: i32,
    /// The version of the transaction protocol that wrote the markers among the records (KIP-890); of no meaning
    /// for other records.
    pub transaction_version: i16,
    /// What [`Log::start_verification`](crate::Log::start_verification) gave for the transaction of a client's or a
    /// coordinator's batch, if the transaction coordinator knows it.
    pub verification_guard: VerificationGuard,
    /// The clock, in milliseconds since the epoch.
    pub now_ms: i64,
    /// The most bytes that the records of a client's or coordinator's batch may decompress to.
    pub max_decompressed_bytes: usize,
}

impl AppendContext {
    /// An append of a client's records, which decompress to no more than 128 MiB per batch.
    pub fn client(leader_epoch: i32, now_ms: i64) -> Self {
        Self {
            origin: AppendOrigin::Client,
            leader_epoch,
            transaction_version: 0,
            verification_guard: VerificationGuard::SENTINEL,
            now_ms,
            max_decompressed_bytes: Decompressor::DEFAULT_LIMIT,
        }
    }

    /// An append of a coordinator's own records.
    pub fn coordinator(leader_epoch: i32, now_ms: i64) -> Self {
        Self { origin: AppendOrigin::Coordinator, ..Self::client(leader_epoch, now_ms) }
    }

    /// An append of records that the leader sent.
    pub fn replication(leader_epoch: i32, now_ms: i64) -> Self {
        Self { origin: AppendOrigin::Replication, ..Self::client(leader_epoch, now_ms) }
    }
}

/// A batch that may be written.
#[derive(Debug)]
pub(crate) struct PreparedBatch {
    pub(crate) header: RecordBatchHeader,
    pub(crate) records: Bytes,
    pub(crate) marker: Option<EndTxnMarker>,
}

/// Records that were checked and can be appended with [`Log::append_prepared`](crate::Log::append_prepared).
#[derive(Debug)]
pub struct PreparedAppend {
    pub(crate) batches: Vec<PreparedBatch>,
    pub(crate) context: AppendContext,
    pub(crate) max_timestamp: i64,
    /// Of the first batch before offsets are assigned.
    pub(crate) source_compression: Compression,
    pub(crate) size: usize,
}

impl PreparedAppend {
    /// Bytes to be written.
    pub fn size(&self) -> usize {
        self.size
    }

    /// The codec that the records came with.
    pub fn source_compression(&self) -> Compression {
        self.source_compression
    }
}

/// Checks records as Kafka's leader does: size, checksum, every record's form, keys in compacted topics, timestamps;
/// compresses anew where `compression.type` asks for it. Keeps the codecs' state between calls; one per thread.
#[derive(Debug, Default)]
pub struct Appender {
    validator: BatchValidator,
}

impl Appender {
    /// With codecs that are set up when first needed.
    pub fn new() -> Self {
        Self::default()
    }

    /// Checks `records`, one or more batches, for a log with the settings `config`. A batch at the end that is cut
    /// off is left away.
    ///
    /// # Errors
    /// [`LogError::InvalidRecord`], [`LogError::InvalidTimestamp`], [`LogError::CorruptRecord`],
    /// [`LogError::RecordTooLarge`].
    pub fn prepare(&mut self, records: Bytes, context: AppendContext, config: &LogConfig) -> Result<PreparedAppend> {
        let rules = rules(config, &context)?;
        let mut prepared = PreparedAppend {
            batches: Vec::with_capacity(1),
            context,
            max_timestamp: NO_TIMESTAMP,
            source_compression: Compression::None,
            size: 0,
        };
        let mut last_offset = -1;
        let mut position = 0;
        for batch in RecordBatches::new(records.clone()) {
            let batch = batch.map_err(|error| refuse_unparsed(error, records.get(position..).unwrap_or_default()))?;
            position += batch.size();
            if context.origin == AppendOrigin::Replication && batch.partition_leader_epoch() > context.leader_epoch {
                // The leader went on in a later epoch than this replica knows of: it will be fetched again.
                break;
            }
            check_batch(&batch, &context, config)?;
            if context.origin == AppendOrigin::Client && !prepared.batches.is_empty() {
                return Err(LogError::invalid_record("Compressed outer record has more than one batch"));
            }
            if prepared.batches.is_empty() {
                prepared.source_compression = batch.compression();
            }
            let prepared_batch = match &rules {
                Some(rules) => self.validate(&batch, rules, context.now_ms, config)?,
                None => {
                    if batch.last_offset() <= last_offset {
                        return Err(LogError::invalid_record(format!(
                            "out of order offsets found in append: {} after {last_offset}",
                            batch.last_offset()
                        )));
                    }
                    last_offset = batch.last_offset();
                    let marker = end_txn_marker_of(&batch);
                    PreparedBatch { header: *batch.header(), records: batch.raw_records_bytes(), marker }
                }
            };
            prepared.max_timestamp = prepared.max_timestamp.max(prepared_batch.header.max_timestamp());
            prepared.size += prepared_batch.header.size();
            prepared.batches.push(prepared_batch);
        }
        if prepared.batches.is_empty() && context.origin != AppendOrigin::Replication {
            return Err(LogError::invalid_record("Record batch has no batches at all"));
        }
        Ok(prepared)
    }

    fn validate(
        &mut self,
        batch: &RecordBatch,
        rules: &AppendRules,
        now_ms: i64,
        config: &LogConfig,
    ) -> Result<PreparedBatch> {
        // Offset and leader epoch are not covered by the checksum: they are set when the log is locked.
        let epoch = batch.partition_leader_epoch();
        let validated = self.validator.validate(batch, rules, 0, epoch, TimestampMs(now_ms)).map_err(refuse)?;
        if validated.was_rebuilt() {
            check_size(validated.size(), config)?;
        }
        let records = validated.records().clone();
        Ok(PreparedBatch { header: *validated.header(), records, marker: end_txn_marker_of(batch) })
    }
}

/// What is checked of a whole batch before its records are looked at.
fn check_batch(batch: &RecordBatch, context: &AppendContext, config: &LogConfig) -> Result<()> {
    match context.origin {
        AppendOrigin::RaftLeader if batch.partition_leader_epoch() != context.leader_epoch => {
            return Err(LogError::invalid_record(format!(
                "append from Raft leader did not set the batch epoch correctly, expected {} but the batch has {}",
                context.leader_epoch,
                batch.partition_leader_epoch()
            )));
        }
        AppendOrigin::Client if batch.base_offset() != 0 => {
            return Err(LogError::invalid_record(format!(
                "The baseOffset of the record batch in the append should be 0, but it is {}",
                batch.base_offset()
            )));
        }
        _ => {}
    }
    // What the leader accepted, its followers take, whatever their configuration says.
    if context.origin != AppendOrigin::Replication {
        check_size(batch.size(), config)?;
    }
    batch.verify_crc().map_err(refuse_batch)
}

fn check_size(size: usize, config: &LogConfig) -> Result<()> {
    if size as u64 > u64::try_from(config.max_message_bytes).unwrap_or(0) {
        return Err(LogError::RecordTooLarge(format!(
            "The record batch size in the append is {size} bytes which exceeds the maximum configured value of {}",
            config.max_message_bytes
        )));
    }
    Ok(())
}

/// The rules for records that get their offsets here; `None` for those that have them.
fn rules(config: &LogConfig, context: &AppendContext) -> Result<Option<AppendRules>> {
    let origin = match context.origin {
        AppendOrigin::Client => validate::AppendOrigin::Client,
        AppendOrigin::Coordinator => validate::AppendOrigin::Coordinator,
        AppendOrigin::RaftLeader | AppendOrigin::Replication => return Ok(None),
    };
    Ok(Some(AppendRules {
        codec: target_codec(config)?,
        is_compacted: config.compact,
        timestamp_type: match config.message_timestamp_type {
            MessageTimestampType::CreateTime => TimestampType::CreateTime,
            MessageTimestampType::LogAppendTime => TimestampType::LogAppendTime,
        },
        timestamp_before_max_ms: config.message_timestamp_before_max_ms,
        timestamp_after_max_ms: config.message_timestamp_after_max_ms,
        origin,
        max_decompressed_bytes: context.max_decompressed_bytes,
    }))
}

fn target_codec(config: &LogConfig) -> Result<Option<Codec>> {
    let (compression, level) = match config.compression_type {
        BrokerCompression::Producer => return Ok(None),
        BrokerCompression::Uncompressed => return Ok(Some(Codec::from(Compression::None))),
        BrokerCompression::Snappy => return Ok(Some(Codec::from(Compression::Snappy))),
        BrokerCompression::Gzip => (Compression::Gzip, config.compression_gzip_level),
        BrokerCompression::Lz4 => (Compression::Lz4, config.compression_lz4_level),
        BrokerCompression::Zstd => (Compression::Zstd, config.compression_zstd_level),
    };
    let codec = Codec::with_level(compression, level).map_err(|e| LogError::InvalidConfig(e.to_string()))?;
    Ok(Some(codec))
}

fn refuse(error: ValidationError) -> LogError {
    match error {
        ValidationError::InvalidRecords { is_timestamp, message, records } => {
            let record_errors =
                records.into_iter().map(|r| RecordError { batch_index: r.index, message: r.message }).collect();
            if is_timestamp {
                LogError::InvalidTimestamp { message, record_errors }
            } else {
                LogError::InvalidRecord { message, record_errors }
            }
        }
        ValidationError::Batch(error) => refuse_batch(error),
        other => LogError::invalid_record(other.to_string()),
    }
}

/// A batch of which the header cannot be read. The checksum tells damage on the way, which is worth another try, from
/// what the producer made.
fn refuse_unparsed(error: BatchError, bytes: &[u8]) -> LogError {
    const CRC: usize = 17;
    const COVERED: usize = 21;
    let size = bytes.get(8..12).and_then(|length| length.try_into().ok()).map_or(0, u32::from_be_bytes) as usize + 12;
    let covered = bytes.get(COVERED..size).unwrap_or_default();
    let is_damaged = bytes.get(CRC..COVERED) != Some(&crc_fast::crc32_iscsi(covered).to_be_bytes());
    match error {
        BatchError::UnknownCompression { .. } if is_damaged => LogError::CorruptRecord(error.to_string()),
        error => refuse_batch(error),
    }
}

fn refuse_batch(error: BatchError) -> LogError {
    match error {
        BatchError::UnsupportedMagic { magic } => LogError::invalid_record(format!(
            "Only record batches with magic version 2 are allowed, not message sets with magic {magic}"
        )),
        // A producer splits a batch that is answered so, and each part may be within the limit.
        BatchError::DecompressedTooLarge { limit } => LogError::RecordTooLarge(format!(
            "The records of the batch in the append decompress to more than the {limit} bytes that the broker's \
             max.decompressed.batch.bytes allows"
        )),
        error => match error.error_code() {
            ErrorCode::CorruptMessage => LogError::CorruptRecord(error.to_string()),
            ErrorCode::MessageTooLarge => LogError::RecordTooLarge(error.to_string()),
            ErrorCode::UnknownServerError => LogError::Compression(error.to_string()),
            _ => LogError::invalid_record(error.to_string()),
        },
    }
}
