//! What is counted, under the names of Kafka Streams' metrics.

use std::collections::BTreeMap;

use vltava_metrics::definition::{GaugeDefinition, Group, SensorDefinition, rate, total};
use vltava_metrics::{MetricConfig, MetricName, RecordingLevel, Snapshot, Stats, Tags};

use crate::{config::StreamsConfig, record::Headers, task::Task};

/// What stands before the groups of Streams' metrics.
pub(crate) const DOMAIN: &str = "kafka.streams";

/// All metrics of Streams beside those of its clients.
pub const GROUPS: &[Group] = &[
    Group {
        name: "stream-metrics",
        tags: &["client-id"],
        sensors: &[],
        gauges: &[&ALIVE_STREAM_THREADS, &CLIENT_STATE, &FAILED_STREAM_THREADS],
    },
    Group { name: THREAD, tags: &["thread-id"], sensors: &[&THREAD_PROCESS, &THREAD_COMMIT], gauges: &[] },
    Group { name: TASK, tags: &["thread-id", "task-id"], sensors: &[&DROPPED, &TASK_PROCESS, &UPDATE], gauges: &[] },
    Group { name: NODE, tags: &["thread-id", "task-id", "processor-node-id"], sensors: &[&NODE_PROCESS], gauges: &[] },
    Group {
        name: TOPIC,
        tags: &["thread-id", "task-id", "processor-node-id", "topic"],
        sensors: &[],
        gauges: &[&RECORDS_CONSUMED, &BYTES_CONSUMED, &RECORDS_PRODUCED, &BYTES_PRODUCED],
    },
];

const THREAD: &str = "stream-thread-metrics";
const TASK: &str = "stream-task-metrics";
const NODE: &str = "stream-processor-node-metrics";
const TOPIC: &str = "stream-topic-metrics";

pub(crate) static ALIVE_STREAM_THREADS: GaugeDefinition = GaugeDefinition::new(
    "alive-stream-threads",
    "threads",
    "The current number of alive stream threads that are running or participating in rebalance",
);
pub(crate) static CLIENT_STATE: GaugeDefinition =
    GaugeDefinition::new("client-state", "state", "The state of the Kafka Streams client as a number");
pub(crate) static FAILED_STREAM_THREADS: GaugeDefinition = GaugeDefinition::new(
    "failed-stream-threads",
    "threads",
    "The number of failed stream threads since the start of the Kafka Streams client",
);
static THREAD_PROCESS: SensorDefinition = SensorDefinition::new(
    "records",
    &[
        rate("process-rate", "The average number of processed records per second"),
        total("process-total", "The total number of processed records"),
    ],
);
static THREAD_COMMIT: SensorDefinition = SensorDefinition::new(
    "commits",
    &[
        rate("commit-rate", "The average number of calls to commit per second"),
        total("commit-total", "The total number of calls to commit"),
    ],
);
static DROPPED: SensorDefinition = SensorDefinition::new(
    "records",
    &[
        rate("dropped-records-rate", "The average number of dropped records per second"),
        total("dropped-records-total", "The total number of dropped records"),
    ],
);
static TASK_PROCESS: SensorDefinition = THREAD_PROCESS_OF.level(RecordingLevel::Debug);
static NODE_PROCESS: SensorDefinition = THREAD_PROCESS_OF.level(RecordingLevel::Debug);
const THREAD_PROCESS_OF: SensorDefinition = SensorDefinition::new(
    "records",
    &[
        rate("process-rate", "The average number of calls to process per second"),
        total("process-total", "The total number of calls to process"),
    ],
);
static UPDATE: SensorDefinition = SensorDefinition::new(
    "records",
    &[
        rate("update-rate", "The average number of records by which standby stores were updated per second"),
        total("update-total", "The total number of records by which standby stores were updated"),
    ],
)
.level(RecordingLevel::Debug);
static RECORDS_CONSUMED: GaugeDefinition =
    GaugeDefinition::new("records-consumed-total", "records", "The total number of records consumed from this topic");
static BYTES_CONSUMED: GaugeDefinition =
    GaugeDefinition::new("bytes-consumed-total", "bytes", "The total number of bytes consumed from this topic");
