//! Streams, and streams and tables, are joined by one type of key.

use std::time::Duration;

use vltava_streams::{StreamsBuilder, dsl::JoinWindows};

fn main() {
    let builder = StreamsBuilder::new();
    let orders = builder.stream::<String, i64>("orders");
    let payments = builder.stream::<i64, i64>("payments");
    orders.join_stream(&payments, JoinWindows::of_time_difference_with_no_grace(Duration::from_secs(5)), |a, b| a + b);
    let customers = builder.table::<i64, String>("customers");
    orders.join(&customers, |order, customer| format!("{order} {customer}"));
}
