//! Global tables, global stores and read-only stores in running applications.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use vltava::{
    client::{
        Admin, AdminConfig, Consumer, ConsumerConfig, Producer, ProducerConfig, TopicPartition, admin::NewTopic,
        producer::ProducerRecord,
    },
    embedded,
    streams::{
        Consumed, Context, KafkaStreams, KeyValueStore, Materialized, Processor, Record, Result, State,
        StateRestoreListener, StoreBuilder, StoreInput, StreamsBuilder, StreamsConfig, Topology,
        query::{KeyQuery, QueryableStoreTypes, StateQueryRequest, StoreQueryParameters},
        store::StoreHandle,
    },
};

const PATIENCE: Duration = Duration::from_secs(60);

type Counts = KeyValueStore<String, i64>;

/// How often a key came, whatever its value: what is processed twice shows.
struct Count(StoreHandle<Counts>);

impl Processor for Count {
    type KIn = String;
    type VIn = String;
    type KOut = ();
    type VOut = ();

    fn process(&mut self, record: Record<String, String>, ctx: &mut Context<'_, Self>) -> Result<()> {
        assert!(record.value != "panic", "told to");
        let mut counts = ctx.store(self.0)?;
        let count = counts.get(&record.key)?.unwrap_or(0) + 1;
        counts.put(&record.key, Some(count))
    }
}

struct WithCount(StoreHandle<Counts>);

impl Processor for WithCount {
    type KIn = String;
    type VIn = String;
    type KOut = String;
    type VOut = String;

    fn process(&mut self, record: Record<String, String>, ctx: &mut Context<'_, Self>) -> Result<()> {
        let count = ctx.store(self.0)?.get(&record.key)?.unwrap_or(0);
        let value = format!("{} {count}", record.value);
        ctx.forward(record.with_value(value))
    }
}

fn config(broker: &str, directory: &Path) -> StreamsConfig {
    let config = StreamsConfig::from_properties([
        ("application.id", "worldwide"),
        ("bootstrap.servers", broker),
        ("state.dir", directory.to_str().unwrap()),
        ("commit.interval.ms", "50"),
        ("num.stream.threads", "2"),
    ]);
    config.unwrap()
}

/// Streams of orders, joined with products by the order's value, with how often the buyer was seen.
fn joined() -> Topology {
    let builder = StreamsBuilder::new();
    let products = builder.global_table_with::<String, String>(Materialized::named("products"), "products");
    let seen = builder.add_global_store(StoreBuilder::<Counts>::persistent("seen"), "buyers", Count);
    builder
        .stream::<String, String>("orders")
        .join_global(&products, |_, product| product.clone(), |product, name| format!("{product}={name}"))
        .process_with(seen, WithCount)
        .to("out");
    builder.build().unwrap()
}

/// Counts what comes back from the global topics.
#[derive(Clone, Default)]
struct Restored(Arc<AtomicU64>);

impl StateRestoreListener for Restored {
    fn on_restore_end(&self, _changelog: &TopicPartition, _store: &str, total: u64) {
        self.0.fetch_add(total, Ordering::Relaxed);
    }
}

struct World {
    address: String,
    _broker: embedded::Broker,
    folder: tempfile::TempDir,
    producer: Producer,
}

impl World {
    async fn new(topics: &[(&str, i32)]) -> Self {
        let broker = embedded::Broker::start(embedded::Config::default()).unwrap();
        let address = broker.bootstrap_servers().to_owned();
        let settings = [("bootstrap.servers", address.as_str())];
        let admin = Admin::new(AdminConfig::from_properties(settings).unwrap()).unwrap();
        let new = topics.iter().map(|(topic, partitions)| NewTopic::new(*topic).partitions(*partitions));
        for (_, created) in admin.create_topics(new).await {
            created.unwrap();
        }
        let producer = Producer::new(ProducerConfig::from_properties(settings).unwrap()).unwrap();
        World { address, _broker: broker, folder: tempfile::tempdir().unwrap(), producer }
    }

