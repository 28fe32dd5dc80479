use vltava_protocol::ErrorCode;
use vltava_protocol::record::{Compression, Decompressor, ProducerState, RecordBatches, TimestampType};

use crate::testing::{NOW, TestLog, batch, batch_with, keyed};
use crate::{AppendContext, FetchIsolation, LogError, TimestampQuery};

#[test]
fn assigns_offsets_and_leader_epochs_and_gives_them_back() {
    let mut t = TestLog::new(&[]);
    let first = t.append(batch(NOW, &["a", "b"])).unwrap();
    assert_eq!((first.first_offset, first.last_offset, first.max_timestamp), (0, 1, NOW));
    let second = t.append(batch(NOW + 5, &["c"])).unwrap();
    assert_eq!((second.first_offset, second.last_offset, second.log_append_time), (2, 2, -1));
    assert_eq!(t.log.log_end_offset(), 3);
    let expected: Vec<_> = [(0, "a"), (1, "b"), (2, "c")].map(|(o, v)| (o, v.to_owned())).into();
    assert_eq!(t.values(0), expected);
    assert_eq!(t.values(1), &expected[1..]);
    assert_eq!(t.log.leader_epochs().latest().unwrap().epoch, 0);
    assert_eq!(t.log.size(), (batch(NOW, &["a", "b"]).len() + batch(NOW, &["c"]).len()) as u64);
}

#[test]
fn what_is_stored_is_what_was_sent_but_for_offset_and_epoch() {
    for codec in [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
        let mut t = TestLog::new(&[]);
        t.append(batch(NOW, &["x"])).unwrap();
        let sent = batch_with(codec, ProducerState::NONE, NOW, &["a", "b", "c"]);
        let context = AppendContext::client(7, NOW);
        t.log.append_as_leader(&mut t.appender, sent.clone(), context).unwrap();
        let read = t.log.read(1, 10_000, FetchIsolation::LogEnd, true).unwrap().read().unwrap();
        assert_eq!(&read[16..], &sent[16..], "{codec}");
        let stored = RecordBatches::new(read).next().unwrap().unwrap();
        assert_eq!((stored.base_offset(), stored.partition_leader_epoch()), (1, 7));
        stored.verify_crc().unwrap();
    }
}

#[test]
fn log_append_time_replaces_timestamps() {
    let mut t = TestLog::new(&[("message.timestamp.type", "LogAppendTime")]);
    t.now = NOW + 77;
    let info = t.append(batch(5, &["a"])).unwrap();
    assert_eq!((info.log_append_time, info.max_timestamp), (NOW + 77, NOW + 77));
    let read = t.log.read(0, 10_000, FetchIsolation::LogEnd, true).unwrap().read().unwrap();
    let stored = RecordBatches::new(read).next().unwrap().unwrap();
    stored.verify_crc().unwrap();
    assert_eq!(stored.timestamp_type(), TimestampType::LogAppendTime);
    let found = t.log.fetch_offset_by_timestamp(TimestampQuery::At(NOW)).unwrap().unwrap();
    assert_eq!((found.offset, found.timestamp), (0, NOW + 77));
}

#[test]
fn compresses_anew_where_the_topic_says_so() {
    for (name, codec) in [("gzip", Compression::Gzip), ("zstd", Compression::Zstd), ("uncompressed", Compression::None)]
    {
        let mut t = TestLog::new(&[("compression.type", name)]);
        t.append(batch_with(Compression::Lz4, ProducerState::idempotent(9, 1, 0), NOW, &["a", "b"])).unwrap();
        t.append(batch_with(Compression::Lz4, ProducerState::idempotent(9, 1, 2), NOW, &["c"])).unwrap();
        let read = t.log.read(0, 10_000, FetchIsolation::LogEnd, true).unwrap().read().unwrap();
        let stored: Vec<_> = RecordBatches::new(read).map(Result::unwrap).collect();
        assert_eq!(stored[0].compression(), codec);
        assert_eq!((stored[1].base_offset(), stored[1].producer_id(), stored[1].base_sequence()), (2, 9, 2));
        let values: Vec<_> = t.values(0).into_iter().map(|(_, v)| v).collect();
        assert_eq!(values, ["a", "b", "c"]);
    }
}

#[test]
fn refuses_bad_records_with_kafkas_codes_and_appends_nothing() {
    let mut corrupt = batch(NOW, &["a"]).to_vec();
    *corrupt.last_mut().unwrap() ^= 1;
    let mut old_magic = batch(NOW, &["a"]).to_vec();
    old_magic[16] = 1;
    let mut with_offset = batch(NOW, &["a"]).to_vec();
    with_offset[7] = 9;
    let mut two = batch(NOW, &["a"]).to_vec();
    two.extend_from_slice(&batch(NOW, &["b"]));
    let large = "x".repeat(3_000);
    let cases: Vec<(Vec<u8>, ErrorCode)> = vec![
        (corrupt, ErrorCode::CorruptMessage),
        (old_magic, ErrorCode::InvalidRecord),
        (with_offset, ErrorCode::InvalidRecord),
        (two, ErrorCode::InvalidRecord),
        (Vec::new(), ErrorCode::InvalidRecord),
        (batch(NOW, &[&large]).to_vec(), ErrorCode::MessageTooLarge),
        (batch(NOW + 7_200_000, &["a"]).to_vec(), ErrorCode::InvalidTimestamp),
        (crate::testing::marker(1, 0, true).to_vec(), ErrorCode::InvalidRecord),
    ];
    let mut t = TestLog::new(&[("max.message.bytes", "1000")]);
    for (n, (records, code)) in cases.into_iter().enumerate() {
        let error = t.append(records.into()).unwrap_err();
        assert_eq!(error.code(), code, "case {n}: {error}");
        assert_eq!(t.log.log_end_offset(), 0);
    }
    t.append(batch(NOW, &["fine"])).unwrap();
}

