//! Windows that are emitted when they close, in the runtime: after a restart, from the disk or from the changelog, none
//! is emitted again, and none is forgotten.
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
    streams::{EmitStrategy, KafkaStreams, SessionWindows, StreamsBuilder, StreamsConfig, TimeWindows},
};

const APPLICATION: &str = "emit-on-close";
const PATIENCE: Duration = Duration::from_secs(60);

/// Where the store of the second run comes from.
#[derive(Clone, Copy, Debug)]
enum Stores {
    OnDisk,
    DiskLost,
    InMemory,
}

const ALL_STORES: [Stores; 3] = [Stores::OnDisk, Stores::DiskLost, Stores::InMemory];

#[derive(Clone, Copy, Debug)]
enum Windows {
    /// Of 60 seconds.
    Tumbling,
    /// With a gap of 30 seconds.
    Sessions,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_window_is_not_emitted_again_after_a_restart() {
    for stores in ALL_STORES {
        let at_once = "0";
        let seconds = ([1, 70], [80, 130]);
        let out = restart(Windows::Tumbling, stores, at_once, seconds).await;
        assert_eq!(out, ["0 1", "60000 2"], "{stores:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_not_emitted_again_after_a_restart() {
    for stores in ALL_STORES {
        let at_once = "0";
        let seconds = ([1, 70], [80, 130]);
        let out = restart(Windows::Sessions, stores, at_once, seconds).await;
        assert_eq!(out, ["1000 1", "70000 2"], "{stores:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_window_that_was_still_to_be_emitted_is_after_a_restart() {
    for stores in ALL_STORES {
        // The first record looks for closed windows, and nobody again in the first run.
        let once_a_day = "86400000";
        let seconds = ([1, 150], [151, 200]);
        let out = restart(Windows::Tumbling, stores, once_a_day, seconds).await;
        assert_eq!(out, ["0 1", "120000 2"], "{stores:?}");
    }
}

/// Two records in each of two runs, at these seconds. Gives the first two results.
async fn restart(windows: Windows, stores: Stores, interval: &str, seconds: ([i64; 2], [i64; 2])) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let broker = embedded::Broker::start(embedded::Config::default()).unwrap();
    let address = broker.bootstrap_servers().to_owned();
    let admin = Admin::new(AdminConfig::from_properties([("bootstrap.servers", &address)]).unwrap()).unwrap();
    for (_, created) in admin.create_topics(["in", "out"].map(NewTopic::new)).await {
        created.unwrap();
    }
    let producer = Producer::new(ProducerConfig::from_properties([("bootstrap.servers", &address)]).unwrap()).unwrap();
    let send = |second: i64| {
        let record = ProducerRecord::new("in").key("k").value("v").timestamp(second * 1000);
        let producer = producer.clone();
        async move { producer.send(record).await.unwrap().await.unwrap() }
    };

    let first = run(&address, &folder.path().join("first"), windows, stores, interval);
    for second in seconds.0 {
        send(second).await;
    }
    until_committed(&admin, "in", 2).await;
    close(first).await;

    let directory = match stores {
        Stores::OnDisk => "first",
        Stores::DiskLost | Stores::InMemory => "second",
    };
    let second = run(&address, &folder.path().join(directory), windows, stores, "0");
    for second in seconds.1 {
        send(second).await;
    }
    until_committed(&admin, "in", 4).await;
    close(second).await;
    // Whatever is emitted once too often comes before the last.
    read(&address, 2).await
}

fn run(address: &str, directory: &Path, windows: Windows, stores: Stores, interval: &str) -> KafkaStreams {
    let builder = StreamsBuilder::new();
    let grouped = builder.stream::<String, String>("in").group_by_key();
    let counts = match windows {
        Windows::Tumbling => {
            let windows = TimeWindows::of_size_with_no_grace(Duration::from_secs(60));
            grouped.windowed_by(windows).emit_strategy(EmitStrategy::OnWindowClose).count()
        }
        Windows::Sessions => {
            let windows = SessionWindows::of_inactivity_gap_with_no_grace(Duration::from_secs(30));
            grouped.windowed_by_sessions(windows).emit_strategy(EmitStrategy::OnWindowClose).count()
        }
    };
    counts
        .to_stream()
        .map(|key, count| (key.window.start().to_string(), count.unwrap_or_default().to_string()))
        .to("out");
    let config = StreamsConfig::from_properties([
        ("application.id", APPLICATION),
        ("bootstrap.servers", address),
        ("state.dir", directory.to_str().unwrap()),
        ("commit.interval.ms", "20"),
        ("producer.linger.ms", "0"),
        ("dsl.store.suppliers.class", if matches!(stores, Stores::InMemory) { "in_memory" } else { "rocksdb" }),
        ("__emit.interval.ms.kstreams.windowed.aggregation__", interval),
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