    async fn send(&self, topic: &str, records: &[(&str, &str)]) {
        for (key, value) in records {
            drop(self.producer.send(ProducerRecord::new(topic).key(*key).value(*value)).await.unwrap());
        }
        self.producer.flush().await.unwrap();
    }

    fn application(&self, topology: Topology) -> KafkaStreams {
        KafkaStreams::new(topology, config(&self.address, self.folder.path())).unwrap()
    }

    /// The last values of the keys of a topic, as soon as there are so many records.
    async fn read(&self, topic: &str, records: usize) -> BTreeMap<String, String> {
        let settings = [("bootstrap.servers", self.address.as_str()), ("auto.offset.reset", "earliest")];
        let consumer = Consumer::new(ConsumerConfig::from_properties(settings).unwrap()).unwrap();
        consumer.assign([TopicPartition::new(topic, 0)]).unwrap();
        let (mut found, mut count, deadline) = (BTreeMap::new(), 0, Instant::now() + PATIENCE);
        let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap().to_vec()).unwrap();
        while count < records {
            assert!(Instant::now() < deadline, "{found:?}");
            for (_, record) in consumer.poll(Duration::from_millis(100)).await.unwrap().iter() {
                found.insert(text(record.key()), text(record.value()));
                count += 1;
            }
        }
        found
    }
}

/// Runs what waits on its thread.
fn blocking<T>(work: impl FnOnce() -> T) -> T {
    tokio::task::block_in_place(work)
}

fn await_running(streams: &KafkaStreams) {
    let reached = blocking(|| streams.wait_for_state(|state| state == State::Running, PATIENCE));
    assert!(reached, "{} {:?}", streams.state(), streams.failure());
}

fn close(streams: KafkaStreams) {
    blocking(|| streams.close(PATIENCE)).unwrap();
    assert_eq!(streams.state(), State::NotRunning);
    blocking(|| drop(streams));
}

fn product(streams: &KafkaStreams, key: &str) -> Option<String> {
    let kind = QueryableStoreTypes::key_value_store::<String, String>();
    let view = streams.store(&StoreQueryParameters::from_name_and_type("products", kind)).unwrap();
    view.get(&key.to_owned()).unwrap()
}

