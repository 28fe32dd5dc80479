//! Records go in and come out, with the errors that Kafka answers.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failure of a helper fails its test")]

mod support;

use support::{Client, batch_of, code, fetch_request, produce_request, records, start};
use vltava_protocol::messages::{FetchRequest, FindCoordinatorRequest, InitProducerIdRequest, ProduceRequest};
use vltava_protocol::record::control::EndTransactionMarker;
use vltava_protocol::record::{Compression, ProducerState};
use vltava_protocol::wire::Message;
use vltava_protocol::{ErrorCode, TimestampMs, Uuid};

#[test]
fn records_come_out_as_they_went_in_with_any_codec() {
    let broker = start();
    let mut client = Client::connect(&broker);
    client.create_topic("t", 1, &[]);
    let codecs = [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
    for (codec, base) in codecs.into_iter().zip((0..).step_by(2)) {
        let answer = client.produce_batch("t", 0, batch_of(&["a", "b"], None, codec));
        assert_eq!((answer.error_code, answer.base_offset), (0, base), "{codec:?}");
    }
    let values = client.values("t", 0, 0);
    assert_eq!(values, ["a", "b"].repeat(5));
}

#[test]
fn every_version_of_produce_and_fetch_is_served() {
    let broker = start();
    let mut client = Client::connect(&broker);
    let id = client.create_topic("t", 1, &[]);
    let mut count = 0;
    for version in ProduceRequest::MIN_VERSION..=ProduceRequest::MAX_VERSION {
        let mut request = produce_request("t", 0, batch_of(&["x"], None, Compression::None), 1);
        request.topic_data[0].topic_id = id;
        let response = client.call(version, &request);
        let answer = &response.responses[0].partition_responses[0];
        assert_eq!((answer.error_code, answer.base_offset), (0, count), "version {version}");
        count += 1;
    }
    for version in FetchRequest::MIN_VERSION..=FetchRequest::MAX_VERSION {
        let mut request = fetch_request("t", &[(0, 0)], 0);
        request.topics[0].topic_id = id;
        let response = client.call(version, &request);
        let data = &response.responses[0].partitions[0];
        assert_eq!((data.error_code, data.high_watermark), (0, count), "version {version}");
        assert_eq!(records(data.records.as_ref().unwrap()).len(), usize::try_from(count).unwrap());
    }
}

/// Much is sent from the file, little is copied: in one answer.
#[test]
fn large_and_small_partitions_come_whole_in_one_answer() {
    let broker = start();
    let mut client = Client::connect(&broker);
    client.create_topic("t", 3, &[]);
    let values: Vec<String> = (0..200).map(|i| format!("{i:01000}")).collect();
    let large: Vec<&str> = values.iter().map(String::as_str).collect();
    for (partition, batch) in [(0, &large[..]), (1, &["small"]), (2, &large[50..])] {
        for _ in 0..3 {
            let request = produce_request("t", partition, batch_of(batch, None, Compression::None), 1);
            let response = client.call(9, &request);
            assert_eq!(response.responses[0].partition_responses[0].error_code, 0);
        }
    }
    for version in [4, 12] {
        let response = client.call(version, &fetch_request("t", &[(0, 0), (1, 1), (2, 0)], 0));
        let read: Vec<Vec<(i64, String)>> =
            response.responses[0].partitions.iter().map(|data| records(data.records.as_ref().unwrap())).collect();
        let expected = |first: i64, batch: &[&str], times: usize| -> Vec<(i64, String)> {
            (first..).zip(batch.iter().cycle().take(batch.len() * times).map(|value| (*value).to_owned())).collect()
        };
        assert!(
            read == [expected(0, &large, 3), expected(1, &["small"], 2), expected(0, &large[50..], 3)],
            "{version}"
        );
    }
}

#[test]
fn what_cannot_be_appended_is_refused_by_kafkas_codes() {
    let broker = start();
    let mut client = Client::connect(&broker);
    client.create_topic("t", 1, &[("max.message.bytes", "200")]);
    client.create_topic("compacted", 1, &[("cleanup.policy", "compact")]);
    let mut damaged = batch_of(&["a"], None, Compression::None).to_vec();
    *damaged.last_mut().unwrap() ^= 1;
    let large = "x".repeat(300);
    let one = || batch_of(&["a"], None, Compression::None);
    let cases = [
        ("t", 0, damaged.into(), ErrorCode::CorruptMessage),
        ("t", 0, batch_of(&[&large], None, Compression::None), ErrorCode::MessageTooLarge),
        ("t", 1, one(), ErrorCode::UnknownTopicOrPartition),
        ("t", -1, one(), ErrorCode::UnknownTopicOrPartition),
        ("nope", 0, one(), ErrorCode::UnknownTopicOrPartition),
        ("compacted", 0, one(), ErrorCode::InvalidRecord),
        ("t", 0, bytes::Bytes::new(), ErrorCode::InvalidRecord),
    ];
    for (topic, partition, records, expected) in cases {
        let answer = client.produce_batch(topic, partition, records);
        assert_eq!((answer.error_code, answer.base_offset), (code(expected), -1), "{topic}-{partition}");
    }
    let response = client.call(12, &produce_request("t", 0, one(), 7));
    assert_eq!(response.responses[0].partition_responses[0].error_code, code(ErrorCode::InvalidRequiredAcks));
    let mut by_id = produce_request("t", 0, one(), -1);
    by_id.topic_data[0].topic_id = Uuid::from_u128(12345);
    let response = client.call(13, &by_id);
    assert_eq!(response.responses[0].partition_responses[0].error_code, code(ErrorCode::UnknownTopicId));
    assert_eq!(client.values("t", 0, 0), Vec::<String>::new());
}

#[test]
fn without_acknowledgement_there_is_no_answer_and_a_failure_ends_the_connection() {
    let broker = start();
    let mut client = Client::connect(&broker);
    client.create_topic("t", 1, &[]);
    client.send(9, &produce_request("t", 0, batch_of(&["a"], None, Compression::None), 0));
    assert_eq!(client.values("t", 0, 0), ["a"], "the next answer is the fetch's");
    client.send(9, &produce_request("nope", 0, batch_of(&["a"], None, Compression::None), 0));
    assert_eq!(client.receive_frame(), None);
}

#[test]
fn an_idempotent_producer_writes_each_batch_once_and_in_order() {
    let broker = start();
    let mut client = Client::connect(&broker);
    client.create_topic("t", 1, &[]);
    let ids: Vec<i64> = (0..2)
        .map(|_| {
            let given = client.call(5, &InitProducerIdRequest { transactional_id: None, ..Default::default() });
            assert_eq!((given.error_code, given.producer_epoch), (0, 0));
            given.producer_id
        })
        .collect();
    assert_ne!(ids[0], ids[1]);
    let mut produce = |sequence: i32, values: &[&str]| {
        let producer = ProducerState::idempotent(ids[0], 0, sequence);
        let answer = client.produce_batch("t", 0, batch_of(values, Some(producer), Compression::None));
        (answer.error_code, answer.base_offset)
    };
    assert_eq!(produce(0, &["a", "b"]), (0, 0));
    assert_eq!(produce(2, &["c"]), (0, 2));
    assert_eq!(produce(0, &["a", "b"]), (0, 0), "a repetition is answered as the first time");
    assert_eq!(produce(9, &["z"]), (code(ErrorCode::OutOfOrderSequenceNumber), -1));
    assert_eq!(client.values("t", 0, 0), ["a", "b", "c"]);
}

#[test]
fn offsets_outside_of_the_log_are_refused() {
    let broker = start();
    let mut client = Client::connect(&broker);
    client.create_topic("t", 1, &[]);
    client.produce("t", 0, &["a", "b"]);
    for (offset, expected) in [(0, 0), (1, 0), (2, 0), (3, 1), (-1, 1)] {
        assert_eq!(client.fetch("t", 0, offset).error_code, expected, "offset {offset}");
    }
    assert_eq!(client.fetch("t", 7, 0).error_code, code(ErrorCode::UnknownTopicOrPartition));
}

#[test]
fn a_batch_larger_than_the_limit_still_comes_whole() {
    let broker = start();
    let mut client = Client::connect(&broker);
    client.create_topic("t", 2, &[]);
    let large = "x".repeat(5000);
    client.produce("t", 0, &[&large]);
    client.produce("t", 1, &["small"]);
    let mut request = fetch_request("t", &[(0, 0), (1, 0)], 0);
    request.max_bytes = 1000;
    for partition in &mut request.topics[0].partitions {
        partition.partition_max_bytes = 10;
    }
    let response = client.call(12, &request);
    let partitions = &response.responses[0].partitions;
    assert_eq!(records(partitions[0].records.as_ref().unwrap())[0].1.len(), 5000);
    assert_eq!(partitions[1].records.as_ref().unwrap().len(), 0);
}

#[test]
fn the_brokers_clock_can_be_the_records_time() {
    let broker = start();
    let mut client = Client::connect(&broker);
    client.create_topic("t", 1, &[("message.timestamp.type", "LogAppendTime")]);
    let answer = client.produce("t", 0, &["a"]);
    assert!(answer.log_append_time_ms > 1_000_000_000_000);
    assert_eq!(client.list_offset("t", 0, -3).timestamp, answer.log_append_time_ms);
}

#[test]
fn offsets_are_listed_in_every_version() {
    let broker = support::start();
    let mut client = Client::connect(&broker);
    client.create_topic("t", 1, &[]);
    client.produce("t", 0, &["a", "b", "c"]);
    for version in 1..=11 {
        for (timestamp, offset) in [(-2, 0), (-1, 3), (1001, 1)] {
            let answer = client.list_offset_in(version, "t", 0, timestamp);
            assert_eq!((answer.error_code, answer.offset), (0, offset), "version {version}");
            assert_eq!(answer.leader_epoch, if version < 4 { -1 } else { 0 });
        }
    }
}

/// Kafka verifies such a batch with its transaction coordinator before it appends it, and refuses it without a
/// transactional id.
#[test]
fn a_transactional_batch_without_a_transaction_is_refused_and_stops_nobody() {
    let broker = start();
    let mut client = Client::connect(&broker);
    let id = client.create_topic("t", 2, &[]);
    client.produce("t", 0, &["a"]);
    let find = FindCoordinatorRequest { key_type: 1, coordinator_keys: vec!["txn".to_owned()], ..Default::default() };
    assert_eq!(client.call(6, &find).coordinators[0].error_code, 0);
    let batch = || batch_of(&["x"], Some(ProducerState::transactional(7, 0, 0)), Compression::None);
    for version in ProduceRequest::MIN_VERSION..=ProduceRequest::MAX_VERSION {
        let cases = [
            (None, ErrorCode::TransactionalIdAuthorizationFailed),
            (Some("txn".to_owned()), ErrorCode::InvalidProducerIdMapping),
        ];
        for (transactional_id, expected) in cases {
            let mut request = produce_request("t", 0, batch(), -1);
            request.topic_data[0].topic_id = id;
            request.transactional_id = transactional_id;
            let answer = client.call(version, &request).responses.remove(0).partition_responses.remove(0);
            assert_eq!((answer.error_code, answer.base_offset), (code(expected), -1), "version {version}");
        }
    }
    // One transactional batch refuses the whole of a request that names no transaction.
    let mut request = produce_request("t", 0, batch_of(&["b"], None, Compression::None), -1);
    request.topic_data[0]
        .partition_data
        .extend(produce_request("t", 1, batch(), -1).topic_data.remove(0).partition_data);
    let answers = client.call(12, &request).responses.remove(0).partition_responses;
    let codes: Vec<i16> = answers.iter().map(|answer| answer.error_code).collect();
    assert_eq!(codes, [code(ErrorCode::TransactionalIdAuthorizationFailed); 2]);
    // The last stable offset goes on with the high watermark.
    assert_eq!(client.produce("t", 0, &["c"]).base_offset, 1);
    let data = client.fetch("t", 0, 0);
    assert_eq!((data.high_watermark, data.last_stable_offset), (2, 2));
}

#[test]
fn control_batches_of_clients_are_refused() {
    let broker = start();
    let mut client = Client::connect(&broker);
    client.create_topic("t", 1, &[]);
    let marker = EndTransactionMarker { committed: true, coordinator_epoch: 0 };
    let answer = client.produce_batch("t", 0, marker.to_batch(TimestampMs(1000), 7, 0).unwrap());
    // A marker is a transactional batch too, and refused as one first, as in Kafka.
    assert_eq!(answer.error_code, code(ErrorCode::TransactionalIdAuthorizationFailed));
    let mut request = produce_request("t", 0, control_batch(), -1);
    request.transactional_id = None;
    let answer = client.call(12, &request).responses.remove(0).partition_responses.remove(0);
    assert_eq!(answer.error_code, code(ErrorCode::InvalidRecord));
    assert_eq!(client.fetch("t", 0, 0).high_watermark, 0);
}

/// A control batch outside of any transaction, as the metadata log has them.
fn control_batch() -> bytes::Bytes {
    let marker =
        EndTransactionMarker { committed: true, coordinator_epoch: 0 }.to_batch(TimestampMs(1000), 7, 0).unwrap();
    let mut bytes = marker.to_vec();
    // Attributes: the transactional bit goes, the control bit stays.
    bytes[22] &= !0x10;
    let crc = crc_of(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes.into()
}

/// CRC-32C, bit by bit.
fn crc_of(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 })
    })
}
