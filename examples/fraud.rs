//! Fraud detection: cards that are used too often, for too much at once, or for too much in an hour.
//!
//! `fraud-payments` gets every payment, keyed by card. Three rules, each with the window or the store that fits it, write
//! to `fraud-alerts`:
//!
//! - a burst: more than five payments in any ten minutes. Sliding windows see every ten minutes there are; each change of
//!   a count is looked at, so the alert comes with the sixth payment. The windows of a burst overlap: a store remembers
//!   that it was told;
//! - an unusual amount: five times the mean of this card's payments so far, kept in a store;
//! - an expensive hour: more than 1,000 € within an hour of the clock. Here the final sum is wanted, once, so it is
//!   held back until the hour is over and payments that come late are in it.
//!
//! ```text
//! cargo run --release --example fraud
//! cargo run --release --example fraud -- --bootstrap-server localhost:9092
//! ```
//!
//! Without a server it runs on a broker in this process. On one of yours the topics stay, to be looked at;
//! `kafka-topics --delete --topic 'fraud.*'` makes room for another run.
#![allow(clippy::print_stdout, reason = "a program for people prints")]

use std::time::Duration;

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
    serdes::{JsonSerde, StringSerde},
    streams::{
        BufferConfig, DefaultSerde, FixedKeyContext, FixedKeyProcessor, FixedKeyRecord, KStream, KafkaStreams,
        KeyValueStore, Materialized, SlidingWindows, StoreBuilder, StreamsBuilder, StreamsConfig, Suppressed,
        TimeWindows, Topology, store::StoreHandle,
    },
};

const APPLICATION: &str = "fraud";
const PAYMENTS: &str = "fraud-payments";
const ALERTS: &str = "fraud-alerts";
const PARTITIONS: i32 = 3;

const MINUTE: Duration = Duration::from_secs(60);
const MOST_USES: i64 = 5;
const MOST_CENTS_PER_HOUR: i64 = 100_000;
/// An amount is unusual above this many times the mean, once there were as many payments as the second number.
const UNUSUAL: (i64, i64) = (5, 5);

/// Watches payments with Kafka Streams.
#[derive(Parser)]
struct Options {
    /// A broker to use instead of one in this process.
    #[arg(long)]
    bootstrap_server: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Payment {
    cents: i64,
    shop: String,
}

/// Why somebody should look at a card. Times are milliseconds since the epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Alert {
    Burst { from: i64, to: i64, uses: i64 },
    Amount { cents: i64, mean: i64, shop: String },
    Hour { from: i64, to: i64, cents: i64 },
}

/// What a card has paid so far, without what was unusual.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Habit {
    payments: i64,
    cents: i64,
}

// One line for each type says what its bytes are.
impl DefaultSerde for Payment {
    type Serde = JsonSerde;
}
impl DefaultSerde for Alert {
    type Serde = JsonSerde;
}
impl DefaultSerde for Habit {
    type Serde = JsonSerde;
}

/// The first rule: more than so many uses in ten minutes.
fn bursts(builder: &StreamsBuilder, payments: &KStream<String, Payment>) -> KStream<String, Alert> {
    let told = builder.add_state_store(StoreBuilder::<KeyValueStore<String, i64>>::persistent("bursts-told"));
    payments
        .group_by_key()
        .windowed_by(SlidingWindows::of_time_difference_and_grace(MINUTE * 10, MINUTE))
        // A cache would keep the sixth payment from us until the next commit.
        .count_with(Materialized::named("uses").with_caching_disabled())
        .to_stream()
        .flat_map(|card, uses| {
            let uses = uses.filter(|uses| *uses > MOST_USES)?;
            Some((card.key, Alert::Burst { from: card.window.start(), to: card.window.end(), uses }))
        })
        .process_values_with(told, |told| OncePerBurst { told })
}

/// Lets the first alert of a burst through, and none of windows that overlap with that one's.
struct OncePerBurst {
    /// By card the end of the window that was told last.
    told: StoreHandle<KeyValueStore<String, i64>>,
}

impl FixedKeyProcessor for OncePerBurst {
    type K = String;
    type VIn = Alert;
    type VOut = Alert;

