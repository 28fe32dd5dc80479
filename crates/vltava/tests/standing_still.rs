//! Work goes on, or the application says why not: slow processors, topics that are missing or were changed, brokers that
//! are away, members of another kind.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use vltava::{
    client::{
        Admin, AdminConfig, Consumer, ConsumerConfig, Producer, ProducerConfig, TopicPartition,
        admin::{NewPartitions, NewTopic},
        producer::ProducerRecord,
    },
    embedded,
    streams::{
        Error, KafkaStreams, Materialized, State, StateRestoreListener, StreamThreadExceptionResponse, StreamsBuilder,
        StreamsConfig, StreamsConfigBuilder,
        handler::{ErrorHandlerContext, ProductionExceptionHandler, ProductionHandlerResponse},
        task::ProducerRecord as TaskRecord,
    },
};

const PATIENCE: Duration = Duration::from_secs(60);

struct Cluster {
    folder: tempfile::TempDir,
    _broker: embedded::Broker,
    address: String,
    admin: Admin,
}

fn broker() -> embedded::Config {
    embedded::Config::default()
        .property("auto.create.topics.enable", "false")
        .property("group.min.session.timeout.ms", "100")
        .property("group.max.session.timeout.ms", "200000")
        .property("group.initial.rebalance.delay.ms", "0")
}

impl Cluster {
    async fn start(topics: impl IntoIterator<Item = NewTopic>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let broker = embedded::Broker::start(broker()).unwrap();
        let address = broker.bootstrap_servers().to_owned();
        let admin = Admin::new(AdminConfig::from_properties([("bootstrap.servers", &address)]).unwrap()).unwrap();
        for (_, created) in admin.create_topics(topics).await {
            created.unwrap();
        }
        Cluster { folder, _broker: broker, address, admin }
    }

    fn streams(&self, builder: &StreamsBuilder, settings: &[(&str, &str)]) -> KafkaStreams {
        application(builder, &self.address, self.folder.path(), settings)
    }

    async fn send(&self, values: impl IntoIterator<Item = u32>) {
        let config = ProducerConfig::from_properties([("bootstrap.servers", &self.address)]).unwrap();
        let producer = Producer::new(config).unwrap();
        for value in values {
            let value = value.to_string();
            producer.send(ProducerRecord::new("in").key(&value).value(&value)).await.unwrap().await.unwrap();
        }
    }

    async fn committed(&self) -> i64 {
        let offsets = self.admin.list_consumer_group_offsets("app", None).await.unwrap();
        offsets.values().flatten().map(|offset| offset.offset).sum()
    }

    /// Records that are in the topic.
    async fn read(&self, topic: &str, count: usize) -> Vec<String> {
        let consumer =
            Consumer::new(ConsumerConfig::from_properties([("bootstrap.servers", &self.address)]).unwrap()).unwrap();
        consumer.assign([TopicPartition::new(topic, 0)]).unwrap();
        consumer.seek_to_beginning(&[]).unwrap();
        let (end, mut found) = (Instant::now() + PATIENCE, Vec::new());
        while found.len() < count {
            for (_, record) in consumer.poll(Duration::from_millis(200)).await.unwrap().iter() {
                found.push(String::from_utf8_lossy(record.value().unwrap_or_default()).into_owned());
            }
            assert!(Instant::now() < end, "only {found:?} in {topic}");
        }
        found
    }
}

fn application(builder: &StreamsBuilder, address: &str, folder: &Path, settings: &[(&str, &str)]) -> KafkaStreams {
    KafkaStreams::new(builder.build().unwrap(), config(address, folder, settings).build().unwrap()).unwrap()
}

fn config(address: &str, folder: &Path, settings: &[(&str, &str)]) -> StreamsConfigBuilder {
    let mut properties: BTreeMap<&str, &str> = BTreeMap::from([
        ("application.id", "app"),
        ("bootstrap.servers", address),
        ("state.dir", folder.to_str().unwrap()),
        ("commit.interval.ms", "100"),
        ("heartbeat.interval.ms", "50"),
        ("session.timeout.ms", "10000"),
        ("metadata.max.age.ms", "200"),
        ("producer.linger.ms", "0"),
    ]);
    properties.extend(settings.iter().copied());
    let builder = StreamsConfig::builder("app");
    properties.into_iter().fold(builder, |builder, (key, value)| builder.set(key, value))
}

/// Tells that a record could not be sent, and has it tried again.
struct Tell(tokio::sync::mpsc::UnboundedSender<()>);

impl ProductionExceptionHandler for Tell {
    fn handle(&self, _: &ErrorHandlerContext<'_>, _: &TaskRecord<'_>, _: &Error) -> ProductionHandlerResponse {
        let _ = self.0.send(());
        ProductionHandlerResponse::retry()
    }
}

