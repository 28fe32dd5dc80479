//! Whoever connects may send anything: the broker stays up, and its memory bounded.

#![allow(clippy::unwrap_used, reason = "a failure of a helper fails its test")]

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use support::{Client, batch_of, code, encode, start};
use vltava_broker::embedded;
use vltava_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use vltava_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use vltava_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, FindCoordinatorRequest, IncrementalAlterConfigsRequest, JoinGroupRequest,
    MetadataRequest, ResponseHeader,
};
use vltava_protocol::record::Compression;
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

/// Held by tests that measure the process's memory, or take much of it.
static MEMORY: Mutex<()> = Mutex::new(());

#[test]
fn silent_connections_cost_no_more_than_what_they_sent() {
    let _alone = MEMORY.lock().unwrap_or_else(PoisonError::into_inner);
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
fn half_sent_requests_cost_no_more_than_what_they_sent() {
    const CONNECTIONS: usize = 20;
    const SENT: usize = 20 << 20;
    let _alone = MEMORY.lock().unwrap_or_else(PoisonError::into_inner);
    let broker = start();
    is_up(&broker);
    let before = resident_bytes();
    let half = vec![1; SENT];
    // What the first took is there for the second.
    for round in 1..=2 {
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
            let mut stream = TcpStream::connect(broker.bootstrap_servers()).unwrap();
            stream.write_all(&(40_i32 << 20).to_be_bytes()).unwrap();
            stream.write_all(&half).unwrap();
            connections.push(stream);
        }
        is_up(&broker);
        let grown = resident_bytes().saturating_sub(before);
        // They announced 800 MB. A buffer on its way to another twice as long is there twice.
        assert!(grown < CONNECTIONS * SENT + 6 * SENT, "{} MB in round {round}", grown >> 20);
    }
}

#[test]
fn requests_wait_for_the_memory_that_is_allowed() {
    let config = embedded::Config::default().property("queued.max.request.bytes", "1000");
    let broker = embedded::Broker::start(config).unwrap();
    let mut waiting = Client::connect(&broker);
    let mut silent = TcpStream::connect(broker.bootstrap_servers()).unwrap();
    silent.write_all(&(1_i32 << 20).to_be_bytes()).unwrap();
    // When the announcement has come, nobody else is read.
    waiting.stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        waiting.send(12, &MetadataRequest { topics: None, ..Default::default() });
        if waiting.receive_frame().is_none() {
            break;
        }
        assert!(Instant::now() < deadline, "a request passes by the limit");
    }
    // The memory is free again with the connection that held it.
    drop(silent);
    waiting.stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    assert!(waiting.receive_frame().is_some());
    is_up(&broker);
}

#[test]
fn a_bomb_is_refused_and_the_next_record_taken() {
    let _alone = MEMORY.lock().unwrap_or_else(PoisonError::into_inner);
    let config = embedded::Config::default().property("max.decompressed.batch.bytes", "20000000");
    let broker = embedded::Broker::start(config).unwrap();
    let mut client = Client::connect(&broker);
    // Snappy makes no less than a twentieth of anything.
    let larger = ("max.message.bytes", "2000000");
    client.create_topic("t", 1, &[larger]);
    client.create_topic("anew", 1, &[larger, ("compression.type", "uncompressed")]);
    let (bomb, large) = ("0".repeat(24_000_000), "0".repeat(12_000_000));
    for codec in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
        let bomb = batch_of(&[&bomb], None, codec);
        for topic in ["t", "anew"] {
            let answer = client.produce_batch(topic, 0, bomb.clone());
            assert_eq!(answer.error_code, code(ErrorCode::MessageTooLarge), "{codec} {topic}");
            let message = answer.error_message.unwrap_or_default();
            assert!(message.contains("max.decompressed.batch.bytes"), "{codec} {topic}: {message}");
        }
        let answer = client.produce_batch("t", 0, batch_of(&[&large], None, codec));
        assert_eq!(answer.error_code, 0, "{codec}");
    }
    is_up(&broker);
}

