//! Batches and records of a segment, or of a snapshot of the metadata log.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;

use bytes::Bytes;
use vltava_protocol::record::control::{ControlRecordType, EndTransactionMarker};
use vltava_protocol::record::{
    BATCH_OVERHEAD, Decompressor, MAGIC_V2, NO_SEQUENCE, RecordBatch, RecordBatchHeader, RecordError, RecordView,
    TimestampType, increment_sequence,
};
use vltava_protocol::schema::Schema;
use vltava_protocol::wire::Reader;

use super::Settings;
use super::decoder::Decoder;
use super::file_name::{Kind, base_offset, short, snapshot_id};
use super::findings::Findings;
use crate::failure::Failure;
use crate::json;

/// What the lines of records begin with.
const RECORD_INDENT: &str = "|";

pub(super) fn dump(
    file: &Path,
    settings: &Settings,
    findings: &mut Findings,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    match (Kind::of(file), snapshot_id(file)) {
        (Kind::Snapshot, Some((offset, epoch))) => writeln!(out, "Snapshot end offset: {offset}, epoch: {epoch}")?,
        (Kind::Snapshot, None) if short(file) == "bootstrap.checkpoint" => writeln!(out, "KRaft bootstrap snapshot")?,
        (Kind::Snapshot, None) => return Err(Failure::Message("its name is not that of a snapshot".to_owned())),
        _ => writeln!(out, "Log starting offset: {}", base_offset(file)?)?,
    }
    let mut batches = Batches::open(file, 0, settings.max_bytes)?;
    let mut records = Records { file, settings, findings, last_offset: -1, decompressor: Decompressor::new() };
    loop {
        let position = batches.position;
        let Some(batch) = batches.next()? else { break };
        describe(&batch, position, out)?;
        if settings.deep_iteration {
            records.dump(&batch, out)?;
        }
    }
    let trailing = batches.end - batches.position;
    if trailing > 0 && settings.max_bytes == Settings::ALL_BYTES {
        writeln!(out, "Found {trailing} invalid bytes at the end of {}", short(file))?;
    }
    Ok(())
}

/// The batches of a file, one at a time.
pub(super) struct Batches {
    file: File,
    pub(super) position: u64,
    /// Behind the last byte that is read.
    pub(super) end: u64,
}

impl Batches {
    /// Those that lie in `size` bytes from a position on, or fewer where the file ends.
    pub(super) fn open(file: &Path, position: u64, size: u64) -> Result<Self, Failure> {
        let file = File::open(file)?;
        let length = file.metadata()?.len();
        if position > length {
            return Err(Failure::Message(format!("position {position} is behind the end of the log, {length}")));
        }
        Ok(Self { file, position, end: length.min(position.saturating_add(size)) })
    }

    /// The next batch; none where the bytes that are left are not a whole one.
    pub(super) fn next(&mut self) -> Result<Option<RecordBatch>, Failure> {
        let left = self.end - self.position;
        let mut head = vec![0; left.min(BATCH_OVERHEAD as u64) as usize];
        self.file.read_exact_at(&mut head, self.position)?;
        let at = |error: RecordError| Failure::Message(format!("batch at position {}: {error}", self.position));
        let Some(size) = RecordBatchHeader::peek_size(&head).map_err(at)? else { return Ok(None) };
        if size as u64 > left {
            return Ok(None);
        }
        let mut bytes = vec![0; size];
        self.file.read_exact_at(&mut bytes, self.position)?;
        let batch = RecordBatch::parse(Bytes::from(bytes)).map_err(at)?;
        self.position += size as u64;
        Ok(Some(batch))
    }
}

/// The line of a batch.
fn describe(batch: &RecordBatch, position: u64, out: &mut dyn Write) -> Result<(), Failure> {
    let header = batch.header();
    let delete_horizon = match header.delete_horizon_ms() {
        Some(horizon) => format!("OptionalLong[{horizon}]"),
        None => "OptionalLong.empty".to_owned(),
    };
    write!(
        out,
        "baseOffset: {} lastOffset: {} count: {} baseSequence: {} lastSequence: {} producerId: {} producerEpoch: {} \
         partitionLeaderEpoch: {} isTransactional: {} isControl: {} deleteHorizonMs: {delete_horizon}",
        header.base_offset(),
        header.last_offset(),
        header.count(),
        header.base_sequence(),
        header.last_sequence(),
        header.producer_id(),
        header.producer_epoch(),
        header.partition_leader_epoch(),
        header.is_transactional(),
        header.is_control(),
    )?;
    writeln!(
        out,
        " position: {position} {}: {} size: {} magic: {MAGIC_V2} compresscodec: {} crc: {} isvalid: {}",
        timestamp_type(header.timestamp_type()),
        header.max_timestamp(),
        header.size(),
        header.compression().name(),
        header.crc(),
        batch.verify_crc().is_ok(),
    )?;
    Ok(())
}