#[test]
fn names_the_records_that_a_compacted_topic_refuses() {
    let mut t = TestLog::new(&[("cleanup.policy", "compact")]);
    let mut builder = vltava_protocol::record::RecordBatchBuilder::new(Compression::None);
    builder.append(NOW, Some(b"k"), None, []).unwrap();
    builder.append(NOW, None, Some(b"v"), []).unwrap();
    let error = t.append(builder.build().unwrap()).unwrap_err();
    assert_eq!(error.code(), ErrorCode::InvalidRecord);
    assert_eq!(error.record_errors().iter().map(|e| e.batch_index).collect::<Vec<_>>(), [1]);
    t.append(keyed(NOW, &[("k", Some("v"))])).unwrap();
}

#[test]
fn an_append_larger_than_a_segment_is_refused() {
    let mut t = TestLog::new(&[("internal.segment.bytes", "100")]);
    let error = t.append(batch(NOW, &["a long value that fills the segment many times over"])).unwrap_err();
    assert_eq!(error.code(), ErrorCode::RecordListTooLarge);
}

#[test]
fn followers_keep_offsets_and_epochs_and_must_continue_the_log() {
    let mut leader = TestLog::new(&[]);
    for n in 0..5 {
        leader.append(batch(NOW + n, &["a", "b"])).unwrap();
    }
    let all = leader.log.read(0, 100_000, FetchIsolation::LogEnd, true).unwrap().read().unwrap();
    let mut follower = TestLog::new(&[]);
    let cut = all.slice(..all.len() - 10);
    let info = follower.log.append_as_follower(&mut follower.appender, cut, 0, NOW).unwrap();
    assert_eq!((info.first_offset, info.last_offset), (0, 7));
    assert_eq!(follower.values(0), &leader.values(0)[..8]);
    let again = follower.log.append_as_follower(&mut follower.appender, all.clone(), 0, NOW).unwrap_err();
    assert!(matches!(again, LogError::UnexpectedAppendOffset { first_offset: 0, last_offset: 9, .. }));
    let rest = all.slice(all.len() / 5 * 4..);
    follower.log.append_as_follower(&mut follower.appender, rest, 0, NOW).unwrap();
    assert_eq!(follower.values(0), leader.values(0));
}

#[test]
fn several_batches_of_a_coordinator_go_in_with_one_append() {
    let mut t = TestLog::new(&[]);
    let mut records = batch(NOW, &["a", "b"]).to_vec();
    records.extend_from_slice(&batch_with(Compression::Gzip, ProducerState::NONE, NOW, &["c"]));
    records.extend_from_slice(&batch(NOW, &["d"]));
    let info = t.append_marker(records.into()).unwrap();
    assert_eq!((info.first_offset, info.last_offset), (0, 3));
    let read = t.log.read(0, 10_000, FetchIsolation::LogEnd, true).unwrap().read().unwrap();
    let bases: Vec<_> = RecordBatches::new(read).map(|b| b.unwrap().base_offset()).collect();
    assert_eq!(bases, [0, 2, 3]);
    let mut decompressor = Decompressor::default();
    let read = t.log.read(2, 1, FetchIsolation::LogEnd, true).unwrap().read().unwrap();
    let batch = RecordBatches::new(read).next().unwrap().unwrap();
    let offsets: Vec<_> = batch.records(&mut decompressor).unwrap().map(|r| r.unwrap().offset()).collect();
    assert_eq!(offsets, [2]);
}

#[test]
fn a_batch_that_decompresses_to_more_than_the_limit_is_too_large() {
    let mut t = TestLog::new(&[]);
    let zeros = "0".repeat(6_000_000);
    let bomb = || batch_with(Compression::Zstd, ProducerState::NONE, NOW, &[&zeros]);
    let context = |limit| AppendContext { max_decompressed_bytes: limit, ..AppendContext::client(0, NOW) };
    let refused = t.log.append_as_leader(&mut t.appender, bomb(), context(11_000_000)).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::MessageTooLarge);
    assert!(refused.to_string().contains("max.decompressed.batch.bytes"), "{refused}");
    t.log.append_as_leader(&mut t.appender, bomb(), context(13_000_000)).unwrap();
    // What is in the log is found by its timestamp under any limit.
    let found = t.log.fetch_offset_by_timestamp(TimestampQuery::At(NOW)).unwrap();
    assert_eq!(found.map(|found| found.offset), Some(0));
}
