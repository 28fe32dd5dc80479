//! Change data capture: a shop's database as tables of Kafka Streams, joined and summed up as its rows change.
//!
//! ```text
//! orders ──── table ── left join ── join by foreign key ──┬──► sales (a compacted topic)
//! payments ── table ──────┘                 │             └── group by city ── sums ──► revenue
//! customers ─ table ────────────────────────┘
//! ```
//!
//! Debezium writes an envelope for each changed row: the row before and after, and what was done; the key is the row's
//! primary key. A deletion is followed by a tombstone, a record without a value, so that compaction forgets the key. The
//! state after the change, or nothing, is all that a table needs.
//!
//! Orders and payments have the same key and are joined as they are; the customer of an order is found by a foreign key.
//! When a customer moves, all his sales change, and with them two sums: the `subtractor` takes each sale out of the old
//! city, the `adder` puts it into the new one. What is summed up in the end is what the database would answer to
//! `SELECT city, COUNT(*), SUM(cents) … GROUP BY city`; the program checks it.
//!
//! ```text
//! cargo run --release --example cdc
//! cargo run --release --example cdc -- --bootstrap-server localhost:9092
//! ```
//!
//! Without a server it runs on a broker in this process. On one of yours the topics stay, to be looked at;
//! `kafka-topics --delete --topic 'cdc.*'` makes room for another run.
#![allow(clippy::print_stdout, reason = "a program for people prints")]

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use comfy_table::{CellAlignment, Table, presets::UTF8_FULL_CONDENSED};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use vltava::{
    client::{
        Admin, AdminConfig, Consumer, ConsumerConfig, Producer, ProducerConfig, TopicPartition, admin::NewTopic,
        consumer::TypedConsumer, producer::ProducerRecord,
    },
    embedded,
    serdes::{JsonSerde, StringSerde},
    streams::{DefaultSerde, Flow, KTable, KafkaStreams, Materialized, StreamsBuilder, StreamsConfig, Topology},
};

const APPLICATION: &str = "cdc";
const CUSTOMERS: &str = "cdc.shop.customers";
const ORDERS: &str = "cdc.shop.orders";
const PAYMENTS: &str = "cdc.shop.payments";
const SALES: &str = "cdc.sales";
const REVENUE: &str = "cdc.revenue";
const PARTITIONS: i32 = 3;

/// A primary key as Debezium writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Id {
    id: i64,
}

/// Debezium's envelope around a change of a row.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Change<T> {
    before: Option<T>,
    after: Option<T>,
    op: Operation,
    /// In ms since the epoch.
    ts_ms: i64,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Operation {
    #[serde(rename = "c")]
    Create,
    #[serde(rename = "u")]
    Update,
    #[serde(rename = "d")]
    Delete,
    /// A row that was there when the capture began.
    #[serde(rename = "r")]
    Read,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Customer {
    name: String,
    city: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Order {
    customer_id: i64,
    cents: i64,
}

/// Of the order with the same id.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Payment {
    method: String,
}

/// An order and how it was paid for.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct PaidOrder {
    order: Order,
    paid_by: Option<String>,
}

/// An order with all that is known of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Sale {
    customer: String,
    city: String,
    cents: i64,
    paid_by: Option<String>,
}

/// The sales of a city.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Revenue {
    orders: i64,
    cents: i64,
    unpaid_cents: i64,
}

impl Revenue {
    fn with(self, sale: &Sale) -> Self {
        self.changed(1, sale)
    }

    /// Nothing is left of a city without orders.
    fn without(self, sale: &Sale) -> Option<Self> {
        Some(self.changed(-1, sale)).filter(|revenue| revenue.orders > 0)
    }

    fn changed(self, sign: i64, sale: &Sale) -> Self {
        let unpaid = if sale.paid_by.is_none() { sale.cents } else { 0 };
        Revenue {
            orders: self.orders + sign,
            cents: self.cents + sign * sale.cents,
            unpaid_cents: self.unpaid_cents + sign * unpaid,
        }
    }
}

