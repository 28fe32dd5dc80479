use bytes::Bytes;
use proptest::prelude::*;

use super::*;

/// A record as a test compares it.
#[derive(Debug, Clone, PartialEq)]
struct TestRecord {
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Option<Vec<u8>>)>,
}

impl TestRecord {
    fn new(timestamp: i64, key: &str, value: &str) -> Self {
        Self { timestamp, key: Some(key.into()), value: Some(value.into()), headers: Vec::new() }
    }

    fn of(record: &RecordView<'_>) -> Self {
        Self {
            timestamp: record.timestamp(),
            key: record.key().map(<[u8]>::to_vec),
            value: record.value().map(<[u8]>::to_vec),
            headers: record
                .headers()
                .map(|header| (header.key().into_owned(), header.value().map(<[u8]>::to_vec)))
                .collect(),
        }
    }

    fn append_to(&self, builder: &mut RecordBatchBuilder) -> Result<i32, RecordError> {
        builder.append(self.timestamp, self.key.as_deref(), self.value.as_deref(), self.header_views())
    }

    fn header_views(&self) -> impl Iterator<Item = HeaderView<'_>> + Clone {
        self.headers.iter().map(|(key, value)| HeaderView::new(key, value.as_deref()))
    }
}

fn arbitrary_record() -> impl Strategy<Value = TestRecord> {
    let bytes = || prop::option::of(prop::collection::vec(any::<u8>(), 0..200));
    (
        prop_oneof![Just(-1), 0..i64::MAX, 1_700_000_000_000_i64..1_700_000_100_000],
        bytes(),
        bytes(),
        prop::collection::vec((".{0,10}", bytes()), 0..4),
    )
        .prop_map(|(timestamp, key, value, headers)| TestRecord { timestamp, key, value, headers })
}

fn arbitrary_compression() -> impl Strategy<Value = Compression> {
    prop::sample::select(Compression::ALL.to_vec())
}

fn build(codec: impl Into<Codec>, records: &[TestRecord]) -> RecordBatch {
    let mut builder = RecordBatchBuilder::new(codec);
    for (index, record) in records.iter().enumerate() {
        assert_eq!(record.append_to(&mut builder), Ok(index as i32));
    }
    RecordBatch::parse(builder.build().unwrap()).unwrap()
}

fn read(batch: &RecordBatch) -> Result<Vec<TestRecord>, RecordError> {
    let mut decompressor = Decompressor::with_limit(10_000_000);
    batch.records(&mut decompressor)?.map(|record| record.map(|record| TestRecord::of(&record))).collect()
}

fn three() -> Vec<TestRecord> {
    vec![TestRecord::new(1000, "a", "1"), TestRecord::new(1005, "b", "2"), TestRecord::new(995, "c", "3")]
}

