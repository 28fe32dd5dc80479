//! The stores of a running application, asked from outside: on the embedded broker, with two threads and two
//! partitions, while records come in, and after a restart.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use vltava::{
    client::{Admin, AdminConfig, Producer, ProducerConfig, TopicPartition, admin::NewTopic, producer::ProducerRecord},
    embedded,
    streams::{
        Error, KafkaStreams, Materialized, State, StreamsBuilder, StreamsConfig, TimeWindows, Topology,
        query::{
            FailureReason, HostInfo, KeyQuery, Position, PositionBound, QueryableStoreTypes, RangeQuery,
            StateQueryRequest, StoreQueryParameters, ThreadState, TimestampedKeyQuery, WindowKeyQuery,
        },
        serdes::StringSerde,
    },
};

mod waiting;

use waiting::{PATIENCE, eventually};

const KEYS: usize = 20;

fn topology() -> Topology {
    let builder = StreamsBuilder::new();
    let grouped = builder.stream::<String, String>("in").group_by_key();
    grouped.count_with(Materialized::named("counts"));
    grouped
        .windowed_by(TimeWindows::of_size_with_no_grace(Duration::from_secs(10)))
        .count_with(Materialized::named("windows"));
    builder.build().unwrap()
}

fn start(broker: &str, directory: &Path) -> KafkaStreams {
    let config = StreamsConfig::from_properties([
        ("application.id", "asked"),
        ("bootstrap.servers", broker),
        ("state.dir", directory.to_str().unwrap()),
        ("num.stream.threads", "2"),
        ("application.server", "here:7070"),
        ("commit.interval.ms", "100"),
    ]);
    let streams = KafkaStreams::new(topology(), config.unwrap()).unwrap();
    streams.start().unwrap();
    assert!(streams.wait_for_state(|state| state == State::Running, PATIENCE), "{:?}", streams.failure());
    streams
}

fn key(number: usize) -> String {
    format!("key-{number}")
}

