//! An application that dies when its changelogs are written and its offsets are not committed, far on in the time of the
//! records: the next one tells no half of a pair, and begins no window anew.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test")]

use std::{
    collections::BTreeSet,
    path::Path,
    time::{Duration, Instant},
};

use vltava::{
    client::{
        Admin, AdminConfig, Consumer, ConsumerConfig, Producer, ProducerConfig, TopicPartition, admin::NewTopic,
        producer::ProducerRecord,
    },
    embedded,
    streams::{
        JoinWindows, KafkaStreams, Materialized, State, StreamJoined, StreamsBuilder, StreamsConfig, TimeWindows,
    },
};

const APPLICATION: &str = "begun-anew";
const PATIENCE: Duration = Duration::from_secs(60);
/// What kills the application that is to die.
const FATAL: &str = "fatal";

/// Where the stores of the application come from that goes on.
#[derive(Clone, Copy, Debug)]
enum Stores {
    OnDisk,
    DiskLost,
    InMemory,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn goes_on_from_its_disk() {
    crash(Stores::OnDisk).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn goes_on_from_its_changelogs() {
    crash(Stores::DiskLost).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn goes_on_in_memory_from_its_changelogs() {
    crash(Stores::InMemory).await;
}

async fn crash(stores: Stores) {
    let folder = tempfile::tempdir().unwrap();
    let broker = embedded::Broker::start(embedded::Config::default()).unwrap();
    let address = broker.bootstrap_servers().to_owned();
    let admin = Admin::new(AdminConfig::from_properties([("bootstrap.servers", &address)]).unwrap()).unwrap();
    for (_, created) in admin.create_topics(["left", "right", "out"].map(NewTopic::new)).await {
        created.unwrap();
    }
    let producer = Producer::new(ProducerConfig::from_properties([("bootstrap.servers", &address)]).unwrap()).unwrap();
    let send = |topic: &'static str, key: &'static str, value: &'static str, timestamp: i64| {
        let record = ProducerRecord::new(topic).key(key).value(value).timestamp(timestamp);
        let producer = producer.clone();
        async move { producer.send(record).await.unwrap().await.unwrap() }
    };

    let first = run(&address, &folder.path().join("first"), stores, "20", false);
    send("left", "a", "l1", 1_000).await;
    send("right", "b", "r1", 1_000).await;
    until_committed(&admin, "left", 1).await;
    until_committed(&admin, "right", 1).await;
    close(first).await;

    let never = "86400000";
    let second = run(&address, &folder.path().join("first"), stores, never, true);
    send("right", "a", "r2", 1_005).await;
    send("left", "b", "l2", 1_005).await;
    send("left", "a", "l3", 1_500).await;
    until_told(&address, ["a l1+r2", "b l2+r1", "a@0 l1l3"]).await;
    // More than any store keeps.
    send("left", "x", "l4", 200_000).await;
    send("right", "x", "r4", 200_000).await;
    until_told(&address, ["x l4+r4", "x@200000 l4"]).await;
    for (store, records) in [("pairs-outer-this-join-store", 4), ("pairs-outer-other-join-store", 3), ("seen", 4)] {
        until_written(&address, &format!("{APPLICATION}-{store}-changelog"), records).await;
    }
    send("left", "y", FATAL, 200_001).await;
    let ended = second.wait_for_state_async(State::has_completed_shutdown, PATIENCE).await;
    assert!(ended && second.failure().is_some(), "it goes on: {:?}", second.state());
    drop(second);
    assert_eq!(committed(&admin, "left").await, Some(1), "what comes again");

    let directory = match stores {
        Stores::OnDisk => "first",
        Stores::DiskLost | Stores::InMemory => "second",
    };
    let third = run(&address, &folder.path().join(directory), stores, "20", false);
    until_committed(&admin, "left", 5).await;
    until_committed(&admin, "right", 3).await;
    close(third).await;
    let expected =
        ["a l1+r2", "a l3+", "a@0 l1", "a@0 l1l3", "b l2+r1", "b@0 l2", "x l4+r4", "x@200000 l4", "y@200000 fatal"];
    assert_eq!(told(&address).await, expected.map(str::to_owned).into());
}

/// An outer join, and what was seen in every window of one of its sides.
fn run(address: &str, directory: &Path, stores: Stores, commit_interval_ms: &str, dies: bool) -> KafkaStreams {
    let builder = StreamsBuilder::new();
    let (second, grace) = (Duration::from_secs(1), Duration::from_secs(5));
    let left = builder.stream::<String, String>("left");
    let or_nothing = |side: Option<&String>| side.map_or(String::new(), String::clone);
    left.try_outer_join_stream(
        &builder.stream::<String, String>("right"),
        JoinWindows::of_time_difference_and_grace(Duration::from_millis(10), grace),
        StreamJoined::new().with_name("pairs").with_store_name("pairs"),
        move |_, left, right| Ok::<_, std::convert::Infallible>(format!("{}+{}", or_nothing(left), or_nothing(right))),
    )
    .to("out");
    let add = |value: String, seen: String| if seen.contains(&value) { seen } else { seen + &value };
    left.group_by_key()
        .windowed_by(TimeWindows::of_size_and_grace(2 * second, grace))
        .aggregate_with(None, Materialized::named("seen"), String::new, move |_, value, seen| add(value, seen))
        .to_stream()
        .map(|window, seen| (format!("{}@{}", window.key, window.window.start()), seen))
        .to("out");
    left.peek(move |_, value| assert!(!dies || value != FATAL, "it dies, as it is to"));
    let config = StreamsConfig::from_properties([
        ("application.id", APPLICATION),
        ("bootstrap.servers", address),
        ("state.dir", directory.to_str().unwrap()),
        ("commit.interval.ms", commit_interval_ms),
        ("statestore.cache.max.bytes", "0"),
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

async fn committed(admin: &Admin, topic: &str) -> Option<i64> {
    let committed = admin.list_consumer_group_offsets(APPLICATION, None).await.unwrap_or_default();
    Some(committed.get(&TopicPartition::new(topic, 0))?.as_ref()?.offset)
}

async fn until_committed(admin: &Admin, topic: &str, offset: i64) {
    let end = Instant::now() + PATIENCE;
    while committed(admin, topic).await < Some(offset) {
        assert!(Instant::now() < end, "{topic} is not committed up to {offset}");
        tokio::task::yield_now().await;
    }
}

fn consumer(address: &str) -> Consumer {
    Consumer::new(ConsumerConfig::from_properties([("bootstrap.servers", address)]).unwrap()).unwrap()
}

async fn until_written(address: &str, topic: &str, records: i64) {
    let (end, partition, consumer) = (Instant::now() + PATIENCE, TopicPartition::new(topic, 0), consumer(address));
    loop {
        let ends = consumer.end_offsets(std::slice::from_ref(&partition)).await.unwrap();
        if ends.get(&partition).is_some_and(|end| *end >= records) {
            return;
        }
        assert!(Instant::now() < end, "{topic} has not {records} records: {ends:?}");
    }
}

/// What the output has, as `key value`.
async fn told(address: &str) -> BTreeSet<String> {
    let (partition, consumer) = (TopicPartition::new("out", 0), consumer(address));
    let ends = consumer.end_offsets(std::slice::from_ref(&partition)).await.unwrap();
    consumer.assign([partition.clone()]).unwrap();
    consumer.seek_to_beginning(&[]).unwrap();
    let (end, mut found) = (Instant::now() + PATIENCE, BTreeSet::new());
    while consumer.position(&partition).await.unwrap() < ends[&partition] {
        for (_, record) in consumer.poll(Duration::from_millis(200)).await.unwrap().iter() {
            let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap_or_default().to_vec()).unwrap();
            found.insert(format!("{} {}", text(record.key()), text(record.value())));
        }
        assert!(Instant::now() < end, "only {found:?}");
    }
    found
}

async fn until_told<const N: usize>(address: &str, results: [&str; N]) {
    let end = Instant::now() + PATIENCE;
    loop {
        let told = told(address).await;
        if results.iter().all(|result| told.contains(*result)) {
            return;
        }
        assert!(Instant::now() < end, "{results:?} are not all in {told:?}");
    }
}
