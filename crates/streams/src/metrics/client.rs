//! Metrics of an application on this instance.

use vltava_metrics::definition::{GaugeDefinition, Group};

/// The table.
pub(super) const GROUP: Group = Group {
    name: NAME,
    tags: &["client-id"],
    sensors: &[],
    gauges: &[
        &ALIVE_STREAM_THREADS,
        &APPLICATION_ID,
        &CLIENT_STATE,
        &COMMIT_ID,
        &FAILED_STREAM_THREADS,
        &RECORDING_LEVEL,
        &STATE,
        &TOPOLOGY_DESCRIPTION,
        &VERSION,
    ],
};

pub(crate) const NAME: &str = "stream-metrics";

pub(crate) static ALIVE_STREAM_THREADS: GaugeDefinition = GaugeDefinition::new(
    "alive-stream-threads",
    "threads",
    "The current number of alive stream threads that are running or participating in rebalance",
);
pub(crate) static APPLICATION_ID: GaugeDefinition =
    GaugeDefinition::new("application-id", "text", "The application ID of the Kafka Streams client");
/// By `process-id` and `application-id`, too.
pub(crate) static CLIENT_STATE: GaugeDefinition =
    GaugeDefinition::new("client-state", "number", "The state of the Kafka Streams client");
pub(crate) static COMMIT_ID: GaugeDefinition =
    GaugeDefinition::new("commit-id", "text", "The version control commit ID of the Kafka Streams client");
pub(crate) static FAILED_STREAM_THREADS: GaugeDefinition = GaugeDefinition::new(
    "failed-stream-threads",
    "threads",
    "The number of failed stream threads since the start of the Kafka Streams client",
);
/// By `process-id`, too.
pub(crate) static RECORDING_LEVEL: GaugeDefinition =
    GaugeDefinition::new("recording-level", "number", "The metrics recording level of the Kafka Streams client");
pub(crate) static STATE: GaugeDefinition =
    GaugeDefinition::new("state", "text", "The state of the Kafka Streams client");
pub(crate) static TOPOLOGY_DESCRIPTION: GaugeDefinition = GaugeDefinition::new(
    "topology-description",
    "text",
    "The description of the topology executed in the Kafka Streams client",
);
pub(crate) static VERSION: GaugeDefinition =
    GaugeDefinition::new("version", "text", "The version of the Kafka Streams client");
