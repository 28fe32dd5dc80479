//! Page views by region: each view is joined with its user's profile, and counted in windows of time.
//!
//! ```text
//! users ── table ───────┐
//! views ── left join ───┴── group by region ── windows of 5 min, one every minute ── count ──► views by region
//!                       └── group by page ──── windows of 5 min, one after another ── count ──► views by page
//! ```
//!
//! A view meets the profile that its user had when it came in: who moves takes his later views along to the new region,
//! and a user without a profile is in region `unknown`. Grouping by what is not the key sends the views through a
//! repartition topic, so that all views of a region are counted in one place.
//!
//! Partitions are read each at its own pace. Live, that is a matter of seconds; but who reads a day's views at once may
//! have read all of one partition before the first of another, which then are late by a day. The windows' grace says how
//! late a view may be; it is an hour here, and no view is lost.
//!
//! ```text
//! cargo run --release --example page_views
//! cargo run --release --example page_views -- --bootstrap-server localhost:9092
//! ```
//!
//! Without a server it runs on a broker in this process. On one of yours the topics stay, to be looked at;
//! `kafka-topics --delete --topic 'page-views.*'` makes room for another run.
#![allow(clippy::print_stdout, reason = "a program for people prints")]

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use comfy_table::{Table, presets::UTF8_FULL_CONDENSED};
use serde::{Deserialize, Serialize};
use vltava::{
    client::{
        Admin, AdminConfig, Consumer, ConsumerConfig, Producer, ProducerConfig, TopicPartition, admin::NewTopic,
        consumer::TypedConsumer, producer::TypedProducer,
    },
    embedded,
    serdes::{BigEndian, JsonSerde, StringSerde},
    streams::{DefaultSerde, KafkaStreams, StreamsBuilder, StreamsConfig, TimeWindows, Topology, Windowed},
};

const APPLICATION: &str = "page-views";
const VIEWS: &str = "page-views-in";
const USERS: &str = "page-views-users";
const BY_REGION: &str = "page-views-by-region";
const BY_PAGE: &str = "page-views-by-page";
const PARTITIONS: i32 = 2;
const WINDOW: Duration = Duration::from_secs(5 * 60);
const HOP: Duration = Duration::from_secs(60);
const GRACE: Duration = Duration::from_secs(60 * 60);
/// When the views begin, in ms since the epoch.
const START: i64 = 1_767_225_600_000;
const MINUTE: i64 = 60_000;

/// A user has looked at a page; the key is the user.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct PageView {
    page: String,
}

/// What is known of a user; the key is the user.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Profile {
    region: String,
}

/// A view and where it came from.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct RegionalView {
    region: String,
    page: String,
}

/// The key of a count: of what, and in which window. As the window is in it, the topic of counts can be compacted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct InWindow {
    of: String,
    from: i64,
    to: i64,
}

impl From<Windowed<String>> for InWindow {
    fn from(windowed: Windowed<String>) -> Self {
        InWindow { of: windowed.key, from: windowed.window.start(), to: windowed.window.end() }
    }
}

// One line for each type says what its bytes are.
impl DefaultSerde for PageView {
    type Serde = JsonSerde;
}
impl DefaultSerde for Profile {
    type Serde = JsonSerde;
}
impl DefaultSerde for RegionalView {
    type Serde = JsonSerde;
}
impl DefaultSerde for InWindow {
    type Serde = JsonSerde;
}

/// The application.
fn topology() -> Result<Topology> {
    let builder = StreamsBuilder::new();
    let profiles = builder.table::<String, Profile>(USERS);
    let regional = builder.stream::<String, PageView>(VIEWS).left_join(&profiles, |view, profile| {
        let region = profile.map_or("unknown", |profile| &profile.region);
        RegionalView { region: region.to_owned(), page: view.page }
    });
    let hopping = TimeWindows::of_size_and_grace(WINDOW, GRACE).advance_by(HOP);
    regional
        .group_by(|_, view| view.region.clone())
        .windowed_by(hopping)
        .count()
        .to_stream()
        .map(|region, views| (InWindow::from(region), views))
        .to(BY_REGION);
    let tumbling = TimeWindows::of_size_and_grace(WINDOW, GRACE);
    regional
        .group_by(|_, view| view.page.clone())
        .windowed_by(tumbling)
        .count()
        .to_stream()
        .map(|page, views| (InWindow::from(page), views))
        .to(BY_PAGE);
    Ok(builder.build()?)
}

