//! Windowed aggregations of every kind, held against models that keep all records and think about each window anew.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_wrap,
    reason = "a broken test fails loudly"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use proptest::prelude::*;
use vltava_streams::{
    EmitStrategy, KTable, Materialized, Record, SessionWindows, SlidingWindows, StreamsBuilder, TimeWindows,
    TopologyTestDriver, Windowed,
    dsl::{StoreFamily, StoreType},
};

/// Key and timestamp. The value of the record at position `n` is 2 to the power of `n`: a sum tells which records are in
/// it.
type Input = (u8, i64);

/// Key, start and end.
type Row = (String, i64, i64);

/// A row's new value, with the timestamp of the change.
type Update = (Row, Option<i64>, i64);

/// What keeps the rows: whether on disk's engine, and whether behind a cache.
#[derive(Clone, Copy, Debug)]
struct Engine {
    store: StoreType,
    cached: bool,
}

const AT_ONCE: Engine = Engine { store: StoreType::Persistent, cached: false };

fn engines() -> impl Strategy<Value = Engine> {
    let store = prop_oneof![Just(StoreType::Persistent), Just(StoreType::InMemory)];
    (store, any::<bool>()).prop_map(|(store, cached)| Engine { store, cached })
}

fn inputs() -> impl Strategy<Value = Vec<Input>> {
    prop::collection::vec((0u8..3, 0i64..120), 0..40)
}

fn ms(ms: i64) -> Duration {
    Duration::from_millis(ms.unsigned_abs())
}

fn make<S: StoreFamily + 'static>(engine: Engine) -> Materialized<String, i64, S> {
    let materialized = Materialized::new().with_store_type(engine.store);
    if engine.cached { materialized.with_caching_enabled() } else { materialized.with_caching_disabled() }
}

/// What comes out of an aggregation, and how many records were dropped.
fn play(
    aggregate: impl FnOnce(&vltava_streams::KGroupedStream<String, i64>) -> KTable<Windowed<String>, i64>,
    inputs: &[Input],
) -> (Vec<Update>, u64) {
    let builder = StreamsBuilder::new();
    aggregate(&builder.stream::<String, i64>("in").group_by_key())
        .to_stream()
        .map(|key, sum| (format!("{} {} {}", key.key, key.window.start(), key.window.end()), sum))
        .to("out");
    let driver = TopologyTestDriver::new(&builder.build().unwrap()).unwrap();
    let topic = driver.input_topic::<String, i64>("in");
    for (at, (key, timestamp)) in inputs.iter().enumerate() {
        topic.pipe_record(Record::new(key.to_string(), 1 << at, *timestamp)).unwrap();
    }
    let out = driver.output_topic::<String, Option<i64>>("out").read_records().unwrap();
    let update = |record: vltava_streams::TestRecord<String, Option<i64>>| {
        let parts: Vec<_> = record.key.split(' ').collect();
        let row = (parts[0].to_owned(), parts[1].parse().unwrap(), parts[2].parse().unwrap());
        (row, record.value, record.timestamp)
    };
    (out.into_iter().map(update).collect(), driver.dropped_records())
}

/// The table that updates amount to.
fn table(updates: &[Update]) -> BTreeMap<Row, i64> {
    let mut table = BTreeMap::new();
    for (row, value, _) in updates {
        match value {
            Some(value) => table.insert(row.clone(), *value),
            None => table.remove(row),
        };
    }
    table
}

fn by_time(
    (size, advance, grace): (i64, i64, i64),
    emit: EmitStrategy,
    engine: Engine,
    inputs: &[Input],
) -> (Vec<Update>, u64) {
    let windows = TimeWindows::of_size_and_grace(ms(size), ms(grace)).advance_by(ms(advance));
    play(
        |grouped| {
            grouped.windowed_by(windows).emit_strategy(emit).aggregate_with(
                make(engine),
                || 0,
                |_, value: i64, sum| sum + value,
            )
        },
        inputs,
    )
}

