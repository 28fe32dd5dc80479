//! Sensors whose readings come late: a week of the world's seismometers, with an account of what came too late.
//!
//! ```text
//! reports ── by the time of the quake ──┬── more than a day behind ── count ──► late, by network
//!            (event time)               ├── windows of 6 hours ── until they close ──► activity
//!                                       └── sessions, gap 1 hour ── until they close ──► swarms
//! ```
//!
//! The reports are real (see `data/README.md`): 1707 events in the order in which their networks last revised them, which
//! is minutes to days after the ground shook. What happened when is in the report, so a timestamp extractor takes it from
//! there; stream time is the newest quake heard of.
//!
//! Windows stay open for a day of stream time after their end, and then give one final result each (`suppress`). A report
//! that is later still would find its window closed and vanish in a metric. Here a processor looks at each report's
//! lateness first, and those that are too late are counted in a topic of their own.
//!
//! ```text
//! cargo run --release --example sensors
//! cargo run --release --example sensors -- --bootstrap-server localhost:9092
//! ```
//!
//! Without a server it runs on a broker in this process. On one of yours the topics stay, to be looked at;
//! `kafka-topics --delete --topic 'sensors.*'` makes room for another run.
#![allow(clippy::print_stdout, reason = "a program for people prints")]

use std::{
    cmp::{Ordering, Reverse},
    collections::BTreeMap,
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
    serdes::{JsonSerde, StringSerde, serde_of},
    streams::{
        self, BufferConfig, Consumed, DefaultSerde, FixedKeyContext, FixedKeyProcessor, FixedKeyRecord, KafkaStreams,
        SessionWindows, StreamsBuilder, StreamsConfig, Suppressed, TimeWindows, Topology, Windowed,
        task::{ConsumerRecord, TimestampExtractor},
    },
};

const APPLICATION: &str = "sensors";
const REPORTS: &str = "sensors-reports";
const ACTIVITY: &str = "sensors-activity";
const SWARMS: &str = "sensors-swarms";
const LATE: &str = "sensors-late";
const HOUR: Duration = Duration::from_secs(60 * 60);
const WINDOW: Duration = HOUR.saturating_mul(6);
const GAP: Duration = HOUR;
const GRACE: Duration = HOUR.saturating_mul(24);
/// The first midnight of the data, in ms since the epoch.
const START: i64 = 1_517_356_800_000;

/// What a network of seismometers has measured; the key is the network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Quake {
    /// In ms since the epoch.
    time: i64,
    magnitude: f64,
    place: String,
}

/// What happened in a span of time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Activity {
    quakes: u32,
    strongest: Option<Quake>,
}

impl Activity {
    fn of(quake: Quake) -> Self {
        Activity { quakes: 1, strongest: Some(quake) }
    }

    fn and(self, other: Activity) -> Self {
        let strongest = self.strongest.into_iter().chain(other.strongest).max_by(Quake::by_strength);
        Activity { quakes: self.quakes + other.quakes, strongest }
    }
}

impl Quake {
    /// The order in which they come does not matter, so that of two as strong as each other the first counts.
    fn by_strength(&self, other: &Quake) -> Ordering {
        self.magnitude.total_cmp(&other.magnitude).then(other.time.cmp(&self.time))
    }
}

/// The final result of a window or session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Summary {
    /// In ms since the epoch.
    from: i64,
    to: i64,
    activity: Activity,
}

/// The reports of a network that came too late.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Late {
    reports: u32,
    /// In ms.
    worst: i64,
}

// One line for each type says what its bytes are.
impl DefaultSerde for Quake {
    type Serde = JsonSerde;
}
impl DefaultSerde for Activity {
    type Serde = JsonSerde;
}
impl DefaultSerde for Summary {
    type Serde = JsonSerde;
}
impl DefaultSerde for Late {
    type Serde = JsonSerde;
}

/// A report's timestamp is when the ground shook, not when it was sent.
struct EventTime;

impl TimestampExtractor<String, Quake> for EventTime {
    fn extract(&self, record: &ConsumerRecord<'_, String, Quake>, _partition_time: i64) -> streams::Result<i64> {
        Ok(record.value.map_or(record.timestamp, |quake| quake.time))
    }
}

