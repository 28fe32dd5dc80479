//! Statistics of a stock index over windows: quarters, moving averages, and the days when these cross.
//!
//! `stocks` gets the closing value of every trading day, keyed by symbol, at its day's time: the S&P 500 from 2007 to 2010.
//! The application
//!
//! - sums up every quarter (13 weeks) in a tumbling window: `stocks-quarters`;
//! - takes the mean of the last 10 and of the last 40 weeks, in hopping windows that move on by a week: `stocks-averages`;
//! - compares the two week by week. When the short average rises above the long one, chartists speak of a golden cross, when
//!   it falls below, of a death cross: `stocks-crosses`.
//!
//! Each window gives one result, when it closes: stream time, which is the time of the latest price, has come to its end.
//! The last windows stay open, until prices of the next week would close them.
//!
//! ```text
//! cargo run --release --example stocks
//! cargo run --release --example stocks -- --bootstrap-server localhost:9092
//! ```
//!
//! Without a server it runs on a broker in this process. On one of yours the topics stay, to be looked at;
//! `kafka-topics --delete --topic 'stocks.*'` makes room for another run.
#![allow(clippy::print_stdout, reason = "a program for people prints")]

use std::{fs, path::Path, time::Duration};

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
        BufferConfig, DefaultSerde, FixedKeyContext, FixedKeyProcessor, FixedKeyRecord, KStream, KTable, KafkaStreams,
        KeyValueStore, Materialized, StoreBuilder, StreamsBuilder, StreamsConfig, Suppressed, TimeWindows, Topology,
        Windowed, store::StoreHandle,
    },
};

const APPLICATION: &str = "stocks";
const QUOTES: &str = "stocks";
const QUARTERS: &str = "stocks-quarters";
const AVERAGES: &str = "stocks-averages";
const CROSSES: &str = "stocks-crosses";
const PARTITIONS: i32 = 2;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);
const SHORT: u32 = 10;
const LONG: u32 = 40;

/// Sums up stock prices over windows with Kafka Streams.
#[derive(Parser)]
struct Options {
    /// A broker to use instead of one in this process.
    #[arg(long)]
    bootstrap_server: Option<String>,
}

/// A day's end at the exchange.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Quote {
    /// As in 2007-01-03.
    date: String,
    close: f64,
    volume: i64,
}

/// What a window knows of its quotes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Statistics {
    from: String,
    through: String,
    days: u32,
    first: f64,
    last: f64,
    low: f64,
    high: f64,
    sum: f64,
    volume: i64,
}

/// The mean of the last weeks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Average {
    through: String,
    weeks: u32,
    mean: f64,
}

/// The averages of a symbol as they were told last.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Averages {
    short: Option<Average>,
    long: Option<Average>,
    /// Whether the short one was above the long one when both were last told.
    above: Option<bool>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Cross {
    Golden { through: String },
    Death { through: String },
}

// One line for each type says what its bytes are.
impl DefaultSerde for Quote {
    type Serde = JsonSerde;
}
impl DefaultSerde for Statistics {
    type Serde = JsonSerde;
}
impl DefaultSerde for Average {
    type Serde = JsonSerde;
}
impl DefaultSerde for Averages {
    type Serde = JsonSerde;
}
impl DefaultSerde for Cross {
    type Serde = JsonSerde;
}

impl Statistics {
    fn with(self, quote: Quote) -> Self {
        let first = self.days == 0;
        Statistics {
            from: if first { quote.date.clone() } else { self.from },
            through: quote.date,
            days: self.days + 1,
            first: if first { quote.close } else { self.first },
            last: quote.close,
            low: if first { quote.close } else { self.low.min(quote.close) },
            high: self.high.max(quote.close),
            sum: self.sum + quote.close,
            volume: self.volume + quote.volume,
        }
    }

    fn mean(&self) -> f64 {
        self.sum / f64::from(self.days)
    }
}

/// Statistics of every window, told once, when it closes.
fn statistics(
    quotes: &KStream<String, Quote>,
    windows: TimeWindows,
    store: &str,
) -> KTable<Windowed<String>, Statistics> {
    quotes
        .group_by_key()
        .windowed_by(windows)
        // Without a cache in between, a quote is through both averages before the next one comes.
        .aggregate_with(
            Materialized::named(store).with_caching_disabled(),
            Statistics::default,
            |_symbol, quote, statistics| statistics.with(quote),
        )
        .suppress(Suppressed::until_window_closes(BufferConfig::unbounded()))
}

