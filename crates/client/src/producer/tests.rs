//! The parts of the producer that need no broker, and the producer without one.

mod promises;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use vltava_protocol::record::{Codec, Compression};

use super::accumulator::{Accumulator, AccumulatorSettings, Appended};
use super::buffer_pool::BufferPool;
use super::sticky::choose;
use super::*;

fn accumulator(partitions: usize) -> Accumulator {
    let accumulator = Accumulator::new(AccumulatorSettings {
        batch_size: 1000,
        buffer_memory: 1 << 20,
        max_request_size: 1 << 20,
        codec: Codec::from(Compression::None),
        adaptive_partitioning: true,
    });
    accumulator.set_partitions(&Arc::from("t"), partitions);
    accumulator
}

#[test]
fn the_sticky_partition_changes_after_a_batch_of_bytes() {
    let accumulator = accumulator(4);
    let runs = accumulator
        .with_topic("t", |topic| {
            let mut runs: BTreeMap<i32, usize> = BTreeMap::new();
            for number in 0..40_000 {
                let partition = topic.sticky.current(topic);
                *runs.entry(partition).or_default() += 1;
                // Ten records of 100 bytes are a batch.
                topic.sticky.record(topic, partition, 100, 1000, number % 10 == 9);
            }
            runs
        })
        .unwrap();
    assert_eq!(runs.len(), 4);
    // Four thousand draws of one in four; ten standard deviations are 270.
    assert!(runs.values().all(|count| (7_300..=12_700).contains(count) && count % 10 == 0), "{runs:?}");
}

#[test]
fn a_partition_with_a_long_queue_gets_less() {
    let accumulator = accumulator(2);
    accumulator
        .with_topic("t", |topic| {
            topic.partitions[0].waiting.store(3, std::sync::atomic::Ordering::Relaxed);
            // Weights 1 and 4.
            let chosen: Vec<i32> = (0..5).map(|random| choose(&topic.partitions, true, random)).collect();
            assert_eq!(chosen, [0, 1, 1, 1, 1]);
            let chosen: Vec<i32> = (0..4).map(|random| choose(&topic.partitions, false, random)).collect();
            assert_eq!(chosen, [0, 1, 0, 1]);
        })
        .unwrap();
}

#[test]
fn a_partition_without_a_leader_gets_nothing_unless_none_has_one() {
    let accumulator = accumulator(2);
    accumulator
        .with_topic("t", |topic| {
            let available = |index: usize, value| {
                topic.partitions[index].available.store(value, std::sync::atomic::Ordering::Relaxed);
            };
            available(0, false);
            assert!((0..10).all(|random| choose(&topic.partitions, true, random) == 1));
            available(1, false);
            assert!((0..10).any(|random| choose(&topic.partitions, true, random) == 0));
        })
        .unwrap();
}

#[test]
fn partitions_are_added_and_never_taken_away() {
    let accumulator = accumulator(2);
    let count = || accumulator.with_topic("t", |topic| topic.partitions.len()).unwrap();
    let first = accumulator.with_topic("t", |topic| topic.partitions[0].id).unwrap();
    accumulator.set_partitions(&Arc::from("t"), 5);
    assert_eq!(count(), 5);
    accumulator.set_partitions(&Arc::from("t"), 3);
    assert_eq!(count(), 5);
    assert_eq!(accumulator.with_topic("t", |topic| topic.partitions[0].id).unwrap(), first);
}

#[test]
fn what_compresses_well_takes_no_more_memory_than_it_was_given() {
    let accumulator = Accumulator::new(AccumulatorSettings {
        batch_size: 1000,
        buffer_memory: 20_000,
        max_request_size: 1 << 20,
        codec: Codec::from(Compression::Lz4),
        adaptive_partitioning: true,
    });
    accumulator.set_partitions(&Arc::from("t"), 1);
    let queue = accumulator.with_topic("t", |topic| Arc::clone(&topic.partitions[0])).unwrap();
    // The estimate falls by small steps.
    (0..1000).for_each(|_| accumulator.observe_ratio(&queue, 1000, 10));
    let record = ProducerRecord::new("t").value(&[0; 100]);
    let mut count = 0;
    loop {
        match accumulator.append(&queue, &record, 0, super::observe::ByFlush, Instant::now).unwrap() {
            Appended::Done { .. } => count += 1,
            Appended::NeedsMemory { size, .. } => {
                break assert_eq!(size, 8000, "an eighth is the least it may shrink to");
            }
        }
        assert!(count < 200, "more was taken than there is memory");
    }
    let mut compressor = vltava_protocol::record::Compressor::new();
    let state = vltava_protocol::record::ProducerState::NONE;
    let mut bytes = 0;
    while let Some(mut batch) = queue.pop() {
        batch.seal(state, &mut compressor).unwrap();
        let (uncompressed, compressed) = batch.sizes();
        assert!(uncompressed <= 8000, "{uncompressed}");
        let before = accumulator.memory.used();
        accumulator.shrink(&mut batch);
        assert_eq!(before - accumulator.memory.used(), 8000 - compressed);
        bytes += uncompressed;
        accumulator.finish(batch, Err(ClientError::Closed));
    }
    assert!(bytes > 14_000, "the memory was used: {bytes}");
    assert_eq!(accumulator.memory.used(), 0);
}

