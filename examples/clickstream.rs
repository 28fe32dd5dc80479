//! A click-stream that learns who clicked and what was read.
//!
//! `clickstream-clicks` gets every click of a newspaper's site, keyed by visitor. Two topics are tables beside it: the
//! profiles of registered visitors, and the pages with their sections. The application
//!
//! - looks every click's visitor up; who has no profile is a guest (a left join);
//! - moves the clicks to their pages' partitions and looks these up; what is no page, as the paths that robots try, drops
//!   out (an inner join): `clickstream-reads`;
//! - counts the reads of each segment of visitors and each section, in the store `reads`;
//! - puts the clicks of each visitor together to visits, which end after half an hour without a click, and tells them
//!   when they have: `clickstream-visits`.
//!
//! A stream meets a table as it is at that time. Here some guests of the morning subscribe at noon; their clicks count as
//! a guest's before and as a subscriber's after. Time is that of the records: a task takes the earliest first of all that
//! it reads, tables among it.
//!
//! ```text
//! cargo run --release --example clickstream
//! cargo run --release --example clickstream -- --bootstrap-server localhost:9092
//! ```
//!
//! Without a server it runs on a broker in this process. On one of yours the topics stay, to be looked at;
//! `kafka-topics --delete --topic 'clickstream.*'` makes room for another run.
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
        BufferConfig, DefaultSerde, KafkaStreams, Materialized, SessionWindows, StreamsBuilder, StreamsConfig,
        Suppressed, Topology,
        query::{QueryableStoreTypes, StoreQueryParameters},
    },
};

const APPLICATION: &str = "clickstream";
const CLICKS: &str = "clickstream-clicks";
const PROFILES: &str = "clickstream-profiles";
const PAGES: &str = "clickstream-pages";
const READS: &str = "clickstream-reads";
const VISITS: &str = "clickstream-visits";
const PARTITIONS: i32 = 3;

const MINUTE: Duration = Duration::from_secs(60);
/// Midnight of a day in 2026, UTC.
const DAY: i64 = 1_767_571_200_000;

