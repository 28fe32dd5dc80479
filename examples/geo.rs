//! Geo-tracking: trucks between the airports of the United States, who is where, for how long, and how far they drove.
//!
//! ```text
//! positions ── Geofence (a processor) ──┬──► events: a truck enters, leaves, or overstays
//!                  │ store `trucks`     └── those who left ── group by hub ── sums ──► dwell times
//! ```
//!
//! `Geofence` keeps for each truck where it was last, how far it has driven, and at which hub it stands. A new position
//! tells whether it has crossed a fence, a circle around a hub; a grid of one degree finds the hubs nearby without looking
//! at all of them. Every ten minutes of stream time a punctuation looks for trucks that overstay, so that it is known while
//! they do. Punctuations come between records, and not for each of the ten minutes when many records are read at once:
//! whose overstay was not noticed is told of when he leaves.
//!
//! The hubs are real airports (see `data/README.md`), the trucks are made up. Who has driven farthest is asked of the
//! store itself, by an interactive query.
//!
//! ```text
//! cargo run --release --example geo
//! cargo run --release --example geo -- --bootstrap-server localhost:9092
//! ```
//!
//! Without a server it runs on a broker in this process. On one of yours the topics stay, to be looked at;
//! `kafka-topics --delete --topic 'geo.*'` makes room for another run.
#![allow(clippy::print_stdout, reason = "a program for people prints")]

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

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
        self, Context, DefaultSerde, KafkaStreams, KeyValueStore, Named, Processor, PunctuationType, Record,
        StoreBuilder, StreamsBuilder, StreamsConfig, Topology,
        query::{QueryableStoreTypes, StoreQueryParameters},
        store::StoreHandle,
    },
};

const APPLICATION: &str = "geo";
const POSITIONS: &str = "geo-positions";
const EVENTS: &str = "geo-events";
const DWELL: &str = "geo-dwell-times";
const TRUCKS: &str = "trucks";
const PARTITIONS: i32 = 3;

/// The radius of a fence. No two airports are so close that theirs overlap.
const FENCE_KM: f64 = 5.0;
const MINUTE: i64 = 60_000;
/// A truck should not stand at a hub for longer than this, in ms.
const LIMIT: i64 = 150 * MINUTE;
/// When the trucks start, in ms since the epoch.
const START: i64 = 1_767_225_600_000;

/// Where something is, in degrees; the key is the truck.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Position {
    latitude: f64,
    longitude: f64,
}

impl Position {
    /// The length of the great circle, by the haversine formula.
    fn km_to(self, other: Position) -> f64 {
        let half = |from: f64, to: f64| ((to - from).to_radians() / 2.0).sin().powi(2);
        let cosines = self.latitude.to_radians().cos() * other.latitude.to_radians().cos();
        let square = half(self.latitude, other.latitude) + cosines * half(self.longitude, other.longitude);
        2.0 * 6371.0 * square.sqrt().asin()
    }

    fn cell(self) -> (i32, i32) {
        (self.latitude.floor() as i32, self.longitude.floor() as i32)
    }
}

struct Hub {
    code: String,
    at: Position,
}

/// All hubs, by the cell of the grid that they are in.
struct Hubs(HashMap<(i32, i32), Vec<Hub>>);

impl Hubs {
    fn new(hubs: Vec<Hub>) -> Self {
        let mut cells = HashMap::<_, Vec<_>>::new();
        for hub in hubs {
            cells.entry(hub.at.cell()).or_default().push(hub);
        }
        Hubs(cells)
    }

    /// The hub within whose fence a position is. A cell is far larger than a fence, so that its neighbours suffice.
    fn around(&self, position: Position) -> Option<&Hub> {
        let (latitude, longitude) = position.cell();
        let cells = (-1..=1).flat_map(|north| (-1..=1).map(move |east| (latitude + north, longitude + east)));
        cells.filter_map(|cell| self.0.get(&cell)).flatten().find(|hub| hub.at.km_to(position) <= FENCE_KM)
    }
}

