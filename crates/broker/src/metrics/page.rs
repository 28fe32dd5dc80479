//! The text of all metrics, piece by piece: thousands of partitions are told without the whole text in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use vltava_metrics::prometheus::{self, FamilyKind, Text};
use vltava_metrics::{Counter, Histogram, Reading};
use vltava_protocol::ApiKey;

use super::Metrics;
use super::definitions::{self as d, Mbean};
use super::groups;
use super::process::Process;
use super::requests::ApiMetrics;
use super::topics::TopicCounters;
use crate::clock;
use crate::partition::{LogView, Partition};
use crate::partitions::TopicPartitions;
use crate::services::Services;

/// About as much is made at once.
const PIECE_BYTES: usize = 32 * 1024;

/// The percentiles that Kafka's histograms have.
const QUANTILES: [(&str, f64); 6] =
    [("0.50", 0.5), ("0.75", 0.75), ("0.95", 0.95), ("0.98", 0.98), ("0.99", 0.99), ("0.999", 0.999)];

/// A look at the broker, with what lasts from one to the next.
#[derive(Debug, Default)]
pub(crate) struct Looks {
    /// Of the broker's threads: when, and how long they were busy by then.
    busy: Mutex<Option<(Instant, Duration)>>,
    /// The part of the time that was idle before, as bits.
    idle: AtomicU64,
}

/// One text. The broker is known from when it has loaded its logs.
pub(crate) struct Page {
    metrics: Arc<Metrics>,
    state: f64,
    looks: Arc<Looks>,
    services: Option<Arc<Services>>,
    topics: Vec<Arc<TopicPartitions>>,
    partitions: Vec<Arc<Partition>>,
    step: Step,
}

/// What comes next.
#[derive(Debug, Clone, Copy)]
enum Step {
    Begin,
    /// Which one of the families by topic, and from which topic on.
    Topics(usize, usize),
    /// The same of partitions.
    Partitions(usize, usize),
    End,
}

