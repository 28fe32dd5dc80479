//! Two streams are joined within a window.

use vltava_streams::StreamsBuilder;

fn main() {
    let builder = StreamsBuilder::new();
    let orders = builder.stream::<String, i64>("orders");
    let payments = builder.stream::<String, i64>("payments");
    orders.join(&payments, |order, payment| order + payment);
    orders.left_join(&payments, |order, payment| order + payment.copied().unwrap_or(0));
}
