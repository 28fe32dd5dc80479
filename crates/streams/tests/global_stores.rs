//! Global tables, global stores and read-only stores in the test driver.

#![allow(clippy::unwrap_used, reason = "a broken test fails loudly")]

use std::{collections::BTreeMap, time::Duration};

use proptest::prelude::*;
use vltava_streams::{
    Consumed, Context, Error, KeyValueStore, Materialized, Processor, PunctuationType, Record, Result, StoreBuilder,
    StoreInput, StreamsBuilder, StreamsConfig, TimestampedKeyValueStore, Topology, TopologyTestDriver,
    ValueAndTimestamp, VersionedKeyValueStore, WindowStore,
    query::{KeyQuery, StateQueryRequest},
    state::{KeyValueSupplier, WindowSupplier},
    store::StoreHandle,
};

type Plain = KeyValueStore<String, String>;

/// Keeps what comes, or does what its value says.
struct Keep(StoreHandle<Plain>);

impl Processor for Keep {
    type KIn = String;
    type VIn = Option<String>;
    type KOut = ();
    type VOut = ();

    fn process(&mut self, record: Record<String, Option<String>>, ctx: &mut Context<'_, Self>) -> Result<()> {
        match record.value.as_deref() {
            Some("schedule") => {
                ctx.schedule(Duration::from_secs(1), PunctuationType::WallClockTime, |_, _, _| Ok(())).map(drop)
            }
            _ => ctx.store(self.0)?.put(&record.key, record.value),
        }
    }
}

/// Looks keys up by the store's name, or writes to it where the value says so.
struct LookUp;

impl Processor for LookUp {
    type KIn = String;
    type VIn = String;
    type KOut = String;
    type VOut = Option<String>;

    fn process(&mut self, record: Record<String, String>, ctx: &mut Context<'_, Self>) -> Result<()> {
        let mut store = ctx.state_store::<Plain>("kept")?;
        if record.value == "write" {
            store.put(&record.key, Some("mine".to_owned()))?;
        }
        let found = store.get(&record.key)?;
        ctx.forward(record.with_value(found))
    }
}

fn kept() -> StoreBuilder<Plain> {
    StoreBuilder::persistent("kept")
}

const INPUT: StoreInput<'static> = StoreInput { topic: "g", source: "source", processor: "keep" };

fn consumed() -> Consumed<String, String> {
    Consumed::new()
}

fn owned(text: &str) -> String {
    text.to_owned()
}

#[test]
fn a_global_store_is_read_by_all_and_written_by_one() {
    let mut topology = Topology::new();
    topology.add_global_store(&kept(), INPUT, &consumed(), Keep).unwrap();
    topology.add_source_node::<String, String>("in", &["in"], Consumed::new()).unwrap();
    topology.add_processor("look", &["in"], (), |()| LookUp).unwrap();
    topology.add_sink::<String, Option<String>>("out", "out", Default::default(), &["look"]).unwrap();
    let driver = TopologyTestDriver::new(&topology).unwrap();
    let (global, input) = (driver.input_topic::<String, Option<String>>("g"), driver.input_topic("in"));
    global.pipe(owned("a"), Some(owned("1"))).unwrap();
    input.pipe(owned("a"), owned("read")).unwrap();
    global.pipe(owned("a"), None).unwrap();
    input.pipe(owned("a"), owned("read")).unwrap();
    let found = driver.output_topic::<String, Option<String>>("out").read_values().unwrap();
    assert_eq!(found, [Some(owned("1")), None]);
    let refused = input.pipe(owned("a"), owned("write")).unwrap_err().to_string();
    assert!(refused.contains("store kept: global store is read only"), "{refused}");
}

