//! What metrics say after a small workload, in Kafka's test driver and in ours.

use std::{collections::BTreeMap, time::Duration};

use vltava_streams::{
    BufferConfig, Context, EmitStrategy, Materialized, Named, Processor, PunctuationType, Record, Result,
    SessionWindows, StreamsBuilder, StreamsConfig, Suppressed, TimeWindows, Topology, TopologyTestDriver,
    state::{KeyValueSupplier, WindowSupplier},
};

use crate::names::reason;

/// As in `interop/metrics/StreamsMetrics.java`.
const WORDS: [(Option<&str>, &str, i64); 8] = [
    (Some("a"), "x", 1_000),
    (Some("b"), "y", 2_000),
    (Some("a"), "z", 1_500),
    (None, "no key", 2_500),
    (Some("c"), "x", 12_000),
    (Some("a"), "late", 500),
    (Some("b"), "y", 25_000),
    (Some("a"), "x", 40_000),
];

/// Has a timer.
struct Ticking;

impl Processor for Ticking {
    type KIn = String;
    type VIn = Option<String>;
    type KOut = ();
    type VOut = ();

    fn init(&mut self, ctx: &mut Context<'_, Self>) -> Result<()> {
        ctx.schedule(Duration::from_secs(1), PunctuationType::WallClockTime, |_, _, _| Ok(()))?;
        Ok(())
    }

    fn process(&mut self, _record: Record<String, Option<String>>, _ctx: &mut Context<'_, Self>) -> Result<()> {
        Ok(())
    }
}

fn topology() -> Topology {
    let builder = StreamsBuilder::new();
    let words = builder.stream::<Option<String>, String>("words").group_by_key();
    words.count_with(Materialized::named("counts")).to_stream().to("counted");
    let windows = TimeWindows::of_size_with_no_grace(Duration::from_secs(10));
    words
        .windowed_by(windows)
        .count_with(Materialized::named("windowed").with_caching_disabled())
        .suppress(Suppressed::until_window_closes(BufferConfig::unbounded()).with_name("final"))
        .to_stream()
        .select_key(|key, _| key.key.clone())
        .to("windows");
    let emitted = WindowSupplier::in_memory("emitted", Duration::from_secs(20), Duration::from_secs(10), false);
    words
        .windowed_by(windows)
        .emit_strategy(EmitStrategy::OnWindowClose)
        .count_with(Materialized::supplied(emitted.unwrap()))
        .to_stream()
        .select_key(|key, _| key.key.clone())
        .to("windows-2");
    words
        .windowed_by_sessions(SessionWindows::of_inactivity_gap_with_no_grace(Duration::from_secs(5)))
        .count_with(Materialized::named("sessions").with_caching_disabled())
        .to_stream()
        .select_key(|key, _| key.key.clone())
        .to("sessions-out");
    let rows = Materialized::supplied(KeyValueSupplier::in_memory("rows")).with_caching_disabled();
    builder.table_with::<String, String>(rows, "table").to_stream().process_with(Named::new("ticking"), |()| Ticking);
    builder.build().unwrap()
}

/// Tags without the kind of engine: our driver has what it can in memory.
fn of_any_engine(tags: &str) -> String {
    tags.replace("rocksdb-", "").replace("in-memory-", "")
}

/// Group, name and tags of each metric, with its value.
fn ours() -> BTreeMap<(String, String, String), f64> {
    let config = StreamsConfig::from_properties([("application.id", "recorded"), ("metrics.recording.level", "TRACE")]);
    let driver = TopologyTestDriver::with_config(&topology(), &config.unwrap(), 100_000).unwrap();
    let words = driver.input_topic::<Option<String>, String>("words");
    for (key, value, timestamp) in WORDS {
        words.pipe_at(key.map(str::to_owned), value.to_owned(), timestamp).unwrap();
        driver.advance_wall_clock_time(Duration::from_millis(500)).unwrap();
    }
    let table = driver.input_topic::<String, Option<String>>("table");
    for (key, value, timestamp) in
        [("k", Some("v"), 41_000), ("k", Some("v"), 42_000), ("k", Some("v"), 39_000), ("l", None, 43_000)]
    {
        table.pipe_at(key.to_owned(), value.map(str::to_owned), timestamp).unwrap();
    }
    let metrics = driver.metrics().unwrap().into_iter();
    let of_tasks = metrics.filter(|(name, _)| name.group.starts_with("stream-"));
    let named = of_tasks.map(|(name, value)| {
        let tags = name.tags.iter().filter(|(tag, _)| *tag != "thread-id").map(|(tag, value)| format!("{tag}={value}"));
        let tags = of_any_engine(&tags.collect::<Vec<_>>().join(","));
        ((name.group.to_owned(), name.name.to_owned(), tags), value.as_f64())
    });
    named.collect()
}

/// Why a value is another one here, by the beginning of the name: it is there nevertheless.
const DIFFERENT: &[(&str, &str, &str)] = &[
    ("stream-state-metrics", "", "how often a store is asked is the operators' own matter"),
    ("stream-record-cache-metrics", "", "the JVM's cache counts what it looks up itself, too"),
    ("stream-task-metrics", "cache-size-bytes-total", "an entry takes as much as it does"),
    ("stream-processor-node-metrics", "window-aggregate-final-emit-latency", "the JVM's is by the clock on the wall"),
    ("stream-topic-metrics", "bytes-consumed-total", "the JVM takes the size of a null for -1"),
    ("stream-task-metrics", "enforced-processing", "the JVM asks again after the last record"),
];

#[test]
fn values_are_those_of_kafkas_driver() {
    let ours = ours();
    let lines = include_str!("values.txt").lines().filter(|line| !line.starts_with('#'));
    let (mut missing, mut other, mut compared) = (Vec::new(), Vec::new(), 0);
    for line in lines {
        let fields: Vec<&str> = line.split('\t').collect();
        let [group, name, tags, value] = fields[..] else { panic!("{line}") };
        let value: f64 = value.parse().unwrap();
        if group == "stream-thread-metrics" || !group.starts_with("stream-") || reason(group, name).is_some() {
            continue;
        }
        let key = (group.to_owned(), name.to_owned(), of_any_engine(tags));
        match ours.get(&key) {
            None => missing.push(line),
            Some(_) if DIFFERENT.iter().any(|(of, begin, _)| *of == group && name.starts_with(begin)) => {}
            Some(ours) if (ours - value).abs() < 1e-9 || (ours.is_nan() && value.is_nan()) => compared += 1,
            Some(ours) => other.push(format!("{ours} and not {line}")),
        }
    }
    assert!(missing.is_empty() && other.is_empty(), "missing: {missing:#?}\nother: {other:#?}");
    assert!(compared >= 50, "{compared}");
}
