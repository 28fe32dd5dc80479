//! `num.standby.replicas`: two instances follow each other's stores, answer for them, and take over without a restoration. On
//! the embedded broker, with stores on disk and in memory, at least once and exactly once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test")]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use vltava::{
    client::{Admin, AdminConfig, Producer, ProducerConfig, TopicPartition, admin::NewTopic, producer::ProducerRecord},
    embedded,
    streams::{
        KafkaStreams, LoadedBatch, Materialized, StandbyUpdateListener, State, StateRestoreListener, StreamsBuilder,
        StreamsConfig, SuspendReason, SuspendedUpdate, TimeWindows,
        query::{
            FailureReason, HostInfo, KeyQuery, Position, PositionBound, QueryableStoreTypes, StateQueryRequest,
            StoreQueryParameters,
        },
        serdes::StringSerde,
    },
};

mod waiting;

use waiting::{PATIENCE, eventually};

const PARTITIONS: i32 = 4;
const KEYS: usize = 100;
/// Each key is written so often at a time.
const TIMES: usize = 5;

/// What an instance was told.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Events>>);

#[derive(Default)]
struct Events {
    /// Records that were restored, and restorations.
    restored: u64,
    loaded: u64,
    /// Where standbys have begun.
    started: Vec<(TopicPartition, i64)>,
    suspended: Vec<(TopicPartition, SuspendedUpdate)>,
}

impl StateRestoreListener for Told {
    fn on_batch_restored(&self, _changelog: &TopicPartition, _store: &str, _batch_end_offset: i64, restored: u64) {
        self.0.lock().unwrap().restored += restored;
    }
}

impl StandbyUpdateListener for Told {
    fn on_update_start(&self, changelog: &TopicPartition, _store: &str, starting_offset: i64) {
        self.0.lock().unwrap().started.push((changelog.clone(), starting_offset));
    }
    fn on_batch_loaded(&self, _changelog: &TopicPartition, _store: &str, batch: &LoadedBatch) {
        assert!(batch.current_end_offset >= batch.batch_end_offset);
        self.0.lock().unwrap().loaded += batch.batch_size;
    }
    fn on_update_suspended(&self, changelog: &TopicPartition, _store: &str, suspended: &SuspendedUpdate) {
        self.0.lock().unwrap().suspended.push((changelog.clone(), suspended.clone()));
    }
}

/// A broker with the topic `in`, and instances of one application.
struct Ground {
    folder: tempfile::TempDir,
    address: String,
    runtime: tokio::runtime::Runtime,
    describe: fn(&StreamsBuilder),
    settings: Vec<(&'static str, &'static str)>,
    _broker: embedded::Broker,
}

struct Instance {
    streams: KafkaStreams,
    told: Told,
}

impl Ground {
    fn new(describe: fn(&StreamsBuilder), settings: &[(&'static str, &'static str)]) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let broker = embedded::Broker::start(embedded::Config::default()).unwrap();
        let address = broker.bootstrap_servers().to_owned();
        let folder = tempfile::tempdir().unwrap();
        let ground = Ground { folder, address, runtime, describe, settings: settings.to_vec(), _broker: broker };
        ground.runtime.block_on(async {
            let admin = Admin::new(AdminConfig::from_properties([("bootstrap.servers", &ground.address)]).unwrap());
            for (_, made) in admin.unwrap().create_topics([NewTopic::new("in").partitions(PARTITIONS)]).await {
                made.unwrap();
            }
        });
        ground
    }

    /// Each key `TIMES` times; how far the partitions are then.
    fn write(&self) -> Position {
        self.runtime.block_on(async {
            let config = ProducerConfig::from_properties([("bootstrap.servers", &*self.address), ("linger.ms", "5")]);
            let producer = Producer::new(config.unwrap()).unwrap();
            let (mut position, mut sent) = (Position::empty(), Vec::new());
            for number in (0..KEYS).cycle().take(KEYS * TIMES) {
                let key = key(number);
                sent.push(producer.send(ProducerRecord::new("in").key(&key).value("x")).await.unwrap());
            }
            producer.flush().await.unwrap();
            for sent in sent {
                let at = sent.await.unwrap();
                position = position.with_component("in", at.partition, at.offset.unwrap());
            }
            producer.close(Duration::from_secs(5)).await.unwrap();
            position
        })
    }

    fn start(&self, name: &str) -> Instance {
        let builder = StreamsBuilder::new();
        (self.describe)(&builder);
        let directory = self.folder.path().join(name);
        let server = format!("{name}:7070");
        let settings = [
            ("application.id", "counting"),
            ("bootstrap.servers", &self.address),
            ("state.dir", directory.to_str().unwrap()),
            ("application.server", &server),
            ("num.standby.replicas", "1"),
            ("num.stream.threads", "2"),
            ("commit.interval.ms", "100"),
            // Standbys are in use.
            ("state.cleanup.delay.ms", "0"),
        ];
        let config = StreamsConfig::from_properties(settings.into_iter().chain(self.settings.iter().copied()));
        let config = config.unwrap();
        let streams = KafkaStreams::new(builder.build_with(&config).unwrap(), config).unwrap();
        let told = Told::default();
        streams.set_global_state_restore_listener(told.clone());
        streams.set_standby_update_listener(told.clone());
        streams.start().unwrap();
        Instance { streams, told }
    }
}