#[test]
fn what_a_group_keeps_of_a_request_does_not_hold_its_memory() {
    let config = embedded::Config::default().property("queued.max.request.bytes", "1000");
    let broker = embedded::Broker::start(config).unwrap();
    let mut client = Client::connect(&broker);
    let find = FindCoordinatorRequest { coordinator_keys: vec!["g".to_owned()], ..Default::default() };
    assert_eq!(client.call(6, &find).coordinators[0].error_code, 0);
    for index in 0..5 {
        let protocol = JoinGroupRequestProtocol {
            name: "range".to_owned(),
            metadata: vec![0_u8; 900].into(),
            ..Default::default()
        };
        let request = JoinGroupRequest {
            group_id: format!("g{index}"),
            session_timeout_ms: 30_000,
            rebalance_timeout_ms: 30_000,
            protocol_type: "consumer".to_owned(),
            protocols: vec![protocol],
            ..Default::default()
        };
        // An old version, in which a member is let in at once.
        assert_eq!(client.call(3, &request).error_code, 0);
    }
    is_up(&broker);
}

#[test]
fn a_client_that_reads_steadily_is_not_idle() {
    let config = embedded::Config::default().property("connections.max.idle.ms", "400");
    let broker = embedded::Broker::start(config).unwrap();
    let mut client = Client::connect(&broker);
    client.create_topic("t", 1, &[]);
    let value = "x".repeat(900_000);
    for _ in 0..40 {
        assert_eq!(client.produce("t", 0, &[&value]).error_code, 0);
    }
    let mut request = support::fetch_request("t", &[(0, 0)], 0);
    request.topics[0].partitions[0].partition_max_bytes = 50 << 20;
    client.send(12, &request);
    let mut length = [0; 4];
    client.stream.read_exact(&mut length).unwrap();
    let mut left = usize::try_from(i32::from_be_bytes(length)).unwrap();
    assert!(left > 30 << 20, "{left}");
    // Reads for several times as long as a connection may be idle; what the sockets hold is a few MB.
    let begun = Instant::now();
    let piece = left / 30;
    let mut buffer = vec![0; piece];
    while left > 0 {
        let taken = left.min(piece);
        client.stream.read_exact(&mut buffer[..taken]).unwrap();
        left -= taken;
        while left > 0 && begun.elapsed() < Duration::from_millis(1500) * u32::try_from(30 - left / piece).unwrap() / 30
        {
            std::thread::yield_now();
        }
    }
    assert!(begun.elapsed() > Duration::from_millis(1200));
    assert_eq!(client.metadata(&["t"], false).topics[0].error_code, 0);
}

