//! A foreign-key join in the runtime: tables of different numbers of partitions meet, and what one row has asked for is
//! known after a restart, from the disk or from the changelogs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test")]

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};

use vltava::{
    client::{
        Admin, AdminConfig, Consumer, ConsumerConfig, Producer, ProducerConfig, TopicPartition, admin::NewTopic,
        producer::ProducerRecord,
    },
    embedded,
    streams::{KafkaStreams, StreamsBuilder, StreamsConfig},
};

const APPLICATION: &str = "foreign-key-join";
const PATIENCE: Duration = Duration::from_secs(60);
const ORDERS: u8 = 20;

/// Where the stores of the second run come from.
#[derive(Clone, Copy, Debug)]
enum Stores {
    OnDisk,
    DiskLost,
    InMemory,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn goes_on_from_its_disk() {
    restart(Stores::OnDisk).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn goes_on_from_its_changelogs() {
    restart(Stores::DiskLost).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn goes_on_in_memory_from_its_changelogs() {
    restart(Stores::InMemory).await;
}

/// Half of the orders are customer 0's, half of them customer 1's; the customers come after a restart.
async fn restart(stores: Stores) {
    let folder = tempfile::tempdir().unwrap();
    let broker = embedded::Broker::start(embedded::Config::default()).unwrap();
    let address = broker.bootstrap_servers().to_owned();
    let admin = Admin::new(AdminConfig::from_properties([("bootstrap.servers", &address)]).unwrap()).unwrap();
    let topics =
        [NewTopic::new("orders").partitions(3), NewTopic::new("customers").partitions(2), NewTopic::new("out")];
    for (_, created) in admin.create_topics(topics).await {
        created.unwrap();
    }
    let producer = Producer::new(ProducerConfig::from_properties([("bootstrap.servers", &address)]).unwrap()).unwrap();
    let send = |topic: &'static str, key: String, value: String| {
        let producer = producer.clone();
        async move {
            let record = ProducerRecord::new(topic).key(&key).value(&value);
            producer.send(record).await.unwrap().await.unwrap()
        }
    };

    let first = run(&address, &folder.path().join("first"), stores);
    for order in 0..ORDERS {
        send("orders", format!("o{order}"), format!("c{},{order}", order % 2)).await;
    }
    let asked = (0..ORDERS).map(|order| (format!("o{order}"), format!("{order} for nobody"))).collect();
    until_out_is(&address, &asked).await;
    close(first).await;

    let directory = match stores {
        Stores::OnDisk => "first",
        Stores::DiskLost | Stores::InMemory => "second",
    };
    let second = run(&address, &folder.path().join(directory), stores);
    send("customers", "c0".to_owned(), "Ada".to_owned()).await;
    send("customers", "c1".to_owned(), "Ben".to_owned()).await;
    let name = |order: u8| if order.is_multiple_of(2) { "Ada" } else { "Ben" };
    let mut expected: BTreeMap<_, _> =
        (0..ORDERS).map(|order| (format!("o{order}"), format!("{order} for {}", name(order)))).collect();
    until_out_is(&address, &expected).await;

    send("orders", "o0".to_owned(), "c1,0".to_owned()).await;
    expected.insert("o0".to_owned(), "0 for Ben".to_owned());
    until_out_is(&address, &expected).await;
    close(second).await;
}

fn run(address: &str, directory: &Path, stores: Stores) -> KafkaStreams {
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
    let config = StreamsConfig::from_properties([
        ("application.id", APPLICATION),
        ("bootstrap.servers", address),
        ("state.dir", directory.to_str().unwrap()),
        ("num.stream.threads", "2"),
        ("commit.interval.ms", "20"),
        ("producer.linger.ms", "0"),
        ("dsl.store.suppliers.class", if matches!(stores, Stores::InMemory) { "in_memory" } else { "rocksdb" }),
    ]);
    let streams = KafkaStreams::new(builder.build().unwrap(), config.unwrap()).unwrap();
    streams.start().unwrap();
    streams
}

async fn close(streams: KafkaStreams) {
    streams.close_async(PATIENCE).await.unwrap();
    assert!(streams.failure().is_none());
}

/// Reads the output from its beginning until the last values of all keys are these.
async fn until_out_is(address: &str, expected: &BTreeMap<String, String>) {
    let consumer = Consumer::new(ConsumerConfig::from_properties([("bootstrap.servers", address)]).unwrap()).unwrap();
    consumer.assign([TopicPartition::new("out", 0)]).unwrap();
    consumer.seek_to_beginning(&[]).unwrap();
    let (end, mut table) = (Instant::now() + PATIENCE, BTreeMap::new());
    while table != *expected {
        for (_, record) in consumer.poll(Duration::from_millis(200)).await.unwrap().iter() {
            let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap_or_default().to_vec()).unwrap();
            table.insert(text(record.key()), text(record.value()));
        }
        assert!(Instant::now() < end, "only {table:?}");
    }
}