// One line for each type says what its bytes are.
impl DefaultSerde for Id {
    type Serde = JsonSerde;
}
impl<T: Flow + Serialize + DeserializeOwned> DefaultSerde for Change<T> {
    type Serde = JsonSerde;
}
impl DefaultSerde for Customer {
    type Serde = JsonSerde;
}
impl DefaultSerde for Order {
    type Serde = JsonSerde;
}
impl DefaultSerde for Payment {
    type Serde = JsonSerde;
}
impl DefaultSerde for PaidOrder {
    type Serde = JsonSerde;
}
impl DefaultSerde for Sale {
    type Serde = JsonSerde;
}
impl DefaultSerde for Revenue {
    type Serde = JsonSerde;
}

/// The table in the database, from the changes of its rows. A deletion and a tombstone both delete.
///
/// It has no cache. A cache tells of a row that came and went between two commits nothing at all, but an order that looks
/// for its customer in that time has seen the row: it would never hear that the customer is gone.
fn table<T: DefaultSerde + Serialize + DeserializeOwned>(builder: &StreamsBuilder, topic: &str) -> KTable<Id, T> {
    let changes = builder.stream::<Id, Option<Change<T>>>(topic);
    let rows = changes.map_values(|change| change.and_then(|change| change.after));
    rows.to_table_with(Materialized::new().with_caching_disabled())
}

/// The application.
fn topology() -> Result<Topology> {
    let builder = StreamsBuilder::new();
    let customers = table::<Customer>(&builder, CUSTOMERS);
    let orders = table::<Order>(&builder, ORDERS);
    let payments = table::<Payment>(&builder, PAYMENTS);
    let sales = orders
        .left_join(&payments, |order, payment| PaidOrder {
            order: order.clone(),
            paid_by: payment.map(|payment| payment.method.clone()),
        })
        .join_by_foreign_key(
            &customers,
            |paid| Id { id: paid.order.customer_id },
            |paid, customer| Sale {
                customer: customer.name.clone(),
                city: customer.city.clone(),
                cents: paid.order.cents,
                paid_by: paid.paid_by.clone(),
            },
        );
    sales.to_stream().to(SALES);
    sales
        .group_by(|_, sale| (sale.city.clone(), sale.clone()))
        .aggregate(Revenue::default, |_, sale, revenue| revenue.with(&sale), |_, sale, revenue| revenue.without(&sale))
        .to_stream()
        .to(REVENUE);
    Ok(builder.build()?)
}

/// A shop's database, with Debezium attached.
#[derive(Default)]
struct Database {
    customers: BTreeMap<i64, Customer>,
    orders: BTreeMap<i64, Order>,
    payments: BTreeMap<i64, Payment>,
    captured: Vec<Captured>,
}

/// A record that Debezium writes.
struct Captured {
    topic: &'static str,
    key: Id,
    value: Option<Value>,
}

impl Database {
    /// Some months of the shop, the same every time.
    fn after_some_months() -> Result<Self> {
        const CITIES: [&str; 5] = ["Brno", "Olomouc", "Ostrava", "Plzeň", "Praha"];
        let mut random = fastrand::Rng::with_seed(1);
        let mut shop = Database::default();
        for day in 0..4_000_i64 {
            let city = random.choice(CITIES).unwrap_or_default().to_owned();
            let (customer_id, order) = (random.i64(0..150), random.i64(0..day + 1));
            let cents = random.i64(100..50_000);
            let Database { customers, orders, payments, captured } = &mut shop;
            match random.usize(0..20) {
                // Customers sign up or move, and rarely ask to be forgotten: their orders stay.
                0..4 => {
                    let customer = Customer { name: format!("customer {customer_id}"), city };
                    write(captured, CUSTOMERS, customers, customer_id, Some(customer))?;
                }
                4 => write(captured, CUSTOMERS, customers, customer_id, None)?,
                5..13 => write(captured, ORDERS, orders, day, Some(Order { customer_id, cents }))?,
                // Some orders are changed, some cancelled, most are paid for, sometimes before they are known.
                13 if orders.contains_key(&order) => {
                    write(captured, ORDERS, orders, order, Some(Order { customer_id, cents }))?;
                }
                14 => write(captured, ORDERS, orders, order, None)?,
                _ => write(captured, PAYMENTS, payments, order, Some(Payment { method: "card".to_owned() }))?,
            }
        }
        Ok(shop)
    }