    fn process(
        &mut self,
        record: FixedKeyRecord<String, Alert>,
        ctx: &mut FixedKeyContext<'_, '_, Self>,
    ) -> vltava::streams::Result<()> {
        let Alert::Burst { from, to, .. } = record.value else { return ctx.forward(record) };
        let mut told = ctx.store(self.told)?;
        if told.get(record.key())?.is_some_and(|end| from <= end) {
            return Ok(());
        }
        told.put(record.key(), Some(to))?;
        ctx.forward(record)
    }
}

/// The second rule: an amount far above the card's mean.
struct UnusualAmounts {
    habits: StoreHandle<KeyValueStore<String, Habit>>,
}

impl FixedKeyProcessor for UnusualAmounts {
    type K = String;
    type VIn = Payment;
    type VOut = Alert;

    fn process(
        &mut self,
        record: FixedKeyRecord<String, Payment>,
        ctx: &mut FixedKeyContext<'_, '_, Self>,
    ) -> vltava::streams::Result<()> {
        let mut habits = ctx.store(self.habits)?;
        let Habit { payments, cents } = habits.get(record.key())?.unwrap_or_default();
        let Payment { cents: amount, shop } = record.value.clone();
        let (times, known) = UNUSUAL;
        // amount > times * cents / payments, without a division.
        if payments >= known && amount * payments > times * cents {
            return ctx.forward(record.with_value(Alert::Amount { cents: amount, mean: cents / payments, shop }));
        }
        habits.put(record.key(), Some(Habit { payments: payments + 1, cents: cents + amount }))
    }
}

/// The third rule: more than so much in one hour, told when the hour is over.
fn expensive_hours(payments: &KStream<String, Payment>) -> KStream<String, Alert> {
    payments
        .group_by_key()
        .windowed_by(TimeWindows::of_size_and_grace(MINUTE * 60, MINUTE * 5))
        .aggregate(|| 0_i64, |_card, payment, cents| cents + payment.cents)
        .suppress(Suppressed::until_window_closes(BufferConfig::unbounded()))
        .to_stream()
        // After the suppression: an hour ends by payments that come later, of whatever card of the partition.
        .flat_map(|card, cents| {
            let cents = cents.filter(|cents| *cents > MOST_CENTS_PER_HOUR)?;
            Some((card.key, Alert::Hour { from: card.window.start(), to: card.window.end(), cents }))
        })
}

/// The application: what a user of Kafka Streams would write.
fn topology() -> Result<Topology> {
    let builder = StreamsBuilder::new();
    let habits = builder.add_state_store(StoreBuilder::<KeyValueStore<String, Habit>>::persistent("habits"));
    let payments = builder.stream::<String, Payment>(PAYMENTS);
    payments
        .process_values_with(habits, |habits| UnusualAmounts { habits })
        .merge(&bursts(&builder, &payments))
        .merge(&expensive_hours(&payments))
        .to(ALERTS);
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
    let payments = payments();
    produce(bootstrap, &payments).await?;

    let state = tempfile::tempdir()?;
    let config = StreamsConfig::from_properties([
        ("application.id", APPLICATION),
        ("bootstrap.servers", bootstrap),
        ("state.dir", &state.path().display().to_string()),
        ("commit.interval.ms", "100"),
        // A day goes by in a second here: too fast for files that come and go with their windows.
        ("dsl.store.suppliers.class", "in_memory"),
    ])?;
    let streams = KafkaStreams::new(topology()?, config)?;
    streams.start()?;
    ensure!(
        streams.wait_until_caught_up_async(Duration::from_secs(60)).await?,
        "the application did not get through in time"
    );
    streams.close_async(Duration::from_secs(30)).await?;

    println!("{} payments", payments.len());
    print_alerts(bootstrap).await
}

async fn create_topics(bootstrap: &str) -> Result<()> {
    let admin = Admin::new(AdminConfig::from_properties([("bootstrap.servers", bootstrap)])?)?;
    let topics = [PAYMENTS, ALERTS].map(|topic| {
        // The day of these payments is over; a week's retention would delete it at some time.
        NewTopic::new(topic).partitions(PARTITIONS).config("retention.ms", "-1")
    });
    for (topic, created) in admin.create_topics(topics).await {
        created.with_context(|| format!("creating {topic}"))?;
    }
    Ok(())
}

