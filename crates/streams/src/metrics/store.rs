//! Metrics of the stores of a task.

use vltava_metrics::definition::{Group, SensorDefinition, avg, max, rate_of_events};
use vltava_metrics::{RecordingLevel, Sensor, Tally};

use super::{E2E_LATENCIES, Recorder};

/// The table. A tag more has the store's name; what it is called says of which kind the store is, in the JVM's words: see
/// [`Scope`].
pub(super) const GROUP: Group = Group {
    name: NAME,
    tags: &["thread-id", "task-id"],
    sensors: &[
        &ALL,
        &BUFFER_COUNT,
        &BUFFER_SIZE,
        &COMMIT,
        &DELETE,
        &E2E_LATENCY,
        &FETCH,
        &GET,
        &PREFIX_SCAN,
        &PUT,
        &PUT_ALL,
        &PUT_IF_ABSENT,
        &RANGE,
        &REMOVE,
    ],
    gauges: &[],
};

const NAME: &str = "stream-state-metrics";

macro_rules! operations {
    ($($definition:ident $name:literal;)*) => {$(
        static $definition: SensorDefinition = SensorDefinition::new(
            "ns",
            &[
                rate_of_events(concat!($name, "-rate"), concat!("The average number of calls to ", $name, " per second")),
                avg(concat!($name, "-latency-avg"), concat!("The average latency of calls to ", $name)),
                max(concat!($name, "-latency-max"), concat!("The maximum latency of calls to ", $name)),
            ],
        )
        .level(RecordingLevel::Debug);
    )*};
}

operations! {
    ALL "all";
    COMMIT "commit";
    DELETE "delete";
    FETCH "fetch";
    GET "get";
    PREFIX_SCAN "prefix-scan";
    PUT "put";
    PUT_ALL "put-all";
    PUT_IF_ABSENT "put-if-absent";
    RANGE "range";
    REMOVE "remove";
}

static E2E_LATENCY: SensorDefinition = SensorDefinition::new("ms", E2E_LATENCIES).level(RecordingLevel::Trace);
/// Of what `suppress` holds back.
static BUFFER_COUNT: SensorDefinition = SensorDefinition::new(
    "records",
    &[
        avg("suppression-buffer-count-avg", "The average count of buffered records"),
        max("suppression-buffer-count-max", "The maximum count of buffered records"),
    ],
)
.level(RecordingLevel::Debug);
/// Of what `suppress` holds back.
static BUFFER_SIZE: SensorDefinition = SensorDefinition::new(
    "bytes",
    &[
        avg("suppression-buffer-size-avg", "The average size of buffered records"),
        max("suppression-buffer-size-max", "The maximum size of buffered records"),
    ],
)
.level(RecordingLevel::Debug);

/// What is done with a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    All,
    Commit,
    Delete,
    Fetch,
    Get,
    PrefixScan,
    Put,
    PutAll,
    PutIfAbsent,
    Range,
    Remove,
}

impl Operation {
    fn definition(self) -> &'static SensorDefinition {
        match self {
            Operation::All => &ALL,
            Operation::Commit => &COMMIT,
            Operation::Delete => &DELETE,
            Operation::Fetch => &FETCH,
            Operation::Get => &GET,
            Operation::PrefixScan => &PREFIX_SCAN,
            Operation::Put => &PUT,
            Operation::PutAll => &PUT_ALL,
            Operation::PutIfAbsent => &PUT_IF_ABSENT,
            Operation::Range => &RANGE,
            Operation::Remove => &REMOVE,
        }
    }
}

/// What kind of a store it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    KeyValue,
    Window,
    Session,
}