#[tokio::test]
async fn who_waits_for_memory_is_woken_when_there_is_enough() {
    let pool = Arc::new(BufferPool::new(100, 10));
    assert!(pool.try_reserve(60));
    assert!(pool.try_reserve(40));
    assert!(!pool.try_reserve(1));
    let waiting = tokio::spawn({
        let pool = Arc::clone(&pool);
        async move { pool.wait(50, || {}).await }
    });
    while !pool.has_waiters() {
        tokio::task::yield_now().await;
    }
    pool.release(40);
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    pool.release(60);
    waiting.await.unwrap();
    assert!(!pool.has_waiters());
    assert_eq!(pool.used(), 0);
}

#[test]
fn round_robin_goes_round() {
    let partitioner = RoundRobinPartitioner::default();
    let record = ProducerRecord::new("t").key("always the same");
    let chosen: Vec<_> = (0..5).map(|_| partitioner.partition(&record, TopicPartitions::of(3))).collect();
    assert_eq!(chosen, [Some(0), Some(1), Some(2), Some(0), Some(1)]);
}

#[test]
fn keys_go_where_kafka_sends_them() {
    let partitioner = DefaultPartitioner::default();
    // toPositive(murmur2("foobar")) = toPositive(-790332482) = 1357151166.
    let record = ProducerRecord::new("t").key("foobar");
    assert_eq!(partitioner.partition(&record, TopicPartitions::of(10)), Some(6));
    assert_eq!(DefaultPartitioner { ignore_keys: true }.partition(&record, TopicPartitions::of(10)), None);
    assert_eq!(partitioner.partition(&ProducerRecord::new("t"), TopicPartitions::of(10)), None);
}

#[test]
fn a_producer_needs_a_runtime() {
    let config = ProducerConfig::builder().bootstrap_servers("127.0.0.1:1").build().unwrap();
    assert!(matches!(Producer::new(config), Err(ClientError::NoRuntime)));
}

/// A port that nobody listens on.
fn nowhere() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

#[tokio::test]
async fn without_a_broker_send_gives_up_and_names_it() {
    let servers = nowhere();
    let config =
        ProducerConfig::builder().bootstrap_servers(&servers).max_block(Duration::from_millis(200)).build().unwrap();
    let producer = Producer::new(config).unwrap();
    let error = producer.send(ProducerRecord::new("t").value("x")).await.unwrap_err();
    assert!(matches!(error, ClientError::NoBrokerAvailable { .. }), "{error}");
    assert!(error.to_string().contains(&servers), "{error}");
    assert!(error.is_retriable());
    let error = producer.try_send(ProducerRecord::new("t").value("x")).unwrap_err();
    assert!(matches!(error, ClientError::WouldBlock { .. }));
}

#[tokio::test]
async fn a_record_too_large_is_refused_with_the_setting() {
    let config = ProducerConfig::builder().bootstrap_servers(nowhere()).max_request_size(1000).build().unwrap();
    let producer = Producer::new(config).unwrap();
    let error = producer.send(ProducerRecord::new("t").value(&[0_u8; 1000])).await.unwrap_err();
    assert_eq!(error.to_string(), "record of 1082 bytes is larger than `max.request.size` 1000");
    assert!(!error.is_retriable());
}

#[tokio::test]
async fn an_idle_producer_closes_at_once_and_takes_nothing_more() {
    let config = ProducerConfig::builder().bootstrap_servers(nowhere()).build().unwrap();
    let producer = Producer::new(config).unwrap();
    producer.inner.accumulator.set_partitions(&Arc::from("t"), 1);
    producer.close(Duration::from_secs(10)).await.unwrap();
    let error = producer.clone().send(ProducerRecord::new("t").value("x")).await.unwrap_err();
    assert!(matches!(error, ClientError::Closed));
    producer.close(Duration::from_secs(10)).await.unwrap();
}

#[tokio::test]
async fn closing_gives_up_what_cannot_be_sent_in_time() {
    let config = ProducerConfig::builder().bootstrap_servers(nowhere()).build().unwrap();
    let producer = Producer::new(config).unwrap();
    producer.inner.accumulator.set_partitions(&Arc::from("t"), 1);
    let delivery = producer.send(ProducerRecord::new("t").value("x")).await.unwrap();
    let error = producer.close(Duration::from_millis(50)).await.unwrap_err();
    assert!(matches!(error, ClientError::Timeout { .. }));
    assert!(matches!(delivery.await, Err(ClientError::Closed)));
    assert_eq!(producer.buffered_bytes(), 0);
}

#[tokio::test]
async fn a_full_buffer_makes_send_wait_and_try_send_refuse() {
    let config = ProducerConfig::builder()
        .bootstrap_servers(nowhere())
        .buffer_memory(20_000)
        .max_block(Duration::from_millis(50))
        .build()
        .unwrap();
    let producer = Producer::new(config).unwrap();
    producer.inner.accumulator.set_partitions(&Arc::from("t"), 2);
    // A batch reserves `batch.size`, 16384.
    let first = producer.send_nowait(ProducerRecord::new("t").value("x").partition(0));
    assert!(first.is_ok());
    let error = producer.send_nowait(ProducerRecord::new("t").value("x").partition(1)).unwrap_err();
    assert_eq!(error.to_string(), "the call would block: `buffer.memory` is used up");
    let error = producer.send(ProducerRecord::new("t").value("x").partition(1)).await.unwrap_err();
    assert_eq!(error.to_string(), "waiting for `buffer.memory` timed out after 50 ms");
}

#[test]
fn what_crosses_threads_may() {
    fn crosses<T: Send + Sync>() {}
    crosses::<Producer>();
    crosses::<Delivery>();
    crosses::<TypedProducer<String, i64>>();
}
