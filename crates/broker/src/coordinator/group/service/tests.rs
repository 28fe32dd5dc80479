//! The service over a log in memory that fails when it is told to.

use bytes::BytesMut;
use vltava_protocol::record::{BatchPatch, Compression, RecordBatches};

use super::*;
use crate::coordinator::group::tests::harness::{GROUP, join_request, simple_commit};

const PARTITIONS: i32 = 4;

/// Partitions of batches, as a log has them.
#[derive(Default)]
struct MemoryLog {
    partitions: Mutex<HashMap<i32, (i64, BytesMut)>>,
    failure: Mutex<Option<ErrorCode>>,
}

impl MemoryLog {
    fn fail(&self, error: Option<ErrorCode>) {
        *self.failure.lock() = error;
    }

    fn batches(&self) -> Vec<vltava_protocol::record::RecordBatch> {
        let partitions = self.partitions.lock();
        let bytes = partitions.values().map(|(_, bytes)| bytes.clone().freeze());
        bytes.flat_map(RecordBatches::new).map(Result::unwrap).collect()
    }
}

impl OffsetsLog for MemoryLog {
    fn append(&self, partition: i32, batch: &Bytes, _: i64) -> Result<(), ErrorCode> {
        if let Some(error) = *self.failure.lock() {
            return Err(error);
        }
        let mut partitions = self.partitions.lock();
        let (end, log) = partitions.entry(partition).or_default();
        let mut batch = BytesMut::from(&batch[..]);
        let mut patch = BatchPatch::new(&mut batch).unwrap();
        patch.set_base_offset(*end);
        *end = patch.header().next_offset();
        log.extend_from_slice(&batch);
        Ok(())
    }

    fn read(&self, partition: i32, offset: i64, _: usize) -> Result<Bytes, ErrorCode> {
        assert_eq!(offset, 0, "everything fits into one read");
        Ok(self.partitions.lock()[&partition].1.clone().freeze())
    }

    fn bounds(&self, partition: i32) -> Result<(i64, i64), ErrorCode> {
        Ok((0, self.partitions.lock().get(&partition).map_or(0, |(end, _)| *end)))
    }
}

fn coordinator(log: &Arc<MemoryLog>) -> Arc<GroupCoordinator> {
    coordinator_with(log, GroupCoordinatorConfig { initial_rebalance_delay_ms: 0, ..Default::default() })
}

fn coordinator_with(log: &Arc<MemoryLog>, config: GroupCoordinatorConfig) -> Arc<GroupCoordinator> {
    let coordinator = Arc::new(GroupCoordinator::new(config, log.clone()));
    coordinator.start(PARTITIONS);
    coordinator
}

fn commit(coordinator: &GroupCoordinator, offset: i64) -> Result<(), ErrorCode> {
    let request = simple_commit("t", 0, offset);
    coordinator
        .with_shard(GROUP, |shard, now| shard.commit_offsets(now, &caller(9), request))
        .and_then(|result| result.map(|_| ()))
}

fn committed(coordinator: &GroupCoordinator) -> Result<i64, ErrorCode> {
    let topics = coordinator.with_shard(GROUP, |shard, _| shard.fetch_offsets(GROUP, None, true))?;
    Ok(topics.first().map_or(-1, |topic| topic.partitions[0].committed_offset))
}

fn caller(api_version: i16) -> Caller {
    Caller { api_version, client_id: "c".into(), client_host: "/h".into() }
}

/// Waits until the partitions are loaded.
async fn loaded(coordinator: &GroupCoordinator) {
    while coordinator.with_all_shards(|_, _| ()) == Err(ErrorCode::CoordinatorLoadInProgress) {
        tokio::task::yield_now().await;
    }
}

#[test]
fn groups_belong_to_the_partitions_that_java_hashes_them_to() {
    // Computed by `Math.abs("…".hashCode()) % 50` in Java; the last one's hash is Integer.MIN_VALUE.
    let cases = [("", 0), ("test", 48), ("alpha", 18), ("\u{1F600}", 49), ("polygenelubricants", 0)];
    for (group, partition) in cases {
        assert_eq!(GroupCoordinator::partition_for(group, 50), partition, "{group}");
    }
}

#[tokio::test]
async fn a_join_is_answered_when_its_deadline_comes_and_a_sync_with_it() {
    let log = Arc::new(MemoryLog::default());
    let coordinator = coordinator(&log);
    let first = coordinator.join_group(&caller(9), join_request("")).await;
    assert_eq!(ErrorCode::from(first.error_code), ErrorCode::MemberIdRequired);
    let joined = coordinator.join_group(&caller(9), join_request(&first.member_id)).await;
    assert_eq!((joined.error_code, joined.generation_id), (0, 1));
    let request = SyncGroupRequest {
        group_id: GROUP.into(),
        generation_id: 1,
        member_id: joined.member_id,
        ..SyncGroupRequest::default()
    };
    let synced = coordinator.sync_group(request).await;
    assert_eq!(synced.protocol_name.as_deref(), Some("range"));
    assert_eq!(log.batches().len(), 2, "the group's beginning and its assignment");
}

#[tokio::test]
async fn a_group_without_a_topic_has_no_coordinator() {
    let coordinator = GroupCoordinator::new(GroupCoordinatorConfig::default(), Arc::new(MemoryLog::default()));
    let response = coordinator.join_group(&caller(9), join_request("")).await;
    assert_eq!(ErrorCode::from(response.error_code), ErrorCode::NotCoordinator);
    assert_eq!(commit(&coordinator, 1), Err(ErrorCode::NotCoordinator));
}

