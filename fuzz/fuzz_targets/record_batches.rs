//! Record batches as a broker gets them from a producer and a consumer from a broker.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use vltava_protocol::TimestampMs;
use vltava_protocol::record::control::EndTransactionMarker;
use vltava_protocol::record::validate::{AppendRules, BatchValidator};
use vltava_protocol::record::{BatchPatch, Compression, Decompressor, RecordBatch, RecordBatches, TimestampType};

const LIMIT: usize = 1 << 20;

fuzz_target!(|data: &[u8]| {
    for batch in RecordBatches::new(Bytes::copy_from_slice(data)).flatten() {
        read(&batch);
        validate(&batch);
        let mut copy = batch.bytes().to_vec();
        let mut patch = BatchPatch::new(&mut copy).expect("the header was parsed before");
        patch.set_base_offset(7);
        patch.set_max_timestamp(TimestampType::LogAppendTime, 8);
        let patched = RecordBatch::parse(copy.into()).expect("it was one before");
        if patched.header().crc() != batch.crc() {
            patched.verify_crc().expect("the patch sets the crc");
        }
    }
});

/// Borrowed and owned records are the same, to the error at their end.
fn read(batch: &RecordBatch) {
    let _ = batch.verify_crc();
    let mut decompressor = Decompressor::with_limit(LIMIT);
    let owned = batch.decode(&mut decompressor);
    let borrowed = match batch.records(&mut decompressor) {
        Ok(records) => records,
        Err(error) => return assert_eq!(owned.err(), Some(error)),
    };
    let mut owned = owned.expect("it decompressed").into_owned_records();
    for borrowed in borrowed {
        match (borrowed, owned.next().expect("as many owned ones")) {
            (Ok(borrowed), Ok(owned)) => {
                assert_eq!((borrowed.offset(), borrowed.timestamp()), (owned.offset(), owned.timestamp()));
                assert_eq!((borrowed.key(), borrowed.value()), (owned.key(), owned.value()));
                assert!(borrowed.headers().eq(owned.headers()));
                assert_eq!(borrowed.headers().len(), borrowed.headers().count());
                let _ = EndTransactionMarker::parse(&borrowed);
            }
            (borrowed, owned) => assert_eq!(borrowed.err(), owned.err()),
        }
    }
    assert!(owned.next().is_none());
}

/// What is appended is a whole batch with the records and the offsets that were assigned.
fn validate(batch: &RecordBatch) {
    let mut validator = BatchValidator::with_limit(LIMIT);
    let rules = AppendRules {
        codec: (batch.base_offset() & 1 == 1).then_some(Compression::Lz4.into()),
        timestamp_after_max_ms: i64::MAX,
        ..AppendRules::default()
    };
    // The batch says what was sent, whose CRC is checked before.
    if let Ok(validated) = validator.validate(batch, &rules, 1000, 3, TimestampMs(1_700_000_000_000)) {
        let appended = RecordBatch::parse(validated.to_bytes()).expect("it is a batch");
        assert_eq!(appended.base_offset(), 1000);
        assert_eq!(appended.count(), batch.count());
        assert_eq!(appended.next_offset(), 1000 + i64::from(batch.count()));
        let mut decompressor = Decompressor::with_limit(LIMIT);
        let records = appended.records(&mut decompressor).expect("it was read before");
        for (offset, record) in (1000..).zip(records) {
            assert_eq!(record.expect("it was read before").offset(), offset);
        }
    }
}
