//! Tasks, locks and clocks around the partitions.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use vltava_protocol::{ErrorCode, Uuid};

use super::counter::{CounterShard, IdleMs, runtime_config};
use crate::coordinator::memory_log::{Fault, MemoryLog};
use crate::coordinator::runtime::{Coordinator, RuntimeConfig, partition_for};

const TOPIC: Uuid = Uuid::from_u128(1);
const PARTITIONS: usize = 4;
/// Of "a" among four.
const PARTITION: i32 = 1;

fn coordinator_with(log: &Arc<MemoryLog>, idle_ms: i64, config: RuntimeConfig) -> Coordinator<CounterShard> {
    let coordinator = Coordinator::new(config, Arc::new(IdleMs(idle_ms)), log.clone(), Box::new(|_, _| {}));
    coordinator.follow(Some((TOPIC, PARTITIONS)));
    coordinator
}

/// Makes a coordinator whose answers wait for longer than any test.
fn coordinator(log: &Arc<MemoryLog>) -> Coordinator<CounterShard> {
    let config = RuntimeConfig { write_timeout_ms: i64::from(i32::MAX), ..runtime_config() };
    coordinator_with(log, i64::from(i32::MAX), config)
}

/// Waits for what has to come by itself.
async fn come<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("nobody is woken")
}

async fn increment(coordinator: &Coordinator<CounterShard>, by: i64) -> Result<i64, ErrorCode> {
    coordinator.with_shard("a", |shard, now| shard.increment(now, "a", by)).await
}

async fn get(coordinator: &Coordinator<CounterShard>) -> Result<i64, ErrorCode> {
    coordinator.with_shard("a", |shard, _| shard.get("a")).await
}

/// As [`get`], when the partition is loaded.
async fn get_loaded(coordinator: &Coordinator<CounterShard>) -> Result<i64, ErrorCode> {
    loop {
        match get(coordinator).await {
            Err(ErrorCode::CoordinatorLoadInProgress) => tokio::task::yield_now().await,
            result => return result,
        }
    }
}

/// Polls a future once.
fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    std::pin::Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn keys_belong_to_the_partitions_that_java_hashes_them_to() {
    // Computed by `Math.abs("…".hashCode()) % 50` in Java; the last one's hash is Integer.MIN_VALUE.
    let cases = [("", 0), ("test", 48), ("alpha", 18), ("\u{1F600}", 49), ("polygenelubricants", 0)];
    for (key, partition) in cases {
        assert_eq!(partition_for(key, 50), Some(partition), "{key}");
    }
    assert_eq!(partition_for("a", PARTITIONS), Some(PARTITION as usize));
    assert_eq!(partition_for("a", 0), None);
}

#[tokio::test]
async fn a_request_waits_until_its_records_are_committed() {
    let log = Arc::new(MemoryLog::default());
    let coordinator = coordinator(&log);
    let mut at_once = Box::pin(increment(&coordinator, 1));
    assert_eq!(poll_once(&mut at_once), Poll::Ready(Ok(1)), "nothing is awaited where nothing is behind");
    log.set_slow(true);
    let mut request = Box::pin(increment(&coordinator, 1));
    assert_eq!(poll_once(&mut request), Poll::Pending);
    assert_eq!(log.end(PARTITION), 2);
    log.commit(PARTITION, 2);
    assert_eq!(come(request).await, Ok(2), "the high watermark alone lets it go");
}

#[tokio::test]
async fn a_request_that_waits_for_another_is_answered_when_that_is_committed() {
    let log = Arc::new(MemoryLog::default());
    let coordinator = coordinator(&log);
    let mut waiting = Box::pin(coordinator.ask("a", |shard, _, token| shard.wait_for("a", 2, token)));
    assert_eq!(poll_once(&mut waiting), Poll::Pending);
    log.set_slow(true);
    let mut request = Box::pin(increment(&coordinator, 2));
    assert_eq!(poll_once(&mut request), Poll::Pending);
    assert_eq!(poll_once(&mut waiting), Poll::Pending);
    log.commit(PARTITION, 1);
    assert_eq!((come(request).await, come(waiting).await), (Ok(2), Ok(2)));
}

#[tokio::test]
async fn all_shards_are_asked_and_the_answer_waits_for_all() {
    let log = Arc::new(MemoryLog::default());
    let coordinator = coordinator(&log);
    log.set_slow(true);
    let mut request = Box::pin(coordinator.with_all_shards(|shard, now| shard.increment(now, "a", 1)));
    assert_eq!(poll_once(&mut request), Poll::Pending);
    (0..3).for_each(|partition| log.commit(partition, 1));
    assert_eq!(poll_once(&mut request), Poll::Pending);
    log.commit(3, 1);
    assert_eq!(come(request).await, Ok(vec![1; PARTITIONS]));
}