async fn produce(bootstrap: &str, payments: &[(i64, String, Payment)]) -> Result<()> {
    let producer = Producer::new(ProducerConfig::from_properties([("bootstrap.servers", bootstrap)])?)?;
    let tills = TypedProducer::<String, Payment>::new(producer, PAYMENTS, StringSerde, JsonSerde);
    let mut deliveries = Vec::new();
    for (time, card, payment) in payments {
        deliveries.push(tills.send_to(None, Some(*time), Some(card), Some(payment)).await?);
    }
    for delivery in deliveries {
        delivery.await?;
    }
    Ok(())
}

/// A day's payments by chance, the same ones every time: time, card, payment. A few cards are in the wrong hands.
fn payments() -> Vec<(i64, String, Payment)> {
    /// Midnight in 2026, UTC.
    const DAY: i64 = 1_767_571_200_000;
    const SHOPS: [&str; 5] = ["bakery", "books", "fuel", "groceries", "pharmacy"];
    let mut random = fastrand::Rng::with_seed(7);
    let mut payments = Vec::new();
    let mut pay = |minute: f64, card: i64, cents: i64, shop: &str| {
        let time = DAY + (minute * 60_000.0) as i64;
        payments.push((time, format!("card-{card:02}"), Payment { cents, shop: shop.to_owned() }));
    };
    for card in 0..60 {
        let mean = random.i64(800..6_000);
        for _ in 0..random.u32(15..30) {
            let cents = mean * random.i64(50..=150) / 100;
            pay(1_440.0 * random.f64(), card, cents, random.choice(SHOPS).unwrap_or_default());
        }
    }
    for (card, hour) in [(7, 9.0), (31, 14.9), (44, 20.0)] {
        for use_ in 0..8 {
            pay(60.0 * hour + f64::from(use_) + random.f64(), card, 999, "vouchers");
        }
    }
    for (card, hour, cents) in [(12, 15.5, 64_900), (31, 18.0, 149_900), (53, 21.25, 89_900)] {
        pay(60.0 * hour, card, cents, "jewellery");
    }
    payments.sort_by_key(|(time, ..)| *time);
    payments
}

/// Reads all alerts and prints them in the order of their times.
async fn print_alerts(bootstrap: &str) -> Result<()> {
    let consumer = Consumer::new(ConsumerConfig::from_properties([
        ("bootstrap.servers", bootstrap),
        ("auto.offset.reset", "earliest"),
    ])?)?;
    let partitions: Vec<_> = (0..PARTITIONS).map(|partition| TopicPartition::new(ALERTS, partition)).collect();
    consumer.assign(partitions.clone())?;
    let count: i64 = consumer.end_offsets(&partitions).await?.values().sum();
    let count = usize::try_from(count)?;
    let consumer = TypedConsumer::<String, Alert>::new(consumer, StringSerde, JsonSerde);
    let mut alerts = Vec::with_capacity(count);
    while alerts.len() < count {
        alerts.extend(consumer.poll(Duration::from_secs(1)).await?);
    }
    alerts.sort_by_key(|alert| alert.record.timestamp());

    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header(["payment at", "card", "alert"]);
    for alert in alerts {
        let why = match alert.value.context("an alert without a value")? {
            Alert::Burst { from, to, uses } => format!("{uses} payments between {} and {}", clock(from), clock(to)),
            Alert::Amount { cents, mean, shop } => format!("{} in place of {} ({shop})", euros(cents), euros(mean)),
            Alert::Hour { from, to, cents } => format!("{} between {} and {}", euros(cents), clock(from), clock(to)),
        };
        table.add_row([clock(alert.record.timestamp()), alert.key.unwrap_or_default(), why]);
    }
    println!("{table}");
    Ok(())
}

fn clock(time: i64) -> String {
    let minutes = time / 60_000 % 1_440;
    format!("{:02}:{:02}", minutes / 60, minutes % 60)
}