#[test]
fn nothing_can_be_scheduled_where_a_global_store_is_filled() {
    let builder = StreamsBuilder::new();
    builder.add_global_store_with(consumed(), kept(), "g", Keep);
    let driver = TopologyTestDriver::new(&builder.build().unwrap()).unwrap();
    let global = driver.input_topic::<String, Option<String>>("g");
    let refused = global.pipe(owned("a"), Some(owned("schedule"))).unwrap_err();
    let Error::Processing { node, source, .. } = &*refused else { panic!("{refused}") };
    assert!(node == "KTABLE-SOURCE-0000000001" && matches!(**source, Error::IllegalArgument(_)), "{refused}");
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let refused = |build: &dyn Fn(&mut Topology) -> Result<()>| {
        let mut topology = Topology::new();
        topology.add_global_store(&kept(), INPUT, &consumed(), Keep).unwrap();
        topology.add_source_node::<String, String>("in", &["in"], Consumed::new()).unwrap();
        topology.add_processor("look", &["in"], (), |()| LookUp).unwrap();
        build(&mut topology).unwrap_err().to_string()
    };
    let topic = refused(&|t| t.add_source_node::<String, String>("other", &["g"], Consumed::new()).map(drop));
    assert!(topic.contains("Topic g has already been registered by another source."), "{topic}");
    let store = refused(&|t| t.add_store(&kept(), &["look"]).map(drop));
    assert!(store.contains("A different GlobalStateStore has already been added with the name kept"), "{store}");
    let connected = refused(&|t| t.connect_processor_and_state_stores("look", &["kept"]).map(drop));
    assert!(connected.contains("Global StateStore kept can be used by a Processor without being"), "{connected}");
    let child = refused(&|t| t.add_processor("below", &["keep"], (), |()| LookUp).map(drop));
    assert!(child.contains("keep fills a global store"), "{child}");
    let twice = StoreInput { topic: "g2", source: "same", processor: "same" };
    let same = refused(&|t| t.add_global_store(&StoreBuilder::in_memory("two"), twice, &consumed(), Keep).map(drop));
    assert!(same.contains("are both named same"), "{same}");
}

#[test]
fn a_table_of_another_builder_or_with_versions_is_refused() {
    let (one, two) = (StreamsBuilder::new(), StreamsBuilder::new());
    let table = one.global_table::<String, String>("g");
    two.stream::<String, String>("in").join_global(&table, |k, _| k.clone(), |_, row| row.clone()).to("out");
    let error = two.build().unwrap_err().to_string();
    assert!(error.contains("two builders"), "{error}");
    let versions = Materialized::supplied(KeyValueSupplier::persistent_versioned("v", Duration::from_secs(1)));
    one.global_table_with::<String, String>(versions, "h");
    assert!(one.build().unwrap_err().to_string().contains("GlobalTables cannot be versioned"));
}

#[test]
fn records_that_cannot_be_read_are_skipped() {
    let builder = StreamsBuilder::new();
    let table = builder.global_table::<String, i64>("g");
    let driver = TopologyTestDriver::new(&builder.build().unwrap()).unwrap();
    driver.pipe_bytes("g", Some(b"a"), Some(b"not a number"), 1, Default::default()).unwrap();
    driver.pipe_bytes("g", None, Some(&7_i64.to_be_bytes()), 2, Default::default()).unwrap();
    driver.pipe_bytes("g", Some(b"a"), Some(&7_i64.to_be_bytes()), 3, Default::default()).unwrap();
    assert_eq!(driver.dropped_records(), 2);
    let name = table.queryable_store_name();
    assert_eq!(driver.store_names().unwrap(), [name]);
    let query = StateQueryRequest::in_store(name).with_query(KeyQuery::<String, i64>::with_key(owned("a")));
    let answers = driver.query(&query).unwrap();
    assert_eq!(answers.global_result().unwrap().result().unwrap(), &Some(7));
    let rows = driver.store::<TimestampedKeyValueStore<String, i64>, _>(name, |store| store.all()).unwrap();
    assert_eq!(rows, [(owned("a"), ValueAndTimestamp::new(7, 3))]);
}