/// The mean of the last weeks, week by week.
fn moving_average(quotes: &KStream<String, Quote>, weeks: u32) -> KStream<String, Average> {
    let windows = TimeWindows::of_size_with_no_grace(WEEK * weeks).advance_by(WEEK);
    statistics(quotes, windows, &format!("average-{weeks}"))
        // The first windows began before the quotes.
        .filter(|symbol, statistics| {
            let began = midnight(&statistics.from).unwrap_or(i64::MAX);
            began < symbol.window.start() + millis(WEEK)
        })
        .to_stream()
        // Back to the symbol, by which the quotes are partitioned: nothing needs to be repartitioned.
        .flat_map(move |symbol, statistics| {
            let statistics = statistics?;
            Some((symbol.key, Average { mean: statistics.mean(), through: statistics.through, weeks }))
        })
}

/// Tells when the short average of a symbol gets above the long one, or below.
struct Crosses {
    averages: StoreHandle<KeyValueStore<String, Averages>>,
}

impl FixedKeyProcessor for Crosses {
    type K = String;
    type VIn = Average;
    type VOut = Cross;

    fn process(
        &mut self,
        record: FixedKeyRecord<String, Average>,
        ctx: &mut FixedKeyContext<'_, '_, Self>,
    ) -> vltava::streams::Result<()> {
        let symbol = record.key().clone();
        let mut averages = ctx.store(self.averages)?.get(&symbol)?.unwrap_or_default();
        let cross = averages.update(record.value.clone());
        ctx.store(self.averages)?.put(&symbol, Some(averages))?;
        match cross {
            Some(cross) => ctx.forward(record.with_value(cross)),
            None => Ok(()),
        }
    }
}

impl Averages {
    fn update(&mut self, average: Average) -> Option<Cross> {
        match average.weeks {
            SHORT => self.short = Some(average),
            _ => self.long = Some(average),
        }
        let (short, long) = (self.short.as_ref()?, self.long.as_ref()?);
        if short.through != long.through {
            return None;
        }
        let above = short.mean > long.mean;
        let through = long.through.clone();
        match self.above.replace(above) {
            Some(before) if before != above => {
                Some(if above { Cross::Golden { through } } else { Cross::Death { through } })
            }
            _ => None,
        }
    }
}

/// The application: what a user of Kafka Streams would write.
fn topology() -> Result<Topology> {
    let builder = StreamsBuilder::new();
    let last = builder.add_state_store(StoreBuilder::<KeyValueStore<String, Averages>>::persistent("averages"));
    let quotes = builder.stream::<String, Quote>(QUOTES);

    statistics(&quotes, TimeWindows::of_size_with_no_grace(WEEK * 13), "quarters")
        .to_stream()
        .flat_map(|symbol, quarter| Some((symbol.key, quarter?)))
        .to(QUARTERS);

    let averages = moving_average(&quotes, SHORT).merge(&moving_average(&quotes, LONG));
    averages.to(AVERAGES);
    averages.process_values_with(last, |averages| Crosses { averages }).to(CROSSES);
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
    produce(bootstrap, "S&P 500".to_owned(), &quotes()?).await?;

    let state = tempfile::tempdir()?;
    let config = StreamsConfig::from_properties([
        ("application.id", APPLICATION),
        ("bootstrap.servers", bootstrap),
        ("state.dir", &state.path().display().to_string()),
        ("commit.interval.ms", "100"),
        // Years go by in a second here: too fast for files that come and go with their windows.
        ("dsl.store.suppliers.class", "in_memory"),
    ])?;
    let streams = KafkaStreams::new(topology()?, config)?;
    streams.start()?;
    ensure!(
        streams.wait_until_caught_up_async(Duration::from_secs(60)).await?,
        "the application did not get through in time"
    );
    streams.close_async(Duration::from_secs(30)).await?;

    print_quarters(&read(bootstrap, QUARTERS).await?);
    print_crosses(&read(bootstrap, CROSSES).await?);
    Ok(())
}