type OfTopic = (&'static Mbean, fn(&TopicCounters) -> &Counter);

static OF_TOPICS: [OfTopic; 8] = [
    (&d::MESSAGES_IN, |topic| &topic.messages_in),
    (&d::BYTES_IN, |topic| &topic.bytes_in),
    (&d::BYTES_OUT, |topic| &topic.bytes_out),
    (&d::BYTES_REJECTED, |topic| &topic.bytes_rejected),
    (&d::PRODUCE_REQUESTS, |topic| &topic.produce_requests),
    (&d::FAILED_PRODUCE_REQUESTS, |topic| &topic.failed_produce_requests),
    (&d::FETCH_REQUESTS, |topic| &topic.fetch_requests),
    (&d::FAILED_FETCH_REQUESTS, |topic| &topic.failed_fetch_requests),
];

type OfPartition = (&'static Mbean, fn(&LogView) -> f64);

static OF_PARTITIONS: [OfPartition; 5] = [
    (&d::LOG_SIZE, |log| log.size as f64),
    (&d::LOG_START_OFFSET, |log| log.start_offset as f64),
    (&d::LOG_END_OFFSET, |log| log.end_offset as f64),
    (&d::LOG_SEGMENTS, |log| log.segments as f64),
    (&d::LAST_STABLE_OFFSET_LAG, |log| log.high_watermark.saturating_sub(log.last_stable_offset) as f64),
];

impl Page {
    pub(crate) fn new(metrics: &Arc<Metrics>, state: f64, looks: &Arc<Looks>, services: Option<Arc<Services>>) -> Self {
        let (topics, partitions) =
            services.as_ref().map_or_else(|| (Vec::new(), Vec::new()), |services| services.partitions.listed());
        let (metrics, looks) = (Arc::clone(metrics), Arc::clone(looks));
        Self { metrics, state, looks, services, topics, partitions, step: Step::Begin }
    }

    fn begin(&self, text: &mut Text) {
        let now_ms = clock::now().uptime_ms;
        gauge(text, &d::BROKER_STATE, self.state);
        process(text, &Process::look());
        requests(text, &self.metrics, now_ms);
        prometheus::write(&self.metrics.registry.snapshot(now_ms), text);
        if let Some(services) = &self.services {
            self.broker(text, services);
            groups::write(text, services);
        }
    }

    fn broker(&self, text: &mut Text, services: &Services) {
        text.family(&d::CLUSTER_ID.family(), d::CLUSTER_ID.description, FamilyKind::Gauge);
        text.sample(&d::CLUSTER_ID.family(), [("clusterid", services.advertised.cluster_id.as_str())], 1.0);
        let image = services.metadata.image();
        let all = image.partition_count();
        let led = image.topics().flat_map(|topic| &topic.partitions).filter(|partition| partition.leader >= 0).count();
        let producers: usize = self.partitions.iter().map(|partition| partition.log_view().producers).sum();
        let places: usize = self.partitions.iter().map(|partition| partition.waiters().count()).sum();
        let sessions = services.fetch_sessions.lock().size();
        let (offline, online): (Vec<_>, Vec<_>) =
            services.partitions.storage().views().partition(|dir| dir.failure.is_some());
        let idle = self.looks.idle(&services.runtime);
        for (mbean, value) in [
            (&d::LEADER_COUNT, led as f64),
            (&d::PARTITION_COUNT, all as f64),
            (&d::OFFLINE_REPLICAS, (all - led) as f64),
            (&d::UNDER_REPLICATED, 0.0),
            (&d::PRODUCER_IDS, producers as f64),
            (&d::ACTIVE_CONTROLLERS, 1.0),
            (&d::ACTIVE_BROKERS, 1.0),
            (&d::GLOBAL_TOPICS, image.topics().len() as f64),
            (&d::GLOBAL_PARTITIONS, all as f64),
            (&d::OFFLINE_PARTITIONS, (all - led) as f64),
            (&d::LAST_COMMITTED_RECORD, (services.metadata.end_offset() - 1) as f64),
            (&d::OFFLINE_DIRECTORIES, offline.len() as f64),
            (&d::SESSIONS, sessions.sessions as f64),
            (&d::SESSION_PARTITIONS, sessions.partitions as f64),
            (&d::NETWORK_IDLE, idle),
            (&d::HANDLER_IDLE, idle),
            (&d::REQUEST_QUEUE, self.metrics.places_taken() as f64),
            (&d::EXPIRED_CONNECTIONS, self.metrics.expired.count() as f64),
        ] {
            gauge(text, mbean, value);
        }
        family(text, &d::FEATURES);
        for (feature, level) in image.features() {
            text.sample(&d::FEATURES.family(), [("featureName", feature.as_str())], f64::from(*level));
        }
        let (name, flushes) = (d::LOG_FLUSHES.family(), self.metrics.flushes.times.read(clock::now().uptime_ms));
        family(text, &d::LOG_FLUSHES);
        for (quantile, part) in QUANTILES {
            text.sample(&name, [("quantile", quantile)], flushes.recent.quantile(part) / 1000.0);
        }
        text.sample(&format!("{name}_count"), [], flushes.all.count() as f64);
        family(text, &d::FETCH_EXPIRES);
        let expired = services.partitions.expired_fetches() as f64;
        text.sample(&d::FETCH_EXPIRES.family(), [("fetcherType", "consumer")], expired);
        // Where rules do not know percentages they are called as they are.
        let plain = "kafka_network_socketserver_networkprocessoravgidlepercent";
        text.family(plain, d::NETWORK_IDLE.description, FamilyKind::Gauge);
        text.sample(plain, [], idle);
        family(text, &d::SESSION_EVICTIONS);
        text.sample(&d::SESSION_EVICTIONS.family(), [], sessions.evictions as f64);
        for (mbean, value) in
            [(&d::PURGATORY_WAITING, services.partitions.waiting_fetches()), (&d::PURGATORY_SIZE, places)]
        {
            family(text, mbean);
            text.sample(&mbean.family(), [("delayedOperation", "Fetch")], value as f64);
        }
        family(text, &d::DIRECTORY_OFFLINE);
        for dir in offline.iter().chain(&online) {
            let path = dir.path.display().to_string();
            let is_offline = f64::from(u8::from(dir.failure.is_some()));
            text.sample(&d::DIRECTORY_OFFLINE.family(), [("logDirectory", path.as_str())], is_offline);
        }
    }

    /// Topics of one family from one on; where the next piece begins.
    fn of_topics(&self, text: &mut Text, at: usize, from: usize) -> Step {
        let Some((mbean, counter)) = OF_TOPICS.get(at) else { return Step::Partitions(0, 0) };
        let name = mbean.family();
        if from == 0 {
            family(text, mbean);
            text.sample(&name, [], counter(&self.metrics.topics).count() as f64);
        }
        for (i, topic) in self.topics.iter().enumerate().skip(from) {
            if i > from && text.len() >= PIECE_BYTES {
                return Step::Topics(at, i);
            }
            let count = counter(topic.metrics().of_topic()).count();
            text.sample(&name, [("topic", topic.name())], count as f64);
        }
        Step::Topics(at + 1, 0)
    }

    fn of_partitions(&self, text: &mut Text, at: usize, from: usize) -> Step {
        let Some((mbean, value)) = OF_PARTITIONS.get(at) else { return Step::End };
        let name = mbean.family();
        if from == 0 {
            family(text, mbean);
        }
        for (i, partition) in self.partitions.iter().enumerate().skip(from) {
            if i > from && text.len() >= PIECE_BYTES {
                return Step::Partitions(at, i);
            }
            let index = partition.index().to_string();
            let labels = [("topic", partition.topic()), ("partition", index.as_str())];
            text.sample(&name, labels, value(&partition.log_view()));
        }
        Step::Partitions(at + 1, 0)
    }
}

impl Iterator for Page {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        let mut text = Text::default();
        while text.len() < PIECE_BYTES {
            self.step = match self.step {
                Step::Begin => {
                    self.begin(&mut text);
                    Step::Topics(0, 0)
                }
                Step::Topics(at, from) => self.of_topics(&mut text, at, from),
                Step::Partitions(at, from) => self.of_partitions(&mut text, at, from),
                Step::End => break,
            };
        }
        (!text.is_empty()).then(|| text.into_string())
    }
}

impl Looks {
    /// The part of the time since the look before in which the runtime's threads had nothing to do. A look that comes soon
    /// after another tells the same.
    fn idle(&self, runtime: &tokio::runtime::Handle) -> f64 {
        const SOON: Duration = Duration::from_secs(1);
        let metrics = runtime.metrics();
        let threads = metrics.num_workers();
        let busy: Duration = (0..threads).map(|thread| metrics.worker_total_busy_duration(thread)).sum();
        let now = Instant::now();
        let mut last = self.busy.lock();
        let (then, before) = last.get_or_insert((now - SOON, busy));
        let elapsed = now.duration_since(*then);
        if elapsed >= SOON {
            let part = busy.saturating_sub(*before).as_secs_f64() / (elapsed.as_secs_f64() * threads.max(1) as f64);
            self.idle.store((1.0 - part).clamp(0.0, 1.0).to_bits(), Ordering::Relaxed);
            *last = Some((now, busy));
        }
        f64::from_bits(self.idle.load(Ordering::Relaxed))
    }
}

fn family(text: &mut Text, mbean: &Mbean) {
    text.family(&mbean.family(), mbean.description, mbean.family_kind());
}

pub(super) fn gauge(text: &mut Text, mbean: &Mbean, value: f64) {
    family(text, mbean);
    text.sample(&mbean.family(), [], value);
}

fn process(text: &mut Text, process: &Process) {
    for (name, help) in d::OTHERS {
        let value = match *name {
            "process_cpu_seconds_total" => process.cpu_seconds,
            "process_start_time_seconds" => process.start_seconds,
            "process_virtual_memory_bytes" => process.virtual_bytes,
            "process_resident_memory_bytes" => process.resident_bytes,
            "process_open_fds" => process.open_descriptors,
            "process_max_fds" => process.most_descriptors,
            _ => None,
        };
        if let Some(value) = value {
            let kind = if name.ends_with("_total") { FamilyKind::Counter } else { FamilyKind::Gauge };
            text.family(name, help, kind);
            text.sample(name, [], value);
        }
    }
    for (mbean, value) in [(&d::DISK_READ, process.disk_read_bytes), (&d::DISK_WRITE, process.disk_written_bytes)] {
        if let Some(value) = value {
            gauge(text, mbean, value);
        }
    }
}

/// The names of an API: a fetch is a consumer's, as there is no other broker that would follow.
fn names(api: ApiKey) -> impl Iterator<Item = &'static str> {
    std::iter::once(api.name()).chain((api == ApiKey::Fetch).then_some("FetchConsumer"))
}

