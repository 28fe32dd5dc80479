//! What sources read: where they begin without a committed offset, and topics by pattern, those that come and go among
//! them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use vltava::{
    client::{
        Admin, AdminConfig, Consumer, ConsumerConfig, Producer, ProducerConfig, TopicPartition, admin::NewTopic,
        producer::ProducerRecord,
    },
    embedded,
    streams::{AutoOffsetReset, Consumed, Error, KafkaStreams, Materialized, State, StreamsBuilder, StreamsConfig},
};

const PATIENCE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

struct Cluster {
    folder: tempfile::TempDir,
    _broker: embedded::Broker,
    address: String,
    admin: Admin,
    producer: Producer,
    out: Consumer,
    /// What was read of `out`.
    read: Vec<String>,
}

impl Cluster {
    async fn start<'a>(topics: impl IntoIterator<Item = &'a str>) -> Self {
        let broker = embedded::Config::default()
            .property("auto.create.topics.enable", "false")
            .property("group.initial.rebalance.delay.ms", "0");
        let broker = embedded::Broker::start(broker).unwrap();
        let address = broker.bootstrap_servers().to_owned();
        let servers = [("bootstrap.servers", &address)];
        let admin = Admin::new(AdminConfig::from_properties(servers).unwrap()).unwrap();
        let producer = Producer::new(ProducerConfig::from_properties(servers).unwrap()).unwrap();
        let out = Consumer::new(ConsumerConfig::from_properties(servers).unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut cluster = Cluster { folder, _broker: broker, address, admin, producer, out, read: Vec::new() };
        cluster.create(topics.into_iter().chain(["out"])).await;
        cluster.out.assign([TopicPartition::new("out", 0)]).unwrap();
        cluster.out.seek_to_beginning(&[]).unwrap();
        cluster.read.clear();
        cluster
    }

    async fn create<'a>(&self, topics: impl IntoIterator<Item = &'a str>) {
        for (_, created) in self.admin.create_topics(topics.into_iter().map(NewTopic::new)).await {
            created.unwrap();
        }
    }

    async fn create_with(&self, topic: &str, partitions: i32) {
        for (_, created) in self.admin.create_topics([NewTopic::new(topic).partitions(partitions)]).await {
            created.unwrap();
        }
    }

    fn streams(&self, builder: &StreamsBuilder, settings: &[(&str, &str)]) -> Arc<KafkaStreams> {
        let mut properties: BTreeMap<&str, &str> = BTreeMap::from([
            ("application.id", "app"),
            ("bootstrap.servers", self.address.as_str()),
            ("state.dir", self.folder.path().to_str().unwrap()),
            ("commit.interval.ms", "100"),
            ("heartbeat.interval.ms", "50"),
            ("metadata.max.age.ms", "200"),
            ("producer.linger.ms", "0"),
            ("statestore.cache.max.bytes", "0"),
        ]);
        properties.extend(settings.iter().copied());
        let config = StreamsConfig::from_properties(properties).unwrap();
        Arc::new(KafkaStreams::new(builder.build().unwrap(), config).unwrap())
    }

    async fn send(&self, topic: &str, value: &str) {
        self.send_at(topic, value, SystemTime::now()).await;
    }

    async fn send_at(&self, topic: &str, value: &str, time: SystemTime) {
        let ms = time.duration_since(UNIX_EPOCH).unwrap().as_millis();
        let record = ProducerRecord::new(topic).key("k").value(value).timestamp(i64::try_from(ms).unwrap());
        self.producer.send(record).await.unwrap().await.unwrap();
    }

    /// Reads what the application has written, until `wanted` is among it.
    async fn read_until(&mut self, wanted: &str, streams: &KafkaStreams) {
        let end = Instant::now() + PATIENCE;
        while !self.read.iter().any(|value| value == wanted) {
            self.read_some().await;
            let (state, failure) = (streams.state(), streams.failure());
            assert!(Instant::now() < end, "only {:?} without {wanted}; {state:?}, {failure:?}", self.read);
        }
    }

    async fn read_some(&mut self) {
        for (_, record) in self.out.poll(Duration::from_millis(100)).await.unwrap().iter() {
            self.read.push(String::from_utf8_lossy(record.value().unwrap_or_default()).into_owned());
        }
    }

    /// Sends to topics until the application has read the first record of each since it began to read there.
    async fn send_until_read(&mut self, topics: &[&str]) {
        let end = Instant::now() + PATIENCE;
        for topic in topics {
            let wanted = format!("{topic}-new");
            while !self.read.contains(&wanted) {
                self.send(topic, &wanted).await;
                self.read_some().await;
                assert!(Instant::now() < end, "only {:?} without {wanted}", self.read);
            }
        }
    }
}

/// Waits on a thread that may.
async fn state(streams: &KafkaStreams, wanted: State) {
    let reached = streams.wait_for_state_async(move |state| state == wanted, PATIENCE).await;
    assert!(reached, "{:?} instead of {wanted:?}: {:?}", streams.state(), streams.failure());
}

