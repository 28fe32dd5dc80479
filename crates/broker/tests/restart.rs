//! What was acknowledged is there after a stop, and after a kill.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failure of a helper fails its test")]

mod support;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use support::{Client, batch_of, code};
use vltava_broker::{BrokerError, embedded};
use vltava_protocol::ErrorCode;
use vltava_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use vltava_protocol::messages::delete_topics_request::DeleteTopicState;
use vltava_protocol::messages::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
use vltava_protocol::messages::{
    DeleteRecordsRequest, DeleteTopicsRequest, InitProducerIdRequest, OffsetForLeaderEpochRequest,
};
use vltava_protocol::record::{Compression, ProducerState};

fn start(dir: &Path) -> embedded::Broker {
    embedded::Broker::start(embedded::Config::default().dir(dir)).unwrap()
}

#[tokio::test]
async fn a_clean_stop_keeps_everything() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path());
    let cluster = broker.cluster_id().to_owned();
    let mut client = Client::connect(&broker);
    let id = client.create_topic("t", 2, &[("retention.ms", "-1")]);
    client.produce("t", 1, &["a", "b"]);
    broker.shutdown().await;
    assert!(dir.path().join(".kafka_cleanshutdown").exists());

    let broker = start(dir.path());
    assert_eq!(broker.cluster_id(), cluster);
    let mut client = Client::connect(&broker);
    let topic = client.metadata(&["t"], false).topics.remove(0);
    assert_eq!((topic.topic_id, topic.partitions.len()), (id, 2));
    assert_eq!(client.values("t", 1, 0), ["a", "b"]);
    assert_eq!(client.produce("t", 1, &["c"]).base_offset, 2);
}

#[test]
fn a_kill_loses_nothing_that_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let mut expected = Vec::new();
    for run in 0..5 {
        let broker = start(dir.path());
        let mut client = Client::connect(&broker);
        if run == 0 {
            client.create_topic("t", 1, &[]);
        }
        for n in 0..50 {
            let value = format!("{run}-{n}");
            let answer = client.produce("t", 0, &[&value]);
            assert_eq!((answer.error_code, answer.base_offset), (0, i64::try_from(expected.len()).unwrap()));
            expected.push(value);
        }
        broker.abort();
        assert!(!dir.path().join(".kafka_cleanshutdown").exists());
    }
    let broker = start(dir.path());
    assert_eq!(Client::connect(&broker).values("t", 0, 0), expected);
}

#[test]
fn half_a_batch_at_the_end_is_cut_off_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path());
    let mut client = Client::connect(&broker);
    client.create_topic("t", 1, &[]);
    client.produce("t", 0, &["kept"]);
    client.produce("t", 0, &["torn"]);
    broker.abort();
    let segment = dir.path().join("t-0/00000000000000000000.log");
    let size = fs::metadata(&segment).unwrap().len();
    fs::File::options().write(true).open(&segment).unwrap().set_len(size - 3).unwrap();

    let broker = start(dir.path());
    let mut client = Client::connect(&broker);
    assert_eq!(client.values("t", 0, 0), ["kept"]);
    // A consumer that read the torn record finds out by the leader epoch (KIP-320).
    let partition =
        OffsetForLeaderPartition { partition: 0, current_leader_epoch: 1, leader_epoch: 0, ..Default::default() };
    let topic = OffsetForLeaderTopic { topic: "t".to_owned(), partitions: vec![partition], ..Default::default() };
    let request = OffsetForLeaderEpochRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
    let end = client.call(4, &request).topics.remove(0).partitions.remove(0);
    assert_eq!((end.error_code, end.leader_epoch, end.end_offset), (0, 0, 1));
}

#[test]
fn producers_are_remembered_over_a_kill_and_ids_are_not_given_twice() {
    let dir = tempfile::tempdir().unwrap();
    let init = InitProducerIdRequest { transactional_id: None, ..Default::default() };
    let broker = start(dir.path());
    let mut client = Client::connect(&broker);
    client.create_topic("t", 1, &[]);
    let id = client.call(5, &init).producer_id;
    let batch = batch_of(&["a"], Some(ProducerState::idempotent(id, 0, 0)), Compression::None);
    assert_eq!(client.produce_batch("t", 0, batch.clone()).base_offset, 0);
    broker.abort();

    let broker = start(dir.path());
    let mut client = Client::connect(&broker);
    let again = client.produce_batch("t", 0, batch);
    assert_eq!((again.error_code, again.base_offset), (0, 0));
    assert_eq!(client.values("t", 0, 0), ["a"]);
    assert!(client.call(5, &init).producer_id > id);
}

#[test]
fn deleted_records_stay_deleted_after_a_clean_stop() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path());
    let mut client = Client::connect(&broker);
    client.create_topic("t", 1, &[]);
    client.produce("t", 0, &["a"]);
    client.produce("t", 0, &["b"]);
    let delete = |offset| {
        let partition = DeleteRecordsPartition { partition_index: 0, offset, ..Default::default() };
        let topic = DeleteRecordsTopic { name: "t".to_owned(), partitions: vec![partition], ..Default::default() };
        DeleteRecordsRequest { topics: vec![topic], timeout_ms: 1000, ..Default::default() }
    };
    for version in 0..=2 {
        let answer = client.call(version, &delete(1)).topics.remove(0).partitions.remove(0);
        assert_eq!((answer.error_code, answer.low_watermark), (0, 1));
    }
    let answer = client.call(2, &delete(9)).topics.remove(0).partitions.remove(0);
    assert_eq!((answer.error_code, answer.low_watermark), (code(ErrorCode::OffsetOutOfRange), -1));
    drop(broker);

    let broker = start(dir.path());
    let mut client = Client::connect(&broker);
    assert_eq!(client.list_offset("t", 0, -2).offset, 1);
    assert_eq!(client.fetch("t", 0, 0).error_code, code(ErrorCode::OffsetOutOfRange));
    assert_eq!(client.values("t", 0, 1), ["b"]);
}

