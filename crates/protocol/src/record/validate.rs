//! What a leader does with a produced batch before it appends it: checks the batch and its
//! records, and assigns offsets, leader epoch and timestamps, as Kafka's `LogValidator` does.

use bytes::{Bytes, BytesMut};

use crate::{ErrorCode, TimestampMs};

use super::outline::Inner;
use super::{
    BATCH_OVERHEAD, Codec, Compression, Compressor, Decompressor, NO_TIMESTAMP, RecordBatch, RecordBatchBuilder,
    RecordBatchHeader, RecordError, RecordOutline, TimestampType,
};

/// Who appends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum AppendOrigin {
    /// A client, which may write no control records and has to count right.
    #[default]
    Client,
    /// A coordinator of this broker, which appends its own records and markers.
    Coordinator,
}

/// What a topic demands of the batches appended to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppendRules {
    /// `compression.type` of the topic with its level; `None` for `producer`, which keeps what
    /// the batch has.
    pub codec: Option<Codec>,
    /// Whether `cleanup.policy` has `compact`: every record needs a key then.
    pub is_compacted: bool,
    /// `message.timestamp.type` of the topic.
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`: how far in the past a timestamp may lie.
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`: how far in the future a timestamp may lie.
    pub timestamp_after_max_ms: i64,
    /// Who appends.
    pub origin: AppendOrigin,
    /// The most bytes that the records of a batch may decompress to.
    pub max_decompressed_bytes: usize,
}

impl Default for AppendRules {
    /// Kafka's defaults for a topic, for a client's batch.
    fn default() -> Self {
        Self {
            codec: None,
            is_compacted: false,
            timestamp_type: TimestampType::CreateTime,
            timestamp_before_max_ms: i64::MAX,
            timestamp_after_max_ms: 60 * 60 * 1000,
            origin: AppendOrigin::Client,
            max_decompressed_bytes: Decompressor::DEFAULT_LIMIT,
        }
    }
}

/// Why a batch is not appended: what the answer to the produce request says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ValidationError {
    /// The batch is not one that may be appended.
    #[error("{0}")]
    InvalidBatch(String),
    /// Some records are not ones that may be appended, so none is.
    #[error("{message}")]
    InvalidRecords {
        /// Whether at least one is refused for its timestamp.
        is_timestamp: bool,
        /// What the answer says as a whole.
        message: String,
        /// The records refused, for the answer's `record_errors`; no more than the first 10,000.
        records: Vec<InvalidRecord>,
    },
    /// The batch does not parse or decompress.
    #[error(transparent)]
    Batch(#[from] RecordError),
}

impl ValidationError {
    /// The error code of the answer.
    pub fn error_code(&self) -> ErrorCode {
        match self {
            Self::InvalidBatch(_) | Self::InvalidRecords { is_timestamp: false, .. } => ErrorCode::InvalidRecord,
            Self::InvalidRecords { .. } => ErrorCode::InvalidTimestamp,
            Self::Batch(error) => error.error_code(),
        }
    }

    /// The records refused one by one.
    pub fn invalid_records(&self) -> &[InvalidRecord] {
        match self {
            Self::InvalidRecords { records, .. } => records,
            _ => &[],
        }
    }
}

/// A record that may not be appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidRecord {
    /// Its position in the batch, from 0.
    pub index: i32,
    /// Why.
    pub message: String,
}

/// A batch that may be appended, with all that a leader assigns in its header.
///
/// The records may be those of the produce request, shared: only the header is new. Write
/// [`header_bytes`](Self::header_bytes) and [`records`](Self::records), one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidatedBatch {
    header: RecordBatchHeader,
    records: Bytes,
    was_rebuilt: bool,
}

impl ValidatedBatch {
    /// The header, with offsets, leader epoch, timestamps and CRC set.
    pub fn header(&self) -> &RecordBatchHeader {
        &self.header
    }

    /// The header's bytes.
    pub fn header_bytes(&self) -> [u8; BATCH_OVERHEAD] {
        self.header.to_bytes()
    }

    /// The records behind the header.
    pub fn records(&self) -> &Bytes {
        &self.records
    }

    /// Size of the batch in bytes, which differs from the producer's if it was rebuilt.
    pub fn size(&self) -> usize {
        self.header.size()
    }

    /// Whether the records were written anew, for another codec or for consecutive offsets.
    pub fn was_rebuilt(&self) -> bool {
        self.was_rebuilt
    }

    /// Header and records in one piece, which copies them.
    pub fn to_bytes(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(self.size());
        bytes.extend_from_slice(&self.header_bytes());
        bytes.extend_from_slice(&self.records);
        bytes.freeze()
    }
}

