//! Producer, consumer and admin as three tasks of one async program: orders are written as they come in, worked on by a
//! member of a group, and the group's backlog is watched.
//!
//! ```text
//! a channel ── producer task ──► orders ──► consumer task ──► what the shop has taken in
//!                                  └── admin task: the backlog of the group `billing`
//! ```
//!
//! ```text
//! cargo run --release --example clients
//! cargo run --release --example clients -- --bootstrap-server localhost:9092
//! ```
//!
//! What to take from here: a record is *sent* when its delivery says so, and deliveries are awaited behind the sending, not
//! one by one; the loop of a consumer is poll, work, commit; what another member's coming or going does to a commit is no
//! failure, for the records come again, to whoever has the partition then; and each task is told to end and closes its
//! client.
#![allow(clippy::print_stdout, reason = "a program for people prints")]

use std::{collections::VecDeque, time::Duration};

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use tokio::sync::{mpsc, watch};
use vltava::{
    client::{
        Admin, AdminConfig, ClientError, Consumer, ConsumerConfig, ErrorCode, Producer, ProducerConfig, TopicPartition,
        admin::{NewTopic, OffsetSpec},
        config::IsolationLevel,
        producer::{Delivery, ProducerRecord},
    },
    embedded,
};

const ORDERS: &str = "clients-orders";
const GROUP: &str = "clients-billing";
const PARTITIONS: i32 = 3;
const COUNT: i64 = 20_000;
/// Deliveries that are awaited at most behind the sending.
const IN_FLIGHT: usize = 10_000;

/// An order: who, and how much in cents.
#[derive(Debug)]
struct Order {
    customer: String,
    cents: i64,
}

/// Takes orders through a broker.
#[derive(Parser)]
struct Options {
    /// A broker to use instead of one in this process.
    #[arg(long)]
    bootstrap_server: Option<String>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse();
    let broker;
    let server = match &options.bootstrap_server {
        Some(server) => server,
        None => {
            broker = embedded::Broker::start(embedded::Config::default())?;
            broker.bootstrap_servers()
        }
    };
    let admin = Admin::new(AdminConfig::from_properties([("bootstrap.servers", server)])?)?;
    for (topic, created) in admin.create_topics([NewTopic::new(ORDERS).partitions(PARTITIONS)]).await {
        created.with_context(|| format!("creating {topic}"))?;
    }

    let (orders, incoming) = mpsc::channel(1_000);
    let (tell, taken) = watch::channel((0_i64, 0_i64));
    let (end, ending) = watch::channel(false);
    let producer = tokio::spawn(produce(server.to_owned(), incoming));
    let consumer = tokio::spawn(consume(server.to_owned(), tell, ending.clone()));
    let watcher = tokio::spawn(watch_backlog(admin, ending));

    let mut wanted = 0;
    for number in 0..COUNT {
        let order = Order { customer: format!("customer-{}", number % 100), cents: number % 5_000 };
        wanted += order.cents;
        orders.send(order).await?;
    }
    // The last sender goes, and the producer ends when all is delivered.
    drop(orders);
    producer.await??;
    let (count, cents) = *taken.clone().wait_for(|(count, _)| *count >= COUNT).await?;
    end.send_replace(true);
    consumer.await??;
    watcher.await??;
    println!("{count} orders over {}.{:02}", cents / 100, cents % 100);
    ensure!((count, cents) == (COUNT, wanted), "not what was ordered: {wanted} cents");
    Ok(())
}

/// Writes what comes in; ends with the channel, when the broker has all of it.
async fn produce(server: String, mut incoming: mpsc::Receiver<Order>) -> Result<()> {
    let config = ProducerConfig::from_properties([("bootstrap.servers", server.as_str()), ("linger.ms", "5")])?;
    let producer = Producer::new(config)?;
    let mut in_flight: VecDeque<Delivery> = VecDeque::new();
    while let Some(order) = incoming.recv().await {
        let value = order.cents.to_string();
        // Waits only for metadata and for room in `buffer.memory`.
        in_flight.push_back(producer.send(ProducerRecord::new(ORDERS).key(&order.customer).value(&value)).await?);
        if in_flight.len() > IN_FLIGHT
            && let Some(oldest) = in_flight.pop_front()
        {
            oldest.await.context("an order was not written")?;
        }
    }
    producer.flush().await?;
    for delivery in in_flight {
        delivery.await.context("an order was not written")?;
    }
    Ok(producer.close(Duration::from_secs(10)).await?)
}

/// Poll, work, commit, until it is told to end.
async fn consume(server: String, tell: watch::Sender<(i64, i64)>, mut ending: watch::Receiver<bool>) -> Result<()> {
    let config = ConsumerConfig::from_properties([
        ("bootstrap.servers", server.as_str()),
        ("group.id", GROUP),
        ("auto.offset.reset", "earliest"),
        ("enable.auto.commit", "false"),
    ])?;
    let consumer = Consumer::new(config)?;
    consumer.subscribe([ORDERS])?;
    loop {
        // `poll` is cancel-safe: what ends it loses no record.
        let records = tokio::select! {
            records = consumer.poll(Duration::from_secs(1)) => records?,
            _ = ending.wait_for(|end| *end) => break,
        };
        let (mut count, mut cents) = (0, 0);
        for (partition, record) in records.iter() {
            let text = std::str::from_utf8(record.value().unwrap_or_default())?;
            cents += text.parse::<i64>().with_context(|| format!("{partition} at {}", record.offset()))?;
            count += 1;
        }
        if count == 0 {
            continue;
        }
        match consumer.commit_sync().await {
            Ok(()) => tell.send_modify(|(all, sum)| (*all, *sum) = (*all + count, *sum + cents)),
            // Another member has come or gone meanwhile: these records come again, here or there.
            Err(ClientError::CommitFailed { reason }) => println!("not committed: {reason}"),
            Err(error) if error.code() == Some(ErrorCode::RebalanceInProgress) => println!("not committed: {error}"),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(consumer.close(Duration::from_secs(10)).await?)
}

/// Prints every half second how far the group is behind.
async fn watch_backlog(admin: Admin, mut ending: watch::Receiver<bool>) -> Result<()> {
    let mut ticks = tokio::time::interval(Duration::from_millis(500));
    loop {
        let is_over = tokio::select! {
            _ = ticks.tick() => false,
            _ = ending.wait_for(|end| *end) => true,
        };
        if is_over {
            return Ok(());
        }
        println!("backlog: {} orders", backlog(&admin).await?);
    }
}

async fn backlog(admin: &Admin) -> Result<i64, ClientError> {
    let committed = admin.list_consumer_group_offsets(GROUP, None).await?;
    let latest = (0..PARTITIONS).map(|partition| (TopicPartition::new(ORDERS, partition), OffsetSpec::Latest));
    let mut behind = 0;
    for (partition, end) in admin.list_offsets(latest, IsolationLevel::ReadUncommitted).await {
        let done = committed.get(&partition).and_then(Option::as_ref).map_or(0, |offset| offset.offset);
        behind += end?.offset - done;
    }
    Ok(behind)
}
