//! What queries see of an application under exactly-once, on the embedded broker: what is committed, or what is not yet,
//! where that is asked for (KIP-892); and nothing of a transaction that has come to nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use vltava::{
    client::{Admin, AdminConfig, Producer, ProducerConfig, admin::NewTopic, producer::ProducerRecord},
    embedded,
    streams::{
        Context, KafkaStreams, Materialized, Processor, Record, Result, State, StreamThreadExceptionResponse,
        StreamsBuilder, StreamsConfig, TimeWindows, Topology,
        query::{
            IsolationLevel::{self, ReadCommitted, ReadUncommitted},
            KeyQuery, QueryableStoreTypes, StateQueryRequest, StoreQueryParameters, WindowKeyQuery,
        },
    },
};

mod waiting;

use waiting::{PATIENCE, eventually};

const WINDOW_MS: i64 = 86_400_000;

/// Commits when it is told to, and fails the first time it is told to.
struct Commands(Arc<AtomicUsize>);

impl Processor for Commands {
    type KIn = String;
    type VIn = String;
    type KOut = ();
    type VOut = ();

    fn process(&mut self, record: Record<String, String>, ctx: &mut Context<'_, Self>) -> Result<()> {
        match record.value.as_str() {
            "commit" => ctx.commit(),
            _ if self.0.fetch_add(1, Ordering::SeqCst) == 0 => panic!("told to"),
            _ => {}
        }
        Ok(())
    }
}

fn topology(failures: &Arc<AtomicUsize>) -> Topology {
    let (builder, failures) = (StreamsBuilder::new(), failures.clone());
    let input = builder.stream::<String, String>("in");
    let counted = input.filter(|_, value| value == "x").group_by_key();
    counted.count_with(Materialized::named("counts"));
    let windows = TimeWindows::of_size_with_no_grace(Duration::from_secs(86_400));
    counted.windowed_by(windows).count_with(Materialized::named("windows"));
    input.filter(|_, value| value != "x").process(move || Commands(failures.clone()));
    builder.build().unwrap()
}

struct Application {
    streams: KafkaStreams,
    window: i64,
}

impl Application {
    /// The count of the key, and that of its window; `None` where there is no answer.
    fn counts(&self, level: Option<IsolationLevel>) -> Option<(Option<i64>, Option<i64>)> {
        let key = "k".to_owned();
        let mut of_key =
            StateQueryRequest::in_store("counts").with_query(KeyQuery::<String, i64>::with_key(key.clone()));
        let of_window = WindowKeyQuery::<String, i64>::with_key_and_window_start_range(key, self.window, self.window);
        let mut of_window = StateQueryRequest::in_store("windows").with_query(of_window);
        if let Some(level) = level {
            (of_key, of_window) = (of_key.with_isolation_level(level), of_window.with_isolation_level(level));
        }
        let count = self.streams.query(&of_key).ok()?.into_partition_results().remove(&0)?.into_result().ok()?;
        let windows = self.streams.query(&of_window).ok()?.into_partition_results().remove(&0)?.into_result().ok()?;
        Some((count, windows.first().map(|(_, count)| *count)))
    }

    /// The same as a view of the stores has it.
    fn viewed(&self) -> Option<(Option<i64>, Option<i64>)> {
        let key = "k".to_owned();
        let counts = StoreQueryParameters::from_name_and_type("counts", QueryableStoreTypes::key_value_store());
        let windows = StoreQueryParameters::from_name_and_type("windows", QueryableStoreTypes::window_store());
        let count = self.streams.store(&counts).ok()?.get(&key).ok()?;
        Some((count, self.streams.store(&windows).ok()?.fetch(&key, self.window).ok()?))
    }