/// What is known of a truck.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Truck {
    position: Position,
    /// When it was there, in ms since the epoch.
    time: i64,
    odometer_km: f64,
    stay: Option<Stay>,
}

/// A truck at a hub.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Stay {
    hub: String,
    since: i64,
    is_reported: bool,
}

impl Stay {
    /// The event that it lasts too long, once.
    fn overstayed(&mut self, now: i64) -> Option<FenceEvent> {
        let is_news = !self.is_reported && now - self.since > LIMIT;
        self.is_reported |= is_news;
        is_news.then(|| FenceEvent { hub: self.hub.clone(), what: What::Overstays { since: self.since } })
    }
}

/// What happens at a hub; the key is the truck.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct FenceEvent {
    hub: String,
    what: What,
}

/// Times in ms.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum What {
    Enters,
    Leaves { after: i64 },
    Overstays { since: i64 },
}

/// The stays at a hub that have ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct DwellTimes {
    stays: i64,
    total_ms: i64,
    longest_ms: i64,
}

// One line for each type says what its bytes are.
impl DefaultSerde for Position {
    type Serde = JsonSerde;
}
impl DefaultSerde for Truck {
    type Serde = JsonSerde;
}
impl DefaultSerde for FenceEvent {
    type Serde = JsonSerde;
}
impl DefaultSerde for DwellTimes {
    type Serde = JsonSerde;
}

/// Turns positions into events at the hubs' fences.
struct Geofence {
    hubs: Arc<Hubs>,
    trucks: StoreHandle<KeyValueStore<String, Truck>>,
}

impl Processor for Geofence {
    type KIn = String;
    type VIn = Position;
    type KOut = String;
    type VOut = FenceEvent;

    fn init(&mut self, ctx: &mut Context<'_, Self>) -> streams::Result<()> {
        let interval = Duration::from_secs(10 * 60);
        ctx.schedule(interval, PunctuationType::StreamTime, Self::report_overstays)?;
        Ok(())
    }

    fn process(&mut self, record: Record<String, Position>, ctx: &mut Context<'_, Self>) -> streams::Result<()> {
        let Record { key: truck, value: position, timestamp: time, .. } = record;
        let mut trucks = ctx.store(self.trucks)?;
        let before = trucks.get(&truck)?;
        // A position that came twice, or was overtaken by a newer one, says nothing new of where the truck is.
        if before.as_ref().is_some_and(|before| time <= before.time) {
            return Ok(());
        }
        let driven = before.as_ref().map_or(0.0, |before| before.odometer_km + before.position.km_to(position));
        let (left, stay) = match (before.and_then(|before| before.stay), self.hubs.around(position)) {
            (Some(stay), Some(hub)) if stay.hub == hub.code => (None, Some(stay)),
            (left, hub) => (left, hub.map(|hub| Stay { hub: hub.code.clone(), since: time, is_reported: false })),
        };
        let entered = stay.as_ref().filter(|stay| stay.since == time).map(|stay| stay.hub.clone());
        trucks.put(&truck, Some(Truck { position, time, odometer_km: driven, stay }))?;

        let mut events = Vec::new();
        if let Some(mut stay) = left {
            events.extend(stay.overstayed(time));
            events.push(FenceEvent { what: What::Leaves { after: time - stay.since }, hub: stay.hub });
        }
        events.extend(entered.map(|hub| FenceEvent { hub, what: What::Enters }));
        for event in events {
            ctx.forward(Record::new(truck.clone(), event, time))?;
        }
        Ok(())
    }
}

impl Geofence {
    /// Tells once of each truck that stands at a hub for too long.
    fn report_overstays(&mut self, now: i64, ctx: &mut Context<'_, Self>) -> streams::Result<()> {
        for (key, mut truck) in ctx.store(self.trucks)?.all()? {
            if let Some(event) = truck.stay.as_mut().and_then(|stay| stay.overstayed(now)) {
                ctx.store(self.trucks)?.put(&key, Some(truck))?;
                ctx.forward(Record::new(key, event, now))?;
            }
        }
        Ok(())
    }
}