/// Waits until a global store has a value.
fn await_product(streams: &KafkaStreams, key: &str, wanted: &str) {
    let deadline = Instant::now() + PATIENCE;
    while product(streams, key).as_deref() != Some(wanted) {
        assert!(Instant::now() < deadline, "{:?}", streams.failure());
        std::thread::yield_now();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn global_stores_are_there_before_the_first_record_and_after_a_restart() {
    let world = World::new(&[("products", 3), ("buyers", 2), ("orders", 2), ("out", 1)]).await;
    world.send("products", &[("a", "apple"), ("b", "pear"), ("c", "cherry"), ("b", "banana")]).await;
    world.send("buyers", &[("ann", "x"), ("bob", "x"), ("ann", "y")]).await;
    world.send("orders", &[("ann", "a"), ("bob", "b"), ("cid", "c"), ("dan", "unknown")]).await;

    let restored = Restored::default();
    let streams = world.application(joined());
    streams.set_global_state_restore_listener(restored.clone());
    streams.start().unwrap();
    let out = world.read("out", 3).await;
    let wanted = [("ann", "a=apple 2"), ("bob", "b=banana 1"), ("cid", "c=cherry 0")];
    assert_eq!(out, wanted.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
    await_running(&streams);
    assert_eq!(restored.0.load(Ordering::Relaxed), 7);

    // It follows the topic, and answers queries.
    world.send("products", &[("d", "date")]).await;
    blocking(|| await_product(&streams, "d", "date"));
    let deadline = Instant::now() + PATIENCE;
    loop {
        let query = KeyQuery::<String, String>::with_key("b".to_owned());
        let answers = streams.query(&StateQueryRequest::in_store("products").with_query(query)).unwrap();
        let answer = answers.global_result().unwrap();
        assert_eq!(answer.result().unwrap().as_deref(), Some("banana"));
        // The position follows what is in the store, never the other way round.
        let offsets = (0..3).filter_map(|partition| answer.position().unwrap().offset("products", partition));
        if offsets.map(|last| last + 1).sum::<i64>() == 5 {
            break;
        }
        assert!(Instant::now() < deadline, "{:?}", answer.position());
        std::thread::yield_now();
    }
    close(streams);
    assert!(world.folder.path().join("worldwide/global/products").is_dir());

    // What was written meanwhile is all that comes back; the rest is on disk.
    world.send("products", &[("e", "elder")]).await;
    world.send("buyers", &[("bob", "y")]).await;
    let restored = Restored::default();
    let streams = world.application(joined());
    streams.set_global_state_restore_listener(restored.clone());
    streams.start().unwrap();
    await_running(&streams);
    assert_eq!(restored.0.load(Ordering::Relaxed), 2);
    world.send("orders", &[("ann", "d"), ("bob", "e")]).await;
    let out = world.read("out", 5).await;
    let wanted = [("ann", "d=date 2"), ("bob", "e=elder 2"), ("cid", "c=cherry 0")];
    assert_eq!(out, wanted.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
    close(streams);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_application_may_have_global_stores_alone() {
    let world = World::new(&[("products", 1)]).await;
    world.send("products", &[("a", "apple")]).await;
    let builder = StreamsBuilder::new();
    builder.global_table_with::<String, String>(Materialized::named("products"), "products");
    let streams = world.application(builder.build().unwrap());
    streams.start().unwrap();
    await_running(&streams);
    assert_eq!(product(&streams, "a").as_deref(), Some("apple"));
    world.send("products", &[("a", "apricot")]).await;
    assert!(blocking(|| streams.wait_until_caught_up(PATIENCE)).unwrap());
    assert_eq!(product(&streams, "a").as_deref(), Some("apricot"));
    close(streams);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_of_the_global_thread_end_the_application() {
    let world = World::new(&[("orders", 1), ("out", 1), ("products", 1)]).await;
    let failed = |streams: &KafkaStreams| {
        let reached = blocking(|| streams.wait_for_state(|state| state == State::Error, PATIENCE));
        assert!(reached, "{}", streams.state());
        streams.failure().unwrap().to_string()
    };
    let streams = world.application(joined());
    streams.start().unwrap();
    let why = failed(&streams);
    assert!(why.contains("no partitions available for topic buyers"), "{why}");
    blocking(|| drop(streams));

    let settings = [("bootstrap.servers", world.address.as_str())];
    let admin = Admin::new(AdminConfig::from_properties(settings).unwrap()).unwrap();
    for (_, created) in admin.create_topics([NewTopic::new("buyers")]).await {
        created.unwrap();
    }
    let streams = world.application(joined());
    streams.start().unwrap();
    await_running(&streams);
    world.send("buyers", &[("ann", "x"), ("ann", "panic")]).await;
    let why = failed(&streams);
    assert!(why.contains("KTABLE-SOURCE-0000000003") && why.contains("offset 1"), "{why}");
    blocking(|| drop(streams));
}

/// An application with a global table alone, whose admin client gives every call up soon.
fn impatient(broker: &str, directory: &Path, task_timeout: &str) -> KafkaStreams {
    let builder = StreamsBuilder::new();
    builder.global_table_with::<String, String>(Materialized::named("products"), "products");
    let config = StreamsConfig::from_properties([
        ("application.id", "worldwide"),
        ("bootstrap.servers", broker),
        ("state.dir", directory.to_str().unwrap()),
        ("task.timeout.ms", task_timeout),
        ("default.api.timeout.ms", "500"),
        ("request.timeout.ms", "400"),
        ("fetch.max.wait.ms", "100"),
    ]);
    KafkaStreams::new(builder.build().unwrap(), config.unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn global_stores_wait_for_a_broker_that_is_not_there_yet() {
    let (folder, directory) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let at = |listener: &str| embedded::Config::default().dir(folder.path()).property("listeners", listener);
    let broker = embedded::Broker::start(at("PLAINTEXT://127.0.0.1:0")).unwrap();
    let address = broker.bootstrap_servers().to_owned();
    let settings = [("bootstrap.servers", address.as_str())];
    let admin = Admin::new(AdminConfig::from_properties(settings).unwrap()).unwrap();
    for (_, created) in admin.create_topics([NewTopic::new("products")]).await {
        created.unwrap();
    }
    broker.shutdown().await;

    let streams = impatient(&address, directory.path(), "60000");
    streams.start().unwrap();
    // Longer than any of its calls.
    assert!(!streams.wait_for_state_async(|state| state != State::Rebalancing, Duration::from_secs(2)).await);
    let _broker = embedded::Broker::start(at(&format!("PLAINTEXT://{address}"))).unwrap();
    assert!(streams.wait_for_state_async(|state| state == State::Running, PATIENCE).await, "{:?}", streams.failure());
    streams.close_async(PATIENCE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn global_stores_do_not_wait_for_a_broker_beyond_task_timeout_ms() {
    let directory = tempfile::tempdir().unwrap();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let streams = impatient(&nobody, directory.path(), "300");
    streams.start().unwrap();
    assert!(streams.wait_for_state_async(|state| state == State::Error, PATIENCE).await, "{}", streams.state());
    let why = streams.failure().unwrap().to_string();
    assert!(why.starts_with("global stores: looking the topics up: ") && why.contains(&nobody), "{why}");
}

struct Keep(StoreHandle<KeyValueStore<String, String>>);

impl Processor for Keep {
    type KIn = String;
    type VIn = Option<String>;
    type KOut = ();
    type VOut = ();

    fn process(&mut self, record: Record<String, Option<String>>, ctx: &mut Context<'_, Self>) -> Result<()> {
        ctx.store(self.0)?.put(&record.key, record.value)
    }
}

struct LookUp(StoreHandle<KeyValueStore<String, String>>);

impl Processor for LookUp {
    type KIn = String;
    type VIn = String;
    type KOut = String;
    type VOut = String;

    fn process(&mut self, record: Record<String, String>, ctx: &mut Context<'_, Self>) -> Result<()> {
        let kept = ctx.store(self.0)?.get(&record.key)?;
        let value = format!("{} {kept:?}", record.value);
        ctx.forward(record.with_value(value))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_only_store_comes_back_from_its_topic() {
    let topology = || {
        let mut topology = Topology::new();
        let store = StoreBuilder::<KeyValueStore<String, String>>::in_memory("kept");
        let input = StoreInput { topic: "rows", source: "rows", processor: "keep" };
        let kept = topology.add_read_only_state_store(&store, input, &Consumed::new(), Keep).unwrap();
        topology.add_source_node::<String, String>("in", &["in"], Consumed::new()).unwrap();
        topology.add_processor("look", &["in"], kept, LookUp).unwrap();
        topology.add_sink::<String, String>("out", "out", Default::default(), &["look"]).unwrap();
        topology
    };
    let world = World::new(&[("rows", 2), ("in", 2), ("out", 1)]).await;
    world.send("rows", &[("a", "1"), ("b", "2"), ("c", "3")]).await;
    let streams = world.application(topology());
    streams.start().unwrap();
    assert!(blocking(|| streams.wait_until_caught_up(PATIENCE)).unwrap());
    world.send("in", &[("a", "x")]).await;
    assert_eq!(world.read("out", 1).await["a"], r#"x Some("1")"#);
    close(streams);

    // In memory: what is there came back from the topic, without a changelog of its own.
    let restored = Restored::default();
    let streams = world.application(topology());
    streams.set_global_state_restore_listener(restored.clone());
    streams.start().unwrap();
    world.send("in", &[("b", "y"), ("c", "z")]).await;
    let out = world.read("out", 3).await;
    assert_eq!((out["b"].as_str(), out["c"].as_str()), (r#"y Some("2")"#, r#"z Some("3")"#));
    assert_eq!(restored.0.load(Ordering::Relaxed), 3);
    close(streams);
}
