//! Rebalances are cooperative (KIP-429): tasks that do not move go on while others come and go, also while the group waits for
//! a member that does not join, and every result is there once. On the embedded broker, at least once and exactly once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test")]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Condvar, Mutex},
    time::{Duration, Instant},
};

use vltava::{
    client::{
        Admin, AdminConfig, Consumer, ConsumerConfig, Producer, ProducerConfig, TopicPartition, admin::NewTopic,
        producer::ProducerRecord,
    },
    embedded,
    streams::{
        FixedKeyContext, FixedKeyProcessor, FixedKeyRecord, KafkaStreams, Materialized, State, StreamsBuilder,
        StreamsConfig,
    },
};

mod waiting;

use waiting::{PATIENCE, await_that};

const PARTITIONS: i32 = 6;
/// Who has not sent a heartbeat for five of their intervals waits for the answer to its join.
const QUIET: Duration = Duration::from_millis(500);
/// The value that a processor stops at until it may go on.
const STOP: &str = "stop";

/// What the tasks of an instance have done.
#[derive(Default)]
struct Seen {
    /// How often the task of a partition was made, and how many records it has had.
    made: BTreeMap<i32, usize>,
    processed: BTreeMap<i32, usize>,
    is_stopped: bool,
    may_go_on: bool,
}

#[derive(Clone, Default)]
struct Shared(Arc<(Mutex<Seen>, Condvar)>);

impl Shared {
    fn with<T>(&self, look: impl FnOnce(&mut Seen) -> T) -> T {
        look(&mut self.0.0.lock().unwrap())
    }

    fn go_on(&self) {
        self.with(|seen| seen.may_go_on = true);
        self.0.1.notify_all();
    }
}

struct Tells(Shared);

impl FixedKeyProcessor for Tells {
    type K = String;
    type VIn = String;
    type VOut = String;

    fn init(&mut self, ctx: &mut FixedKeyContext<'_, '_, Self>) -> vltava::streams::Result<()> {
        let partition = ctx.task_id().partition;
        self.0.with(|seen| *seen.made.entry(partition).or_default() += 1);
        Ok(())
    }

    fn process(
        &mut self,
        record: FixedKeyRecord<String, String>,
        ctx: &mut FixedKeyContext<'_, '_, Self>,
    ) -> vltava::streams::Result<()> {
        let partition = ctx.task_id().partition;
        if record.value == STOP {
            let (seen, told) = &*self.0.0;
            let mut seen = seen.lock().unwrap();
            seen.is_stopped = true;
            drop(told.wait_while(seen, |seen| !seen.may_go_on).unwrap());
        }
        ctx.forward(record)?;
        self.0.with(|seen| *seen.processed.entry(partition).or_default() += 1);
        Ok(())
    }
}

struct Instance {
    streams: KafkaStreams,
    seen: Shared,
}

impl Instance {
    fn is_running(&self) -> bool {
        assert!(self.streams.failure().is_none(), "{:?}", self.streams.failure());
        self.streams.state() == State::Running
    }

    fn partitions(&self) -> BTreeSet<i32> {
        let threads = self.streams.metadata_for_local_threads().unwrap();
        threads.iter().flat_map(|thread| thread.active_tasks()).map(|task| task.task_id().partition).collect()
    }

    fn heartbeats(&self) -> f64 {
        let metrics = self.streams.metrics().unwrap();
        metrics.iter().filter(|(name, _)| name.name == "heartbeat-total").map(|(_, value)| value.as_f64()).sum()
    }
}

/// A broker with the topics, and what was written.
struct Ground {
    folder: tempfile::TempDir,
    address: String,
    guarantee: &'static str,
    runtime: tokio::runtime::Runtime,
    admin: Admin,
    producer: Producer,
    written: BTreeMap<i32, usize>,
    _broker: embedded::Broker,
}