async fn create_topics(bootstrap: &str) -> Result<()> {
    let admin = Admin::new(AdminConfig::from_properties([("bootstrap.servers", bootstrap)])?)?;
    let topics = [QUOTES, QUARTERS, AVERAGES, CROSSES].map(|topic| {
        // These records are old when they are written; a week's retention would delete them soon.
        NewTopic::new(topic).partitions(PARTITIONS).config("retention.ms", "-1")
    });
    for (topic, created) in admin.create_topics(topics).await {
        created.with_context(|| format!("creating {topic}"))?;
    }
    Ok(())
}

async fn produce(bootstrap: &str, symbol: String, quotes: &[Quote]) -> Result<()> {
    let producer = Producer::new(ProducerConfig::from_properties([("bootstrap.servers", bootstrap)])?)?;
    let exchange = TypedProducer::<String, Quote>::new(producer, QUOTES, StringSerde, JsonSerde);
    let mut deliveries = Vec::new();
    for quote in quotes {
        deliveries.push(exchange.send_to(None, midnight(&quote.date), Some(&symbol), Some(quote)).await?);
    }
    for delivery in deliveries {
        delivery.await?;
    }
    Ok(())
}

/// The quotes in `data/`.
fn quotes() -> Result<Vec<Quote>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/sp500.csv");
    let text = fs::read_to_string(&path).with_context(|| format!("opening {}", path.display()))?;
    let quote = |line: &str| {
        let mut columns = line.split(',');
        let mut column = || columns.next().with_context(|| format!("`{line}` is not date,close,volume"));
        Ok(Quote { date: column()?.to_owned(), close: column()?.parse()?, volume: column()?.parse()? })
    };
    text.lines().skip(1).map(quote).collect()
}

/// The first millisecond of a date of the Gregorian calendar, in UTC.
fn midnight(date: &str) -> Option<i64> {
    let mut parts = date.split('-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    // Years begin in March here, so that a leap day is a year's last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 719_469;
    Some(days * millis(DAY))
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// All that is in a topic: keys and values.
async fn read<T: DefaultSerde>(bootstrap: &str, topic: &str) -> Result<Vec<(String, T)>> {
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
            records.push((record.key.context("no symbol")?, record.value.context("no value")?));
        }
    }
    Ok(records)
}

fn print_quarters(quarters: &[(String, Statistics)]) {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header(["symbol", "from", "through", "days", "low", "high", "mean", "change %", "volume"]);
    for (symbol, quarter) in quarters {
        table.add_row([
            symbol.clone(),
            quarter.from.clone(),
            quarter.through.clone(),
            quarter.days.to_string(),
            format!("{:.2}", quarter.low),
            format!("{:.2}", quarter.high),
            format!("{:.2}", quarter.mean()),
            format!("{:+.1}", (quarter.last / quarter.first - 1.0) * 100.0),
            format!("{:.0}e9", quarter.volume as f64 / 1e9),
        ]);
    }
    println!("{table}");
}

fn print_crosses(crosses: &[(String, Cross)]) {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header(["symbol", "through", "cross"]);
    for (symbol, cross) in crosses {
        let (through, cross) = match cross {
            Cross::Golden { through } => (through, "golden: 10 weeks above 40"),
            Cross::Death { through } => (through, "death: 10 weeks below 40"),
        };
        table.add_row([symbol, through, cross]);
    }
    println!("{table}");
}

#[cfg(test)]
mod tests {
    use vltava::streams::TopologyTestDriver;

    use super::*;

    fn run(quotes: &[(&str, Quote)]) -> Result<TopologyTestDriver> {
        let driver = TopologyTestDriver::new(&topology()?)?;
        let exchange = driver.input_topic::<String, Quote>(QUOTES);
        for (symbol, quote) in quotes {
            let time = midnight(&quote.date).context("a date")?;
            exchange.pipe_at((*symbol).to_owned(), quote.clone(), time)?;
        }
        Ok(driver)
    }

