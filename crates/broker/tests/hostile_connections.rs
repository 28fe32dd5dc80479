//! Whoever connects may send anything: the broker stays up, and its memory bounded.

#![allow(clippy::unwrap_used, reason = "a failure of a helper fails its test")]

mod support;

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use support::{Client, encode, start};
use vltava_broker::embedded;
use vltava_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse, MetadataRequest, ResponseHeader};
use vltava_protocol::wire::{Message, Reader};
use vltava_protocol::{ApiKey, ErrorCode};

/// How many connections send random bytes.
const RANDOM_CONNECTIONS: u64 = 2000;
/// How many connections send requests that were damaged or cut.
const DAMAGED_CONNECTIONS: u64 = 2000;
/// How many connections announce a large request and then say nothing.
const SILENT_CONNECTIONS: usize = 300;

fn is_up(broker: &embedded::Broker) {
    let mut client = Client::connect(broker);
    assert_eq!(client.call(12, &MetadataRequest { topics: None, ..Default::default() }).brokers.len(), 1);
}

/// What of this process is in memory, bytes.
fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[test]
fn random_bytes_do_no_harm() {
    let broker = start();
    let seed = 20_261_120;
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..RANDOM_CONNECTIONS {
        let mut stream = TcpStream::connect(broker.bootstrap_servers()).unwrap();
        let mut bytes = vec![0; random.usize(1..400)];
        random.fill(&mut bytes);
        if random.bool() {
            // A length that fits, so that the bytes behind it are looked at.
            let length = u32::try_from(bytes.len()).unwrap();
            bytes.splice(0..0, length.to_be_bytes());
        }
        if random.bool() && bytes.len() > 8 {
            // And an API that is served.
            bytes[4] = 0;
            bytes[5] = random.u8(0..76);
            bytes[6] = 0;
            bytes[7] = random.u8(0..14);
        }
        // The broker may have closed the connection already.
        stream.write_all(&bytes).ok();
    }
    is_up(&broker);
}

#[test]
fn damaged_and_truncated_requests_do_no_harm() {
    let broker = start();
    Client::connect(&broker).create_topic("t", 1, &[]);
    let mut random = fastrand::Rng::with_seed(7);
    let requests = [
        encode(1, 12, &support::produce_request("t", 0, support::batch(&["a", "b"]), -1)),
        encode(1, 12, &support::fetch_request("t", &[(0, 0)], 0)),
        encode(1, 12, &MetadataRequest { topics: None, ..Default::default() }),
    ];
    for round in 0..DAMAGED_CONNECTIONS {
        let mut bytes = requests[random.usize(..requests.len())].clone();
        if round % 2 == 0 {
            bytes.truncate(random.usize(1..bytes.len()));
        } else {
            for _ in 0..random.usize(1..6) {
                let at = random.usize(4..bytes.len());
                bytes[at] = random.u8(..);
            }
        }
        let mut stream = TcpStream::connect(broker.bootstrap_servers()).unwrap();
        stream.write_all(&bytes).ok();
    }
    is_up(&broker);
}

#[test]
fn absurd_lengths_end_the_connection() {
    let broker = start();
    for length in [i32::MIN, -1, (100 << 20) + 1, i32::MAX] {
        let mut client = Client::connect(&broker);
        client.stream.write_all(&length.to_be_bytes()).unwrap();
        assert_eq!(client.receive_frame(), None, "{length}");
    }
    is_up(&broker);
}

#[test]
fn silent_connections_cost_no_more_than_what_they_sent() {
    let broker = start();
    is_up(&broker);
    let before = resident_bytes();
    let mut connections = Vec::new();
    for _ in 0..SILENT_CONNECTIONS {
        let mut stream = TcpStream::connect(broker.bootstrap_servers()).unwrap();
        stream.write_all(&(100_i32 << 20).to_be_bytes()).unwrap();
        stream.write_all(&[0; 100]).unwrap();
        connections.push(stream);
    }
    is_up(&broker);
    let grown = resident_bytes().saturating_sub(before);
    // They announced 30 GB.
    assert!(grown < 64 << 20, "{grown} bytes for {SILENT_CONNECTIONS} connections");
}

#[test]
fn a_request_that_comes_byte_by_byte_is_answered() {
    let broker = start();
    let mut client = Client::connect(&broker);
    for byte in encode(5, 12, &MetadataRequest { topics: None, ..Default::default() }) {
        client.stream.write_all(&[byte]).unwrap();
    }
    assert_eq!(client.receive_as::<MetadataRequest>(5, 12).brokers.len(), 1);
}