type OfApi = (&'static Mbean, Option<&'static str>, fn(&ApiMetrics) -> &Histogram);

/// With the part of a request's time that it is in our histogram.
static OF_APIS: [OfApi; 7] = [
    (&d::TOTAL_TIME, Some("total"), |api| &api.total),
    (&d::REQUEST_QUEUE_TIME, Some("queue"), |api| &api.queue),
    (&d::LOCAL_TIME, Some("local"), |api| &api.local),
    (&d::REMOTE_TIME, Some("remote"), |api| &api.remote),
    (&d::RESPONSE_SEND_TIME, Some("send"), |api| &api.send),
    (&d::THROTTLE_TIME, None, |api| &api.throttle),
    (&d::REQUEST_BYTES, None, |api| &api.bytes),
];

fn requests(text: &mut Text, metrics: &Metrics, now_ms: i64) {
    let known: Vec<(ApiKey, &ApiMetrics)> = metrics.requests.known().collect();
    if known.is_empty() {
        return;
    }
    family(text, &d::REQUESTS);
    for (api, of_api) in &known {
        for (version, count) in of_api.versions() {
            let version = version.to_string();
            for name in names(*api) {
                let labels = [("request", name), ("version", version.as_str())];
                text.sample(&d::REQUESTS.family(), labels, count as f64);
            }
        }
    }
    for (mbean, _, histogram) in &OF_APIS {
        // What is recorded in microseconds is told in milliseconds.
        let unit = if mbean.name == d::REQUEST_BYTES.name { 1.0 } else { 1000.0 };
        family(text, mbean);
        for (api, of_api) in &known {
            let reading = histogram(of_api).read(now_ms);
            for name in names(*api) {
                summary(text, mbean, name, &reading, unit);
            }
        }
    }
    let help = d::OTHERS.iter().find(|(name, _)| *name == d::REQUEST_SECONDS).map_or("", |(_, help)| help);
    text.family(d::REQUEST_SECONDS, help, FamilyKind::Histogram);
    for (api, of_api) in &known {
        for (_, part, histogram) in &OF_APIS {
            if let Some(part) = part {
                buckets(text, api.name(), part, &histogram(of_api).read(now_ms));
            }
        }
    }
}

