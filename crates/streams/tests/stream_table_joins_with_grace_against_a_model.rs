//! Stream-table joins with a grace period, held against a model that keeps the table's whole history and a sorted list
//! of what waits.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a broken test fails loudly")]

use std::{collections::BTreeMap, time::Duration};

use proptest::prelude::*;
use vltava_streams::{
    Joined, Materialized, StreamsBuilder, StreamsConfig, TopologyTestDriver, handler::LogAndContinue,
    state::KeyValueSupplier,
};

const KEYS: [&str; 4] = ["a", "aa", "ab", "b"];

#[derive(Clone, Debug)]
enum Event {
    /// A record of the stream: key, time.
    Stream(usize, i64),
    /// A row of the table: key, time, whether it is a value.
    Table(usize, i64, bool),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    // Time mostly goes on, sometimes back, sometimes far.
    let time = prop_oneof![8 => 0i64..40, 1 => 0i64..200];
    let event = (0..KEYS.len(), time, prop::option::of(prop::bool::weighted(0.7)));
    prop::collection::vec(event, 0..50).prop_map(|events| {
        let event = |(at, (key, time, table)): (usize, (usize, i64, Option<bool>))| {
            // A deletion has a time of its own: `versioned_stores_against_a_model` tells what else may become of it.
            let time = (at as i64 * 3 + time) * 2 + i64::from(table == Some(false));
            table.map_or(Event::Stream(key, time), |value| Event::Table(key, time, value))
        };
        events.into_iter().enumerate().map(event).collect()
    })
}

/// Longer than the time of any test: no row is ever forgotten.
const HISTORY: Duration = Duration::from_secs(60);

/// What a join with grace is by its definition.
#[derive(Default)]
struct Model {
    left: bool,
    grace: i64,
    stream_time: Option<i64>,
    /// By time, key and order of arrival.
    waiting: BTreeMap<(i64, &'static str, usize), String>,
    rows: BTreeMap<&'static str, BTreeMap<i64, Option<String>>>,
    out: Vec<(String, String, i64)>,
}

impl Model {
    fn join(&mut self, key: &str, value: &str, time: i64) {
        let row = self.rows.get(key).and_then(|rows| rows.range(..=time).next_back()?.1.clone());
        if self.left || row.is_some() {
            self.out.push((key.to_owned(), format!("{value}+{row:?}"), time));
        }
    }