impl Scope {
    /// What the tag is called that has the store's name. The JVM's stores on disk are RocksDB's, and whoever looks for a
    /// store looks for these names.
    fn tag(self, persistent: bool) -> &'static str {
        match (self, persistent) {
            (Scope::KeyValue, true) => "rocksdb-state-id",
            (Scope::KeyValue, false) => "in-memory-state-id",
            (Scope::Window, true) => "rocksdb-window-state-id",
            (Scope::Window, false) => "in-memory-window-state-id",
            (Scope::Session, true) => "rocksdb-session-state-id",
            (Scope::Session, false) => "in-memory-session-state-id",
        }
    }

    fn operations(self) -> &'static [Operation] {
        use Operation::{All, Commit, Delete, Fetch, Get, PrefixScan, Put, PutAll, PutIfAbsent, Range, Remove};
        match self {
            Scope::KeyValue => &[All, Commit, Delete, Get, PrefixScan, Put, PutAll, PutIfAbsent, Range],
            Scope::Window => &[Commit, Fetch, Put],
            Scope::Session => &[Commit, Fetch, Put, Remove],
        }
    }
}

/// What a store counts, where that is recorded: at level DEBUG. Else it costs a look whether it is.
#[derive(Debug, Default)]
pub(crate) struct Meter(Option<Box<Measured>>);

#[derive(Debug)]
struct Measured {
    clock: fn() -> u64,
    operations: Vec<(Operation, Tally, Sensor)>,
    end_to_end: (Tally, Sensor),
}

impl Meter {
    pub(crate) fn measure(&mut self, recorder: &Recorder, scope: Scope, persistent: bool, store: &str) {
        self.0 = recorder.is_detailed().then(|| {
            let recorder = recorder.with(scope.tag(persistent), store);
            let sensor =
                |operation: &Operation| (*operation, Tally::default(), recorder.sensor(NAME, operation.definition()));
            Box::new(Measured {
                clock: recorder.clock(),
                operations: scope.operations().iter().map(sensor).collect(),
                end_to_end: (Tally::default(), recorder.sensor(NAME, &E2E_LATENCY)),
            })
        });
    }

    /// The time by the clock, where it is recorded how long something takes.
    #[inline]
    pub(crate) fn start(&self) -> Option<u64> {
        self.0.as_ref().map(|measured| (measured.clock)())
    }

    /// Something was done that began then.
    #[inline]
    pub(crate) fn done(&mut self, operation: Operation, start: Option<u64>) {
        if let (Some(measured), Some(start)) = (&mut self.0, start) {
            measured.done(operation, start);
        }
    }

    /// A record of this timestamp has come to the store at `now`, both in ms since the epoch.
    #[inline]
    pub(crate) fn reached(&mut self, timestamp: i64, now: i64) {
        if let Some(measured) = &mut self.0 {
            measured.end_to_end.0.add((now - timestamp) as f64);
        }
    }

    /// Tells what was counted since the last time.
    pub(crate) fn record(&mut self, now: i64) {
        let Some(measured) = &mut self.0 else { return };
        for (_, tally, sensor) in &mut measured.operations {
            sensor.record_all(&tally.take(), now);
        }
        let (tally, sensor) = &mut measured.end_to_end;
        sensor.record_all(&tally.take(), now);
    }
}

impl Measured {
    #[cold]
    fn done(&mut self, operation: Operation, start: u64) {
        let took = (self.clock)().saturating_sub(start);
        if let Some((_, tally, _)) = self.operations.iter_mut().find(|(known, _, _)| *known == operation) {
            tally.add(took as f64);
        }
    }
}

/// What the buffer of `suppress` counts.
#[derive(Debug, Default)]
pub(crate) struct BufferMeter {
    is_measured: bool,
    count: (Tally, Sensor),
    size: (Tally, Sensor),
}

impl BufferMeter {
    pub(crate) fn measure(&mut self, recorder: &Recorder, store: &str) {
        let recorder = recorder.with("in-memory-suppression-state-id", store);
        self.count.1 = recorder.sensor(NAME, &BUFFER_COUNT);
        self.size.1 = recorder.sensor(NAME, &BUFFER_SIZE);
        self.is_measured = recorder.is_detailed();
    }

    /// It holds so much now.
    #[inline]
    pub(crate) fn holds(&mut self, records: usize, bytes: u64) {
        if self.is_measured {
            self.count.0.add(records as f64);
            self.size.0.add(bytes as f64);
        }
    }

    pub(crate) fn record(&mut self, now: i64) {
        for (tally, sensor) in [&mut self.count, &mut self.size] {
            sensor.record_all(&tally.take(), now);
        }
    }
}