    /// `SELECT city, COUNT(*), SUM(cents) …`: what the application has to come to.
    fn revenue(&self) -> BTreeMap<String, Revenue> {
        let mut cities = BTreeMap::<String, Revenue>::new();
        for (id, order) in &self.orders {
            if let Some(customer) = self.customers.get(&order.customer_id) {
                let revenue = cities.entry(customer.city.clone()).or_default();
                revenue.orders += 1;
                revenue.cents += order.cents;
                revenue.unpaid_cents += if self.payments.contains_key(id) { 0 } else { order.cents };
            }
        }
        cities
    }
}

/// Changes a row, and tells of it.
fn write<T: Clone + Serialize>(
    captured: &mut Vec<Captured>,
    topic: &'static str,
    table: &mut BTreeMap<i64, T>,
    id: i64,
    after: Option<T>,
) -> Result<()> {
    let before = match &after {
        Some(row) => table.insert(id, row.clone()),
        None => table.remove(&id),
    };
    let op = match (&before, &after) {
        (None, None) => return Ok(()),
        (None, Some(_)) => Operation::Create,
        (Some(_), Some(_)) => Operation::Update,
        (Some(_), None) => Operation::Delete,
    };
    let (key, ts_ms, is_deletion) = (Id { id }, i64::try_from(captured.len())?, after.is_none());
    let change = serde_json::to_value(Change { before, after, op, ts_ms })?;
    captured.push(Captured { topic, key, value: Some(change) });
    if is_deletion {
        captured.push(Captured { topic, key, value: None });
    }
    Ok(())
}

/// Follows a shop's database and keeps its revenue by city.
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
    create_topics(server).await?;
    let shop = Database::after_some_months()?;
    produce(server, &shop.captured).await?;

    let state = tempfile::tempdir()?;
    let config = StreamsConfig::from_properties([
        ("application.id", APPLICATION),
        ("bootstrap.servers", server),
        ("commit.interval.ms", "100"),
        ("num.stream.threads", "2"),
        ("state.dir", &state.path().display().to_string()),
    ])?;
    let streams = KafkaStreams::new(topology()?, config)?;
    streams.start()?;
    ensure!(
        streams.wait_until_caught_up_async(Duration::from_secs(60)).await?,
        "the changes did not get through in time"
    );
    streams.close_async(Duration::from_secs(30)).await?;

    let revenue = read(server, REVENUE).await?;
    print(&revenue);
    ensure!(revenue == shop.revenue(), "the database says otherwise: {:?}", shop.revenue());
    println!("The database says the same after {} changes.", shop.captured.len());
    Ok(())
}

async fn create_topics(server: &str) -> Result<()> {
    let admin = Admin::new(AdminConfig::from_properties([("bootstrap.servers", server)])?)?;
    let topics = [CUSTOMERS, ORDERS, PAYMENTS, SALES, REVENUE]
        .map(|topic| NewTopic::new(topic).partitions(PARTITIONS).config("cleanup.policy", "compact"));
    for (topic, created) in admin.create_topics(topics).await {
        created.with_context(|| format!("creating {topic}"))?;
    }
    Ok(())
}

async fn produce(server: &str, captured: &[Captured]) -> Result<()> {
    let debezium = Producer::new(ProducerConfig::from_properties([("bootstrap.servers", server)])?)?;
    let mut deliveries = Vec::new();
    for Captured { topic, key, value } in captured {
        let key = serde_json::to_vec(key)?;
        let value = value.as_ref().map(serde_json::to_vec).transpose()?;
        let record = ProducerRecord { value: value.as_deref(), ..ProducerRecord::new(topic).key(&key) };
        deliveries.push(debezium.send(record).await?);
    }
    for delivery in deliveries {
        delivery.await?;
    }
    Ok(())
}

