//! Connections and metadata against peers that behave badly, over in-memory streams.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use vltava_protocol::messages::api_versions_response::ApiVersion;
use vltava_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use vltava_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, HeartbeatRequest, HeartbeatResponse, MetadataRequest, MetadataResponse,
    ResponseHeader,
};
use vltava_protocol::wire::{Message, Writer};
use vltava_protocol::{ApiKey, ErrorCode, Uuid};

use super::api_versions::ApiVersions;
use super::connection::{Condition, Connection, ConnectionOptions};
use super::metadata::{LeaderUpdate, MetadataSnapshot, Node};
use super::throttle::Throttle;
use crate::TopicPartition;
use crate::error::ClientError;

/// Version of the heartbeats in these tests: without tagged fields.
const VERSION: i16 = 3;

fn versions() -> ApiVersions {
    let heartbeat =
        ApiVersion { api_key: ApiKey::Heartbeat.code(), min_version: 0, max_version: VERSION, ..ApiVersion::default() };
    let response = ApiVersionsResponse { api_keys: vec![heartbeat], ..ApiVersionsResponse::default() };
    ApiVersions::from_response(&response)
}

fn connect(max_in_flight: usize, request_timeout: Duration) -> (Connection, DuplexStream) {
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let options = ConnectionOptions {
        client_id: Arc::from("test"),
        max_in_flight,
        request_timeout,
        unanswered: None,
        meter: None,
    };
    let connection = Connection::start(ours, Arc::from("peer:1"), options, versions());
    connection.obey(Throttle::default());
    (connection, theirs)
}

/// Reads one request, gives its correlation id.
async fn read_request(peer: &mut DuplexStream) -> i32 {
    let length = peer.read_i32().await.unwrap();
    let mut frame = vec![0; length as usize];
    peer.read_exact(&mut frame).await.unwrap();
    i32::from_be_bytes(frame[4..8].try_into().unwrap())
}

fn answer(correlation_id: i32, throttle_time_ms: i32) -> Vec<u8> {
    let mut writer = Writer::new();
    ResponseHeader { correlation_id, ..ResponseHeader::default() }.encode(&mut writer, 0).unwrap();
    HeartbeatResponse { throttle_time_ms, ..HeartbeatResponse::default() }.encode(&mut writer, VERSION).unwrap();
    let body = writer.into_bytes();
    [&(body.len() as i32).to_be_bytes()[..], &body].concat()
}

