//! Many transactions of several producers side by side, and who reads them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use vltava_client::TopicPartition;
use vltava_client::config::IsolationLevel;
use vltava_client::producer::ProducerRecord;

use super::setup::{PATIENCE, Setup, record};

const PARTITIONS: i32 = 3;

/// One that is drawn from a seed, so that every run is the same.
struct Draw(u64);

impl Draw {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

pub(crate) async fn readers_of_committed_records_see_whole_transactions(setup: &Setup) {
    const PRODUCERS: u64 = 5;
    let topic = setup.topic("t", PARTITIONS, &[("segment.ms", "200")]).await;
    let mut tasks = Vec::new();
    for number in 0..PRODUCERS {
        let (producer, topic) = (setup.ready(&format!("p{number}")).await, topic.clone());
        tasks.push(tokio::spawn(async move {
            let mut draw = Draw(number + 1);
            let mut committed = Vec::new();
            for round in 0..60 {
                let is_committed = draw.below(3) > 0;
                let transaction = producer.begin_transaction().await.unwrap();
                let mut values = Vec::new();
                for index in 0..=draw.below(40) {
                    let partition = draw.below(PARTITIONS as u64) as i32;
                    let value = format!("{is_committed}/{number}/{round}/{index}");
                    transaction.send(record(&topic, partition, &value)).await.unwrap();
                    values.push(value);
                    if draw.below(8) == 0 {
                        producer.flush().await.unwrap();
                    }
                }
                if is_committed {
                    transaction.commit().await.unwrap();
                    committed.extend(values);
                } else if draw.below(2) == 0 {
                    transaction.abort().await.unwrap();
                }
            }
            producer.close(PATIENCE).await.unwrap();
            committed
        }));
    }
    // Somebody reads meanwhile, and never sees what is not committed.
    let consumer = setup.consumer(IsolationLevel::ReadCommitted, &[("max.partition.fetch.bytes", "4096")]);
    consumer.assign((0..PARTITIONS).map(|one| TopicPartition::new(topic.as_str(), one))).unwrap();
    let mut seen = Vec::new();
    while !tasks.iter().all(tokio::task::JoinHandle::is_finished) {
        let records = consumer.poll(Duration::from_millis(50)).await.unwrap();
        seen.extend(records.iter().map(|(_, one)| String::from_utf8(one.value().unwrap().to_vec()).unwrap()));
    }
    let mut expected = Vec::new();
    for task in tasks {
        expected.extend(task.await.unwrap());
    }
    expected.sort();
    while seen.len() < expected.len() {
        let records = consumer.poll(PATIENCE).await.unwrap();
        assert!(!records.is_empty(), "{} of {} records came", seen.len(), expected.len());
        seen.extend(records.iter().map(|(_, one)| String::from_utf8(one.value().unwrap().to_vec()).unwrap()));
    }
    seen.sort();
    assert_eq!(seen, expected, "who reads while it is written");
    assert_eq!(setup.committed(&topic, PARTITIONS).await, expected, "who reads afterwards");
    // From the middle of anywhere: what is seen is committed.
    let everything: BTreeSet<&String> = expected.iter().collect();
    let partition = TopicPartition::new(topic.as_str(), 0);
    let end = consumer.end_offsets(std::slice::from_ref(&partition)).await.unwrap()[&partition];
    let mut draw = Draw(7);
    for _ in 0..20 {
        consumer.assign([partition.clone()]).unwrap();
        consumer.seek(&partition, draw.below(end as u64) as i64).unwrap();
        while consumer.position(&partition).await.unwrap() < end {
            let records = consumer.poll(PATIENCE).await.unwrap();
            for (_, one) in records.iter() {
                let value = String::from_utf8(one.value().unwrap().to_vec()).unwrap();
                assert!(everything.contains(&value), "{value} at {} was not committed", one.offset());
            }
        }
    }
}

pub(crate) async fn a_compacted_topic_keeps_its_transactions_apart(setup: &Setup) {
    let cleaned = [
        ("cleanup.policy", "compact"),
        ("segment.ms", "100"),
        ("min.cleanable.dirty.ratio", "0.01"),
        ("delete.retention.ms", "0"),
        ("max.compaction.lag.ms", "500"),
    ];
    let topic = setup.topic("t", 1, &cleaned).await;
    let producer = setup.ready("p").await;
    let mut expected = BTreeMap::new();
    let mut draw = Draw(3);
    for round in 0..150 {
        let is_committed = draw.below(2) == 0;
        let transaction = producer.begin_transaction().await.unwrap();
        for _ in 0..4 {
            let key = format!("key {}", draw.below(10));
            let value = format!("{is_committed} {round} {}", "x".repeat(60));
            let one = ProducerRecord::new(&topic).key(&key).value(&value);
            transaction.send(one).await.unwrap();
            if is_committed {
                expected.insert(key, value);
            }
        }
        if is_committed {
            transaction.commit().await.unwrap();
        } else {
            // Sent, so that there is something to be skipped.
            producer.flush().await.unwrap();
            transaction.abort().await.unwrap();
        }
        if round % 50 == 49 {
            // The cleaner works meanwhile.
            tokio::time::sleep(Duration::from_millis(700)).await;
        }
        let consumer = setup.consumer(IsolationLevel::ReadCommitted, &[]);
        if round % 10 != 9 {
            continue;
        }
        let partition = TopicPartition::new(topic.as_str(), 0);
        consumer.assign([partition.clone()]).unwrap();
        let end = consumer.end_offsets(std::slice::from_ref(&partition)).await.unwrap()[&partition];
        let mut table = BTreeMap::new();
        while consumer.position(&partition).await.unwrap() < end {
            let records = consumer.poll(PATIENCE).await.unwrap();
            for (_, one) in records.iter() {
                let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                table.insert(text(one.key().unwrap()), text(one.value().unwrap()));
            }
        }
        assert_eq!(table, expected, "after round {round}");
    }
}

pub(crate) async fn a_reader_gets_past_what_was_aborted(setup: &Setup) {
    let topic = setup.topic("t", 1, &[]).await;
    let partition = TopicPartition::new(topic.as_str(), 0);
    let producer = setup.ready("p").await;
    let consumer = setup.consumer(IsolationLevel::ReadCommitted, &[("max.partition.fetch.bytes", "1000")]);
    consumer.assign([partition.clone()]).unwrap();
    let transaction = producer.begin_transaction().await.unwrap();
    for number in 0..200 {
        transaction.send(record(&topic, 0, &format!("{number} {}", "x".repeat(100)))).await.unwrap();
    }
    producer.flush().await.unwrap();
    let everybody = setup.consumer(IsolationLevel::ReadUncommitted, &[]);
    let end = |of: vltava_client::Consumer| {
        let partition = partition.clone();
        async move { of.end_offsets(std::slice::from_ref(&partition)).await.unwrap()[&partition] }
    };
    assert_eq!(end(everybody.clone()).await, 200, "the high watermark");
    assert_eq!(end(consumer.clone()).await, 0, "the last stable offset");
    assert!(consumer.poll(Duration::from_millis(300)).await.unwrap().is_empty(), "it is open");
    assert_eq!(consumer.position(&partition).await.unwrap(), 0);
    transaction.abort().await.unwrap();
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while consumer.position(&partition).await.unwrap() < 201 {
        assert!(consumer.poll(Duration::from_millis(100)).await.unwrap().is_empty(), "it was aborted");
        assert!(tokio::time::Instant::now() < deadline, "the position stays where it is");
    }
    assert_eq!(consumer.current_lag(&partition).unwrap(), Some(0));
    assert_eq!(end(consumer.clone()).await, 201);
}