/// Until something is looked at again.
async fn pause(ms: u64) {
    let _ = tokio::time::timeout(Duration::from_millis(ms), std::future::pending::<()>()).await;
}

/// What a slow processor does.
fn take(time: Duration) {
    let (_keep, never) = std::sync::mpsc::channel::<()>();
    let _ = never.recv_timeout(time);
}

fn copy() -> StreamsBuilder {
    let builder = StreamsBuilder::new();
    builder.stream::<String, String>("in").to("out");
    builder
}

fn table() -> StreamsBuilder {
    let builder = StreamsBuilder::new();
    builder.stream::<String, String>("in").group_by_key().count().to_stream().to("out");
    builder
}

const CHANGELOG: &str = "app-KSTREAM-AGGREGATE-STATE-STORE-0000000001-changelog";

/// Waits on a thread that may.
async fn state(streams: &Arc<KafkaStreams>, wanted: State) {
    let streams = streams.clone();
    let waited = tokio::task::spawn_blocking(move || {
        let reached = streams.wait_for_state(|state| state == wanted, PATIENCE);
        assert!(reached, "{:?} instead of {wanted:?}: {:?}", streams.state(), streams.failure());
    });
    waited.await.unwrap();
}

async fn close(streams: Arc<KafkaStreams>) {
    if let Err(left) = streams.close_async(PATIENCE).await {
        panic!("{left}");
    }
    assert_eq!(failure(&streams), None);
}

fn failure(streams: &KafkaStreams) -> Option<String> {
    streams.failure().map(|error| error.to_string())
}