/// KIP-1270.
#[test]
fn failures_of_global_processors_go_to_the_handler_where_the_settings_say_so() {
    let fails = |enabled: &str| {
        let mut topology = Topology::new();
        topology.add_global_store(&kept(), INPUT, &consumed(), Keep).unwrap();
        let config = StreamsConfig::builder("a")
            .set("processing.exception.handler", "LogAndContinueProcessingExceptionHandler")
            .set("processing.exception.handler.global.enabled", enabled)
            .build()
            .unwrap();
        let driver = TopologyTestDriver::with_config(&topology, &config, 0).unwrap();
        // Nothing can be scheduled there, so that this record fails.
        driver.pipe_bytes("g", Some(b"k"), Some(b"schedule"), 1, Default::default()).is_err()
    };
    assert!(fails("false"));
    assert!(!fails("true"));
}

/// Puts values into a store of windows and of versions, by their timestamps.
struct KeepTimes(StoreHandle<WindowStore<String, String>>);
struct KeepVersions(StoreHandle<VersionedKeyValueStore<String, String>>);

macro_rules! keeps {
    ($keep:ident, $store:ident, $record:ident => $put:expr) => {
        impl Processor for $keep {
            type KIn = String;
            type VIn = String;
            type KOut = ();
            type VOut = ();

            fn process(&mut self, $record: Record<String, String>, ctx: &mut Context<'_, Self>) -> Result<()> {
                let mut $store = ctx.store(self.0)?;
                $put
            }
        }
    };
}
keeps!(KeepTimes, store, record => store.put(&record.key, Some(record.value), record.timestamp));
keeps!(KeepVersions, store, record => store.put(&record.key, Some(record.value), record.timestamp).map(drop));

type Both = (StoreHandle<WindowStore<String, String>>, StoreHandle<VersionedKeyValueStore<String, String>>);

struct ReadBoth(Both);

impl Processor for ReadBoth {
    type KIn = String;
    type VIn = i64;
    type KOut = String;
    type VOut = String;

    fn process(&mut self, record: Record<String, i64>, ctx: &mut Context<'_, Self>) -> Result<()> {
        let (windows, versions) = self.0;
        let window = ctx.store(windows)?.fetch(&record.key, record.value)?;
        let version = ctx.store(versions)?.get_as_of(&record.key, record.value)?.map(|version| version.value);
        ctx.forward(record.with_value(format!("{window:?} {version:?}")))
    }
}