static RECORDS_PRODUCED: GaugeDefinition =
    GaugeDefinition::new("records-produced-total", "records", "The total number of records produced to this topic");
static BYTES_PRODUCED: GaugeDefinition =
    GaugeDefinition::new("bytes-produced-total", "bytes", "The total number of bytes produced to this topic");

/// Over what is recorded.
fn metric_config(config: &StreamsConfig) -> MetricConfig {
    let fields = config.fields();
    let samples = usize::try_from(fields.metrics_samples).unwrap_or(1);
    MetricConfig::new(samples, fields.metrics_window_ms, fields.metrics_level)
}

/// A metric's name in this domain.
pub(crate) fn name(group: &'static str, gauge: &GaugeDefinition, tags: Tags) -> MetricName {
    MetricName::new(DOMAIN, group, gauge.name, gauge.description, tags)
}

/// A sensor of one task or thread.
struct Meter {
    stats: Stats,
    /// What was recorded in all.
    total: u64,
}

impl Meter {
    fn new(definition: &'static SensorDefinition) -> Self {
        Meter { stats: Stats::new(definition), total: 0 }
    }

    fn record(&mut self, config: &MetricConfig, count: u64, now: i64) {
        self.total += count;
        self.stats.record(config, count as f64, now);
    }

    /// Takes over a count that somebody else keeps. Says how much was added.
    fn catch_up(&mut self, config: &MetricConfig, total: u64, now: i64) -> u64 {
        let more = total.saturating_sub(self.total);
        if more > 0 {
            self.record(config, more, now);
        }
        more
    }

    fn tell(&mut self, config: &MetricConfig, now: i64, group: &'static str, tags: &Tags, into: &mut Snapshot) {
        self.stats.measure(config, now, |statistic, value| {
            let name = MetricName::new(DOMAIN, group, statistic.name, statistic.description, tags.clone());
            into.insert(name, value.into());
        });
    }
}

/// What a task counts.
pub(crate) struct Counters {
    tags: Tags,
    config: MetricConfig,
    dropped: Meter,
    processed_by_all: Meter,
    /// By source node.
    processed: BTreeMap<String, Meter>,
    /// Records and bytes, by node and topic.
    consumed: BTreeMap<(String, String), (u64, u64)>,
    produced: BTreeMap<(String, String), (u64, u64)>,
}

impl Counters {
    pub(crate) fn new(config: &StreamsConfig, thread: &str, task: &str) -> Self {
        Counters {
            tags: Tags::new([("thread-id", thread), ("task-id", task)]),
            config: metric_config(config),
            dropped: Meter::new(&DROPPED),
            processed_by_all: Meter::new(&TASK_PROCESS),
            processed: BTreeMap::new(),
            consumed: BTreeMap::new(),
            produced: BTreeMap::new(),
        }
    }

    fn is_recorded(&self, definition: &SensorDefinition) -> bool {
        definition.level.is_recorded_at(self.config.level())
    }

    /// Takes what the task has counted itself.
    pub(crate) fn update(&mut self, task: &Task, now: i64) {
        self.dropped(task.dropped_records(), now);
        if self.is_recorded(&NODE_PROCESS) {
            task.processed().for_each(|(source, total)| self.processed(source, total, now));
        }
    }

    pub(crate) fn dropped(&mut self, total: u64, now: i64) {
        self.dropped.catch_up(&self.config, total, now);
    }

    pub(crate) fn processed(&mut self, source: &str, total: u64, now: i64) {
        if !self.processed.contains_key(source) {
            self.processed.insert(source.to_owned(), Meter::new(&NODE_PROCESS));
        }
        let Some(known) = self.processed.get_mut(source) else { return };
        let more = known.catch_up(&self.config, total, now);
        if more > 0 {
            self.processed_by_all.record(&self.config, more, now);
        }
    }

    pub(crate) fn consumed(&mut self, source: &str, topic: &str, bytes: u64) {
        let (records, sum) = self.consumed.entry((source.to_owned(), topic.to_owned())).or_default();
        (*records, *sum) = (*records + 1, *sum + bytes);
    }