/// What the uncaught-exception handler is told.
fn told(streams: &KafkaStreams) -> Arc<Mutex<Vec<String>>> {
    let told = Arc::<Mutex<Vec<String>>>::default();
    let tell = told.clone();
    streams.set_uncaught_exception_handler(move |error| {
        let kind = match error {
            Error::MissingSourceTopic { topics } => format!("missing {}", topics.join(" ")),
            Error::TaskTimeout { task, source, .. } => format!("timeout {task}: {source}"),
            other => format!("other {other}"),
        };
        tell.lock().unwrap().push(kind);
        StreamThreadExceptionResponse::ShutdownClient
    });
    told
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_processor_with_a_backlog_commits_as_it_goes() {
    let cluster = Cluster::start(["in", "out"].map(NewTopic::new)).await;
    cluster.send(0..60).await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let see = seen.clone();
    let builder = StreamsBuilder::new();
    builder.stream::<String, String>("in").for_each(move |_, value| {
        take(Duration::from_millis(100));
        see.lock().unwrap().push(value);
    });
    // All of them together take twice as long as a member may go without polling.
    let streams = Arc::new(cluster.streams(&builder, &[("max.poll.interval.ms", "3000")]));
    streams.start().unwrap();
    let (end, mut steps) = (Instant::now() + PATIENCE, Vec::new());
    while steps.last() != Some(&60) {
        let committed = cluster.committed().await;
        if steps.last() != Some(&committed) {
            steps.push(committed);
        }
        assert!(Instant::now() < end, "{steps:?}, {:?}", streams.failure());
    }
    assert!(steps.len() > 3, "committed in one go: {steps:?}");
    // It was a member all the time: nothing was processed twice.
    let expected: Vec<String> = (0..60).map(|value| value.to_string()).collect();
    assert_eq!(*seen.lock().unwrap(), expected);
    close(streams).await;
}

/// Tells how many records were processed when a store was restored.
struct WhenRestored {
    processed: Arc<AtomicUsize>,
    tell: tokio::sync::mpsc::UnboundedSender<usize>,
}

impl StateRestoreListener for WhenRestored {
    fn on_restore_end(&self, _: &TopicPartition, _: &str, _: u64) {
        let _ = self.tell.send(self.processed.load(Ordering::Relaxed));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_processor_with_a_backlog_does_not_hold_up_what_is_restored() {
    const BACKLOG: u32 = 6000;
    let cluster = Cluster::start(["in", "rows", "app-rows-changelog"].map(NewTopic::new)).await;
    let config = ProducerConfig::from_properties([("bootstrap.servers", &cluster.address)]).unwrap();
    let producer = Producer::new(config).unwrap();
    for (topic, count) in [("in", BACKLOG), ("app-rows-changelog", 30_000)] {
        for value in 0..count {
            let value = value.to_string();
            producer
                .send_with(ProducerRecord::new(topic).key(&value).value(&value), |sent| assert!(sent.is_ok()))
                .await
                .unwrap();
        }
    }
    producer.flush().await.unwrap();

    let processed = Arc::<AtomicUsize>::default();
    let count = processed.clone();
    let builder = StreamsBuilder::new();
    builder.table_with::<String, String>(Materialized::named("rows"), "rows");
    builder.stream::<String, String>("in").for_each(move |_, _| {
        take(Duration::from_millis(5));
        count.fetch_add(1, Ordering::Relaxed);
    });
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let streams = Arc::new(cluster.streams(&builder, &[]));
    streams.set_global_state_restore_listener(WhenRestored { processed, tell });
    streams.start().unwrap();
    let when_restored = tokio::time::timeout(PATIENCE, told.recv()).await.expect("restored").unwrap();
    assert!(when_restored < BACKLOG as usize / 4, "restored when {when_restored} of {BACKLOG} records were processed");
    close(streams).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_processor_that_was_once_too_slow_joins_again_and_goes_on() {
    let cluster = Cluster::start(["in", "out"].map(NewTopic::new)).await;
    cluster.send(0..20).await;
    let slept = Arc::new(Mutex::new(false));
    let builder = StreamsBuilder::new();
    let once = slept.clone();
    let slow = builder.stream::<String, String>("in").peek(move |_, value| {
        if value == "10" && !std::mem::replace(&mut *once.lock().unwrap(), true) {
            take(Duration::from_millis(2500));
        }
    });
    slow.to("out");
    let streams = Arc::new(cluster.streams(&builder, &[("max.poll.interval.ms", "1000")]));
    streams.start().unwrap();
    cluster.read("out", 20).await;
    let end = Instant::now() + PATIENCE;
    while cluster.committed().await < 20 {
        assert!(Instant::now() < end, "{:?}", streams.failure());
        pause(20).await;
    }
    assert!(*slept.lock().unwrap());
    close(streams).await;
}

/// A commit is the first that hears of it: the next heartbeat is far away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thread_that_was_taken_out_of_its_group_joins_again_and_goes_on() {
    let cluster = Cluster::start(["in", "out"].map(NewTopic::new)).await;
    let settings = [("heartbeat.interval.ms", "60000"), ("session.timeout.ms", "180000")];
    let streams = Arc::new(cluster.streams(&copy(), &settings));
    streams.start().unwrap();
    state(&streams, State::Running).await;
    cluster.send(0..3).await;
    cluster.read("out", 3).await;
    let members = cluster.admin.remove_members_from_group("app", &[], None).await.unwrap();
    assert_eq!(members.len(), 1);
    cluster.send(3..6).await;
    let end = Instant::now() + PATIENCE;
    while cluster.committed().await < 6 {
        assert!(Instant::now() < end, "{:?}, {:?}", streams.state(), streams.failure());
        pause(20).await;
    }
    state(&streams, State::Running).await;
    close(streams).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_an_output_topic_goes_on_when_it_is_made() {
    let cluster = Cluster::start([NewTopic::new("in")]).await;
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let config = config(&cluster.address, cluster.folder.path(), &[("max.block.ms", "300")]);
    let config = config.production_exception_handler(Tell(tell)).build().unwrap();
    let streams = Arc::new(KafkaStreams::new(copy().build().unwrap(), config).unwrap());
    streams.start().unwrap();
    cluster.send(0..20).await;
    tokio::time::timeout(PATIENCE, told.recv()).await.unwrap().unwrap();
    for (_, created) in cluster.admin.create_topics([NewTopic::new("out")]).await {
        created.unwrap();
    }
    let values = cluster.read("out", 20).await;
    assert_eq!(values.last().map(String::as_str), Some("19"));
    close(streams).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_output_topic_ends_the_thread_after_the_tasks_time_and_is_named() {
    let cluster = Cluster::start([NewTopic::new("in")]).await;
    let streams = Arc::new(cluster.streams(&copy(), &[("max.block.ms", "300"), ("task.timeout.ms", "1500")]));
    let told = told(&streams);
    streams.start().unwrap();
    cluster.send(0..20).await;
    state(&streams, State::Error).await;
    let told = told.lock().unwrap().clone();
    assert!(told.len() == 1 && told[0].starts_with("timeout 0_0"), "{told:?}");
    assert!(failure(&streams).unwrap().contains("task.timeout.ms"), "{:?}", failure(&streams));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changelog_that_was_deleted_ends_the_thread_after_the_tasks_time() {
    let cluster = Cluster::start(["in", "out"].map(NewTopic::new)).await;
    let settings = [
        ("max.block.ms", "300"),
        ("task.timeout.ms", "1500"),
        ("default.api.timeout.ms", "600"),
        ("request.timeout.ms", "500"),
        ("delivery.timeout.ms", "700"),
        ("fetch.max.wait.ms", "100"),
        ("statestore.cache.max.bytes", "0"),
    ];
    let streams = Arc::new(cluster.streams(&table(), &settings));
    let told = told(&streams);
    streams.start().unwrap();
    cluster.send(0..3).await;
    cluster.read("out", 3).await;
    for (_, deleted) in cluster.admin.delete_topics([CHANGELOG]).await {
        deleted.unwrap();
    }
    cluster.send(0..3).await;
    state(&streams, State::Error).await;
    let told = told.lock().unwrap().clone();
    assert!(told.len() == 1 && told[0].starts_with("timeout 0_0"), "{told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_topic_that_was_deleted_is_told_to_the_handler() {
    let cluster = Cluster::start(["in", "out"].map(NewTopic::new)).await;
    let streams = Arc::new(cluster.streams(&copy(), &[]));
    let told = told(&streams);
    streams.start().unwrap();
    state(&streams, State::Running).await;
    for (_, deleted) in cluster.admin.delete_topics(["in"]).await {
        deleted.unwrap();
    }
    state(&streams, State::Error).await;
    assert_eq!(*told.lock().unwrap(), ["missing in"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_topic_that_never_was_is_told_to_the_handler() {
    let cluster = Cluster::start([NewTopic::new("out")]).await;
    let streams = Arc::new(cluster.streams(&copy(), &[]));
    let told = told(&streams);
    streams.start().unwrap();
    state(&streams, State::Error).await;
    assert_eq!(*told.lock().unwrap(), ["missing in"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_that_were_added_under_a_store_are_told_with_names_and_counts() {
    let cluster = Cluster::start(["in", "out"].map(NewTopic::new)).await;
    let streams = Arc::new(cluster.streams(&table(), &[]));
    let told = told(&streams);
    streams.start().unwrap();
    state(&streams, State::Running).await;
    for (_, added) in cluster.admin.create_partitions([("in", NewPartitions::increase_to(3))]).await {
        added.unwrap();
    }
    state(&streams, State::Error).await;
    let told = told.lock().unwrap().clone();
    assert_eq!(told.len(), 1, "{told:?}");
    for part in [CHANGELOG, "exists with 1 partitions", "3 are needed", "in has 3", "application-reset"] {
        assert!(told[0].contains(part), "{part} is not in: {}", told[0]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_application_waits_for_its_broker_and_can_be_closed_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let streams = Arc::new(application(&copy(), &address, folder.path(), &[]));
    streams.start().unwrap();
    pause(200).await;
    assert_eq!((streams.state(), failure(&streams)), (State::Rebalancing, None));
    let begun = Instant::now();
    close(streams).await;
    assert!(begun.elapsed() < PATIENCE / 2, "closing took {:?}", begun.elapsed());

    let streams = Arc::new(application(&copy(), &address, folder.path(), &[]));
    streams.start().unwrap();
    let config = broker().property("listeners", format!("PLAINTEXT://{address}"));
    let _broker = embedded::Broker::start(config).unwrap();
    // Its topics are not there, and now it is they that are named.
    state(&streams, State::Error).await;
    assert_eq!(failure(&streams).unwrap(), "missing source topics: in");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_threads_of_a_static_member_are_members_of_their_own() {
    let cluster = Cluster::start(["in", "out"].map(|topic| NewTopic::new(topic).partitions(2))).await;
    let streams = Arc::new(cluster.streams(&copy(), &[("num.stream.threads", "2"), ("group.instance.id", "instance")]));
    streams.start().unwrap();
    state(&streams, State::Running).await;
    let groups = cluster.admin.describe_consumer_groups(["app"]).await;
    let members = groups.into_iter().next().unwrap().1.unwrap().members;
    let mut ids: Vec<_> = members.into_iter().filter_map(|member| member.group_instance_id).collect();
    ids.sort();
    assert_eq!(ids, ["instance-1", "instance-2"]);
    close(streams).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_of_another_kind_that_have_just_ended_are_waited_for() {
    let cluster = Cluster::start(["in", "out"].map(NewTopic::new)).await;
    // A static member that has gone is one until its session ends.
    let config = ConsumerConfig::from_properties([
        ("bootstrap.servers", cluster.address.as_str()),
        ("group.id", "app"),
        ("group.instance.id", "jvm"),
        ("session.timeout.ms", "2000"),
        ("heartbeat.interval.ms", "100"),
    ]);
    let other = Consumer::new(config.unwrap()).unwrap();
    other.subscribe(["in"]).unwrap();
    while other.assignment().is_empty() {
        other.poll(Duration::from_millis(50)).await.unwrap();
    }
    other.close(PATIENCE).await.unwrap();
    let streams = Arc::new(cluster.streams(&copy(), &[]));
    streams.start().unwrap();
    state(&streams, State::Running).await;
    close(streams).await;
}