#[test]
fn stores_of_windows_and_versions_can_be_global() {
    let builder = StreamsBuilder::new();
    let retention = Duration::from_millis(100);
    let windows = WindowSupplier::persistent("w".to_owned(), retention, Duration::from_millis(10), false).unwrap();
    let windows = builder.add_global_store(StoreBuilder::window(windows), "w", KeepTimes);
    let versions = KeyValueSupplier::persistent_versioned("v", retention);
    let versions = builder.add_global_store(StoreBuilder::versioned(versions), "v", KeepVersions);
    builder.stream("in").process_with((windows, versions), ReadBoth).to("out");
    let driver = TopologyTestDriver::new(&builder.build().unwrap()).unwrap();
    for (value, timestamp) in [("old", 10), ("new", 40)] {
        driver.input_topic::<String, String>("w").pipe_at(owned("k"), owned(value), timestamp).unwrap();
        driver.input_topic::<String, String>("v").pipe_at(owned("k"), owned(value), timestamp).unwrap();
    }
    let read = |time| {
        driver.input_topic::<String, i64>("in").pipe(owned("k"), time).unwrap();
        driver.output_topic::<String, String>("out").read_value().unwrap().unwrap()
    };
    assert_eq!(read(10), r#"Some("old") Some("old")"#);
    assert_eq!(read(39), r#"None Some("old")"#);
    assert_eq!(read(40), r#"Some("new") Some("new")"#);
    // What has expired for the writer has for the readers.
    driver.input_topic::<String, String>("w").pipe_at(owned("x"), owned("x"), 10_000).unwrap();
    driver.input_topic::<String, String>("v").pipe_at(owned("x"), owned("x"), 10_000).unwrap();
    assert_eq!(read(10), "None None");
}

#[test]
fn a_read_only_store_is_filled_by_its_topic() {
    let mut topology = Topology::new();
    topology.add_source_node::<String, String>("in", &["in"], Consumed::new()).unwrap();
    topology.add_processor("look", &["in"], (), |()| LookUp).unwrap();
    topology.add_sink::<String, Option<String>>("out", "out", Default::default(), &["look"]).unwrap();
    topology.add_read_only_state_store(&kept(), INPUT, &consumed(), Keep).unwrap();
    topology.connect_processor_and_state_stores("look", &["kept"]).unwrap();
    let driver = TopologyTestDriver::new(&topology).unwrap();
    driver.input_topic::<String, Option<String>>("g").pipe(owned("a"), Some(owned("1"))).unwrap();
    driver.input_topic::<String, String>("in").pipe(owned("a"), owned("read")).unwrap();
    let found = driver.output_topic::<String, Option<String>>("out").read_values().unwrap();
    assert_eq!(found, [Some(owned("1"))]);
    assert_eq!(driver.produced_topic_names().into_iter().collect::<Vec<_>>(), ["out"], "it has no changelog");
}

/// One record of the table's topic, or of the stream's.
#[derive(Clone, Debug)]
enum Event {
    Row(Option<u8>, Option<i64>),
    Record(Option<u8>, Option<u8>),
}

fn event() -> impl Strategy<Value = Event> {
    let nullable = |range: std::ops::Range<u8>| proptest::option::weighted(0.9, range);
    prop_oneof![
        (nullable(0..4), proptest::option::weighted(0.7, 0..100_i64)).prop_map(|(key, row)| Event::Row(key, row)),
        (nullable(0..3), nullable(0..6)).prop_map(|(key, value)| Event::Record(key, value)),
    ]
}

type Joined = (Option<String>, String);

/// What the two joins give: a value of 5 selects no key, any other the key of its number.
fn model(events: &[Event]) -> (Vec<Joined>, Vec<Joined>) {
    let (mut rows, mut inner, mut left) = (BTreeMap::new(), Vec::new(), Vec::new());
    for event in events {
        match event {
            Event::Row(None, _) | Event::Record(_, None) => {}
            Event::Row(Some(key), Some(row)) => drop(rows.insert(*key, *row)),
            Event::Row(Some(key), None) => drop(rows.remove(key)),
            Event::Record(key, Some(value)) => {
                let (key, row) = (key.map(|key| key.to_string()), rows.get(value).filter(|_| *value != 5));
                left.push((key.clone(), format!("{value} {row:?}")));
                inner.extend(row.map(|row| (key, format!("{value} {row}"))));
            }
        }
    }
    (inner, left)
}

fn select(_: &Option<String>, value: &String) -> Option<String> {
    (value != "5").then(|| value.clone())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases / 4))]

    #[test]
    fn joins_with_a_global_table_are_as_in_the_model(events in proptest::collection::vec(event(), 0..60)) {
        let builder = StreamsBuilder::new();
        let table = builder.global_table::<String, i64>("rows");
        let stream = builder.stream::<Option<String>, Option<String>>("records");
        stream.join_global(&table, select, |value, row| format!("{value} {row}")).to("inner");
        stream.left_join_global(&table, select, |value, row| format!("{value} {row:?}")).to("left");
        let driver = TopologyTestDriver::new(&builder.build().unwrap()).unwrap();
        let rows = driver.input_topic::<Option<String>, Option<i64>>("rows");
        let records = driver.input_topic::<Option<String>, Option<String>>("records");
        let text = |byte: &Option<u8>| byte.map(|byte| byte.to_string());
        for event in &events {
            match event {
                Event::Row(key, row) => rows.pipe(text(key), *row).unwrap(),
                Event::Record(key, value) => records.pipe(text(key), text(value)).unwrap(),
            }
        }
        let read = |topic: &str| {
            let topic = driver.output_topic::<Option<String>, String>(topic);
            topic.read_key_values().unwrap()
        };
        let (inner, left) = model(&events);
        prop_assert_eq!(read("inner"), inner);
        prop_assert_eq!(read("left"), left);
    }
}
