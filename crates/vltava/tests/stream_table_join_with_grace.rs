//! A stream-table join with a grace period in the runtime: records that wait for their table's rows still do so after a
//! restart, from the disk or from the changelogs.
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
    streams::{Joined, KafkaStreams, Materialized, StreamsBuilder, StreamsConfig, state::KeyValueSupplier},
};

const APPLICATION: &str = "join-with-grace";
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn goes_on_from_its_disk() {
    restart("first").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn goes_on_from_its_changelogs() {
    restart("second").await;
}

/// Orders at one time, before and after a restart, wait for a price that comes last.
async fn restart(second_directory: &str) {
    let folder = tempfile::tempdir().unwrap();
    let broker = embedded::Broker::start(embedded::Config::default()).unwrap();
    let address = broker.bootstrap_servers().to_owned();
    let admin = Admin::new(AdminConfig::from_properties([("bootstrap.servers", &address)]).unwrap()).unwrap();
    for (_, created) in admin.create_topics(["orders", "prices", "out"].map(NewTopic::new)).await {
        created.unwrap();
    }
    let producer = Producer::new(ProducerConfig::from_properties([("bootstrap.servers", &address)]).unwrap()).unwrap();
    let send = |topic: &'static str, key: &'static str, value: &'static str, timestamp: i64| {
        let record = ProducerRecord::new(topic).key(key).value(value).timestamp(timestamp);
        let producer = producer.clone();
        async move { producer.send(record).await.unwrap().await.unwrap() }
    };

    let first = run(&address, &folder.path().join("first"));
    send("prices", "tea", "7", 500).await;
    send("prices", "gin", "3", 1_500).await;
    send("prices", "gin", "4", 2_500).await;
    send("orders", "tea", "a", 1_000).await;
    send("orders", "tea", "b", 1_000).await;
    send("orders", "gin", "c", 2_000).await;
    until_committed(&admin, "orders", 3).await;
    until_committed(&admin, "prices", 3).await;
    close(first).await;

    let second = run(&address, &folder.path().join(second_directory));
    send("orders", "tea", "d", 1_000).await;
    send("prices", "tea", "8", 900).await;
    until_committed(&admin, "orders", 4).await;
    until_committed(&admin, "prices", 4).await;
    send("orders", "end", "e", 7_000).await;
    let expected = ["tea a at 8", "tea b at 8", "tea d at 8", "gin c at 3"];
    assert_eq!(read(&address, expected.len()).await, expected);
    close(second).await;
}

fn run(address: &str, directory: &Path) -> KafkaStreams {
    let builder = StreamsBuilder::new();
    let history = KeyValueSupplier::persistent_versioned("prices", Duration::from_secs(60));
    let prices = builder.table_with::<String, String>(Materialized::supplied(history), "prices");
    let joined = Joined::named("priced").with_grace_period(Duration::from_secs(5));
    let text = |_: &String, order: String, price: Option<&String>| {
        format!("{order} at {}", price.map_or("nothing", String::as_str))
    };
    builder.stream::<String, String>("orders").left_join_with(joined, &prices, text).to("out");
    let config = StreamsConfig::from_properties([
        ("application.id", APPLICATION),
        ("bootstrap.servers", address),
        ("state.dir", directory.to_str().unwrap()),
        ("commit.interval.ms", "20"),
        ("producer.linger.ms", "0"),
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