#[tokio::test]
async fn offsets_are_there_after_a_restart_with_every_compression() {
    for compression in [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd]
    {
        let log = Arc::new(MemoryLog::default());
        let config = GroupCoordinatorConfig { offsets_topic_compression: compression, ..Default::default() };
        let before = coordinator_with(&log, config.clone());
        commit(&before, 42).unwrap();
        assert_eq!(log.batches()[0].header().compression(), compression);
        drop(before);
        let after = coordinator_with(&log, config);
        loaded(&after).await;
        assert_eq!(committed(&after), Ok(42));
    }
}

#[tokio::test]
async fn a_failed_append_is_told_and_leaves_what_the_log_has() {
    let cases = [
        (ErrorCode::KafkaStorageError, ErrorCode::NotCoordinator),
        (ErrorCode::UnknownTopicOrPartition, ErrorCode::CoordinatorNotAvailable),
        (ErrorCode::MessageTooLarge, ErrorCode::UnknownServerError),
    ];
    for (failure, expected) in cases {
        let log = Arc::new(MemoryLog::default());
        let coordinator = coordinator(&log);
        commit(&coordinator, 1).unwrap();
        log.fail(Some(failure));
        assert_eq!(commit(&coordinator, 2), Err(expected));
        log.fail(None);
        assert_eq!(commit(&coordinator, 3), Err(ErrorCode::CoordinatorLoadInProgress));
        loaded(&coordinator).await;
        assert_eq!(committed(&coordinator), Ok(1), "what was not answered is not there");
        commit(&coordinator, 4).unwrap();
        assert_eq!(committed(&coordinator), Ok(4));
    }
}

#[tokio::test]
async fn who_waits_when_an_append_fails_is_told_too() {
    let log = Arc::new(MemoryLog::default());
    let config = GroupCoordinatorConfig { initial_rebalance_delay_ms: 60_000, ..Default::default() };
    let coordinator = coordinator_with(&log, config);
    let id = coordinator.join_group(&caller(9), join_request("")).await.member_id;
    let waiting = tokio::spawn({
        let coordinator = coordinator.clone();
        async move { coordinator.join_group(&caller(9), join_request(&id)).await }
    });
    // The member is in the group as soon as its request is parked.
    while coordinator.with_shard(GROUP, |shard, _| shard.describe_group(6, GROUP)).unwrap().members.is_empty() {
        tokio::task::yield_now().await;
    }
    log.fail(Some(ErrorCode::KafkaStorageError));
    let other = simple_commit("t", 0, 1);
    let other = vltava_protocol::messages::OffsetCommitRequest { group_id: GROUP.into(), ..other };
    // A commit by nobody is refused in a group with members, so another group of the partition fails the append.
    let neighbour = (0..)
        .map(|n| format!("neighbour-{n}"))
        .find(|name| GroupCoordinator::partition_for(name, 4) == GroupCoordinator::partition_for(GROUP, 4));
    let other = vltava_protocol::messages::OffsetCommitRequest { group_id: neighbour.unwrap(), ..other };
    let result = coordinator.with_shard(GROUP, |shard, now| shard.commit_offsets(now, &caller(9), other));
    assert_eq!(result, Err(ErrorCode::NotCoordinator));
    assert_eq!(ErrorCode::from(waiting.await.unwrap().error_code), ErrorCode::NotCoordinator);
}

#[tokio::test]
async fn a_coordinator_without_its_topic_serves_nothing_until_there_is_another() {
    let log = Arc::new(MemoryLog::default());
    let coordinator = coordinator(&log);
    commit(&coordinator, 1).unwrap();
    coordinator.stop();
    assert_eq!(commit(&coordinator, 2), Err(ErrorCode::NotCoordinator));
    log.partitions.lock().clear();
    coordinator.start(PARTITIONS);
    assert_eq!(committed(&coordinator), Ok(-1));
}

#[tokio::test]
async fn a_log_with_records_that_cannot_be_understood_is_not_served() {
    let log = Arc::new(MemoryLog::default());
    let mut writer = BatchWriter::new(Compression::None);
    // A group's metadata in a version of the future.
    let record = crate::coordinator::record::RecordBytes {
        key: Bytes::from_static(b"\0\x02\0\x05group"),
        value: Some(Bytes::from_static(b"\x7f\xff")),
    };
    let batch = writer.batches(&[record], usize::MAX, 0).next().unwrap().unwrap();
    let partition = GroupCoordinator::partition_for(GROUP, PARTITIONS as usize);
    log.append(partition as i32, &batch, 0).unwrap();
    let coordinator = coordinator(&log);
    while committed(&coordinator) == Err(ErrorCode::CoordinatorLoadInProgress) {
        tokio::task::yield_now().await;
    }
    assert_eq!(committed(&coordinator), Err(ErrorCode::NotCoordinator));
}

#[tokio::test]
async fn a_deletion_larger_than_a_batch_takes_several() {
    let log = Arc::new(MemoryLog::default());
    let config = GroupCoordinatorConfig { max_batch_bytes: 1_000, ..Default::default() };
    let coordinator = coordinator_with(&log, config);
    for partition in 0..100 {
        let request = simple_commit("t", partition, 1);
        coordinator.with_shard(GROUP, |shard, now| shard.commit_offsets(now, &caller(9), request)).unwrap().unwrap();
    }
    let before = log.batches().len();
    let deleted = coordinator.with_shard(GROUP, |shard, now| shard.delete_groups(now, &[GROUP.into()])).unwrap();
    assert_eq!(deleted[0].error_code, 0);
    let batches = log.batches();
    assert!(batches.len() - before > 5);
    assert!(batches.iter().all(|batch| batch.header().size() <= 1_000));
    assert_eq!(batches.iter().skip(before).map(|batch| batch.header().count()).sum::<i32>(), 101);
}