proptest! {
    #[test]
    fn what_is_built_is_read(
        compression in arbitrary_compression(),
        records in prop::collection::vec(arbitrary_record(), 1..30),
        base_offset in 0..i64::MAX / 2,
        epoch in -1..100,
    ) {
        let mut builder = RecordBatchBuilder::with_capacity(compression, 1024)
            .base_offset(base_offset)
            .partition_leader_epoch(epoch);
        for record in &records {
            record.append_to(&mut builder).unwrap();
        }
        let uncompressed = builder.records_size();
        let state = ProducerState::transactional(5, 6, 7);
        builder.set_producer_state(state);
        let batch = RecordBatch::parse(builder.build().unwrap()).unwrap();
        batch.verify_crc().unwrap();

        prop_assert_eq!(batch.size(), batch.bytes().len());
        prop_assert_eq!(batch.base_offset(), base_offset);
        prop_assert_eq!(batch.next_offset(), base_offset + records.len() as i64);
        prop_assert_eq!(batch.partition_leader_epoch(), epoch);
        prop_assert_eq!(batch.producer_state(), state);
        prop_assert_eq!(batch.count() as usize, records.len());
        prop_assert_eq!(batch.compression(), compression);
        prop_assert_eq!(batch.base_timestamp(), records[0].timestamp);
        let max = records.iter().map(|record| record.timestamp).max();
        prop_assert_eq!(Some(batch.max_timestamp()), max);
        prop_assert_eq!(&read(&batch).unwrap(), &records);

        let decoded = batch.decode(&mut Decompressor::new()).unwrap();
        prop_assert_eq!(decoded.records_size(), uncompressed);
        let owned: Result<Vec<_>, _> = decoded.into_owned_records().collect();
        for ((index, owned), record) in owned.unwrap().iter().enumerate().zip(&records) {
            prop_assert_eq!(owned.offset(), base_offset + index as i64);
            prop_assert_eq!(&TestRecord::of(&owned.view()), record);
            prop_assert_eq!(owned.key_bytes().map(|key| key.to_vec()), record.key.clone());
            prop_assert_eq!(owned.value_bytes().map(|value| value.to_vec()), record.value.clone());
        }
    }

    #[test]
    fn the_header_round_trips(
        bits in 0_i16..0x80,
        base_offset: i64,
        epoch: i32,
        delta: i32,
    ) {
        let attributes = Attributes::from_bits(bits);
        let mut header = RecordBatchHeader::empty(base_offset, delta, attributes);
        header.set_partition_leader_epoch(epoch);
        let bytes = header.to_bytes();
        prop_assert_eq!(RecordBatchHeader::parse(&bytes), Ok(header));
        prop_assert_eq!(RecordBatchHeader::peek_size(&bytes), Ok(Some(BATCH_OVERHEAD)));
        let batch = RecordBatch::parse(Bytes::copy_from_slice(&bytes)).unwrap();
        prop_assert_eq!(batch.verify_crc(), Ok(()));
        prop_assert_eq!(read(&batch), Ok(vec![]));
    }

    #[test]
    fn room_and_size_are_told_exactly_without_a_codec(
        records in prop::collection::vec(arbitrary_record(), 1..30),
        limit in 61_usize..4000,
    ) {
        let mut builder = RecordBatchBuilder::with_capacity(Compression::None, limit);
        for record in &records {
            let (key, value) = (record.key.as_ref(), record.value.as_ref());
            let has_room = builder.has_room_for(
                record.timestamp,
                key.map(Vec::len),
                value.map(Vec::len),
                record.header_views(),
            );
            let first = builder.is_empty();
            let full = builder.is_full();
            record.append_to(&mut builder).unwrap();
            prop_assert_eq!(has_room, first || builder.estimated_size() <= limit);
            prop_assert!(!(full && has_room));
        }
        let size = builder.estimated_size();
        prop_assert_eq!(builder.build().unwrap().len(), size);
    }

    #[test]
    fn arbitrary_bytes_behind_a_header_never_panic(
        compression in arbitrary_compression(),
        count: i32,
        bytes: Vec<u8>,
    ) {
        let attributes = Attributes::default().with_compression(compression);
        let mut batch = RecordBatchHeader::empty(0, 0, attributes).to_bytes().to_vec();
        batch[8..12].copy_from_slice(&(49 + bytes.len() as i32).to_be_bytes());
        batch[22] = attributes.bits() as u8;
        batch[57..61].copy_from_slice(&count.to_be_bytes());
        batch.extend(&bytes);
        let batch = RecordBatch::parse(batch.into()).unwrap();
        prop_assert_eq!(batch.compression(), compression);
        if let Ok(records) = read(&batch) {
            prop_assert_eq!(records.len(), count as usize);
        }
        let mut decompressor = Decompressor::with_limit(10_000);
        if let Ok(decoded) = batch.decode(&mut decompressor) {
            prop_assert!(decoded.iter().size_hint().1 <= Some(10_000));
            decoded.into_owned_records().for_each(drop);
        }
    }

    #[test]
    fn arbitrary_bytes_are_not_batches(bytes: Vec<u8>) {
        let _ = RecordBatchHeader::parse(&bytes);
        let mut copy = bytes.clone();
        let _ = BatchPatch::new(&mut copy);
        for batch in RecordBatches::new(bytes.into()) {
            prop_assert!(batch.is_err() || batch.unwrap().verify_crc().is_err());
        }
    }

    #[test]
    fn flipped_bits_are_noticed(
        compression in arbitrary_compression(),
        at in any::<prop::sample::Index>(),
        bit in 0..8,
    ) {
        let batch = build(compression, &three());
        let mut bytes = batch.bytes().to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= 1_u8 << bit;
        // The CRC covers neither base offset nor leader epoch.
        let uncovered = at < 8 || (12..16).contains(&at);
        let noticed = match RecordBatch::parse(bytes.into()) {
            Ok(batch) => batch.verify_crc().is_err(),
            Err(_) => true,
        };
        prop_assert_eq!(noticed, !uncovered);
    }
}

#[test]
fn a_batch_that_is_cut_off_is_an_error_and_ends_an_iteration() {
    let batch = build(Compression::None, &three());
    for length in 0..batch.size() {
        let cut_off = batch.bytes().slice(..length);
        let error = RecordBatch::parse(cut_off.clone()).unwrap_err();
        assert!(matches!(error, RecordError::Truncated { available, .. } if available == length));
        let mut batches = RecordBatches::new(cut_off.clone());
        assert!(batches.next().is_none());
        assert_eq!(batches.remaining(), &cut_off);
    }
}

