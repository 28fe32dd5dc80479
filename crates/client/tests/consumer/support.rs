//! A broker, topics, records and consumers for tests.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use vltava_broker::embedded;
use vltava_client::admin::NewTopic;
use vltava_client::producer::{Producer, ProducerRecord};
use vltava_client::{
    Admin, AdminConfig, ClientError, Consumer, ConsumerConfig, ConsumerRecord, ProducerConfig, TopicPartition,
};

/// Longer than anything here takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const SHORT: Duration = Duration::from_millis(200);

pub(crate) fn broker() -> embedded::Broker {
    // Members of tests come and go quickly.
    let config = embedded::Config::default().property("group.min.session.timeout.ms", "500");
    embedded::Broker::start(config).unwrap()
}

pub(crate) async fn create_topic(servers: &str, topic: &str, partitions: i32) {
    let config = AdminConfig::from_properties([("bootstrap.servers", servers)]).unwrap();
    let admin = Admin::new(config).unwrap();
    let topic = NewTopic::new(topic).partitions(partitions).replication_factor(1);
    for (_, result) in admin.create_topics([topic]).await {
        result.unwrap();
    }
}

/// Produces `count` records in turn to the partitions; the value is the record's number.
pub(crate) async fn produce(servers: &str, topic: &str, partitions: i32, count: usize, settings: &[(&str, &str)]) {
    let settings = [("bootstrap.servers", servers)].into_iter().chain(settings.iter().copied());
    let producer = Producer::new(ProducerConfig::from_properties(settings).unwrap()).unwrap();
    for number in 0..count {
        let value = number.to_string();
        let record = ProducerRecord::new(topic).value(value.as_bytes()).partition(number as i32 % partitions);
        drop(producer.send(record).await.unwrap());
    }
    producer.flush().await.unwrap();
    producer.close(PATIENCE).await.unwrap();
}

pub(crate) fn consumer(servers: &str, settings: &[(&str, &str)]) -> Consumer {
    Consumer::new(consumer_config(servers, settings)).unwrap()
}

pub(crate) fn consumer_config(servers: &str, settings: &[(&str, &str)]) -> ConsumerConfig {
    let defaults = [("bootstrap.servers", servers), ("auto.offset.reset", "earliest")];
    ConsumerConfig::from_properties(defaults.into_iter().chain(settings.iter().copied())).unwrap()
}

pub(crate) fn tp(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition::new(topic, partition)
}

pub(crate) fn number(record: &ConsumerRecord) -> usize {
    std::str::from_utf8(record.value().unwrap()).unwrap().parse().unwrap()
}

/// Polls until there are `count` records.
pub(crate) async fn read(consumer: &Consumer, count: usize) -> Vec<ConsumerRecord> {
    let started = Instant::now();
    let mut records = Vec::new();
    while records.len() < count {
        assert!(started.elapsed() < PATIENCE, "only {} of {count} records", records.len());
        records.extend(consumer.poll(SHORT).await.unwrap().into_owned_records());
    }
    records
}

/// The next error of `poll`.
pub(crate) async fn poll_error(consumer: &Consumer) -> ClientError {
    let started = Instant::now();
    loop {
        assert!(started.elapsed() < PATIENCE, "no error");
        if let Err(error) = consumer.poll(SHORT).await {
            return error;
        }
    }
}

/// Polls all consumers in turn until a condition holds; returns what they read.
pub(crate) async fn poll_until(
    consumers: &[&Consumer],
    what: &str,
    mut done: impl FnMut(&[&Consumer]) -> bool,
) -> Vec<ConsumerRecord> {
    let started = Instant::now();
    let mut records = Vec::new();
    while !done(consumers) {
        assert!(started.elapsed() < PATIENCE, "never: {what}");
        for consumer in consumers {
            records.extend(consumer.poll(Duration::from_millis(20)).await.unwrap().into_owned_records());
        }
    }
    records
}

/// How often each number was read.
pub(crate) fn counts(records: &[ConsumerRecord]) -> BTreeMap<usize, usize> {
    let mut counts = BTreeMap::new();
    for record in records {
        *counts.entry(number(record)).or_default() += 1;
    }
    counts
}