/// What users do.
enum Event {
    /// A user signs up, or moves.
    Profile(String, Profile),
    View(String, PageView),
}

/// A quarter of an hour in the life of a site, the same every time; times in ms since the epoch.
fn events() -> Vec<(i64, Event)> {
    const REGIONS: [&str; 4] = ["africa", "americas", "asia", "europe"];
    const PAGES: [&str; 6] = ["/", "/about", "/blog", "/buy", "/docs", "/jobs"];
    let mut random = fastrand::Rng::with_seed(1);
    let any = |random: &mut fastrand::Rng, names: &[&str]| random.choice(names).copied().unwrap_or_default().to_owned();
    let user = |number: usize| format!("user-{number:02}");
    let mut events = Vec::new();
    for number in 0..90 {
        events.push((START, Event::Profile(user(number), Profile { region: any(&mut random, &REGIONS) })));
    }
    for second in 0..15 * 60 {
        let now = START + second * 1000;
        for _ in 0..4 {
            // Views come in up to 20 s late, and some of users without a profile.
            let time = (now - random.i64(0..20_000)).max(START);
            events.push((time, Event::View(user(random.usize(0..100)), PageView { page: any(&mut random, &PAGES) })));
        }
        if second % 30 == 0 {
            let profile = Profile { region: any(&mut random, &REGIONS) };
            events.push((now, Event::Profile(user(random.usize(0..90)), profile)));
        }
    }
    events
}

/// Counts page views by region and page, in windows.
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
    produce(server).await?;

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
    ensure!(streams.wait_until_caught_up_async(Duration::from_secs(60)).await?, "the views were not counted in time");
    streams.close_async(Duration::from_secs(30)).await?;

    print("region", &read(server, BY_REGION).await?);
    let by_page = read(server, BY_PAGE).await?;
    print("page", &by_page);
    println!("{} views", by_page.values().sum::<i64>());
    Ok(())
}

async fn create_topics(server: &str) -> Result<()> {
    let admin = Admin::new(AdminConfig::from_properties([("bootstrap.servers", server)])?)?;
    // The views are of long ago, and must not expire.
    let topics = [VIEWS, USERS, BY_REGION, BY_PAGE]
        .map(|topic| NewTopic::new(topic).partitions(PARTITIONS).config("retention.ms", "-1"));
    for (topic, created) in admin.create_topics(topics).await {
        created.with_context(|| format!("creating {topic}"))?;
    }
    Ok(())
}

async fn produce(server: &str) -> Result<()> {
    let producer = Producer::new(ProducerConfig::from_properties([("bootstrap.servers", server)])?)?;
    let views = TypedProducer::<String, PageView>::new(producer.clone(), VIEWS, StringSerde, JsonSerde);
    let users = TypedProducer::<String, Profile>::new(producer, USERS, StringSerde, JsonSerde);
    let mut deliveries = Vec::new();
    for (time, event) in events() {
        deliveries.push(match event {
            Event::View(user, view) => views.send_to(None, Some(time), Some(&user), Some(&view)).await?,
            Event::Profile(user, profile) => users.send_to(None, Some(time), Some(&user), Some(&profile)).await?,
        });
    }
    for delivery in deliveries {
        delivery.await?;
    }
    Ok(())
}

/// What a topic of counts says in the end: every update of a count replaces the one before.
async fn read(server: &str, topic: &str) -> Result<BTreeMap<InWindow, i64>> {
    let config = [("bootstrap.servers", server), ("auto.offset.reset", "earliest")];
    let consumer = Consumer::new(ConsumerConfig::from_properties(config)?)?;
    let partitions: Vec<_> = (0..PARTITIONS).map(|partition| TopicPartition::new(topic, partition)).collect();
    consumer.assign(partitions.iter().cloned())?;
    let mut left: i64 = consumer.end_offsets(&partitions).await?.values().sum();
    let consumer = TypedConsumer::new(consumer, JsonSerde, BigEndian);
    let mut counts = BTreeMap::new();
    while left > 0 {
        for update in consumer.poll(Duration::from_secs(1)).await? {
            counts.insert(update.key.context("a count of nothing")?, update.value.context("no count")?);
            left -= 1;
        }
    }
    Ok(counts)
}