/// Adds to each report by how many ms it is behind the newest one.
struct Lateness;

impl FixedKeyProcessor for Lateness {
    type K = String;
    type VIn = Quake;
    type VOut = (Quake, i64);

    fn process(
        &mut self,
        report: FixedKeyRecord<String, Quake>,
        ctx: &mut FixedKeyContext<'_, '_, Self>,
    ) -> streams::Result<()> {
        let lateness = ctx.current_stream_time_ms() - report.timestamp;
        let quake = report.value.clone();
        ctx.forward(report.with_value((quake, lateness)))
    }
}

/// The application.
fn topology() -> Result<Topology> {
    let builder = StreamsBuilder::new();
    let reports = builder
        .stream_with::<String, Quake>(Consumed::new().with_timestamp_extractor(EventTime), REPORTS)
        .process_values(|| Lateness);

    let grace = i64::try_from(GRACE.as_millis())?;
    reports
        .filter(move |_, (_, lateness)| *lateness > grace)
        .map_values(|(_, lateness)| lateness)
        .group_by_key()
        .aggregate(Late::default, |_, lateness, late| Late {
            reports: late.reports + 1,
            worst: late.worst.max(lateness),
        })
        .to_stream()
        .to(LATE);

    let in_time =
        reports.filter_not(move |_, (_, lateness)| *lateness > grace).map_values(|(quake, _)| quake).group_by_key();
    in_time
        .windowed_by(TimeWindows::of_size_and_grace(WINDOW, GRACE))
        .aggregate(Activity::default, |_, quake, activity| activity.and(Activity::of(quake)))
        .suppress(Suppressed::until_window_closes(BufferConfig::unbounded()))
        .to_stream()
        .flat_map(summary)
        .to(ACTIVITY);
    in_time
        .windowed_by_sessions(SessionWindows::of_inactivity_gap_and_grace(GAP, GRACE))
        .aggregate(
            Activity::default,
            |_, quake, activity| activity.and(Activity::of(quake)),
            |_, one, other| one.and(other),
        )
        .suppress(Suppressed::until_window_closes(BufferConfig::unbounded()))
        .to_stream()
        .flat_map(summary)
        .to(SWARMS);
    Ok(builder.build()?)
}

fn summary(network: Windowed<String>, activity: Option<Activity>) -> Option<(String, Summary)> {
    let (from, to) = (network.window.start(), network.window.end());
    activity.map(|activity| (network.key, Summary { from, to, activity }))
}

/// The reports, in the order and at the times of their arrival.
fn reports() -> Result<Vec<(i64, String, Quake)>> {
    let lines = include_str!("data/earthquakes.csv").lines().skip(1);
    let report = |line: &str| {
        let mut fields = line.splitn(5, ',');
        let mut next = || fields.next().with_context(|| format!("a field is missing in {line}"));
        let (arrival, time, network, magnitude, place) = (next()?, next()?, next()?, next()?, next()?);
        let quake = Quake { time: time.parse()?, magnitude: magnitude.parse()?, place: place.to_owned() };
        Ok((arrival.parse()?, network.to_owned(), quake))
    };
    lines.map(report).collect()
}

/// Sums up a week of earthquakes, some of them reported too late.
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
        ("state.dir", &state.path().display().to_string()),
    ])?;
    let streams = KafkaStreams::new(topology()?, config)?;
    streams.start()?;
    ensure!(
        streams.wait_until_caught_up_async(Duration::from_secs(60)).await?,
        "the reports did not get through in time"
    );
    streams.close_async(Duration::from_secs(30)).await?;

    let activity: Vec<(String, Summary)> = read(server, ACTIVITY).await?;
    let quakes: u32 = activity.iter().map(|(_, summary)| summary.activity.quakes).sum();
    println!("{quakes} quakes in {} windows of 6 hours that have closed.", activity.len());
    print_swarms(read(server, SWARMS).await?);
    print_late(read(server, LATE).await?);
    Ok(())
}

