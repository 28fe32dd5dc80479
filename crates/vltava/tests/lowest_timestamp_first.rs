//! A task reads several partitions in the order of their timestamps: it waits for records that the broker has and that
//! were not fetched yet (KIP-695).
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

use std::time::{Duration, Instant};

use vltava::{
    client::{
        Admin, AdminConfig, Consumer, ConsumerConfig, Producer, ProducerConfig, TopicPartition, admin::NewTopic,
        producer::ProducerRecord,
    },
    embedded,
    streams::{KafkaStreams, StreamsBuilder, StreamsConfig},
};

const RECORDS: i64 = 2_000;
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn merges_topics_in_the_order_of_time() {
    let folder = tempfile::tempdir().unwrap();
    let broker = embedded::Broker::start(embedded::Config::default()).unwrap();
    let address = broker.bootstrap_servers().to_owned();
    let admin = Admin::new(AdminConfig::from_properties([("bootstrap.servers", &address)]).unwrap()).unwrap();
    for (_, created) in admin.create_topics(["a", "b", "c", "out"].map(NewTopic::new)).await {
        created.unwrap();
    }
    // All of one topic, then all of the next: where they lie says nothing of their times.
    let producer = Producer::new(ProducerConfig::from_properties([("bootstrap.servers", &address)]).unwrap()).unwrap();
    for (first, topic) in (0..).zip(["a", "b", "c"]) {
        for timestamp in (first..RECORDS).step_by(3) {
            let value = timestamp.to_string();
            let record = ProducerRecord::new(topic).value(&value).timestamp(timestamp);
            drop(producer.send(record).await.unwrap());
        }
    }
    producer.flush().await.unwrap();

    let builder = StreamsBuilder::new();
    let (a, b, c) = (builder.stream::<Option<String>, String>("a"), builder.stream("b"), builder.stream("c"));
    a.merge(&b).merge(&c).to("out");
    let config = StreamsConfig::from_properties([
        ("application.id", "merge"),
        ("bootstrap.servers", &address),
        ("state.dir", folder.path().to_str().unwrap()),
        // Small answers, so that the partitions come one by one and often.
        ("consumer.max.poll.records", "50"),
        ("consumer.max.partition.fetch.bytes", "1000"),
        ("buffered.records.per.partition", "100"),
        ("producer.linger.ms", "0"),
    ]);
    let streams = KafkaStreams::new(builder.build().unwrap(), config.unwrap()).unwrap();
    streams.start().unwrap();
    let expected: Vec<i64> = (0..RECORDS).collect();
    assert_eq!(read(&address).await, expected);
    streams.close_async(PATIENCE).await.unwrap();
    assert!(streams.failure().is_none());
}

/// The timestamps of the output.
async fn read(address: &str) -> Vec<i64> {
    let consumer = Consumer::new(ConsumerConfig::from_properties([("bootstrap.servers", address)]).unwrap()).unwrap();
    consumer.assign([TopicPartition::new("out", 0)]).unwrap();
    consumer.seek_to_beginning(&[]).unwrap();
    let (end, mut found) = (Instant::now() + PATIENCE, Vec::new());
    while (found.len() as i64) < RECORDS {
        found.extend(
            consumer.poll(Duration::from_millis(200)).await.unwrap().iter().map(|(_, record)| record.timestamp()),
        );
        assert!(Instant::now() < end, "only {} records", found.len());
    }
    found
}
