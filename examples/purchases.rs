//! Purchases of a chain of shops: masked, looked at from four sides, and rewarded.
//!
//! The registers write every purchase to `purchases`, card number included and without a key. The application
//!
//! - masks the card number before anything else, so that no other topic ever has it: `purchases-masked`;
//! - keeps of each what was bought where, without the customer: `purchases-patterns`;
//! - sends what the coffee bars and the electronics departments sold to topics of their own;
//! - moves purchases to their customers' partitions, adds up reward points there in a store, and tells after each
//!   purchase how many the customer has: `purchases-rewards`.
//!
//! ```text
//! cargo run --release --example purchases
//! cargo run --release --example purchases -- --bootstrap-server localhost:9092
//! ```
//!
//! Without a server it runs on a broker in this process. On one of yours the topics stay, to be looked at;
//! `kafka-topics --delete --topic 'purchases.*'` makes room for another run.
#![allow(clippy::print_stdout, reason = "a program for people prints")]

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use comfy_table::{Table, presets::UTF8_FULL_CONDENSED};
use serde::{Deserialize, Serialize};
use vltava::{
    client::{
        Admin, AdminConfig, Consumer, ConsumerConfig, Producer, ProducerConfig, TopicPartition, admin::NewTopic,
        consumer::TypedConsumer, producer::TypedProducer,
    },
    embedded,
    serdes::{JsonSerde, StringSerde, serde_of},
    streams::{
        Branched, DefaultSerde, FixedKeyContext, FixedKeyProcessor, FixedKeyRecord, KafkaStreams, KeyValueStore, Named,
        Repartitioned, StoreBuilder, StreamsBuilder, StreamsConfig, Topology, store::StoreHandle,
    },
};

const APPLICATION: &str = "purchases";
const PURCHASES: &str = "purchases";
const MASKED: &str = "purchases-masked";
const PATTERNS: &str = "purchases-patterns";
const COFFEE: &str = "purchases-coffee";
const ELECTRONICS: &str = "purchases-electronics";
const REWARDS: &str = "purchases-rewards";
const PARTITIONS: i32 = 4;

/// Masks, sorts and rewards purchases with Kafka Streams.
#[derive(Parser)]
struct Options {
    /// A broker to use instead of one in this process.
    #[arg(long)]
    bootstrap_server: Option<String>,
    /// How many purchases to make.
    #[arg(long, default_value_t = 2_000)]
    purchases: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum Department {
    Coffee,
    Electronics,
    Grocery,
}

/// What a register writes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Purchase {
    customer: String,
    card: String,
    department: Department,
    item: String,
    quantity: u32,
    /// The price of one piece.
    cents: i64,
    zip: String,
}

/// What was bought where, and not by whom.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Pattern {
    item: String,
    zip: String,
    cents: i64,
}

/// What a customer got for a purchase, and has by now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Reward {
    cents: i64,
    points: i64,
    total_points: i64,
}

impl Purchase {
    fn total_cents(&self) -> i64 {
        i64::from(self.quantity) * self.cents
    }

    fn masked(self) -> Self {
        Purchase { card: mask(&self.card), ..self }
    }

    fn pattern(self) -> Pattern {
        Pattern { cents: self.total_cents(), item: self.item, zip: self.zip }
    }
}

// One line for each type says what its bytes are.
impl DefaultSerde for Purchase {
    type Serde = JsonSerde;
}
impl DefaultSerde for Pattern {
    type Serde = JsonSerde;
}
impl DefaultSerde for Reward {
    type Serde = JsonSerde;
}

/// All digits but the last four are hidden, or all if there are too few for a card.
fn mask(card: &str) -> String {
    let digits = card.chars().filter(char::is_ascii_digit).count();
    let mut left = if digits < 12 { usize::MAX } else { digits };
    let hide = |c: char| match c.is_ascii_digit() {
        true if left > 4 => {
            left -= 1;
            'x'
        }
        _ => c,
    };
    card.chars().map(hide).collect()
}

/// Adds up what each customer's purchases are worth: a point for every full euro.
struct RewardCustomers {
    points: StoreHandle<KeyValueStore<String, i64>>,
}

impl FixedKeyProcessor for RewardCustomers {
    type K = String;
    type VIn = Purchase;
    type VOut = Reward;

    fn process(
        &mut self,
        record: FixedKeyRecord<String, Purchase>,
        ctx: &mut FixedKeyContext<'_, '_, Self>,
    ) -> vltava::streams::Result<()> {
        let cents = record.value.total_cents();
        let points = cents / 100;
        let mut store = ctx.store(self.points)?;
        let total_points = store.get(record.key())?.unwrap_or(0) + points;
        store.put(record.key(), Some(total_points))?;
        ctx.forward(record.with_value(Reward { cents, points, total_points }))
    }
}