async fn create_topics(server: &str) -> Result<()> {
    let admin = Admin::new(AdminConfig::from_properties([("bootstrap.servers", server)])?)?;
    // One partition, so that there is one stream time, and the figures are the same every time. The reports are of long
    // ago, and must not expire.
    let topics = [REPORTS, ACTIVITY, SWARMS, LATE].map(|topic| NewTopic::new(topic).config("retention.ms", "-1"));
    for (topic, created) in admin.create_topics(topics).await {
        created.with_context(|| format!("creating {topic}"))?;
    }
    Ok(())
}

async fn produce(server: &str) -> Result<()> {
    let producer = Producer::new(ProducerConfig::from_properties([("bootstrap.servers", server)])?)?;
    let networks = TypedProducer::<String, Quake>::new(producer, REPORTS, StringSerde, JsonSerde);
    let mut deliveries = Vec::new();
    for (arrival, network, quake) in reports()? {
        deliveries.push(networks.send_to(None, Some(arrival), Some(&network), Some(&quake)).await?);
    }
    for delivery in deliveries {
        delivery.await?;
    }
    Ok(())
}

/// All that is in a topic.
async fn read<T: DefaultSerde>(server: &str, topic: &str) -> Result<Vec<(String, T)>> {
    let config = [("bootstrap.servers", server), ("auto.offset.reset", "earliest")];
    let consumer = Consumer::new(ConsumerConfig::from_properties(config)?)?;
    let partition = TopicPartition::new(topic, 0);
    consumer.assign([partition.clone()])?;
    let count: i64 = consumer.end_offsets(&[partition]).await?.values().sum();
    let consumer = TypedConsumer::new(consumer, StringSerde, serde_of::<T>());
    let mut records = Vec::new();
    while records.len() < usize::try_from(count)? {
        for record in consumer.poll(Duration::from_secs(1)).await? {
            records.push((record.key.context("no network")?, record.value.context("a record without a value")?));
        }
    }
    Ok(records)
}

fn print_swarms(mut swarms: Vec<(String, Summary)>) {
    println!("{} swarms: quakes of one network with no hour's rest between them. The largest:", swarms.len());
    swarms.sort_by_key(|(_, swarm)| Reverse(swarm.activity.quakes));
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header(["network", "begins", "hours", "quakes", "strongest", "place"]);
    for (network, Summary { from, to, activity }) in swarms.into_iter().take(8) {
        let (begins, hours) = ((from - START) / 3_600_000, (to - from) as f64 / 3_600_000.0);
        let begins = format!("day {}, {} h", begins / 24 + 1, begins % 24);
        let (magnitude, place) = activity.strongest.map(|quake| (quake.magnitude, quake.place)).unwrap_or_default();
        let (hours, quakes, magnitude) = (format!("{hours:.1}"), activity.quakes.to_string(), magnitude.to_string());
        table.add_row([network, begins, hours, quakes, magnitude, place]);
    }
    println!("{table}");
}

/// The last count of a network is the one that holds.
fn print_late(updates: Vec<(String, Late)>) {
    let counts: BTreeMap<_, _> = updates.into_iter().collect();
    let reports: u32 = counts.values().map(|late| late.reports).sum();
    println!("{reports} reports were more than a day behind:");
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header(["network", "too late", "worst, days"]);
    for (network, late) in counts {
        table.add_row([network, late.reports.to_string(), format!("{:.1}", late.worst as f64 / 86_400_000.0)]);
    }
    println!("{table}");
}

#[cfg(test)]
mod tests {
    use vltava::streams::{TestInputTopic, TopologyTestDriver};

    use super::*;

    const MS: i64 = 3_600_000;

    fn start() -> (TopologyTestDriver, TestInputTopic<String, Quake>) {
        let driver = TopologyTestDriver::new(&topology().unwrap()).unwrap();
        let reports = driver.input_topic(REPORTS);
        (driver, reports)
    }

    fn quake(hours: i64, magnitude: f64) -> Quake {
        Quake { time: START + hours * MS, magnitude, place: "here".to_owned() }
    }

