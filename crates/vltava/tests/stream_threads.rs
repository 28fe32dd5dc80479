//! Stream threads come and go while an application runs (KIP-663).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, OnceLock,
        mpsc::{self, Receiver},
    },
    time::Duration,
};

use vltava::{
    client::{Admin, AdminConfig, Producer, ProducerConfig, admin::NewTopic, producer::ProducerRecord},
    embedded,
    streams::{
        Error, KafkaStreams, Left, Materialized, State, StreamsBuilder, StreamsConfig, Topology,
        query::{QueryableStoreTypes, StoreQueryParameters},
    },
};

mod waiting;

use waiting::{PATIENCE, await_equal};

const PARTITIONS: usize = 4;

struct World {
    broker: embedded::Broker,
    folder: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
    admin: Admin,
}

/// Counts the values of `in`, and calls back with each.
fn counting(each: impl Fn(&str) + Send + Sync + 'static) -> Topology {
    let builder = StreamsBuilder::new();
    let values = builder.stream::<String, String>("in").peek(move |_, text| each(text));
    values.group_by_key().count_with(Materialized::named("counts"));
    builder.build().unwrap()
}

impl World {
    fn new() -> Self {
        let broker = embedded::Broker::start(embedded::Config::default()).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let settings = AdminConfig::from_properties([("bootstrap.servers", broker.bootstrap_servers())]).unwrap();
        let admin = runtime.block_on(async {
            let admin = Admin::new(settings).unwrap();
            for (_, created) in admin.create_topics([NewTopic::new("in").partitions(PARTITIONS as i32)]).await {
                created.unwrap();
            }
            admin
        });
        World { broker, folder: tempfile::tempdir().unwrap(), runtime, admin }
    }

    fn application(&self, topology: Topology, more: &[(&str, &str)]) -> KafkaStreams {
        let settings = [
            ("application.id", "threads"),
            ("bootstrap.servers", self.broker.bootstrap_servers()),
            ("client.id", "here"),
            ("commit.interval.ms", "50"),
            ("state.dir", self.folder.path().to_str().unwrap()),
        ];
        let config = StreamsConfig::from_properties(settings.into_iter().chain(more.iter().copied()));
        KafkaStreams::new(topology, config.unwrap()).unwrap()
    }

    /// Of every partition's key.
    fn send_to_all(&self) {
        let settings = [("bootstrap.servers", self.broker.bootstrap_servers())];
        self.runtime.block_on(async {
            let producer = Producer::new(ProducerConfig::from_properties(settings).unwrap()).unwrap();
            for partition in 0..PARTITIONS as i32 {
                let key = partition.to_string();
                let record = ProducerRecord::new("in").partition(partition).key(&key).value("v");
                producer.send(record).await.unwrap().await.unwrap();
            }
        });
    }

    fn members(&self) -> usize {
        let described = self.runtime.block_on(self.admin.describe_consumer_groups(["threads"]));
        described.into_values().next().unwrap().unwrap().members.len()
    }
}

/// The number of active tasks by thread.
fn tasks(streams: &KafkaStreams) -> BTreeMap<String, usize> {
    let threads = streams.metadata_for_local_threads().unwrap();
    threads.iter().map(|thread| (thread.thread_name().to_owned(), thread.active_tasks().len())).collect()
}

fn await_tasks(streams: &KafkaStreams, wanted: &[(&str, usize)]) {
    let wanted = wanted.iter().map(|(thread, tasks)| (format!("here-StreamThread-{thread}"), *tasks)).collect();
    let running = || (streams.state() == State::Running).then(|| tasks(streams));
    await_equal(running, &Some(wanted));
}

fn counts(streams: &KafkaStreams) -> Vec<Option<i64>> {
    let store = QueryableStoreTypes::key_value_store::<String, i64>();
    let store = streams.store(&StoreQueryParameters::from_name_and_type("counts", store)).unwrap();
    (0..PARTITIONS).map(|partition| store.get(&partition.to_string()).ok().flatten()).collect()
}

fn metric(streams: &KafkaStreams, name: &str) -> f64 {
    let metrics = streams.metrics().unwrap();
    metrics.iter().find(|(metric, _)| metric.name == name).unwrap().1.as_f64()
}