fn euros(cents: i64) -> String {
    format!("{}.{:02} €", cents / 100, cents % 100)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use vltava::streams::TopologyTestDriver;

    use super::*;

    const M: i64 = 60_000;

    /// Pipes payments of (time, card, cents) through the application; gives the alerts.
    fn run(payments: impl IntoIterator<Item = (i64, String, Payment)>) -> Result<Vec<(String, Alert)>> {
        let driver = TopologyTestDriver::new(&topology()?)?;
        let tills = driver.input_topic::<String, Payment>(PAYMENTS);
        for (time, card, payment) in payments {
            tills.pipe_at(card, payment, time)?;
        }
        Ok(driver.output_topic::<String, Alert>(ALERTS).read_key_values()?)
    }

    fn at(minute: i64, card: &str, cents: i64) -> (i64, String, Payment) {
        (minute * M, card.to_owned(), Payment { cents, shop: "shop".to_owned() })
    }

    #[test]
    fn the_sixth_payment_of_a_burst_is_told_and_no_other() -> Result<()> {
        let burst = |start: i64| [0, 2, 4, 6, 8, 10, 12, 14].map(|minute| at(start + minute, "a", 100));
        let two_bursts = run([burst(100), burst(200)].into_iter().flatten())?;
        let alert = |from, to| ("a".to_owned(), Alert::Burst { from: from * M, to: to * M, uses: 6 });
        assert_eq!(two_bursts, [alert(100, 110), alert(200, 210)]);
        assert_eq!(run((0..20).map(|n| at(100 + 3 * n, "a", 100)))?, []);
        assert_eq!(run(["a", "b"].into_iter().cycle().zip(0..10).map(|(card, n)| at(100 + n, card, 100)))?, []);
        Ok(())
    }

    #[test]
    fn an_amount_is_measured_by_what_the_card_usually_pays() -> Result<()> {
        let cents = [100, 200, 300, 200, 200, 1_000, 1_001, 900, 1_600];
        let alerts = run(cents.into_iter().enumerate().map(|(n, cents)| at(20 * n as i64, "a", cents)))?;
        // The mean of the first five is 200; 1,000 is five times as much, and raises it to 333. So 1,001 is nothing.
        assert_eq!(alerts, []);
        let alerts =
            run([100, 200, 300, 200, 200, 1_001, 5_000].into_iter().zip(0..).map(|(c, n)| at(20 * n, "a", c)))?;
        let alert = |cents| ("a".to_owned(), Alert::Amount { cents, mean: 200, shop: "shop".to_owned() });
        assert_eq!(alerts, [alert(1_001), alert(5_000)]);
        Ok(())
    }

    #[test]
    fn an_hour_is_told_when_nothing_more_can_come() -> Result<()> {
        let hour = [at(0, "a", 60_000), at(59, "a", 30_000), at(61, "a", 1), at(58, "a", 20_000), at(64, "b", 1)];
        assert_eq!(run(hour.clone())?, []);
        let told = run(hour.into_iter().chain([at(65, "b", 1), at(59, "a", 99_999)]))?;
        assert_eq!(told, [("a".to_owned(), Alert::Hour { from: 0, to: 60 * M, cents: 110_000 })]);
        Ok(())
    }

    #[test]
    fn of_a_day_those_cards_are_told_that_a_loop_finds() -> Result<()> {
        let payments = payments();
        let mut expected = BTreeSet::new();
        let mut of_card: BTreeMap<&str, Vec<(i64, i64)>> = BTreeMap::new();
        for (time, card, payment) in &payments {
            let before = of_card.entry(card).or_default();
            let recent = before.iter().filter(|(earlier, _)| time - earlier <= 10 * M).count();
            if recent >= 5 {
                expected.insert((card.clone(), "burst"));
            }
            let usual = before.iter().map(|(_, cents)| cents).sum::<i64>();
            if before.len() >= 5 && payment.cents * before.len() as i64 > 5 * usual {
                expected.insert((card.clone(), "amount"));
            }
            before.push((*time, payment.cents));
            let hour: i64 =
                before.iter().filter(|(at, _)| at / (60 * M) == time / (60 * M)).map(|(_, cents)| cents).sum();
            if hour > MOST_CENTS_PER_HOUR {
                expected.insert((card.clone(), "hour"));
            }
        }
        let told = run(payments)?.into_iter().map(|(card, alert)| match alert {
            Alert::Burst { .. } => (card, "burst"),
            Alert::Amount { .. } => (card, "amount"),
            Alert::Hour { .. } => (card, "hour"),
        });
        assert_eq!(told.collect::<BTreeSet<_>>(), expected);
        let of = |rule| expected.iter().filter(|(_, why)| *why == rule).count();
        assert_eq!((of("burst"), of("amount"), of("hour")), (3, 3, 1));
        Ok(())
    }
}