#[test]
fn a_topic_made_anew_does_not_begin_where_the_old_one_did() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path());
    let mut client = Client::connect(&broker);
    client.create_topic("t", 1, &[]);
    client.produce("t", 0, &["a"]);
    let partition = DeleteRecordsPartition { partition_index: 0, offset: -1, ..Default::default() };
    let topic = DeleteRecordsTopic { name: "t".to_owned(), partitions: vec![partition], ..Default::default() };
    client.call(2, &DeleteRecordsRequest { topics: vec![topic], timeout_ms: 1000, ..Default::default() });
    drop(broker);

    // The start offset of the old topic is in a checkpoint that this broker has read.
    let broker = start(dir.path());
    let mut client = Client::connect(&broker);
    assert_eq!(client.list_offset("t", 0, -2).offset, 1);
    delete(&mut client, "t");
    client.create_topic("t", 1, &[]);
    assert_eq!(client.list_offset("t", 0, -2).offset, 0);
    assert_eq!(client.produce("t", 0, &["b"]).base_offset, 0);
    assert_eq!(client.values("t", 0, 0), ["b"]);
}

fn delete(client: &mut Client, topic: &str) {
    let topic = DeleteTopicState { name: Some(topic.to_owned()), ..Default::default() };
    let request = DeleteTopicsRequest { topics: vec![topic], ..Default::default() };
    assert_eq!(client.call(6, &request).responses[0].error_code, 0);
}

#[test]
fn a_topic_deleted_before_a_kill_stays_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path());
    let mut client = Client::connect(&broker);
    client.create_topic("t", 1, &[]);
    client.produce("t", 0, &["a"]);
    delete(&mut client, "t");
    broker.abort();

    let broker = start(dir.path());
    let mut client = Client::connect(&broker);
    assert_eq!(client.metadata(&["t"], false).topics[0].error_code, code(ErrorCode::UnknownTopicOrPartition));
    client.create_topic("t", 1, &[]);
    assert_eq!(client.values("t", 0, 0), Vec::<String>::new());
}

#[test]
fn a_second_broker_on_the_same_directory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path());
    let second = embedded::Broker::start(embedded::Config::default().dir(dir.path()));
    assert!(matches!(second, Err(BrokerError::DirectoryLocked { .. })));
    drop(broker);
    start(dir.path());
}

#[test]
fn offsets_are_found_by_time() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path());
    let mut client = Client::connect(&broker);
    client.create_topic("t", 1, &[]);
    // Timestamps 1000, 1001, 1002.
    client.produce("t", 0, &["a", "b", "c"]);
    for (timestamp, offset, found) in [
        (-1, 3, -1),
        (-2, 0, -1),
        (-3, 2, 1002),
        (-4, 0, -1),
        (-5, -1, -1),
        (0, 0, 1000),
        (1001, 1, 1001),
        (1003, -1, -1),
    ] {
        let answer = client.list_offset("t", 0, timestamp);
        assert_eq!((answer.error_code, answer.offset, answer.timestamp), (0, offset, found), "{timestamp}");
    }
}

/// Set for the process that is to be killed: the directory of its broker.
const VICTIM_DIR: &str = "VLTAVA_TEST_VICTIM_DIR";

/// Not a test of its own: the process that [`a_killed_process_loses_nothing_that_was_acknowledged`]
/// starts and kills. Without the variable it has nothing to do.
#[test]
fn victim() {
    let Ok(dir) = std::env::var(VICTIM_DIR) else { return };
    let broker = start(Path::new(&dir));
    fs::write(Path::new(&dir).join("address"), broker.bootstrap_servers()).unwrap();
    // Until it is killed; if the test fails before, its end of the pipe closes.
    std::io::Read::read_to_end(&mut std::io::stdin(), &mut Vec::new()).unwrap();
}

#[test]
fn a_killed_process_loses_nothing_that_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let address_file = dir.path().join("address");
    let mut expected = Vec::new();
    for run in 0..3 {
        fs::remove_file(&address_file).ok();
        let mut victim = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "victim"])
            .env(VICTIM_DIR, dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let address = wait_for(|| fs::read_to_string(&address_file).ok().filter(|text| !text.is_empty()));
        let mut client = Client::connect_to(&address);
        if run == 0 {
            client.create_topic("t", 1, &[]);
        }
        for n in 0..200 {
            let value = format!("{run}-{n}");
            assert_eq!(client.produce("t", 0, &[&value]).error_code, 0);
            expected.push(value);
        }
        victim.kill().unwrap();
        victim.wait().unwrap();
    }
    let broker = start(dir.path());
    assert_eq!(Client::connect(&broker).values("t", 0, 0), expected);
}

fn wait_for<T>(mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited in vain");
        std::thread::yield_now();
    }
}
