//! A join of two streams: what one side has sent is found after a restart, from the disk or from the changelogs.

use std::time::Duration;

use vltava::{
    client::admin::NewTopic,
    streams::{JoinWindows, StreamsBuilder},
};

use super::{ALL_STORES, World, close};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_side_has_sent_is_found_after_a_restart() {
    for stores in ALL_STORES {
        let world = World::new("stream-join", ["left", "right", "out"].map(NewTopic::new)).await;
        let first = world.run(&topology(), "first", stores, &[]);
        for key in ["joined", "joined", "alone"] {
            world.send("left", key, "left", 1_000).await;
        }
        world.until_committed("left", 3).await;
        close(first).await;

        let second = world.run(&topology(), stores.second_directory(), stores, &[]);
        world.send("left", "joined", "left", 1_000).await;
        world.until_committed("left", 4).await;
        world.send("right", "joined", "right", 1_005).await;
        world.send("right", "other", "right", 9_000).await;
        let expected = ["joined left+right", "joined left+right", "joined left+right", "alone left+"];
        assert_eq!(world.read(expected.len()).await, expected, "{stores:?}");
        close(second).await;
    }
}

fn topology() -> StreamsBuilder {
    let builder = StreamsBuilder::new();
    let windows = JoinWindows::of_time_difference_and_grace(Duration::from_millis(10), Duration::from_secs(5));
    let right = builder.stream::<String, String>("right");
    builder
        .stream::<String, String>("left")
        .left_join_stream(&right, windows, |l, r| format!("{l}+{}", r.map_or("", String::as_str)))
        .to("out");
    builder
}
