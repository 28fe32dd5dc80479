//! The `kafka-protocol` crate reads the batches that we write, and we those that it writes.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use bytes::{Bytes, BytesMut};
use kafka_protocol::indexmap::IndexMap;
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records as theirs;
use proptest::prelude::*;
use vltava_protocol::record::{Compression, Decompressor, HeaderView, ProducerState, RecordBatch, RecordBatchBuilder};

#[derive(Debug, Clone)]
struct Record {
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: IndexMap<String, Option<Vec<u8>>>,
}

fn records() -> impl Strategy<Value = Vec<Record>> {
    let bytes = || prop::option::of(prop::collection::vec(any::<u8>(), 0..100));
    let headers = prop::collection::vec((".{0,8}", bytes()), 0..3);
    let record = (0..i64::MAX, bytes(), bytes(), headers).prop_map(|(timestamp, key, value, headers)| Record {
        timestamp,
        key,
        value,
        headers: headers.into_iter().collect(),
    });
    prop::collection::vec(record, 1..20)
}

fn ours(records: &[Record]) -> Bytes {
    let mut builder = RecordBatchBuilder::new(Compression::None);
    for record in records {
        let headers = record.headers.iter().map(|(key, value)| HeaderView::new(key, value.as_deref()));
        builder.append(record.timestamp, record.key.as_deref(), record.value.as_deref(), headers).unwrap();
    }
    builder.set_producer_state(ProducerState::idempotent(4711, 3, 0));
    builder.build().unwrap()
}

fn as_theirs(records: &[Record]) -> Vec<theirs::Record> {
    let text = |text: &String| StrBytes::from_string(text.clone());
    (0..)
        .zip(records)
        .map(|(offset, record)| theirs::Record {
            transactional: false,
            control: false,
            delete_horizon: false,
            partition_leader_epoch: -1,
            producer_id: 4711,
            producer_epoch: 3,
            timestamp_type: theirs::TimestampType::Creation,
            offset,
            // Else it writes one batch per record.
            sequence: offset as i32,
            timestamp: record.timestamp,
            key: record.key.clone().map(Bytes::from),
            value: record.value.clone().map(Bytes::from),
            headers: record.headers.iter().map(|(k, v)| (text(k), v.clone().map(Bytes::from))).collect(),
        })
        .collect()
}

proptest! {
    #[test]
    fn both_write_the_same_bytes(mut records in records()) {
        // Their base timestamp is the smallest, ours the first record's, as Kafka's.
        records[0].timestamp = records.iter().map(|record| record.timestamp).min().unwrap();
        let options = theirs::RecordEncodeOptions { version: 2, compression: theirs::Compression::None };
        let mut encoded = BytesMut::new();
        theirs::RecordBatchEncoder::encode(&mut encoded, &as_theirs(&records), &options).unwrap();
        prop_assert_eq!(ours(&records), encoded);
    }

    #[test]
    fn they_read_what_we_write(records in records()) {
        let mut encoded = ours(&records);
        let decoded = theirs::RecordBatchDecoder::decode(&mut encoded).unwrap().records;
        prop_assert_eq!(decoded, as_theirs(&records));
    }

    #[test]
    fn we_read_what_they_write(records in records()) {
        let options = theirs::RecordEncodeOptions { version: 2, compression: theirs::Compression::None };
        let mut encoded = BytesMut::new();
        theirs::RecordBatchEncoder::encode(&mut encoded, &as_theirs(&records), &options).unwrap();
        let batch = RecordBatch::parse(encoded.freeze()).unwrap();
        prop_assert_eq!(batch.verify_crc(), Ok(()));
        prop_assert_eq!(batch.producer_state(), ProducerState::idempotent(4711, 3, 0));
        let mut decompressor = Decompressor::new();
        let read: Vec<_> = batch.records(&mut decompressor).unwrap().map(Result::unwrap).collect();
        prop_assert_eq!(read.len(), records.len());
        for ((offset, read), record) in (0..).zip(read).zip(&records) {
            prop_assert_eq!(read.offset(), offset);
            prop_assert_eq!(read.timestamp(), record.timestamp);
            prop_assert_eq!(read.key(), record.key.as_deref());
            prop_assert_eq!(read.value(), record.value.as_deref());
            let headers = record.headers.iter().map(|(key, value)| HeaderView::new(key, value.as_deref()));
            prop_assert!(read.headers().eq(headers));
        }
    }
}
