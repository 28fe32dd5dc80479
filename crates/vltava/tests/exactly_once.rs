//! A broker and two instances of an application, each a process of its own, are killed with SIGKILL at random moments and
//! started again, or stopped for longer than their session and their transaction, with
//! `processing.guarantee=exactly_once_v2`: who reads what is committed sees each result once.
//!
//! The application has what loss and repetition hide in: a count without a cache, whose every step is a result; windows
//! that `suppress` holds until they close; an outer join of streams that holds what has not found its like yet.
//!
//! This file is a program: the test starts itself again as the broker and as the application. With
//! `EXACTLY_ONCE_BOOTSTRAP=host:port` it uses the broker there, and spares it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that tells its seed")]

mod processes;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use processes::{Process, Random, end_offsets, free_address, path, pause, read_committed, wait_until_it_listens};
use vltava::{
    client::{
        Admin, AdminConfig, Producer, ProducerConfig,
        admin::NewTopic,
        producer::{Delivery, ProducerRecord},
    },
    embedded,
    streams::{
        BufferConfig, Grouped, JoinWindows, KafkaStreams, Materialized, State, StreamJoined, StreamsBuilder,
        StreamsConfig, Suppressed, TimeWindows,
    },
};

const RECORDS: u64 = 3000;
const KILLS: usize = 6;
const PARTITIONS: i32 = 2;
/// Of records' time.
const WINDOW: Duration = Duration::from_secs(60);
const GRACE: Duration = Duration::from_secs(600);
/// In ms after the first record: when every window is closed.
const END: i64 = 2 * 3_600_000;

fn main() {
    processes::run("exactly_once", &[("broker", broker), ("application", application)], exactly_once);
}

fn broker(arguments: &[String]) {
    let config =
        embedded::Config::default().dir(&arguments[1]).property("listeners", format!("PLAINTEXT://{}", arguments[0]));
    let _broker = embedded::Broker::start(config).expect("the broker starts");
    loop {
        std::thread::park();
    }
}

fn application(arguments: &[String]) {
    let (builder, topic) = (StreamsBuilder::new(), |topic| named(&arguments[2], topic));
    builder
        .stream::<Option<String>, String>(topic("lines").as_str())
        .flat_map_values(|line| line.split(' ').map(str::to_owned).collect::<Vec<_>>())
        .group_by_with(Grouped::named("words"), |_, word| word.clone())
        .count_with(Materialized::named("counts"))
        .to_stream()
        .map_values(|count| count.unwrap_or(0).to_string())
        .to(&topic("counts"));
    builder
        .stream::<String, String>(topic("events").as_str())
        .group_by_key()
        .windowed_by(TimeWindows::of_size_and_grace(WINDOW, GRACE))
        .count_with(Materialized::named("windows"))
        .suppress(Suppressed::until_window_closes(BufferConfig::unbounded()))
        .to_stream()
        .map(|windowed, count| {
            (format!("{}@{}", windowed.key, windowed.window.start()), count.unwrap_or(0).to_string())
        })
        .to(&topic("windows"));
    let right = builder.stream::<String, String>(topic("right").as_str());
    let shown = |side: Option<&String>| side.map_or("-", String::as_str).to_owned();
    builder
        .stream::<String, String>(topic("left").as_str())
        .outer_join_stream_with(
            StreamJoined::new().with_name("join").with_store_name("join"),
            &right,
            JoinWindows::of_time_difference_and_grace(WINDOW, GRACE),
            move |_, left: Option<&String>, right: Option<&String>| format!("{}+{}", shown(left), shown(right)),
        )
        .to(&topic("joined"));
    let config = StreamsConfig::from_properties([
        ("application.id", arguments[2].as_str()),
        ("bootstrap.servers", &arguments[0]),
        ("state.dir", &arguments[1]),
        ("processing.guarantee", "exactly_once_v2"),
        ("num.stream.threads", "2"),
        ("commit.interval.ms", "50"),
        ("statestore.cache.max.bytes", "0"),
        ("producer.linger.ms", "5"),
        ("consumer.session.timeout.ms", "6000"),
        // Who comes again takes its own place: between two kills there is work.
        ("group.instance.id", &arguments[3]),
        // What has found nothing is emitted as soon as it is time, and not once a second.
        ("__emit.interval.ms.kstreams.outer.join.spurious.results.fix__", "0"),
    ]);
    let streams = KafkaStreams::new(builder.build().unwrap(), config.unwrap()).expect("the application is made");
    streams.start().expect("the application starts");
    // A failure must show: the parent sees a process that has ended by itself.
    streams.wait_for_state(State::has_completed_shutdown, Duration::MAX);
    eprintln!("the application ended: {:?}", streams.failure());
    std::process::exit(1);
}

