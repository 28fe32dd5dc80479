//! Metrics of a task: what it counts in fields while it works, and records when its turn is over.

use std::sync::Arc;

use vltava_metrics::definition::{Group, SensorDefinition, avg, count, max, rate_of_events, total, value};
use vltava_metrics::{RecordingLevel, Sensor, Tally};

use super::{
    Recorder,
    node::{Emits, Emitted, EndToEnd},
    topic::Produced,
};

/// The table.
pub(super) const GROUP: Group = Group {
    name: NAME,
    tags: &["thread-id", "task-id"],
    sensors: &[
        &BUFFERED,
        &CACHE_SIZE,
        &DROPPED,
        &ENFORCED,
        &LATENESS,
        &PROCESS,
        &PROCESS_LATENCY,
        &PROCESS_RATIO,
        &PUNCTUATE,
        &RESTORE,
        &RESTORE_REMAINING,
        &UPDATE,
    ],
    gauges: &[],
};

const NAME: &str = "stream-task-metrics";

static BUFFERED: SensorDefinition = SensorDefinition::new(
    "records",
    &[value(
        "active-buffer-count",
        "The count of buffered records that are polled from consumer and not yet processed for this active task",
    )],
)
.level(RecordingLevel::Debug);
static CACHE_SIZE: SensorDefinition =
    SensorDefinition::new("bytes", &[value("cache-size-bytes-total", "The total size in bytes of this task's cache.")])
        .level(RecordingLevel::Debug);
static DROPPED: SensorDefinition = SensorDefinition::new(
    "records",
    &[
        rate_of_events("dropped-records-rate", "The average number of dropped records per second"),
        total("dropped-records-total", "The total number of dropped records"),
    ],
);
static ENFORCED: SensorDefinition = SensorDefinition::new(
    "times",
    &[
        rate_of_events(
            "enforced-processing-rate",
            "The average number of occurrences of enforced-processing operations per second",
        ),
        count("enforced-processing-total", "The total number of occurrences of enforced-processing operations"),
    ],
)
.level(RecordingLevel::Debug);
static LATENESS: SensorDefinition = SensorDefinition::new(
    "ms",
    &[
        avg("record-lateness-avg", "The observed average lateness of records in milliseconds, measured by comparing the record timestamp with the current stream time"),
        max("record-lateness-max", "The observed maximum lateness of records in milliseconds, measured by comparing the record timestamp with the current stream time"),
    ],
)
.level(RecordingLevel::Debug);
static PROCESS: SensorDefinition = SensorDefinition::new(
    "records",
    &[
        rate_of_events("process-rate", "The average number of calls to process per second"),
        count("process-total", "The total number of calls to process"),
    ],
)
.level(RecordingLevel::Debug);
static PROCESS_LATENCY: SensorDefinition = SensorDefinition::new(
    "ns",
    &[
        avg("process-latency-avg", "The average latency of calls to process"),
        max("process-latency-max", "The maximum latency of calls to process"),
    ],
)
.level(RecordingLevel::Debug);
static PROCESS_RATIO: SensorDefinition = SensorDefinition::new(
    "part of the time",
    &[value(
        "active-process-ratio",
        "The fraction of time the thread spent on processing this task among all assigned active tasks",
    )],
);
static PUNCTUATE: SensorDefinition = SensorDefinition::new(
    "ns",
    &[
        avg("punctuate-latency-avg", "The average latency of calls to punctuate"),
        max("punctuate-latency-max", "The maximum latency of calls to punctuate"),
        rate_of_events("punctuate-rate", "The average number of calls to punctuate per second"),
        count("punctuate-total", "The total number of calls to punctuate"),
    ],
)
.level(RecordingLevel::Debug);
static RESTORE: SensorDefinition = SensorDefinition::new(
    "records",
    &[
        rate_of_events("restore-rate", "The average number of records restored per second"),
        total("restore-total", "The total number of records restored"),
    ],
)
.level(RecordingLevel::Debug);
static RESTORE_REMAINING: SensorDefinition = SensorDefinition::new(
    "records",
    &[total("restore-remaining-records-total", "The total number of records remaining to be restored")],
);
/// Of standby tasks.
static UPDATE: SensorDefinition = SensorDefinition::new(
    "records",
    &[
        rate_of_events("update-rate", "The average number of records updated per second"),
        total("update-total", "The total number of records updated"),
    ],
)
.level(RecordingLevel::Debug);