/// The application.
fn topology(hubs: Vec<Hub>) -> Result<Topology> {
    let hubs = Arc::new(Hubs::new(hubs));
    let builder = StreamsBuilder::new();
    let trucks = builder.add_state_store(StoreBuilder::<KeyValueStore<String, Truck>>::persistent(TRUCKS));
    let events = builder
        .stream::<String, Position>(POSITIONS)
        .process_with((Named::new("geofence"), trucks), move |trucks| Geofence { hubs: hubs.clone(), trucks });
    events.to(EVENTS);
    events
        .flat_map(|_, event| match event.what {
            What::Leaves { after } => Some((event.hub, after)),
            What::Enters | What::Overstays { .. } => None,
        })
        .group_by_key()
        .aggregate(DwellTimes::default, |_, after, times| DwellTimes {
            stays: times.stays + 1,
            total_ms: times.total_ms + after,
            longest_ms: times.longest_ms.max(after),
        })
        .to_stream()
        .to(DWELL);
    Ok(builder.build()?)
}

fn hubs() -> Result<Vec<Hub>> {
    let hub = |line: &str| {
        let mut fields = line.split(',');
        let mut next = || fields.next().with_context(|| format!("a field is missing in {line}"));
        let (code, latitude, longitude) = (next()?, next()?, next()?);
        let at = Position { latitude: latitude.parse()?, longitude: longitude.parse()? };
        Ok(Hub { code: code.to_owned(), at })
    };
    include_str!("data/airports.csv").lines().skip(1).map(hub).collect()
}

/// Two days of thirty trucks, a position every five minutes, the same every time: (time, truck, position).
fn positions(hubs: &[Hub]) -> Vec<(i64, String, Position)> {
    let mut random = fastrand::Rng::with_seed(1);
    let mut positions = Vec::new();
    for number in 0..30 {
        let truck = format!("truck-{number:02}");
        let (mut time, end) = (START + number * 1000, START + 48 * 60 * MINUTE);
        let Some(mut hub) = random.choice(hubs) else { break };
        while time < end {
            // It stands for a while, mostly within the limit, and drives to one of the next hubs at 85 km/h.
            for _ in 0..random.i64(4..34) {
                positions.push((time, truck.clone(), hub.at));
                time += 5 * MINUTE;
            }
            let mut others: Vec<_> = hubs.iter().filter(|other| other.code != hub.code).collect();
            others.sort_by(|one, other| hub.at.km_to(one.at).total_cmp(&hub.at.km_to(other.at)));
            let Some(next) = random.choice(others.into_iter().take(4)) else { break };
            let steps = (hub.at.km_to(next.at) / 85.0 * 12.0).ceil() as u32;
            for step in 1..steps {
                let part = f64::from(step) / f64::from(steps);
                let between = |from: f64, to: f64| from + (to - from) * part;
                let latitude = between(hub.at.latitude, next.at.latitude);
                let longitude = between(hub.at.longitude, next.at.longitude);
                positions.push((time, truck.clone(), Position { latitude, longitude }));
                time += 5 * MINUTE;
            }
            hub = next;
        }
    }
    positions.retain(|(time, ..)| *time < START + 48 * 60 * MINUTE);
    positions.sort_by_key(|(time, ..)| *time);
    positions
}

/// Follows trucks from hub to hub.
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
    let streams = KafkaStreams::new(topology(hubs()?)?, config)?;
    streams.start()?;
    ensure!(
        streams.wait_until_caught_up_async(Duration::from_secs(60)).await?,
        "the positions did not get through in time"
    );

    let parameters = StoreQueryParameters::from_name_and_type(TRUCKS, QueryableStoreTypes::key_value_store());
    let mut trucks: Vec<(String, Truck)> = streams.store(&parameters)?.all()?;
    streams.close_async(Duration::from_secs(30)).await?;
    trucks.sort_by(|(_, one), (_, other)| other.odometer_km.total_cmp(&one.odometer_km));
    print_trucks(&trucks);
    let events: Vec<(String, FenceEvent)> = read(server, EVENTS).await?;
    print_overstays(&events);
    print_dwell_times(&read(server, DWELL).await?.into_iter().collect());
    Ok(())
}

