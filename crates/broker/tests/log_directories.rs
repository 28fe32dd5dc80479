//! Log directories that are moved, missing, copied or damaged: what is not there is offline or refused, and never made
//! again empty. What Apache Kafka does with the same directories is said at each.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failure of a helper fails its test")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use support::{Client, code};
use tempfile::TempDir;
use vltava_broker::{BrokerError, embedded};
use vltava_protocol::ErrorCode;
use vltava_protocol::messages::delete_topics_request::DeleteTopicState;
use vltava_protocol::messages::describe_log_dirs_response::DescribeLogDirsResult;
use vltava_protocol::messages::metadata_response::MetadataResponsePartition;
use vltava_protocol::messages::{DeleteTopicsRequest, DescribeLogDirsRequest};

/// Two log directories, `a` and `b`, below one root.
struct Dirs {
    root: TempDir,
}

impl Dirs {
    /// With a topic `t` of four partitions, two in each directory, a record in each, stopped cleanly.
    async fn filled() -> Self {
        let dirs = Self { root: tempfile::tempdir().unwrap() };
        let broker = dirs.start(&["a", "b"]).unwrap();
        let mut client = Client::connect(&broker);
        client.create_topic("t", 4, &[]);
        for partition in 0..4 {
            assert_eq!(client.produce("t", partition, &[&format!("v{partition}")]).error_code, 0);
        }
        broker.shutdown().await;
        assert!(dirs.path("a").join("t-0").is_dir() && dirs.path("b").join("t-1").is_dir());
        dirs
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn config(&self, names: &[&str]) -> embedded::Config {
        let paths: Vec<String> = names.iter().map(|name| self.path(name).display().to_string()).collect();
        embedded::Config::default().dir(self.root.path()).property("log.dirs", paths.join(","))
    }

    fn start(&self, names: &[&str]) -> Result<embedded::Broker, BrokerError> {
        embedded::Broker::start(self.config(names))
    }

    /// All is as it was before.
    async fn assert_whole(&self) {
        let broker = self.start(&["a", "b"]).unwrap();
        let mut client = Client::connect(&broker);
        for partition in 0..4 {
            assert_eq!(client.values("t", partition, 0), [format!("v{partition}")]);
        }
        broker.shutdown().await;
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// All paths below a directory.
fn tree(root: &Path) -> Vec<String> {
    let mut paths = Vec::new();
    let mut left = vec![(root.to_owned(), String::new())];
    while let Some((dir, name)) = left.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            let name = format!("{name}/{}", entry.file_name().to_string_lossy());
            if entry.file_type().unwrap().is_dir() {
                left.push((entry.path(), name.clone()));
            }
            paths.push(name);
        }
    }
    paths
}

fn partitions(client: &mut Client, topic: &str) -> Vec<MetadataResponsePartition> {
    let mut partitions = client.metadata(&[topic], false).topics.remove(0).partitions;
    partitions.sort_by_key(|partition| partition.partition_index);
    partitions
}

fn described(client: &mut Client) -> Vec<DescribeLogDirsResult> {
    client.call(4, &DescribeLogDirsRequest { topics: None, ..Default::default() }).results
}

fn names_in(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Partitions 1 and 3 of `t`, which are in `b`, are offline; the others serve.
fn assert_b_is_offline(client: &mut Client) {
    for (partition, index) in partitions(client, "t").iter().zip(0..) {
        let is_there = index % 2 == 0;
        let expected: (i16, i32, &[i32]) =
            if is_there { (0, 1, &[]) } else { (code(ErrorCode::LeaderNotAvailable), -1, &[1]) };
        let told = (partition.error_code, partition.leader_id, partition.offline_replicas.as_slice());
        assert_eq!((told, partition.replica_nodes.as_slice()), (expected, [1].as_slice()), "partition {index}");
        let produced = client.produce("t", index, &["more"]);
        let listed = client.list_offset("t", index, -1);
        let fetched = client.fetch("t", index, 0);
        if is_there {
            assert_eq!((produced.error_code, produced.base_offset, listed.offset), (0, 1, 2));
            assert_eq!(fetched.error_code, 0);
        } else {
            let codes = [produced.error_code, listed.error_code, fetched.error_code];
            assert_eq!(codes, [code(ErrorCode::KafkaStorageError); 3]);
        }
    }
}

/// Kafka: these partitions have no leader, and their replica is offline, until the directory is back.
#[tokio::test]
async fn partitions_of_a_directory_that_was_removed_are_offline_until_it_is_back() {
    let dirs = Dirs::filled().await;
    for _ in 0..2 {
        let broker = dirs.start(&["a"]).unwrap();
        let mut client = Client::connect(&broker);
        let told = partitions(&mut client, "t");
        assert_eq!(told.iter().map(|p| p.leader_id).collect::<Vec<_>>(), [1, -1, 1, -1]);
        assert!(told.iter().skip(1).step_by(2).all(|p| p.offline_replicas == [1]));
        broker.shutdown().await;
    }
    let broker = dirs.start(&["a"]).unwrap();
    let mut client = Client::connect(&broker);
    assert_b_is_offline(&mut client);
    // New ones go where there is room.
    client.create_topic("n", 3, &[]);
    assert!((0..3).all(|n| dirs.path("a").join(format!("n-{n}")).is_dir()));
    assert!(!dirs.path("a").join("t-1").exists(), "never made again");
    broker.shutdown().await;

    let broker = dirs.start(&["a", "b"]).unwrap();
    let mut client = Client::connect(&broker);
    for index in 0..4 {
        let expected: &[&str] = if index % 2 == 0 { &["more"] } else { &[] };
        let values = client.values("t", index, 0);
        assert_eq!(values[0], format!("v{index}"));
        assert_eq!(values[1..], *expected);
        assert_eq!(client.produce("t", index, &["x"]).base_offset, i64::try_from(values.len()).unwrap());
    }
}

/// Kafka refuses all of these too, but for the first directory removed from `log.dirs`, where it begins a new cluster
/// and sets the partitions aside.
#[tokio::test]
async fn directories_that_do_not_fit_together_are_refused_and_left_as_they_are() {
    type Change = fn(&Dirs);
    let cases: [(&str, Change, &[&str], &[&str]); 9] = [
        ("another order", |_| {}, &["b", "a"], &["metadata.log.dir", "/a"]),
        ("the first removed", |_| {}, &["b"], &["/b", "holds no metadata log"]),
        (
            "the second emptied",
            |dirs| {
                fs::rename(dirs.path("b"), dirs.path("away")).unwrap();
                fs::create_dir(dirs.path("b")).unwrap();
            },
            &["a", "b"],
            &["/b", "mounted"],
        ),
        (
            "the second gone",
            |dirs| fs::rename(dirs.path("b"), dirs.path("away")).unwrap(),
            &["a", "b"],
            &["/b", "mounted"],
        ),
        (
            "the first gone",
            |dirs| fs::rename(dirs.path("a"), dirs.path("away")).unwrap(),
            &["a", "b"],
            &["/a", "mounted"],
        ),
        (
            "copied twice",
            |dirs| {
                fs::rename(dirs.path("b"), dirs.path("away")).unwrap();
                copy(&dirs.path("a"), &dirs.path("b"));
            },
            &["a", "b"],
            &["/a", "/b", "copy"],
        ),
        (
            "no meta.properties in the first",
            |dirs| fs::remove_file(dirs.path("a/meta.properties")).unwrap(),
            &["a", "b"],
            &["/a", "meta.properties"],
        ),
        (
            "no meta.properties in the second",
            |dirs| fs::remove_file(dirs.path("b/meta.properties")).unwrap(),
            &["a", "b"],
            &["/b", "meta.properties"],
        ),
        (
            "no meta.properties in any",
            |dirs| ["a", "b"].iter().for_each(|dir| fs::remove_file(dirs.path(dir).join("meta.properties")).unwrap()),
            &["a", "b"],
            &["meta.properties", "holds partitions"],
        ),
    ];
    for (name, change, order, words) in cases {
        let dirs = Dirs::filled().await;
        let kept = dirs.path("kept");
        ["a", "b"].iter().for_each(|dir| copy(&dirs.path(dir), &kept.join(dir)));
        change(&dirs);
        let before = tree(dirs.root.path());
        let refused = dirs.start(order).map(drop).expect_err(name).to_string();
        for word in words {
            assert!(refused.contains(word), "{name}: {refused}");
        }
        // Nothing is changed, but that a directory that was not there may be, with a lock.
        let after = tree(dirs.root.path());
        assert!(before.iter().all(|path| after.contains(path)), "{name}");
        let made: Vec<&String> = after.iter().filter(|path| !before.contains(path)).collect();
        assert!(made.iter().all(|path| path.ends_with(".lock") || path.len() == 2), "{name}: {made:?}");
        // Put right again.
        for dir in ["a", "b"] {
            fs::remove_dir_all(dirs.path(dir)).unwrap();
            fs::rename(kept.join(dir), dirs.path(dir)).unwrap();
        }
        dirs.assert_whole().await;
    }
}

#[tokio::test]
async fn the_order_does_not_matter_where_the_metadata_directory_is_named() {
    let dirs = Dirs::filled().await;
    let metadata = dirs.path("a").display().to_string();
    let broker = embedded::Broker::start(dirs.config(&["b", "a"]).property("metadata.log.dir", metadata)).unwrap();
    let mut client = Client::connect(&broker);
    for partition in 0..4 {
        assert_eq!(client.values("t", partition, 0), [format!("v{partition}")]);
    }
}

#[tokio::test]
async fn an_empty_directory_is_added_and_used_where_none_is_missing() {
    let dirs = Dirs::filled().await;
    let broker = dirs.start(&["a", "b", "c"]).unwrap();
    let mut client = Client::connect(&broker);
    client.create_topic("n", 3, &[]);
    assert!(dirs.path("c").join("n-0").is_dir(), "the one with the fewest logs first");
    broker.shutdown().await;
    // Once it was used, it is missed.
    let broker = dirs.start(&["a", "b"]).unwrap();
    let told = partitions(&mut Client::connect(&broker), "n");
    assert_eq!(told.iter().filter(|partition| partition.leader_id == -1).count(), 1);
}

/// Kafka: the directory is offline and described so, its partitions have no leader.
#[tokio::test]
async fn a_directory_that_cannot_be_read_is_offline() {
    let dirs = Dirs::filled().await;
    fs::rename(dirs.path("b"), dirs.path("away")).unwrap();
    fs::write(dirs.path("b"), "no directory").unwrap();
    let broker = dirs.start(&["a", "b"]).unwrap();
    let mut client = Client::connect(&broker);
    assert_b_is_offline(&mut client);
    let told: Vec<(i16, usize)> = described(&mut client).iter().map(|dir| (dir.error_code, dir.topics.len())).collect();
    assert_eq!(told, [(0, 1), (code(ErrorCode::KafkaStorageError), 0)]);
    client.create_topic("n", 2, &[]);
    assert!(dirs.path("a").join("n-1").is_dir());
    broker.shutdown().await;
    fs::remove_file(dirs.path("b")).unwrap();
    fs::rename(dirs.path("away"), dirs.path("b")).unwrap();
    let broker = dirs.start(&["a", "b"]).unwrap();
    assert_eq!(Client::connect(&broker).values("t", 3, 0), ["v3"]);
}

/// Takes a directory away under a running broker: the next flush of a log in it fails.
fn fail(client: &mut Client, dir: &Path, topic: &str, partition: i32) {
    fs::rename(dir, dir.with_extension("away")).unwrap();
    assert_eq!(client.produce(topic, partition, &["lost"]).error_code, code(ErrorCode::KafkaStorageError));
}

#[tokio::test]
async fn a_directory_that_fails_takes_its_partitions_offline_and_no_others() {
    let dirs = Dirs::filled().await;
    let broker = dirs.start(&["a", "b"]).unwrap();
    let mut client = Client::connect(&broker);
    client.create_topic("flushed", 2, &[("flush.messages", "1")]);
    fail(&mut client, &dirs.path("b"), "flushed", 1);
    // The metadata says so as soon as the controller has recorded it.
    while partitions(&mut client, "flushed")[1].leader_id != -1 {
        tokio::task::yield_now().await;
    }
    assert_b_is_offline(&mut client);
    let told: Vec<i16> = described(&mut client).iter().map(|dir| dir.error_code).collect();
    assert_eq!(told, [0, code(ErrorCode::KafkaStorageError)]);
    client.create_topic("n", 2, &[]);
    assert!(dirs.path("a").join("n-0").is_dir() && dirs.path("a").join("n-1").is_dir());
    broker.shutdown().await;
}

/// Kafka: `Exit.halt(1)`.
#[tokio::test]
async fn a_broker_whose_metadata_directory_or_last_directory_fails_ends_with_an_error() {
    for names in [["a", "b"].as_slice(), &["a"]] {
        let dirs = Dirs { root: tempfile::tempdir().unwrap() };
        let mut broker = dirs.start(names).unwrap();
        let mut client = Client::connect(&broker);
        client.create_topic("flushed", 1, &[("flush.messages", "1")]);
        fail(&mut client, &dirs.path("a"), "flushed", 0);
        let ended = broker.failed().await;
        assert!(matches!(&ended, BrokerError::MetadataDirFailed { path, .. } if path.ends_with("a")), "{ended}");
        assert!(!dirs.path("a.away").join(".kafka_cleanshutdown").exists());
    }
}

/// The metadata log of `t`'s cluster.
fn metadata_log(dirs: &Dirs) -> PathBuf {
    dirs.path("a").join("__cluster_metadata-0/00000000000000000000.log")
}

/// Kafka cuts the log off at the damage, and sets all partitions aside that it has forgotten with it.
#[tokio::test]
async fn a_damaged_metadata_log_is_refused_with_its_file_and_offset() {
    for was_clean in [true, false] {
        let dirs = Dirs::filled().await;
        // Another start: batches follow those in the middle.
        dirs.assert_whole().await;
        let path = metadata_log(&dirs);
        let whole = fs::read(&path).unwrap();
        let mut damaged = whole.clone();
        damaged[whole.len() / 2] ^= 1;
        fs::write(&path, damaged).unwrap();
        if !was_clean {
            fs::remove_file(dirs.path("a").join(".kafka_cleanshutdown")).unwrap();
        }
        let refused = dirs.start(&["a", "b"]).map(drop).unwrap_err();
        let BrokerError::MetadataDamaged { path: told, offset, .. } = &refused else { panic!("{refused}") };
        assert_eq!(told, &fs::canonicalize(&path).unwrap());
        assert!(*offset > 0, "{refused}");
        fs::write(&path, whole).unwrap();
        dirs.assert_whole().await;
    }
}

/// As Kafka does it.
#[tokio::test]
async fn a_torn_end_of_the_metadata_log_is_cut_off() {
    for was_clean in [true, false] {
        let dirs = Dirs::filled().await;
        let path = metadata_log(&dirs);
        let mut bytes = fs::read(&path).unwrap();
        let whole = bytes.len();
        bytes.extend_from_within(..40);
        fs::write(&path, &bytes).unwrap();
        if !was_clean {
            fs::remove_file(dirs.path("a").join(".kafka_cleanshutdown")).unwrap();
        }
        dirs.assert_whole().await;
        let after = fs::read(&path).unwrap();
        assert_eq!(after[..whole], bytes[..whole]);
        assert!(after.len() > whole);
    }
}

#[tokio::test]
async fn a_deletion_that_was_interrupted_is_finished() {
    let dirs = Dirs::filled().await;
    let broker = dirs.start(&["a", "b"]).unwrap();
    let mut client = Client::connect(&broker);
    client.create_topic("empty", 1, &[]);
    // What lies there when the topic's deletion is recorded, and nothing more is done.
    copy(&dirs.path("a").join("t-0"), &dirs.path("kept"));
    let state = |name: &str| DeleteTopicState { name: Some(name.to_owned()), ..Default::default() };
    let request = DeleteTopicsRequest { topics: vec![state("t")], timeout_ms: 5000, ..Default::default() };
    assert_eq!(client.call(6, &request).responses[0].error_code, 0);
    broker.shutdown().await;
    copy(&dirs.path("kept"), &dirs.path("a").join("t-0"));
    copy(&dirs.path("kept"), &dirs.path("b").join("t-2.0123456789abcdef0123456789abcdef-stray"));
    // A log that nobody knows is kept.
    copy(&dirs.path("kept"), &dirs.path("b").join("unknown-0"));
    let metadata = dirs.path("b").join("unknown-0/partition.metadata");
    fs::write(metadata, "version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAB9A").unwrap();
    // The topic is made anew under its old name.
    let broker = dirs.start(&["a", "b"]).unwrap();
    let mut client = Client::connect(&broker);
    client.create_topic("t", 1, &[]);
    assert_eq!(client.values("t", 0, 0), Vec::<String>::new());
    for dir in ["a", "b"] {
        let names = names_in(&dirs.path(dir));
        let strays: Vec<&String> = names.iter().filter(|name| name.ends_with("-stray")).collect();
        assert!(strays.iter().all(|name| name.starts_with("unknown-0.")), "{names:?}");
        assert_eq!(strays.len(), usize::from(dir == "b"));
    }
    broker.shutdown().await;
}

/// Directories as versions before this one left them: no directory is recorded for a partition.
#[tokio::test]
async fn partitions_are_found_where_they_are_whatever_is_recorded() {
    let dirs = Dirs::filled().await;
    // Moved by hand from one directory to the other.
    fs::rename(dirs.path("b").join("t-1"), dirs.path("a").join("t-1")).unwrap();
    dirs.assert_whole().await;
    let broker = dirs.start(&["a"]).unwrap();
    let told = partitions(&mut Client::connect(&broker), "t");
    assert_eq!(told.iter().map(|p| p.leader_id).collect::<Vec<_>>(), [1, 1, 1, -1]);
    broker.shutdown().await;
    // Twice there, one of them is a copy, and nobody can say which.
    copy(&dirs.path("a").join("t-1"), &dirs.path("b").join("t-1"));
    let refused = dirs.start(&["a", "b"]).map(drop).unwrap_err().to_string();
    assert!(refused.contains("t-1") && refused.contains("copy"), "{refused}");
}
