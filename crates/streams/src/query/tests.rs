use std::time::Duration;

use super::{
    FailureReason, KeyQuery, MultiVersionedKeyQuery, Position, PositionBound, Query, RangeQuery, StateQueryRequest,
    TimestampedKeyQuery, TimestampedRangeQuery, VersionedKeyQuery, WindowKeyQuery, WindowRangeQuery,
};
use crate::{
    Context, Error, KeyValueStore, Materialized, Processor, Record, Result, SessionWindows, StoreBuilder,
    StreamsBuilder, TimeWindows, TopologyTestDriver, ValueAndTimestamp, VersionedKeyValueStore, VersionedRecord,
    Window, Windowed,
    record::ValueTimestampHeaders,
    state::KeyValueSupplier,
    store::{StoreHandle, TimestampedKeyValueStoreWithHeaders},
};

/// Keeps every value in a plain store.
struct Keep(StoreHandle<KeyValueStore<String, String>>);

impl Processor for Keep {
    type KIn = String;
    type VIn = String;
    type KOut = String;
    type VOut = String;

    fn process(&mut self, record: Record<String, String>, ctx: &mut Context<'_, Self>) -> Result<()> {
        ctx.store(self.0)?.put(&record.key, Some(record.value))
    }
}

/// Keeps every version of a value.
struct Versions(StoreHandle<VersionedKeyValueStore<String, String>>);

impl Processor for Versions {
    type KIn = String;
    type VIn = String;
    type KOut = String;
    type VOut = String;

    fn process(&mut self, record: Record<String, String>, ctx: &mut Context<'_, Self>) -> Result<()> {
        ctx.store(self.0)?.put(&record.key, Some(record.value), record.timestamp).map(drop)
    }
}

/// Keeps every value with its timestamp and headers.
struct Tag(StoreHandle<TimestampedKeyValueStoreWithHeaders<String, String>>);

impl Processor for Tag {
    type KIn = String;
    type VIn = String;
    type KOut = String;
    type VOut = String;

    fn process(&mut self, record: Record<String, String>, ctx: &mut Context<'_, Self>) -> Result<()> {
        let row = ValueTimestampHeaders::new(record.value, record.timestamp, record.headers);
        ctx.store(self.0)?.put(&record.key, Some(row))
    }
}

fn driver() -> TopologyTestDriver {
    let builder = StreamsBuilder::new();
    let input = builder.stream::<String, String>("in");
    let second = Duration::from_secs(1);
    let grouped = input.group_by_key();
    grouped.count_with(Materialized::named("counts"));
    grouped.windowed_by(TimeWindows::of_size_with_no_grace(second)).count_with(Materialized::named("windows"));
    grouped
        .windowed_by_sessions(SessionWindows::of_inactivity_gap_with_no_grace(second))
        .count_with(Materialized::named("sessions"));
    let history = KeyValueSupplier::persistent_versioned("versions", Duration::from_secs(3600));
    let versions = builder.add_state_store(StoreBuilder::versioned(history));
    input.process_with(versions, Versions);
    let tagged = StoreBuilder::timestamped_key_value_with_headers(KeyValueSupplier::in_memory("tagged"));
    let tagged = builder.add_state_store(tagged);
    input.process_with(tagged, Tag);
    let plain = builder.add_state_store(StoreBuilder::key_value(KeyValueSupplier::in_memory("plain")));
    input.process_with(plain, Keep);
    let driver = TopologyTestDriver::new(&builder.build().unwrap()).unwrap();
    let input = driver.input_topic::<String, String>("in");
    for (key, value, time) in [("a", "x", 10), ("b", "y", 20), ("a", "z", 1500), ("c", "z", 1600)] {
        input.pipe_at(key.to_owned(), value.to_owned(), time).unwrap();
    }
    driver
}

fn ask<Q: Query>(store: &str, query: Q) -> std::result::Result<Q::Result, super::QueryFailure> {
    let answers = driver().query(&StateQueryRequest::in_store(store).with_query(query)).unwrap();
    answers.into_partition_results().remove(&0).unwrap().into_result()
}

fn key(key: &str) -> String {
    key.to_owned()
}

#[test]
fn keys_and_ranges_of_both_kinds_of_stores() {
    assert_eq!(ask("counts", KeyQuery::<String, i64>::with_key(key("a"))), Ok(Some(2)));
    assert_eq!(ask("counts", KeyQuery::<String, i64>::with_key(key("a")).skip_cache()), Ok(Some(2)));
    assert_eq!(ask("counts", KeyQuery::<String, i64>::with_key(key("z"))), Ok(None));
    assert_eq!(ask("plain", KeyQuery::<String, String>::with_key(key("b"))), Ok(Some(key("y"))));
    let timestamped = ask("counts", TimestampedKeyQuery::<String, i64>::with_key(key("a")));
    assert_eq!(timestamped, Ok(Some(ValueAndTimestamp::new(2, 1500))));
    assert_eq!(ask("tagged", KeyQuery::<String, String>::with_key(key("b"))), Ok(Some(key("y"))));
    let tagged = ask("tagged", TimestampedKeyQuery::<String, String>::with_key(key("b")));
    assert_eq!(tagged, Ok(Some(ValueAndTimestamp::new(key("y"), 20))));
    let tagged = ask("tagged", TimestampedRangeQuery::<String, String>::with_lower_bound(key("c")));
    assert_eq!(tagged, Ok(vec![(key("c"), ValueAndTimestamp::new(key("z"), 1600))]));
    let descending = RangeQuery::<String, i64>::with_lower_bound(key("b")).with_descending_keys();
    assert_eq!(ask("counts", descending), Ok(vec![(key("c"), 1), (key("b"), 1)]));
    let up_to = TimestampedRangeQuery::<String, i64>::with_upper_bound(key("b"));
    let rows = vec![(key("a"), ValueAndTimestamp::new(2, 1500)), (key("b"), ValueAndTimestamp::new(1, 20))];
    assert_eq!(ask("counts", up_to), Ok(rows));
}

