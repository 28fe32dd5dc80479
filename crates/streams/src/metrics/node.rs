//! Metrics of the nodes of a task.

use vltava_metrics::definition::{Group, SensorDefinition, avg, count, max, rate, rate_of_events, total};
use vltava_metrics::{RecordingLevel, Sensor, Tally};

use super::{E2E_LATENCIES, Recorder};

/// The table.
pub(super) const GROUP: Group = Group {
    name: NAME,
    tags: &["thread-id", "task-id", "processor-node-id"],
    sensors: &[&E2E_LATENCY, &FINAL_EMIT, &FINAL_EMIT_LATENCY, &PROCESS, &SUPPRESSION_EMIT],
    gauges: &[],
};

const NAME: &str = "stream-processor-node-metrics";

static E2E_LATENCY: SensorDefinition = SensorDefinition::new("ms", E2E_LATENCIES);
/// Of source nodes.
static PROCESS: SensorDefinition = SensorDefinition::new(
    "records",
    &[
        rate_of_events("process-rate", "The average number of calls to process per second"),
        count("process-total", "The total number of calls to process"),
    ],
)
.level(RecordingLevel::Debug);

/// Of `suppress`.
static SUPPRESSION_EMIT: SensorDefinition = SensorDefinition::new(
    "records",
    &[
        rate_of_events(
            "suppression-emit-rate",
            "The average number of emitted records from the suppression buffer per second",
        ),
        count("suppression-emit-total", "The total number of emitted records from the suppression buffer"),
    ],
)
.level(RecordingLevel::Debug);
/// Of windowed aggregations, whether they emit on window close or not.
static FINAL_EMIT: SensorDefinition = SensorDefinition::new(
    "records",
    &[
        rate("window-aggregate-final-emit-rate", "The average number of emit final records per second"),
        total("window-aggregate-final-emit-total", "The total number of emit final records"),
    ],
)
.level(RecordingLevel::Debug);
static FINAL_EMIT_LATENCY: SensorDefinition = SensorDefinition::new(
    "ms",
    &[
        avg("window-aggregate-final-emit-latency-avg", "The average latency of calls to emit final in milliseconds"),
        max("window-aggregate-final-emit-latency-max", "The maximum latency of calls to emit final in milliseconds"),
    ],
)
.level(RecordingLevel::Debug);

/// What a node that holds results back tells of those that it emits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Emits {
    /// From the buffer of `suppress`.
    Suppressed,
    /// When windows close.
    Final,
}

/// What such a node counts.
#[derive(Debug)]
pub(crate) struct Emitted {
    pub(super) node: u32,
    kind: Emits,
    emitted: Tally,
    latencies: Tally,
    sensor: Sensor,
    latency: Sensor,
}

impl Emitted {
    pub(super) fn new(node: u32, kind: Emits) -> Self {
        let (emitted, latencies) = (Tally::default(), Tally::default());
        Emitted { node, kind, emitted, latencies, sensor: Sensor::default(), latency: Sensor::default() }
    }

    pub(super) fn measure(&mut self, recorder: &Recorder, node: &str) {
        let recorder = recorder.with("processor-node-id", node);
        match self.kind {
            Emits::Suppressed => self.sensor = recorder.sensor(NAME, &SUPPRESSION_EMIT),
            Emits::Final => {
                self.sensor = recorder.sensor(NAME, &FINAL_EMIT);
                self.latency = recorder.sensor(NAME, &FINAL_EMIT_LATENCY);
            }
        }
    }

    /// So many records at once, which took so many ns where that is known.
    pub(super) fn add(&mut self, records: usize, took: Option<f64>) {
        self.emitted.add(records as f64);
        if let Some(ns) = took {
            self.latencies.add(ns / 1e6);
        }
    }

    pub(super) fn record(&mut self, now: i64) {
        self.sensor.record_all(&self.emitted.take(), now);
        self.latency.record_all(&self.latencies.take(), now);
    }
}

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
