//! Batches that Apache Kafka 4.3.1 wrote are read, and written the same way.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use bytes::Bytes;
use vltava_protocol::TimestampMs;
use vltava_protocol::record::control::{ControlRecordType, EndTransactionMarker};
use vltava_protocol::record::{
    BatchPatch, Compression, Decompressor, HeaderView, ProducerState, RecordBatch, RecordBatchBuilder, RecordBatches,
    RecordView, TimestampType,
};

const TIME: i64 = 1_700_000_000_000;

macro_rules! fixture {
    ($name:literal) => {
        batches(include_bytes!(concat!("fixtures/record/", $name, ".log")))
    };
}

/// The batches of a segment, which ends with the last of them.
fn batches(segment: &'static [u8]) -> Vec<RecordBatch> {
    let mut batches = RecordBatches::new(Bytes::from_static(segment));
    let read: Vec<_> = batches.by_ref().map(Result::unwrap).collect();
    assert!(batches.remaining().is_empty());
    for batch in &read {
        batch.verify_crc().unwrap();
    }
    read
}

type Header = (&'static str, Option<&'static str>);

struct Expected {
    timestamp: i64,
    key: Option<&'static str>,
    value: Option<String>,
    headers: Vec<Header>,
}

/// What `MakeFixtures.java` sends as one batch.
fn five_records() -> Vec<Expected> {
    let record = |timestamp, key, value: Option<&str>, headers: &[Header]| Expected {
        timestamp,
        key,
        value: value.map(str::to_owned),
        headers: headers.to_vec(),
    };
    vec![
        record(TIME, Some("ishmael"), Some("Call me Ishmael."), &[]),
        record(TIME + 1000, None, Some("Some years ago - never mind how long precisely -"), &[]),
        record(TIME - 5, Some("ahab"), None, &[]),
        record(TIME + 100_000_000_000, Some(""), Some(""), &[]),
        record(
            TIME + 7,
            Some("queequeg"),
            Some(&"whale ".repeat(20)),
            &[("trace", Some("17")), ("empty", Some("")), ("null", None), ("tr\u{e4}ce", Some("\u{fc}"))],
        ),
    ]
}

fn assert_record(record: &RecordView<'_>, expected: &Expected) {
    assert_eq!(record.key(), expected.key.map(str::as_bytes));
    assert_eq!(record.value(), expected.value.as_deref().map(str::as_bytes));
    let headers = expected.headers.iter().map(|(key, value)| HeaderView::new(key, value.map(str::as_bytes)));
    assert!(record.headers().eq(headers));
}

/// Checks that the batch holds the five records with offsets from `base_offset`.
fn assert_five_records(batch: &RecordBatch, base_offset: i64) {
    assert_eq!((batch.base_offset(), batch.last_offset(), batch.count()), (base_offset, base_offset + 4, 5));
    let mut decompressor = Decompressor::new();
    let records: Vec<_> = batch.records(&mut decompressor).unwrap().map(Result::unwrap).collect();
    assert_eq!(records.len(), 5);
    for ((offset, record), expected) in (base_offset..).zip(&records).zip(five_records()) {
        assert_eq!(record.offset(), offset);
        let timestamp = batch.log_append_time().unwrap_or(expected.timestamp);
        assert_eq!(record.timestamp(), timestamp);
        assert_record(record, &expected);
    }
}

fn build_five_records(compression: Compression) -> RecordBatchBuilder {
    let mut builder = RecordBatchBuilder::new(compression).partition_leader_epoch(0);
    for record in five_records() {
        let headers = record.headers.iter().map(|(key, value)| HeaderView::new(key, value.map(str::as_bytes)));
        let key = record.key.map(str::as_bytes);
        builder.append(record.timestamp, key, record.value.as_deref().map(str::as_bytes), headers).unwrap();
    }
    builder
}

#[test]
fn batches_of_every_codec_are_read() {
    for (compression, mut batches) in [
        (Compression::None, fixture!("none")),
        (Compression::Gzip, fixture!("gzip")),
        (Compression::Snappy, fixture!("snappy")),
        (Compression::Lz4, fixture!("lz4")),
        (Compression::Zstd, fixture!("zstd")),
    ] {
        let batch = batches.pop().unwrap();
        assert!(batches.is_empty());
        assert_eq!(batch.compression(), compression);
        assert_eq!(batch.timestamp_type(), TimestampType::CreateTime);
        assert_eq!(batch.base_timestamp(), TIME);
        assert_eq!(batch.max_timestamp(), TIME + 100_000_000_000);
        assert_eq!(batch.partition_leader_epoch(), 0);
        assert_eq!((batch.producer_epoch(), batch.base_sequence(), batch.last_sequence()), (0, 0, 4));
        assert!(batch.has_producer_id() && !batch.is_transactional() && !batch.is_control());
        assert_five_records(&batch, 0);
    }
}