#[test]
fn batches_that_follow_one_another_share_their_bytes() {
    let (first, second) = (build(Compression::None, &three()), build(Compression::Lz4, &three()));
    let both = Bytes::from([&first.bytes()[..], &second.bytes()[..], &[0; 11]].concat());
    let mut batches = RecordBatches::new(both.clone());
    let read = batches.next().unwrap().unwrap();
    assert_eq!(read, first);
    assert_eq!(read.bytes().as_ptr(), both.as_ptr());
    assert_eq!(batches.next().unwrap().unwrap(), second);
    assert!(batches.next().is_none());
    assert_eq!(batches.remaining().len(), 11);
}

#[test]
fn an_iteration_over_batches_stops_at_an_error() {
    let first = build(Compression::None, &three());
    let mut bytes = [&first.bytes()[..], &first.bytes()[..]].concat();
    bytes[first.size() + 16] = 3;
    let read: Vec<_> = RecordBatches::new(bytes.into()).collect();
    assert_eq!(read, [Ok(first), Err(RecordError::InvalidMagic { magic: 3 })]);
}

#[test]
fn older_message_sets_are_refused_by_name() {
    // A message of magic 1, as Kafka 0.10 wrote it: offset, size, CRC, magic, attributes,
    // timestamp, null key, empty value.
    let mut message = vec![0; 8];
    message.extend(22_i32.to_be_bytes());
    message.extend([0, 0, 0, 0, 1, 0]);
    message.extend([0; 8]);
    message.extend((-1_i32).to_be_bytes());
    message.extend(0_i32.to_be_bytes());
    for magic in [0, 1] {
        message[16] = magic;
        let refused = RecordError::UnsupportedMagic { magic: magic as i8 };
        assert_eq!(
            refused.to_string(),
            format!("message set with magic {magic} is older than record batch v2 and is not supported")
        );
        assert_eq!(RecordBatchHeader::parse(&message), Err(refused.clone()));
        let mut batches = RecordBatches::new(message.clone().into());
        assert_eq!(batches.next(), Some(Err(refused)));
        assert_eq!(batches.next(), None);
    }
}

#[test]
fn header_fields_that_no_batch_has_are_refused() {
    let batch = build(Compression::None, &three());
    let with = |at: usize, value: &[u8]| {
        let mut bytes = batch.bytes().to_vec();
        bytes[at..at + value.len()].copy_from_slice(value);
        RecordBatchHeader::parse(&bytes)
    };
    for (length, size) in [(48, 60), (0, 12), (-1, 11), (i32::MIN, i64::from(i32::MIN) + 12)] {
        let refused = with(8, &i32::to_be_bytes(length));
        assert_eq!(refused, Err(RecordError::BatchTooSmall { size }));
    }
    for id in 5..8 {
        assert_eq!(with(22, &[id]), Err(RecordError::UnknownCompression { id }));
    }
    assert_eq!(with(16, &[0xff]), Err(RecordError::InvalidMagic { magic: -1 }));
}

#[test]
fn a_count_that_is_not_that_of_the_records_is_noticed() {
    let batch = build(Compression::None, &three());
    let with_count = |count: i32| {
        let mut bytes = batch.bytes().to_vec();
        bytes[57..61].copy_from_slice(&count.to_be_bytes());
        read(&RecordBatch::parse(bytes.into()).unwrap())
    };
    assert_eq!(with_count(3).unwrap().len(), 3);
    let size = (batch.size() - BATCH_OVERHEAD) / 3;
    for (count, remaining) in [(0, 3 * size), (2, size)] {
        assert_eq!(with_count(count), Err(RecordError::TrailingBytes { remaining, count }));
    }
    for count in [4, i32::MAX] {
        assert_eq!(with_count(count), Err(RecordError::InvalidRecord { index: 3, reason: "its length is cut off" }));
    }
    assert_eq!(with_count(-1), Err(RecordError::InvalidRecordCount { count: -1 }));
}

#[test]
fn fields_outside_the_crc_are_patched_in_place() {
    let batch = build(Compression::Snappy, &three());
    let mut bytes = batch.bytes().to_vec();
    let mut patch = BatchPatch::new(&mut bytes).unwrap();
    patch.set_base_offset(1_000_000);
    patch.set_partition_leader_epoch(12);
    let patched = RecordBatch::parse(bytes.clone().into()).unwrap();
    patched.verify_crc().unwrap();
    assert_eq!(patched.crc(), batch.crc());
    assert_eq!((patched.base_offset(), patched.last_offset()), (1_000_000, 1_000_002));
    assert_eq!(patched.partition_leader_epoch(), 12);
    assert_eq!(read(&patched).unwrap(), three());

    let mut patch = BatchPatch::new(&mut bytes).unwrap();
    patch.set_last_offset(2);
    assert_eq!(patch.header().base_offset(), 0);
}

