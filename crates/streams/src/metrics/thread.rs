//! Metrics of a stream thread: what it records once in a turn.

use std::sync::{
    Arc,
    atomic::{AtomicU8, AtomicU64, Ordering},
};
use std::time::Duration;

use vltava_metrics::definition::{
    GaugeDefinition, Group, Kind, SensorDefinition, Statistic, avg, count, max, rate, rate_of_events, total, value,
};
use vltava_metrics::{Gauge, MetricConfig, MetricValue, Sensor, Stats, Tally};

use super::Recorder;

/// The table.
pub(super) const GROUP: Group = Group {
    name: NAME,
    tags: &["thread-id"],
    sensors: &[
        &COMMIT,
        &COMMIT_RATIO,
        &POLL,
        &POLL_RATIO,
        &POLL_RECORDS,
        &PROCESS,
        &PROCESS_LATENCY,
        &PROCESS_RATIO,
        &PROCESS_RECORDS,
        &PUNCTUATE,
        &PUNCTUATE_RATIO,
        &TASK_CLOSED,
        &TASK_CREATED,
        &TASKS_ASSIGNED,
        &TASKS_LOST,
        &TASKS_REVOKED,
    ],
    gauges: &[&BLOCKED_TIME, &START_TIME, &STATE, &THREAD_STATE],
};

const NAME: &str = "stream-thread-metrics";

static COMMIT: SensorDefinition = SensorDefinition::new(
    "ms",
    &[
        avg("commit-latency-avg", "The average commit latency"),
        max("commit-latency-max", "The maximum commit latency"),
        rate_of_events("commit-rate", "The average per-second number of calls to commit"),
        count("commit-total", "The total number of calls to commit"),
    ],
);
static POLL: SensorDefinition = SensorDefinition::new(
    "ms",
    &[
        avg("poll-latency-avg", "The average poll latency"),
        max("poll-latency-max", "The maximum poll latency"),
        rate_of_events("poll-rate", "The average per-second number of calls to poll"),
        count("poll-total", "The total number of calls to poll"),
    ],
);
static POLL_RECORDS: SensorDefinition = SensorDefinition::new(
    "records",
    &[
        avg("poll-records-avg", "The average number of records polled from consumer within an iteration"),
        max("poll-records-max", "The maximum number of records polled from consumer within an iteration"),
    ],
);
static PROCESS: SensorDefinition = SensorDefinition::new(
    "records",
    &[
        rate("process-rate", "The average per-second number of calls to process"),
        total("process-total", "The total number of calls to process"),
    ],
);
static PROCESS_LATENCY: SensorDefinition = SensorDefinition::new(
    "ms",
    &[
        avg("process-latency-avg", "The average process latency"),
        max("process-latency-max", "The maximum process latency"),
    ],
);
static PROCESS_RECORDS: SensorDefinition = SensorDefinition::new(
    "records",
    &[
        avg("process-records-avg", "The average number of records processed within an iteration"),
        max("process-records-max", "The maximum number of records processed within an iteration"),
    ],
);
static PUNCTUATE: SensorDefinition = SensorDefinition::new(
    "ms",
    &[
        avg("punctuate-latency-avg", "The average punctuate latency"),
        max("punctuate-latency-max", "The maximum punctuate latency"),
        rate_of_events("punctuate-rate", "The average per-second number of calls to punctuate"),
        count("punctuate-total", "The total number of calls to punctuate"),
    ],
);
static COMMIT_RATIO: SensorDefinition = SensorDefinition::new(
    "part of the time",
    &[value(
        "commit-ratio",
        "The ratio, over a rolling measurement window, of the time this thread spent committing all tasks to the total elapsed time in that window.",
    )],
);
static POLL_RATIO: SensorDefinition = SensorDefinition::new(
    "part of the time",
    &[value(
        "poll-ratio",
        "The ratio, over a rolling measurement window, of the time this thread spent polling records from the consumer to the total elapsed time in that window.",
    )],
);
static PROCESS_RATIO: SensorDefinition = SensorDefinition::new(
    "part of the time",
    &[value(
        "process-ratio",
        "The ratio, over a rolling measurement window, of the time this thread spent processing active tasks to the total elapsed time in that window.",
    )],
);
static PUNCTUATE_RATIO: SensorDefinition = SensorDefinition::new(
    "part of the time",
    &[value(
        "punctuate-ratio",
        "The ratio, over a rolling measurement window, of the time this thread spent punctuating active tasks to the total elapsed time in that window.",
    )],
);
static TASK_CREATED: SensorDefinition = SensorDefinition::new(
    "tasks",
    &[
        rate_of_events("task-created-rate", "The average per-second number of newly created tasks"),
        count("task-created-total", "The total number of newly created tasks"),
    ],
);
static TASK_CLOSED: SensorDefinition = SensorDefinition::new(
    "tasks",
    &[
        rate_of_events("task-closed-rate", "The average per-second number of closed tasks"),
        count("task-closed-total", "The total number of closed tasks"),
    ],
);
// Of a streams group.
static TASKS_ASSIGNED: SensorDefinition = SensorDefinition::new(
    "ms",
    &[
        avg("tasks-assigned-latency-avg", "The average time taken for tasks-assigned rebalance listener callback"),
        max("tasks-assigned-latency-max", "The max time taken for tasks-assigned rebalance listener callback"),
    ],
);
static TASKS_LOST: SensorDefinition = SensorDefinition::new(
    "ms",
    &[
        avg("tasks-lost-latency-avg", "The average time taken for tasks-lost rebalance listener callback"),
        max("tasks-lost-latency-max", "The max time taken for tasks-lost rebalance listener callback"),
    ],
);
static TASKS_REVOKED: SensorDefinition = SensorDefinition::new(
    "ms",
    &[
        avg("tasks-revoked-latency-avg", "The average time taken for tasks-revoked rebalance listener callback"),
        max("tasks-revoked-latency-max", "The max time taken for tasks-revoked rebalance listener callback"),
    ],
);
static BLOCKED_TIME: GaugeDefinition = GaugeDefinition::new(
    "blocked-time-ns-total",
    "ns in all",
    "The total time the thread spent blocked on kafka in nanoseconds",
);
static START_TIME: GaugeDefinition =
    GaugeDefinition::new("thread-start-time", "ms since the epoch", "The time that the thread was started");