/// Every update of hopping windows; how many were too late; the time up to which windows have closed.
fn time_model((size, advance, grace): (i64, i64, i64), inputs: &[Input]) -> (Vec<Update>, u64, i64) {
    let (mut rows, mut updates, mut dropped, mut now) = (BTreeMap::<Row, (i64, i64)>::new(), Vec::new(), 0, -1);
    for (at, (key, timestamp)) in inputs.iter().enumerate() {
        now = now.max(*timestamp);
        let starts = (0..=*timestamp).step_by(advance as usize).filter(|start| *timestamp < start + size);
        for start in starts {
            if start + size <= now - grace {
                dropped += 1;
                continue;
            }
            let row = (key.to_string(), start, start + size);
            let (sum, latest) = rows.get(&row).copied().unwrap_or((0, -1));
            let new = (sum + (1 << at), latest.max(*timestamp));
            rows.insert(row.clone(), new);
            updates.push((row, Some(new.0), new.1));
        }
    }
    (updates, dropped, now - grace)
}

fn sliding(difference: i64, grace: i64, engine: Engine, inputs: &[Input]) -> (Vec<Update>, u64) {
    let windows = SlidingWindows::of_time_difference_and_grace(ms(difference), ms(grace));
    play(
        |grouped| grouped.windowed_by(windows).aggregate_with(make(engine), || 0, |_, value: i64, sum| sum + value),
        inputs,
    )
}

/// The rows of sliding windows if no record is late: one window that ends with each record, one right after it if
/// records follow there. Records too early for a whole window share the one that begins at 0.
fn sliding_model(difference: i64, inputs: &[Input]) -> BTreeMap<Row, i64> {
    let mut rows = BTreeMap::new();
    for (key, timestamp) in inputs {
        let before = (timestamp - difference).max(0);
        for start in [before, timestamp + 1] {
            let within = start..=start + difference;
            let sum = |(at, (other, time)): (usize, &Input)| match other == key && within.contains(time) {
                true => 1 << at,
                false => 0,
            };
            let sum: i64 = inputs.iter().enumerate().map(sum).sum();
            if sum > 0 {
                rows.insert((key.to_string(), start, start + difference), sum);
            }
        }
    }
    rows
}

fn sessions((gap, grace): (i64, i64), emit: EmitStrategy, engine: Engine, inputs: &[Input]) -> (Vec<Update>, u64) {
    let windows = SessionWindows::of_inactivity_gap_and_grace(ms(gap), ms(grace));
    play(
        |grouped| {
            grouped.windowed_by_sessions(windows).emit_strategy(emit).aggregate_with(
                make(engine),
                || 0,
                |_, value: i64, sum| sum + value,
                |_, one, two| one + two,
            )
        },
        inputs,
    )
}

/// FIXME: Kafka's algorithm finds out which record came before by the windows there are. A window that has closed does
/// not take a record that is late, but not too late for its other windows; so the record at 66 is missing where the next
/// ones look for it, and its twin brings it into the window that begins after it.
#[test]
fn a_late_record_may_get_into_the_sliding_window_after_it() {
    let inputs = [(2, 32), (2, 65), (0, 81), (2, 66), (2, 96), (2, 66)];
    let (updates, _) = sliding(33, 3, AT_ONCE, &inputs);
    let after = ("2".to_owned(), 67, 100);
    assert_eq!(table(&updates)[&after], (1 << 3) + (1 << 4));
}

/// FIXME: Kafka keeps sliding windows for twice the time difference and the grace, and takes the last millisecond of that
/// for expired. Without grace a record may need just the window that began then: here the one of 43, which the window
/// after 51 has made expire.
#[test]
fn without_grace_a_sliding_window_may_miss_what_came_in_order() {
    let inputs = [(2, 43), (1, 51), (1, 52), (2, 52)];
    let ends_with_last = ("2".to_owned(), 43, 52);
    let (updates, dropped) = sliding(9, 0, AT_ONCE, &inputs);
    assert_eq!((table(&updates)[&ends_with_last], dropped), (1 << 3, 0));
    let (updates, dropped) = sliding(9, 1, AT_ONCE, &inputs);
    assert_eq!((table(&updates)[&ends_with_last], dropped), ((1 << 3) + 1, 0));
}

