use super::*;
use crate::record::{HeaderView, MAGIC_V2, ProducerState};

const NOW: i64 = 1_700_000_000_000;

fn builder(compression: Compression) -> RecordBatchBuilder {
    let mut builder = RecordBatchBuilder::new(compression);
    for (timestamp, key, value) in [(NOW, "a", "1"), (NOW + 7, "b", "2"), (NOW - 5, "c", "3")] {
        let header = HeaderView::new("h", Some(b"x"));
        builder.append(timestamp, Some(key.as_bytes()), Some(value.as_bytes()), [header]).unwrap();
    }
    builder
}

fn batch(compression: Compression) -> RecordBatch {
    RecordBatch::parse(builder(compression).build().unwrap()).unwrap()
}

fn validate(batch: &RecordBatch, rules: &AppendRules) -> Result<ValidatedBatch, ValidationError> {
    BatchValidator::default().validate(batch, rules, 1000, 9, TimestampMs(NOW + 100))
}

/// Key, value, timestamp and offset of all records, after a check of the CRC.
fn contents(validated: &ValidatedBatch) -> Vec<(String, String, i64, i64)> {
    let batch = RecordBatch::parse(validated.to_bytes()).unwrap();
    batch.verify_crc().unwrap();
    assert_eq!(batch.header(), validated.header());
    let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap().to_vec()).unwrap();
    let mut decompressor = Decompressor::new();
    batch
        .records(&mut decompressor)
        .unwrap()
        .map(|record| {
            let record = record.unwrap();
            assert_eq!(record.headers().len(), 1);
            let (key, value) = (text(record.key()), text(record.value()));
            (key, value, record.timestamp(), record.offset())
        })
        .collect()
}

fn expected(timestamps: [i64; 3]) -> Vec<(String, String, i64, i64)> {
    let [first, second, third] = timestamps;
    vec![
        ("a".into(), "1".into(), first, 1000),
        ("b".into(), "2".into(), second, 1001),
        ("c".into(), "3".into(), third, 1002),
    ]
}

#[test]
fn offsets_and_leader_epoch_are_assigned_without_touching_the_records() {
    for compression in Compression::ALL {
        let batch = batch(compression);
        let validated = validate(&batch, &AppendRules::default()).unwrap();
        assert!(!validated.was_rebuilt());
        assert_eq!(validated.records().as_ptr(), batch.raw_records().as_ptr());
        assert_eq!(validated.header().base_offset(), 1000);
        assert_eq!(validated.header().last_offset(), 1002);
        assert_eq!(validated.header().partition_leader_epoch(), 9);
        assert_eq!(validated.header().crc(), batch.crc());
        assert_eq!(contents(&validated), expected([NOW, NOW + 7, NOW - 5]));
    }
}

#[test]
fn log_append_time_is_the_time_of_every_record() {
    let rules = AppendRules { timestamp_type: TimestampType::LogAppendTime, ..AppendRules::default() };
    for compression in Compression::ALL {
        let validated = validate(&batch(compression), &rules).unwrap();
        assert!(!validated.was_rebuilt());
        assert_eq!(validated.header().max_timestamp(), NOW + 100);
        assert_eq!(contents(&validated), expected([NOW + 100; 3]));
    }
}

#[test]
fn the_topics_codec_replaces_the_producers() {
    for source in Compression::ALL {
        for target in Compression::ALL {
            for timestamp_type in [TimestampType::CreateTime, TimestampType::LogAppendTime] {
                let rules = AppendRules { codec: Some(target.into()), timestamp_type, ..AppendRules::default() };
                let mut builder = builder(source);
                builder.set_producer_state(ProducerState::transactional(5, 1, 77));
                let batch = RecordBatch::parse(builder.build().unwrap()).unwrap();
                let validated = validate(&batch, &rules).unwrap();
                assert_eq!(validated.was_rebuilt(), source != target);
                assert_eq!(validated.header().compression(), target);
                assert_eq!(validated.header().partition_leader_epoch(), 9);
                assert_eq!(validated.header().producer_state(), ProducerState::transactional(5, 1, 77));
                let timestamps = match timestamp_type {
                    TimestampType::CreateTime => [NOW, NOW + 7, NOW - 5],
                    TimestampType::LogAppendTime => [NOW + 100; 3],
                };
                assert_eq!(contents(&validated), expected(timestamps));
            }
        }
    }
}

#[test]
fn a_wrong_max_timestamp_is_corrected() {
    let batch = batch(Compression::None);
    let mut header = *batch.header();
    assert!(header.set_max_timestamp(TimestampType::CreateTime, NOW + 5000));
    let batch = with_header(&batch, header);
    let validated = validate(&batch, &AppendRules::default()).unwrap();
    assert_eq!(validated.header().max_timestamp(), NOW + 7);
    assert_eq!(contents(&validated), expected([NOW, NOW + 7, NOW - 5]));
}

