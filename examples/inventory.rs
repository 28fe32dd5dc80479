//! Inventory: what is on the shelves of every shop, and what has to be ordered.
//!
//! `inventory-movements` gets all that changes a shelf, keyed by shop and article: it was counted, sold from, delivered to.
//! `inventory-rules` is a table beside it: below which level an article is ordered, and up to which. The application
//!
//! - gives every movement its shelf's rule (a join with the table);
//! - keeps the stock of each shelf in a store, in a processor;
//! - looks at all shelves once a day of stream time, by a punctuator, and orders where the rule asks for it:
//!   `inventory-orders`;
//! - is its own warehouse: every order comes back as a delivery among the movements.
//!
//! The program lives through a week, day by day, and asks the running application for its store after each.
//!
//! ```text
//! cargo run --release --example inventory
//! cargo run --release --example inventory -- --bootstrap-server localhost:9092
//! ```
//!
//! Without a server it runs on a broker in this process. On one of yours the topics stay, to be looked at;
//! `kafka-topics --delete --topic 'inventory.*'` makes room for another run.
#![allow(clippy::print_stdout, reason = "a program for people prints")]

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use comfy_table::{Table, presets::UTF8_FULL_CONDENSED};
use serde::{Deserialize, Serialize};
use vltava::{
    client::{Admin, AdminConfig, Producer, ProducerConfig, admin::NewTopic, producer::TypedProducer},
    embedded,
    serdes::{JsonSerde, serde_of},
    streams::{
        Context, DefaultSerde, KafkaStreams, KeyValueStore, Processor, PunctuationType, Record, StoreBuilder,
        StreamsBuilder, StreamsConfig, Topology,
        query::{QueryableStoreTypes, StoreQueryParameters},
        store::StoreHandle,
    },
};

const APPLICATION: &str = "inventory";
const MOVEMENTS: &str = "inventory-movements";
const RULES: &str = "inventory-rules";
const ORDERS: &str = "inventory-orders";
const STOCK: &str = "stock";
const PARTITIONS: i32 = 3;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Midnight at the beginning of the week, in 2026, UTC.
const MONDAY: i64 = 1_767_571_200_000;
const HOUR: i64 = 60 * 60_000;

/// Keeps an inventory with Kafka Streams.
#[derive(Parser)]
struct Options {
    /// A broker to use instead of one in this process.
    #[arg(long)]
    bootstrap_server: Option<String>,
    /// How many days to live through.
    #[arg(long, default_value_t = 7)]
    days: i64,
}

/// An article in a shop.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Shelf {
    shop: String,
    article: String,
}

/// What happens to a shelf, in pieces.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum Movement {
    Counted(u32),
    Sold(u32),
    Delivered(u32),
}

/// When to order, and how much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Rule {
    order_below: u32,
    order_up_to: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Order {
    pieces: u32,
}

/// A shelf as the application knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Stock {
    level: u32,
    /// Ordered and not yet delivered.
    ordered: u32,
    sold: u32,
    /// What customers wanted when the shelf was empty.
    missed: u32,
    rule: Rule,
}

// One line for each type says what its bytes are.
impl DefaultSerde for Shelf {
    type Serde = JsonSerde;
}
impl DefaultSerde for Movement {
    type Serde = JsonSerde;
}
impl DefaultSerde for Rule {
    type Serde = JsonSerde;
}
impl DefaultSerde for Order {
    type Serde = JsonSerde;
}
impl DefaultSerde for Stock {
    type Serde = JsonSerde;
}

impl Stock {
    fn moved(mut self, movement: Movement) -> Self {
        match movement {
            Movement::Counted(pieces) => self.level = pieces,
            Movement::Sold(wanted) => {
                let sold = wanted.min(self.level);
                self.level -= sold;
                self.sold += sold;
                self.missed += wanted - sold;
            }
            Movement::Delivered(pieces) => {
                self.level += pieces;
                self.ordered = self.ordered.saturating_sub(pieces);
            }
        }
        self
    }

    /// What has to be ordered by the rule; what is on its way counts as if it were there.
    fn order(&self) -> Option<Order> {
        let expected = self.level + self.ordered;
        let pieces = self.rule.order_up_to.saturating_sub(expected);
        (expected < self.rule.order_below && pieces > 0).then_some(Order { pieces })
    }
}