#[test]
fn fields_inside_the_crc_are_patched_with_it() {
    let batch = build(Compression::None, &three());
    // Bytes of another batch behind it are left alone.
    let mut bytes = [&batch.bytes()[..], &[0xaa; 5]].concat();
    let mut patch = BatchPatch::new(&mut bytes).unwrap();
    patch.set_max_timestamp(TimestampType::LogAppendTime, 7777);
    let state = ProducerState::transactional(1, 2, 3);
    patch.set_producer_state(state).unwrap();
    let invalid = ProducerState::idempotent(1, -1, 3);
    assert!(patch.set_producer_state(invalid).is_err());
    assert_eq!(bytes[batch.size()..], [0xaa; 5]);
    let patched = RecordBatch::parse(bytes.into()).unwrap();
    patched.verify_crc().unwrap();
    assert_ne!(patched.crc(), batch.crc());
    assert_eq!(patched.producer_state(), state);
    assert!(patched.is_transactional());
    assert_eq!(patched.log_append_time(), Some(7777));
    assert!(read(&patched).unwrap().iter().all(|record| record.timestamp == 7777));
}

#[test]
fn an_unchanged_timestamp_leaves_the_crc() {
    let batch = build(Compression::None, &three());
    let mut header = *batch.header();
    assert!(!header.set_max_timestamp(TimestampType::CreateTime, 1005));
    assert!(header.set_max_timestamp(TimestampType::CreateTime, 1006));
}

#[test]
fn a_builder_refuses_what_a_batch_cannot_say() {
    let empty = RecordBatchBuilder::new(Compression::None);
    assert_eq!(empty.build(), Err(RecordError::EmptyBatch));

    let mut builder = RecordBatchBuilder::new(Compression::None);
    let refused = builder.append(-2, None, None, []);
    assert_eq!(refused, Err(RecordError::InvalidTimestamp { timestamp: -2 }));
    assert!(builder.is_empty());
    builder.append(-1, None, None, []).unwrap();
    builder.set_producer_state(ProducerState::idempotent(1, 0, -1));
    assert!(matches!(builder.build(), Err(RecordError::InvalidProducerState { .. })));
}

#[test]
fn compaction_keeps_offsets() {
    let source = build(Compression::None, &three());
    let mut builder =
        RecordBatchBuilder::new(Compression::Zstd).base_offset(source.base_offset()).delete_horizon_ms(500);
    let mut decompressor = Decompressor::new();
    let records = source.records(&mut decompressor).unwrap();
    let kept = records.map(Result::unwrap).nth(1).unwrap();
    builder.append_with_offset(&kept).unwrap();
    assert!(builder.append_with_offset(&kept).is_err(), "offsets ascend");
    assert!(builder.set_last_offset(0).is_err());
    builder.set_last_offset(2).unwrap();
    let batch = RecordBatch::parse(builder.build().unwrap()).unwrap();
    assert_eq!((batch.base_offset(), batch.last_offset(), batch.count()), (0, 2, 1));
    assert_eq!(batch.delete_horizon_ms(), Some(500));
    let mut decompressor = Decompressor::new();
    let record = batch.records(&mut decompressor).unwrap().next().unwrap().unwrap();
    assert_eq!((record.offset(), record.timestamp()), (1, 1005));
}

/// As a producer does it when a broker answers that a batch is too large.
#[test]
fn a_batch_is_split_by_its_records() {
    let records: Vec<_> = (0..100).map(|i| TestRecord::new(1000 + i, "key", &"x".repeat(i as usize))).collect();
    for compression in Compression::ALL {
        let whole = build(compression, &records);
        let new_builder = || RecordBatchBuilder::with_capacity(compression, 1500);
        let mut builders = vec![new_builder()];
        let mut decompressor = Decompressor::new();
        for record in whole.records(&mut decompressor).unwrap() {
            let record = record.unwrap();
            let (key, value) = (record.key().map(<[u8]>::len), record.value().map(<[u8]>::len));
            let builder = builders.last_mut().unwrap();
            if builder.has_room_for(record.timestamp(), key, value, record.headers()) {
                builder.append_record(&record).unwrap();
            } else {
                let mut builder = new_builder();
                builder.append_record(&record).unwrap();
                builders.push(builder);
            }
        }
        assert!(builders.len() > 3);
        let mut sequence = 0;
        let mut split = Vec::new();
        for mut builder in builders {
            builder.set_producer_state(ProducerState::idempotent(1, 0, sequence));
            let batch = RecordBatch::parse(builder.build().unwrap()).unwrap();
            assert!(batch.size() <= 1500);
            sequence = increment_sequence(batch.last_sequence(), 1);
            split.extend(read(&batch).unwrap());
        }
        assert_eq!(sequence, 100);
        assert_eq!(split, records);
    }
}

