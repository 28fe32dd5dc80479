use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tempfile::TempDir;
use vltava_log::{AppendContext, Appender, Log, LogConfig, LogDir, LogOptions, TopicPartition};
use vltava_protocol::TimestampMs;
use vltava_protocol::records::metadata::{
    AbortTransactionRecord, BeginTransactionRecord, EndTransactionRecord, FeatureLevelRecord, RemoveTopicRecord,
    TopicRecord, UserScramCredentialRecord,
};

use super::*;
use crate::metadata::write_batch;

fn topic(name: &str, id: u128) -> MetadataRecord {
    MetadataRecord::Topic(TopicRecord {
        name: name.to_owned(),
        topic_id: Uuid::from_u128(id),
        ..TopicRecord::default()
    })
}

fn removal(id: u128) -> MetadataRecord {
    MetadataRecord::RemoveTopic(RemoveTopicRecord { topic_id: Uuid::from_u128(id), ..RemoveTopicRecord::default() })
}

fn new_log() -> (TempDir, SharedLog) {
    let dir = tempfile::tempdir().unwrap();
    let options = LogOptions { config: Arc::new(LogConfig::default()), ..LogOptions::default() };
    let name = TopicPartition::new("__cluster_metadata", 0);
    let log = Log::open(&Arc::new(LogDir::new(dir.path())), name, options, 1000).unwrap();
    (dir, Arc::new(Mutex::new(log)))
}

fn append(log: &SharedLog, epoch: i32, records: &[MetadataRecord]) {
    let batch = write_batch(records, epoch, 1000).unwrap();
    log.lock().append_as_leader(&mut Appender::new(), batch, AppendContext::coordinator(epoch, 1000)).unwrap();
}

fn names(loaded: &Loaded) -> Vec<String> {
    loaded.image.topics().map(|topic| topic.name.to_string()).collect()
}

#[test]
fn the_log_is_folded_and_tells_what_was_deleted_and_the_last_epoch() {
    let (_dir, log) = new_log();
    append(&log, 1, &[topic("a", 1001), topic("b", 1002)]);
    append(&log, 5, &[removal(1001)]);
    let loaded = load(&log).unwrap();
    assert_eq!(names(&loaded), ["b"]);
    assert_eq!(loaded.removed_topics, HashSet::from([Uuid::from_u128(1001)]));
    assert_eq!((loaded.end_offset, loaded.epoch), (3, 5));
}

#[test]
fn what_a_directory_was_formatted_with_counts_until_the_log_has_something() {
    let (dir, log) = new_log();
    assert!(load(&log).unwrap().formatted.is_none());
    let level = FeatureLevelRecord { name: "transaction.version".to_owned(), feature_level: 1, ..Default::default() };
    let level = MetadataRecord::FeatureLevel(level);
    let user = MetadataRecord::UserScramCredential(UserScramCredentialRecord {
        name: "alice".to_owned(),
        mechanism: 1,
        iterations: 4096,
        ..Default::default()
    });
    std::fs::write(dir.path().join("bootstrap.checkpoint"), write_batch(&[level, user], 1, 1000).unwrap()).unwrap();
    let formatted = load(&log).unwrap().formatted.unwrap();
    assert_eq!(formatted.features().clone(), BTreeMap::from([("transaction.version".to_owned(), 1)]));
    assert_eq!(formatted.scram().users().into_iter().collect::<Vec<_>>(), ["alice"]);
    append(&log, 1, &[topic("a", 1001)]);
    assert!(load(&log).unwrap().formatted.is_none());
}

#[test]
fn a_log_that_begins_later_goes_on_from_its_newest_snapshot() {
    let (_dir, log) = new_log();
    log.lock().truncate_fully_and_start_at(10, None, TimestampMs(1000)).unwrap();
    append(&log, 2, &[topic("covered", 1003)]);
    append(&log, 2, &[topic("after", 1004)]);
    let partition = log.lock().dir().to_owned();
    let write = |name: &str, records: &[MetadataRecord]| {
        let bytes = write_batch(records, 2, 1000).unwrap();
        std::fs::write(partition.join(name), bytes).unwrap();
    };
    let error = load(&log).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("begins at offset 10") && error.contains("snapshot"), "{error}");
    write("00000000000000000010-0000000002.checkpoint", &[topic("old", 1001)]);
    write("00000000000000000011-0000000002.checkpoint", &[topic("old", 1001), topic("covered", 1003)]);
    // Of another log's end, or not finished: of no use.
    write("00000000000000000099-0000000002.checkpoint", &[topic("wrong", 1009)]);
    write("00000000000000000012-0000000002.checkpoint.part", &[topic("wrong", 1009)]);
    assert_eq!(names(&load(&log).unwrap()), ["after", "covered", "old"]);

    let path = partition.join("00000000000000000011-0000000002.checkpoint");
    let mut bytes = std::fs::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let error = load(&log).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("00000000000000000011-0000000002.checkpoint"), "{error}");
}

#[test]
fn what_a_transaction_of_several_batches_wrote_counts_only_if_it_ended() {
    let begin = || MetadataRecord::BeginTransaction(BeginTransactionRecord::default());
    let (_dir, log) = new_log();
    append(&log, 1, &[begin()]);
    append(&log, 1, &[topic("aborted", 1001)]);
    append(&log, 1, &[MetadataRecord::AbortTransaction(AbortTransactionRecord::default())]);
    append(&log, 1, &[begin()]);
    append(&log, 1, &[topic("ended", 1002)]);
    append(&log, 1, &[MetadataRecord::EndTransaction(EndTransactionRecord::default())]);
    assert_eq!(names(&load(&log).unwrap()), ["ended"]);
    append(&log, 1, &[begin()]);
    assert!(load(&log).is_err());
}
