//! What is counted, under the names of Kafka Streams' metrics: a file a level, with its table and its sensors.
//!
//! - `client`: of an application on this instance.
//! - `thread`, `state_updater`: of a stream thread.
//! - `task`, `node`, `topic`, `store`, `cache`: of a task, its nodes, what it reads and writes, and its stores; they count in
//!   fields of their own, which the task [records](task::TaskMetrics::record) when its turn is over.
//!
//! A series ends with what it describes: whoever is measured owns its sensors.

pub(crate) mod cache;
pub(crate) mod client;
pub(crate) mod node;
pub(crate) mod state_updater;
pub(crate) mod store;
pub(crate) mod task;
pub(crate) mod thread;
pub(crate) mod topic;

use std::sync::Arc;

use vltava_metrics::definition::{GaugeDefinition, Group, SensorDefinition, Statistic, avg, max, min};
use vltava_metrics::{Gauge, MetricConfig, MetricValue, RecordingLevel, Registry, Sensor, Tags};

use crate::{config::StreamsConfig, record::Headers};

/// All metrics of Streams beside those of its clients.
pub const GROUPS: &[Group] = &[
    client::GROUP,
    thread::GROUP,
    state_updater::GROUP,
    task::GROUP,
    node::GROUP,
    topic::GROUP,
    store::GROUP,
    cache::GROUP,
];

/// What stands before the groups of Streams' metrics.
const DOMAIN: &str = "kafka.streams";

/// How old records were, of nodes and of stores.
const E2E_LATENCIES: &[Statistic] = &[
    avg(
        "record-e2e-latency-avg",
        "The average end-to-end latency of a record, measuring by comparing the record timestamp with the system time when it has been fully processed by the node",
    ),
    min(
        "record-e2e-latency-min",
        "The minimum end-to-end latency of a record, measuring by comparing the record timestamp with the system time when it has been fully processed by the node",
    ),
    max(
        "record-e2e-latency-max",
        "The maximum end-to-end latency of a record, measuring by comparing the record timestamp with the system time when it has been fully processed by the node",
    ),
];

/// The metrics of an application on this instance, or of a test driver.
pub(crate) fn registry(config: &StreamsConfig) -> Registry {
    let fields = config.fields();
    let samples = usize::try_from(fields.metrics_samples).unwrap_or(1);
    let config = MetricConfig::new(samples, fields.metrics_window_ms, fields.metrics_level);
    Registry::new(DOMAIN, config, Tags::default())
}

/// Where one thread, or one task of it, has its sensors.
#[derive(Clone, Debug)]
pub(crate) struct Recorder {
    registry: Registry,
    tags: Tags,
    /// A clock for how long something took, in ns.
    clock: fn() -> u64,
}

impl Recorder {
    /// That of a thread.
    pub(crate) fn of_thread(registry: &Registry, thread: &str, clock: fn() -> u64) -> Self {
        Recorder { registry: registry.clone(), tags: Tags::new([("thread-id", thread)]), clock }
    }

    /// The same with one tag more.
    pub(crate) fn with(&self, tag: &'static str, value: impl Into<Arc<str>>) -> Self {
        Recorder { tags: self.tags.with(tag, value), ..self.clone() }
    }

    pub(crate) fn sensor(&self, group: &'static str, definition: &'static SensorDefinition) -> Sensor {
        self.registry.sensor(group, definition, &self.tags)
    }

    pub(crate) fn gauge(
        &self,
        group: &'static str,
        definition: &'static GaugeDefinition,
        look: impl Fn() -> MetricValue + Send + Sync + 'static,
    ) -> Gauge {
        self.registry.gauge(group, definition, &self.tags, move |_| look())
    }

    /// Whether what costs something with each record is recorded.
    pub(crate) fn is_detailed(&self) -> bool {
        RecordingLevel::Debug.is_recorded_at(self.registry.config().level())
    }

    /// Over what statistics are kept.
    pub(crate) fn config(&self) -> MetricConfig {
        *self.registry.config()
    }

    pub(crate) fn clock(&self) -> fn() -> u64 {
        self.clock
    }
}

/// What Kafka's clients count as the size of a record.
pub(crate) fn record_size(key: Option<&[u8]>, value: Option<&[u8]>, topic: &str, headers: &Headers) -> u64 {
    record_size_of(key.map_or(0, <[u8]>::len), value.map_or(0, <[u8]>::len), topic, headers)
}

/// The same by the lengths of key and value.
pub(crate) fn record_size_of(key: usize, value: usize, topic: &str, headers: &Headers) -> u64 {
    // Timestamp, offset and partition.
    let fixed = 8 + 8 + 4;
    let headers = headers.iter().map(|header| header.key.len() + header.value.as_ref().map_or(0, bytes::Bytes::len));
    (fixed + topic.len() + key + value + headers.sum::<usize>()) as u64
}
