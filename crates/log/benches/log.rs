//! Appending to and reading from one log. `cargo bench -p vltava-log`

#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark that cannot run may stop")]

use std::sync::Arc;

use bytes::Bytes;
use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use tempfile::TempDir;
use vltava_log::{AppendContext, Appender, FetchIsolation, Log, LogConfig, LogDir, LogOptions, TopicPartition};
use vltava_protocol::TimestampMs;
use vltava_protocol::record::{Compression, ProducerState, RecordBatchBuilder};

const NOW: i64 = 1_700_000_000_000;

fn main() {
    divan::main();
}

/// A batch of records of 100 bytes.
fn batch(codec: Compression, producer: ProducerState, records: usize) -> Bytes {
    let mut builder = RecordBatchBuilder::new(codec);
    let mut random = fastrand::Rng::with_seed(7);
    for n in 0..records {
        // Half of it compresses, as in text.
        let value: Vec<u8> = (0..100).map(|at| if at % 2 == 0 { random.u8(..) } else { b'x' }).collect();
        builder.append(NOW + n as i64, None, Some(&value), []).unwrap();
    }
    builder.set_producer_state(producer);
    builder.build().unwrap()
}

fn open(dir: &TempDir) -> Log {
    let config = Arc::new(LogConfig::from_properties([("segment.bytes", "104857600")]).unwrap());
    let options = LogOptions { config, ..LogOptions::default() };
    Log::open(&Arc::new(LogDir::new(dir.path())), TopicPartition::new("bench", 0), options, NOW).unwrap()
}

/// Old segments go, so that a long run does not fill the disk.
fn append(log: &mut Log, appender: &mut Appender, records: Bytes) {
    log.append_as_leader(appender, records, AppendContext::client(0, NOW)).unwrap();
    log.advance_high_watermark_to_log_end().unwrap();
    if log.segment_count() > 4 {
        let end = log.log_end_offset();
        log.truncate_fully_and_start_at(end, None, TimestampMs(NOW)).unwrap();
        log.delete_due_files(0).and_then(|()| log.delete_due_files(i64::MAX)).unwrap();
    }
}

#[divan::bench(args = [1, 10, 160, 1600, 9000])]
fn append_uncompressed(bencher: Bencher<'_, '_>, records: usize) {
    append_batches(bencher, batch(Compression::None, ProducerState::NONE, records));
}

#[divan::bench(args = [160, 1600])]
fn append_lz4(bencher: Bencher<'_, '_>, records: usize) {
    append_batches(bencher, batch(Compression::Lz4, ProducerState::NONE, records));
}

fn append_batches(bencher: Bencher<'_, '_>, records: Bytes) {
    let dir = TempDir::new().unwrap();
    let mut log = open(&dir);
    let mut appender = Appender::new();
    bencher
        .counter(BytesCount::new(records.len()))
        .bench_local(|| append(&mut log, &mut appender, black_box(records.clone())));
}

#[divan::bench(args = [160])]
fn append_idempotent(bencher: Bencher<'_, '_>, records: usize) {
    let dir = TempDir::new().unwrap();
    let mut log = open(&dir);
    let mut appender = Appender::new();
    // A new producer for each batch, so that the batch need not be built anew.
    let mut producer_id = 0;
    let size = batch(Compression::None, ProducerState::idempotent(1, 0, 0), records).len();
    bencher
        .with_inputs(|| {
            producer_id += 1;
            batch(Compression::None, ProducerState::idempotent(producer_id, 0, 0), records)
        })
        .input_counter(move |_| BytesCount::new(size))
        .bench_local_values(|records| append(&mut log, &mut appender, records));
}

/// A consumer that follows: plan and read of what was appended last.
#[divan::bench(args = [1, 160])]
fn append_then_read(bencher: Bencher<'_, '_>, records: usize) {
    let dir = TempDir::new().unwrap();
    let mut log = open(&dir);
    let mut appender = Appender::new();
    let records = batch(Compression::None, ProducerState::NONE, records);
    bencher.counter(BytesCount::new(records.len())).bench_local(|| {
        let offset = log.log_end_offset();
        append(&mut log, &mut appender, records.clone());
        let offset = offset.max(log.log_start_offset());
        log.read(offset, 1 << 20, FetchIsolation::HighWatermark, true).unwrap().read().unwrap()
    });
}

/// A consumer that reads all from the start, 1 MiB at a time.
#[divan::bench(args = [10, 160, 1600])]
fn read_sequentially(bencher: Bencher<'_, '_>, records: usize) {
    let dir = TempDir::new().unwrap();
    let mut log = open(&dir);
    let mut appender = Appender::new();
    let records = batch(Compression::None, ProducerState::NONE, records);
    let mut written = 0;
    while written < 64 << 20 {
        log.append_as_leader(&mut appender, records.clone(), AppendContext::client(0, NOW)).unwrap();
        written += records.len();
    }
    log.advance_high_watermark_to_log_end().unwrap();
    bencher.counter(BytesCount::new(written)).bench_local(|| {
        let mut next = 0;
        while next < log.log_end_offset() {
            let plan = log.read(next, 1 << 20, FetchIsolation::HighWatermark, true).unwrap();
            let bytes = plan.read().unwrap();
            for batch in vltava_protocol::record::RecordBatches::new(bytes) {
                let Ok(batch) = batch else { break };
                next = batch.next_offset();
            }
        }
    });
}

/// Recovery after a kill: every batch is checked.
#[divan::bench(sample_count = 10)]
fn recover_64_mib(bencher: Bencher<'_, '_>) {
    let dir = TempDir::new().unwrap();
    let mut log = open(&dir);
    let mut appender = Appender::new();
    let records = batch(Compression::None, ProducerState::NONE, 160);
    let mut written = 0;
    while written < 64 << 20 {
        log.append_as_leader(&mut appender, records.clone(), AppendContext::client(0, NOW)).unwrap();
        written += records.len();
    }
    drop(log);
    bencher.counter(BytesCount::new(written)).bench_local(|| open(&dir));
}

/// A clean start of one partition.
#[divan::bench]
fn open_cleanly(bencher: Bencher<'_, '_>) {
    let dir = TempDir::new().unwrap();
    let mut log = open(&dir);
    append(&mut log, &mut Appender::new(), batch(Compression::None, ProducerState::NONE, 160));
    let recovery_point = log.log_end_offset();
    log.close().unwrap();
    let log_dir = Arc::new(LogDir::new(dir.path()));
    bencher.bench_local(|| {
        let options = LogOptions { recovery_point, had_clean_shutdown: true, ..LogOptions::default() };
        Log::open(&log_dir, TopicPartition::new("bench", 0), options, NOW).unwrap()
    });
}
