//! Options come first.

use vltava_streams::{Named, StreamsBuilder};

fn main() {
    let builder = StreamsBuilder::new();
    let orders = builder.stream::<String, i64>("orders");
    orders.filter_with(|_: &String, n: &i64| *n > 1, Named::new("large"));
    orders.filter_with("large", |_, n| *n > 1);
}