/// A line for each window, a column for each thing that was counted.
fn print(of: &str, counts: &BTreeMap<InWindow, i64>) {
    let columns: BTreeSet<_> = counts.keys().map(|key| key.of.as_str()).collect();
    let mut windows = BTreeMap::<_, BTreeMap<_, _>>::new();
    for (key, views) in counts {
        windows.entry((key.from, key.to)).or_default().insert(key.of.as_str(), views);
    }
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header([format!("minutes, views by {of}")].into_iter().chain(columns.iter().map(|&of| of.to_owned())));
    for ((from, to), views) in windows {
        let minutes = format!("{} to {}", (from - START) / MINUTE, (to - START) / MINUTE);
        let views = columns.iter().map(|of| views.get(of).map_or_else(String::new, ToString::to_string));
        table.add_row([minutes].into_iter().chain(views));
    }
    println!("{table}");
}

#[cfg(test)]
mod tests {
    use vltava::streams::{TestInputTopic, TopologyTestDriver};

    use super::*;

    fn start() -> (TopologyTestDriver, TestInputTopic<String, PageView>, TestInputTopic<String, Profile>) {
        let topology = topology().unwrap();
        let driver = TopologyTestDriver::new(&topology).unwrap();
        let (views, users) = (driver.input_topic(VIEWS), driver.input_topic(USERS));
        (driver, views, users)
    }

    fn counts(driver: &TopologyTestDriver, topic: &str) -> BTreeMap<InWindow, i64> {
        driver.output_topic(topic).read_key_values_to_map().unwrap()
    }

    #[test]
    fn a_view_counts_where_its_user_was() {
        let (driver, views, users) = start();
        let home = PageView { page: "/".to_owned() };
        views.pipe_at("ada".to_owned(), home.clone(), START).unwrap();
        users.pipe_at("ada".to_owned(), Profile { region: "europe".to_owned() }, START).unwrap();
        views.pipe_at("ada".to_owned(), home.clone(), START).unwrap();
        users.pipe_at("ada".to_owned(), Profile { region: "asia".to_owned() }, START).unwrap();
        views.pipe_at("ada".to_owned(), home, START + 4 * MINUTE).unwrap();
        let regions = counts(&driver, BY_REGION);
        let in_window = |region: &str, minute: i64| {
            let from = START + minute * MINUTE;
            regions.get(&InWindow { of: region.to_owned(), from, to: from + 5 * MINUTE }).copied()
        };
        assert_eq!(["unknown", "europe", "asia"].map(|region| in_window(region, 0)), [Some(1); 3]);
        assert_eq!(["unknown", "europe", "asia"].map(|region| in_window(region, 1)), [None, None, Some(1)]);
        assert_eq!(counts(&driver, BY_PAGE).into_values().collect::<Vec<_>>(), [3]);
    }

    #[test]
    fn counts_are_those_of_a_plain_loop() {
        let (driver, views, users) = start();
        let (mut regions, mut by_region, mut by_page) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let size = WINDOW.as_millis() as i64;
        for (time, event) in events() {
            match event {
                Event::Profile(user, profile) => {
                    regions.insert(user.clone(), profile.region.clone());
                    users.pipe_at(user, profile, time).unwrap();
                }
                Event::View(user, view) => {
                    let region = regions.get(&user).map_or("unknown", String::as_str).to_owned();
                    let newest = time - time % MINUTE;
                    for from in (0..5).map(|minutes| newest - minutes * MINUTE) {
                        let window = InWindow { of: region.clone(), from, to: from + size };
                        *by_region.entry(window).or_insert(0) += 1;
                    }
                    let from = time - time % size;
                    let window = InWindow { of: view.page.clone(), from, to: from + size };
                    *by_page.entry(window).or_insert(0) += 1;
                    views.pipe_at(user, view, time).unwrap();
                }
            }
        }
        assert_eq!(counts(&driver, BY_REGION), by_region);
        assert_eq!(counts(&driver, BY_PAGE), by_page);
        assert_eq!(by_page.values().sum::<i64>(), 4 * 15 * 60);
        assert_eq!(driver.dropped_records(), 0);
    }
}
