//! A join of two streams in the runtime: what one side has sent is found after a restart, from the disk or from the
//! changelogs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test")]

use std::{
    path::Path,
    time::{Duration, Instant},
};

use vltava::{
    client::{
        Admin, AdminConfig, Consumer, ConsumerConfig, Producer, ProducerConfig, TopicPartition, admin::NewTopic,
        producer::ProducerRecord,
    },
    embedded,
    streams::{JoinWindows, KafkaStreams, StreamsBuilder, StreamsConfig},
};

const APPLICATION: &str = "stream-join";
const PATIENCE: Duration = Duration::from_secs(60);

/// Where the stores of the second run come from.
#[derive(Clone, Copy, Debug)]
enum Stores {
    OnDisk,
    DiskLost,
    InMemory,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn goes_on_from_its_disk() {
    restart(Stores::OnDisk).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn goes_on_from_its_changelogs() {
    restart(Stores::DiskLost).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn goes_on_in_memory_from_its_changelogs() {
    restart(Stores::InMemory).await;
}

async fn restart(stores: Stores) {
    let folder = tempfile::tempdir().unwrap();
    let broker = embedded::Broker::start(embedded::Config::default()).unwrap();
    let address = broker.bootstrap_servers().to_owned();
    let admin = Admin::new(AdminConfig::from_properties([("bootstrap.servers", &address)]).unwrap()).unwrap();
    for (_, created) in admin.create_topics(["left", "right", "out"].map(NewTopic::new)).await {
        created.unwrap();
    }
    let producer = Producer::new(ProducerConfig::from_properties([("bootstrap.servers", &address)]).unwrap()).unwrap();
    let send = |topic: &'static str, key: &'static str, timestamp: i64| {
        let record = ProducerRecord::new(topic).key(key).value(topic).timestamp(timestamp);
        let producer = producer.clone();
        async move { producer.send(record).await.unwrap().await.unwrap() }
    };

    let first = run(&address, &folder.path().join("first"), stores);
    send("left", "joined", 1_000).await;
    send("left", "joined", 1_000).await;
    send("left", "alone", 1_000).await;
    until_committed(&admin, "left", 3).await;
    close(first).await;

    let directory = match stores {
        Stores::OnDisk => "first",
        Stores::DiskLost | Stores::InMemory => "second",
    };
    let second = run(&address, &folder.path().join(directory), stores);
    send("left", "joined", 1_000).await;
    until_committed(&admin, "left", 4).await;
    send("right", "joined", 1_005).await;
    send("right", "other", 9_000).await;
    let expected = ["joined left+right", "joined left+right", "joined left+right", "alone left+"];
    assert_eq!(read(&address, expected.len()).await, expected);
    close(second).await;
}

fn run(address: &str, directory: &Path, stores: Stores) -> KafkaStreams {
    let builder = StreamsBuilder::new();
    let windows = JoinWindows::of_time_difference_and_grace(Duration::from_millis(10), Duration::from_secs(5));
    let right = builder.stream::<String, String>("right");
    builder
        .stream::<String, String>("left")
        .left_join_stream(&right, windows, |l, r| format!("{l}+{}", r.map_or("", String::as_str)))
        .to("out");
    let config = StreamsConfig::from_properties([
        ("application.id", APPLICATION),
        ("bootstrap.servers", address),
        ("state.dir", directory.to_str().unwrap()),
        ("commit.interval.ms", "20"),
        ("producer.linger.ms", "0"),
        ("dsl.store.suppliers.class", if matches!(stores, Stores::InMemory) { "in_memory" } else { "rocksdb" }),
        ("__emit.interval.ms.kstreams.outer.join.spurious.results.fix__", "0"),
    ]);
    let streams = KafkaStreams::new(builder.build().unwrap(), config.unwrap()).unwrap();
    streams.start().unwrap();
    streams
}

async fn close(streams: KafkaStreams) {
    streams.close_async(PATIENCE).await.unwrap();
    assert!(streams.failure().is_none());
}

async fn until_committed(admin: &Admin, topic: &str, offset: i64) {
    let (end, partition) = (Instant::now() + PATIENCE, TopicPartition::new(topic, 0));
    loop {
        let committed = admin.list_consumer_group_offsets(APPLICATION, None).await.unwrap_or_default();
        if committed.get(&partition).and_then(Option::as_ref).is_some_and(|at| at.offset >= offset) {
            return;
        }
        assert!(Instant::now() < end, "{topic} is not committed up to {offset}: {committed:?}");
        tokio::task::yield_now().await;
    }
}

/// The first records of the output, as `key value`.
async fn read(address: &str, count: usize) -> Vec<String> {
    let consumer = Consumer::new(ConsumerConfig::from_properties([("bootstrap.servers", address)]).unwrap()).unwrap();
    consumer.assign([TopicPartition::new("out", 0)]).unwrap();
    consumer.seek_to_beginning(&[]).unwrap();
    let (end, mut found) = (Instant::now() + PATIENCE, Vec::new());
    while found.len() < count {
        for (_, record) in consumer.poll(Duration::from_millis(200)).await.unwrap().iter() {
            let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap_or_default().to_vec()).unwrap();
            found.push(format!("{} {}", text(record.key()), text(record.value())));
        }
        assert!(Instant::now() < end, "only {found:?}");
    }
    found
}
