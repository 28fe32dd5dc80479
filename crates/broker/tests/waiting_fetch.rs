//! A fetch waits for data and is let go by what it waits for.

mod support;

use std::time::{Duration, Instant};

use support::{Client, code, fetch_request, records, start};
use vltava_protocol::ErrorCode;
use vltava_protocol::messages::delete_topics_request::DeleteTopicState;
use vltava_protocol::messages::{DeleteTopicsRequest, FetchRequest};

/// Far longer than a test may take: whatever ends the waiting, it is not the time.
const FOR_EVER_MS: i32 = 600_000;

#[test]
fn an_append_lets_a_waiting_fetch_go() {
    let broker = start();
    let (mut reader, mut writer) = (Client::connect(&broker), Client::connect(&broker));
    reader.create_topic("t", 2, &[]);
    reader.send(12, &fetch_request("t", &[(0, 0), (1, 0)], FOR_EVER_MS));
    writer.produce("t", 1, &["a"]);
    let response = reader.receive::<FetchRequest>(12);
    let data = &response.responses[0].partitions[1];
    assert_eq!(records(data.records.as_ref().unwrap()), [(0, "a".to_owned())]);
}

#[test]
fn a_fetch_waits_until_there_is_enough() {
    let broker = start();
    let (mut reader, mut writer) = (Client::connect(&broker), Client::connect(&broker));
    reader.create_topic("t", 2, &[]);
    let mut request = fetch_request("t", &[(0, 0), (1, 0)], FOR_EVER_MS);
    request.min_bytes = 2000;
    reader.send(12, &request);
    let value = "x".repeat(500);
    for round in 0..2 {
        for partition in 0..2 {
            writer.produce("t", partition, &[&value]);
            let is_last = (round, partition) == (1, 1);
            reader.stream.set_nonblocking(true).unwrap();
            let early = reader.stream.peek(&mut [0]).is_ok();
            reader.stream.set_nonblocking(false).unwrap();
            assert!(!early || is_last, "answered before there was enough");
        }
    }
    let response = reader.receive::<FetchRequest>(12);
    let sizes: Vec<usize> =
        response.responses[0].partitions.iter().map(|p| records(p.records.as_ref().unwrap()).len()).collect();
    assert_eq!(sizes, [2, 2]);
}

#[test]
fn time_lets_a_waiting_fetch_go_with_nothing() {
    let broker = start();
    let mut client = Client::connect(&broker);
    client.create_topic("t", 1, &[]);
    let begun = Instant::now();
    let response = client.call(12, &fetch_request("t", &[(0, 0)], 100));
    assert!(begun.elapsed() >= Duration::from_millis(100));
    let data = &response.responses[0].partitions[0];
    assert_eq!((data.error_code, data.high_watermark), (0, 0));
}

#[test]
fn deleting_the_topic_lets_a_waiting_fetch_go() {
    let broker = start();
    let (mut reader, mut admin) = (Client::connect(&broker), Client::connect(&broker));
    reader.create_topic("t", 1, &[]);
    reader.send(12, &fetch_request("t", &[(0, 0)], FOR_EVER_MS));
    let topic = DeleteTopicState { name: Some("t".to_owned()), ..Default::default() };
    let deleted = admin.call(6, &DeleteTopicsRequest { topics: vec![topic], ..Default::default() });
    assert_eq!(deleted.responses[0].error_code, 0);
    let response = reader.receive::<FetchRequest>(12);
    assert_eq!(response.responses[0].partitions[0].error_code, code(ErrorCode::UnknownTopicOrPartition));
}

#[test]
fn a_stop_of_the_broker_does_not_wait_for_a_waiting_fetch() {
    let broker = start();
    let mut reader = Client::connect(&broker);
    reader.create_topic("t", 1, &[]);
    reader.send(12, &fetch_request("t", &[(0, 0)], FOR_EVER_MS));
    drop(broker);
    assert_eq!(reader.receive_frame(), None);
}

#[test]
fn requests_behind_a_waiting_one_are_answered_after_it() {
    let broker = start();
    let (mut reader, mut writer) = (Client::connect(&broker), Client::connect(&broker));
    reader.create_topic("t", 1, &[]);
    reader.send(12, &fetch_request("t", &[(0, 0)], FOR_EVER_MS));
    reader.send(12, &fetch_request("t", &[(0, 0)], 0));
    writer.produce("t", 0, &["a"]);
    for correlation_id in [2, 3] {
        let response = reader.receive_as::<FetchRequest>(correlation_id, 12);
        assert_eq!(records(response.responses[0].partitions[0].records.as_ref().unwrap()).len(), 1);
    }
}