#[tokio::test]
async fn a_partition_that_is_offline_has_nothing_to_say_and_keeps_nobody_waiting() {
    let log = Arc::new(MemoryLog::default());
    let coordinator = coordinator(&log);
    increment(&coordinator, 1).await.unwrap();
    log.set_offline(PARTITION);
    assert_eq!(get(&coordinator).await, Err(ErrorCode::NotCoordinator));
    assert_eq!(coordinator.with_all_shards(|shard, _| shard.get("a")).await, Ok(vec![0; PARTITIONS - 1]));
}

#[tokio::test]
async fn an_answer_that_is_not_committed_in_time_is_refused_and_nobody_has_to_ask() {
    let log = Arc::new(MemoryLog::default());
    let config = RuntimeConfig { write_timeout_ms: 1, ..runtime_config() };
    let coordinator = coordinator_with(&log, i64::from(i32::MAX), config);
    log.set_slow(true);
    assert_eq!(come(increment(&coordinator, 1)).await, Err(ErrorCode::CoordinatorNotAvailable));
    log.commit(PARTITION, 1);
    assert_eq!(get(&coordinator).await, Ok(1));
}

#[tokio::test]
async fn deadlines_are_kept_when_nobody_asks() {
    let log = Arc::new(MemoryLog::default());
    let coordinator = coordinator_with(&log, 1, runtime_config());
    increment(&coordinator, 1).await.unwrap();
    come(async {
        while log.end(PARTITION) < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(get(&coordinator).await, Ok(0), "the counter is forgotten");
}

#[tokio::test]
async fn a_partition_whose_append_failed_is_loaded_again_for_the_next_request() {
    let log = Arc::new(MemoryLog::default());
    let coordinator = coordinator(&log);
    increment(&coordinator, 1).await.unwrap();
    log.fail(Some(Fault::Refused(ErrorCode::KafkaStorageError)));
    assert_eq!(increment(&coordinator, 1).await, Err(ErrorCode::NotCoordinator));
    log.fail(None);
    assert_eq!(get(&coordinator).await, Err(ErrorCode::CoordinatorLoadInProgress));
    assert_eq!(get_loaded(&coordinator).await, Ok(1));
}

#[tokio::test]
async fn who_waits_is_told_that_leadership_ended() {
    let log = Arc::new(MemoryLog::default());
    let coordinator = coordinator(&log);
    log.set_slow(true);
    let mut request = Box::pin(increment(&coordinator, 1));
    assert_eq!(poll_once(&mut request), Poll::Pending);
    log.depose(PARTITION);
    assert_eq!(come(request).await, Err(ErrorCode::NotCoordinator));
    assert_eq!(get_loaded(&coordinator).await, Ok(0));
}

#[tokio::test]
async fn a_coordinator_lives_as_long_as_its_topic() {
    let log = Arc::new(MemoryLog::default());
    let coordinator = Coordinator::<CounterShard>::new(
        runtime_config(),
        Arc::new(IdleMs(1_000_000)),
        log.clone(),
        Box::new(|_, _| {}),
    );
    assert_eq!(get(&coordinator).await, Err(ErrorCode::NotCoordinator));
    coordinator.follow(Some((TOPIC, PARTITIONS)));
    increment(&coordinator, 1).await.unwrap();
    coordinator.follow(Some((TOPIC, PARTITIONS + 1)));
    assert_eq!(get(&coordinator).await, Ok(1), "more partitions move no keys");

    let mut waiting = Box::pin(coordinator.ask("a", |shard, _, token| shard.wait_for("a", 2, token)));
    assert_eq!(poll_once(&mut waiting), Poll::Pending);
    coordinator.follow(None);
    assert_eq!(waiting.await, Err(ErrorCode::NotCoordinator));
    assert_eq!(get(&coordinator).await, Err(ErrorCode::NotCoordinator));

    log.clear();
    coordinator.follow(Some((Uuid::from_u128(2), PARTITIONS)));
    assert_eq!(get(&coordinator).await, Ok(0));
}

#[tokio::test]
async fn partitions_with_records_are_loaded_aside() {
    let log = Arc::new(MemoryLog::default());
    let before = coordinator(&log);
    increment(&before, 1).await.unwrap();
    increment(&before, 1).await.unwrap();
    let mut waiting = Box::pin(before.ask("a", |shard, _, token| shard.wait_for("a", 9, token)));
    assert_eq!(poll_once(&mut waiting), Poll::Pending);
    drop(waiting);
    drop(before);
    let after = coordinator(&log);
    assert_eq!(get_loaded(&after).await, Ok(2));
}