fn heartbeat() -> HeartbeatRequest {
    HeartbeatRequest { group_id: "g".to_owned(), ..HeartbeatRequest::default() }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_while_the_broker_wants_to_hear_nothing() {
    let (connection, mut peer) = connect(10, Duration::from_secs(1));
    let first = connection.start_request(&heartbeat()).unwrap();
    let id = read_request(&mut peer).await;
    peer.write_all(&answer(id, 5000)).await.unwrap();
    assert_eq!(first.await.unwrap().throttle_time_ms, 5000);
    let begun = tokio::time::Instant::now();
    let second = tokio::spawn(connection.start_request(&heartbeat()).unwrap().into_future());
    let id = read_request(&mut peer).await;
    assert_eq!(begun.elapsed(), Duration::from_secs(5));
    // The time that an answer may take begins when the broker hears of it.
    tokio::time::advance(Duration::from_millis(900)).await;
    peer.write_all(&answer(id, 0)).await.unwrap();
    second.await.unwrap().unwrap();
    let overdue = connection.start_request(&heartbeat()).unwrap().await.unwrap_err();
    assert!(matches!(overdue, ClientError::Timeout { .. }), "{overdue}");
}

#[tokio::test(start_paused = true)]
async fn a_version_that_the_broker_delays_by_itself_does_not_hold_up_others() {
    let (connection, mut peer) = connect(10, Duration::from_secs(1));
    let first = connection.start_version(&heartbeat(), 1).unwrap();
    let id = read_request(&mut peer).await;
    peer.write_all(&answer(id, 5000)).await.unwrap();
    assert_eq!(first.await.unwrap().throttle_time_ms, 5000);
    let begun = tokio::time::Instant::now();
    let _second = connection.start_request(&heartbeat()).unwrap();
    read_request(&mut peer).await;
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test]
async fn answers_find_their_requests() {
    let (connection, mut peer) = connect(10, Duration::from_secs(30));
    let first = connection.start_request(&heartbeat()).unwrap();
    let second = connection.start_request(&heartbeat()).unwrap();
    assert_eq!(connection.in_flight(), 2);
    let ids = [read_request(&mut peer).await, read_request(&mut peer).await];
    let both = [answer(ids[0], 1), answer(ids[1], 2)].concat();
    // In pieces, as networks deliver.
    for piece in both.chunks(7) {
        peer.write_all(piece).await.unwrap();
        peer.flush().await.unwrap();
    }
    assert_eq!(first.await.unwrap().throttle_time_ms, 1);
    assert_eq!(second.await.unwrap().throttle_time_ms, 2);
    assert_eq!(connection.in_flight(), 0);
    assert!(connection.is_open());
}

#[tokio::test]
async fn a_request_waits_for_its_turn() {
    let (connection, mut peer) = connect(1, Duration::from_secs(30));
    let first = tokio::spawn({
        let connection = connection.clone();
        async move { connection.send(&heartbeat()).await }
    });
    let id = read_request(&mut peer).await;
    let second = tokio::spawn({
        let connection = connection.clone();
        async move { connection.send(&heartbeat()).await }
    });
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert_eq!(connection.in_flight(), 1);
    peer.write_all(&answer(id, 0)).await.unwrap();
    first.await.unwrap().unwrap();
    let id = read_request(&mut peer).await;
    peer.write_all(&answer(id, 0)).await.unwrap();
    second.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_dropped_request_does_not_confuse_the_next() {
    let (connection, mut peer) = connect(10, Duration::from_secs(30));
    drop(connection.start_request(&heartbeat()).unwrap());
    let second = connection.start_request(&heartbeat()).unwrap();
    for throttle in [1, 2] {
        let id = read_request(&mut peer).await;
        peer.write_all(&answer(id, throttle)).await.unwrap();
    }
    assert_eq!(second.await.unwrap().throttle_time_ms, 2);
}

/// As of a process that was stopped in between.
#[tokio::test]
async fn a_request_that_may_not_be_sent_any_more_ends_the_connection_wherever_it_is() {
    let large = HeartbeatRequest { group_id: "g".repeat(30_000), ..HeartbeatRequest::default() };
    // Before its first byte, and in the midst of what the socket does not take at once.
    for requests in [1, 5] {
        let (connection, mut peer) = connect(10, Duration::from_secs(30));
        let may = Arc::new(AtomicBool::new(true));
        let asked = Arc::clone(&may);
        let condition: Condition = Arc::new(move || asked.load(Ordering::Relaxed));
        let start = || connection.start_request_while(&large, None, Arc::clone(&condition)).unwrap();
        let pending: Vec<_> = (0..requests).map(|_| start()).collect();
        if requests > 1 {
            // The pipe is full, and what it has not taken waits.
            read_request(&mut peer).await;
            tokio::task::yield_now().await;
        }
        may.store(false, Ordering::Relaxed);
        let mut rest = Vec::new();
        peer.read_to_end(&mut rest).await.unwrap();
        assert!(rest.len() <= if requests > 1 { 1 << 16 } else { 0 }, "nothing more was written");
        for one in pending {
            let error = one.await.unwrap_err();
            assert!(error.is_retriable(), "{error}");
        }
        assert!(!connection.is_open());
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_does_not_come_ends_the_connection() {
    let (connection, _peer) = connect(10, Duration::from_secs(30));
    let first = connection.start_request(&heartbeat()).unwrap();
    let second = connection.start_request(&heartbeat()).unwrap();
    let error = first.await.unwrap_err();
    assert_eq!(error.to_string(), "Heartbeat to peer:1 timed out after 30000 ms");
    assert!(!connection.is_open());
    assert!(second.await.unwrap_err().is_retriable());
    assert!(connection.send(&heartbeat()).await.is_err());
}

#[tokio::test]
async fn a_lost_connection_fails_what_waits() {
    let (connection, mut peer) = connect(10, Duration::from_secs(30));
    let pending = connection.start_request(&heartbeat()).unwrap();
    read_request(&mut peer).await;
    drop(peer);
    let error = pending.await.unwrap_err();
    assert!(matches!(error, ClientError::Connection { .. }), "{error}");
    assert!(error.is_retriable());
    assert!(!connection.is_open());
}

#[tokio::test]
async fn nonsense_ends_the_connection_and_never_the_process() {
    let negative = (-1_i32).to_be_bytes().to_vec();
    let huge_and_cut = [&i32::MAX.to_be_bytes()[..], &[0; 100]].concat();
    let without_header = [&2_i32.to_be_bytes()[..], &[0; 2]].concat();
    let wrong_id = answer(77, 0);
    let empty_body = [&4_i32.to_be_bytes()[..], &[0; 4]].concat();
    for bytes in [negative, huge_and_cut, without_header, wrong_id, empty_body] {
        let (connection, mut peer) = connect(10, Duration::from_secs(30));
        let pending = connection.start_request(&heartbeat()).unwrap();
        assert_eq!(read_request(&mut peer).await, 0);
        peer.write_all(&bytes).await.unwrap();
        drop(peer);
        assert!(pending.await.is_err(), "{bytes:?}");
        assert!(!connection.is_open());
    }
}

#[test]
fn the_highest_common_version_is_chosen() {
    let versions = versions();
    assert_eq!(versions.pick::<HeartbeatRequest>(None).unwrap(), 3);
    assert_eq!(versions.pick::<HeartbeatRequest>(Some(1)).unwrap(), 1);
    let error = versions.pick::<MetadataRequest>(None).unwrap_err();
    assert!(error.to_string().starts_with("no common version of Metadata: the client speaks 0 to "), "{error}");
    assert!(error.to_string().ends_with("the broker none"), "{error}");
}

#[test]
fn a_broker_that_does_not_know_the_version_answers_in_the_oldest() {
    // KIP-511: error 35 and the versions it knows, in version 0 whatever was asked.
    let mut writer = Writer::new();
    ResponseHeader::default().encode(&mut writer, 0).unwrap();
    let range = ApiVersion { api_key: ApiKey::ApiVersions.code(), max_version: 2, ..ApiVersion::default() };
    let response = ApiVersionsResponse {
        error_code: ErrorCode::UnsupportedVersion.code(),
        api_keys: vec![range],
        ..ApiVersionsResponse::default()
    };
    response.encode(&mut writer, 0).unwrap();
    let read = super::frames::decode::<ApiVersionsRequest>(writer.into_bytes(), 4).unwrap();
    assert_eq!(ApiVersions::from_response(&read).pick::<ApiVersionsRequest>(None).unwrap(), 2);
}

fn metadata(leader: i32, leader_epoch: i32, topic_id: Uuid) -> MetadataResponse {
    let broker = |node_id| MetadataResponseBroker {
        node_id,
        host: "localhost".to_owned(),
        port: 9000 + node_id,
        ..MetadataResponseBroker::default()
    };
    let partition =
        MetadataResponsePartition { leader_id: leader, leader_epoch, ..MetadataResponsePartition::default() };
    let topic = MetadataResponseTopic {
        name: Some("t".to_owned()),
        topic_id,
        partitions: vec![partition],
        ..MetadataResponseTopic::default()
    };
    MetadataResponse { brokers: vec![broker(1), broker(2)], topics: vec![topic], ..MetadataResponse::default() }
}

#[test]
fn an_older_leader_epoch_does_not_replace_a_newer_one() {
    let id = Uuid::from_bytes([7; 16]);
    let snapshot = MetadataSnapshot::default().updated(&metadata(1, 5, id));
    assert_eq!(snapshot.leader("t", 0).unwrap().id, 1);
    assert_eq!(snapshot.topic_name(id).map(|name| &**name), Some("t"));
    assert_eq!(snapshot.updated(&metadata(2, 4, id)).leader("t", 0).unwrap().id, 1);
    assert_eq!(snapshot.updated(&metadata(2, 6, id)).leader("t", 0).unwrap().id, 2);
    // A topic that was deleted and made again counts from the beginning.
    let again = Uuid::from_bytes([8; 16]);
    assert_eq!(snapshot.updated(&metadata(2, 0, again)).leader("t", 0).unwrap().id, 2);
}

#[test]
fn an_answer_may_tell_a_newer_leader() {
    let snapshot = MetadataSnapshot::default().updated(&metadata(1, 5, Uuid::default()));
    let told = |leader, leader_epoch| [LeaderUpdate { partition: TopicPartition::new("t", 0), leader, leader_epoch }];
    assert!(snapshot.with_leaders(&told(2, 5), &[]).is_none(), "not newer");
    assert!(snapshot.with_leaders(&told(3, 6), &[]).is_none(), "not known where it is");
    let node = Node::new(3, "localhost", 9003, None).unwrap();
    let next = snapshot.with_leaders(&told(3, 6), &[node]).unwrap();
    assert_eq!(next.leader("t", 0).unwrap().address(), "localhost:9003");
}

#[test]
fn an_ipv6_address_has_brackets() {
    assert_eq!(Node::new(1, "::1", 9092, None).unwrap().address(), "[::1]:9092");
    assert!(Node::new(1, "h", 0, None).is_none());
    assert!(Node::new(1, "h", 70_000, None).is_none());
}