/// Enriches a click-stream with Kafka Streams.
#[derive(Parser)]
struct Options {
    /// A broker to use instead of one in this process.
    #[arg(long)]
    bootstrap_server: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Click {
    path: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Segment {
    Guest,
    Member,
    Subscriber,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Profile {
    segment: Segment,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Page {
    section: String,
}

/// A click of somebody we know something of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct View {
    segment: Segment,
    path: String,
}

/// A click on something we know something of; also what is counted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Read {
    segment: Segment,
    section: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Visit {
    segment: Segment,
    clicks: u32,
}

// One line for each type says what its bytes are.
impl DefaultSerde for Click {
    type Serde = JsonSerde;
}
impl DefaultSerde for Profile {
    type Serde = JsonSerde;
}
impl DefaultSerde for Page {
    type Serde = JsonSerde;
}
impl DefaultSerde for View {
    type Serde = JsonSerde;
}
impl DefaultSerde for Read {
    type Serde = JsonSerde;
}
impl DefaultSerde for Visit {
    type Serde = JsonSerde;
}

impl Visit {
    /// Segments only rise within a visit: who subscribes during one is a subscriber.
    fn and(self, other: Visit) -> Self {
        Visit { segment: self.segment.max(other.segment), clicks: self.clicks + other.clicks }
    }
}

/// The application: what a user of Kafka Streams would write.
fn topology() -> Result<Topology> {
    let builder = StreamsBuilder::new();
    let profiles = builder.table::<String, Profile>(PROFILES);
    let pages = builder.table::<String, Page>(PAGES);

    let views = builder.stream::<String, Click>(CLICKS).left_join(&profiles, |click, profile| View {
        segment: profile.map_or(Segment::Guest, |profile| profile.segment),
        path: click.path,
    });

    // The key is another one, so the clicks are repartitioned to where the pages are.
    let reads = views
        .select_key(|_visitor, view| view.path.clone())
        .join(&pages, |view, page| Read { segment: view.segment, section: page.section.clone() });
    reads.to(READS);
    reads.group_by(|_path, read| read.clone()).count_with(Materialized::named("reads"));

    views
        .group_by_key()
        .windowed_by_sessions(SessionWindows::of_inactivity_gap_with_no_grace(MINUTE * 30))
        .aggregate(
            || Visit { segment: Segment::Guest, clicks: 0 },
            |_visitor, view, visit| visit.and(Visit { segment: view.segment, clicks: 1 }),
            |_visitor, one, other| one.and(other),
        )
        .suppress(Suppressed::until_window_closes(BufferConfig::unbounded()))
        .to_stream()
        .flat_map(|visitor, visit| Some((visitor.key, visit?)))
        .to(VISITS);
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
    produce(bootstrap, PAGES, &pages()).await?;
    produce(bootstrap, PROFILES, &profiles()).await?;
    produce(bootstrap, CLICKS, &clicks()).await?;

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

    let store = StoreQueryParameters::from_name_and_type("reads", QueryableStoreTypes::key_value_store());
    print_reads(&streams.store(&store)?.all()?);
    streams.close_async(Duration::from_secs(30)).await?;
    print_visits(&visits(bootstrap).await?);
    Ok(())
}

async fn create_topics(bootstrap: &str) -> Result<()> {
    let admin = Admin::new(AdminConfig::from_properties([("bootstrap.servers", bootstrap)])?)?;
    let topics = [CLICKS, PROFILES, PAGES, READS, VISITS].map(|topic| {
        let topic = NewTopic::new(topic).partitions(PARTITIONS);
        // Of a table's topic the last value of every key is kept. The others' day is over: they are not to be deleted for it.
        match topic.name() {
            PROFILES | PAGES => topic.config("cleanup.policy", "compact"),
            _ => topic.config("retention.ms", "-1"),
        }
    });
    for (topic, created) in admin.create_topics(topics).await {
        created.with_context(|| format!("creating {topic}"))?;
    }
    Ok(())
}

/// Writes time, key and value of each record.
async fn produce<T: DefaultSerde>(bootstrap: &str, topic: &str, records: &[(i64, String, T)]) -> Result<()> {
    let producer = Producer::new(ProducerConfig::from_properties([("bootstrap.servers", bootstrap)])?)?;
    let producer = TypedProducer::<String, T>::new(producer, topic, StringSerde, serde_of::<T>());
    let mut deliveries = Vec::new();
    for (time, key, value) in records {
        deliveries.push(producer.send_to(None, Some(*time), Some(key), Some(value)).await?);
    }
    for delivery in deliveries {
        delivery.await?;
    }
    Ok(())
}

const SECTIONS: [&str; 4] = ["culture", "politics", "science", "sports"];

fn pages() -> Vec<(i64, String, Page)> {
    let page =
        |number| SECTIONS.map(|section| (DAY, format!("/{section}/{number}"), Page { section: section.to_owned() }));
    (0..5).flat_map(page).collect()
}

/// Of visitors 20 to 49 from the beginning of the day on. At noon, the first ten of the others subscribe.
fn profiles() -> Vec<(i64, String, Profile)> {
    let registered =
        (20..50).map(|visitor| (DAY, visitor, if visitor < 40 { Segment::Member } else { Segment::Subscriber }));
    let at_noon = (0..10).map(|visitor| (DAY + 12 * 60 * 60_000, visitor, Segment::Subscriber));
    let profile = |(time, visitor, segment)| (time, format!("visitor-{visitor:02}"), Profile { segment });
    registered.chain(at_noon).map(profile).collect()
}

/// A day's clicks by chance, the same ones every time.
fn clicks() -> Vec<(i64, String, Click)> {
    let mut random = fastrand::Rng::with_seed(3);
    let mut clicks = Vec::new();
    for visitor in 0..50 {
        for hour in [8, 13, 20] {
            let mut time = DAY + hour * 60 * 60_000 + random.i64(0..60 * 60_000);
            for _ in 0..random.u32(0..12) {
                let section = random.choice(SECTIONS).unwrap_or_default();
                let path = if random.u32(0..20) == 0 {
                    "/wp-login".to_owned()
                } else {
                    format!("/{section}/{}", random.u32(0..5))
                };
                clicks.push((time, format!("visitor-{visitor:02}"), Click { path }));
                time += random.i64(5_000..6 * 60_000);
            }
        }
    }
    clicks.sort_by_key(|(time, ..)| *time);
    clicks
}

fn print_reads(reads: &[(Read, i64)]) {
    let mut segments: BTreeMap<Segment, BTreeMap<&str, i64>> = BTreeMap::new();
    for (read, count) in reads {
        segments.entry(read.segment).or_default().insert(&read.section, *count);
    }
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header(["reads by"].into_iter().chain(SECTIONS));
    for (segment, counts) in segments {
        let counts = SECTIONS.map(|section| counts.get(section).copied().unwrap_or_default().to_string());
        table.add_row([format!("{segment:?}s")].into_iter().chain(counts));
    }
    println!("{table}");
}

/// All visits that have ended, as far as clicks that came later tell.
async fn visits(bootstrap: &str) -> Result<Vec<Visit>> {
    let consumer = Consumer::new(ConsumerConfig::from_properties([
        ("bootstrap.servers", bootstrap),
        ("auto.offset.reset", "earliest"),
    ])?)?;
    let partitions: Vec<_> = (0..PARTITIONS).map(|partition| TopicPartition::new(VISITS, partition)).collect();
    consumer.assign(partitions.clone())?;
    let count: i64 = consumer.end_offsets(&partitions).await?.values().sum();
    let count = usize::try_from(count)?;
    let consumer = TypedConsumer::<String, Visit>::new(consumer, StringSerde, JsonSerde);
    let mut visits = Vec::with_capacity(count);
    while visits.len() < count {
        for record in consumer.poll(Duration::from_secs(1)).await? {
            visits.push(record.value.context("a visit without a value")?);
        }
    }
    Ok(visits)
}

fn print_visits(visits: &[Visit]) {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header(["visits by", "visits", "clicks per visit"]);
    for segment in [Segment::Guest, Segment::Member, Segment::Subscriber] {
        let clicks: Vec<_> = visits.iter().filter(|visit| visit.segment == segment).map(|visit| visit.clicks).collect();
        let mean = f64::from(clicks.iter().sum::<u32>()) / clicks.len() as f64;
        table.add_row([format!("{segment:?}s"), clicks.len().to_string(), format!("{mean:.1}")]);
    }
    println!("{table}");
}

#[cfg(test)]
mod tests {
    use vltava::streams::{TimestampedKeyValueStore, TopologyTestDriver};

    use super::*;

    /// Pipes the records of all topics through the application in the order of their times.
    fn run(
        pages: Vec<(i64, String, Page)>,
        profiles: Vec<(i64, String, Profile)>,
        clicks: Vec<(i64, String, Click)>,
    ) -> Result<TopologyTestDriver> {
        let driver = TopologyTestDriver::new(&topology()?)?;
        for (time, path, page) in pages {
            driver.input_topic(PAGES).pipe_at(path, page, time)?;
        }
        let mut profiles = profiles.into_iter().peekable();
        for (time, visitor, click) in clicks {
            while let Some((time, visitor, profile)) = profiles.next_if(|(at, ..)| *at <= time) {
                driver.input_topic(PROFILES).pipe_at(visitor, profile, time)?;
            }
            driver.input_topic(CLICKS).pipe_at(visitor, click, time)?;
        }
        Ok(driver)
    }

    fn click(minute: i64, visitor: &str, path: &str) -> (i64, String, Click) {
        (minute * 60_000, visitor.to_owned(), Click { path: path.to_owned() })
    }

    #[test]
    fn a_click_meets_profile_and_page_as_they_are_at_its_time() -> Result<()> {
        let pages = vec![(0, "/a".to_owned(), Page { section: "sports".to_owned() })];
        let profiles = vec![(5 * 60_000, "ada".to_owned(), Profile { segment: Segment::Member })];
        let clicks = [click(1, "ada", "/a"), click(6, "ada", "/a"), click(7, "ada", "/b"), click(8, "bob", "/a")];
        let driver = run(pages, profiles, clicks.to_vec())?;
        let read = |segment| ("/a".to_owned(), Read { segment, section: "sports".to_owned() });
        let reads = driver.output_topic::<String, Read>(READS).read_key_values()?;
        assert_eq!(reads, [read(Segment::Guest), read(Segment::Member), read(Segment::Guest)]);
        Ok(())
    }

    #[test]
    fn a_visit_ends_with_half_an_hour_without_a_click() -> Result<()> {
        let profiles = vec![(20 * 60_000, "ada".to_owned(), Profile { segment: Segment::Subscriber })];
        let minutes = [0, 30, 61];
        let clicks = minutes.map(|minute| click(minute, "ada", "/a")).into_iter().chain([click(92, "bob", "/")]);
        let driver = run(Vec::new(), profiles, clicks.collect())?;
        let visit = |clicks| ("ada".to_owned(), Visit { segment: Segment::Subscriber, clicks });
        assert_eq!(driver.output_topic::<String, Visit>(VISITS).read_key_values()?, [visit(2), visit(1)]);
        Ok(())
    }

    #[test]
    fn the_counts_of_a_day_are_those_of_a_loop() -> Result<()> {
        let driver = run(pages(), profiles(), clicks())?;
        let mut expected: BTreeMap<Read, i64> = BTreeMap::new();
        for (time, visitor, click) in clicks() {
            let known = profiles().into_iter().rfind(|(at, who, _)| *who == visitor && *at <= time);
            let segment = known.map_or(Segment::Guest, |(_, _, profile)| profile.segment);
            if let Some((_, _, page)) = pages().into_iter().find(|(_, path, _)| *path == click.path) {
                *expected.entry(Read { segment, section: page.section }).or_default() += 1;
            }
        }
        assert_eq!(expected.len(), 12);
        let counts = driver.store::<TimestampedKeyValueStore<Read, i64>, _>("reads", |reads| reads.all())?;
        let counts: BTreeMap<_, _> = counts.into_iter().map(|(read, count)| (read, count.value)).collect();
        assert_eq!(counts, expected);
        Ok(())
    }
}
