use std::time::Duration;

use proptest::prelude::*;

use crate::{JoinWindows, KStream, Record, Result, StreamsBuilder, StreamsConfig, Topology, TopologyTestDriver};

type Stream = KStream<String, i64>;

/// One record: which side, key, timestamp.
type Input = (bool, u8, i64);

/// What came out: key, left and right value (-1 where there is none), timestamp.
type Output = (String, i64, i64, i64);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Inner,
    Left,
    Outer,
}

fn config(store: &str) -> StreamsConfig {
    let config = StreamsConfig::builder("test").set("dsl.store.suppliers.class", store);
    config.set("topology.optimization", "all").build().unwrap()
}

fn join(kind: Kind, windows: JoinWindows) -> Result<Topology> {
    let builder = StreamsBuilder::new();
    let (left, right): (Stream, Stream) = (builder.stream("left"), builder.stream("right"));
    let pair = |a: Option<&i64>, b: Option<&i64>| (a.copied().unwrap_or(-1), b.copied().unwrap_or(-1));
    let text = |(a, b): (i64, i64)| format!("{a} {b}");
    let joined = match kind {
        Kind::Inner => left.join_stream(&right, windows, move |a, b| text(pair(Some(a), Some(b)))),
        Kind::Left => left.left_join_stream(&right, windows, move |a, b| text(pair(Some(a), b))),
        Kind::Outer => left.outer_join_stream(&right, windows, move |a, b| text(pair(a, b))),
    };
    joined.to("out");
    builder.build()
}

/// The values of the records are their positions.
fn play(kind: Kind, windows: JoinWindows, store: &str, inputs: &[Input]) -> Vec<Output> {
    let driver = TopologyTestDriver::with_config(&join(kind, windows).unwrap(), &config(store), 0).unwrap();
    for (at, (left, key, timestamp)) in inputs.iter().enumerate() {
        let topic = driver.input_topic::<String, i64>(if *left { "left" } else { "right" });
        topic.pipe_record(Record::new(key.to_string(), at as i64, *timestamp)).unwrap();
    }
    let out = driver.output_topic::<String, String>("out").read_records().unwrap();
    let output = |record: crate::TestRecord<String, String>| {
        let (a, b) = record.value.split_once(' ').unwrap();
        (record.key, a.parse().unwrap(), b.parse().unwrap(), record.timestamp)
    };
    out.into_iter().map(output).collect()
}

/// Every pair within the window, and what has none. As in the JVM a record whose window is over by stream time when it
/// comes does not wait for a partner: if none came before it, it is sent alone, and later again with one that comes in
/// the grace period. Others are alone if at the end it is certain that none will come. No record is later than the grace
/// period.
fn model(kind: Kind, windows: JoinWindows, inputs: &[Input]) -> Vec<Output> {
    let (before, after, grace) = (windows.before_ms(), windows.after_ms(), windows.grace_ms());
    let stream_time = |inputs: &[Input]| inputs.iter().map(|input| input.2).max().unwrap_or(-1);
    let mut out = Vec::new();
    for (at, (is_left, key, timestamp)) in inputs.iter().enumerate() {
        let (before, after) = if *is_left { (before, after) } else { (after, before) };
        let meets = |(left, other, time): &&Input| {
            left != is_left && other == key && (timestamp - before..=timestamp + after).contains(time)
        };
        let (earlier, rest) = inputs.split_at(at);
        for (partner, (.., time)) in earlier.iter().enumerate().filter(|(_, input)| meets(input)) {
            let (at, partner) = (at as i64, partner as i64);
            let (left, right) = if *is_left { (at, partner) } else { (partner, at) };
            out.push((key.to_string(), left, right, *timestamp.max(time)));
        }
        let waits = timestamp + after >= stream_time(&inputs[..=at]);
        let alone = match waits {
            true => !inputs.iter().any(|input| meets(&input)) && timestamp + after + grace < stream_time(rest),
            false => !earlier.iter().any(|input| meets(&input)),
        };
        if alone && (kind == Kind::Outer || kind == Kind::Left && *is_left) {
            let (left, right) = if *is_left { (at as i64, -1) } else { (-1, at as i64) };
            out.push((key.to_string(), left, right, *timestamp));
        }
    }
    out
}

fn sorted(mut outputs: Vec<Output>) -> Vec<Output> {
    outputs.sort();
    outputs
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases / 4))]

    #[test]
    fn joins_what_a_nested_loop_would_join(
        steps in prop::collection::vec((any::<bool>(), 0..3u8, 0..12i64, 0..8i64), 1..40),
        (before, after) in (0..10i64, 0..10i64),
        in_memory in any::<bool>(),
    ) {
        // Time goes on, and every record is at most 8 ms late: within the grace period.
        let mut now = 0;
        let mut inputs: Vec<Input> = steps
            .into_iter()
            .map(|(left, key, advance, late)| {
                now += advance;
                (left, key, (now - late).max(0))
            })
            .collect();
        // What closes the last windows: alone with its key.
        inputs.push((true, 9, now + 1_000));
        let windows = JoinWindows::of_time_difference_and_grace(Duration::ZERO, Duration::from_millis(8));
        let windows = windows.with_before_ms(before).with_after_ms(after);
        let store = if in_memory { "in_memory" } else { "rocksdb" };
        for kind in [Kind::Inner, Kind::Left, Kind::Outer] {
            let got = sorted(play(kind, windows, store, &inputs));
            prop_assert_eq!(&got, &sorted(model(kind, windows, &inputs)), "{:?}", kind);
        }
    }
}

#[test]
fn a_bound_out_of_range_is_an_error_of_the_build() {
    let windows = JoinWindows::of_time_difference_with_no_grace(Duration::from_millis(5)).with_before_ms(-6);
    let error = join(Kind::Inner, windows).unwrap_err();
    assert!(error.to_string().contains("must not be negative"), "{error}");
}

#[test]
fn results_without_partner_wait_for_wall_clock_time_too() {
    let windows = JoinWindows::of_time_difference_with_no_grace(Duration::from_millis(5));
    let topology = join(Kind::Left, windows).unwrap();
    let interval = "__emit.interval.ms.kstreams.outer.join.spurious.results.fix__";
    let config = StreamsConfig::builder("t").set(interval, "1000").build().unwrap();
    let driver = TopologyTestDriver::with_config(&topology, &config, 10).unwrap();
    let left = driver.input_topic::<String, i64>("left");
    for (value, timestamp) in [(0, 0), (1, 10), (2, 20)] {
        left.pipe_record(Record::new("k".to_owned(), value, timestamp)).unwrap();
    }
    let out = driver.output_topic::<String, String>("out");
    // The first record that came took the second's turn.
    assert_eq!(out.read_values().unwrap(), [""; 0]);
    driver.advance_wall_clock_time(Duration::from_secs(1)).unwrap();
    left.pipe_record(Record::new("k".to_owned(), 3, 30)).unwrap();
    assert_eq!(out.read_values().unwrap(), ["0 -1", "1 -1", "2 -1"]);
}