/// Every update of sessions; how many records were too late; the rows in the end, with those that have expired; the time
/// up to which sessions have closed.
fn session_model((gap, grace): (i64, i64), inputs: &[Input]) -> (Vec<Update>, u64, BTreeMap<Row, i64>, i64) {
    let (mut rows, mut updates, mut dropped, mut now, mut put) = (BTreeMap::<Row, i64>::new(), Vec::new(), 0, -1, -1);
    for (at, (key, timestamp)) in inputs.iter().enumerate() {
        now = now.max(*timestamp);
        let key = key.to_string();
        // A session whose end is as long ago as the store keeps rows is gone.
        let touches = |(other, start, end): &Row| {
            *other == key && *end >= timestamp - gap && *start <= timestamp + gap && *end > put - gap - grace
        };
        let mut found: Vec<_> =
            rows.iter().filter(|(row, _)| touches(row)).map(|(row, sum)| (row.clone(), *sum)).collect();
        found.sort_by_key(|((_, start, end), _)| (*end, *start));
        let start = found.iter().map(|((_, start, _), _)| *start).chain([*timestamp]).min().unwrap();
        let end = found.iter().map(|((.., end), _)| *end).chain([*timestamp]).max().unwrap();
        if end < now - grace - gap {
            dropped += 1;
            continue;
        }
        if (start, end) != (*timestamp, *timestamp) {
            for (row, _) in &found {
                rows.remove(row);
                updates.push((row.clone(), None, row.2));
            }
        }
        let sum = found.iter().map(|(_, sum)| sum).sum::<i64>() + (1 << at);
        rows.insert((key.clone(), start, end), sum);
        updates.push(((key, start, end), Some(sum), end));
        put = put.max(end);
    }
    (updates, dropped, rows, now - grace - gap)
}