impl Ground {
    fn new(guarantee: &'static str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let config = embedded::Config::default().property("group.initial.rebalance.delay.ms", "0");
        let broker = embedded::Broker::start(config).unwrap();
        let address = broker.bootstrap_servers().to_owned();
        let (admin, producer) = runtime.block_on(async {
            let admin = Admin::new(AdminConfig::from_properties([("bootstrap.servers", &address)]).unwrap()).unwrap();
            let topics = [NewTopic::new("in").partitions(PARTITIONS), NewTopic::new("out")];
            for (_, made) in admin.create_topics(topics).await {
                made.unwrap();
            }
            let config = ProducerConfig::from_properties([("bootstrap.servers", &address)]).unwrap();
            (admin, Producer::new(config).unwrap())
        });
        let (folder, written) = (tempfile::tempdir().unwrap(), BTreeMap::new());
        Ground { folder, address, guarantee, runtime, admin, producer, written, _broker: broker }
    }

    fn start(&self, name: &str) -> Instance {
        let (builder, seen) = (StreamsBuilder::new(), Shared::default());
        let shared = seen.clone();
        builder
            .stream::<String, String>("in")
            .process_values(move || Tells(shared.clone()))
            .group_by_key()
            .count_with(Materialized::named("counts"))
            .to_stream()
            .map_values(|count| count.unwrap_or(0).to_string())
            .to("out");
        let directory = self.folder.path().join(name);
        // A commit in the midst of a rebalance may meet its end, and exactly once tasks begin anew then: none is due here.
        let commit_interval = if self.guarantee == "at_least_once" { "100" } else { "20000" };
        let config = StreamsConfig::from_properties([
            ("application.id", "cooperative"),
            ("bootstrap.servers", self.address.as_str()),
            ("state.dir", directory.to_str().unwrap()),
            ("processing.guarantee", self.guarantee),
            ("commit.interval.ms", commit_interval),
            ("heartbeat.interval.ms", "100"),
            ("statestore.cache.max.bytes", "0"),
            // One is stopped in the midst of one.
            ("producer.transaction.timeout.ms", "120000"),
        ]);
        let streams = KafkaStreams::new(builder.build().unwrap(), config.unwrap()).unwrap();
        streams.start().unwrap();
        Instance { streams, seen }
    }

    fn write(&mut self, partitions: &BTreeSet<i32>, value: &str) {
        for partition in partitions {
            let key = partition.to_string();
            let record = ProducerRecord::new("in").partition(*partition).key(&key).value(value);
            self.runtime.block_on(async { self.producer.send(record).await.unwrap().await.unwrap() });
            *self.written.entry(*partition).or_default() += 1;
        }
    }

    /// Until these instances together have processed all that was written to these partitions.
    fn until_processed(&self, instances: &[&Instance], partitions: &BTreeSet<i32>) {
        await_that("what was written is processed", || {
            let of = |instance: &&Instance, partition: &i32| {
                instance.seen.with(|seen| seen.processed.get(partition).copied().unwrap_or(0))
            };
            let is_done = |partition: &i32| {
                let done: usize = instances.iter().map(|instance| of(instance, partition)).sum();
                done == self.written.get(partition).copied().unwrap_or(0)
            };
            partitions.iter().all(is_done)
        });
    }

    fn is_rebalancing(&self) -> bool {
        let described = self.runtime.block_on(self.admin.describe_consumer_groups(["cooperative"]));
        described.into_iter().all(|(_, group)| group.unwrap().state == "PreparingRebalance")
    }

    /// All that the application has written, by key.
    fn results(&self) -> BTreeMap<String, Vec<String>> {
        self.results_of(self.written.values().sum())
    }

    fn results_of(&self, total: usize) -> BTreeMap<String, Vec<String>> {
        self.runtime.block_on(async {
            let config = ConsumerConfig::from_properties([
                ("bootstrap.servers", self.address.as_str()),
                ("isolation.level", "read_committed"),
                ("auto.offset.reset", "earliest"),
            ]);
            let consumer = Consumer::new(config.unwrap()).unwrap();
            consumer.assign([TopicPartition::new("out", 0)]).unwrap();
            let (mut results, mut count) = (BTreeMap::<String, Vec<String>>::new(), 0);
            let deadline = Instant::now() + PATIENCE;
            while count < total {
                assert!(Instant::now() < deadline, "{count} results of {total}: {results:?}");
                for (_, record) in consumer.poll(Duration::from_millis(100)).await.unwrap().iter() {
                    let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap().to_vec()).unwrap();
                    results.entry(text(record.key())).or_default().push(text(record.value()));
                    count += 1;
                }
            }
            results
        })
    }
}