/// The application: what a user of Kafka Streams would write.
fn topology() -> Result<Topology> {
    let builder = StreamsBuilder::new();
    let points = builder.add_state_store(StoreBuilder::<KeyValueStore<String, i64>>::persistent("points"));

    let masked = builder.stream::<Option<String>, Purchase>(PURCHASES).map_values(Purchase::masked);
    masked.to(MASKED);
    masked.map_values(Purchase::pattern).to(PATTERNS);
    masked
        .split_with(Named::new("department"))
        .branch_with(Branched::named("-coffee").with_consumer(|coffee| coffee.to(COFFEE)), |_, purchase| {
            purchase.department == Department::Coffee
        })
        .branch_with(
            Branched::named("-electronics").with_consumer(|electronics| electronics.to(ELECTRONICS)),
            |_, purchase| purchase.department == Department::Electronics,
        )
        .no_default_branch();
    masked
        .select_key(|_, purchase| purchase.customer.clone())
        // A store is divided as the partitions are: here all purchases of a customer come to one place.
        .repartition_with(Repartitioned::named("customers"))
        .process_values_with(points, |points| RewardCustomers { points })
        .to(REWARDS);
    Ok(builder.build()?)
}

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse();
    let broker;
    let bootstrap = match &options.bootstrap_server {
        Some(server) => server.as_str(),
        None => {
            broker = embedded::Broker::start(embedded::Config::default())?;
            broker.bootstrap_servers()
        }
    };
    create_topics(bootstrap).await?;
    produce(bootstrap, purchases(options.purchases)).await?;

    let state = tempfile::tempdir()?;
    let config = StreamsConfig::from_properties([
        ("application.id", APPLICATION),
        ("bootstrap.servers", bootstrap),
        ("state.dir", &state.path().display().to_string()),
        ("num.stream.threads", "2"),
        ("commit.interval.ms", "100"),
    ])?;
    let streams = KafkaStreams::new(topology()?, config)?;
    streams.start()?;
    ensure!(
        streams.wait_until_caught_up_async(Duration::from_secs(60)).await?,
        "the application did not get through in time"
    );
    streams.close_async(Duration::from_secs(30)).await?;

    let masked: Vec<(Option<String>, Purchase)> = read(bootstrap, MASKED).await?;
    let (_, sample) = masked.first().context("nothing was bought")?;
    println!("{} purchases, with cards as {}", masked.len(), sample.card);
    print_patterns(&read(bootstrap, PATTERNS).await?);
    print_rewards(&read(bootstrap, REWARDS).await?);
    Ok(())
}

async fn create_topics(bootstrap: &str) -> Result<()> {
    let admin = Admin::new(AdminConfig::from_properties([("bootstrap.servers", bootstrap)])?)?;
    let topics = [PURCHASES, MASKED, PATTERNS, COFFEE, ELECTRONICS, REWARDS];
    let topics = topics.map(|topic| NewTopic::new(topic).partitions(PARTITIONS));
    for (topic, created) in admin.create_topics(topics).await {
        created.with_context(|| format!("creating {topic}"))?;
    }
    Ok(())
}

async fn produce(bootstrap: &str, purchases: impl Iterator<Item = Purchase>) -> Result<()> {
    let producer = Producer::new(ProducerConfig::from_properties([("bootstrap.servers", bootstrap)])?)?;
    let registers = TypedProducer::<String, Purchase>::new(producer, PURCHASES, StringSerde, JsonSerde);
    let mut deliveries = Vec::new();
    for purchase in purchases {
        deliveries.push(registers.send(None, Some(&purchase)).await?);
    }
    for delivery in deliveries {
        delivery.await?;
    }
    Ok(())
}

/// Purchases by chance, the same ones every time.
fn purchases(count: usize) -> impl Iterator<Item = Purchase> {
    const GOODS: [(Department, &str, i64); 6] = [
        (Department::Coffee, "espresso", 240),
        (Department::Coffee, "cappuccino", 390),
        (Department::Electronics, "headphones", 7_999),
        (Department::Electronics, "charger", 1_950),
        (Department::Grocery, "bread", 420),
        (Department::Grocery, "apples", 299),
    ];
    let mut random = fastrand::Rng::with_seed(11);
    (0..count).filter_map(move |_| {
        let customer = random.u32(0..40);
        let (department, item, cents) = random.choice(GOODS)?;
        Some(Purchase {
            customer: format!("customer-{customer:02}"),
            card: format!("4111-1111-1111-{:04}", 1_000 + customer),
            department,
            item: item.to_owned(),
            quantity: random.u32(1..=3),
            cents,
            zip: format!("{:05}", 11_000 + 1_000 * random.u32(0..8)),
        })
    })
}

/// All that is in a topic: keys and values.
async fn read<T: DefaultSerde>(bootstrap: &str, topic: &str) -> Result<Vec<(Option<String>, T)>> {
    let consumer = Consumer::new(ConsumerConfig::from_properties([
        ("bootstrap.servers", bootstrap),
        ("auto.offset.reset", "earliest"),
    ])?)?;
    let partitions: Vec<_> = (0..PARTITIONS).map(|partition| TopicPartition::new(topic, partition)).collect();
    consumer.assign(partitions.clone())?;
    let count: i64 = consumer.end_offsets(&partitions).await?.values().sum();
    let count = usize::try_from(count)?;
    let consumer = TypedConsumer::new(consumer, StringSerde, serde_of::<T>());
    let mut records = Vec::with_capacity(count);
    while records.len() < count {
        for record in consumer.poll(Duration::from_secs(1)).await? {
            records.push((record.key, record.value.context("a record without a value")?));
        }
    }
    Ok(records)
}