/// Writes every key `times` times at `time`; returns the last offsets.
fn write(runtime: &tokio::runtime::Runtime, broker: &str, times: usize, time: i64) -> Position {
    runtime.block_on(async {
        let config = ProducerConfig::from_properties([("bootstrap.servers", broker), ("linger.ms", "5")]);
        let producer = Producer::new(config.unwrap()).unwrap();
        let mut position = Position::empty();
        let mut sent = Vec::new();
        for _ in 0..times {
            for number in 0..KEYS {
                let key = key(number);
                let record = ProducerRecord::new("in").key(&key).value("x").timestamp(time);
                sent.push(producer.send(record).await.unwrap());
            }
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

#[test]
fn stores_answer_while_the_application_runs_and_after_a_restart() {
    let broker = embedded::Broker::start(embedded::Config::default()).unwrap();
    let address = broker.bootstrap_servers().to_owned();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let admin = Admin::new(AdminConfig::from_properties([("bootstrap.servers", &*address)]).unwrap()).unwrap();
        for (topic, made) in admin.create_topics([NewTopic::new("in").partitions(2)]).await {
            made.unwrap_or_else(|error| panic!("{topic}: {error}"));
        }
    });
    let directory = tempfile::tempdir().unwrap();
    let streams = start(&address, directory.path());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let time = i64::try_from(now.as_millis()).unwrap();
    let window = time - time % 10_000;
    let position = write(&runtime, &address, 3, time);

    // What a producer has written is there as soon as a store says it is as far.
    let at_least = |key: String, position: &Position| {
        StateQueryRequest::in_store("counts")
            .with_query(TimestampedKeyQuery::<String, i64>::with_key(key))
            .with_position_bound(PositionBound::at(position.clone()))
    };
    for number in 0..KEYS {
        let count = eventually("an answer", || {
            let answers = streams.query(&at_least(key(number), &position)).unwrap();
            let failed = answers.partition_results().values().filter_map(|result| result.failure_reason());
            assert!(failed.clone().all(|reason| reason == FailureReason::NotUpToBound));
            let all = failed.count() == 0 && answers.partition_results().len() == 2;
            all.then(|| answers.only_partition_result().unwrap().unwrap().result().unwrap().clone())
        });
        let count = count.unwrap();
        assert_eq!((count.value, count.timestamp), (3, time));
    }

    let counts = StoreQueryParameters::from_name_and_type("counts", QueryableStoreTypes::key_value_store());
    let view = streams.store(&counts).unwrap();
    let expected: BTreeMap<String, i64> = (0..KEYS).map(|number| (key(number), 3)).collect();
    assert_eq!(view.all().unwrap().into_iter().collect::<BTreeMap<_, _>>(), expected);
    assert_eq!(view.get(&key(7)).unwrap(), Some(3));
    assert_eq!(view.get(&"nobody".to_owned()).unwrap(), None);
    let windows = StoreQueryParameters::from_name_and_type("windows", QueryableStoreTypes::window_store());
    let windows = streams.store(&windows).unwrap();
    assert_eq!(windows.fetch(&key(7), window).unwrap(), Some(3));
    assert_eq!(windows.fetch_range(&key(7), window, window + 1).unwrap(), [(window, 3_i64)]);
    assert_eq!(windows.all().unwrap().len(), KEYS);
    let of_key = WindowKeyQuery::<String, i64>::with_key_and_window_start_range(key(3), window, window);
    let answers = streams.query(&StateQueryRequest::in_store("windows").with_query(of_key)).unwrap();
    assert!(answers.partition_results().values().any(|answer| answer.result() == Ok(&vec![(window, 3)])));

    // Each partition has its own rows.
    let range = || RangeQuery::<String, i64>::with_no_bounds();
    let rows = |partition| {
        let request = StateQueryRequest::in_store("counts").with_query(range()).with_partitions([partition]);
        let answers = streams.query(&request.require_active()).unwrap();
        let one = StoreQueryParameters::from_name_and_type("counts", QueryableStoreTypes::key_value_store());
        let viewed = streams.store(&one.with_partition(partition)).unwrap().all();
        (answers.into_partition_results().remove(&partition).unwrap().into_result(), viewed)
    };
    let (first, second) = (rows(0), rows(1));
    assert_eq!(first.0.as_ref().unwrap(), first.1.as_ref().unwrap());
    assert_eq!(first.0.unwrap().len() + second.0.unwrap().len(), KEYS);
    let (answer, viewed) = rows(5);
    assert_eq!(answer.unwrap_err().reason, FailureReason::NotPresent);
    assert!(matches!(*viewed.unwrap_err(), Error::InvalidStateStorePartition(_)));

    // What is wrong is said by name.
    let nothing =
        StoreQueryParameters::from_name_and_type("nothing", QueryableStoreTypes::key_value_store::<i64, i64>());
    assert!(matches!(*streams.store(&nothing).unwrap_err(), Error::UnknownStateStore(_)));
    let other = StoreQueryParameters::from_name_and_type("counts", QueryableStoreTypes::session_store::<String, i64>());
    let error = streams.store(&other).unwrap().fetch(&key(1)).unwrap_err();
    assert!(matches!(*error, Error::InvalidStateStore(_)), "{error}");
    let threads = streams.metadata_for_local_threads().unwrap();
    assert!(threads.iter().all(|thread| thread.thread_state() == ThreadState::Running));
    let read =
        threads.iter().flat_map(|thread| thread.active_tasks()).flat_map(|task| task.topic_partitions().cloned());
    let mut read: Vec<_> = read.collect();
    read.sort();
    assert_eq!(read, [TopicPartition::new("in", 0), TopicPartition::new("in", 1)]);

    // Of two threads of one instance both know where everything is.
    let instances = streams.streams_metadata_for_store("windows").unwrap();
    let here = HostInfo::new("here", 7070);
    assert_eq!(instances.iter().map(|instance| &instance.host_info).collect::<Vec<_>>(), [&here]);
    assert_eq!(instances[0].topic_partitions.iter().cloned().collect::<Vec<_>>(), read);
    for number in 0..KEYS {
        let found = streams.query_metadata_for_key("counts", &key(number), &StringSerde).unwrap().unwrap();
        assert_eq!(found.active_host.as_ref(), Some(&here));
        let one = StoreQueryParameters::from_name_and_type("counts", QueryableStoreTypes::key_value_store());
        let view = streams.store(&one.with_partition(found.partition)).unwrap();
        assert_eq!(view.get(&key(number)).unwrap(), Some(3_i64));
    }

    streams.close(PATIENCE).unwrap();
    assert!(matches!(*view.get(&key(7)).unwrap_err(), Error::StreamsStopped(_)));
    let request = StateQueryRequest::in_store("counts").with_query(KeyQuery::<String, i64>::with_key(key(1)));
    assert!(matches!(*streams.query(&request).unwrap_err(), Error::StreamsStopped(_)));
    drop(streams);
    assert!(matches!(*view.get(&key(7)).unwrap_err(), Error::StreamsStopped(_)));

    // The position is that of the restored stores.
    let streams = start(&address, directory.path());
    let answers = streams.query(&at_least(key(7), &position)).unwrap();
    let count = answers.only_partition_result().unwrap().unwrap().result().unwrap().clone().unwrap();
    assert_eq!(count.value, 3);
    streams.close(PATIENCE).unwrap();
}

#[test]
fn an_application_that_was_not_started_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let config = StreamsConfig::from_properties([
        ("application.id", "asked"),
        ("bootstrap.servers", "127.0.0.1:9"),
        ("state.dir", directory.path().to_str().unwrap()),
    ]);
    let streams = KafkaStreams::new(topology(), config.unwrap()).unwrap();
    let request = StateQueryRequest::in_store("counts").with_query(KeyQuery::<String, i64>::with_key(key(1)));
    let error = streams.query(&request).unwrap_err();
    assert!(matches!(*error, Error::StreamsNotStarted(_)) && error.is_retriable());
    let counts =
        StoreQueryParameters::from_name_and_type("counts", QueryableStoreTypes::key_value_store::<String, i64>());
    assert!(matches!(*streams.store(&counts).unwrap_err(), Error::StreamsNotStarted(_)));
}