/// The table in a topic: the last value of every key, without those that were deleted.
async fn read(server: &str, topic: &str) -> Result<BTreeMap<String, Revenue>> {
    let config = [("bootstrap.servers", server), ("auto.offset.reset", "earliest")];
    let consumer = Consumer::new(ConsumerConfig::from_properties(config)?)?;
    let partitions: Vec<_> = (0..PARTITIONS).map(|partition| TopicPartition::new(topic, partition)).collect();
    consumer.assign(partitions.iter().cloned())?;
    let ends = consumer.end_offsets(&partitions).await?;
    let consumer = TypedConsumer::new(consumer, StringSerde, JsonSerde);
    let mut rows = BTreeMap::new();
    for (partition, end) in ends {
        while consumer.consumer().position(&partition).await? < end {
            for record in consumer.poll(Duration::from_secs(1)).await? {
                let key = record.key.context("a row without a key")?;
                match record.value {
                    Some(row) => rows.insert(key, row),
                    None => rows.remove(&key),
                };
            }
        }
    }
    Ok(rows)
}

fn print(cities: &BTreeMap<String, Revenue>) {
    let money = |cents: i64| format!("{}.{:02}", cents / 100, cents % 100);
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header(["city", "orders", "sold for", "not paid yet"]);
    for (city, revenue) in cities {
        let Revenue { orders, cents, unpaid_cents } = revenue;
        table.add_row([city.clone(), orders.to_string(), money(*cents), money(*unpaid_cents)]);
    }
    table.column_iter_mut().skip(1).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    println!("{table}");
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use vltava::streams::{Json, TopologyTestDriver};

    use super::*;

    fn pipe(driver: &TopologyTestDriver, topic: &str, id: i64, change: Option<Value>) {
        driver.input_topic::<Id, Option<Json<Value>>>(topic).pipe(Id { id }, change.map(Json)).unwrap();
    }

    fn revenue(driver: &TopologyTestDriver) -> BTreeMap<String, Option<Revenue>> {
        driver.output_topic::<String, Option<Revenue>>(REVENUE).read_key_values_to_map().unwrap()
    }

    #[test]
    fn a_customer_takes_his_sales_along() {
        let driver = TopologyTestDriver::new(&topology().unwrap()).unwrap();
        let customer = |city: &str| json!({"name": "Ada", "city": city});
        pipe(
            &driver,
            ORDERS,
            1,
            Some(json!({"op": "c", "ts_ms": 1, "before": null, "after": {"customer_id": 7, "cents": 250}})),
        );
        pipe(&driver, PAYMENTS, 1, Some(json!({"op": "c", "ts_ms": 2, "before": null, "after": {"method": "cash"}})));
        assert!(driver.output_topic::<Id, Option<Sale>>(SALES).is_empty());
        pipe(&driver, CUSTOMERS, 7, Some(json!({"op": "c", "ts_ms": 3, "before": null, "after": customer("Brno")})));
        pipe(
            &driver,
            CUSTOMERS,
            7,
            Some(json!({"op": "u", "ts_ms": 4, "before": customer("Brno"), "after": customer("Praha")})),
        );
        let of_one = Revenue { orders: 1, cents: 250, unpaid_cents: 0 };
        assert_eq!(revenue(&driver), [("Brno".to_owned(), None), ("Praha".to_owned(), Some(of_one))].into());
        let sale = |city: &str| {
            Some(Sale {
                customer: "Ada".to_owned(),
                city: city.to_owned(),
                cents: 250,
                paid_by: Some("cash".to_owned()),
            })
        };
        let sales = driver.output_topic::<Id, Option<Sale>>(SALES);
        assert_eq!(sales.read_values().unwrap(), [sale("Brno"), sale("Praha")]);

        pipe(
            &driver,
            ORDERS,
            1,
            Some(json!({"op": "d", "ts_ms": 5, "before": {"customer_id": 7, "cents": 250}, "after": null})),
        );
        pipe(&driver, ORDERS, 1, None);
        assert_eq!(sales.read_values().unwrap().first(), Some(&None));
        assert_eq!(revenue(&driver), [("Praha".to_owned(), None)].into());
    }

    #[test]
    fn the_tables_come_to_what_the_database_says() {
        let driver = TopologyTestDriver::new(&topology().unwrap()).unwrap();
        let shop = Database::after_some_months().unwrap();
        for Captured { topic, key, value } in &shop.captured {
            pipe(&driver, topic, key.id, value.clone());
        }
        let expected = shop.revenue();
        assert_eq!(expected.len(), 5);
        let rows = revenue(&driver).into_iter().filter_map(|(city, revenue)| Some((city, revenue?)));
        assert_eq!(rows.collect::<BTreeMap<_, _>>(), expected);
    }
}
