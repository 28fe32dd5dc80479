//! Foreign-key joins, held against a model that joins two maps anew after each update.

#![allow(clippy::unwrap_used, reason = "a broken test fails loudly")]

use std::collections::BTreeMap;

use proptest::prelude::*;
use vltava_streams::{StreamsBuilder, StreamsConfig, TableJoined, TopologyTestDriver};

/// An update of one of the two tables.
#[derive(Clone, Debug)]
enum Update {
    /// A row names the row of the other table that it belongs to, if any, and has a number.
    Left(u8, Option<(Option<u8>, u8)>),
    Right(u8, Option<u8>),
}

fn updates() -> impl Strategy<Value = Vec<Update>> {
    let left = (0u8..5, prop::option::weighted(0.8, (prop::option::weighted(0.8, 0u8..4), 0u8..3)));
    let right = (0u8..4, prop::option::weighted(0.7, 0u8..3));
    let update = prop_oneof![
        left.prop_map(|(key, row)| Update::Left(key, row)),
        right.prop_map(|(key, row)| Update::Right(key, row)),
    ];
    prop::collection::vec(update, 0..40)
}

type Rows = BTreeMap<u8, (Option<u8>, u8)>;

fn model(left_join: bool, left: &Rows, right: &BTreeMap<u8, u8>) -> BTreeMap<String, String> {
    let joined = left.iter().filter_map(|(key, (foreign_key, number))| {
        let other = foreign_key.and_then(|foreign_key| right.get(&foreign_key));
        (left_join || other.is_some()).then(|| (key.to_string(), format!("{number}+{other:?}")))
    });
    joined.collect()
}

/// Keys that are prefixes of one another, so that a scan of subscribers that goes too far is seen.
fn foreign_key(number: u8) -> String {
    "k".repeat(usize::from(number) + 1)
}

fn check(updates: &[Update], left_join: bool, cached: bool, in_memory: bool) -> Result<(), TestCaseError> {
    let builder = StreamsBuilder::new();
    let (left, right) = (builder.table::<String, String>("left"), builder.table::<String, i64>("right"));
    let of = |row: &String| row.split_once(',').map(|(key, _)| key.to_owned()).filter(|key| !key.is_empty());
    let text = |row: &String, other: Option<&i64>| {
        let number = row.split_once(',').map_or("", |(_, number)| number);
        format!("{number}+{other:?}")
    };
    let joined = match left_join {
        true => left.left_join_by_foreign_key(&right, of, text),
        false => left.join_by_foreign_key(&right, of, move |row, other| text(row, Some(other))),
    };
    joined.to_stream().to("out");
    let config = StreamsConfig::builder("test")
        .set("statestore.cache.max.bytes", if cached { "1000000" } else { "0" })
        .set("dsl.store.suppliers.class", if in_memory { "in_memory" } else { "rocksdb" });
    let driver = TopologyTestDriver::with_config(&builder.build().unwrap(), &config.build().unwrap(), 0).unwrap();
    let left_topic = driver.input_topic::<String, Option<String>>("left");
    let right_topic = driver.input_topic::<String, Option<i64>>("right");
    let out = driver.output_topic::<String, Option<String>>("out");

    let (mut lefts, mut rights, mut table) = (Rows::new(), BTreeMap::new(), BTreeMap::new());
    for update in updates {
        match *update {
            Update::Left(key, Some((foreign, number))) => {
                lefts.insert(key, (foreign, number));
                let row = format!("{},{number}", foreign.map(foreign_key).unwrap_or_default());
                left_topic.pipe(key.to_string(), Some(row)).unwrap();
            }
            Update::Left(key, None) => {
                lefts.remove(&key);
                left_topic.pipe(key.to_string(), None).unwrap();
            }
            Update::Right(key, Some(value)) => {
                rights.insert(key, value);
                right_topic.pipe(foreign_key(key), Some(i64::from(value))).unwrap();
            }
            Update::Right(key, None) => {
                rights.remove(&key);
                right_topic.pipe(foreign_key(key), None).unwrap();
            }
        }
        for (key, value) in out.read_key_values().unwrap() {
            match value {
                Some(value) => table.insert(key, value),
                None => table.remove(&key),
            };
        }
        prop_assert_eq!(&table, &model(left_join, &lefts, &rights), "after {:?}", update);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 5, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_result_is_the_join_of_what_is_there(
        updates in updates(),
        left_join: bool,
        cached: bool,
        in_memory: bool,
    ) {
        check(&updates, left_join, cached, in_memory)?;
    }
}

#[test]
fn partitioners_and_a_name_are_heeded() {
    let builder = StreamsBuilder::new();
    let (left, right) = (builder.table::<String, String>("left"), builder.table::<String, i64>("right"));
    let joined = TableJoined::named("fk").with_partitioner(|_, _, _| Some(0)).with_other_partitioner(|_, _, _| None);
    let store = vltava_streams::Materialized::named("joined");
    left.join_by_foreign_key_with(
        (joined, store),
        &right,
        |key: &String, _: &String| key.clone(),
        |a, b| format!("{a}{b}"),
    );
    let topology = builder.build().unwrap();
    let described = topology.describe().to_string();
    for name in ["fk-subscription-registration-topic", "fk-subscription-response-topic", "fk-subscription-store"] {
        assert!(described.contains(name), "{described}");
    }
    let driver = TopologyTestDriver::new(&topology).unwrap();
    driver.input_topic::<String, i64>("right").pipe("k".to_owned(), 7).unwrap();
    driver.input_topic::<String, String>("left").pipe("k".to_owned(), "x".to_owned()).unwrap();
    let sent = driver.history_from(0);
    assert!(sent.iter().any(|record| record.topic.ends_with("fk-subscription-response-topic")), "{sent:?}");
}