    #[test]
    fn a_window_takes_late_reports_until_it_closes_and_gives_one_result() {
        let (driver, reports) = start();
        let activity = driver.output_topic::<String, Summary>(ACTIVITY);
        for (hours, magnitude) in [(5, 2.0), (20, 1.0), (4, 3.0), (29, 1.0)] {
            reports.pipe("ak".to_owned(), quake(hours, magnitude)).unwrap();
        }
        assert!(activity.is_empty());
        reports.pipe("ak".to_owned(), quake(30, 1.0)).unwrap();
        let window = Activity { quakes: 2, strongest: Some(quake(4, 3.0)) };
        let summary = Summary { from: START, to: START + 6 * MS, activity: window };
        assert_eq!(activity.read_key_values().unwrap(), [("ak".to_owned(), summary)]);
        // A day behind is still in time for sessions; more than that is too late.
        reports.pipe("ak".to_owned(), quake(5, 4.0)).unwrap();
        assert!(activity.is_empty());
        let late = driver.output_topic::<String, Late>(LATE).read_values().unwrap();
        assert_eq!(late, [Late { reports: 1, worst: 25 * MS }]);
        assert_eq!(driver.dropped_records(), 0);
    }

    #[test]
    fn a_late_report_joins_two_sessions() {
        let (driver, reports) = start();
        for time in [0, 2, 1, 40] {
            reports.pipe("hv".to_owned(), quake(time, 1.0)).unwrap();
        }
        let swarm = Summary {
            from: START,
            to: START + 2 * MS,
            activity: Activity { quakes: 3, strongest: Some(quake(0, 1.0)) },
        };
        assert_eq!(driver.output_topic::<String, Summary>(SWARMS).read_values().unwrap(), [swarm]);
    }

    #[test]
    fn the_week_is_summed_up_as_by_a_plain_loop() {
        let (driver, input) = start();
        let [window, gap, grace] = [WINDOW, GAP, GRACE].map(|time| time.as_millis() as i64);
        let (mut now, mut late) = (0, BTreeMap::<String, Late>::new());
        let mut in_time = BTreeMap::<String, Vec<Quake>>::new();
        for (_, network, quake) in reports().unwrap() {
            now = now.max(quake.time);
            if now - quake.time > grace {
                let late = late.entry(network.clone()).or_default();
                *late = Late { reports: late.reports + 1, worst: late.worst.max(now - quake.time) };
            } else {
                in_time.entry(network.clone()).or_default().push(quake.clone());
            }
            input.pipe(network, quake).unwrap();
        }
        // Those in time, in the order in which they happened, and cut where a window ends or an hour was quiet.
        let (mut activity, mut swarms) = (Vec::new(), Vec::new());
        for (network, mut quakes) in in_time {
            quakes.sort_by_key(|quake| quake.time);
            for quakes in quakes.chunk_by(|one, next| one.time / window == next.time / window) {
                let from = quakes[0].time - quakes[0].time % window;
                let all = quakes.iter().cloned().map(Activity::of).fold(Activity::default(), Activity::and);
                activity.push((network.clone(), Summary { from, to: from + window, activity: all }));
            }
            for quakes in quakes.chunk_by(|one, next| next.time - one.time <= gap) {
                let (from, to) = (quakes[0].time, quakes[quakes.len() - 1].time);
                let all = quakes.iter().cloned().map(Activity::of).fold(Activity::default(), Activity::and);
                swarms.push((network.clone(), Summary { from, to, activity: all }));
            }
        }
        activity.retain(|(_, summary)| summary.to + grace <= now);
        swarms.retain(|(_, summary)| summary.to + gap + grace <= now);
        assert_eq!((activity.len(), swarms.len()), (activity.len().max(100), swarms.len().max(200)));

        let read = |topic| {
            let mut summaries = driver.output_topic::<String, Summary>(topic).read_key_values().unwrap();
            summaries.sort_by(|(one, at), (other, then)| (one, at.from).cmp(&(other, then.from)));
            summaries
        };
        assert_eq!(read(ACTIVITY), activity);
        assert_eq!(read(SWARMS), swarms);
        assert_eq!(driver.output_topic::<String, Late>(LATE).read_key_values_to_map().unwrap(), late);
        assert_eq!(late.values().map(|late| late.reports).sum::<u32>(), 314);
        assert_eq!(driver.dropped_records(), 0);
    }
}
