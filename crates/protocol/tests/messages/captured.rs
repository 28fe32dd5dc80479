//! What Apache Kafka 4.3.1 sent and stored is read, and written as the same bytes.
//!
//! The frames passed between its tools (topics, consumers of all kinds of groups, transactional
//! producer, streams, …) and its broker, the records are segments of its internal topics.

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;
use vltava_protocol::messages::{LeaderChangeMessage, ResponseHeader};
use vltava_protocol::record::{Decompressor, RecordBatches};
use vltava_protocol::records::group::{GroupRecordKey, GroupRecordValue};
use vltava_protocol::records::metadata::MetadataRecord;
use vltava_protocol::records::share::{ShareRecordKey, ShareRecordValue};
use vltava_protocol::records::transaction::{TransactionRecordKey, TransactionRecordValue};
use vltava_protocol::wire::{Message, Reader, Writer};
use vltava_protocol::{ApiKey, frame};

use crate::codecs::{self, Codec};

struct Frame {
    is_request: bool,
    api_key: ApiKey,
    version: i16,
    bytes: Bytes,
}

fn frames() -> Vec<Frame> {
    let lines = include_str!("../fixtures/kafka-4.3.1-frames.txt").lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            let hex = words[3].as_bytes().chunks(2);
            Frame {
                is_request: words[0] == "request",
                api_key: ApiKey::from_code(words[1].parse().unwrap()).unwrap(),
                version: words[2].parse().unwrap(),
                bytes: hex.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect(),
            }
        })
        .collect()
}

#[test]
fn frames_of_apache_kafka_are_read_and_written() {
    let codecs: HashMap<&str, Codec> =
        codecs::all().into_iter().filter(|codec| codec.module == "messages").map(|codec| (codec.name, codec)).collect();
    let mut seen = BTreeSet::new();
    for Frame { is_request, api_key, version, bytes } in frames() {
        let context = format!("{api_key} {version}, request: {is_request}");
        let mut r = Reader::new(bytes.clone());
        let mut w = Writer::new();
        let mut version = version;
        if is_request {
            let (read_key, header) = frame::decode_request_header(&mut r).unwrap();
            assert_eq!((read_key, header.request_api_version), (api_key, version), "{context}");
            header.encode(&mut w, api_key.request_header_version(version)).unwrap();
        } else {
            let header = ResponseHeader::decode(&mut r, api_key.response_header_version(version)).unwrap();
            header.encode(&mut w, api_key.response_header_version(version)).unwrap();
            if !api_key.has_version(version) {
                // KIP-511: the answer to a version that the broker does not have is in version 0.
                version = 0;
            }
        }
        let body = r.into_rest();
        if api_key.has_version(version) {
            let name = format!("{api_key}{}", if is_request { "Request" } else { "Response" });
            let written = (codecs[name.as_str()].round_trip)(body, version);
            w.slice(&written.unwrap_or_else(|error| panic!("{context}: {error:?}")));
            seen.insert(api_key);
        } else {
            w.slice(&body);
        }
        assert_eq!(w.into_bytes(), bytes, "{context}");
    }
    assert!(seen.len() >= 50, "frames of {} APIs", seen.len());
}

#[test]
fn the_answer_to_an_unknown_version_of_api_versions_is_understood() {
    let answer = frames().into_iter().find(|frame| !frame.is_request && frame.version == 99).unwrap();
    let mut r = Reader::new(answer.bytes);
    assert_eq!(ResponseHeader::decode(&mut r, 0).unwrap().correlation_id, 7);
    let response = vltava_protocol::messages::ApiVersionsResponse::decode(&mut r, 0).unwrap();
    assert_eq!(response.error_code, vltava_protocol::ErrorCode::UnsupportedVersion.code());
    let own = response.api_keys.iter().find(|api| api.api_key == ApiKey::ApiVersions.code()).unwrap();
    assert_eq!((own.min_version, own.max_version), (0, 4));
}