/// Keeps the stock, and orders once a day.
struct Storekeeper {
    stock: StoreHandle<KeyValueStore<Shelf, Stock>>,
}

impl Processor for Storekeeper {
    type KIn = Shelf;
    type VIn = (Movement, Rule);
    type KOut = Shelf;
    type VOut = Order;

    fn init(&mut self, ctx: &mut Context<'_, Self>) -> vltava::streams::Result<()> {
        // Stream time: the day begins with the first movement after midnight, whenever that is read.
        ctx.schedule(DAY, PunctuationType::StreamTime, |this, now, ctx| this.order(now, ctx))?;
        Ok(())
    }

    fn process(
        &mut self,
        record: Record<Shelf, (Movement, Rule)>,
        ctx: &mut Context<'_, Self>,
    ) -> vltava::streams::Result<()> {
        let (movement, rule) = record.value;
        let mut shelves = ctx.store(self.stock)?;
        let stock = shelves.get(&record.key)?.unwrap_or_default().moved(movement);
        shelves.put(&record.key, Some(Stock { rule, ..stock }))
    }
}

impl Storekeeper {
    fn order(&mut self, now: i64, ctx: &mut Context<'_, Self>) -> vltava::streams::Result<()> {
        for (shelf, stock) in ctx.store(self.stock)?.all()? {
            if let Some(order) = stock.order() {
                let stock = Stock { ordered: stock.ordered + order.pieces, ..stock };
                ctx.store(self.stock)?.put(&shelf, Some(stock))?;
                ctx.forward(Record::new(shelf, order, now))?;
            }
        }
        Ok(())
    }
}

/// The application: what a user of Kafka Streams would write.
fn topology() -> Result<Topology> {
    let builder = StreamsBuilder::new();
    let stock = builder.add_state_store(StoreBuilder::<KeyValueStore<Shelf, Stock>>::persistent(STOCK));
    let rules = builder.table::<Shelf, Rule>(RULES);
    let orders = builder
        .stream::<Shelf, Movement>(MOVEMENTS)
        .join(&rules, |movement, rule| (movement, *rule))
        .process_with(stock, |stock| Storekeeper { stock });
    orders.to(ORDERS);
    // The warehouse has everything, always, at once.
    orders.map_values(|order| Movement::Delivered(order.pieces)).to(MOVEMENTS);
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
    produce(bootstrap, RULES, &rules()).await?;
    produce(bootstrap, MOVEMENTS, &counted()).await?;

    let state = tempfile::tempdir()?;
    let config = StreamsConfig::from_properties([
        ("application.id", APPLICATION),
        ("bootstrap.servers", bootstrap),
        ("state.dir", &state.path().display().to_string()),
        ("commit.interval.ms", "100"),
    ])?;
    let streams = KafkaStreams::new(topology()?, config)?;
    streams.start()?;
    let store = StoreQueryParameters::from_name_and_type(STOCK, QueryableStoreTypes::key_value_store());

    let mut days = Table::new();
    days.load_style(UTF8_FULL_CONDENSED).set_header(["day", "on the shelves", "on the way", "sold", "missed"]);
    for day in 0..options.days {
        produce(bootstrap, MOVEMENTS, &sales(day)).await?;
        // Deliveries too: they are among the movements before what they answer to is committed.
        ensure!(
            streams.wait_until_caught_up_async(Duration::from_secs(60)).await?,
            "the application did not get through in time"
        );
        let shelves: Vec<(Shelf, Stock)> = streams.store(&store)?.all()?;
        let sum = |of: fn(&Stock) -> u32| shelves.iter().map(|(_, stock)| of(stock)).sum::<u32>().to_string();
        days.add_row([
            (day + 1).to_string(),
            sum(|stock| stock.level),
            sum(|stock| stock.ordered),
            sum(|stock| stock.sold),
            sum(|stock| stock.missed),
        ]);
    }
    println!("{days}");
    print_shelves(streams.store(&store)?.all()?);
    streams.close_async(Duration::from_secs(30)).await?;
    Ok(())
}