async fn create_topics(server: &str) -> Result<()> {
    let admin = Admin::new(AdminConfig::from_properties([("bootstrap.servers", server)])?)?;
    // The positions are of long ago, and must not expire.
    let topics = [POSITIONS, EVENTS, DWELL]
        .map(|topic| NewTopic::new(topic).partitions(PARTITIONS).config("retention.ms", "-1"));
    for (topic, created) in admin.create_topics(topics).await {
        created.with_context(|| format!("creating {topic}"))?;
    }
    Ok(())
}

async fn produce(server: &str) -> Result<()> {
    let producer = Producer::new(ProducerConfig::from_properties([("bootstrap.servers", server)])?)?;
    let trucks = TypedProducer::<String, Position>::new(producer, POSITIONS, StringSerde, JsonSerde);
    let mut deliveries = Vec::new();
    for (time, truck, position) in positions(&hubs()?) {
        deliveries.push(trucks.send_to(None, Some(time), Some(&truck), Some(&position)).await?);
    }
    for delivery in deliveries {
        delivery.await?;
    }
    Ok(())
}

/// All that is in a topic, by partition.
async fn read<T: DefaultSerde>(server: &str, topic: &str) -> Result<Vec<(String, T)>> {
    let config = [("bootstrap.servers", server), ("auto.offset.reset", "earliest")];
    let consumer = Consumer::new(ConsumerConfig::from_properties(config)?)?;
    let partitions: Vec<_> = (0..PARTITIONS).map(|partition| TopicPartition::new(topic, partition)).collect();
    consumer.assign(partitions.iter().cloned())?;
    let count: i64 = consumer.end_offsets(&partitions).await?.values().sum();
    let consumer = TypedConsumer::new(consumer, StringSerde, serde_of::<T>());
    let mut records = Vec::new();
    while records.len() < usize::try_from(count)? {
        for record in consumer.poll(Duration::from_secs(1)).await? {
            records.push((record.key.context("no key")?, record.value.context("no value")?));
        }
    }
    Ok(records)
}

fn hours(ms: i64) -> String {
    format!("{}:{:02}", ms / MINUTE / 60, ms / MINUTE % 60)
}

fn print_trucks(trucks: &[(String, Truck)]) {
    let total: f64 = trucks.iter().map(|(_, truck)| truck.odometer_km).sum();
    println!("{} trucks drove {total:.0} km. The farthest:", trucks.len());
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header(["truck", "km", "stands at"]);
    for (name, truck) in trucks.iter().take(5) {
        let hub = truck.stay.as_ref().map_or("on the road", |stay| &stay.hub);
        table.add_row([name, &format!("{:.0}", truck.odometer_km), hub]);
    }
    println!("{table}");
}

fn print_overstays(events: &[(String, FenceEvent)]) {
    let overstays: Vec<_> = events.iter().filter(|(_, event)| matches!(event.what, What::Overstays { .. })).collect();
    println!("{} overstays, such as", overstays.len());
    for (truck, FenceEvent { hub, what }) in overstays.into_iter().take(3) {
        if let What::Overstays { since } = what {
            println!("  {truck} at {hub} since {} h", hours(since - START));
        }
    }
}

/// The last sums of a hub are those that hold.
fn print_dwell_times(hubs: &BTreeMap<String, DwellTimes>) {
    let mut hubs: Vec<_> = hubs.iter().collect();
    hubs.sort_by_key(|(_, times)| Reverse(times.stays));
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header(["hub", "stays", "mean", "longest"]);
    for (hub, times) in hubs.into_iter().take(8) {
        let mean = hours(times.total_ms / times.stays);
        table.add_row([hub, &times.stays.to_string(), &mean, &hours(times.longest_ms)]);
    }
    println!("{table}");
}

#[cfg(test)]
mod tests {
    use vltava::streams::TopologyTestDriver;

    use super::*;

