//! Metrics of the record caches of a task's stores.

use vltava_metrics::definition::{Group, SensorDefinition, avg, max, min};
use vltava_metrics::{RecordingLevel, Sensor, Tally};

use super::Recorder;

/// The table.
pub(super) const GROUP: Group =
    Group { name: NAME, tags: &["thread-id", "task-id", "record-cache-id"], sensors: &[&HIT_RATIO], gauges: &[] };

const NAME: &str = "stream-record-cache-metrics";

static HIT_RATIO: SensorDefinition = SensorDefinition::new(
    "part of the reads",
    &[
        avg("hit-ratio-avg", "The average cache hit ratio"),
        min("hit-ratio-min", "The minimum cache hit ratio"),
        max("hit-ratio-max", "The maximum cache hit ratio"),
    ],
)
.level(RecordingLevel::Debug);

/// What a cache counts of its reads.
#[derive(Debug, Default)]
pub(crate) struct CacheMeter {
    is_measured: bool,
    hits: u64,
    reads: u64,
    ratios: Tally,
    sensor: Sensor,
}

impl CacheMeter {
    pub(crate) fn measure(&mut self, recorder: &Recorder, store: &str) {
        self.sensor = recorder.with("record-cache-id", store).sensor(NAME, &HIT_RATIO);
        self.is_measured = self.sensor.is_recorded();
    }

    /// A key was looked up. As in the JVM the part of all reads that were hits is recorded at each of these.
    #[inline]
    pub(crate) fn read(&mut self, is_hit: bool) {
        if !self.is_measured {
            return;
        }
        self.reads += 1;
        if is_hit {
            self.hits += 1;
            self.ratios.add(self.hits as f64 / self.reads as f64);
        }
    }

    pub(crate) fn record(&mut self, now: i64) {
        self.sensor.record_all(&self.ratios.take(), now);
    }
}
