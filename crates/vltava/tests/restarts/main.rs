//! Applications that are closed, or die, and go on: from their disk, from their changelogs, in memory.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test")]

mod begun_anew;
mod emit_on_close;
mod foreign_key_join;
mod stream_join;
mod stream_table_join_with_grace;

use std::time::{Duration, Instant};

use tempfile::TempDir;
use vltava::{
    client::{
        Admin, AdminConfig, Consumer, ConsumerConfig, Producer, ProducerConfig, TopicPartition, admin::NewTopic,
        producer::ProducerRecord,
    },
    embedded,
    streams::{KafkaStreams, StreamsBuilder, StreamsConfig},
};

const PATIENCE: Duration = Duration::from_secs(60);

/// Where the stores of an application come from that goes on.
#[derive(Clone, Copy, Debug)]
enum Stores {
    OnDisk,
    DiskLost,
    InMemory,
}

const ALL_STORES: [Stores; 3] = [Stores::OnDisk, Stores::DiskLost, Stores::InMemory];

impl Stores {
    /// The directory of who goes on after a run in `first`.
    fn second_directory(self) -> &'static str {
        match self {
            Stores::OnDisk => "first",
            Stores::DiskLost | Stores::InMemory => "second",
        }
    }
}

/// A broker with the topics of an application, and what the application is compared by.
struct World {
    application: &'static str,
    folder: TempDir,
    address: String,
    admin: Admin,
    producer: Producer,
    _broker: embedded::Broker,
}

impl World {
    async fn new(application: &'static str, topics: impl IntoIterator<Item = NewTopic>) -> Self {
        let broker = embedded::Broker::start(embedded::Config::default()).unwrap();
        let address = broker.bootstrap_servers().to_owned();
        let at = [("bootstrap.servers", &address)];
        let admin = Admin::new(AdminConfig::from_properties(at).unwrap()).unwrap();
        for (_, created) in admin.create_topics(topics).await {
            created.unwrap();
        }
        let producer = Producer::new(ProducerConfig::from_properties(at).unwrap()).unwrap();
        World { application, folder: tempfile::tempdir().unwrap(), address, admin, producer, _broker: broker }
    }

    /// The application, begun in a directory of this name.
    fn run(&self, builder: &StreamsBuilder, directory: &str, stores: Stores, more: &[(&str, &str)]) -> KafkaStreams {
        let directory = self.folder.path().join(directory);
        let settings = [
            ("application.id", self.application),
            ("bootstrap.servers", &self.address),
            ("state.dir", directory.to_str().unwrap()),
            ("commit.interval.ms", "20"),
            ("producer.linger.ms", "0"),
            ("dsl.store.suppliers.class", if matches!(stores, Stores::InMemory) { "in_memory" } else { "rocksdb" }),
            ("__emit.interval.ms.kstreams.outer.join.spurious.results.fix__", "0"),
        ];
        let config = StreamsConfig::from_properties(settings.into_iter().chain(more.iter().copied())).unwrap();
        let streams = KafkaStreams::new(builder.build().unwrap(), config).unwrap();
        streams.start().unwrap();
        streams
    }

    /// The timestamp is in ms.
    async fn send(&self, topic: &str, key: &str, value: &str, timestamp: i64) {
        let record = ProducerRecord::new(topic).key(key).value(value).timestamp(timestamp);
        self.producer.send(record).await.unwrap().await.unwrap();
    }

    async fn committed(&self, topic: &str) -> Option<i64> {
        let committed = self.admin.list_consumer_group_offsets(self.application, None).await.unwrap_or_default();
        Some(committed.get(&TopicPartition::new(topic, 0))?.as_ref()?.offset)
    }

    async fn until_committed(&self, topic: &str, offset: i64) {
        let end = Instant::now() + PATIENCE;
        while self.committed(topic).await < Some(offset) {
            assert!(Instant::now() < end, "{topic} is not committed up to {offset}");
            tokio::task::yield_now().await;
        }
    }

    fn consumer(&self) -> Consumer {
        let config = ConsumerConfig::from_properties([("bootstrap.servers", &self.address)]);
        Consumer::new(config.unwrap()).unwrap()
    }

    /// Gives `out` the records of the output, as key and value, from the first on until it says that it has enough.
    async fn read_until(&self, mut enough: impl FnMut(Option<(String, String)>) -> bool) {
        let consumer = self.consumer();
        consumer.assign([TopicPartition::new("out", 0)]).unwrap();
        consumer.seek_to_beginning(&[]).unwrap();
        let end = Instant::now() + PATIENCE;
        let mut has_enough = enough(None);
        while !has_enough {
            for (_, record) in consumer.poll(Duration::from_millis(200)).await.unwrap().iter() {
                let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap_or_default().to_vec()).unwrap();
                has_enough |= enough(Some((text(record.key()), text(record.value()))));
            }
            assert!(has_enough || Instant::now() < end, "the output is not as it should be");
        }
    }

    /// The first records of the output, as `key value`.
    async fn read(&self, count: usize) -> Vec<String> {
        let mut found = Vec::new();
        self.read_until(|record| {
            found.extend(record.map(|(key, value)| format!("{key} {value}")));
            found.len() >= count
        })
        .await;
        found
    }
}

async fn close(streams: KafkaStreams) {
    streams.close_async(PATIENCE).await.unwrap();
    assert!(streams.failure().is_none());
}
