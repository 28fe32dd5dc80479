//! What the tests of this crate share.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use tempfile::TempDir;
use vltava_protocol::TimestampMs;
use vltava_protocol::record::control::EndTransactionMarker;
use vltava_protocol::record::{
    Codec, Compression, Decompressor, ProducerState, RecordBatchBuilder, RecordBatchHeader, RecordBatches,
};

use crate::{
    AppendContext, AppendInfo, Appender, FetchIsolation, Log, LogConfig, LogDir, LogOptions, Result, TopicPartition,
    TransactionStart, VerificationGuard,
};

/// The clock of tests that do not care.
pub(crate) const NOW: i64 = 1_700_000_000_000;

pub(crate) fn tp() -> TopicPartition {
    TopicPartition::new("t", 0)
}

/// A batch of one value per record, all with timestamp `timestamp`.
pub(crate) fn batch(timestamp: i64, values: &[&str]) -> Bytes {
    batch_with(Compression::None, ProducerState::NONE, timestamp, values)
}

pub(crate) fn batch_with(codec: impl Into<Codec>, producer: ProducerState, timestamp: i64, values: &[&str]) -> Bytes {
    let mut builder = RecordBatchBuilder::new(codec);
    for value in values {
        builder.append(timestamp, Some(value.as_bytes()), Some(value.as_bytes()), []).unwrap();
    }
    builder.set_producer_state(producer);
    builder.build().unwrap()
}

/// A batch of keys and values.
pub(crate) fn keyed(timestamp: i64, records: &[(&str, Option<&str>)]) -> Bytes {
    let mut builder = RecordBatchBuilder::new(Compression::None);
    for (key, value) in records {
        builder.append(timestamp, Some(key.as_bytes()), value.map(str::as_bytes), []).unwrap();
    }
    builder.build().unwrap()
}

pub(crate) fn idempotent(producer_id: i64, epoch: i16, sequence: i32, values: &[&str]) -> Bytes {
    batch_with(Compression::None, ProducerState::idempotent(producer_id, epoch, sequence), NOW, values)
}

pub(crate) fn transactional(producer_id: i64, epoch: i16, sequence: i32, values: &[&str]) -> Bytes {
    batch_with(Compression::None, ProducerState::transactional(producer_id, epoch, sequence), NOW, values)
}

pub(crate) fn marker(producer_id: i64, epoch: i16, committed: bool) -> Bytes {
    EndTransactionMarker { committed, coordinator_epoch: 0 }.to_batch(TimestampMs(NOW), producer_id, epoch).unwrap()
}

/// A log in a directory of its own.
pub(crate) struct TestLog {
    pub(crate) root: TempDir,
    pub(crate) log: Log,
    pub(crate) appender: Appender,
    pub(crate) now: i64,
}

impl TestLog {
    pub(crate) fn new(settings: &[(&str, &str)]) -> Self {
        let root = tempfile::tempdir().unwrap();
        let config = LogConfig::from_properties(settings.iter().copied()).unwrap();
        let log = open(root.path(), config, 0, false).unwrap();
        Self { root, log, appender: Appender::new(), now: NOW }
    }

    /// Closes the log in order and opens it again.
    pub(crate) fn reopen_cleanly(&mut self) {
        self.log.close().unwrap();
        self.open_again(self.log.recovery_point(), true).unwrap();
    }

    /// Opens the log as after a kill: what was only in memory is gone.
    pub(crate) fn reopen_after_crash(&mut self) -> Result<()> {
        self.open_again(self.log.recovery_point(), false)
    }

    pub(crate) fn open_again(&mut self, recovery_point: i64, clean: bool) -> Result<()> {
        let config = LogConfig::clone(self.log.config());
        let start = self.log.log_start_offset();
        let options = LogOptions {
            config: Arc::new(config),
            log_start_offset: start,
            recovery_point,
            had_clean_shutdown: clean,
            ..LogOptions::default()
        };
        let dir = Arc::new(LogDir::new(self.root.path()));
        self.log = Log::open(&dir, tp(), options, self.now)?;
        self.log.advance_high_watermark_to_log_end()?;
        Ok(())
    }

    /// Appends as a client does whose transactions the coordinator knows.
    pub(crate) fn append(&mut self, records: Bytes) -> Result<AppendInfo> {
        let guard = match RecordBatchHeader::parse(&records) {
            Ok(header) if header.is_transactional() => self.start_verification(&header, false)?,
            _ => VerificationGuard::SENTINEL,
        };
        self.append_with_guard(records, guard)
    }

    pub(crate) fn start_verification(
        &mut self,
        header: &RecordBatchHeader,
        supports_epoch_bump: bool,
    ) -> Result<VerificationGuard> {
        let start = TransactionStart {
            producer_id: header.producer_id(),
            producer_epoch: header.producer_epoch(),
            base_sequence: header.base_sequence(),
            supports_epoch_bump,
        };
        self.log.start_verification(&start, self.now)
    }

    pub(crate) fn append_with_guard(&mut self, records: Bytes, guard: VerificationGuard) -> Result<AppendInfo> {
        let context = AppendContext { verification_guard: guard, ..AppendContext::client(0, self.now) };
        let info = self.log.append_as_leader(&mut self.appender, records, context)?;
        self.log.advance_high_watermark_to_log_end()?;
        Ok(info)
    }

    pub(crate) fn append_marker(&mut self, records: Bytes) -> Result<AppendInfo> {
        let info = self.log.append_as_leader(&mut self.appender, records, AppendContext::coordinator(0, self.now))?;
        self.log.advance_high_watermark_to_log_end()?;
        Ok(info)
    }

    pub(crate) fn dir(&self) -> std::path::PathBuf {
        self.root.path().join("t-0")
    }

    /// The names of the files, sorted.
    pub(crate) fn files(&self) -> Vec<String> {
        let mut names: Vec<String> =
            std::fs::read_dir(self.dir()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Offsets and values of everything from `from` on.
    pub(crate) fn values(&mut self, from: i64) -> Vec<(i64, String)> {
        values(&mut self.log, from, FetchIsolation::LogEnd)
    }
}

pub(crate) fn open(root: &Path, config: LogConfig, recovery_point: i64, clean: bool) -> Result<Log> {
    let options =
        LogOptions { config: Arc::new(config), recovery_point, had_clean_shutdown: clean, ..LogOptions::default() };
    Log::open(&Arc::new(LogDir::new(root)), tp(), options, NOW)
}

/// Offsets and values of the records that a reader sees from `from` on, control records left away.
pub(crate) fn values(log: &mut Log, from: i64, isolation: FetchIsolation) -> Vec<(i64, String)> {
    let mut values = Vec::new();
    // A batch may begin below, as on the wire: clients leave such records away.
    let first = from.max(log.log_start_offset());
    let mut next = first;
    loop {
        let bytes = log.read(next, 200, isolation, true).unwrap().read().unwrap();
        let before = next;
        for batch in RecordBatches::new(bytes) {
            let Ok(batch) = batch else { break };
            batch.verify_crc().unwrap();
            next = batch.next_offset();
            if batch.is_control() {
                continue;
            }
            for record in batch.records(&mut Decompressor::default()).unwrap() {
                let record = record.unwrap();
                if record.offset() >= first {
                    let value = String::from_utf8(record.value().unwrap_or(b"null").to_vec()).unwrap();
                    values.push((record.offset(), value));
                }
            }
        }
        if next == before {
            return values;
        }
    }
}
