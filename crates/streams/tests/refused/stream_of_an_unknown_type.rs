//! A type is declared to be stream data.

use vltava_streams::StreamsBuilder;

#[derive(Clone)]
struct Order;

fn main() {
    let builder = StreamsBuilder::new();
    builder.stream::<String, Order>("orders");
}
