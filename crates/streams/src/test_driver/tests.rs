use std::{collections::BTreeMap, time::Duration};

use super::*;
use crate::{EmitStrategy, Materialized, Record, StreamsBuilder, TimeWindows, TimestampedKeyValueStore};

type Text = Option<String>;

fn text(text: &str) -> String {
    text.to_owned()
}

fn copier() -> TopologyTestDriver {
    let builder = StreamsBuilder::new();
    builder.stream::<Text, Text>("in").to("out");
    TopologyTestDriver::new(&builder.build().unwrap()).unwrap()
}

fn timestamps(driver: &TopologyTestDriver) -> Vec<i64> {
    let records = driver.output_topic::<Text, Text>("out").read_records().unwrap();
    records.into_iter().map(|record| record.timestamp).collect()
}

#[test]
fn every_way_in_has_its_timestamps() {
    let driver = copier();
    let input = driver.input_topic::<Text, Text>("in").with_auto_advance(100, 10);
    input.pipe(None, None).unwrap();
    input.pipe_value(Some(text("v"))).unwrap();
    input.advance_time(Duration::from_millis(5));
    input.pipe_values([None, None]).unwrap();
    input.pipe_key_values([(None, None)]).unwrap();
    assert_eq!(timestamps(&driver), [100, 110, 125, 135, 145]);
    input.pipe_value_at(None, 7).unwrap();
    input.pipe_values_at([None, None], 20, Duration::from_millis(3)).unwrap();
    input.pipe_key_values_at([(None, None), (None, None)], 1, Duration::ZERO).unwrap();
    input.pipe_records([Record::new(None, None, 9)]).unwrap();
    assert_eq!(timestamps(&driver), [7, 20, 23, 1, 1, 9]);
}

#[test]
fn every_way_out_reads_a_record_once() {
    let driver = copier();
    let input = driver.input_topic::<Text, String>("in");
    let out = driver.output_topic::<Text, String>("out");
    assert!(out.is_empty() && out.read_value().unwrap().is_none(), "the sink is known before its first record");
    input.pipe_key_values([(None, text("a")), (Some(text("k")), text("b"))]).unwrap();
    input.pipe_values([text("c"), text("d"), text("e")]).unwrap();
    assert_eq!(out.queue_size(), 5);
    assert_eq!(out.read_value().unwrap().unwrap(), "a");
    assert_eq!(out.read_key_value().unwrap().unwrap(), (Some(text("k")), text("b")));
    assert_eq!(out.read_record().unwrap().unwrap().value, "c");
    assert_eq!(out.read_key_values_to_map().unwrap(), BTreeMap::from([(None, text("e"))]));
    assert!(out.is_empty());
    assert_eq!(driver.history_of("out").len(), 5, "reading takes nothing from the history");
    assert_eq!(driver.produced_topic_names().into_iter().collect::<Vec<_>>(), ["out"]);
}

/// The answers are those of the JVM's driver.
#[test]
fn windows_that_close_are_looked_for_with_every_record_unless_something_else_is_asked_for() {
    let emitted = |settings: &[(&str, &str)]| {
        let builder = StreamsBuilder::new();
        builder
            .stream::<String, String>("in")
            .group_by_key()
            .windowed_by(TimeWindows::of_size_with_no_grace(Duration::from_secs(10)))
            .emit_strategy(EmitStrategy::OnWindowClose)
            .count()
            .to_stream()
            .select_key(|key, _| format!("{}@{}", key.key, key.window.start()))
            .to("out");
        let config = settings.iter().fold(StreamsConfig::builder("t"), |config, (key, value)| config.set(*key, *value));
        let driver =
            TopologyTestDriver::with_config(&builder.build().unwrap(), &config.build().unwrap(), 100_000).unwrap();
        let (input, out) = (driver.input_topic::<String, String>("in"), driver.output_topic::<String, i64>("out"));
        let mut told = Vec::new();
        for (key, at) in [("a", 1_000), ("b", 2_000), ("c", 12_000), ("b", 25_000), ("a", 40_000)] {
            input.pipe_at(text(key), text("x"), at).unwrap();
            told.push(out.read_values().unwrap().len());
            driver.advance_wall_clock_time(Duration::from_millis(500)).unwrap();
        }
        told
    };
    assert_eq!(emitted(&[]), [0, 0, 2, 1, 1]);
    assert_eq!(emitted(&[("__emit.interval.ms.kstreams.windowed.aggregation__", "1000")]), [0, 0, 2, 0, 2]);
}