fn counts(builder: &StreamsBuilder) {
    let grouped = builder.stream::<String, String>("in").group_by_key();
    grouped.count_with(Materialized::named("counts"));
    grouped
        .windowed_by(TimeWindows::of_size_with_no_grace(Duration::from_secs(3600)))
        .count_with(Materialized::named("windows"));
}

fn key(number: usize) -> String {
    format!("key-{number}")
}

impl Instance {
    fn is_running(&self) -> bool {
        assert!(self.streams.failure().is_none(), "{:?}", self.streams.failure());
        self.streams.state() == State::Running
    }

    /// The partitions of the active tasks and of the standbys.
    fn partitions(&self) -> [BTreeSet<i32>; 2] {
        let threads = self.streams.metadata_for_local_threads().unwrap();
        let partition = |task: &vltava::streams::query::TaskMetadata| task.task_id().partition;
        let active = threads.iter().flat_map(|thread| thread.active_tasks()).map(partition).collect();
        [active, threads.iter().flat_map(|thread| thread.standby_tasks()).map(partition).collect()]
    }

    /// These stores of every partition are here, and have all.
    fn has_all(&self, stores: &[&str]) -> bool {
        let Ok(lags) = self.streams.all_local_store_partition_lags() else { return false };
        stores.iter().all(|store| {
            let lags = lags.get(*store);
            lags.is_some_and(|lags| lags.len() == PARTITIONS as usize && lags.values().all(|lag| lag.offset_lag() == 0))
        })
    }

    fn counts(&self, stale: bool) -> Option<BTreeMap<String, i64>> {
        let kind = QueryableStoreTypes::key_value_store::<String, i64>();
        let mut parameters = StoreQueryParameters::from_name_and_type("counts", kind);
        if stale {
            parameters = parameters.enable_stale_stores();
        }
        let view = self.streams.store(&parameters).ok()?;
        Some(view.all().ok()?.into_iter().collect())
    }

    fn answer(
        &self,
        partition: i32,
        query: StateQueryRequest<KeyQuery<String, i64>>,
    ) -> Result<Option<i64>, FailureReason> {
        let answers = self.streams.query(&query.with_partitions([partition])).unwrap();
        let answer = &answers.partition_results()[&partition];
        match answer.failure_reason() {
            Some(reason) => Err(reason),
            None => Ok(answer.result().copied().unwrap_or_default()),
        }
    }
}

/// Waits until both have two tasks, and standbys of the others.
fn until_shared(both: [&Instance; 2]) {
    eventually("both have two tasks, and standbys of the others", || {
        both.iter()
            .all(|instance| {
                let [active, standbys] = instance.partitions();
                instance.is_running() && active.len() == 2 && standbys.len() == 2 && active.is_disjoint(&standbys)
            })
            .then_some(())
    });
}

fn all_counted(times: usize) -> BTreeMap<String, i64> {
    (0..KEYS).map(|number| (key(number), i64::try_from(times * TIMES).unwrap())).collect()
}