/// Validates batches against the rules of a topic; keeps the codecs' state between batches.
#[derive(Debug, Default)]
pub struct BatchValidator {
    decompressor: Decompressor,
    compressor: Compressor,
}

impl BatchValidator {
    /// Checks a batch, whose CRC has been [verified](RecordBatch::verify_crc), and gives it
    /// `first_offset`, the leader's epoch, and at `now` the timestamp of its append, if the
    /// topic has those. Records are parsed, and decompressed into a kept buffer; nothing is
    /// allocated for a batch that needs no rebuilding, unless its records are larger than
    /// 4 MiB: those are decompressed piece by piece, and no more of them is in memory.
    ///
    /// # Errors
    ///
    /// [`ValidationError`]; nothing is to be appended then.
    pub fn validate(
        &mut self,
        batch: &RecordBatch,
        rules: &AppendRules,
        first_offset: i64,
        partition_leader_epoch: i32,
        now: TimestampMs,
    ) -> Result<ValidatedBatch, ValidationError> {
        let TimestampMs(now_ms) = now;
        check_batch(batch, rules)?;
        self.decompressor.set_limit(rules.max_decompressed_bytes);
        let found = self.check_records(batch, rules, now_ms)?;
        let source = batch.compression();
        let codec = rules.codec.unwrap_or_else(|| Codec::from(source));
        // Control records are not compressed unless they were written so.
        let keeps_codec = codec.compression() == source || (source == Compression::None && batch.is_control());
        if !keeps_codec || !found.offsets_are_consecutive {
            let codec = if keeps_codec { Codec::from(source) } else { codec };
            return self.rebuild(batch, rules, codec, first_offset, partition_leader_epoch, now_ms);
        }
        let mut header = *batch.header();
        header.set_base_offset(first_offset);
        header.set_partition_leader_epoch(partition_leader_epoch);
        let max_timestamp = match rules.timestamp_type {
            TimestampType::CreateTime => found.max_timestamp,
            TimestampType::LogAppendTime => now_ms,
        };
        if header.set_max_timestamp(rules.timestamp_type, max_timestamp) {
            header.update_crc(batch.raw_records());
        }
        Ok(ValidatedBatch { header, records: batch.raw_records_bytes(), was_rebuilt: false })
    }

    /// Walks through the records once. What is found wrong with single records is collected, so
    /// that the answer can name them all.
    fn check_records(
        &mut self,
        batch: &RecordBatch,
        rules: &AppendRules,
        now_ms: i64,
    ) -> Result<Found, ValidationError> {
        let mut walk = Walk {
            batch,
            rules,
            now_ms,
            found: Found { max_timestamp: NO_TIMESTAMP, offsets_are_consecutive: true },
            refused: Refused::default(),
        };
        // A loop for each: most batches are whole, and cost half as much where that is decided once.
        match batch.outlines(&mut self.decompressor)?.into_inner() {
            Inner::Whole(records) => {
                for (index, record) in (0_i32..).zip(records) {
                    walk.step(index, RecordOutline::of(&record?));
                }
            }
            Inner::Streamed(streamed) => {
                for (index, record) in (0_i32..).zip(streamed) {
                    walk.step(index, record?);
                }
            }
        }
        walk.refused.into_result().map(|()| walk.found)
    }

    fn rebuild(
        &mut self,
        batch: &RecordBatch,
        rules: &AppendRules,
        codec: Codec,
        first_offset: i64,
        partition_leader_epoch: i32,
        now_ms: i64,
    ) -> Result<ValidatedBatch, ValidationError> {
        let records = batch.records(&mut self.decompressor)?;
        let mut builder =
            RecordBatchBuilder::new(codec).base_offset(first_offset).partition_leader_epoch(partition_leader_epoch);
        if batch.is_control() {
            builder = builder.control();
        }
        if rules.timestamp_type == TimestampType::LogAppendTime {
            builder = builder.log_append_time(now_ms);
        }
        for record in records {
            builder.append_record(&record?)?;
        }
        builder.set_producer_state(batch.producer_state());
        let rebuilt = RecordBatch::parse(builder.build_with(&mut self.compressor)?)?;
        Ok(ValidatedBatch { header: *rebuilt.header(), records: rebuilt.raw_records_bytes(), was_rebuilt: true })
    }
}

/// What a walk through the records finds.
struct Found {
    max_timestamp: i64,
    offsets_are_consecutive: bool,
}

/// A walk through the records of a batch.
struct Walk<'a> {
    batch: &'a RecordBatch,
    rules: &'a AppendRules,
    now_ms: i64,
    found: Found,
    refused: Refused,
}

