//! A request that takes long keeps back no other one.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failure of a helper fails its test")]

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use support::Client;
use vltava_broker::embedded;
use vltava_protocol::messages::create_topics_request::CreatableTopic;
use vltava_protocol::messages::{
    CreateTopicsRequest, FetchRequest, FindCoordinatorRequest, HeartbeatRequest, InitProducerIdRequest, MetadataRequest,
};

/// Has the making of `topic` wait, as long as nobody writes to a pipe, for a file that is read then.
fn stall(dir: &Path, topic: &str) -> std::path::PathBuf {
    let partition = dir.join(format!("{topic}-0"));
    fs::create_dir(&partition).unwrap();
    let pipe = partition.join("leader-epoch-checkpoint");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    pipe
}

fn request(topic: &str) -> CreateTopicsRequest {
    let topic =
        CreatableTopic { name: topic.to_owned(), num_partitions: 1, replication_factor: -1, ..Default::default() };
    CreateTopicsRequest { topics: vec![topic], timeout_ms: 60_000, ..Default::default() }
}

#[test]
fn topics_whose_files_take_long_keep_back_no_other_client() {
    let dir = tempfile::tempdir().unwrap();
    let broker = embedded::Broker::start(embedded::Config::default().dir(dir.path())).unwrap();
    let mut client = Client::connect(&broker);
    client.create_topic("t", 1, &[]);
    client.call(2, &FindCoordinatorRequest { key: "g".to_owned(), ..Default::default() });
    // More than there are threads that serve connections.
    let count = std::thread::available_parallelism().unwrap().get() + 2;
    let topics: Vec<String> = (0..count).map(|n| format!("slow{n}")).collect();
    let pipes: Vec<_> = topics.iter().map(|topic| stall(dir.path(), topic)).collect();
    let mut creators: Vec<Client> = topics
        .iter()
        .map(|topic| {
            let mut creator = Client::connect(&broker);
            creator.send(7, &request(topic));
            creator
        })
        .collect();

    // Two blocks of producer ids: the metadata is written while the files are waited for.
    let init = InitProducerIdRequest { transactional_id: None, ..Default::default() };
    let first = client.call(5, &init).producer_id;
    while client.call(5, &init).producer_id < first + 1000 {}
    for n in 0..100 {
        assert_eq!(client.produce("t", 0, &["x"]).base_offset, n);
        assert_eq!(client.fetch("t", 0, n).high_watermark, n + 1);
        assert_eq!(client.metadata(&["t"], false).topics[0].error_code, 0);
        let heartbeat = HeartbeatRequest { group_id: "g".to_owned(), member_id: "m".to_owned(), ..Default::default() };
        assert_ne!(client.call(3, &heartbeat).error_code, 0, "nobody of that name is a member");
    }

    // Opened and closed: empty files. All at once, for nobody knows which of them is waited for first.
    let writers: Vec<_> = pipes
        .into_iter()
        .map(|pipe| thread::spawn(move || drop(fs::OpenOptions::new().write(true).open(pipe).unwrap())))
        .collect();
    for creator in &mut creators {
        let created = creator.receive::<CreateTopicsRequest>(7).topics.remove(0);
        assert_eq!(created.error_code, 0, "{:?}", created.error_message);
    }
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    for topic in &topics {
        assert_eq!(client.produce(topic, 0, &["x"]).base_offset, 0);
    }
}

#[test]
fn as_many_requests_wait_for_the_broker_as_may_and_others_are_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let config = embedded::Config::default().dir(dir.path()).property("queued.max.requests", "2");
    let broker = embedded::Broker::start(config).unwrap();
    let mut client = Client::connect(&broker);
    client.create_topic("t", 1, &[]);
    // More fetches than there are places wait for records: those of others, not of the broker.
    let mut fetchers: Vec<Client> = (0..3).map(|_| Client::connect(&broker)).collect();
    for fetcher in &mut fetchers {
        fetcher.send(12, &support::fetch_request("t", &[(0, 0)], 60_000));
    }
    let topics = ["slow0", "slow1"];
    let pipes = topics.map(|topic| stall(dir.path(), topic));
    let mut creators = topics.map(|topic| {
        let mut creator = Client::connect(&broker);
        creator.send(7, &request(topic));
        creator
    });
    // Both are seen to have their places by a request that gets none.
    let patience = Instant::now() + Duration::from_secs(20);
    let ask = MetadataRequest { topics: Some(Vec::new()), ..Default::default() };
    client.stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    loop {
        client.send(12, &ask);
        match client.stream.peek(&mut [0]) {
            Ok(_) => client.receive::<MetadataRequest>(12),
            Err(_) => break,
        };
        assert!(Instant::now() < patience, "every request gets a place");
    }
    let writers = pipes.map(|pipe| thread::spawn(move || drop(fs::OpenOptions::new().write(true).open(pipe).unwrap())));
    client.stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    assert_eq!(client.receive::<MetadataRequest>(12).brokers.len(), 1);
    for creator in &mut creators {
        assert_eq!(creator.receive::<CreateTopicsRequest>(7).topics[0].error_code, 0);
    }
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    assert_eq!(client.produce("t", 0, &["x"]).base_offset, 0);
    for fetcher in &mut fetchers {
        assert_eq!(fetcher.receive::<FetchRequest>(12).responses[0].partitions[0].high_watermark, 1);
    }
}