fn timestamp_type(kind: TimestampType) -> &'static str {
    match kind {
        TimestampType::LogAppendTime => "LogAppendTime",
        _ => "CreateTime",
    }
}

/// The records of a file.
struct Records<'a> {
    file: &'a Path,
    settings: &'a Settings,
    findings: &'a mut Findings,
    last_offset: i64,
    decompressor: Decompressor,
}

impl Records<'_> {
    fn dump(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> Result<(), Failure> {
        let failed = |error: RecordError| {
            Failure::Message(format!("records of the batch at offset {}: {error}", batch.header().base_offset()))
        };
        for record in batch.records(&mut self.decompressor).map_err(failed)? {
            let record = record.map_err(failed)?;
            if record.offset() != self.last_offset + 1 {
                self.findings.gap(self.file, self.last_offset, record.offset());
            }
            self.last_offset = record.offset();
            let mut prefix = " ";
            if self.settings.skip_record_metadata {
                prefix = "| ";
            } else {
                metadata(batch.header(), &record, out)?;
            }
            if let (Some(decoder), false) = (&self.settings.contents, batch.header().is_control()) {
                contents(decoder, &record, prefix, out)?;
            }
            writeln!(out)?;
        }
        Ok(())
    }
}

fn metadata(header: &RecordBatchHeader, record: &RecordView<'_>, out: &mut dyn Write) -> Result<(), Failure> {
    // -1 for null.
    let size = |bytes: Option<&[u8]>| bytes.map_or(-1, |bytes| bytes.len() as i64);
    let sequence = match header.base_sequence() {
        NO_SEQUENCE => NO_SEQUENCE,
        base => increment_sequence(base, (record.offset() - header.base_offset()) as i32),
    };
    let headers: Vec<_> = record.headers().map(|header| header.key()).collect();
    write!(
        out,
        "{RECORD_INDENT} offset: {} {}: {} keySize: {} valueSize: {} sequence: {sequence} headerKeys: [{}]",
        record.offset(),
        timestamp_type(header.timestamp_type()),
        record.timestamp(),
        size(record.key()),
        size(record.value()),
        headers.join(","),
    )?;
    if header.is_control() { control(record, out) } else { Ok(()) }
}

fn contents(decoder: &Decoder, record: &RecordView<'_>, prefix: &str, out: &mut dyn Write) -> Result<(), Failure> {
    let decoded = decoder.decode(record)?;
    let mut prefix = prefix;
    if let Some(key) = decoded.key {
        write!(out, "{prefix}key: {key}")?;
        prefix = " ";
    }
    if let Some(payload) = decoded.payload {
        write!(out, "{prefix}payload: {payload}")?;
    }
    Ok(())
}

/// What a control record says.
fn control(record: &RecordView<'_>, out: &mut dyn Write) -> Result<(), Failure> {
    let failed = |why: String| Failure::Message(format!("control record at offset {}: {why}", record.offset()));
    let kind = ControlRecordType::parse(record.key()).map_err(|error| failed(error.to_string()))?;
    let (title, message) = match kind {
        ControlRecordType::Abort | ControlRecordType::Commit => {
            let marker = EndTransactionMarker::parse(record).map_err(|error| failed(error.to_string()))?;
            let marker = marker.ok_or_else(|| failed("it is no marker".to_owned()))?;
            let end = if marker.committed { "COMMIT" } else { "ABORT" };
            write!(out, " endTxnMarker: {end} coordinatorEpoch: {}", marker.coordinator_epoch)?;
            return Ok(());
        }
        ControlRecordType::LeaderChange => ("LeaderChange:", "LeaderChangeMessage"),
        ControlRecordType::SnapshotHeader => ("SnapshotHeader", "SnapshotHeaderRecord"),
        ControlRecordType::SnapshotFooter => ("SnapshotFooter", "SnapshotFooterRecord"),
        ControlRecordType::KRaftVersion => ("KRaftVersion", "KRaftVersionRecord"),
        ControlRecordType::KRaftVoters => ("KRaftVoters", "VotersRecord"),
        unknown => {
            write!(out, " controlType: UNKNOWN({})", unknown.id())?;
            return Ok(());
        }
    };
    // Kafka's tool reads them all in this version.
    const VERSION: i16 = 0;
    let schema = Schema::find("messages", message).ok_or_else(|| failed(format!("no {message}")))?;
    let mut reader = Reader::new(Bytes::copy_from_slice(record.value().unwrap_or_default()));
    let value = schema.read(&mut reader, VERSION).map_err(|error| failed(error.to_string()))?;
    write!(out, " {title} {}", json::text(&value))?;
    Ok(())
}