#[test]
fn idle_connections_are_closed() {
    let config = embedded::Config::default().property("connections.max.idle.ms", "100");
    let broker = embedded::Broker::start(config).unwrap();
    let mut client = Client::connect(&broker);
    let begun = Instant::now();
    assert_eq!(client.receive_frame(), None);
    assert!(begun.elapsed() >= Duration::from_millis(100));
}

#[test]
fn a_client_that_reads_nothing_is_not_read_for_ever() {
    let config = embedded::Config::default().property("connections.max.idle.ms", "300");
    let broker = embedded::Broker::start(config).unwrap();
    let mut client = Client::connect(&broker);
    client.create_topic("t", 1, &[]);
    let value = "x".repeat(900_000);
    for _ in 0..8 {
        assert_eq!(client.produce("t", 0, &[&value]).error_code, 0);
    }
    let before = resident_bytes();
    let mut greedy = Client::connect(&broker);
    greedy.stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut request = support::fetch_request("t", &[(0, 0)], 0);
    request.topics[0].partitions[0].partition_max_bytes = 50 << 20;
    let bytes = encode(1, 12, &request);
    let mut sent = 0;
    while sent < 20_000 && greedy.stream.write_all(&bytes).is_ok() {
        sent += 1;
    }
    // It asked for 140 GB. What is held is one answer, and what the sockets hold.
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 128 << 20, "{grown} bytes after {sent} requests");
    is_up(&broker);
}

#[test]
fn connections_are_counted() {
    let config = embedded::Config::default().property("max.connections.per.ip", "2");
    let broker = embedded::Broker::start(config).unwrap();
    let mut first = Client::connect(&broker);
    first.metadata(&[], false);
    let mut second = Client::connect(&broker);
    second.metadata(&[], false);
    assert_eq!(Client::connect(&broker).receive_frame(), None);
    drop(first);
    // The place is free when the broker has seen the end of the first connection.
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let mut third = Client::connect(&broker);
        third.send(12, &MetadataRequest { topics: None, ..Default::default() });
        if third.receive_frame().is_some() {
            break;
        }
        assert!(Instant::now() < deadline, "the place is never given back");
    }
}

#[test]
fn api_versions_answers_any_version() {
    let broker = start();
    let request = ApiVersionsRequest {
        client_software_name: "test".to_owned(),
        client_software_version: "1".to_owned(),
        ..Default::default()
    };
    for version in ApiVersionsRequest::MIN_VERSION..=ApiVersionsRequest::MAX_VERSION {
        let response = Client::connect(&broker).call(version, &request);
        assert_eq!(response.error_code, 0);
        let fetch = response.api_keys.iter().find(|api| api.api_key == ApiKey::Fetch.code()).unwrap();
        assert_eq!((fetch.min_version, fetch.max_version), (4, 18));
        assert_eq!(response.supported_features.is_empty(), version < 3);
    }
    let mut client = Client::connect(&broker);
    let mut bytes = encode(9, ApiVersionsRequest::MAX_VERSION, &request);
    bytes[7] = 99;
    client.stream.write_all(&bytes).unwrap();
    let mut reader = Reader::new(client.receive_frame().unwrap());
    assert_eq!(ResponseHeader::decode(&mut reader, 0).unwrap().correlation_id, 9);
    let response = ApiVersionsResponse::decode(&mut reader, 0).unwrap();
    assert_eq!(response.error_code, ErrorCode::UnsupportedVersion.code());
    let told: Vec<_> = response.api_keys.iter().map(|api| (api.api_key, api.min_version, api.max_version)).collect();
    assert_eq!(told, [(18, 0, 4)]);
}

#[test]
fn an_api_that_is_not_served_ends_the_connection() {
    let broker = start();
    for (api, version) in [(0_i16, 2_i16), (1, 3), (4, 0), (24, 5), (999, 0), (-1, 0)] {
        let mut client = Client::connect(&broker);
        let mut bytes = encode(1, 12, &MetadataRequest { topics: None, ..Default::default() });
        bytes[4..6].copy_from_slice(&api.to_be_bytes());
        bytes[6..8].copy_from_slice(&version.to_be_bytes());
        client.stream.write_all(&bytes).unwrap();
        assert_eq!(client.receive_frame(), None, "api {api} version {version}");
    }
}
