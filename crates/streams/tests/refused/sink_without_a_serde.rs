//! What goes to a topic has bytes.

use vltava_streams::{Data, StreamsBuilder};

#[derive(Clone)]
struct Order;
impl Data for Order {}

fn main() {
    let builder = StreamsBuilder::new();
    let orders = builder.stream::<String, String>("texts").map_values(|_| Order);
    orders.to("orders");
}