    pub(crate) fn produced(&mut self, sink: &str, topic: &str, bytes: u64) {
        let (records, sum) = self.produced.entry((sink.to_owned(), topic.to_owned())).or_default();
        (*records, *sum) = (*records + 1, *sum + bytes);
    }

    /// All of them, each with its value at `now`.
    pub(crate) fn all(&mut self, now: i64) -> Snapshot {
        let mut all = Snapshot::new();
        self.dropped.tell(&self.config, now, TASK, &self.tags, &mut all);
        if self.is_recorded(&TASK_PROCESS) {
            self.processed_by_all.tell(&self.config, now, TASK, &self.tags, &mut all);
            for (node, processed) in &mut self.processed {
                let tags = self.tags.with("processor-node-id", node.as_str());
                processed.tell(&self.config, now, NODE, &tags, &mut all);
            }
        }
        let directions = [
            (&RECORDS_CONSUMED, &BYTES_CONSUMED, &self.consumed),
            (&RECORDS_PRODUCED, &BYTES_PRODUCED, &self.produced),
        ];
        for (records, bytes, counted) in directions {
            for ((node, topic), (count, sum)) in counted {
                let tags = self.tags.with("processor-node-id", node.as_str()).with("topic", topic.as_str());
                all.insert(name(TOPIC, records, tags.clone()), (*count as f64).into());
                all.insert(name(TOPIC, bytes, tags), (*sum as f64).into());
            }
        }
        all
    }
}

/// What a standby counts: Kafka's `update` metrics, of level DEBUG.
pub(crate) struct StandbyCounters {
    tags: Tags,
    config: MetricConfig,
    updated: Meter,
}

impl StandbyCounters {
    pub(crate) fn new(config: &StreamsConfig, thread: &str, task: &str) -> Self {
        StandbyCounters {
            tags: Tags::new([("thread-id", thread), ("task-id", task)]),
            config: metric_config(config),
            updated: Meter::new(&UPDATE),
        }
    }

    /// Its stores have taken records.
    pub(crate) fn updated(&mut self, records: u64, now: i64) {
        self.updated.record(&self.config, records, now);
    }

    /// All of them, each with its value at `now`.
    pub(crate) fn all(&mut self, now: i64) -> Snapshot {
        let mut all = Snapshot::new();
        if UPDATE.level.is_recorded_at(self.config.level()) {
            self.updated.tell(&self.config, now, TASK, &self.tags, &mut all);
        }
        all
    }
}

/// What a stream thread counts.
pub(crate) struct ThreadCounters {
    thread: String,
    config: MetricConfig,
    processed: Meter,
    committed: Meter,
}

impl ThreadCounters {
    pub(crate) fn new(config: &StreamsConfig, thread: &str) -> Self {
        let (processed, committed) = (Meter::new(&THREAD_PROCESS), Meter::new(&THREAD_COMMIT));
        ThreadCounters { thread: thread.to_owned(), config: metric_config(config), processed, committed }
    }

    pub(crate) fn thread(&self) -> &str {
        &self.thread
    }

    pub(crate) fn processed(&mut self, records: usize, now: i64) {
        if records > 0 {
            self.processed.record(&self.config, records as u64, now);
        }
    }

    pub(crate) fn committed(&mut self, now: i64) {
        self.committed.record(&self.config, 1, now);
    }

    pub(crate) fn all(&mut self, now: i64) -> Snapshot {
        let mut all = Snapshot::new();
        let tags = Tags::new([("thread-id", self.thread.as_str())]);
        self.processed.tell(&self.config, now, THREAD, &tags, &mut all);
        self.committed.tell(&self.config, now, THREAD, &tags, &mut all);
        all
    }
}

/// What Kafka's clients count as the size of a record.
pub(crate) fn record_size(key: Option<&[u8]>, value: Option<&[u8]>, topic: &str, headers: &Headers) -> u64 {
    // Timestamp, offset and partition.
    let fixed = 8 + 8 + 4;
    let headers = headers.iter().map(|header| header.key.len() + header.value.as_ref().map_or(0, bytes::Bytes::len));
    let bytes =
        fixed + topic.len() + key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len) + headers.sum::<usize>();
    bytes as u64
}