fn with_header(batch: &RecordBatch, mut header: RecordBatchHeader) -> RecordBatch {
    header.update_crc(batch.raw_records());
    let mut bytes = header.to_bytes().to_vec();
    bytes.extend_from_slice(batch.raw_records());
    RecordBatch::parse(bytes.into()).unwrap()
}

/// The batch with four bytes of its header replaced, and its CRC set.
fn with_field(batch: &RecordBatch, at: usize, value: i32) -> RecordBatch {
    let mut bytes = batch.bytes().to_vec();
    bytes[at..at + 4].copy_from_slice(&value.to_be_bytes());
    let header = RecordBatchHeader::parse(&bytes).unwrap();
    with_header(&RecordBatch::parse(bytes.into()).unwrap(), header)
}

const LAST_OFFSET_DELTA: usize = 23;
const COUNT: usize = 57;

#[test]
fn counts_that_do_not_agree_are_refused() {
    let batch = batch(Compression::Zstd);
    for (at, value, message) in [
        (LAST_OFFSET_DELTA, -1, "Batch has an invalid offset range: [0, -1]"),
        (LAST_OFFSET_DELTA, 3, "Inconsistent batch offset range [0, 3] and count of records 3"),
        (COUNT, 0, "Invalid reported count for record batch: 0"),
        (COUNT, -3, "Invalid reported count for record batch: -3"),
        (COUNT, 2, "Inconsistent batch offset range [0, 2] and count of records 2"),
    ] {
        let refused = validate(&with_field(&batch, at, value), &AppendRules::default());
        let refused = refused.unwrap_err();
        assert_eq!(refused.to_string(), message);
        assert_eq!(refused.error_code(), ErrorCode::InvalidRecord);
    }
}

#[test]
fn records_fewer_or_more_than_counted_are_refused() {
    for compression in Compression::ALL {
        let batch = batch(compression);
        for count in [2, 4] {
            let batch = with_field(&batch, COUNT, count);
            let batch = with_field(&batch, LAST_OFFSET_DELTA, count - 1);
            let refused = validate(&batch, &AppendRules::default()).unwrap_err();
            assert_eq!(refused.error_code(), ErrorCode::InvalidRecord);
        }
    }
}

#[test]
fn gaps_between_offsets_are_closed() {
    for compression in Compression::ALL {
        let mut builder = RecordBatchBuilder::new(compression);
        for (offset, key) in [(0, "a"), (2, "b"), (3, "c")] {
            let header = HeaderView::new("h", None);
            let mut single = RecordBatchBuilder::new(Compression::None).base_offset(offset);
            single.append(NOW, Some(key.as_bytes()), Some(b"1"), [header]).unwrap();
            let single = RecordBatch::parse(single.build().unwrap()).unwrap();
            let mut decompressor = Decompressor::new();
            for record in single.records(&mut decompressor).unwrap() {
                builder.append_with_offset(&record.unwrap()).unwrap();
            }
        }
        let batch = RecordBatch::parse(builder.build().unwrap()).unwrap();
        assert_eq!(batch.last_offset(), 3);
        let batch = with_field(&batch, LAST_OFFSET_DELTA, 2);
        let validated = validate(&batch, &AppendRules::default()).unwrap();
        assert!(validated.was_rebuilt());
        let offsets: Vec<_> = contents(&validated).iter().map(|r| r.3).collect();
        assert_eq!(offsets, [1000, 1001, 1002]);
    }
}

#[test]
fn compacted_topics_need_keys() {
    let mut builder = builder(Compression::Lz4);
    builder.append(NOW, None, Some(b"4"), []).unwrap();
    let batch = RecordBatch::parse(builder.build().unwrap()).unwrap();
    let rules = AppendRules { is_compacted: true, ..AppendRules::default() };
    let refused = validate(&batch, &rules).unwrap_err();
    assert_eq!(refused.error_code(), ErrorCode::InvalidRecord);
    assert_eq!(
        refused.invalid_records(),
        [InvalidRecord { index: 3, message: "Compacted topic cannot accept message without key".into() }]
    );
    assert!(validate(&batch, &AppendRules::default()).is_ok());
}

#[test]
fn timestamps_out_of_range_are_refused() {
    let rules = AppendRules { timestamp_before_max_ms: 104, timestamp_after_max_ms: 0, ..AppendRules::default() };
    let refused = validate(&batch(Compression::None), &rules).unwrap_err();
    assert_eq!(refused.error_code(), ErrorCode::InvalidTimestamp);
    assert_eq!(refused.to_string(), "One or more records have been rejected due to invalid timestamp");
    let [record] = refused.invalid_records() else {
        panic!("one record is too old: {refused:?}");
    };
    assert_eq!(record.index, 2);
    assert_eq!(
        record.message,
        "Timestamp 1699999999995 of message with offset 2 is out of range. \
         The timestamp should be within [1699999999996, 1700000000100]"
    );

    let hour = 60 * 60 * 1000;
    for (timestamp, fits) in [(NOW + 100 + hour, true), (NOW + 101 + hour, false), (-1, true)] {
        let mut builder = RecordBatchBuilder::new(Compression::None);
        builder.append(timestamp, None, None, []).unwrap();
        let batch = RecordBatch::parse(builder.build().unwrap()).unwrap();
        assert_eq!(validate(&batch, &AppendRules::default()).is_ok(), fits);
    }
}