#[test]
fn connections_beyond_the_most_wait_for_a_place() {
    let config = embedded::Config::default().property("max.connections", "2");
    let broker = embedded::Broker::start(config).unwrap();
    let mut first = Client::connect(&broker);
    first.metadata(&[], false);
    let mut second = Client::connect(&broker);
    second.metadata(&[], false);
    let mut third = Client::connect(&broker);
    third.send(12, &MetadataRequest { topics: None, ..Default::default() });
    third.stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut byte = [0];
    assert_eq!(third.stream.peek(&mut byte).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    first.metadata(&[], false);
    drop(first);
    third.stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    assert!(third.receive_frame().is_some());
}

#[test]
fn the_listener_of_brokers_has_places_that_others_give_up() {
    let config = embedded::Config::default()
        .property("listeners", "PLAINTEXT://127.0.0.1:0,EXTRA://127.0.0.1:0")
        .property("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,EXTRA:PLAINTEXT")
        .property("max.connections", "2");
    let broker = embedded::Broker::start(config).unwrap();
    let (plain, extra) = broker.bootstrap_servers().split_once(',').unwrap();
    let mut older = Client::connect_to(extra);
    older.metadata(&[], false);
    let mut newer = Client::connect_to(extra);
    newer.metadata(&[], false);
    older.metadata(&[], false);
    // Which leaves `newer` as the one that was used longest ago.
    let mut own = Client::connect_to(plain);
    own.metadata(&[], false);
    assert_eq!(newer.receive_frame(), None);
    older.metadata(&[], false);
    own.metadata(&[], false);
    // There is no place for another that is not of a broker.
    let mut waiting = Client::connect_to(extra);
    waiting.send(12, &MetadataRequest { topics: None, ..Default::default() });
    waiting.stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    assert_eq!(waiting.stream.peek(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    // A limit that is lowered ends connections.
    let limit =
        AlterableConfig { name: "max.connections".to_owned(), value: Some("1".to_owned()), ..Default::default() };
    let all = AlterConfigsResource { resource_type: 4, configs: vec![limit], ..Default::default() };
    let altered = own.call(1, &IncrementalAlterConfigsRequest { resources: vec![all], ..Default::default() });
    assert_eq!(altered.responses[0].error_code, 0, "{:?}", altered.responses[0].error_message);
    assert_eq!(older.receive_frame(), None);
    own.metadata(&[], false);
}

#[test]
fn nobody_can_be_locked_out_by_a_limit_of_connections() {
    let broker = start();
    let mut client = Client::connect(&broker);
    let keys = [
        "max.connections",
        "max.connection.creation.rate",
        "max.connections.per.ip",
        "listener.name.plaintext.max.connections",
    ];
    for (key, node) in keys.iter().flat_map(|key| [(key, ""), (key, "1")]) {
        let limit = AlterableConfig { name: (*key).to_owned(), value: Some("0".to_owned()), ..Default::default() };
        let resource = AlterConfigsResource {
            resource_type: 4,
            resource_name: node.to_owned(),
            configs: vec![limit],
            ..Default::default()
        };
        let altered =
            client.call(1, &IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() });
        assert_eq!(altered.responses[0].error_code, ErrorCode::InvalidRequest.code(), "{key} of {node:?}");
    }
    is_up(&broker);
}

#[test]
fn a_listener_has_a_rate_of_new_connections_that_may_change() {
    const RATE: &str = "listener.name.slow.max.connection.creation.rate";
    let config = embedded::Config::default()
        .property("listeners", "PLAINTEXT://127.0.0.1:0,SLOW://127.0.0.1:0")
        .property("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,SLOW:PLAINTEXT")
        .property(RATE, "0");
    let broker = embedded::Broker::start(config).unwrap();
    let (plain, slow) = broker.bootstrap_servers().split_once(',').unwrap();
    let mut waiting = Client::connect_to(slow);
    waiting.send(12, &MetadataRequest { topics: None, ..Default::default() });
    waiting.stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    assert_eq!(waiting.stream.peek(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    let mut other = Client::connect_to(plain);
    let rate = AlterableConfig { name: RATE.to_owned(), value: Some("5".to_owned()), ..Default::default() };
    let broker_1 = AlterConfigsResource {
        resource_type: 4,
        resource_name: "1".to_owned(),
        configs: vec![rate],
        ..Default::default()
    };
    let altered = other.call(1, &IncrementalAlterConfigsRequest { resources: vec![broker_1], ..Default::default() });
    assert_eq!(altered.responses[0].error_code, 0, "{:?}", altered.responses[0].error_message);
    waiting.stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    assert!(waiting.receive_frame().is_some());
}

#[test]
fn a_limit_of_one_address_may_differ() {
    let config = embedded::Config::default()
        .property("max.connections.per.ip", "0")
        .property("max.connections.per.ip.overrides", "10.1.1.1:5,localhost:1");
    let broker = embedded::Broker::start(config).unwrap();
    let mut first = Client::connect(&broker);
    first.metadata(&[], false);
    assert_eq!(Client::connect(&broker).receive_frame(), None);
    first.metadata(&[], false);
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
    let config = embedded::Config::default()
        .property("connections.max.idle.ms", "100")
        .property("connection.failed.authentication.delay.ms", "0");
    let broker = embedded::Broker::start(config).unwrap();
    let mut client = Client::connect(&broker);
    let begun = Instant::now();
    assert_eq!(client.receive_frame(), None);
    assert!(begun.elapsed() >= Duration::from_millis(100));
}

#[test]
fn a_client_that_reads_nothing_is_not_read_for_ever() {
    let _alone = MEMORY.lock().unwrap_or_else(PoisonError::into_inner);
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
