//! A stream-table join with a grace period: records that wait for their table's rows still do so after a restart, from the
//! disk or from the changelogs.

use std::time::Duration;

use vltava::{
    client::admin::NewTopic,
    streams::{Joined, Materialized, StreamsBuilder, state::KeyValueSupplier},
};

use super::{Stores, World, close};

/// Orders at one time, before and after a restart, wait for a price that comes last.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_still_wait_for_their_rows_after_a_restart() {
    for stores in [Stores::OnDisk, Stores::DiskLost] {
        let world = World::new("join-with-grace", ["orders", "prices", "out"].map(NewTopic::new)).await;
        let first = world.run(&topology(), "first", stores, &[]);
        world.send("prices", "tea", "7", 500).await;
        world.send("prices", "gin", "3", 1_500).await;
        world.send("prices", "gin", "4", 2_500).await;
        world.send("orders", "tea", "a", 1_000).await;
        world.send("orders", "tea", "b", 1_000).await;
        world.send("orders", "gin", "c", 2_000).await;
        world.until_committed("orders", 3).await;
        world.until_committed("prices", 3).await;
        close(first).await;

        let second = world.run(&topology(), stores.second_directory(), stores, &[]);
        world.send("orders", "tea", "d", 1_000).await;
        world.send("prices", "tea", "8", 900).await;
        world.until_committed("orders", 4).await;
        world.until_committed("prices", 4).await;
        world.send("orders", "end", "e", 7_000).await;
        let expected = ["tea a at 8", "tea b at 8", "tea d at 8", "gin c at 3"];
        assert_eq!(world.read(expected.len()).await, expected, "{stores:?}");
        close(second).await;
    }
}

fn topology() -> StreamsBuilder {
    let builder = StreamsBuilder::new();
    let history = KeyValueSupplier::persistent_versioned("prices", Duration::from_secs(60));
    let prices = builder.table_with::<String, String>(Materialized::supplied(history), "prices");
    let joined = Joined::named("priced").with_grace_period(Duration::from_secs(5));
    let text = |_: &String, order: String, price: Option<&String>| {
        format!("{order} at {}", price.map_or("nothing", String::as_str))
    };
    builder.stream::<String, String>("orders").left_join_with(joined, &prices, text).to("out");
    builder
}