#[test]
fn producers_do_not_set_log_append_time() {
    let builder = builder(Compression::None).log_append_time(NOW);
    let batch = RecordBatch::parse(builder.build().unwrap()).unwrap();
    let rules = AppendRules { timestamp_type: TimestampType::LogAppendTime, ..AppendRules::default() };
    let refused = validate(&batch, &rules).unwrap_err();
    assert_eq!(refused.error_code(), ErrorCode::InvalidTimestamp);
    assert_eq!(refused.invalid_records().len(), 3);
}

#[test]
fn control_records_and_missing_sequences_are_refused_from_clients_only() {
    let marker = crate::record::control::EndTransactionMarker { committed: true, coordinator_epoch: 1 };
    let batch = RecordBatch::parse(marker.to_batch(TimestampMs(NOW), 5, 0).unwrap()).unwrap();
    let refused = validate(&batch, &AppendRules::default()).unwrap_err();
    assert_eq!(refused.to_string(), "Clients are not allowed to write control records");
    let rules = AppendRules {
        origin: AppendOrigin::Coordinator,
        codec: Some(Compression::Zstd.into()),
        ..AppendRules::default()
    };
    let validated = validate(&batch, &rules).unwrap();
    assert!(!validated.was_rebuilt(), "markers stay uncompressed");
    assert_eq!(validated.header().base_offset(), 1000);

    let mut idempotent = builder(Compression::None);
    idempotent.set_producer_state(ProducerState::idempotent(5, 0, 3));
    let idempotent = RecordBatch::parse(idempotent.build().unwrap()).unwrap();
    const BASE_SEQUENCE: usize = 53;
    let refused = validate(&with_field(&idempotent, BASE_SEQUENCE, -1), &AppendRules::default());
    assert_eq!(refused.unwrap_err().to_string(), "Invalid sequence number -1 in record batch with producerId 5");
}

#[test]
fn validated_batches_are_of_the_current_magic() {
    let validated = validate(&batch(Compression::Gzip), &AppendRules::default()).unwrap();
    assert_eq!(validated.header_bytes()[16] as i8, MAGIC_V2);
}

/// A batch with one record of so many zeros.
fn bomb(compression: Compression, size: usize) -> RecordBatch {
    let mut builder = RecordBatchBuilder::new(compression);
    builder.append(NOW, Some(b"k"), Some(&vec![0; size]), []).unwrap();
    RecordBatch::parse(builder.build().unwrap()).unwrap()
}

#[test]
fn a_bomb_is_refused_behind_the_limit_as_too_large() {
    for compression in Compression::ALL.into_iter().filter(|compression| *compression != Compression::None) {
        // Behind what is decompressed as a whole, and before.
        for limit in [8_000_000, 1_000_000] {
            let bomb = bomb(compression, 12_000_000);
            let rules = AppendRules { max_decompressed_bytes: limit, ..AppendRules::default() };
            let refused = validate(&bomb, &rules).unwrap_err();
            assert_eq!(refused, ValidationError::Batch(RecordError::DecompressedTooLarge { limit }), "{compression}");
            assert_eq!(refused.error_code(), ErrorCode::MessageTooLarge);
        }
        let validated = validate(&bomb(compression, 12_000_000), &AppendRules::default()).unwrap();
        assert_eq!(validated.header().max_timestamp(), NOW);
    }
}

#[test]
fn a_limit_holds_for_a_batch_that_is_compressed_anew() {
    let rules = AppendRules {
        codec: Some(Compression::Lz4.into()),
        max_decompressed_bytes: 1_000_000,
        ..AppendRules::default()
    };
    let refused = validate(&bomb(Compression::Zstd, 2_000_000), &rules).unwrap_err();
    assert_eq!(refused.error_code(), ErrorCode::MessageTooLarge);
}

#[test]
fn no_more_than_ten_thousand_records_are_refused_by_name() {
    let mut builder = RecordBatchBuilder::new(Compression::Zstd);
    for _ in 0..10_050 {
        builder.append(NOW, None, Some(b""), []).unwrap();
    }
    let batch = RecordBatch::parse(builder.build().unwrap()).unwrap();
    let rules = AppendRules { is_compacted: true, ..AppendRules::default() };
    let refused = validate(&batch, &rules).unwrap_err();
    assert_eq!(refused.invalid_records().len(), 10_000);
    assert!(refused.to_string().contains("10050 record errors"), "{refused}");
}