async fn create_topics(bootstrap: &str) -> Result<()> {
    let admin = Admin::new(AdminConfig::from_properties([("bootstrap.servers", bootstrap)])?)?;
    let topics = [
        // The week of these movements is over; a week's retention would delete them at some time.
        NewTopic::new(MOVEMENTS).config("retention.ms", "-1"),
        NewTopic::new(ORDERS).config("retention.ms", "-1"),
        // Of a table's topic the last value of every key is kept.
        NewTopic::new(RULES).config("cleanup.policy", "compact"),
    ];
    for (topic, created) in admin.create_topics(topics.map(|topic| topic.partitions(PARTITIONS))).await {
        created.with_context(|| format!("creating {topic}"))?;
    }
    Ok(())
}

/// Writes time, key and value of each record.
async fn produce<T: DefaultSerde>(bootstrap: &str, topic: &str, records: &[(i64, Shelf, T)]) -> Result<()> {
    let producer = Producer::new(ProducerConfig::from_properties([("bootstrap.servers", bootstrap)])?)?;
    let producer = TypedProducer::<Shelf, T>::new(producer, topic, JsonSerde, serde_of::<T>());
    let mut deliveries = Vec::new();
    for (time, shelf, value) in records {
        deliveries.push(producer.send_to(None, Some(*time), Some(shelf), Some(value)).await?);
    }
    for delivery in deliveries {
        delivery.await?;
    }
    Ok(())
}

/// Every shelf, with how many pieces of its article are sold on a usual day.
fn shelves() -> impl Iterator<Item = (Shelf, u32)> {
    let articles = [("apples", 40), ("bread", 25), ("coffee", 8), ("soap", 4)];
    let shelf = move |shop: &str| {
        articles.map(|(article, usual)| (Shelf { shop: shop.to_owned(), article: article.to_owned() }, usual))
    };
    ["Brno", "Plzen", "Praha"].into_iter().flat_map(shelf)
}

/// Enough for two days is too little, enough for four is right.
fn rules() -> Vec<(i64, Shelf, Rule)> {
    let rule = |(shelf, usual)| (MONDAY, shelf, Rule { order_below: 2 * usual, order_up_to: 4 * usual });
    shelves().map(rule).collect()
}

/// What is on the shelves when the week begins. Later than the rules: of all it reads, a task takes the earliest first.
fn counted() -> Vec<(i64, Shelf, Movement)> {
    shelves().map(|(shelf, usual)| (MONDAY + 6 * HOUR, shelf, Movement::Counted(3 * usual))).collect()
}

/// A day's sales by chance, the same ones every time.
fn sales(day: i64) -> Vec<(i64, Shelf, Movement)> {
    let mut random = fastrand::Rng::with_seed(day.unsigned_abs());
    let mut sales = Vec::new();
    for (shelf, usual) in shelves() {
        // Now and then everybody wants the same.
        let customers = if random.u32(0..10) == 0 { 3 * usual } else { random.u32(usual / 2..=usual) };
        for _ in 0..customers {
            let opened = MONDAY + day * 24 * HOUR + 8 * HOUR;
            sales.push((opened + random.i64(0..12 * HOUR), shelf.clone(), Movement::Sold(random.u32(1..=2))));
        }
    }
    sales.sort_by_key(|(time, ..)| *time);
    sales
}