    /// Every week's end between the first and the last quote, and the mean over the weeks before it if it can be had.
    fn means(quotes: &[Quote], weeks: i64) -> Vec<(i64, f64)> {
        let week = millis(WEEK);
        let times: Vec<_> = quotes.iter().map(|quote| midnight(&quote.date).unwrap()).collect();
        let (first, last) = (times[0], *times.last().unwrap());
        let ends = (first / week + weeks..=last / week).map(|end| end * week);
        let mean = |end: i64| {
            let (mut sum, mut days) = (0.0, 0);
            for (quote, time) in quotes.iter().zip(&times) {
                if (end - weeks * week..end).contains(time) {
                    sum += quote.close;
                    days += 1;
                }
            }
            sum / f64::from(days)
        };
        ends.map(|end| (end, mean(end))).collect()
    }

    #[test]
    fn midnights_are_those_of_the_calendar() {
        let day = millis(DAY);
        assert_eq!(midnight("1970-01-01"), Some(0));
        assert_eq!(midnight("2000-02-29"), Some(11_016 * day));
        assert_eq!(midnight("2007-01-03"), Some(13_516 * day));
        assert_eq!(midnight("2010-12-31"), Some(14_974 * day));
        assert_eq!(midnight("soon"), None);
    }

    #[test]
    fn averages_and_crosses_of_the_crisis_are_those_of_a_loop() -> Result<()> {
        let quotes = quotes()?;
        let driver = run(&quotes.iter().map(|quote| ("S&P 500", quote.clone())).collect::<Vec<_>>())?;
        let (short, long) = (means(&quotes, SHORT.into()), means(&quotes, LONG.into()));
        let told = driver.output_topic::<String, Average>(AVERAGES).read_values()?;
        for (weeks, expected) in [(SHORT, &short), (LONG, &long)] {
            let told: Vec<_> = told.iter().filter(|average| average.weeks == weeks).map(|a| a.mean).collect();
            assert_eq!(told, expected.iter().map(|(_, mean)| *mean).collect::<Vec<_>>(), "{weeks} weeks");
        }
        // Where the difference of the two means changes its sign.
        let above: Vec<_> =
            long.iter().map(|(end, long)| (*end, short.iter().any(|(at, short)| at == end && short > long))).collect();
        let mut expected = Vec::new();
        for pair in above.windows(2) {
            let ((_, before), (end, above)) = (pair[0], pair[1]);
            let mut of_window = quotes.iter().filter(|quote| midnight(&quote.date).unwrap() < end);
            let through = of_window.next_back().unwrap().date.clone();
            match (before, above) {
                (false, true) => expected.push(Cross::Golden { through }),
                (true, false) => expected.push(Cross::Death { through }),
                _ => {}
            }
        }
        let crosses = driver.output_topic::<String, Cross>(CROSSES).read_values()?;
        assert_eq!(crosses, expected);
        assert!(matches!(&crosses[..], [Cross::Death { .. }, Cross::Golden { .. }, ..]), "{crosses:?}");
        Ok(())
    }

    #[test]
    fn a_quarter_is_told_when_it_is_over_and_for_each_symbol() -> Result<()> {
        let quote = |date: &str, close| Quote { date: date.to_owned(), close, volume: 10 };
        // A quarter begins at the beginning of 1970, and 13 weeks later the next one.
        let driver = run(&[
            ("A", quote("1970-01-01", 5.0)),
            ("B", quote("1970-01-02", 100.0)),
            ("A", quote("1970-01-02", 3.0)),
            ("A", quote("1970-04-01", 7.0)),
        ])?;
        let quarters = driver.output_topic::<String, Statistics>(QUARTERS);
        assert!(quarters.is_empty());
        let exchange = driver.input_topic::<String, Quote>(QUOTES);
        exchange.pipe_at("B".to_owned(), quote("1970-04-02", 99.0), millis(WEEK) * 13)?;
        let (a, b) = (quarters.read_key_value()?.unwrap(), quarters.read_key_value()?.unwrap());
        let expected = Statistics {
            from: "1970-01-01".to_owned(),
            through: "1970-04-01".to_owned(),
            days: 3,
            first: 5.0,
            last: 7.0,
            low: 3.0,
            high: 7.0,
            sum: 15.0,
            volume: 30,
        };
        assert_eq!(a, ("A".to_owned(), expected));
        assert_eq!((b.0.as_str(), b.1.days, b.1.mean()), ("B", 1, 100.0));
        assert!(quarters.is_empty());
        Ok(())
    }
}
