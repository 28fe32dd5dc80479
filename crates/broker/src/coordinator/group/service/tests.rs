//! Groups on a log in memory.

use bytes::Bytes;
use tokio::task::yield_now;
use vltava_log::VerificationGuard;
use vltava_protocol::Uuid;
use vltava_protocol::messages::OffsetCommitRequest;
use vltava_protocol::record::Compression;

use super::*;
use crate::coordinator::group::tests::harness::{GROUP, join_request, simple_commit};
use crate::coordinator::memory_log::{Fault, MemoryLog};
use crate::coordinator::record::RecordBytes;
use crate::coordinator::write::BatchWriter;

/// One partition, which all groups belong to.
const TOPIC: (Uuid, usize) = (Uuid::from_u128(1), 1);

fn coordinator(log: &Arc<MemoryLog>) -> Arc<GroupCoordinator> {
    coordinator_with(log, GroupCoordinatorConfig { initial_rebalance_delay_ms: 0, ..Default::default() })
}

fn coordinator_with(log: &Arc<MemoryLog>, config: GroupCoordinatorConfig) -> Arc<GroupCoordinator> {
    let coordinator = GroupCoordinator::of_groups(config, log.clone());
    coordinator.follow(Some(TOPIC));
    Arc::new(coordinator)
}

async fn commit(coordinator: &GroupCoordinator, group: &str, partition: i32, offset: i64) -> Result<(), ErrorCode> {
    let request = OffsetCommitRequest { group_id: group.into(), ..simple_commit("t", partition, offset) };
    let committed = coordinator.with_shard(group, |shard, now| shard.commit_offsets(now, &caller(9), request));
    committed.await?.map(|_| ())
}

async fn committed(coordinator: &GroupCoordinator) -> Result<i64, ErrorCode> {
    loop {
        match coordinator.with_shard(GROUP, |shard, _| shard.fetch_offsets(GROUP, None, true)).await {
            Err(ErrorCode::CoordinatorLoadInProgress) => yield_now().await,
            topics => {
                return topics.map(|topics| topics.first().map_or(-1, |topic| topic.partitions[0].committed_offset));
            }
        }
    }
}

fn caller(api_version: i16) -> Caller {
    Caller { api_version, client_id: "c".into(), client_host: "/h".into() }
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
    let coordinator = GroupCoordinator::of_groups(GroupCoordinatorConfig::default(), Arc::new(MemoryLog::default()));
    let response = coordinator.join_group(&caller(9), join_request("m")).await;
    assert_eq!(ErrorCode::from(response.error_code), ErrorCode::NotCoordinator);
    assert_eq!(response.member_id, "m");
    assert_eq!(commit(&coordinator, GROUP, 0, 1).await, Err(ErrorCode::NotCoordinator));
}

#[tokio::test]
async fn offsets_are_there_after_a_restart_with_every_compression() {
    for compression in [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd]
    {
        let log = Arc::new(MemoryLog::default());
        let config = GroupCoordinatorConfig { offsets_topic_compression: compression, ..Default::default() };
        let before = coordinator_with(&log, config.clone());
        commit(&before, GROUP, 0, 42).await.unwrap();
        assert_eq!(log.batches()[0].header().compression(), compression);
        drop(before);
        assert_eq!(committed(&coordinator_with(&log, config)).await, Ok(42));
    }
}

#[tokio::test]
async fn who_waits_for_the_group_when_an_append_fails_is_told_too() {
    let log = Arc::new(MemoryLog::default());
    let config = GroupCoordinatorConfig { initial_rebalance_delay_ms: 60_000, ..Default::default() };
    let coordinator = coordinator_with(&log, config);
    let id = coordinator.join_group(&caller(9), join_request("")).await.member_id;
    let waiting = tokio::spawn({
        let coordinator = coordinator.clone();
        async move { coordinator.join_group(&caller(9), join_request(&id)).await }
    });
    // The member is in the group as soon as its request is parked.
    let members = || coordinator.with_shard(GROUP, |shard, _| shard.describe_group(6, GROUP).members.len());
    while members().await == Ok(0) {
        yield_now().await;
    }
    log.fail(Some(Fault::Refused(ErrorCode::KafkaStorageError)));
    assert_eq!(commit(&coordinator, "neighbour", 0, 1).await, Err(ErrorCode::NotCoordinator));
    assert_eq!(ErrorCode::from(waiting.await.unwrap().error_code), ErrorCode::NotCoordinator);
}

#[tokio::test]
async fn an_assignment_is_handed_out_when_it_is_committed() {
    let log = Arc::new(MemoryLog::default());
    let coordinator = coordinator(&log);
    let first = coordinator.join_group(&caller(9), join_request("")).await;
    let joined = coordinator.join_group(&caller(9), join_request(&first.member_id)).await;
    log.set_slow(true);
    let request = SyncGroupRequest {
        group_id: GROUP.into(),
        generation_id: 1,
        member_id: joined.member_id,
        ..SyncGroupRequest::default()
    };
    let waiting = tokio::spawn({
        let coordinator = coordinator.clone();
        async move { coordinator.sync_group(request).await }
    });
    while log.end(0) < 2 {
        yield_now().await;
    }
    assert!(!waiting.is_finished());
    log.commit(0, 2);
    assert_eq!(waiting.await.unwrap().error_code, 0);
}

#[tokio::test]
async fn a_log_with_records_that_cannot_be_understood_is_not_served() {
    let log = Arc::new(MemoryLog::default());
    // A group's metadata in a version of the future.
    let record =
        RecordBytes { key: Bytes::from_static(b"\0\x02\0\x05group"), value: Some(Bytes::from_static(b"\x7f\xff")) };
    let batch = BatchWriter::new(Compression::None).batches(&[record], usize::MAX, 0).next().unwrap().unwrap();
    log.append(0, 0, &batch, VerificationGuard::SENTINEL, 0).unwrap();
    assert_eq!(committed(&coordinator(&log)).await, Err(ErrorCode::NotCoordinator));
}

#[tokio::test]
async fn a_deletion_larger_than_a_batch_takes_several() {
    let log = Arc::new(MemoryLog::default());
    let config = GroupCoordinatorConfig { max_batch_bytes: 1_000, ..Default::default() };
    let coordinator = coordinator_with(&log, config);
    for partition in 0..100 {
        commit(&coordinator, GROUP, partition, 1).await.unwrap();
    }
    let before = log.batches().len();
    let deleted = coordinator.with_shard(GROUP, |shard, now| shard.delete_groups(now, &[GROUP.into()])).await.unwrap();
    assert_eq!(deleted[0].error_code, 0);
    let batches = log.batches();
    assert!(batches.len() - before > 5);
    assert!(batches.iter().all(|batch| batch.header().size() <= 1_000));
    assert_eq!(batches.iter().skip(before).map(|batch| batch.header().count()).sum::<i32>(), 101);
}
