//! Topics, producers and readers of one scenario.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use vltava_client::admin::NewTopic;
use vltava_client::config::{AutoOffsetReset, IsolationLevel};
use vltava_client::producer::{Producer, ProducerRecord};
use vltava_client::{Admin, AdminConfig, Consumer, ConsumerConfig, ProducerConfig, TopicPartition};

/// Longer than anything should take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Setup {
    pub(crate) bootstrap: String,
    pub(crate) admin: Admin,
    /// In front of all names, different in each run.
    prefix: String,
}

impl Setup {
    pub(crate) async fn new(bootstrap: &str, scenario: &str) -> Self {
        let config = AdminConfig::builder().bootstrap_servers(bootstrap).build().unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros();
        let prefix = format!("{}-{now}", scenario.chars().take(24).collect::<String>());
        Self { bootstrap: bootstrap.to_owned(), admin: Admin::new(config).unwrap(), prefix }
    }

    pub(crate) fn name(&self, what: &str) -> String {
        format!("{}-{what}", self.prefix)
    }

    pub(crate) async fn topic(&self, what: &str, partitions: i32, configs: &[(&str, &str)]) -> String {
        let name = self.name(what);
        let mut topic = NewTopic::new(&name).partitions(partitions);
        for (key, value) in configs {
            topic = topic.config(*key, *value);
        }
        for (_, result) in self.admin.create_topics([topic]).await {
            result.unwrap();
        }
        name
    }

    pub(crate) fn producer(&self, what: &str, properties: &[(&str, &str)]) -> Producer {
        let id = self.name(what);
        let own = [("bootstrap.servers", self.bootstrap.as_str()), ("transactional.id", id.as_str())];
        Producer::new(ProducerConfig::from_properties(own.into_iter().chain(properties.iter().copied())).unwrap())
            .unwrap()
    }

    /// A producer that may begin.
    pub(crate) async fn ready(&self, what: &str) -> Producer {
        let producer = self.producer(what, &[]);
        producer.init_transactions().await.unwrap();
        producer
    }

    pub(crate) fn consumer(&self, isolation: IsolationLevel, properties: &[(&str, &str)]) -> Consumer {
        let mut config = ConsumerConfig::builder()
            .bootstrap_servers(&self.bootstrap)
            .auto_offset_reset(AutoOffsetReset::Earliest)
            .isolation_level(isolation)
            .set("enable.auto.commit", "false");
        for (key, value) in properties {
            config = config.set(*key, *value);
        }
        Consumer::new(config.build().unwrap()).unwrap()
    }

    /// What a reader sees up to the end that there is for him now: values by partition.
    pub(crate) async fn read(
        &self,
        topic: &str,
        partitions: i32,
        isolation: IsolationLevel,
    ) -> BTreeMap<i32, Vec<String>> {
        let consumer = self.consumer(isolation, &[]);
        let all: Vec<TopicPartition> = (0..partitions).map(|one| TopicPartition::new(topic, one)).collect();
        let ends = consumer.end_offsets(&all).await.unwrap();
        consumer.assign(all.clone()).unwrap();
        let mut values: BTreeMap<i32, Vec<String>> = BTreeMap::new();
        for partition in all.iter().filter(|partition| ends[*partition] > 0) {
            while consumer.position(partition).await.unwrap() < ends[partition] {
                let records = consumer.poll(PATIENCE).await.unwrap();
                for one in records.partitions() {
                    let number = one.topic_partition().partition();
                    let texts = one.iter().map(|record| String::from_utf8(record.value().unwrap().to_vec()).unwrap());
                    values.entry(number).or_default().extend(texts);
                }
            }
            assert_eq!(consumer.current_lag(partition).unwrap(), Some(0), "lag of {partition} under {isolation:?}");
        }
        values
    }

    /// The values of all partitions that a reader of committed records sees, sorted.
    pub(crate) async fn committed(&self, topic: &str, partitions: i32) -> Vec<String> {
        let values = self.read(topic, partitions, IsolationLevel::ReadCommitted).await;
        let mut values: Vec<String> = values.into_values().flatten().collect();
        values.sort();
        values
    }
}

pub(crate) fn record<'a>(topic: &'a str, partition: i32, value: &'a str) -> ProducerRecord<'a> {
    ProducerRecord::new(topic).partition(partition).value(value)
}
