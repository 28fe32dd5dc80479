//! Windows that are emitted when they close: after a restart, from the disk or from the changelog, none is emitted again,
//! and none is forgotten.

use std::time::Duration;

use vltava::{
    client::admin::NewTopic,
    streams::{EmitStrategy, SessionWindows, StreamsBuilder, TimeWindows},
};

use super::{ALL_STORES, Stores, World, close};

#[derive(Clone, Copy, Debug)]
enum Windows {
    /// Of 60 seconds.
    Tumbling,
    /// With a gap of 30 seconds.
    Sessions,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_window_is_not_emitted_again_after_a_restart() {
    for stores in ALL_STORES {
        let at_once = "0";
        let seconds = ([1, 70], [80, 130]);
        let out = restart(Windows::Tumbling, stores, at_once, seconds).await;
        assert_eq!(out, ["0 1", "60000 2"], "{stores:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_not_emitted_again_after_a_restart() {
    for stores in ALL_STORES {
        let at_once = "0";
        let seconds = ([1, 70], [80, 130]);
        let out = restart(Windows::Sessions, stores, at_once, seconds).await;
        assert_eq!(out, ["1000 1", "70000 2"], "{stores:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_window_that_was_still_to_be_emitted_is_after_a_restart() {
    for stores in ALL_STORES {
        // The first record looks for closed windows, and nobody again in the first run.
        let once_a_day = "86400000";
        let seconds = ([1, 150], [151, 200]);
        let out = restart(Windows::Tumbling, stores, once_a_day, seconds).await;
        assert_eq!(out, ["0 1", "120000 2"], "{stores:?}");
    }
}

/// Two records in each of two runs, at these seconds. Gives the first two results.
async fn restart(windows: Windows, stores: Stores, interval: &str, seconds: ([i64; 2], [i64; 2])) -> Vec<String> {
    let world = World::new("emit-on-close", ["in", "out"].map(NewTopic::new)).await;
    let every = "__emit.interval.ms.kstreams.windowed.aggregation__";
    let first = world.run(&topology(windows), "first", stores, &[(every, interval)]);
    for second in seconds.0 {
        world.send("in", "k", "v", second * 1000).await;
    }
    world.until_committed("in", 2).await;
    close(first).await;

    let second = world.run(&topology(windows), stores.second_directory(), stores, &[(every, "0")]);
    for second in seconds.1 {
        world.send("in", "k", "v", second * 1000).await;
    }
    world.until_committed("in", 4).await;
    close(second).await;
    // Whatever is emitted once too often comes before the last.
    world.read(2).await
}

fn topology(windows: Windows) -> StreamsBuilder {
    let builder = StreamsBuilder::new();
    let grouped = builder.stream::<String, String>("in").group_by_key();
    let counts = match windows {
        Windows::Tumbling => {
            let windows = TimeWindows::of_size_with_no_grace(Duration::from_secs(60));
            grouped.windowed_by(windows).emit_strategy(EmitStrategy::OnWindowClose).count()
        }
        Windows::Sessions => {
            let windows = SessionWindows::of_inactivity_gap_with_no_grace(Duration::from_secs(30));
            grouped.windowed_by_sessions(windows).emit_strategy(EmitStrategy::OnWindowClose).count()
        }
    };
    counts
        .to_stream()
        .map(|key, count| (key.window.start().to_string(), count.unwrap_or_default().to_string()))
        .to("out");
    builder
}