fn until_shared(instances: &[&Instance]) {
    await_that("all have their share", || {
        let shares: Vec<BTreeSet<i32>> = instances.iter().map(|instance| instance.partitions()).collect();
        let all: BTreeSet<i32> = shares.iter().flatten().copied().collect();
        let count: usize = shares.iter().map(BTreeSet::len).sum();
        instances.iter().all(|instance| instance.is_running())
            && shares.iter().all(|share| !share.is_empty())
            && count == PARTITIONS as usize
            && all.len() == count
    });
}

/// What each has had before and has still was never closed meanwhile. (What that is depends on the ids of the processes.)
fn assert_stayed(instances: &[&Instance], before: &[(BTreeSet<i32>, BTreeMap<i32, usize>)]) {
    for (instance, (had, made)) in instances.iter().zip(before) {
        for partition in instance.partitions().intersection(had) {
            assert_eq!(instance.seen.with(|seen| seen.made[partition]), made[partition], "task {partition} was closed");
        }
    }
}

fn shares(instances: &[&Instance]) -> Vec<(BTreeSet<i32>, BTreeMap<i32, usize>)> {
    instances.iter().map(|instance| (instance.partitions(), instance.seen.with(|seen| seen.made.clone()))).collect()
}

fn tasks_that_stay_never_stop(guarantee: &'static str) {
    let mut ground = Ground::new(guarantee);
    let all: BTreeSet<i32> = (0..PARTITIONS).collect();
    let [one, other, slow] = ["one", "other", "slow"].map(|name| ground.start(name));
    let three = [&one, &other, &slow];
    until_shared(&three);
    ground.write(&all, "x");
    ground.until_processed(&three, &all);

    // One stands still in its processor, so that the rebalance that a fourth brings waits for it.
    ground.write(&slow.partitions().into_iter().take(1).collect(), STOP);
    await_that("it stands still", || slow.seen.with(|seen| seen.is_stopped));
    let before = shares(&[&one, &other]);
    let added = ground.start("added");
    await_that("the group rebalances", || ground.is_rebalancing());
    let stay: BTreeSet<i32> = before.iter().flat_map(|(had, _)| had).copied().collect();
    let heartbeats = || one.heartbeats() + other.heartbeats();
    let (mut known, mut since, mut rounds) = (heartbeats(), Instant::now(), 0);
    let deadline = Instant::now() + PATIENCE;
    while since.elapsed() < QUIET || rounds < 5 {
        assert!(Instant::now() < deadline, "they go on sending heartbeats, and do not join");
        ground.write(&stay, "x");
        ground.until_processed(&[&one, &other], &stay);
        rounds += 1;
        assert!(ground.is_rebalancing() && one.is_running() && other.is_running());
        let now = heartbeats();
        if now > known {
            (known, since, rounds) = (now, Instant::now(), 0);
        }
    }
    assert_eq!(shares(&[&one, &other]), before);

    slow.seen.go_on();
    let four = [&one, &other, &slow, &added];
    until_shared(&four);
    assert_stayed(&[&one, &other], &before);
    ground.write(&all, "x");
    ground.until_processed(&four, &all);

    // One goes.
    let before = shares(&[&other, &slow, &added]);
    one.streams.close(PATIENCE).unwrap();
    until_shared(&[&other, &slow, &added]);
    assert_stayed(&[&other, &slow, &added], &before);
    ground.write(&all, "x");
    ground.until_processed(&four, &all);
    for instance in [&other, &slow, &added] {
        instance.streams.close(PATIENCE).unwrap();
    }
    for (key, results) in ground.results() {
        let count = ground.written[&key.parse().unwrap()];
        let expected: Vec<String> = (1..=count).map(|count| count.to_string()).collect();
        assert_eq!(results, expected, "of key {key}");
    }
}

