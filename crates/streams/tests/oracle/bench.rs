//! The speed of the bare engine over the cases: each case's events, played again and again into one driver, each round
//! later than the one before. `interop/oracle/run bench` does the same on the JVM; `cargo xtask engine-bench` runs both.

use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};
use vltava_streams::{Headers, Result, TopologyTestDriver};

use super::{cases::Case, payload, runner, stores};

enum Event {
    Advance(Duration),
    Record { topic: String, key: Option<Vec<u8>>, value: Option<Vec<u8>>, timestamp: i64, headers: Headers },
}

/// Plays the cases that end without an error, and prints what an event cost on average.
pub fn run(cases: &[Case], rounds: u32) {
    let (mut events, mut time, mut played) = (0, Duration::ZERO, 0);
    for case in cases.iter().filter(|case| case.spec["expected"].get("error").is_none()) {
        let Some(driver) = runner::driver(&case.spec) else { continue };
        played += 1;
        let (count, took) = play(&driver, &read(&case.spec), rounds);
        events += count;
        time += took;
    }
    let each = time.as_nanos() / u128::from(events.max(1));
    println!("{}", json!({ "engine": "vltava", "cases": played, "events": events, "ns_per_event": each as u64 }));
}

fn read(spec: &Json) -> Vec<Event> {
    let event = |event: &Json| {
        if let Some(ms) = event.get("advance") {
            return Some(Event::Advance(Duration::from_millis(ms.as_u64().unwrap())));
        }
        event.get("topic").map(|topic| Event::Record {
            topic: topic.as_str().unwrap().to_owned(),
            key: payload::bytes(event.get("key")),
            value: payload::bytes(event.get("value")),
            timestamp: event["ts"].as_i64().unwrap(),
            headers: stores::headers_of(event.get("headers")),
        })
    };
    spec["events"].as_array().unwrap().iter().filter_map(event).collect()
}

fn play(driver: &TopologyTestDriver, events: &[Event], rounds: u32) -> (u64, Duration) {
    let timestamps = events.iter().map(|event| match event {
        Event::Advance(_) => 0,
        Event::Record { timestamp, .. } => *timestamp,
    });
    let span = timestamps.max().unwrap_or(0).max(0) + 1;
    let (mut count, mut time) = (0, Duration::ZERO);
    for round in 0..i64::from(rounds) {
        let begin = Instant::now();
        if events.iter().try_for_each(|event| pipe(driver, event, round * span)).is_err() {
            // A case may not bear being played again: its finished rounds count.
            break;
        }
        time += begin.elapsed();
        count += events.len() as u64;
    }
    (count, time)
}

fn pipe(driver: &TopologyTestDriver, event: &Event, later: i64) -> Result<()> {
    match event {
        Event::Advance(by) => driver.advance_wall_clock_time(*by),
        Event::Record { topic, key, value, timestamp, headers } => {
            let timestamp = (*timestamp).max(0) + later;
            driver.pipe_bytes(topic, key.as_deref(), value.as_deref(), timestamp, headers.clone())
        }
    }
}
