//! An application that is paused stays what it is, and does nothing (KIP-834).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::{self, Sender},
    },
    time::Duration,
};

use vltava::{
    client::{Admin, AdminConfig, Producer, ProducerConfig, TopicPartition, admin::NewTopic, producer::ProducerRecord},
    embedded,
    streams::{
        Context, KafkaStreams, Processor, PunctuationType, Record, Result, State, StateRestoreListener, StreamsBuilder,
        StreamsConfig,
    },
};

mod waiting;

use waiting::{PATIENCE, await_that};

const RECORDS: usize = 8;

/// Passes records on, and counts its punctuations.
struct Punctuated(Arc<AtomicUsize>);

impl Processor for Punctuated {
    type KIn = String;
    type VIn = String;
    type KOut = String;
    type VOut = String;

    fn init(&mut self, ctx: &mut Context<'_, Self>) -> Result<()> {
        let counts = |this: &mut Self, _: i64, _: &mut Context<'_, Self>| {
            this.0.fetch_add(1, Ordering::Relaxed);
            Ok(())
        };
        ctx.schedule(Duration::from_millis(1), PunctuationType::WallClockTime, counts).map(drop)
    }

    fn process(&mut self, record: Record<String, String>, ctx: &mut Context<'_, Self>) -> Result<()> {
        ctx.forward(record)
    }
}

struct World {
    broker: embedded::Broker,
    folder: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
    admin: Admin,
}

struct Instance {
    streams: KafkaStreams,
    punctuated: Arc<AtomicUsize>,
}

impl World {
    fn new() -> Self {
        let broker = embedded::Broker::start(embedded::Config::default()).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let settings = AdminConfig::from_properties([("bootstrap.servers", broker.bootstrap_servers())]).unwrap();
        let admin = runtime.block_on(async {
            let admin = Admin::new(settings).unwrap();
            for (_, created) in admin.create_topics([NewTopic::new("in").partitions(2)]).await {
                created.unwrap();
            }
            admin
        });
        World { broker, folder: tempfile::tempdir().unwrap(), runtime, admin }
    }

    fn instance(&self, name: &str, more: &[(&str, &str)]) -> Instance {
        let punctuated = Arc::new(AtomicUsize::new(0));
        let builder = StreamsBuilder::new();
        let counts = punctuated.clone();
        let values = builder.stream::<String, String>("in");
        values.process(move || Punctuated(counts.clone()));
        values.group_by_key().count();
        let directory = self.folder.path().join(name);
        let settings = [
            ("application.id", "paused"),
            ("bootstrap.servers", self.broker.bootstrap_servers()),
            ("commit.interval.ms", "50"),
            ("state.dir", directory.to_str().unwrap()),
        ];
        let config = StreamsConfig::from_properties(settings.into_iter().chain(more.iter().copied())).unwrap();
        Instance { streams: KafkaStreams::new(builder.build().unwrap(), config).unwrap(), punctuated }
    }

    fn send(&self) {
        let settings = [("bootstrap.servers", self.broker.bootstrap_servers())];
        self.runtime.block_on(async {
            let producer = Producer::new(ProducerConfig::from_properties(settings).unwrap()).unwrap();
            for record in 0..RECORDS {
                let key = record.to_string();
                let to = ProducerRecord::new("in").partition(record as i32 % 2);
                producer.send(to.key(&key).value("v")).await.unwrap().await.unwrap();
            }
        });
    }

    fn members(&self) -> usize {
        let described = self.runtime.block_on(self.admin.describe_consumer_groups(["paused"]));
        described.into_values().next().unwrap().unwrap().members.len()
    }
}

impl Instance {
    fn sum(&self, group: &str, name: &str) -> usize {
        let metrics = self.streams.metrics().unwrap();
        let wanted = metrics.iter().filter(|(metric, _)| (metric.group, metric.name) == (group, name));
        // Those of topics are in those of clients.
        let wanted = wanted.filter(|(metric, _)| metric.tags.get("topic").is_none());
        wanted.map(|(_, value)| value.as_f64()).sum::<f64>() as usize
    }

    fn processed(&self) -> usize {
        self.sum("stream-thread-metrics", "process-total")
    }

    fn updated(&self) -> usize {
        self.sum("stream-task-metrics", "update-total")
    }

    fn tasks(&self) -> Vec<(usize, usize)> {
        let threads = self.streams.metadata_for_local_threads().unwrap();
        threads.iter().map(|thread| (thread.active_tasks().len(), thread.standby_tasks().len())).collect()
    }