fn summary(text: &mut Text, mbean: &Mbean, request: &str, reading: &Reading, unit: f64) {
    let name = mbean.family();
    for (quantile, part) in QUANTILES {
        text.sample(&name, [("request", request), ("quantile", quantile)], reading.recent.quantile(part) / unit);
    }
    text.sample(&format!("{name}_count"), [("request", request)], reading.all.count() as f64);
}

/// The bounds of the histogram, as powers of two of a microsecond: from 256 µs to half a minute.
const BOUNDS: std::ops::RangeInclusive<u32> = 8..=25;

fn buckets(text: &mut Text, request: &str, part: &str, reading: &Reading) {
    let bucket = format!("{}_bucket", d::REQUEST_SECONDS);
    let bounds = BOUNDS.map(|power| (((1_u64 << power) as f64 / 1e6).to_string(), reading.all.below(power)));
    for (bound, count) in bounds.chain([("+Inf".to_owned(), reading.all.count())]) {
        text.sample(&bucket, [("request", request), ("part", part), ("le", bound.as_str())], count as f64);
    }
    let labels = [("request", request), ("part", part)];
    text.sample(&format!("{}_sum", d::REQUEST_SECONDS), labels, reading.sum as f64 / 1e6);
    text.sample(&format!("{}_count", d::REQUEST_SECONDS), labels, reading.all.count() as f64);
}