/// What a task counts, a part of what is at hand while a record is processed. Nobody is told before
/// [`measure`](Self::measure).
#[derive(Debug, Default)]
pub(crate) struct TaskMetrics {
    recorder: Option<Recorder>,
    /// A clock in ns, where what each record costs is recorded.
    clock: Option<fn() -> u64>,
    node_names: Arc<[Arc<str>]>,
    dropped: Dropped,
    process: Sensor,
    process_latency: Sensor,
    process_latencies: Tally,
    process_ratio: Sensor,
    punctuate: Sensor,
    punctuations: Tally,
    lateness: Sensor,
    latenesses: Tally,
    enforced: Sensor,
    enforced_times: u64,
    buffered: Sensor,
    cache_size: Sensor,
    restore: Sensor,
    restore_remaining: Sensor,
    /// By the numbers of nodes.
    ends: Vec<Option<EndToEnd>>,
    emitted: Vec<Emitted>,
    pub(crate) produced: Produced,
}

impl TaskMetrics {
    /// Nothing follows this node.
    pub(crate) fn declare_end(&mut self, node: usize) {
        if self.ends.len() <= node {
            self.ends.resize_with(node + 1, || None);
        }
        if let Some(place) = self.ends.get_mut(node) {
            place.get_or_insert_default();
        }
    }

    /// This node holds results back.
    pub(crate) fn declare_emits(&mut self, node: u32, kind: Emits) {
        self.emitted.push(Emitted::new(node, kind));
    }

    /// Such a node has emitted records, from `start` on.
    pub(crate) fn emitted(&mut self, node: u32, records: usize, start: Option<u64>) {
        let took = start.map(|start| self.since(start));
        if let Some(emitted) = self.emitted.iter_mut().find(|emitted| emitted.node == node) {
            emitted.add(records, took);
        }
    }

    /// From here on it is told what is counted. Returns where the task has its sensors.
    pub(crate) fn measure(&mut self, of_thread: &Recorder, task: &str, node_names: &Arc<[Arc<str>]>) -> Recorder {
        let recorder = of_thread.with("task-id", task);
        let sensor = |definition| recorder.sensor(NAME, definition);
        self.node_names = node_names.clone();
        self.clock = recorder.is_detailed().then(|| recorder.clock());
        self.dropped.measure(&recorder);
        self.process = sensor(&PROCESS);
        self.process_latency = sensor(&PROCESS_LATENCY);
        self.process_ratio = sensor(&PROCESS_RATIO);
        self.punctuate = sensor(&PUNCTUATE);
        self.lateness = sensor(&LATENESS);
        self.enforced = sensor(&ENFORCED);
        self.buffered = sensor(&BUFFERED);
        self.cache_size = sensor(&CACHE_SIZE);
        self.restore = sensor(&RESTORE);
        self.restore_remaining = sensor(&RESTORE_REMAINING);
        for (node, end) in self.ends.iter_mut().enumerate() {
            if let (Some(end), Some(name)) = (end, node_names.get(node)) {
                end.measure(&recorder, name);
            }
        }
        for emitted in &mut self.emitted {
            emitted.measure(&recorder, node_names.get(emitted.node as usize).map_or("", |name| name));
        }
        self.produced.record(&recorder, node_names, 0);
        self.recorder = Some(recorder.clone());
        recorder
    }

    /// Where the task has its sensors, once it is measured.
    pub(crate) fn recorder(&self) -> Option<&Recorder> {
        self.recorder.as_ref()
    }

    /// The time by the clock, where what each record costs is recorded.
    #[inline]
    pub(crate) fn start(&self) -> Option<u64> {
        self.clock.map(|clock| clock())
    }

