//! What quotas of clients do to who uses more, and to nobody else.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failure of a helper fails its test")]

mod support;

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use support::{Client, batch, fetch_request, produce_request};
use vltava_broker::embedded;
use vltava_protocol::messages::alter_client_quotas_request::{EntityData, EntryData, OpData};
use vltava_protocol::messages::{
    AlterClientQuotasRequest, ApiVersionsRequest, DescribeClientQuotasRequest, FetchRequest, HeartbeatRequest,
    MetadataRequest,
};

/// The quota of a user, a client id or an address; no value removes it.
fn quota(admin: &mut Client, kind: &str, name: Option<&str>, key: &str, value: Option<f64>) {
    let entity =
        EntityData { entity_type: kind.to_owned(), entity_name: name.map(str::to_owned), ..Default::default() };
    let op =
        OpData { key: key.to_owned(), value: value.unwrap_or_default(), remove: value.is_none(), ..Default::default() };
    let entry = EntryData { entity: vec![entity], ops: vec![op], ..Default::default() };
    let answer = admin.call(1, &AlterClientQuotasRequest { entries: vec![entry], ..Default::default() });
    assert_eq!(answer.entries[0].error_code, 0, "{answer:?}");
}

/// A second is free, and looked at with the one under way.
fn start() -> embedded::Broker {
    embedded::Broker::start(embedded::Config::default().property("quota.window.num", "2")).unwrap()
}

#[test]
fn a_producer_beyond_its_quota_waits_for_about_as_long_as_its_bytes_take() {
    const BYTES_PER_SECOND: f64 = 400_000.0;
    let broker = start();
    let mut admin = Client::connect(&broker);
    admin.create_topic("t", 1, &[]);
    quota(&mut admin, "client-id", Some("test"), "producer_byte_rate", Some(BYTES_PER_SECOND));
    let mut producer = Client::connect(&broker);
    let request = produce_request("t", 0, batch(&["v".repeat(100_000).as_str()]), -1);
    let (mut bytes, mut waited) = (0.0, Duration::ZERO);
    let begun = Instant::now();
    for number in 0..12 {
        let answer = producer.call(12, &request);
        assert_eq!(answer.responses[0].partition_responses[0].error_code, 0, "what is too much is appended");
        bytes += 100_000.0;
        let throttle = Duration::from_millis(answer.throttle_time_ms.try_into().unwrap());
        if number < 3 {
            assert!(throttle.is_zero(), "a second's worth is free");
        }
        waited += throttle;
        // Nothing is handled before the time is over, of who does not wait by itself either.
        assert!(begun.elapsed() + throttle >= waited, "{waited:?}");
    }
    let needed = Duration::from_secs_f64(bytes / BYTES_PER_SECOND - 1.0);
    assert!(begun.elapsed() + Duration::from_secs(1) >= needed, "slowed to its quota, but for the seconds looked at");
    assert!(waited > needed / 2, "{waited:?} of {needed:?}");
}

#[test]
fn who_expects_no_answer_waits_all_the_same() {
    let broker = start();
    let mut admin = Client::connect(&broker);
    admin.create_topic("t", 1, &[]);
    quota(&mut admin, "user", Some("ANONYMOUS"), "producer_byte_rate", Some(100_000.0));
    let mut producer = Client::connect(&broker);
    let begun = Instant::now();
    producer.send(12, &produce_request("t", 0, batch(&["v".repeat(130_000).as_str()]), 0));
    producer.metadata(&[], false);
    assert!(begun.elapsed() >= Duration::from_millis(250), "3 tenths of a second are to be waited for");
    // Another connection of the same user was not muted.
    admin.metadata(&[], false);
}

#[test]
fn a_fetch_beyond_the_quota_is_empty_and_costs_nothing() {
    let broker = start();
    let mut admin = Client::connect(&broker);
    admin.create_topic("t", 1, &[]);
    admin.produce("t", 0, &["v".repeat(3000).as_str()]);
    quota(&mut admin, "user", None, "consumer_byte_rate", Some(1000.0));
    let in_session = FetchRequest { session_epoch: 0, ..fetch_request("t", &[(0, 0)], 0) };
    let full = Client::connect(&broker).call(12, &in_session);
    assert!(full.throttle_time_ms > 2000, "{full:?}");
    assert_eq!((full.error_code, full.session_id, full.responses.len()), (0, 0, 0));
    // It was not counted: half of it is given at once where there is as much.
    quota(&mut admin, "user", None, "consumer_byte_rate", Some(4000.0));
    let answer = Client::connect(&broker).call(12, &in_session);
    assert_eq!((answer.throttle_time_ms, answer.responses.len()), (0, 1));
    assert_ne!(answer.session_id, 0);
}

