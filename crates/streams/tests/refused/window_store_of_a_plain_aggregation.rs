//! An aggregation without windows has no window store.

use vltava_streams::{Materialized, StreamsBuilder, dsl::WindowStores};

fn main() {
    let builder = StreamsBuilder::new();
    let counts = Materialized::<String, i64, WindowStores>::named("counts");
    builder.stream::<String, String>("words").group_by_key().count_with(counts);
}
