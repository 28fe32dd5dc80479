//! An application that has nothing to do lets the machine sleep.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

use std::{collections::BTreeMap, fs, time::Duration};

use vltava::{
    client::{Admin, AdminConfig, Producer, ProducerConfig, admin::NewTopic, producer::ProducerRecord},
    embedded,
    streams::{KafkaStreams, Materialized, State, StreamsBuilder, StreamsConfig},
};

const PATIENCE: Duration = Duration::from_secs(60);
/// For how long is counted.
const SECONDS: u64 = 3;
/// Wakes that a thread may need in a second: a stream thread polls ten times, and its clients have fetches that wait for
/// half a second, and heartbeats.
const LIMIT: u64 = 100;

/// Hundredths of a second that a thread may work in a second: what turns without sleeping is not woken at all.
const WORK_LIMIT: u64 = 10;

/// How often each thread of the application has been woken so far, and how many hundredths of a second it has worked.
fn activity() -> BTreeMap<String, (u64, u64)> {
    let mut activity = BTreeMap::<_, (u64, u64)>::new();
    for thread in fs::read_dir("/proc/self/task").unwrap().flatten() {
        // A thread may end meanwhile.
        let Ok(status) = fs::read_to_string(thread.path().join("status")) else { continue };
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
        let name = field("Name:");
        if ["StreamThread", "GlobalStream", "streams-clients"].iter().any(|known| name.starts_with(known)) {
            let Ok(stat) = fs::read_to_string(thread.path().join("stat")) else { continue };
            // Behind the name, which may have spaces: `utime` and `stime` are the 12th and 13th.
            let numbers = stat.rsplit(')').next().unwrap().split_whitespace();
            let work: u64 = numbers.skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum();
            let of_name = activity.entry(name).or_default();
            of_name.0 += field("voluntary_ctxt_switches:").parse::<u64>().unwrap();
            of_name.1 += work;
        }
    }
    activity
}

#[test]
fn an_idle_application_wakes_seldom() {
    let broker = embedded::Broker::start(embedded::Config::default()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let settings = [("bootstrap.servers", broker.bootstrap_servers())];
    runtime.block_on(async {
        let admin = Admin::new(AdminConfig::from_properties(settings).unwrap()).unwrap();
        for (_, created) in admin.create_topics(["in", "table", "out"].map(NewTopic::new)).await {
            created.unwrap();
        }
        let producer = Producer::new(ProducerConfig::from_properties(settings).unwrap()).unwrap();
        for topic in ["in", "table"] {
            producer.send(ProducerRecord::new(topic).key("k").value("v")).await.unwrap().await.unwrap();
        }
    });
    let builder = StreamsBuilder::new();
    let table = builder.global_table_with::<String, String>(Materialized::named("table"), "table");
    builder.stream::<String, String>("in").join_global(&table, |key, _| key.clone(), |one, _| one).to("out");
    let config = StreamsConfig::from_properties([
        ("application.id", "idle"),
        ("bootstrap.servers", broker.bootstrap_servers()),
        ("state.dir", folder.path().to_str().unwrap()),
    ]);
    let streams = KafkaStreams::new(builder.build().unwrap(), config.unwrap()).unwrap();
    streams.start().unwrap();
    assert!(streams.wait_for_state(|state| state == State::Running, PATIENCE));
    assert!(streams.wait_until_caught_up(PATIENCE).unwrap());

    let before = activity();
    assert!(before.len() >= 3, "{before:?}");
    // It does not fail meanwhile, that is: three seconds pass.
    assert!(!streams.wait_for_state(|state| state != State::Running, Duration::from_secs(SECONDS)));
    for (thread, (wakes, work)) in activity() {
        let (wakes_before, work_before) = before.get(&thread).copied().unwrap_or_default();
        let (wakes, work) = ((wakes - wakes_before) / SECONDS, (work - work_before) / SECONDS);
        assert!(wakes <= LIMIT, "{thread} was woken {wakes} times a second");
        assert!(work <= WORK_LIMIT, "{thread} worked {work} hundredths of each second");
    }
    streams.close(PATIENCE).unwrap();
}