    fn await_state(&self, wanted: State) {
        assert!(self.streams.wait_for_state(|state| state == wanted, PATIENCE), "{}", self.streams.state());
    }
}

#[test]
fn a_paused_application_reads_and_processes_nothing_until_it_goes_on() {
    let world = World::new();
    let instance = world.instance("one", &[]);
    assert!(!instance.streams.is_paused());
    instance.streams.pause();
    instance.streams.start().unwrap();
    instance.await_state(State::Running);
    world.send();
    await_that("it comes to that", || {
        instance.sum("consumer-fetch-manager-metrics", "records-consumed-total") == RECORDS
    });
    // Across a rebalance, too: one of the tasks is made on the other thread, reads there again, and is paused.
    instance.streams.add_stream_thread().unwrap().unwrap();
    await_that("it comes to that", || instance.tasks() == [(1, 0), (1, 0)]);
    instance.await_state(State::Running);
    let consumed = || instance.sum("consumer-fetch-manager-metrics", "records-consumed-total");
    await_that("it comes to that", || consumed() > RECORDS);
    assert_eq!((instance.processed(), instance.punctuated.load(Ordering::Relaxed)), (0, 0));
    assert!(instance.streams.is_paused());
    assert_eq!(world.members(), 2);

    instance.streams.resume();
    await_that("it comes to that", || {
        instance.processed() == RECORDS && instance.punctuated.load(Ordering::Relaxed) > 0
    });

    // In the midst of its work.
    instance.streams.pause();
    let polled = || instance.sum("stream-thread-metrics", "poll-total");
    let polls = polled();
    await_that("it comes to that", || polled() > polls + 2);
    let punctuated = instance.punctuated.load(Ordering::Relaxed);
    let before = consumed();
    world.send();
    await_that("it comes to that", || consumed() >= before + RECORDS);
    let polls = polled();
    await_that("it comes to that", || polled() > polls + 2);
    assert_eq!((instance.processed(), instance.punctuated.load(Ordering::Relaxed)), (RECORDS, punctuated));
    instance.streams.close(PATIENCE).unwrap();
}

struct Restored(Sender<&'static str>);

impl StateRestoreListener for Restored {
    fn on_restore_start(&self, _: &TopicPartition, _: &str, _: i64, _: i64) {
        let _ = self.0.send("begins");
    }
    fn on_batch_restored(&self, _: &TopicPartition, _: &str, _: i64, _: u64) {
        let _ = self.0.send("restored");
    }
}

#[test]
fn a_paused_application_restores_nothing_and_does_not_run_before_it_goes_on() {
    let world = World::new();
    let instance = world.instance("one", &[]);
    world.send();
    instance.streams.start().unwrap();
    await_that("it comes to that", || instance.processed() == RECORDS);
    instance.streams.close(PATIENCE).unwrap();
    instance.streams.clean_up().unwrap();
    drop(instance);

    let again = world.instance("one", &[]);
    let (tell, told) = mpsc::channel();
    again.streams.set_global_state_restore_listener(Restored(tell));
    again.streams.pause();
    again.streams.start().unwrap();
    for _ in 0..2 {
        assert_eq!(told.recv_timeout(PATIENCE).unwrap(), "begins");
    }
    assert!(told.recv_timeout(Duration::from_millis(300)).is_err(), "it restores");
    assert_eq!(again.streams.state(), State::Rebalancing);
    again.streams.resume();
    again.await_state(State::Running);
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), "restored");
    again.streams.close(PATIENCE).unwrap();
}

#[test]
fn a_paused_instance_updates_no_standbys() {
    let world = World::new();
    // What standbys have read is counted at this level alone.
    let settings = [("num.standby.replicas", "1"), ("metrics.recording.level", "DEBUG")];
    let (one, other) = (world.instance("one", &settings), world.instance("other", &settings));
    one.streams.start().unwrap();
    one.await_state(State::Running);
    other.streams.pause();
    other.streams.start().unwrap();
    await_that("it comes to that", || other.tasks().iter().any(|(_, standbys)| *standbys > 0));
    world.send();
    // What the one has processed is in its changelog, and the other follows that, but not now.
    await_that("it comes to that", || one.processed() > 0);
    let polled = || one.sum("stream-thread-metrics", "poll-total");
    let polls = polled();
    await_that("it comes to that", || polled() > polls + 2);
    assert_eq!((other.processed(), other.updated()), (0, 0));
    other.streams.resume();
    await_that("it comes to that", || other.updated() > 0 && one.processed() + other.processed() >= RECORDS);
    one.streams.close(PATIENCE).unwrap();
    other.streams.close(PATIENCE).unwrap();
}