/// Rows that are emitted once each, in no particular order.
fn once(updates: Vec<Update>) -> Result<BTreeMap<Row, i64>, TestCaseError> {
    let mut rows = BTreeMap::new();
    for (row, value, _) in updates {
        prop_assert!(value.is_some(), "{row:?} is emitted without value");
        prop_assert!(rows.insert(row.clone(), value.unwrap()).is_none(), "{row:?} is emitted twice");
    }
    Ok(rows)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases * 3 / 8, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn hopping_windows_update_as_the_model(
        (size, advance) in (1i64..30).prop_flat_map(|size| (Just(size), 1..=size)),
        grace in 0i64..60,
        store in prop_oneof![Just(StoreType::Persistent), Just(StoreType::InMemory)],
        inputs in inputs(),
    ) {
        let windows = (size, advance, grace);
        let (updates, dropped) = by_time(windows, EmitStrategy::OnWindowUpdate, Engine { store, cached: false }, &inputs);
        let (expected, late, _) = time_model(windows, &inputs);
        prop_assert_eq!(updates, expected);
        prop_assert_eq!(dropped, late);
    }

    #[test]
    fn hopping_windows_behind_a_cache_end_as_the_model(
        (size, advance) in (1i64..30).prop_flat_map(|size| (Just(size), 1..=size)),
        grace in 0i64..60,
        engine in engines(),
        inputs in inputs(),
    ) {
        let windows = (size, advance, grace);
        let (updates, dropped) = by_time(windows, EmitStrategy::OnWindowUpdate, engine, &inputs);
        let (expected, late, _) = time_model(windows, &inputs);
        prop_assert_eq!(table(&updates), table(&expected));
        prop_assert_eq!(dropped, late);
    }

    #[test]
    fn closed_windows_are_emitted_once_with_all_that_came_in_time(
        (size, advance) in (1i64..30).prop_flat_map(|size| (Just(size), 1..=size)),
        grace in 0i64..60,
        engine in engines(),
        inputs in inputs(),
    ) {
        let windows = (size, advance, grace);
        let (updates, dropped) = by_time(windows, EmitStrategy::OnWindowClose, engine, &inputs);
        let (expected, late, close) = time_model(windows, &inputs);
        let mut closed = table(&expected);
        closed.retain(|(.., end), _| *end <= close);
        prop_assert_eq!(once(updates)?, closed);
        prop_assert_eq!(dropped, late);
    }

    #[test]
    fn sliding_windows_hold_what_is_in_reach_in_whatever_order_it_came(
        difference in 1i64..40,
        engine in engines(),
        inputs in inputs(),
    ) {
        let (updates, dropped) = sliding(difference, 1000, engine, &inputs);
        prop_assert_eq!(table(&updates), sliding_model(difference, &inputs));
        prop_assert_eq!(dropped, 0);
    }

    #[test]
    fn sliding_windows_need_a_millisecond_of_grace_for_what_comes_in_order(
        difference in 1i64..40,
        engine in engines(),
        mut inputs in inputs(),
    ) {
        inputs.sort_by_key(|(_, timestamp)| *timestamp);
        let (updates, dropped) = sliding(difference, 1, engine, &inputs);
        prop_assert_eq!(table(&updates), sliding_model(difference, &inputs));
        prop_assert_eq!(dropped, 0);
    }

    #[test]
    fn sliding_windows_drop_what_is_later_than_the_grace(
        difference in 1i64..40,
        grace in 0i64..40,
        inputs in inputs(),
    ) {
        let (updates, _) = sliding(difference, grace, AT_ONCE, &inputs);
        let mut now = -1;
        let in_time: BTreeSet<_> = inputs.iter().enumerate().filter(|(_, (_, timestamp))| {
            now = now.max(*timestamp);
            timestamp + difference >= now - grace
        }).map(|(at, _)| at).collect();
        for ((key, ..), sum, _) in updates {
            for (at, (other, _)) in inputs.iter().enumerate().filter(|(at, _)| sum.unwrap() & (1 << at) != 0) {
                prop_assert!(in_time.contains(&at), "record {at} was late");
                prop_assert_eq!(&other.to_string(), &key);
            }
        }
    }

    #[test]
    fn sessions_update_as_the_model((gap, grace) in (1i64..25, 0i64..40), inputs in inputs()) {
        let (updates, dropped) = sessions((gap, grace), EmitStrategy::OnWindowUpdate, AT_ONCE, &inputs);
        let (expected, late, ..) = session_model((gap, grace), &inputs);
        prop_assert_eq!(updates, expected);
        prop_assert_eq!(dropped, late);
    }

    #[test]
    fn sessions_behind_a_cache_end_as_the_model(gap in 1i64..25, engine in engines(), inputs in inputs()) {
        let (updates, dropped) = sessions((gap, 1000), EmitStrategy::OnWindowUpdate, engine, &inputs);
        let (expected, ..) = session_model((gap, 1000), &inputs);
        prop_assert_eq!(table(&updates), table(&expected));
        prop_assert_eq!(dropped, 0);
    }

    #[test]
    fn closed_sessions_are_emitted_once_with_all_that_came_in_time(
        (gap, grace) in (1i64..25, 0i64..40),
        engine in engines(),
        inputs in inputs(),
    ) {
        let (updates, dropped) = sessions((gap, grace), EmitStrategy::OnWindowClose, engine, &inputs);
        let (_, late, mut closed, close) = session_model((gap, grace), &inputs);
        closed.retain(|(.., end), _| *end < close);
        prop_assert_eq!(once(updates)?, closed);
        prop_assert_eq!(dropped, late);
    }
}