fn exactly_once() {
    let seed = std::env::var("EXACTLY_ONCE_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| u64::from(std::process::id()));
    println!("seed {seed}: EXACTLY_ONCE_SEED={seed} cargo test -p vltava --test exactly_once");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(run(seed));
}

async fn run(seed: u64) {
    let folder = tempfile::tempdir().unwrap();
    let elsewhere = std::env::var("EXACTLY_ONCE_BOOTSTRAP").ok();
    let address = elsewhere.clone().unwrap_or_else(free_address);
    let mut broker = match elsewhere {
        Some(_) => None,
        None => Some(Process::start(&["broker", &address, path(&folder.path().join("broker"))])),
    };
    wait_until_it_listens(&address).await;
    let admin = Admin::new(AdminConfig::from_properties([("bootstrap.servers", &address)]).unwrap()).unwrap();
    let id = format!("exactly-once-{seed}-{}", std::process::id());
    make_topics(&admin, &id).await;
    let [mut killed, mut stopped] = ["killed", "stopped"].map(|name| {
        let directory = folder.path().join(name);
        Process::start(&["application", &address, path(&directory), &id, name])
    });

    let produced = tokio::spawn(produce(address.clone(), id.clone(), seed));
    let mut random = Random(seed);
    for round in 0..KILLS {
        // Not a wait for a condition: the moment of the kill is what is random here.
        pause(500 + random.below(2500)).await;
        match (round % 3, &mut broker) {
            (0, Some(broker)) => {
                broker.kill_and_restart();
                wait_until_it_listens(&address).await;
            }
            // What it was about to write is another's by then.
            (1, _) => {
                stopped.assert_alive();
                stopped.signal("-STOP");
                pause(7000 + random.below(6000)).await;
                stopped.signal("-CONT");
            }
            _ => killed.kill_and_restart(),
        }
    }
    let expected = produced.await.unwrap();

    let end = Instant::now() + Duration::from_secs(180);
    while !is_done(&admin, &id).await || lacks_results(&address, &admin, &id, &expected).await {
        killed.assert_alive();
        stopped.assert_alive();
        assert!(Instant::now() < end, "not done in time");
        pause(500).await;
    }
    for (topic, mut expected) in expected {
        let mut results = results(&address, &admin, &named(&id, topic)).await;
        expected.sort();
        results.sort();
        assert!(results == expected, "{topic}: {}", difference(&expected, &results));
        println!("{topic}: {} results, each once", results.len());
    }
}

/// Whether results are missing.
async fn lacks_results(address: &str, admin: &Admin, id: &str, expected: &BTreeMap<&'static str, Vec<String>>) -> bool {
    for (topic, expected) in expected {
        if results(address, admin, &named(id, topic)).await.len() < expected.len() {
            return true;
        }
    }
    false
}

async fn results(address: &str, admin: &Admin, topic: &str) -> Vec<String> {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let records = read_committed(address, admin, topic).await;
    records.into_iter().map(|(key, value)| format!("{} {}", text(key), text(value))).collect()
}

fn difference(expected: &[String], results: &[String]) -> String {
    let mut counts: BTreeMap<&String, i64> = BTreeMap::new();
    expected.iter().for_each(|one| *counts.entry(one).or_default() -= 1);
    results.iter().for_each(|one| *counts.entry(one).or_default() += 1);
    counts.retain(|_, count| *count != 0);
    let shown: Vec<_> = counts.iter().take(10).map(|(what, count)| format!("{what} ({count:+})")).collect();
    format!("{} differ: {}", counts.len(), shown.join(", "))
}

/// Topics of this run alone.
async fn make_topics(admin: &Admin, id: &str) {
    let topics = ["lines", "events", "left", "right", "counts", "windows", "joined"].map(|topic| named(id, topic));
    let new = topics.iter().map(|topic| NewTopic::new(topic).partitions(PARTITIONS));
    for (_, created) in admin.create_topics(new).await {
        created.unwrap();
    }
    let end = Instant::now() + Duration::from_secs(30);
    while admin.describe_topics(topics.clone()).await.values().any(Result::is_err) {
        assert!(Instant::now() < end, "the topics are not there");
        pause(50).await;
    }
}

fn named(id: &str, topic: &str) -> String {
    format!("{id}.{topic}")
}

/// Whether the application has committed the ends of all that it was given.
async fn is_done(admin: &Admin, id: &str) -> bool {
    let Ok(committed) = admin.list_consumer_group_offsets(id, None).await else { return false };
    for topic in ["lines", "events", "left", "right"] {
        let Some(ends) = end_offsets(admin, &named(id, topic), PARTITIONS).await else { return false };
        let at = |partition| committed.get(partition).and_then(Option::as_ref).map_or(0, |offset| offset.offset);
        if ends.iter().any(|(partition, end)| at(partition) < *end) {
            return false;
        }
    }
    true
}

/// Writes the inputs; the answer is what must come of them, by topic.
async fn produce(address: String, id: String, seed: u64) -> BTreeMap<&'static str, Vec<String>> {
    let config = ProducerConfig::from_properties([("bootstrap.servers", address.as_str()), ("linger.ms", "2")]);
    let producer = Producer::new(config.unwrap()).unwrap();
    let mut random = Random(seed ^ 1);
    let mut sent: Vec<Delivery> = Vec::new();
    let (mut words, mut windows) = (BTreeMap::<String, u64>::new(), BTreeMap::<String, u64>::new());
    let mut expected: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
    // Not so old that it is deleted, and nothing lies in the future.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let begin = i64::try_from(now).unwrap() / 60_000 * 60_000 - END - 3_600_000;
    for i in 0..RECORDS {
        let at = begin + i64::try_from(i).unwrap() * 100;
        let line = (0..3).map(|_| format!("w{}", random.below(50))).collect::<Vec<_>>();
        for word in &line {
            let count = words.entry(word.clone()).or_default();
            *count += 1;
            expected.entry("counts").or_default().push(format!("{word} {count}"));
        }
        sent.push(
            producer
                .send(ProducerRecord::new(&named(&id, "lines")).value(&line.join(" ")).timestamp(at))
                .await
                .unwrap(),
        );

        let key = format!("k{}", random.below(20));
        let window = at / 60_000 * 60_000;
        *windows.entry(format!("{key}@{window}")).or_default() += 1;
        sent.push(
            producer.send(ProducerRecord::new(&named(&id, "events")).key(&key).value("e").timestamp(at)).await.unwrap(),
        );

        let (key, value) = (format!("j{i}"), format!("v{i}"));
        let sides = random.below(3);
        for (topic, _) in ["left", "right"].into_iter().zip(1..).filter(|(_, side)| sides == 0 || sides == *side) {
            sent.push(
                producer
                    .send(ProducerRecord::new(&named(&id, topic)).key(&key).value(&value).timestamp(at))
                    .await
                    .unwrap(),
            );
        }
        let joined = ["v+v", "v+-", "-+v"][usize::try_from(sides).unwrap()].replace('v', &value);
        expected.entry("joined").or_default().push(format!("{key} {joined}"));
        // For about as long as there are kills.
        if i % 5 == 0 {
            pause(40).await;
        }
    }
    expected.insert("windows", windows.into_iter().map(|(window, count)| format!("{window} {count}")).collect());
    // Everything closes.
    for topic in ["events", "left", "right"] {
        for partition in 0..PARTITIONS {
            let topic = named(&id, topic);
            let last = ProducerRecord::new(&topic).partition(partition).key("end").value("end").timestamp(begin + END);
            sent.push(producer.send(last).await.unwrap());
        }
    }
    expected.entry("joined").or_default().extend((0..PARTITIONS).map(|_| "end end+end".to_owned()));
    for delivery in sent {
        delivery.await.expect("an idempotent producer writes each record once");
    }
    expected
}