impl Walk<'_> {
    #[inline]
    fn step(&mut self, index: i32, record: RecordOutline) {
        if let Err(refusal) = check_record(self.batch, &record, self.rules, self.now_ms) {
            self.refused.add(index, refusal, &record, self.rules, self.now_ms);
        }
        self.found.max_timestamp = self.found.max_timestamp.max(record.timestamp);
        let delta = record.offset.wrapping_sub(self.batch.base_offset());
        self.found.offsets_are_consecutive &= delta == i64::from(index);
    }
}

fn check_batch(batch: &RecordBatch, rules: &AppendRules) -> Result<(), ValidationError> {
    if rules.origin != AppendOrigin::Client {
        return Ok(());
    }
    let (first, last) = (batch.base_offset(), batch.last_offset());
    let refused = |message: String| Err(ValidationError::InvalidBatch(message));
    let count = i64::from(batch.count());
    let counted_by_offsets = i64::from(batch.last_offset_delta()) + 1;
    if counted_by_offsets <= 0 {
        return refused(format!("Batch has an invalid offset range: [{first}, {last}]"));
    }
    if count <= 0 {
        return refused(format!("Invalid reported count for record batch: {count}"));
    }
    if counted_by_offsets != count {
        return refused(format!("Inconsistent batch offset range [{first}, {last}] and count of records {count}"));
    }
    if batch.is_control() {
        return refused("Clients are not allowed to write control records".to_owned());
    }
    if batch.has_producer_id() && batch.base_sequence() < 0 {
        return refused(format!(
            "Invalid sequence number {} in record batch with producerId {}",
            batch.base_sequence(),
            batch.producer_id()
        ));
    }
    Ok(())
}

/// Why a single record is refused.
#[derive(Debug, Clone, Copy)]
enum Refusal {
    NoKey,
    TimestampOutOfRange,
    LogAppendTimeByProducer,
}

#[inline]
fn check_record(batch: &RecordBatch, record: &RecordOutline, rules: &AppendRules, now_ms: i64) -> Result<(), Refusal> {
    if rules.is_compacted && !record.has_key {
        return Err(Refusal::NoKey);
    }
    let timestamp = record.timestamp;
    if rules.timestamp_type == TimestampType::CreateTime && timestamp != NO_TIMESTAMP {
        // Java's arithmetic: a timestamp of -2^63 overflows into the future, and is refused.
        let age = now_ms.wrapping_sub(timestamp);
        if age > rules.timestamp_before_max_ms || age.wrapping_neg() > rules.timestamp_after_max_ms {
            return Err(Refusal::TimestampOutOfRange);
        }
    } else if batch.timestamp_type() == TimestampType::LogAppendTime {
        return Err(Refusal::LogAppendTimeByProducer);
    }
    Ok(())
}

/// The records refused so far.
#[derive(Default)]
struct Refused {
    records: Vec<InvalidRecord>,
    count: usize,
    is_timestamp: bool,
}

impl Refused {
    /// How many are named one by one: a small batch can hold millions, each of which would get a text.
    const MAX_NAMED: usize = 10_000;

    #[cold]
    fn add(&mut self, index: i32, refusal: Refusal, record: &RecordOutline, rules: &AppendRules, now_ms: i64) {
        self.is_timestamp |= !matches!(refusal, Refusal::NoKey);
        self.count += 1;
        if self.records.len() >= Self::MAX_NAMED {
            return;
        }
        let message = match refusal {
            Refusal::NoKey => "Compacted topic cannot accept message without key".to_owned(),
            Refusal::TimestampOutOfRange => format!(
                "Timestamp {} of message with offset {} is out of range. \
                 The timestamp should be within [{}, {}]",
                record.timestamp,
                record.offset,
                // Java's arithmetic, whose overflow the defaults show.
                now_ms.wrapping_sub(rules.timestamp_before_max_ms),
                now_ms.wrapping_add(rules.timestamp_after_max_ms),
            ),
            Refusal::LogAppendTimeByProducer => format!(
                "Invalid timestamp type in message with offset {}. \
                 Producer should not set timestamp type to LogAppendTime.",
                record.offset
            ),
        };
        self.records.push(InvalidRecord { index, message });
    }

    fn into_result(self) -> Result<(), ValidationError> {
        if self.records.is_empty() {
            return Ok(());
        }
        let message = if self.is_timestamp {
            "One or more records have been rejected due to invalid timestamp".to_owned()
        } else {
            format!("One or more records have been rejected due to {} record errors in total", self.count)
        };
        Err(ValidationError::InvalidRecords { is_timestamp: self.is_timestamp, message, records: self.records })
    }
}

#[cfg(test)]
mod tests;