fn print_shelves(mut shelves: Vec<(Shelf, Stock)>) {
    shelves.sort_by(|(one, _), (other, _)| one.cmp(other));
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header(["shop", "article", "level", "order below", "up to", "sold", "missed"]);
    for (shelf, stock) in shelves {
        let numbers = [stock.level, stock.rule.order_below, stock.rule.order_up_to, stock.sold, stock.missed];
        table.add_row([shelf.shop, shelf.article].into_iter().chain(numbers.map(|number| number.to_string())));
    }
    println!("{table}");
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use vltava::streams::TopologyTestDriver;

    use super::*;

    fn shelf(article: &str) -> Shelf {
        Shelf { shop: "Praha".to_owned(), article: article.to_owned() }
    }

    fn driver(rules: Vec<(i64, Shelf, Rule)>) -> Result<TopologyTestDriver> {
        let driver = TopologyTestDriver::new(&topology()?)?;
        for (time, shelf, rule) in rules {
            driver.input_topic(RULES).pipe_at(shelf, rule, time)?;
        }
        Ok(driver)
    }

    fn stock(driver: &TopologyTestDriver) -> Result<Vec<(Shelf, Stock)>> {
        Ok(driver.store::<KeyValueStore<Shelf, Stock>, _>(STOCK, |stock| stock.all())?)
    }

    #[test]
    fn what_is_low_is_ordered_with_the_first_movement_of_a_day_and_comes_back() -> Result<()> {
        let rule = Rule { order_below: 10, order_up_to: 30 };
        let driver = driver(vec![(0, shelf("tea"), rule), (0, shelf("gin"), rule)])?;
        let movements = driver.input_topic::<Shelf, Movement>(MOVEMENTS);
        let orders = driver.output_topic::<Shelf, Order>(ORDERS);
        movements.pipe_at(shelf("tea"), Movement::Counted(12), 0)?;
        movements.pipe_at(shelf("gin"), Movement::Counted(12), HOUR)?;
        movements.pipe_at(shelf("tea"), Movement::Sold(5), 20 * HOUR)?;
        assert_eq!(orders.read_key_values()?, []);
        movements.pipe_at(shelf("gin"), Movement::Sold(1), 25 * HOUR)?;
        assert_eq!(orders.read_key_values()?, [(shelf("tea"), Order { pieces: 23 })]);
        let tea = Stock { level: 30, ordered: 0, sold: 5, missed: 0, rule };
        assert_eq!(stock(&driver)?, [(shelf("gin"), Stock { level: 11, sold: 1, ..tea }), (shelf("tea"), tea)]);
        Ok(())
    }

    #[test]
    fn an_empty_shelf_sells_nothing_and_nothing_happens_without_a_rule() -> Result<()> {
        let rule = Rule { order_below: 0, order_up_to: 9 };
        let driver = driver(vec![(0, shelf("tea"), rule)])?;
        let movements = driver.input_topic::<Shelf, Movement>(MOVEMENTS);
        movements.pipe_at(shelf("tea"), Movement::Counted(3), 0)?;
        movements.pipe_at(shelf("tea"), Movement::Sold(5), 1)?;
        movements.pipe_at(shelf("gin"), Movement::Sold(1), 30 * HOUR)?;
        assert_eq!(stock(&driver)?, [(shelf("tea"), Stock { level: 0, ordered: 0, sold: 3, missed: 2, rule })]);
        assert!(driver.output_topic::<Shelf, Order>(ORDERS).is_empty());
        Ok(())
    }

    #[test]
    fn the_stock_of_a_week_is_that_of_a_loop() -> Result<()> {
        let driver = driver(rules())?;
        let movements: Vec<_> = counted().into_iter().chain((0..7).flat_map(sales)).collect();
        let mut shelves: BTreeMap<Shelf, Stock> = BTreeMap::new();
        let (mut ordered, mut today) = (0, 0);
        for (time, shelf, movement) in movements {
            driver.input_topic(MOVEMENTS).pipe_at(shelf.clone(), movement, time)?;
            let rule = rules().into_iter().find(|(_, of, _)| *of == shelf).map(|(_, _, rule)| rule).unwrap();
            let stock = shelves.entry(shelf).or_default();
            match movement {
                Movement::Counted(pieces) => *stock = Stock { level: pieces, rule, ..Stock::default() },
                Movement::Sold(wanted) => {
                    let sold = wanted.min(stock.level);
                    (stock.level, stock.sold) = (stock.level - sold, stock.sold + sold);
                    stock.missed += wanted - sold;
                }
                Movement::Delivered(_) => unreachable!("nobody else delivers"),
            }
            let day = time / (24 * HOUR);
            if day != std::mem::replace(&mut today, day) {
                for stock in shelves.values_mut().filter(|stock| stock.level < stock.rule.order_below) {
                    ordered += stock.rule.order_up_to - stock.level;
                    stock.level = stock.rule.order_up_to;
                }
            }
        }
        assert_eq!(stock(&driver)?, shelves.into_iter().collect::<Vec<_>>());
        let orders = driver.output_topic::<Shelf, Order>(ORDERS).read_values()?;
        assert_eq!(orders.iter().map(|order| order.pieces).sum::<u32>(), ordered);
        assert!(ordered > 0);
        Ok(())
    }
}