/// Calls a function with key and value of every record that is no control record, and another one with
/// those of control records.
fn for_each_record(
    segment: &'static [u8],
    mut data: impl FnMut(Option<Bytes>, Option<Bytes>),
    mut control: impl FnMut(Bytes, Bytes),
) {
    let mut batches = RecordBatches::new(Bytes::from_static(segment));
    let mut decompressor = Decompressor::default();
    for batch in &mut batches {
        let batch = batch.unwrap();
        batch.verify_crc().unwrap();
        for record in batch.records(&mut decompressor).unwrap() {
            let record = record.unwrap();
            let key = record.key().map(Bytes::copy_from_slice);
            let value = record.value().map(Bytes::copy_from_slice);
            if batch.header().attributes().is_control() {
                control(key.unwrap(), value.unwrap());
            } else {
                data(key, value);
            }
        }
    }
    assert!(batches.remaining().is_empty());
}

macro_rules! coordinator_segment {
    ($test:ident, $file:literal, $key:ident, $value:ident, $types:expr) => {
        #[test]
        fn $test() {
            let mut types = BTreeSet::new();
            let data = |key: Option<Bytes>, value: Option<Bytes>| {
                let key = key.unwrap();
                let mut r = Reader::new(key.clone());
                let read = $key::decode(&mut r).unwrap();
                r.finish().unwrap();
                let mut w = Writer::new();
                read.encode(&mut w).unwrap();
                assert_eq!(w.into_bytes(), key, "{read:?}");
                types.insert(read.record_type());
                let Some(value) = value else { return };
                let mut r = Reader::new(value.clone());
                let read = $value::decode(read.record_type(), &mut r).unwrap();
                r.finish().unwrap();
                let version = Reader::new(value.clone()).i16().unwrap();
                let mut w = Writer::new();
                read.encode(&mut w, version).unwrap();
                assert_eq!(w.into_bytes(), value, "{read:?}");
            };
            for_each_record(include_bytes!($file), data, |_, _| {});
            assert_eq!(types, BTreeSet::from($types));
        }
    };
}

coordinator_segment!(
    consumer_offsets_of_apache_kafka_are_read_and_written,
    "../fixtures/consumer-offsets.log",
    GroupRecordKey,
    GroupRecordValue,
    [1, 2, 3, 5, 6, 7, 8, 10, 11, 12, 13, 14, 15, 17, 19, 20, 21, 22, 23]
);
coordinator_segment!(
    transaction_state_of_apache_kafka_is_read_and_written,
    "../fixtures/transaction-state.log",
    TransactionRecordKey,
    TransactionRecordValue,
    [0]
);
coordinator_segment!(
    share_group_state_of_apache_kafka_is_read_and_written,
    "../fixtures/share-group-state.log",
    ShareRecordKey,
    ShareRecordValue,
    [0]
);

#[test]
fn cluster_metadata_of_apache_kafka_is_read_and_written() {
    let (mut types, mut leaders) = (BTreeSet::new(), Vec::new());
    for_each_record(
        include_bytes!("../fixtures/cluster-metadata.log"),
        |_, value| {
            let value = value.unwrap();
            let mut r = Reader::new(value.clone());
            let (record, version) = MetadataRecord::decode(&mut r).unwrap();
            r.finish().unwrap();
            let mut w = Writer::new();
            record.encode(&mut w, version).unwrap();
            assert_eq!(w.into_bytes(), value, "{record:?}");
            types.insert(record.api_key());
        },
        |key, value| {
            // A control record's key is a version and a type; type 2 says that a leader was elected.
            let mut r = Reader::new(key);
            let (_, kind) = (r.i16().unwrap(), r.i16().unwrap());
            if kind == 2 {
                let version = Reader::new(value.clone()).i16().unwrap();
                leaders.push(LeaderChangeMessage::decode(&mut Reader::new(value), version).unwrap().leader_id);
            }
        },
    );
    assert_eq!(types, BTreeSet::from([0, 2, 3, 4, 9, 11, 12, 14, 15, 17, 20, 23, 24, 27, 28]));
    assert_eq!(leaders, [1]);
}