#[test]
fn misuse_is_a_typed_error() {
    let driver = copier();
    let error = |result: Result<()>| result.unwrap_err().to_string();
    assert_eq!(
        error(driver.input_topic::<Text, Text>("typo").pipe(None, None)),
        "illegal argument: unknown topic typo: no source reads it"
    );
    let unknown = driver.output_topic::<Text, Text>("typo").read_value().unwrap_err();
    assert_eq!(unknown.to_string(), "illegal argument: unknown topic typo: no sink writes to it");
    let keyed = driver.input_topic::<String, Text>("in");
    assert!(error(keyed.pipe_value(None)).contains("has no null"));
    let back = driver.input_topic::<Text, Text>("in").with_auto_advance(0, -1);
    assert_eq!(error(back.pipe(None, None)), "illegal argument: invalid advance -1: must be >= 0");
    let wrong = driver.output_topic::<Text, i64>("out");
    driver.input_topic::<Text, String>("in").pipe_value(text("no number")).unwrap();
    assert!(matches!(*wrong.read_value().unwrap_err(), Error::Deserialization { .. }));
    driver.close().unwrap();
    driver.close().unwrap();
    assert_eq!(error(driver.input_topic::<Text, Text>("in").pipe(None, None)), "the test driver is closed");
    assert_eq!(error(driver.advance_wall_clock_time(Duration::ZERO)), "the test driver is closed");
}

#[test]
fn a_function_with_a_store_cannot_use_the_driver() {
    let builder = StreamsBuilder::new();
    builder.stream::<String, String>("in").group_by_key().count_with(Materialized::named("counts"));
    let driver = TopologyTestDriver::new(&builder.build().unwrap()).unwrap();
    let input = driver.input_topic::<String, String>("in");
    let done = driver.store::<TimestampedKeyValueStore<String, i64>, _>("counts", |_| {
        input.pipe(text("k"), text("v"))?;
        Ok(())
    });
    assert!(done.unwrap_err().to_string().starts_with("the test driver is at work"));
    assert!(driver.store::<TimestampedKeyValueStore<String, i64>, _>("typo", |_| Ok(())).is_err());
    assert!(driver.store::<TimestampedKeyValueStore<i64, i64>, _>("counts", |_| Ok(())).is_err());
}

#[test]
fn metrics_have_kafkas_names() {
    let builder = StreamsBuilder::new();
    builder.stream::<String, i64>("in").to("out");
    let properties = [
        ("application.id", "app"),
        ("metrics.recording.level", "DEBUG"),
        ("deserialization.exception.handler", "continue"),
    ];
    let config = StreamsConfig::from_properties(properties).unwrap();
    let driver = TopologyTestDriver::with_config(&builder.build().unwrap(), &config, 0).unwrap();
    let input = driver.input_topic::<Text, i64>("in");
    input.pipe(Some(text("k")), 1).unwrap();
    input.pipe(None, 2).unwrap();
    driver.input_topic::<String, String>("in").pipe(text("k"), text("no long")).unwrap();
    let metrics: BTreeMap<String, f64> = driver
        .metrics()
        .unwrap()
        .into_iter()
        .filter(|(name, _)| name.group != "kafka-metrics-count")
        .map(|(name, value)| {
            let node = name.tags.get("processor-node-id").unwrap_or_default();
            assert_eq!(name.tags.get("task-id"), Some("0_0"));
            (format!("{} {} {node}", name.group, name.name), value.as_f64())
        })
        .collect();
    let value = |name: &str| *metrics.get(name).unwrap_or_else(|| panic!("no {name} in {metrics:?}"));
    let source = "KSTREAM-SOURCE-0000000000";
    assert_eq!(value("stream-task-metrics dropped-records-total "), 2.0);
    assert_eq!(value(&format!("stream-topic-metrics records-consumed-total {source}")), 3.0);
    assert_eq!(value("stream-topic-metrics records-produced-total KSTREAM-SINK-0000000001"), 1.0);
    // Key, value, topic, and 20 bytes of timestamp, offset and partition.
    assert_eq!(value("stream-topic-metrics bytes-produced-total KSTREAM-SINK-0000000001"), 1.0 + 8.0 + 3.0 + 20.0);
    let processed = value("stream-task-metrics process-total ");
    assert_eq!(processed, value(&format!("stream-processor-node-metrics process-total {source}")));
    assert_eq!(value("stream-task-metrics process-rate "), processed / 30.0);
}

#[test]
fn the_driver_takes_either_guarantee() {
    let builder = StreamsBuilder::new();
    builder.stream::<Text, String>("in").group_by(|_, v| v.clone()).count().to_stream().to("out");
    let topology = builder.build().unwrap();
    for guarantee in ["at_least_once", "exactly_once_v2"] {
        let properties = [("application.id", "a"), ("processing.guarantee", guarantee)];
        let config = crate::StreamsConfig::from_properties(properties).unwrap();
        let driver = TopologyTestDriver::with_config(&topology, &config, 0).unwrap();
        driver.input_topic::<Text, String>("in").pipe_values([text("a"), text("a")]).unwrap();
        let counts = driver.output_topic::<String, Option<i64>>("out").read_key_values_to_map().unwrap();
        assert_eq!(counts, BTreeMap::from([(text("a"), Some(2))]), "{guarantee}");
    }
}