fn take_over(settings: &[(&'static str, &'static str)]) {
    let ground = Ground::new(counts, settings);
    let [one, other] = ["one", "other"].map(|name| ground.start(name));
    let both = [&one, &other];
    // Otherwise the first may have done all, and its standbys have nothing to load.
    until_shared(both);
    let position = ground.write();
    assert!(one.streams.wait_until_caught_up(PATIENCE).unwrap());
    eventually("both have all", || both.iter().all(|instance| instance.has_all(&["counts", "windows"])).then_some(()));

    // Who has nothing active of a partition answers for it, if that will do.
    for instance in both {
        assert_eq!(instance.counts(true).unwrap(), all_counted(1));
        assert!(instance.counts(false).unwrap().len() < KEYS);
        let [active, standbys] = instance.partitions();
        for number in 0..KEYS {
            let at = instance.streams.query_metadata_for_key("counts", &key(number), &StringSerde).unwrap().unwrap();
            let hosts: BTreeSet<_> = at.active_host.iter().chain(&at.standby_hosts).map(HostInfo::host).collect();
            assert_eq!(hosts, ["one", "other"].into());
            let is_standby = standbys.contains(&at.partition);
            assert_ne!(active.contains(&at.partition), is_standby);
            let query = || StateQueryRequest::in_store("counts").with_query(KeyQuery::with_key(key(number)));
            assert_eq!(instance.answer(at.partition, query()), Ok(Some(TIMES as i64)));
            let required = instance.answer(at.partition, query().require_active());
            assert_eq!(required, if is_standby { Err(FailureReason::NotActive) } else { Ok(Some(TIMES as i64)) });
            let bound = PositionBound::at(position.clone());
            eventually("it is as far as what was written", || {
                let answer = instance.answer(at.partition, query().with_position_bound(bound.clone()));
                assert!(matches!(answer, Ok(Some(_)) | Err(FailureReason::NotUpToBound)), "{answer:?}");
                answer.ok()
            });
        }
        for metadata in instance.streams.streams_metadata_for_store("counts").unwrap() {
            assert!(metadata.standby_state_store_names.contains("windows"));
            assert_eq!((metadata.topic_partitions.len(), metadata.standby_topic_partitions.len()), (2, 2));
        }
        assert!(instance.told.0.lock().unwrap().loaded >= KEYS as u64 / 4);
    }

    let restored = other.told.0.lock().unwrap().restored;
    drop(one);
    let all: BTreeSet<i32> = (0..PARTITIONS).collect();
    eventually("it has taken over", || (other.partitions()[0] == all && other.is_running()).then_some(()));
    {
        let events = other.told.0.lock().unwrap();
        assert_eq!(events.restored, restored, "what a standby has is not restored");
        let promoted = events.suspended.iter().filter(|(_, suspended)| suspended.reason == SuspendReason::Promoted);
        let promoted: BTreeSet<_> = promoted.map(|(changelog, _)| changelog).collect();
        assert!(promoted.len() >= 4, "two stores of two tasks: {promoted:?}");
    }
    assert_eq!(other.counts(false).unwrap(), all_counted(1));
    ground.write();
    assert!(other.streams.wait_until_caught_up(PATIENCE).unwrap());
    assert_eq!(other.counts(false).unwrap(), all_counted(2));

    // The first comes back: what goes to it stays a standby here, from where the task was.
    let began = other.told.0.lock().unwrap().started.len();
    let one = ground.start("one");
    let both = [&one, &other];
    until_shared(both);
    eventually("both have all again", || {
        both.iter().all(|instance| instance.has_all(&["counts", "windows"])).then_some(())
    });
    let starts = other.told.0.lock().unwrap().started[began..].to_vec();
    assert!(starts.len() >= 4 && starts.iter().all(|(_, offset)| *offset > 0), "{starts:?}");
    assert_eq!(one.counts(true).unwrap(), all_counted(2));
    ground.write();
    assert!(one.streams.wait_until_caught_up(PATIENCE).unwrap());
    for instance in both {
        eventually("the counts are exact", || (instance.counts(true)? == all_counted(3)).then_some(()));
        assert!(instance.streams.close(PATIENCE).is_ok());
    }
}

#[test]
fn stores_on_disk_are_taken_over() {
    take_over(&[]);
}

#[test]
fn stores_in_memory_are_taken_over() {
    take_over(&[("dsl.store.suppliers.class", "in_memory")]);
}

#[test]
fn stores_on_disk_are_taken_over_exactly_once() {
    take_over(&[("processing.guarantee", "exactly_once_v2")]);
}

#[test]
fn stores_in_memory_are_taken_over_exactly_once() {
    take_over(&[("processing.guarantee", "exactly_once_v2"), ("dsl.store.suppliers.class", "in_memory")]);
}

/// It is followed up to what was committed of it.
#[test]
fn a_source_topic_that_is_a_changelog_is_taken_over() {
    fn table(builder: &StreamsBuilder) {
        builder.table_with::<String, String>(Materialized::named("table"), "in");
    }
    let ground = Ground::new(table, &[("topology.optimization", "all")]);
    let [one, other] = ["one", "other"].map(|name| ground.start(name));
    until_shared([&one, &other]);
    ground.write();
    assert!(one.streams.wait_until_caught_up(PATIENCE).unwrap());
    eventually("it has all", || other.has_all(&["table"]).then_some(()));
    let restored = other.told.0.lock().unwrap().restored;
    drop(one);
    let all: BTreeSet<i32> = (0..PARTITIONS).collect();
    eventually("it has taken over", || (other.partitions()[0] == all && other.is_running()).then_some(()));
    assert_eq!(other.told.0.lock().unwrap().restored, restored, "what a standby has is not restored");
    let kind = QueryableStoreTypes::key_value_store::<String, String>();
    let view = other.streams.store(&StoreQueryParameters::from_name_and_type("table", kind)).unwrap();
    assert_eq!(view.all().unwrap().len(), KEYS);
}
