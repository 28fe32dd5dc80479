//! The producer against a broker in the process.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use vltava_broker::embedded;
use vltava_client::admin::NewTopic;
use vltava_client::config::{Acks, AutoOffsetReset};
use vltava_client::producer::{HeaderView, Producer, ProducerRecord};
use vltava_client::{Admin, AdminConfig, ClientError, Consumer, ConsumerConfig, ProducerConfig, TopicPartition};

const TOPIC: &str = "events";

async fn broker_with_topic(partitions: i32) -> embedded::Broker {
    let broker = embedded::Broker::start(embedded::Config::default()).unwrap();
    let config = AdminConfig::builder().bootstrap_servers(broker.bootstrap_servers()).build().unwrap();
    let admin = Admin::new(config).unwrap();
    for (_, result) in admin.create_topics([NewTopic::new(TOPIC).partitions(partitions)]).await {
        result.unwrap();
    }
    broker
}

fn producer(broker: &embedded::Broker, properties: &[(&str, &str)]) -> Producer {
    let all = [("bootstrap.servers", broker.bootstrap_servers())].into_iter().chain(properties.iter().copied());
    Producer::new(ProducerConfig::from_properties(all).unwrap()).unwrap()
}

/// Everything in the topic: partition, key, value.
async fn read(broker: &embedded::Broker, partitions: i32, expected: usize) -> Vec<(i32, Option<String>, String)> {
    let config = ConsumerConfig::builder()
        .bootstrap_servers(broker.bootstrap_servers())
        .auto_offset_reset(AutoOffsetReset::Earliest)
        .build()
        .unwrap();
    let consumer = Consumer::new(config).unwrap();
    consumer.assign((0..partitions).map(|one| TopicPartition::new(TOPIC, one))).unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let mut records = Vec::new();
    while records.len() < expected {
        let polled = consumer.poll(Duration::from_secs(20)).await.unwrap();
        assert!(!polled.is_empty(), "only {} of {expected} records came", records.len());
        for partition in polled.partitions() {
            let number = partition.topic_partition().partition();
            records.extend(partition.iter().map(|one| (number, one.key().map(text), text(one.value().unwrap()))));
        }
    }
    records
}

#[tokio::test]
async fn records_arrive_in_order_with_the_offsets_that_were_told() {
    let broker = broker_with_topic(1).await;
    let producer = producer(&broker, &[]);
    let mut deliveries = Vec::new();
    for number in 0..1000 {
        let value = number.to_string();
        deliveries.push(producer.send(ProducerRecord::new(TOPIC).value(&value)).await.unwrap());
    }
    for (number, delivery) in deliveries.into_iter().enumerate() {
        let metadata = delivery.await.unwrap();
        assert_eq!((&*metadata.topic, metadata.partition, metadata.offset), (TOPIC, 0, Some(number as i64)));
    }
    let values: Vec<String> = read(&broker, 1, 1000).await.into_iter().map(|one| one.2).collect();
    let expected: Vec<String> = (0..1000).map(|number| number.to_string()).collect();
    assert_eq!(values, expected);
    producer.close(Duration::from_secs(10)).await.unwrap();
}

#[tokio::test]
async fn every_compression_and_acknowledgement_delivers() {
    for compression in ["none", "gzip", "snappy", "lz4", "zstd"] {
        for acks in ["0", "1", "all"] {
            let broker = broker_with_topic(1).await;
            let producer = producer(&broker, &[("compression.type", compression), ("acks", acks)]);
            let delivery = producer.send(ProducerRecord::new(TOPIC).key("k").value("v")).await.unwrap();
            let metadata = delivery.await.unwrap();
            assert_eq!(metadata.offset, (acks != "0").then_some(0), "{compression} {acks}");
            let records = read(&broker, 1, 1).await;
            assert_eq!(records, [(0, Some("k".to_owned()), "v".to_owned())], "{compression} {acks}");
        }
    }
}

#[tokio::test]
async fn keys_stay_together_and_records_without_key_are_spread() {
    let broker = broker_with_topic(4).await;
    let producer = producer(&broker, &[("batch.size", "500")]);
    for number in 0..400 {
        let (key, value) = (format!("key-{}", number % 7), number.to_string());
        producer.send_nowait_or_wait(ProducerRecord::new(TOPIC).key(&key).value(&value)).await;
        producer.send_nowait_or_wait(ProducerRecord::new(TOPIC).value(&value)).await;
    }
    producer.flush().await.unwrap();
    let records = read(&broker, 4, 800).await;
    let mut partitions_of_key = std::collections::BTreeMap::new();
    let mut without_key = std::collections::BTreeSet::new();
    for (partition, key, _) in records {
        match key {
            Some(key) => assert_eq!(*partitions_of_key.entry(key).or_insert(partition), partition),
            None => drop(without_key.insert(partition)),
        }
    }
    assert_eq!(partitions_of_key.len(), 7);
    assert!(without_key.len() > 1, "{without_key:?}");
}