async fn close(streams: &KafkaStreams) {
    if let Err(left) = streams.close_async(PATIENCE).await {
        panic!("{left}");
    }
    assert_eq!(streams.failure().map(|error| error.to_string()), None);
}

fn from(policy: AutoOffsetReset) -> Consumed<String, String> {
    Consumed::new().with_offset_reset_policy(policy)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_source_begins_where_its_own_reset_policy_says() {
    let mut cluster = Cluster::start(["early", "late", "dated", "as-configured"]).await;
    for topic in ["early", "late", "as-configured"] {
        cluster.send(topic, &format!("{topic}-old")).await;
    }
    cluster.send_at("dated", "dated-old", SystemTime::now() - 2 * DAY).await;
    cluster.send_at("dated", "dated-young", SystemTime::now()).await;
    let builder = StreamsBuilder::new();
    for (topic, policy) in [
        ("early", AutoOffsetReset::Earliest),
        ("late", AutoOffsetReset::Latest),
        ("dated", AutoOffsetReset::ByDuration(DAY)),
    ] {
        builder.stream_with::<String, String>(from(policy), topic).to("out");
    }
    builder.stream::<String, String>("as-configured").to("out");
    let streams = cluster.streams(&builder, &[("auto.offset.reset", "latest")]);
    streams.start().unwrap();
    state(&streams, State::Running).await;
    cluster.read_until("early-old", &streams).await;
    cluster.read_until("dated-young", &streams).await;
    cluster.send_until_read(&["late", "as-configured"]).await;
    for skipped in ["late-old", "as-configured-old", "dated-old"] {
        assert!(!cluster.read.iter().any(|value| value == skipped), "{:?}", cluster.read);
    }
    close(&streams).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_whose_reset_policy_is_none_ends_the_application_by_an_error_that_names_its_topic() {
    let cluster = Cluster::start(["in", "kept"]).await;
    let builder = StreamsBuilder::new();
    builder.stream::<String, String>("in").to("out");
    builder.stream_with::<String, String>(from(AutoOffsetReset::None), "kept").to("out");
    let streams = cluster.streams(&builder, &[]);
    streams.start().unwrap();
    state(&streams, State::Error).await;
    let failure = streams.failure().unwrap();
    assert!(matches!(*failure, Error::Client { .. }) && failure.to_string().contains("reading kept,"), "{failure}");
}

/// Waits until the group has dealt out these topics, and no others.
async fn assigned(streams: &KafkaStreams, wanted: &[&str]) {
    let end = Instant::now() + PATIENCE;
    loop {
        let instances = streams.metadata_for_all_streams_clients().unwrap();
        let partitions = instances.iter().flat_map(|instance| &instance.topic_partitions);
        let topics: BTreeSet<&str> = partitions.map(|partition| partition.topic()).collect();
        if topics == wanted.iter().copied().collect() {
            return;
        }
        let (state, failure) = (streams.state(), streams.failure());
        assert!(Instant::now() < end, "{topics:?} instead of {wanted:?}; {state:?}, {failure:?}");
        let _ = tokio::time::timeout(Duration::from_millis(20), std::future::pending::<()>()).await;
    }
}

/// How many partitions a topic has.
async fn partitions(cluster: &Cluster, topic: &str) -> usize {
    let described = cluster.admin.describe_topics([topic]).await;
    described.into_values().next().unwrap().unwrap().partitions.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pattern_alone_with_a_store_takes_topics_that_come_and_survives_those_that_go() {
    let mut cluster = Cluster::start(["other"]).await;
    let builder = StreamsBuilder::new();
    let logs = builder.stream_pattern::<String, String>("log-.*");
    logs.group_by_key()
        .count_with(Materialized::named("counts"))
        .to_stream()
        .map_values(|n| n.unwrap_or_default().to_string())
        .to("out");
    let streams = cluster.streams(&builder, &[("application.server", "localhost:1")]);
    streams.start().unwrap();
    // Nothing matches yet.
    state(&streams, State::Running).await;
    cluster.create_with("log-a", 2).await;
    assigned(&streams, &["log-a"]).await;
    assert_eq!(partitions(&cluster, "app-counts-changelog").await, 2);
    cluster.send("log-a", "x").await;
    cluster.send("other", "x").await;
    cluster.read_until("1", &streams).await;

    // Another one that the same tasks read, with the same store.
    cluster.create_with("log-b", 2).await;
    assigned(&streams, &["log-a", "log-b"]).await;
    cluster.send("log-b", "x").await;
    cluster.read_until("2", &streams).await;
    assert!(streams.wait_until_caught_up_async(PATIENCE).await.unwrap());
    let hosts = streams.streams_metadata_for_store("counts").unwrap();
    assert_eq!(hosts.len(), 1, "{hosts:?}");

    cluster.admin.delete_topics(["log-a"]).await.into_values().for_each(|deleted| deleted.unwrap());
    assigned(&streams, &["log-b"]).await;
    cluster.send("log-b", "x").await;
    cluster.read_until("3", &streams).await;
    state(&streams, State::Running).await;
    assert_eq!(cluster.read, ["1", "2", "3"]);
    close(&streams).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pattern_beside_a_topic_is_read_from_where_its_own_reset_policy_says() {
    let mut cluster = Cluster::start(["in", "log.a", "login"]).await;
    for topic in ["in", "log.a", "login"] {
        cluster.send(topic, &format!("{topic}-old")).await;
    }
    let builder = StreamsBuilder::new();
    builder.stream_pattern_with::<String, String>(from(AutoOffsetReset::Earliest), r"log\..*").to("out");
    builder.stream::<String, String>("in").to("out");
    let streams = cluster.streams(&builder, &[("auto.offset.reset", "latest")]);
    streams.start().unwrap();
    cluster.read_until("log.a-old", &streams).await;
    cluster.send_until_read(&["in"]).await;
    // What is in a topic before it is found is read.
    cluster.create(["log.b"]).await;
    cluster.send("log.b", "log.b-old").await;
    cluster.send("log.a", "log.a-more").await;
    for wanted in ["log.b-old", "log.a-more"] {
        cluster.read_until(wanted, &streams).await;
    }
    for skipped in ["in-old", "login-old"] {
        assert!(!cluster.read.iter().any(|value| value == skipped), "{:?}", cluster.read);
    }
    close(&streams).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_comes_and_matches_two_patterns_ends_the_application_by_an_error_that_names_it() {
    let cluster = Cluster::start([]).await;
    let builder = StreamsBuilder::new();
    builder.stream_pattern::<String, String>("log-.*").to("out");
    builder.stream_pattern::<String, String>(".*-1").to("out");
    let streams = cluster.streams(&builder, &[]);
    streams.start().unwrap();
    state(&streams, State::Running).await;
    cluster.create(["log-1"]).await;
    state(&streams, State::Error).await;
    let failure = streams.failure().unwrap().to_string();
    assert!(failure.contains("Topic log-1 is already matched"), "{failure}");
}

/// The position of a partition of which nothing is committed is known to the thread alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_to_a_source_with_latest_during_a_rebalance_is_not_skipped() {
    let mut cluster = Cluster::start([]).await;
    cluster.create_with("late", 2).await;
    let (blocked, mut is_blocked) = tokio::sync::mpsc::unbounded_channel();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    let builder = StreamsBuilder::new();
    let late = builder.stream_with::<String, String>(from(AutoOffsetReset::Latest), "late");
    late.peek(move |_, value| {
        if value == "block" {
            let _ = blocked.send(());
            let _ = released.lock().unwrap().recv_timeout(PATIENCE);
        }
    })
    .to("out");
    builder.stream_pattern::<String, String>("log-.*").to("out");
    let streams = cluster.streams(&builder, &[]);
    streams.start().unwrap();
    let send = |partition, value: &'static str| {
        let producer = cluster.producer.clone();
        let record = ProducerRecord::new("late").partition(partition).value(value).key("k");
        async move { producer.send(record).await.unwrap().await.unwrap() }
    };
    // The positions of both partitions are looked up by one request: that of the other one is known, too, then.
    let end = Instant::now() + PATIENCE;
    while is_blocked.try_recv().is_err() {
        send(0, "block").await;
        assert!(Instant::now() < end, "{:?}", streams.failure());
        let _ = tokio::time::timeout(Duration::from_millis(20), std::future::pending::<()>()).await;
    }
    // The thread's next poll finds a topic that it has to join again for, before it gets this record.
    send(1, "meanwhile").await;
    cluster.create(["log-a"]).await;
    let _ = tokio::time::timeout(Duration::from_secs(1), std::future::pending::<()>()).await;
    drop(release);
    cluster.read_until("meanwhile", &streams).await;
    close(&streams).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_topic_that_is_deleted_while_the_application_runs_ends_it_by_an_error_that_names_it() {
    for others in [&[][..], &["kept"]] {
        let cluster = Cluster::start(["gone"].into_iter().chain(others.iter().copied())).await;
        let builder = StreamsBuilder::new();
        for topic in ["gone"].into_iter().chain(others.iter().copied()) {
            builder.stream::<String, String>(topic).to("out");
        }
        let streams = cluster.streams(&builder, &[]);
        streams.start().unwrap();
        state(&streams, State::Running).await;
        cluster.admin.delete_topics(["gone"]).await.into_values().for_each(|deleted| deleted.unwrap());
        state(&streams, State::Error).await;
        let failure = streams.failure().unwrap();
        let Error::MissingSourceTopic { topics } = &*failure else { panic!("{others:?}: {failure}") };
        assert_eq!(topics, &["gone"], "{others:?}");
    }
}