    fn stream(&mut self, at: usize, key: &'static str, value: String, time: i64) {
        if self.stream_time.is_some_and(|now| time < now - self.grace) {
            return self.join(key, &value, time);
        }
        let now = self.stream_time.unwrap_or(time).max(time);
        self.stream_time = Some(now);
        self.waiting.insert((time, key, at), value);
        let (due, later) =
            std::mem::take(&mut self.waiting).into_iter().partition(|((time, ..), _)| *time <= now - self.grace);
        self.waiting = later;
        let due: BTreeMap<_, _> = due;
        for ((time, key, _), value) in due {
            self.join(key, &value, time);
        }
    }
}

fn topology(left: bool, grace: i64) -> StreamsBuilder {
    let builder = StreamsBuilder::new();
    let history = KeyValueSupplier::persistent_versioned("rows", HISTORY);
    let table = builder.table_with::<String, String>(Materialized::supplied(history), "table");
    let stream = builder.stream::<String, String>("stream");
    let joined = Joined::named("join").with_grace_period(Duration::from_millis(grace as u64));
    let text = |value: String, row: Option<&String>| format!("{value}+{row:?}");
    match left {
        true => stream.left_join_with(joined, &table, move |_, value, row| text(value, row)).to("out"),
        false => stream.join_with(joined, &table, move |_, value, row| text(value, Some(row))).to("out"),
    }
    builder
}

fn check(events: &[Event], left: bool, grace: i64) -> Result<(), TestCaseError> {
    let driver = TopologyTestDriver::new(&topology(left, grace).build().unwrap()).unwrap();
    let stream = driver.input_topic::<String, String>("stream");
    let table = driver.input_topic::<String, Option<String>>("table");
    let out = driver.output_topic::<String, String>("out");
    let mut model = Model { left, grace, ..Model::default() };
    for (at, event) in events.iter().enumerate() {
        match *event {
            Event::Stream(key, time) => {
                stream.pipe_at(KEYS[key].to_owned(), format!("s{at}"), time).unwrap();
                model.stream(at, KEYS[key], format!("s{at}"), time);
            }
            Event::Table(key, time, value) => {
                let value = value.then(|| format!("t{at}"));
                table.pipe_at(KEYS[key].to_owned(), value.clone(), time).unwrap();
                model.rows.entry(KEYS[key]).or_default().insert(time, value);
            }
        }
        let records = out.read_records().unwrap().into_iter();
        let got: Vec<_> = records.map(|record| (record.key, record.value, record.timestamp)).collect();
        prop_assert_eq!(&got, &std::mem::take(&mut model.out), "after {}: {:?}", at, event);
        let waiting = driver.raw_entries("join-Buffer").unwrap().unwrap();
        prop_assert_eq!(waiting.len(), model.waiting.len());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 4, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_record_meets_the_row_of_its_time_when_its_grace_is_over(events in events(), left: bool, grace in 0i64..120) {
        check(&events, left, grace)?;
    }
}

/// One bad record is one dropped record; Kafka would try it again with every later one and emit nothing any more.
#[test]
fn a_record_that_fails_after_its_wait_is_dropped_alone() {
    let builder = StreamsBuilder::new();
    let history = KeyValueSupplier::persistent_versioned("rows", HISTORY);
    let table = builder.table_with::<String, String>(Materialized::supplied(history), "table");
    let joined = Joined::named("join").with_grace_period(Duration::from_millis(10));
    let join = |_: &String, value: String, row: Option<&String>| match value.as_str() {
        "bad" => Err(std::io::Error::other("boom")),
        _ => Ok(format!("{value}+{row:?}")),
    };
    builder.stream::<String, String>("stream").try_left_join(joined, &table, join).to("out");
    let config =
        StreamsConfig::builder("test").processing_exception_handler(LogAndContinue::default()).build().unwrap();
    let driver = TopologyTestDriver::with_config(&builder.build().unwrap(), &config, 0).unwrap();
    let stream = driver.input_topic::<String, String>("stream");
    for (value, time) in [("good", 0), ("bad", 1), ("better", 2), ("last", 20)] {
        stream.pipe_at("k".to_owned(), value.to_owned(), time).unwrap();
    }
    let out = driver.output_topic::<String, String>("out");
    assert_eq!(out.read_values().unwrap(), ["good+None", "better+None"]);
    assert_eq!(driver.dropped_records(), 1);
}

#[test]
fn a_table_without_history_or_with_less_than_the_grace_period_is_refused() {
    let builder = StreamsBuilder::new();
    let table = builder.table::<String, String>("table");
    let joined = || Joined::named("join").with_grace_period(Duration::from_millis(10));
    let join = |_: &String, value: String, _: &String| value;
    builder.stream::<String, String>("stream").join_with(joined(), &table, join).to("out");
    let error = builder.build().unwrap_err().to_string();
    assert!(error.contains("must be versioned") && error.contains("join"), "{error}");

    let builder = StreamsBuilder::new();
    let history = KeyValueSupplier::persistent_versioned("rows", Duration::from_millis(9));
    let table = builder.table_with::<String, String>(Materialized::supplied(history), "table");
    builder.stream::<String, String>("stream").join_with(joined(), &table, join).to("out");
    let error = builder.build().unwrap_err().to_string();
    assert!(error.contains("9 ms") && error.contains("10 ms of join"), "{error}");
}