static STATE: GaugeDefinition = GaugeDefinition::new("state", "text", "The current state of the thread");
/// By `process-id`, too.
static THREAD_STATE: GaugeDefinition =
    GaugeDefinition::new("thread-state", "number", "The current state of the thread");

/// What a turn's time is spent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spent {
    Poll,
    Process,
    Punctuate,
    Commit,
}

/// The sums of times over the windows, of which a ratio is made.
static SPENT: SensorDefinition = SensorDefinition::new(
    "ms",
    &[Statistic { name: "spent", description: "the time of the last windows", kind: Kind::WindowedSum }],
);

/// What is read of a thread while it works.
#[derive(Debug, Default)]
struct Told {
    state: AtomicU8,
    blocked_ns: AtomicU64,
}

impl Told {
    fn name(&self) -> &'static str {
        STATES.get(usize::from(self.state.load(Ordering::Relaxed))).map_or("", |name| name)
    }
}

/// The sensors of a stream thread.
#[derive(Debug)]
pub(crate) struct ThreadMetrics {
    recorder: Recorder,
    config: MetricConfig,
    commit: Sensor,
    poll: Sensor,
    poll_records: Sensor,
    process: Sensor,
    process_latency: Sensor,
    process_records: Sensor,
    punctuate: Sensor,
    task_created: Sensor,
    task_closed: Sensor,
    /// By [`Spent`].
    ratios: [(Sensor, Stats, Duration); 4],
    turns: Stats,
    told: Arc<Told>,
    _gauges: [Gauge; 4],
}

/// The states of a thread, by the numbers that Kafka tells.
const STATES: [&str; 6] =
    ["CREATED", "STARTING", "PARTITIONS_REVOKED", "PARTITIONS_ASSIGNED", "RUNNING", "PENDING_SHUTDOWN"];

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

impl ThreadMetrics {
    /// Of a thread that starts at `now`, in ms since the epoch.
    pub(crate) fn new(recorder: Recorder, process_id: &str, now: i64) -> Self {
        let told = Arc::new(Told::default());
        let sensor = |definition| recorder.sensor(NAME, definition);
        let ratio = |definition| (recorder.sensor(NAME, definition), Stats::new(&SPENT), Duration::ZERO);
        let (state, thread_state, blocked) = (told.clone(), told.clone(), told.clone());
        let gauges = [
            recorder.gauge(NAME, &START_TIME, move || (now as f64).into()),
            recorder.gauge(NAME, &STATE, move || state.name().into()),
            recorder.with("process-id", process_id).gauge(NAME, &THREAD_STATE, move || {
                MetricValue::Number(f64::from(thread_state.state.load(Ordering::Relaxed)))
            }),
            recorder.gauge(NAME, &BLOCKED_TIME, move || (blocked.blocked_ns.load(Ordering::Relaxed) as f64).into()),
        ];
        ThreadMetrics {
            config: recorder.config(),
            commit: sensor(&COMMIT),
            poll: sensor(&POLL),
            poll_records: sensor(&POLL_RECORDS),
            process: sensor(&PROCESS),
            process_latency: sensor(&PROCESS_LATENCY),
            process_records: sensor(&PROCESS_RECORDS),
            punctuate: sensor(&PUNCTUATE),
            task_created: sensor(&TASK_CREATED),
            task_closed: sensor(&TASK_CLOSED),
            ratios: [ratio(&POLL_RATIO), ratio(&PROCESS_RATIO), ratio(&PUNCTUATE_RATIO), ratio(&COMMIT_RATIO)],
            turns: Stats::new(&SPENT),
            told,
            _gauges: gauges,
            recorder,
        }
    }

