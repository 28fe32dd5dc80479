//! With few file descriptors the broker refuses what would go beyond them, and goes on with what it has. One test, since
//! the limit is that of the process.

#![allow(clippy::unwrap_used, reason = "a failure of a helper fails its test")]

mod support;

use std::fs::File;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use support::Client;
use vltava_broker::embedded;
use vltava_protocol::ErrorCode;
use vltava_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use vltava_protocol::messages::create_topics_request::CreatableTopic;
use vltava_protocol::messages::{
    CreatePartitionsRequest, CreateTopicsRequest, DescribeLogDirsRequest, MetadataRequest,
};

/// The limit of the process.
const LIMIT: u64 = 600;

fn create(client: &mut Client, name: &str, partitions: i32) -> (i16, String) {
    let topic = CreatableTopic {
        name: name.to_owned(),
        num_partitions: partitions,
        replication_factor: 1,
        ..Default::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 5000, ..Default::default() };
    let created = client.call(7, &request).topics.remove(0);
    (created.error_code, created.error_message.unwrap_or_default())
}

#[test]
fn what_is_beyond_the_descriptors_is_refused_and_the_rest_goes_on() {
    setrlimit(Resource::Nofile, Rlimit { current: Some(256), maximum: Some(LIMIT) }).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let config = || embedded::Config::default().dir(dir.path());
    let broker = embedded::Broker::start(config()).unwrap();
    assert_eq!(getrlimit(Resource::Nofile).current, Some(LIMIT), "the soft limit is raised");
    let mut client = Client::connect(&broker);

    // One topic that is too large, then all that go.
    let (error, text) = create(&mut client, "large", 400);
    assert_eq!(error, ErrorCode::PolicyViolation.code());
    assert!(text.contains("ulimit -n") && text.contains("may have 600"), "{text}");
    let mut partitions = 180;
    while create(&mut client, &format!("t{partitions}"), partitions).0 != 0 {
        partitions -= 5;
    }
    let topic = format!("t{partitions}");
    assert!(partitions > 100, "{partitions}");
    let grown =
        CreatePartitionsTopic { name: topic.clone(), count: partitions + 50, assignments: None, ..Default::default() };
    let request = CreatePartitionsRequest { topics: vec![grown], timeout_ms: 5000, ..Default::default() };
    let grown = client.call(3, &request).results.remove(0);
    assert_eq!(grown.error_code, ErrorCode::PolicyViolation.code(), "{:?}", grown.error_message);

    // Connections until they are closed; those that are open go on.
    let mut connections = Vec::new();
    loop {
        let mut connection = Client::connect(&broker);
        connection.send(12, &MetadataRequest { topics: Some(Vec::new()), ..Default::default() });
        if connection.receive_frame().is_none() {
            break;
        }
        connections.push(connection);
        assert!(connections.len() < 100, "connections are never refused");
    }
    assert_eq!(client.produce(&topic, 0, &["a"]).error_code, 0);
    drop(connections);

    // Nothing is left at all: an operation that needs a file fails, the directory does not.
    let mut taken = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        taken.push(file);
    }
    for index in 1..partitions {
        assert_eq!(client.produce(&topic, index, &["a"]).error_code, 0);
    }
    let dirs = client.call(4, &DescribeLogDirsRequest::default());
    assert!(dirs.results.iter().all(|dir| dir.error_code == 0));
    drop(taken);
    assert_eq!(client.values(&topic, 0, 0), ["a"]);
    drop(client);
    drop(broker);

    // A broker whose logs could not all be open does not start, and says why.
    setrlimit(Resource::Nofile, Rlimit { current: Some(300), maximum: Some(300) }).unwrap();
    let error = embedded::Broker::start(config()).unwrap_err();
    assert!(error.to_string().contains("ulimit -n"), "{error}");
}