#[test]
fn versions_of_a_key() {
    let query = || VersionedKeyQuery::<String, String>::with_key(key("a"));
    let version =
        |value: &str, timestamp, valid_to| Ok(Some(VersionedRecord { value: key(value), timestamp, valid_to }));
    assert_eq!(ask("versions", query()), version("z", 1500, None));
    assert_eq!(ask("versions", query().as_of(1499)), version("x", 10, Some(1500)));
    assert_eq!(ask("versions", query().as_of(9)), Ok(None));
    assert_eq!(ask("plain", query()).unwrap_err().reason, FailureReason::UnknownQueryType);
}

#[test]
fn versions_between_times() {
    let query = || MultiVersionedKeyQuery::<String, String>::with_key(key("a"));
    let version = |value: &str, timestamp, valid_to| VersionedRecord { value: key(value), timestamp, valid_to };
    let (x, z) = (version("x", 10, Some(1500)), version("z", 1500, None));
    assert_eq!(ask("versions", query()), Ok(vec![z.clone(), x.clone()]));
    assert_eq!(ask("versions", query().with_ascending_timestamps()), Ok(vec![x.clone(), z.clone()]));
    assert_eq!(ask("versions", query().from_time(1500)), Ok(vec![z.clone()]));
    assert_eq!(ask("versions", query().from_time(1499).to_time(1500)), Ok(vec![z, x.clone()]));
    assert_eq!(ask("versions", query().to_time(1499)), Ok(vec![x]));
    assert_eq!(ask("versions", query().to_time(9)), Ok(vec![]));
    assert_eq!(ask("versions", query().from_time(2).to_time(1)).unwrap_err().reason, FailureReason::StoreException);
    assert_eq!(ask("plain", query()).unwrap_err().reason, FailureReason::UnknownQueryType);
}

#[test]
fn windows_and_sessions() {
    let of_a = || WindowKeyQuery::<String, i64>::with_key_and_window_start_range(key("a"), 0, 5000);
    assert_eq!(ask("windows", of_a()), Ok(vec![(0, 1), (1000, 1)]));
    let starts = WindowRangeQuery::<String, i64>::with_window_start_range(1000, 1000);
    let at = |key: &str, start, end| Windowed::new(key.to_owned(), Window::new(start, end));
    assert_eq!(ask("windows", starts.clone()), Ok(vec![(at("a", 1000, 2000), 1), (at("c", 1000, 2000), 1)]));
    let sessions = WindowRangeQuery::<String, i64>::with_key(key("a"));
    assert_eq!(ask("sessions", sessions.clone()), Ok(vec![(at("a", 10, 10), 1), (at("a", 1500, 1500), 1)]));
    for failure in [
        ask("sessions", of_a()).unwrap_err(),
        ask("sessions", starts).unwrap_err(),
        ask("windows", sessions).unwrap_err(),
    ] {
        assert_eq!(failure.reason, FailureReason::UnknownQueryType);
    }
}

#[test]
fn what_a_store_does_not_know_is_a_failure_of_its_answer() {
    let failures = [
        ask("plain", TimestampedKeyQuery::<String, String>::with_key(key("a"))).unwrap_err(),
        ask("counts", KeyQuery::<String, String>::with_key(key("a"))).unwrap_err(),
        ask("windows", KeyQuery::<String, i64>::with_key(key("a"))).unwrap_err(),
    ];
    assert!(failures.iter().all(|failure| failure.reason == FailureReason::UnknownQueryType));
    let request = StateQueryRequest::in_store("nothing").with_query(KeyQuery::<String, i64>::with_key(key("a")));
    assert!(matches!(*driver().query(&request).unwrap_err(), Error::UnknownStateStore(_)));
}

#[test]
fn positions_and_bounds() {
    let request = || {
        let query = KeyQuery::<String, i64>::with_key(key("a"));
        StateQueryRequest::in_store("counts").with_query(query).with_partitions([0, 7]).enable_execution_info()
    };
    let bound = |offset| PositionBound::at(Position::empty().with_component("in", 0, offset));
    let driver = driver();
    let answers = driver.query(&request().with_position_bound(bound(3))).unwrap();
    assert_eq!(answers.position().offset("in", 0), Some(3));
    assert_eq!(answers.partition_results()[&7].failure_reason(), Some(FailureReason::NotPresent));
    assert_eq!(answers.partition_results()[&0].execution_info().len(), 1);
    let ahead = driver.query(&request().with_position_bound(bound(4))).unwrap();
    assert_eq!(ahead.partition_results()[&0].failure_reason(), Some(FailureReason::NotUpToBound));
    assert!(ahead.only_partition_result().unwrap().is_none());
    // An active task is as far as can be.
    let active = driver.query(&request().with_position_bound(bound(4)).require_active()).unwrap();
    assert_eq!(active.only_partition_result().unwrap().unwrap().result(), Ok(&Some(2)));
}