    fn since(&self, start: u64) -> f64 {
        self.clock.map_or(0, |clock| clock().saturating_sub(start)) as f64
    }

    /// A record was processed from `start` on, and was `lateness` ms behind the stream time.
    pub(crate) fn processed(&mut self, start: u64, lateness: i64) {
        self.process_latencies.add(self.since(start));
        self.latenesses.add(lateness as f64);
    }

    /// A punctuation was run from `start` on.
    pub(crate) fn punctuated(&mut self, start: u64) {
        self.punctuations.add(self.since(start));
    }

    /// A record is processed although other partitions have none, which may have earlier ones.
    #[inline]
    pub(crate) fn enforced(&mut self) {
        self.enforced_times += 1;
    }

    /// A record has come to a node that nothing follows.
    #[inline]
    pub(crate) fn ended(&mut self, node: u32, timestamp: i64, now: i64) {
        if let Some(Some(end)) = self.ends.get_mut(node as usize) {
            end.add(timestamp, now);
        }
    }

    /// The part that this task had of the time in which the thread's tasks were processed.
    pub(crate) fn took_part(&self, part: f64, now: i64) {
        self.process_ratio.record(part, now);
    }

    /// So many records more are to be restored, or, below 0, so many fewer.
    pub(crate) fn to_restore(&self, records: i64, now: i64) {
        self.restore_remaining.record(records as f64, now);
    }

    /// So many records were restored.
    pub(crate) fn restored(&self, records: u64, now: i64) {
        self.restore.record(records as f64, now);
    }

    /// Records what was counted since the last time.
    pub(crate) fn record(&mut self, counted: Counted, now: i64) {
        let Some(recorder) = &self.recorder else { return };
        self.dropped.record(counted.dropped, now);
        self.process.record_all(&Tally::of(counted.processed, 1.0), now);
        self.process_latency.record_all(&self.process_latencies.take(), now);
        self.punctuate.record_all(&self.punctuations.take(), now);
        self.lateness.record_all(&self.latenesses.take(), now);
        self.enforced.record_all(&Tally::of(std::mem::take(&mut self.enforced_times), 1.0), now);
        self.buffered.record(counted.buffered as f64, now);
        self.cache_size.record(counted.cache_bytes as f64, now);
        self.produced.record(recorder, &self.node_names, now);
        self.ends.iter_mut().flatten().for_each(|end| end.record(now));
        self.emitted.iter_mut().for_each(|emitted| emitted.record(now));
    }
}

/// The sensor of records that were dropped: all that a global task has.
#[derive(Debug, Default)]
pub(crate) struct Dropped {
    sensor: Sensor,
    recorded: u64,
}

impl Dropped {
    fn measure(&mut self, recorder: &Recorder) {
        self.sensor = recorder.sensor(NAME, &DROPPED);
    }

    /// From here on that of a task is told.
    pub(crate) fn of(of_thread: &Recorder, task: &str) -> Self {
        let mut dropped = Dropped::default();
        dropped.measure(&of_thread.with("task-id", task));
        dropped
    }

    /// So many were dropped in all.
    pub(crate) fn record(&mut self, total: u64, now: i64) {
        let more = total.saturating_sub(std::mem::replace(&mut self.recorded, total));
        self.sensor.record_all(&Tally::of(more, 1.0), now);
    }
}

/// What a task tells when its turn is over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counted {
    /// In all.
    pub(crate) dropped: u64,
    /// Since the last time.
    pub(crate) processed: u64,
    /// Records that wait.
    pub(crate) buffered: usize,
    pub(crate) cache_bytes: u64,
}

/// The sensors of a standby.
#[derive(Debug, Default)]
pub(crate) struct StandbyMetrics {
    update: Sensor,
}

impl StandbyMetrics {
    pub(crate) fn new(of_thread: &Recorder, task: &str) -> Self {
        StandbyMetrics { update: of_thread.with("task-id", task).sensor(NAME, &UPDATE) }
    }

    /// Its stores have taken records.
    pub(crate) fn updated(&self, records: u64, now: i64) {
        self.update.record(records as f64, now);
    }
}