    /// Waits until what is not committed is so many, while what is committed is never anything else than `committed`.
    fn wait_for_uncommitted(&self, count: i64, committed: Option<i64>) {
        let as_committed = |answer: Option<(Option<i64>, Option<i64>)>| {
            assert!(answer.is_none_or(|answer| answer == (committed, committed)), "{answer:?}, and not {committed:?}");
            answer.is_some()
        };
        eventually("an answer", || {
            let uncommitted = self.counts(Some(ReadUncommitted));
            as_committed(self.counts(Some(ReadCommitted)));
            as_committed(self.counts(None));
            as_committed(self.viewed());
            (uncommitted? == (Some(count), Some(count))).then_some(())
        });
        assert!(eventually("an answer", || as_committed(self.counts(Some(ReadCommitted))).then_some(true)));
        assert!(eventually("an answer", || as_committed(self.viewed()).then_some(true)));
    }

    fn wait_for_committed(&self, count: i64) {
        for level in [Some(ReadCommitted), None, Some(ReadUncommitted)] {
            eventually("an answer", || (self.counts(level)? == (Some(count), Some(count))).then_some(()));
        }
        eventually("an answer", || (self.viewed()? == (Some(count), Some(count))).then_some(()));
    }
}

fn start(broker: &str, directory: &Path, stores: &str, cache: &str, failures: &Arc<AtomicUsize>) -> KafkaStreams {
    let config = StreamsConfig::from_properties([
        ("application.id", "committed"),
        ("bootstrap.servers", broker),
        ("state.dir", directory.to_str().unwrap()),
        ("processing.guarantee", "exactly_once_v2"),
        ("dsl.store.suppliers.class", stores),
        ("statestore.cache.max.bytes", cache),
        // Only when it is asked for.
        ("commit.interval.ms", "600000"),
        ("producer.transaction.timeout.ms", "900000"),
    ]);
    let streams = KafkaStreams::new(topology(failures), config.unwrap()).unwrap();
    streams.set_uncaught_exception_handler(|_| StreamThreadExceptionResponse::ReplaceThread);
    streams.start().unwrap();
    assert!(streams.wait_for_state(|state| state == State::Running, PATIENCE), "{:?}", streams.failure());
    streams
}

#[test]
fn queries_see_what_is_committed_and_where_it_is_asked_for_what_is_not() {
    for (stores, cache) in [("rocksdb", "0"), ("rocksdb", "1000000"), ("in_memory", "0"), ("in_memory", "1000000")] {
        let broker = embedded::Broker::start(embedded::Config::default()).unwrap();
        let address = broker.bootstrap_servers().to_owned();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let producer = runtime.block_on(async {
            let admin = Admin::new(AdminConfig::from_properties([("bootstrap.servers", &*address)]).unwrap()).unwrap();
            for (topic, made) in admin.create_topics([NewTopic::new("in")]).await {
                made.unwrap_or_else(|error| panic!("{topic}: {error}"));
            }
            Producer::new(ProducerConfig::from_properties([("bootstrap.servers", &*address)]).unwrap()).unwrap()
        });
        let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
        let write = |values: &[&str]| {
            runtime.block_on(async {
                for value in values {
                    let record = ProducerRecord::new("in").key("k").value(*value).timestamp(now);
                    producer.send(record).await.unwrap().await.unwrap();
                }
            });
        };
        let (directory, failures) = (tempfile::tempdir().unwrap(), Arc::new(AtomicUsize::new(0)));
        let streams = start(&address, directory.path(), stores, cache, &failures);
        let application = Application { streams, window: now - now % WINDOW_MS };

        write(&["x", "x"]);
        application.wait_for_uncommitted(2, None);
        write(&["commit"]);
        application.wait_for_committed(2);
        write(&["x"]);
        application.wait_for_uncommitted(3, Some(2));

        // The transaction is aborted, and what was read in it is read again.
        write(&["fail"]);
        eventually("an answer", || (failures.load(Ordering::SeqCst) == 2).then_some(()));
        application.wait_for_uncommitted(3, Some(2));
        write(&["x"]);
        application.wait_for_uncommitted(4, Some(2));
        write(&["commit"]);
        application.wait_for_committed(4);
        application.streams.close(PATIENCE).unwrap();
    }
}
