//! `group.protocol=streams` on the embedded broker: instances share tasks that the coordinator assigns, with internal topics that
//! it makes, and meet what it says of the group.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test")]

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use vltava::{
    client::{
        Admin, AdminConfig, Consumer, ConsumerConfig, Producer, ProducerConfig, TopicPartition, admin::NewTopic,
        producer::ProducerRecord,
    },
    embedded,
    streams::{
        Error, JoinWindows, KafkaStreams, Materialized, State, StreamThreadExceptionResponse, StreamsBuilder,
        StreamsConfig, query::HostInfo, serdes::StringSerde,
    },
};

const PATIENCE: Duration = Duration::from_secs(60);
const PARTITIONS: i32 = 4;
const WORDS: usize = 40;

/// A broker, and what instances of one application keep.
struct Ground {
    folder: tempfile::TempDir,
    address: String,
    runtime: tokio::runtime::Runtime,
    _broker: embedded::Broker,
}

impl Ground {
    fn new(topics: &[(&str, i32)]) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let beats = embedded::Config::default()
            .property("group.streams.min.heartbeat.interval.ms", "200")
            .property("group.streams.heartbeat.interval.ms", "200")
            .property("group.streams.num.standby.replicas", "1");
        let broker = embedded::Broker::start(beats).unwrap();
        let address = broker.bootstrap_servers().to_owned();
        let ground = Ground { folder: tempfile::tempdir().unwrap(), address, runtime, _broker: broker };
        ground.runtime.block_on(async {
            let config = AdminConfig::from_properties([("bootstrap.servers", &ground.address)]).unwrap();
            let topics = topics.iter().map(|(topic, count)| NewTopic::new(*topic).partitions(*count));
            for (_, made) in Admin::new(config).unwrap().create_topics(topics).await {
                made.unwrap();
            }
        });
        ground
    }

    fn config(&self, name: &str, more: &[(&str, &str)]) -> StreamsConfig {
        let directory = self.folder.path().join(name);
        let server = format!("{name}:7070");
        let settings = [
            ("application.id", "app"),
            ("bootstrap.servers", &self.address),
            ("state.dir", directory.to_str().unwrap()),
            ("application.server", &server),
            ("num.stream.threads", "2"),
            ("commit.interval.ms", "100"),
            ("group.protocol", "streams"),
        ];
        StreamsConfig::from_properties(settings.into_iter().chain(more.iter().copied())).unwrap()
    }

    fn start(&self, name: &str, describe: fn(&StreamsBuilder), more: &[(&str, &str)]) -> KafkaStreams {
        let builder = StreamsBuilder::new();
        describe(&builder);
        let config = self.config(name, more);
        let streams = KafkaStreams::new(builder.build_with(&config).unwrap(), config).unwrap();
        streams.start().unwrap();
        streams
    }

    /// Each word once.
    fn write(&self) {
        self.runtime.block_on(async {
            let config = ProducerConfig::from_properties([("bootstrap.servers", &*self.address), ("linger.ms", "0")]);
            let producer = Producer::new(config.unwrap()).unwrap();
            for (number, partition) in (0..WORDS).zip((0..PARTITIONS).cycle()) {
                let word = word(number);
                let mut record = ProducerRecord::new("in").value(&word);
                record.partition = Some(partition);
                producer.send(record).await.unwrap().await.unwrap();
            }
            producer.close(Duration::from_secs(5)).await.unwrap();
        });
    }

    /// Reads what is committed until every word has this count; all counts by word, in their order.
    fn read_until(&self, last: i64) -> BTreeMap<String, Vec<i64>> {
        self.runtime.block_on(async {
            let settings = [("bootstrap.servers", &*self.address), ("isolation.level", "read_committed")];
            let consumer = Consumer::new(ConsumerConfig::from_properties(settings).unwrap()).unwrap();
            consumer.assign((0..PARTITIONS).map(|partition| TopicPartition::new("out", partition))).unwrap();
            consumer.seek_to_beginning(&[]).unwrap();
            let (mut counts, begun) = (BTreeMap::<String, Vec<i64>>::new(), Instant::now());
            loop {
                for (_, record) in consumer.poll(Duration::from_millis(100)).await.unwrap().iter() {
                    let word = String::from_utf8(record.key().unwrap().to_vec()).unwrap();
                    let count: [u8; 8] = record.value().unwrap().try_into().unwrap();
                    counts.entry(word).or_default().push(i64::from_be_bytes(count));
                }
                if counts.len() == WORDS && counts.values().all(|counts| counts.last() == Some(&last)) {
                    return counts;
                }
                assert!(begun.elapsed() < PATIENCE, "{counts:?} and not {last} each");
            }
        })
    }
}

fn word(number: usize) -> String {
    format!("w{number}")
}

