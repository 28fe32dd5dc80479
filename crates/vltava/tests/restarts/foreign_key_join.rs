//! A foreign-key join: tables of different numbers of partitions meet, and what one row has asked for is known after a
//! restart, from the disk or from the changelogs.

use std::collections::BTreeMap;

use vltava::{client::admin::NewTopic, streams::StreamsBuilder};

use super::{ALL_STORES, World, close};

const ORDERS: u8 = 20;

/// Half of the orders are customer 0's, half of them customer 1's; the customers come after a restart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_row_has_asked_for_is_known_after_a_restart() {
    for stores in ALL_STORES {
        let topics =
            [NewTopic::new("orders").partitions(3), NewTopic::new("customers").partitions(2), NewTopic::new("out")];
        let world = World::new("foreign-key-join", topics).await;
        let two_threads = [("num.stream.threads", "2")];
        let first = world.run(&topology(), "first", stores, &two_threads);
        for order in 0..ORDERS {
            world.send("orders", &format!("o{order}"), &format!("c{},{order}", order % 2), 0).await;
        }
        let asked = (0..ORDERS).map(|order| (format!("o{order}"), format!("{order} for nobody"))).collect();
        until_out_is(&world, &asked).await;
        close(first).await;

        let second = world.run(&topology(), stores.second_directory(), stores, &two_threads);
        world.send("customers", "c0", "Ada", 0).await;
        world.send("customers", "c1", "Ben", 0).await;
        let name = |order: u8| if order.is_multiple_of(2) { "Ada" } else { "Ben" };
        let mut expected: BTreeMap<_, _> =
            (0..ORDERS).map(|order| (format!("o{order}"), format!("{order} for {}", name(order)))).collect();
        until_out_is(&world, &expected).await;

        world.send("orders", "o0", "c1,0", 0).await;
        expected.insert("o0".to_owned(), "0 for Ben".to_owned());
        until_out_is(&world, &expected).await;
        close(second).await;
    }
}

fn topology() -> StreamsBuilder {
    let builder = StreamsBuilder::new();
    let (orders, customers) = (builder.table::<String, String>("orders"), builder.table::<String, String>("customers"));
    let customer = |order: &String| order.split_once(',').map(|(customer, _)| customer.to_owned());
    let number = |order: &String| order.split_once(',').map_or(String::new(), |(_, number)| number.to_owned());
    orders
        .left_join_by_foreign_key(&customers, customer, move |order, name| {
            format!("{} for {}", number(order), name.map_or("nobody", String::as_str))
        })
        .to_stream()
        .to("out");
    builder
}

/// Reads the output from its beginning until the last values of all keys are these.
async fn until_out_is(world: &World, expected: &BTreeMap<String, String>) {
    let mut table = BTreeMap::new();
    world
        .read_until(|record| {
            table.extend(record);
            table == *expected
        })
        .await;
}