#[test]
fn a_session_goes_on_after_an_empty_answer() {
    let broker = start();
    let mut admin = Client::connect(&broker);
    admin.create_topic("t", 1, &[]);
    let mut consumer = Client::connect(&broker);
    let begin = FetchRequest { session_epoch: 0, ..fetch_request("t", &[(0, 0)], 0) };
    let session_id = consumer.call(12, &begin).session_id;
    admin.produce("t", 0, &["v".repeat(3000).as_str()]);
    let next = |session_epoch| FetchRequest { session_id, session_epoch, topics: vec![], ..begin.clone() };
    quota(&mut admin, "user", None, "consumer_byte_rate", Some(2000.0));
    let empty = consumer.call(12, &next(1));
    assert!(empty.throttle_time_ms > 0);
    assert_eq!((empty.error_code, empty.session_id, empty.responses.len()), (0, session_id, 0));
    quota(&mut admin, "user", None, "consumer_byte_rate", None);
    let answer = consumer.call(12, &next(2));
    assert_eq!((answer.throttle_time_ms, answer.responses.len()), (0, 1), "nothing of it is lost");
}

#[test]
fn the_time_of_requests_has_a_quota_and_every_answer_tells() {
    let broker = start();
    let mut admin = Client::connect(&broker);
    quota(&mut admin, "client-id", None, "request_percentage", Some(1e-7));
    // No more than a window at once. The request before has made up for nothing.
    let versions = ApiVersionsRequest {
        client_software_name: "test".to_owned(),
        client_software_version: "1".to_owned(),
        ..Default::default()
    };
    assert_eq!(Client::connect(&broker).call(4, &versions).throttle_time_ms, 1000);
    assert_eq!(Client::connect(&broker).call(12, &MetadataRequest::default()).throttle_time_ms, 1000);
    assert_eq!(Client::connect(&broker).call(4, &HeartbeatRequest::default()).throttle_time_ms, 1000);
    // A version without a place for it is answered all the same.
    assert_eq!(Client::connect(&broker).call(2, &MetadataRequest::default()).throttle_time_ms, 0);
    quota(&mut Client::connect(&broker), "client-id", None, "request_percentage", None);
    assert_eq!(Client::connect(&broker).call(4, &versions).throttle_time_ms, 0);
}

#[test]
fn an_address_beyond_its_quota_is_turned_away_and_others_are_not() {
    let broker = start();
    let mut admin = Client::connect(&broker);
    quota(&mut admin, "ip", Some("127.0.0.3"), "connection_creation_rate", Some(1.0));
    let served = |host: Ipv4Addr| {
        let mut client = Client::connect_from(host, broker.bootstrap_servers());
        client.send(12, &MetadataRequest::default());
        client.receive_frame().is_some()
    };
    let limited = Ipv4Addr::new(127, 0, 0, 3);
    assert!(served(limited), "the first comes in");
    assert!((0..100).any(|_| !served(limited)), "a hundred in a few moments do not");
    assert!((0..5).all(|_| served(Ipv4Addr::LOCALHOST)));
    quota(&mut admin, "ip", Some("127.0.0.3"), "connection_creation_rate", None);
    assert!((0..5).all(|_| served(limited)));
}

#[tokio::test]
async fn quotas_are_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let start = || embedded::Broker::start(embedded::Config::default().dir(dir.path())).unwrap();
    let broker = start();
    quota(&mut Client::connect(&broker), "user", Some("alice"), "producer_byte_rate", Some(1.0));
    quota(&mut Client::connect(&broker), "client-id", Some("test"), "producer_byte_rate", Some(10.0));
    quota(&mut Client::connect(&broker), "user", Some("alice"), "producer_byte_rate", None);
    broker.shutdown().await;

    let broker = start();
    let mut client = Client::connect(&broker);
    let described = client.call(1, &DescribeClientQuotasRequest::default());
    let entries = described.entries.unwrap();
    assert_eq!(entries.len(), 1);
    assert_eq!((entries[0].entity[0].entity_type.as_str(), entries[0].values[0].value), ("client-id", 10.0));
    client.create_topic("t", 1, &[]);
    let answer = client.call(12, &produce_request("t", 0, batch(&["v".repeat(3000).as_str()]), -1));
    assert!(answer.throttle_time_ms > 0, "they are in force");
}
