//! An application that dies when its changelogs are written and its offsets are not committed, far on in the time of the
//! records: the next one tells no half of a pair, and begins no window anew.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use vltava::{
    client::{TopicPartition, admin::NewTopic},
    streams::{JoinWindows, Materialized, State, StreamJoined, StreamsBuilder, TimeWindows},
};

use super::{ALL_STORES, PATIENCE, World, close};

const APPLICATION: &str = "begun-anew";
/// What kills the application that is to die.
const FATAL: &str = "fatal";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_half_of_a_pair_is_told_and_no_window_begun_anew() {
    for stores in ALL_STORES {
        let world = World::new(APPLICATION, ["left", "right", "out"].map(NewTopic::new)).await;
        let every =
            |commit_interval_ms| [("commit.interval.ms", commit_interval_ms), ("statestore.cache.max.bytes", "0")];
        let first = world.run(&topology(false), "first", stores, &every("20"));
        world.send("left", "a", "l1", 1_000).await;
        world.send("right", "b", "r1", 1_000).await;
        world.until_committed("left", 1).await;
        world.until_committed("right", 1).await;
        close(first).await;

        let never = "86400000";
        let second = world.run(&topology(true), "first", stores, &every(never));
        world.send("right", "a", "r2", 1_005).await;
        world.send("left", "b", "l2", 1_005).await;
        world.send("left", "a", "l3", 1_500).await;
        until_told(&world, ["a l1+r2", "b l2+r1", "a@0 l1l3"]).await;
        // More than any store keeps.
        world.send("left", "x", "l4", 200_000).await;
        world.send("right", "x", "r4", 200_000).await;
        until_told(&world, ["x l4+r4", "x@200000 l4"]).await;
        for (store, records) in [("pairs-outer-this-join-store", 4), ("pairs-outer-other-join-store", 3), ("seen", 4)] {
            until_written(&world, &format!("{APPLICATION}-{store}-changelog"), records).await;
        }
        world.send("left", "y", FATAL, 200_001).await;
        let ended = second.wait_for_state_async(State::has_completed_shutdown, PATIENCE).await;
        assert!(ended && second.failure().is_some(), "it goes on: {:?}", second.state());
        drop(second);
        assert_eq!(world.committed("left").await, Some(1), "what comes again");

        let third = world.run(&topology(false), stores.second_directory(), stores, &every("20"));
        world.until_committed("left", 5).await;
        world.until_committed("right", 3).await;
        close(third).await;
        let expected =
            ["a l1+r2", "a l3+", "a@0 l1", "a@0 l1l3", "b l2+r1", "b@0 l2", "x l4+r4", "x@200000 l4", "y@200000 fatal"];
        assert_eq!(told(&world).await, expected.map(str::to_owned).into(), "{stores:?}");
    }
}

/// An outer join, and what was seen in every window of one of its sides.
fn topology(dies: bool) -> StreamsBuilder {
    let builder = StreamsBuilder::new();
    let (second, grace) = (Duration::from_secs(1), Duration::from_secs(5));
    let left = builder.stream::<String, String>("left");
    let or_nothing = |side: Option<&String>| side.map_or(String::new(), String::clone);
    left.outer_join_stream_with(
        StreamJoined::new().with_name("pairs").with_store_name("pairs"),
        &builder.stream::<String, String>("right"),
        JoinWindows::of_time_difference_and_grace(Duration::from_millis(10), grace),
        move |_, left, right| format!("{}+{}", or_nothing(left), or_nothing(right)),
    )
    .to("out");
    let add = |value: String, seen: String| if seen.contains(&value) { seen } else { seen + &value };
    left.group_by_key()
        .windowed_by(TimeWindows::of_size_and_grace(2 * second, grace))
        .aggregate_with(Materialized::named("seen"), String::new, move |_, value, seen| add(value, seen))
        .to_stream()
        .map(|window, seen| (format!("{}@{}", window.key, window.window.start()), seen))
        .to("out");
    left.peek(move |_, value| assert!(!dies || value != FATAL, "it dies, as it is to"));
    builder
}

async fn until_written(world: &World, topic: &str, records: i64) {
    let (end, partition, consumer) = (Instant::now() + PATIENCE, TopicPartition::new(topic, 0), world.consumer());
    loop {
        let ends = consumer.end_offsets(std::slice::from_ref(&partition)).await.unwrap();
        if ends.get(&partition).is_some_and(|end| *end >= records) {
            return;
        }
        assert!(Instant::now() < end, "{topic} has not {records} records: {ends:?}");
    }
}

/// What the output has, as `key value`.
async fn told(world: &World) -> BTreeSet<String> {
    let (partition, consumer) = (TopicPartition::new("out", 0), world.consumer());
    let ends = consumer.end_offsets(std::slice::from_ref(&partition)).await.unwrap();
    consumer.assign([partition.clone()]).unwrap();
    consumer.seek_to_beginning(&[]).unwrap();
    let (end, mut found) = (Instant::now() + PATIENCE, BTreeSet::new());
    while consumer.position(&partition).await.unwrap() < ends[&partition] {
        for (_, record) in consumer.poll(Duration::from_millis(200)).await.unwrap().iter() {
            let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap_or_default().to_vec()).unwrap();
            found.insert(format!("{} {}", text(record.key()), text(record.value())));
        }
        assert!(Instant::now() < end, "only {found:?}");
    }
    found
}

async fn until_told<const N: usize>(world: &World, results: [&str; N]) {
    let end = Instant::now() + PATIENCE;
    loop {
        let told = told(world).await;
        if results.iter().all(|result| told.contains(*result)) {
            return;
        }
        assert!(Instant::now() < end, "{results:?} are not all in {told:?}");
    }
}