#[test]
fn several_blocks_are_read_as_one() {
    let text = "Call me Ishmael. ".repeat(4000);
    for mut batches in [fixture!("large-gzip"), fixture!("large-snappy"), fixture!("large-lz4"), fixture!("large-zstd")]
    {
        let batch = batches.pop().unwrap();
        assert!(batches.is_empty());
        let decoded = batch.decode(&mut Decompressor::new()).unwrap();
        let record = decoded.into_owned_records().next().unwrap().unwrap();
        assert_eq!(record.key(), Some(&b"ishmael"[..]));
        assert!(record.value() == Some(text.as_bytes()), "{}", batch.compression());
    }
}

#[test]
fn without_compression_the_same_bytes_are_written() {
    let [batch] = &fixture!("none")[..] else { panic!("one batch") };
    let mut builder = build_five_records(Compression::None);
    builder.set_producer_state(batch.producer_state());
    assert_eq!(builder.build().unwrap(), batch.bytes());
}

#[test]
fn log_append_time_is_patched_to_the_same_bytes() {
    let [batch] = &fixture!("log-append-time")[..] else { panic!("one batch") };
    assert_eq!(batch.producer_state(), ProducerState::NONE);
    assert_five_records(batch, 0);
    let mut ours = build_five_records(Compression::None).build().unwrap().to_vec();
    let mut patch = BatchPatch::new(&mut ours).unwrap();
    patch.set_max_timestamp(TimestampType::LogAppendTime, batch.max_timestamp());
    assert_eq!(&ours[..], &batch.bytes()[..]);
}

/// Apache's writers of snappy (snappy-java over Snappy in C) and of lz4 choose other matches than
/// ours; how the blocks are framed is the same.
#[test]
fn block_codecs_are_framed_alike() {
    for (compression, batches, header) in
        [(Compression::Snappy, fixture!("snappy"), 16), (Compression::Lz4, fixture!("lz4"), 7)]
    {
        let ours = RecordBatch::parse(build_five_records(compression).build().unwrap()).unwrap();
        assert_eq!(ours.raw_records()[..header], batches[0].raw_records()[..header], "{compression}");
    }
}

#[test]
fn transactions_end_with_markers_that_are_written_alike() {
    let batches = fixture!("transaction");
    let [committed, commit, aborted, abort] = &batches[..] else { panic!("four batches") };
    for (batch, base_offset) in [(committed, 0), (aborted, 6)] {
        assert!(batch.is_transactional() && !batch.is_control());
        assert_five_records(batch, base_offset);
    }
    for (batch, is_commit, offset) in [(commit, true, 5), (abort, false, 11)] {
        assert!(batch.is_transactional() && batch.is_control());
        let mut decompressor = Decompressor::new();
        let record = batch.records(&mut decompressor).unwrap().next().unwrap().unwrap();
        let marker = EndTransactionMarker::parse(&record).unwrap().unwrap();
        assert_eq!(marker, EndTransactionMarker { committed: is_commit, coordinator_epoch: 0 });
        let mut ours = marker
            .to_batch(TimestampMs(record.timestamp()), batch.producer_id(), batch.producer_epoch())
            .unwrap()
            .to_vec();
        let mut patch = BatchPatch::new(&mut ours).unwrap();
        patch.set_base_offset(offset);
        patch.set_partition_leader_epoch(batch.partition_leader_epoch());
        assert_eq!(&ours[..], &batch.bytes()[..]);
    }
}

#[test]
fn control_records_of_the_quorum_are_recognised() {
    let [leader_change, features] = &fixture!("metadata")[..] else { panic!("two batches") };
    assert!(leader_change.is_control() && !leader_change.is_transactional());
    let mut decompressor = Decompressor::new();
    let record = leader_change.records(&mut decompressor).unwrap().next().unwrap().unwrap();
    assert_eq!(ControlRecordType::parse(record.key()), Ok(ControlRecordType::LeaderChange));
    assert_eq!(EndTransactionMarker::parse(&record), Ok(None));
    assert!(!features.is_control());
    assert_eq!(features.records(&mut decompressor).unwrap().map(Result::unwrap).count(), 9);
}