/// By way of a repartition topic.
fn count(builder: &StreamsBuilder) {
    let words = builder.stream::<Option<String>, String>("in").group_by(|_, word| word.clone());
    words.count_with(Materialized::named("counts")).to_stream().to("out");
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    // Nobody tells of it, so this polls a condition.
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The active tasks and the standbys of an instance.
fn tasks(streams: &KafkaStreams) -> (usize, usize) {
    let threads = streams.metadata_for_local_threads().unwrap();
    let active = threads.iter().map(|thread| thread.active_tasks().len()).sum();
    (active, threads.iter().map(|thread| thread.standby_tasks().len()).sum())
}

fn instances_share(guarantee: &str) {
    let ground = Ground::new(&[("in", PARTITIONS), ("out", PARTITIONS)]);
    let settings = [("processing.guarantee", guarantee)];
    let first = ground.start("first", count, &settings);
    ground.write();
    ground.read_until(1);
    assert_eq!(tasks(&first), (8, 0));

    let second = ground.start("second", count, &settings);
    // The tasks of the repartition topic have stores, and with them standbys.
    wait_until("tasks and standbys are shared", || {
        let (one, other) = (tasks(&first), tasks(&second));
        (one.0, other.0, one.1 + other.1) == (4, 4, 4)
    });
    ground.write();
    ground.read_until(2);
    let hosts = || -> BTreeSet<HostInfo> {
        let all = first.metadata_for_all_streams_clients().unwrap();
        all.into_iter().filter(|one| !one.topic_partitions.is_empty()).map(|one| one.host_info).collect()
    };
    let both: BTreeSet<HostInfo> = ["first", "second"].map(|name| HostInfo::new(name, 7070)).into();
    wait_until("each instance knows of the other", || hosts() == both);
    // What they have heard of is of several heartbeats.
    wait_until("where each key is, and its standby", || {
        (0..WORDS).all(|number| {
            let known = first.query_metadata_for_key("counts", &word(number), &StringSerde).unwrap().unwrap();
            let has = |active: &HostInfo| {
                let others: BTreeSet<HostInfo> = both.iter().filter(|host| *host != active).cloned().collect();
                both.contains(active) && known.standby_hosts == others
            };
            known.active_host.as_ref().is_some_and(has)
        })
    });

    first.close(PATIENCE).unwrap();
    wait_until("the other has all tasks", || tasks(&second) == (8, 0));
    ground.write();
    let counts = ground.read_until(3);
    if guarantee == "exactly_once_v2" {
        assert!(counts.values().all(|counts| *counts == [1, 2, 3]), "{counts:?}");
    }
    second.close(PATIENCE).unwrap();
}

#[test]
fn instances_share_tasks_standbys_and_where_keys_are() {
    instances_share("at_least_once");
}

#[test]
fn exactly_once_no_count_is_lost_or_made_twice() {
    instances_share("exactly_once_v2");
}

#[test]
fn topics_that_are_missing_or_do_not_fit_together_end_the_application() {
    let failure = |topics: &[(&str, i32)], describe: fn(&StreamsBuilder)| {
        let ground = Ground::new(topics);
        let streams = ground.start("one", describe, &[]);
        assert!(streams.wait_for_state(State::has_completed_shutdown, PATIENCE), "{}", streams.state());
        assert_eq!(streams.state(), State::Error);
        streams.failure().unwrap()
    };
    let missing = failure(&[("out", 1)], count);
    assert!(matches!(&*missing, Error::MissingSourceTopic { topics } if *topics == ["in"]), "{missing}");
    let unlike = failure(&[("left", 2), ("right", 3)], |builder| {
        let [left, right] = ["left", "right"].map(|topic| builder.stream::<String, String>(topic));
        let windows = JoinWindows::of_time_difference_with_no_grace(PATIENCE);
        left.join_stream(&right, windows, |a, b| format!("{a}{b}")).to("out");
    });
    assert!(unlike.to_string().contains("left") && unlike.to_string().contains("right"), "{unlike}");
}

#[test]
fn an_instance_ends_all_of_them() {
    let ground = Ground::new(&[("in", PARTITIONS), ("out", PARTITIONS)]);
    let fails: fn(&StreamsBuilder) = |builder| {
        builder.stream::<Option<String>, String>("in").filter(|_, _| panic!("it fails on purpose")).to("out");
    };
    let passes: fn(&StreamsBuilder) = |builder| {
        builder.stream::<Option<String>, String>("in").filter(|_, _| true).to("out");
    };
    let (failing, other) = (ground.start("failing", fails, &[]), ground.start("other", passes, &[]));
    failing.set_uncaught_exception_handler(|_| StreamThreadExceptionResponse::ShutdownApplication);
    wait_until("both have tasks", || tasks(&failing).0 == 2 && tasks(&other).0 == 2);
    ground.write();
    for instance in [&failing, &other] {
        assert!(instance.wait_for_state(State::has_completed_shutdown, PATIENCE), "{}", instance.state());
        assert_eq!(instance.state(), State::Error);
    }
    assert!(failing.failure().unwrap().to_string().contains("it fails on purpose"));
    assert!(matches!(*other.failure().unwrap(), Error::ShutdownRequested));
}

#[test]
fn patterns_of_topics_are_refused_in_kafkas_words() {
    let ground = Ground::new(&[]);
    let builder = StreamsBuilder::new();
    builder.stream_pattern::<String, String>("in-.*").to("out");
    let refused = KafkaStreams::new(builder.build().unwrap(), ground.config("one", &[])).unwrap_err().to_string();
    assert!(refused.contains("Pattern subscriptions are not supported with the STREAMS protocol."), "{refused}");
}