#[test]
fn tasks_go_to_a_thread_that_comes_and_from_one_that_goes_and_nothing_is_lost() {
    let world = World::new();
    let streams = world.application(counting(|_| ()), &[]);
    assert_eq!(streams.add_stream_thread().unwrap(), None, "it is not started");
    assert_eq!(streams.remove_stream_thread(PATIENCE).unwrap(), None);
    streams.start().unwrap();
    await_tasks(&streams, &[("1", 4)]);
    world.send_to_all();
    await_equal(|| counts(&streams), &vec![Some(1); PARTITIONS]);

    assert_eq!(streams.add_stream_thread().unwrap().as_deref(), Some("here-StreamThread-2"));
    await_tasks(&streams, &[("1", 2), ("2", 2)]);
    assert_eq!(metric(&streams, "alive-stream-threads"), 2.0);
    world.send_to_all();
    await_equal(|| counts(&streams), &vec![Some(2); PARTITIONS]);

    assert_eq!(streams.remove_stream_thread(PATIENCE).unwrap().as_deref(), Some("here-StreamThread-1"));
    assert_eq!(world.members(), 1, "it has left the group");
    await_tasks(&streams, &[("2", 4)]);
    assert_eq!(metric(&streams, "alive-stream-threads"), 1.0);
    world.send_to_all();
    await_equal(|| counts(&streams), &vec![Some(3); PARTITIONS]);

    // The lowest free number; and without threads the application waits for one.
    assert_eq!(streams.add_stream_thread().unwrap().as_deref(), Some("here-StreamThread-1"));
    await_tasks(&streams, &[("1", 2), ("2", 2)]);
    for thread in ["1", "2"] {
        let removed = world.runtime.block_on(streams.remove_stream_thread_async(PATIENCE)).unwrap();
        assert_eq!(removed, Some(format!("here-StreamThread-{thread}")));
    }
    assert_eq!((tasks(&streams), metric(&streams, "alive-stream-threads")), (BTreeMap::new(), 0.0));
    assert_eq!(streams.remove_stream_thread(PATIENCE).unwrap(), None);
    assert!(streams.state().is_running_or_rebalancing());
    world.send_to_all();
    assert_eq!(streams.add_stream_thread().unwrap().as_deref(), Some("here-StreamThread-1"));
    await_tasks(&streams, &[("1", 4)]);
    await_equal(|| counts(&streams), &vec![Some(4); PARTITIONS]);
    assert_eq!(metric(&streams, "failed-stream-threads"), 0.0);

    streams.close(PATIENCE).unwrap();
    assert_eq!(streams.add_stream_thread().unwrap(), None);
    assert_eq!(streams.remove_stream_thread(PATIENCE).unwrap(), None);
}

#[test]
fn an_application_whose_threads_have_gone_can_be_closed() {
    let world = World::new();
    let streams = world.application(counting(|_| ()), &[]);
    streams.start().unwrap();
    streams.remove_stream_thread(PATIENCE).unwrap().unwrap();
    streams.close(PATIENCE).unwrap();
    assert_eq!(streams.state(), State::NotRunning);
}

#[test]
fn a_static_member_that_is_removed_leaves_its_group_and_the_others_keep_their_names() {
    let world = World::new();
    let streams = world.application(counting(|_| ()), &[("group.instance.id", "i"), ("num.stream.threads", "2")]);
    streams.start().unwrap();
    await_tasks(&streams, &[("1", 2), ("2", 2)]);
    streams.remove_stream_thread(PATIENCE).unwrap().unwrap();
    await_tasks(&streams, &[("2", 4)]);
    let described = world.runtime.block_on(world.admin.describe_consumer_groups(["threads"]));
    let members = described.into_values().next().unwrap().unwrap().members;
    let ids: Vec<_> = members.iter().map(|member| member.group_instance_id.as_deref()).collect();
    assert_eq!(ids, [Some("i-2")]);
    streams.add_stream_thread().unwrap().unwrap();
    await_tasks(&streams, &[("1", 2), ("2", 2)]);
    streams.close(PATIENCE).unwrap();
}

#[test]
fn a_thread_that_does_not_come_back_is_named_and_ends_when_it_does() {
    let world = World::new();
    let (stuck, is_stuck) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let released: Mutex<Receiver<()>> = Mutex::new(released);
    let waits = move |_: &str| {
        let _ = stuck.send(());
        let _ = released.lock().unwrap().recv();
    };
    let streams = world.application(counting(waits), &[]);
    streams.start().unwrap();
    await_tasks(&streams, &[("1", 4)]);
    world.send_to_all();
    is_stuck.recv_timeout(PATIENCE).unwrap();
    let left = streams.remove_stream_thread(Duration::from_millis(50)).unwrap_err();
    let Error::NotClosed(left) = *left else { panic!("{left}") };
    assert!(matches!(&*left.threads, [thread] if matches!(thread.what, Left::AtWork)), "{left}");
    // Its place is not free as long as it is there.
    assert_eq!(streams.add_stream_thread().unwrap().as_deref(), Some("here-StreamThread-2"));
    drop(release);
    await_tasks(&streams, &[("2", 4)]);
    streams.close(PATIENCE).unwrap();
}

#[test]
fn a_processor_may_remove_a_thread_and_its_own_last() {
    let world = World::new();
    let handle = Arc::new(OnceLock::<Arc<KafkaStreams>>::new());
    let (tell, told) = mpsc::channel();
    let there = handle.clone();
    let removes = move |_: &str| {
        let streams = there.get().unwrap();
        let removed = streams.remove_stream_thread(PATIENCE).map_err(|error| error.to_string());
        let _ = tell.send((std::thread::current().name().unwrap().to_owned(), removed));
    };
    let streams = Arc::new(world.application(counting(removes), &[("num.stream.threads", "2")]));
    handle.set(streams.clone()).ok().unwrap();
    streams.start().unwrap();
    await_tasks(&streams, &[("1", 2), ("2", 2)]);
    world.send_to_all();
    let mut removed = Vec::new();
    for _ in 0..2 {
        let (asking, name) = told.recv_timeout(PATIENCE).unwrap();
        let name = name.unwrap().unwrap();
        let was_last = !removed.is_empty();
        assert_eq!(name.ends_with(&asking), was_last, "{asking} has removed {name}");
        removed.push(name);
    }
    removed.sort();
    assert_eq!(removed, ["here-StreamThread-1", "here-StreamThread-2"]);
    await_equal(|| tasks(&streams), &BTreeMap::new());
    streams.close(PATIENCE).unwrap();
}
