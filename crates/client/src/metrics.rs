//! What clients count, under the names of Kafka's clients.
//!
//! - `definitions`: the tables of all metrics.
//! - `network`: what every client counts of its connections; each connection has a [`Meter`](network::Meter).
//! - `producer`, `consumer`: the sensors of each, recorded into where things happen.
//!
//! Recording is told the time; what reads is [`Cluster::metrics`](crate::net::Cluster::metrics).

mod consumer;
mod definitions;
mod network;
mod producer;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use vltava_metrics::definition::{GaugeDefinition, Group, SensorDefinition};
use vltava_metrics::{Gauge, MetricValue, Registry, Sensor, Snapshot, Tags};

use crate::config::CommonConfig;

pub(crate) use consumer::{Amount, ConsumerMetrics, FetchMetrics, GroupAnswer, ListenerCall, Standing};
pub(crate) use definitions::{consumer as consumer_definitions, producer as producer_definitions};
pub(crate) use network::{Meter, NetworkMetrics};
pub(crate) use producer::{ProducerMetrics, SentBatch, Timed};

/// All metrics of clients.
pub const GROUPS: &[&[Group]] =
    &[definitions::network::GROUPS, definitions::producer::GROUPS, definitions::consumer::GROUPS];

/// Whose metrics they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClientKind {
    Producer,
    Consumer,
    Admin,
}

impl ClientKind {
    /// What a `client.id` that is drawn begins with.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Producer => "producer",
            Self::Consumer => "consumer",
            Self::Admin => "adminclient",
        }
    }

    /// What JMX calls the domain.
    fn domain(self) -> &'static str {
        match self {
            Self::Producer => "kafka.producer",
            Self::Consumer => "kafka.consumer",
            Self::Admin => "kafka.admin.client",
        }
    }

    /// The groups of the network's metrics: those of the client, and those by broker.
    fn groups(self) -> (&'static str, &'static str) {
        match self {
            Self::Producer => ("producer-metrics", "producer-node-metrics"),
            Self::Consumer => ("consumer-metrics", "consumer-node-metrics"),
            Self::Admin => ("admin-client-metrics", "admin-client-node-metrics"),
        }
    }
}

/// Where a client records, and by which clock.
#[derive(Debug, Clone)]
pub(crate) struct Recorder {
    registry: Registry,
    begun: Instant,
}

impl Recorder {
    /// The time for sensors, in ms since the client was made.
    pub(crate) fn ms(&self, now: Instant) -> i64 {
        millis(now.saturating_duration_since(self.begun))
    }

    pub(crate) fn sensor(&self, group: &'static str, definition: &'static SensorDefinition) -> Sensor {
        self.registry.sensor(group, definition, &Tags::default())
    }

    pub(crate) fn sensor_of(&self, group: &'static str, definition: &'static SensorDefinition, tags: &Tags) -> Sensor {
        self.registry.sensor(group, definition, tags)
    }

    pub(crate) fn gauge(
        &self,
        group: &'static str,
        definition: &'static GaugeDefinition,
        look: impl Fn() -> f64 + Send + Sync + 'static,
    ) -> Gauge {
        self.registry.gauge(group, definition, &Tags::default(), move |_| look().into())
    }

    pub(crate) fn snapshot(&self, now: Instant) -> Snapshot {
        self.registry.snapshot(self.ms(now))
    }
}

/// The metrics of one client.
#[derive(Debug)]
pub(crate) struct ClientMetrics {
    pub(crate) recorder: Recorder,
    pub(crate) network: Arc<NetworkMetrics>,
    _app_info: [Gauge; 3],
}

impl ClientMetrics {
    pub(crate) fn new(config: &CommonConfig, now: Instant) -> Self {
        let tags = Tags::new([("client-id", config.client_id.as_str())]);
        let registry = Registry::new(config.kind.domain(), config.metrics, tags);
        let recorder = Recorder { registry, begun: now };
        let network = Arc::new(NetworkMetrics::new(config.kind, recorder.clone()));
        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let values: [(_, MetricValue); 3] = [
            (&definitions::network::VERSION, env!("CARGO_PKG_VERSION").into()),
            (&definitions::network::COMMIT_ID, "unknown".into()),
            (&definitions::network::START_TIME, (millis(started) as f64).into()),
        ];
        let app_info = values.map(|(definition, value)| {
            let look = move |_| value.clone();
            recorder.registry.gauge(definitions::network::APP_INFO, definition, &Tags::default(), look)
        });
        Self { recorder, network, _app_info: app_info }
    }
}

pub(crate) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// In ms, with what is less.
pub(crate) fn fraction_of_ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// In ns.
pub(crate) fn nanos(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e9
}