fn print_patterns(patterns: &[(Option<String>, Pattern)]) {
    let mut items: BTreeMap<&str, (usize, i64)> = BTreeMap::new();
    for (_, pattern) in patterns {
        let (times, cents) = items.entry(&pattern.item).or_default();
        *times += 1;
        *cents += pattern.cents;
    }
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header(["item", "purchases", "sold for"]);
    for (item, (times, cents)) in items {
        table.add_row([item.to_owned(), times.to_string(), euros(cents)]);
    }
    println!("{table}");
}

/// The customers with the most points. The last reward of a customer says how many he has.
fn print_rewards(rewards: &[(Option<String>, Reward)]) {
    let mut customers: BTreeMap<&str, (usize, i64, i64)> = BTreeMap::new();
    for (customer, reward) in rewards {
        let (purchases, cents, points) = customers.entry(customer.as_deref().unwrap_or_default()).or_default();
        *purchases += 1;
        *cents += reward.cents;
        *points = reward.total_points;
    }
    let mut customers: Vec<_> = customers.into_iter().collect();
    customers.sort_by_key(|(_, (_, _, points))| -points);
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header(["customer", "purchases", "spent", "points"]);
    for (customer, (purchases, cents, points)) in customers.into_iter().take(10) {
        table.add_row([customer.to_owned(), purchases.to_string(), euros(cents), points.to_string()]);
    }
    println!("{table}");
}

fn euros(cents: i64) -> String {
    format!("{}.{:02} €", cents / 100, cents % 100)
}

#[cfg(test)]
mod tests {
    use vltava::streams::TopologyTestDriver;

    use super::*;

    /// Pipes purchases through the application.
    fn run(purchases: &[Purchase]) -> Result<TopologyTestDriver> {
        let driver = TopologyTestDriver::new(&topology()?)?;
        let registers = driver.input_topic::<Option<String>, Purchase>(PURCHASES);
        registers.pipe_values(purchases.iter().cloned())?;
        Ok(driver)
    }

    fn values<T: DefaultSerde>(driver: &TopologyTestDriver, topic: &str) -> Result<Vec<T>> {
        Ok(driver.output_topic::<Option<String>, T>(topic).read_values()?)
    }

    #[test]
    fn a_card_shows_its_last_four_digits_and_nothing_else() {
        assert_eq!(mask("4111-1111-1111-1234"), "xxxx-xxxx-xxxx-1234");
        assert_eq!(mask("378282246310005"), "xxxxxxxxxxx0005");
        assert_eq!(mask("12345"), "xxxxx");
        assert_eq!(mask("card?"), "card?");
    }

    #[test]
    fn no_topic_but_the_first_has_a_card_number() -> Result<()> {
        let driver = run(&purchases(100).collect::<Vec<_>>())?;
        let written = driver.history();
        assert!(written.iter().any(|record| record.topic.ends_with("-customers-repartition")));
        for record in written {
            let text = String::from_utf8_lossy(record.value.as_deref().unwrap_or_default()).into_owned();
            assert!(!text.contains("4111"), "{}: {text}", record.topic);
        }
        Ok(())
    }

    #[test]
    fn each_side_gets_its_purchases() -> Result<()> {
        let bought: Vec<_> = purchases(500).collect();
        let driver = run(&bought)?;
        let masked: Vec<_> = bought.iter().cloned().map(Purchase::masked).collect();
        let of = |department| masked.iter().filter(|p| p.department == department).cloned().collect::<Vec<_>>();
        assert_eq!(values::<Purchase>(&driver, MASKED)?, masked);
        assert_eq!(values::<Purchase>(&driver, COFFEE)?, of(Department::Coffee));
        assert_eq!(values::<Purchase>(&driver, ELECTRONICS)?, of(Department::Electronics));
        let patterns: Vec<_> = bought.into_iter().map(Purchase::pattern).collect();
        assert_eq!(values::<Pattern>(&driver, PATTERNS)?, patterns);
        Ok(())
    }

    #[test]
    fn points_add_up_per_customer() -> Result<()> {
        let bought: Vec<_> = purchases(500).collect();
        let driver = run(&bought)?;
        let mut totals = BTreeMap::new();
        let mut expected = Vec::new();
        for purchase in &bought {
            let cents = i64::from(purchase.quantity) * purchase.cents;
            let total = totals.entry(purchase.customer.clone()).or_insert(0);
            *total += cents / 100;
            expected.push((purchase.customer.clone(), Reward { cents, points: cents / 100, total_points: *total }));
        }
        assert_eq!(driver.output_topic::<String, Reward>(REWARDS).read_key_values()?, expected);
        let stored = driver.store::<KeyValueStore<String, i64>, _>("points", |points| points.all())?;
        assert_eq!(stored, totals.into_iter().collect::<Vec<_>>());
        Ok(())
    }
}