/// As an application without futures would send.
trait SendOrWait {
    async fn send_nowait_or_wait(&self, record: ProducerRecord<'_>);
}

impl SendOrWait for Producer {
    async fn send_nowait_or_wait(&self, record: ProducerRecord<'_>) {
        match self.send_nowait(record) {
            Ok(()) => {}
            Err(ClientError::WouldBlock { .. }) => drop(self.send(record).await.unwrap()),
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn callbacks_and_headers_and_timestamps() {
    let broker = broker_with_topic(1).await;
    let producer = producer(&broker, &[]);
    let called = Arc::new(AtomicUsize::new(0));
    let headers = [HeaderView::new("trace", Some(b"17"))];
    for _ in 0..10 {
        let called = Arc::clone(&called);
        let record = ProducerRecord::new(TOPIC).value("v").headers(&headers).timestamp(1234);
        let callback = move |result: Result<_, ClientError>| {
            let metadata: vltava_client::producer::RecordMetadata = result.unwrap();
            assert_eq!(metadata.timestamp, 1234);
            assert_eq!(metadata.offset, Some(called.fetch_add(1, Ordering::Relaxed) as i64));
        };
        producer.send_with(record, callback).await.unwrap();
    }
    producer.flush().await.unwrap();
    assert_eq!(called.load(Ordering::Relaxed), 10);
}

#[tokio::test]
async fn a_batch_larger_than_the_topic_allows_is_cut() {
    let broker = broker_with_topic(1).await;
    let config = AdminConfig::builder().bootstrap_servers(broker.bootstrap_servers()).build().unwrap();
    let admin = Admin::new(config).unwrap();
    let small = NewTopic::new("small").partitions(1).config("max.message.bytes", "500");
    for (_, result) in admin.create_topics([small]).await {
        result.unwrap();
    }
    let producer = producer(&broker, &[("linger.ms", "100")]);
    let mut deliveries = Vec::new();
    for number in 0..50 {
        let value = format!("{number:050}");
        deliveries.push(producer.send(ProducerRecord::new("small").value(&value)).await.unwrap());
    }
    for (number, delivery) in deliveries.into_iter().enumerate() {
        assert_eq!(delivery.await.unwrap().offset, Some(number as i64));
    }
}

#[tokio::test]
async fn a_topic_that_does_not_exist_is_an_error_with_its_code() {
    let properties = ("auto.create.topics.enable", "false");
    let config = embedded::Config::default().property(properties.0, properties.1);
    let broker = embedded::Broker::start(config).unwrap();
    let producer = producer(&broker, &[("max.block.ms", "300")]);
    let error = producer.send(ProducerRecord::new("nowhere").value("v")).await.unwrap_err();
    assert_eq!(error.code().map(|code| code.name()), Some("UNKNOWN_TOPIC_OR_PARTITION"), "{error}");
}

#[tokio::test]
async fn many_threads_share_one_producer() {
    let broker = broker_with_topic(3).await;
    let producer = producer(&broker, &[("buffer.memory", "65536")]);
    let tasks: Vec<_> = (0..4)
        .map(|task| {
            let producer = producer.clone();
            tokio::spawn(async move {
                for number in 0..2000 {
                    let value = format!("{task}/{number}");
                    drop(producer.send(ProducerRecord::new(TOPIC).key(&[task]).value(&value)).await.unwrap());
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    producer.close(Duration::from_secs(20)).await.unwrap();
    let mut next = [0; 4];
    for (_, _, value) in read(&broker, 3, 8000).await {
        let (task, number) = value.split_once('/').unwrap();
        let task: usize = task.parse().unwrap();
        assert_eq!(number.parse::<usize>().unwrap(), next[task], "in order per key");
        next[task] += 1;
    }
    assert_eq!(next, [2000; 4]);
}

#[tokio::test]
async fn a_restart_of_the_broker_is_survived() {
    let dir = tempfile::tempdir().unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = || {
        embedded::Config::default()
            .dir(dir.path())
            .property("listeners", format!("PLAINTEXT://127.0.0.1:{port}"))
            .property("auto.create.topics.enable", "true")
    };
    let first = embedded::Broker::start(config()).unwrap();
    let producer = producer(&first, &[]);
    let delivery = producer.send(ProducerRecord::new(TOPIC).value("before")).await.unwrap();
    assert_eq!(delivery.await.unwrap().offset, Some(0));
    first.shutdown().await;
    let delivery = producer.send(ProducerRecord::new(TOPIC).value("between")).await.unwrap();
    let second = embedded::Broker::start(config()).unwrap();
    assert_eq!(delivery.await.unwrap().offset, Some(1));
    let values: Vec<String> = read(&second, 1, 2).await.into_iter().map(|one| one.2).collect();
    assert_eq!(values, ["before", "between"]);
}

#[test]
fn acknowledgements_have_kafkas_numbers() {
    assert_eq!([Acks::None.code(), Acks::Leader.code(), Acks::All.code()], [0, 1, -1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flush_tells_of_every_record_that_was_refused() {
    let broker = embedded::Broker::start(embedded::Config::default()).unwrap();
    let config = AdminConfig::builder().bootstrap_servers(broker.bootstrap_servers()).build().unwrap();
    let topic = NewTopic::new(TOPIC).partitions(1).config("max.message.bytes", "1000");
    for (_, result) in Admin::new(config).unwrap().create_topics([topic]).await {
        result.unwrap();
    }
    let producer = producer(&broker, &[]);
    producer.send(ProducerRecord::new(TOPIC).value("x")).await.unwrap().await.unwrap();
    for round in 0..300 {
        producer.send_nowait(ProducerRecord::new(TOPIC).value(&[0; 2000])).unwrap();
        let error = producer.flush().await.expect_err(&format!("round {round}"));
        assert_eq!(error.code(), Some(vltava_protocol::ErrorCode::MessageTooLarge));
    }
}

#[tokio::test]
async fn the_coordinators_topic_takes_no_records_and_says_so_at_once() {
    let broker = broker_with_topic(1).await;
    let producer = producer(&broker, &[]);
    let record = ProducerRecord::new("__consumer_offsets").partition(0).key("k").value("v");
    let sent = async { producer.send(record).await?.await };
    let error = tokio::time::timeout(Duration::from_secs(20), sent).await.unwrap().unwrap_err();
    assert_eq!(error.code(), Some(vltava_protocol::ErrorCode::InvalidTopicException), "{error}");
    assert!(error.to_string().contains("internal topic"), "{error}");
}