#[test]
fn a_buffer_is_used_again() {
    let batch = build(Compression::None, &three()).into_bytes();
    let address = batch.as_ptr();
    let buffer = Vec::from(batch);
    let mut builder = RecordBatchBuilder::with_buffer(Compression::None, buffer, 16_384);
    builder.append(5, Some(b"k"), Some(b"v"), []).unwrap();
    let batch = RecordBatch::parse(builder.build().unwrap()).unwrap();
    batch.verify_crc().unwrap();
    assert_eq!(batch.bytes().as_ptr(), address);
    assert_eq!(read(&batch).unwrap(), [TestRecord::new(5, "k", "v")]);
}

#[test]
fn a_batch_fills_to_its_estimated_compressed_size() {
    let mut builder = RecordBatchBuilder::with_capacity(Compression::Zstd, 1000);
    builder.set_estimated_ratio(0.1);
    let record = TestRecord::new(5, "key", &"moby dick ".repeat(10));
    while builder.has_room_for(5, Some(3), Some(100), []) {
        record.append_to(&mut builder).unwrap();
    }
    assert!(builder.records_size() > 7_000, "{}", builder.records_size());
    assert!((880..=1000).contains(&builder.estimated_size()));
    assert!(builder.build().unwrap().len() < 1000);
}

#[test]
fn headers_are_found_by_name_and_may_repeat() {
    let mut record = TestRecord::new(0, "k", "v");
    record.headers = vec![("a".into(), Some(b"1".to_vec())), ("b".into(), None), ("a".into(), Some(b"2".to_vec()))];
    let batch = build(Compression::None, &[record]);
    let mut decompressor = Decompressor::new();
    let record = batch.records(&mut decompressor).unwrap().next().unwrap().unwrap();
    let headers = record.headers();
    assert_eq!(headers.len(), 3);
    assert_eq!(headers.last("a"), Some(HeaderView::new("a", Some(b"2"))));
    assert_eq!(headers.last("b").unwrap().value(), None);
    assert_eq!(headers.last("c"), None);
}

#[test]
fn records_that_do_not_parse_are_refused() {
    // Length, attributes, timestamp, offset, null key, null value, then the header count.
    let good = [12, 0, 0, 0, 1, 1, 0];
    let parse = |record: &[u8]| {
        let mut header = RecordBatchHeader::empty(0, 0, Attributes::default());
        header.set_base_offset(0);
        let mut bytes = header.to_bytes().to_vec();
        bytes[8..12].copy_from_slice(&(49 + record.len() as i32).to_be_bytes());
        bytes[57..61].copy_from_slice(&1_i32.to_be_bytes());
        bytes.extend(record);
        read(&RecordBatch::parse(bytes.into()).unwrap()).map(|records| records.len())
    };
    assert_eq!(parse(&good), Ok(1));
    for (record, reason) in [
        (&[0][..], "it is empty"),
        (&[1], "its length is not within the batch"),
        (&[14, 0, 0, 0, 1, 1, 0], "its length is not within the batch"),
        (&[0xff, 0xff, 0xff, 0xff, 0xff, 0], "its length is cut off"),
        (&[2, 0], "its timestamp is cut off"),
        (&[4, 0, 0], "its offset is cut off"),
        (&[8, 0, 0, 0, 2], "its key is cut off"),
        (&[10, 0, 0, 0, 1, 2], "its value is cut off"),
        (&[10, 0, 0, 0, 1, 1], "its header count is cut off"),
        (&[12, 0, 0, 0, 1, 1, 1], "its header count is negative"),
        (&[14, 0, 0, 0, 1, 1, 2, 2], "its header count is larger than the rest of the record"),
        (&[16, 0, 0, 0, 1, 1, 2, 1, 1], "its headers are cut off or have a null name"),
        (&[14, 0, 0, 0, 1, 1, 0, 0], "it is shorter than its length"),
    ] {
        let expected = RecordError::InvalidRecord { index: 0, reason };
        assert_eq!(parse(record), Err(expected), "{record:?}");
    }
}