    fn what(driver: &TopologyTestDriver) -> Vec<(String, FenceEvent)> {
        driver.output_topic(EVENTS).read_key_values().unwrap()
    }

    #[test]
    fn a_truck_enters_overstays_and_leaves() {
        let hub = Hub { code: "HUB".to_owned(), at: Position { latitude: 50.0, longitude: 14.0 } };
        let driver = TopologyTestDriver::new(&topology(vec![hub]).unwrap()).unwrap();
        let positions = driver.input_topic::<String, Position>(POSITIONS);
        // A degree of latitude is 111 km. The fence reaches into the next cell of the grid.
        for (minute, latitude) in
            [(0, 51.0), (60, 50.03), (60, 50.03), (120, 49.97), (90, 51.0), (300, 50.0), (360, 49.0)]
        {
            let position = Position { latitude, longitude: 14.0 };
            positions.pipe_at("truck".to_owned(), position, START + minute * MINUTE).unwrap();
        }
        let event = |what| ("truck".to_owned(), FenceEvent { hub: "HUB".to_owned(), what });
        let since = START + 60 * MINUTE;
        let expected = [What::Enters, What::Overstays { since }, What::Leaves { after: 300 * MINUTE }];
        assert_eq!(what(&driver), expected.map(event));
        let truck = driver.store::<KeyValueStore<String, Truck>, _>(TRUCKS, |trucks| trucks.get(&"truck".to_owned()));
        let truck = truck.unwrap().unwrap();
        assert!((truck.odometer_km - 2.06 * 111.195).abs() < 0.1, "{truck:?}");
        let times = driver.output_topic::<String, DwellTimes>(DWELL).read_values().unwrap();
        assert_eq!(times, [DwellTimes { stays: 1, total_ms: 300 * MINUTE, longest_ms: 300 * MINUTE }]);
    }

    #[test]
    fn the_days_are_as_a_plain_loop_over_every_truck_has_them() {
        let hubs = hubs().unwrap();
        let positions = positions(&hubs);
        let driver = TopologyTestDriver::new(&topology(self::hubs().unwrap()).unwrap()).unwrap();
        let input = driver.input_topic::<String, Position>(POSITIONS);
        let mut by_truck = BTreeMap::<String, Vec<(i64, Position)>>::new();
        for (time, truck, position) in positions {
            by_truck.entry(truck.clone()).or_default().push((time, position));
            input.pipe_at(truck, position, time).unwrap();
        }
        let (mut expected, mut overstays) = (BTreeMap::<String, DwellTimes>::new(), 0);
        for (name, way) in by_truck {
            let km: f64 = way.windows(2).map(|step| step[0].1.km_to(step[1].1)).sum();
            let truck = driver.store::<KeyValueStore<String, Truck>, _>(TRUCKS, |trucks| trucks.get(&name));
            assert!((truck.unwrap().unwrap().odometer_km - km).abs() < 1e-6, "{name}");
            // Every hub is looked at, and a stay lasts until the first position elsewhere.
            let at =
                |position: Position| hubs.iter().find(|hub| hub.at.km_to(position) <= FENCE_KM).map(|hub| &hub.code);
            let stays: Vec<_> = way.chunk_by(|one, next| at(one.1) == at(next.1)).collect();
            for pair in stays.windows(2) {
                if let Some(hub) = at(pair[0][0].1) {
                    let (after, times) = (pair[1][0].0 - pair[0][0].0, expected.entry(hub.clone()).or_default());
                    times.stays += 1;
                    times.total_ms += after;
                    times.longest_ms = times.longest_ms.max(after);
                    overstays += usize::from(after > LIMIT);
                }
            }
        }
        assert_eq!(driver.output_topic(DWELL).read_key_values_to_map().unwrap(), expected);
        let events = what(&driver);
        let reported = events.iter().filter(|(_, event)| matches!(event.what, What::Overstays { .. })).count();
        let left = events.iter().filter(|(_, event)| matches!(event.what, What::Leaves { .. })).count();
        assert_eq!((reported, left), (overstays, expected.values().map(|times| times.stays as usize).sum()));
    }
}