#[test]
fn tasks_that_stay_never_stop_at_least_once() {
    tasks_that_stay_never_stop("at_least_once");
}

#[test]
fn tasks_that_stay_never_stop_exactly_once() {
    tasks_that_stay_never_stop("exactly_once_v2");
}

/// What was processed since the join is committed once the rebalance is over, and nothing of it is done again.
#[test]
fn an_instance_that_is_closed_in_the_midst_of_a_rebalance_commits() {
    let mut ground = Ground::new("at_least_once");
    let all: BTreeSet<i32> = (0..PARTITIONS).collect();
    let [one, slow] = ["one", "slow"].map(|name| ground.start(name));
    until_shared(&[&one, &slow]);
    ground.write(&slow.partitions().into_iter().take(1).collect(), STOP);
    await_that("it stands still", || slow.seen.with(|seen| seen.is_stopped));
    let added = ground.start("added");
    let stay = one.partitions();
    let (mut known, mut since) = (one.heartbeats(), Instant::now());
    await_that("it waits for the answer to its join", || {
        let now = one.heartbeats();
        if now > known || !ground.is_rebalancing() {
            (known, since) = (now, Instant::now());
        }
        since.elapsed() > QUIET
    });
    ground.write(&stay, "x");
    ground.until_processed(&[&one], &stay);
    std::thread::scope(|scope| {
        let closing = scope.spawn(|| one.streams.close(PATIENCE));
        await_that("it closes", || one.streams.state() == State::PendingShutdown);
        slow.seen.go_on();
        closing.join().unwrap().unwrap();
    });
    until_shared(&[&slow, &added]);
    ground.write(&all, "x");
    ground.until_processed(&[&one, &slow, &added], &all);
    for instance in [&slow, &added] {
        instance.streams.close(PATIENCE).unwrap();
    }
    for (key, results) in ground.results() {
        let count = ground.written[&key.parse().unwrap()];
        let expected: Vec<String> = (1..=count).map(|count| count.to_string()).collect();
        assert_eq!(results, expected, "of key {key}");
    }
}

/// It stays where it is, and is made again: what was read and not processed is read again, and nothing else.
#[test]
fn a_task_that_gets_another_partition_goes_on_behind_what_it_has_processed() {
    const RECORDS: usize = 3000;
    let ground = Ground::new("at_least_once");
    let builder = StreamsBuilder::new();
    builder
        .stream_pattern::<String, String>("log-.*")
        .peek(|_, _| std::thread::park_timeout(Duration::from_millis(1)))
        .to("out");
    let directory = ground.folder.path().join("one");
    let config = StreamsConfig::from_properties([
        ("application.id", "wider"),
        ("bootstrap.servers", ground.address.as_str()),
        ("state.dir", directory.to_str().unwrap()),
        ("heartbeat.interval.ms", "100"),
        ("metadata.max.age.ms", "200"),
    ]);
    let make = |topic: &str| {
        let made = ground.runtime.block_on(ground.admin.create_topics([NewTopic::new(topic)]));
        for (_, made) in made {
            made.unwrap();
        }
    };
    let send = |topic: &str, count: usize| {
        ground.runtime.block_on(async {
            for number in 0..count {
                let key = format!("{topic}-{number}");
                drop(ground.producer.send(ProducerRecord::new(topic).key(&key).value("x")).await.unwrap());
            }
            ground.producer.flush().await.unwrap();
        });
    };
    make("log-a");
    send("log-a", RECORDS);
    let streams = KafkaStreams::new(builder.build().unwrap(), config.unwrap()).unwrap();
    streams.start().unwrap();
    await_that("it has its task", || {
        let threads = streams.metadata_for_local_threads().unwrap();
        threads.iter().any(|thread| !thread.active_tasks().is_empty())
    });
    // It is in the midst of the first topic for some seconds.
    make("log-b");
    send("log-b", 1);
    let results = ground.results_of(RECORDS + 1);
    assert_eq!(results.len(), RECORDS + 1, "some are missing");
    assert!(results.values().all(|values| values.len() == 1), "some came twice");
    streams.close(PATIENCE).unwrap();
}