    /// Where the thread's tasks have theirs.
    pub(crate) fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    fn spent(&mut self, on: Spent, time: Duration) {
        if let Some((_, _, spent)) = self.ratios.get_mut(on as usize) {
            *spent += time;
        }
    }

    /// A poll is over, and has brought so many records.
    pub(crate) fn polled(&mut self, took: Duration, records: usize, now: i64) {
        self.spent(Spent::Poll, took);
        self.poll.record(ms(took), now);
        if records > 0 {
            self.poll_records.record(records as f64, now);
        }
    }

    /// All tasks had their turn.
    pub(crate) fn processed(&mut self, took: Duration, records: usize, now: i64) {
        self.spent(Spent::Process, took);
        if records > 0 {
            self.process.record(records as f64, now);
            self.process_latency.record(ms(took) / records as f64, now);
        }
    }

    /// Punctuations that were due were run.
    pub(crate) fn punctuated(&mut self, took: Duration, punctuations: usize, now: i64) {
        self.spent(Spent::Punctuate, took);
        if punctuations > 0 {
            self.punctuate.record(ms(took) / punctuations as f64, now);
        }
    }

    /// A commit of so many tasks is over.
    pub(crate) fn committed(&mut self, took: Duration, tasks: usize, now: i64) {
        self.spent(Spent::Commit, took);
        if tasks > 0 {
            self.commit.record(ms(took) / tasks as f64, now);
        }
    }

    /// A turn is over, in which so many records were processed.
    pub(crate) fn turned(&mut self, took: Duration, records: usize, now: i64) {
        let config = &self.config;
        let measure = |stats: &mut Stats| {
            let mut sum = 0.0;
            stats.measure(config, now, |_, measured| sum = measured);
            sum
        };
        self.turns.record(config, ms(took), now);
        let whole = measure(&mut self.turns);
        for (sensor, stats, spent) in &mut self.ratios {
            stats.record(config, ms(std::mem::take(spent)), now);
            let part = measure(stats);
            sensor.record(if whole > 0.0 { part / whole } else { 0.0 }, now);
        }
        self.process_records.record(records as f64, now);
    }

    /// So many tasks, active or standby, were made.
    pub(crate) fn created(&self, tasks: u64, now: i64) {
        self.task_created.record_all(&Tally::of(tasks, 1.0), now);
    }

    /// So many were closed.
    pub(crate) fn closed(&self, tasks: u64, now: i64) {
        self.task_closed.record_all(&Tally::of(tasks, 1.0), now);
    }

    /// Where the thread is in its life: Kafka's number of it.
    pub(crate) fn set_state(&self, number: u8) {
        self.told.state.store(number, Ordering::Relaxed);
    }

    /// For how long the thread has waited for Kafka, since this was told last.
    pub(crate) fn blocked(&self, time: Duration) {
        self.told.blocked_ns.fetch_add(time.as_nanos() as u64, Ordering::Relaxed);
    }
}

/// The sensors of a streams group's listener; those of the default record nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct ListenerMetrics {
    assigned: Sensor,
    revoked: Sensor,
    lost: Sensor,
}

impl ListenerMetrics {
    pub(crate) fn new(recorder: &Recorder) -> Self {
        let sensor = |definition| recorder.sensor(NAME, definition);
        ListenerMetrics {
            assigned: sensor(&TASKS_ASSIGNED),
            revoked: sensor(&TASKS_REVOKED),
            lost: sensor(&TASKS_LOST),
        }
    }

    /// It was told of an assignment.
    pub(crate) fn assigned(&self, took: Duration, now: i64) {
        self.assigned.record(ms(took), now);
    }

    /// Partitions were taken.
    pub(crate) fn revoked(&self, took: Duration, now: i64) {
        self.revoked.record(ms(took), now);
    }

    /// They were lost.
    pub(crate) fn lost(&self, took: Duration, now: i64) {
        self.lost.record(ms(took), now);
    }
}
