//! Metrics of the nodes of a task.

use vltava_metrics::definition::{Group, SensorDefinition, avg, count, max, min, rate_of_events};
use vltava_metrics::{RecordingLevel, Sensor, Tally};

use super::Recorder;

/// The table.
pub(super) const GROUP: Group = Group {
    name: NAME,
    tags: &["thread-id", "task-id", "processor-node-id"],
    sensors: &[&E2E_LATENCY, &PROCESS],
    gauges: &[],
};

const NAME: &str = "stream-processor-node-metrics";

static E2E_LATENCY: SensorDefinition = SensorDefinition::new(
    "ms",
    &[
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
    ],
);
/// Of source nodes.
static PROCESS: SensorDefinition = SensorDefinition::new(
    "records",
    &[
        rate_of_events("process-rate", "The average number of calls to process per second"),
        count("process-total", "The total number of calls to process"),
    ],
)
.level(RecordingLevel::Debug);

/// How old records were when a node had them: of sources, and of nodes that nothing follows.
#[derive(Debug, Default)]
pub(crate) struct EndToEnd {
    tally: Tally,
    sensor: Sensor,
}

impl EndToEnd {
    pub(super) fn measure(&mut self, recorder: &Recorder, node: &str) {
        self.sensor = recorder.with("processor-node-id", node).sensor(NAME, &E2E_LATENCY);
    }

    /// A record of this timestamp was there at `now`, both in ms since the epoch.
    #[inline]
    pub(crate) fn add(&mut self, timestamp: i64, now: i64) {
        self.tally.add((now - timestamp) as f64);
    }

    pub(super) fn record(&mut self, now: i64) {
        self.sensor.record_all(&self.tally.take(), now);
    }
}

/// What a source node counts.
#[derive(Debug, Default)]
pub(crate) struct SourceMetrics {
    /// Records that were processed, in all.
    pub(crate) processed: u64,
    /// Those that were recorded.
    recorded: u64,
    pub(crate) end_to_end: EndToEnd,
    process: Sensor,
}

impl SourceMetrics {
    pub(crate) fn measure(&mut self, recorder: &Recorder, node: &str) {
        self.end_to_end.measure(recorder, node);
        self.process = recorder.with("processor-node-id", node).sensor(NAME, &PROCESS);
    }

    /// Says how many were processed since the last time.
    pub(crate) fn record(&mut self, now: i64) -> u64 {
        let more = self.processed - std::mem::replace(&mut self.recorded, self.processed);
        self.process.record_all(&Tally::of(more, 1.0), now);
        self.end_to_end.record(now);
        more
    }
}
