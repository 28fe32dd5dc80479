//! Metrics of the restoration of stores. The JVM has a thread for it; here it is a part of the stream thread's turns, whose
//! name is the tag.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use vltava_metrics::definition::{GaugeDefinition, Group, SensorDefinition, rate, rate_of_events};
use vltava_metrics::{Gauge, Sensor};

use super::Recorder;

/// The table.
pub(super) const GROUP: Group = Group {
    name: NAME,
    tags: &["thread-id"],
    sensors: &[&RESTORE],
    gauges: &[&ACTIVE_PAUSED, &ACTIVE_RESTORING, &STANDBY_PAUSED, &STANDBY_UPDATING],
};

const NAME: &str = "stream-state-updater-metrics";

static RESTORE: SensorDefinition = SensorDefinition::new(
    "records",
    &[
        rate("restore-records-rate", "The average per-second number of records restored"),
        rate_of_events("restore-call-rate", "The average per-second number of restore calls triggered"),
    ],
);
static ACTIVE_PAUSED: GaugeDefinition =
    GaugeDefinition::new("active-paused-tasks", "tasks", "The number of active tasks paused restoring");
static ACTIVE_RESTORING: GaugeDefinition = GaugeDefinition::new(
    "active-restoring-tasks",
    "tasks",
    "The number of active tasks currently undergoing restoration",
);
static STANDBY_PAUSED: GaugeDefinition =
    GaugeDefinition::new("standby-paused-tasks", "tasks", "The number of standby tasks paused state update");
static STANDBY_UPDATING: GaugeDefinition = GaugeDefinition::new(
    "standby-updating-tasks",
    "tasks",
    "The number of standby tasks currently undergoing state update",
);

/// How many tasks there are of each kind.
#[derive(Debug, Default)]
struct Tasks {
    active_paused: AtomicUsize,
    active_restoring: AtomicUsize,
    standby_paused: AtomicUsize,
    standby_updating: AtomicUsize,
}

/// The sensors of a thread's restoration.
#[derive(Debug)]
pub(crate) struct UpdaterMetrics {
    restore: Sensor,
    tasks: Arc<Tasks>,
    _gauges: [Gauge; 4],
}

impl UpdaterMetrics {
    pub(crate) fn new(recorder: &Recorder) -> Self {
        let tasks = Arc::new(Tasks::default());
        let gauge = |definition, number: fn(&Tasks) -> &AtomicUsize| {
            let tasks = tasks.clone();
            recorder.gauge(NAME, definition, move || (number(&tasks).load(Ordering::Relaxed) as f64).into())
        };
        let gauges = [
            gauge(&ACTIVE_PAUSED, |tasks| &tasks.active_paused),
            gauge(&ACTIVE_RESTORING, |tasks| &tasks.active_restoring),
            gauge(&STANDBY_PAUSED, |tasks| &tasks.standby_paused),
            gauge(&STANDBY_UPDATING, |tasks| &tasks.standby_updating),
        ];
        UpdaterMetrics { restore: recorder.sensor(NAME, &RESTORE), tasks, _gauges: gauges }
    }

    /// A poll of changelogs has brought so many records.
    pub(crate) fn restored(&self, records: u64, now: i64) {
        self.restore.record(records as f64, now);
    }

    /// So many active tasks are being restored, and so many standbys follow their changelogs, unless the application is paused.
    pub(crate) fn set_tasks(&self, restoring: usize, standbys: usize, is_paused: bool) {
        let of = |number: usize, counts: bool| if counts { number } else { 0 };
        let Tasks { active_paused, active_restoring, standby_paused, standby_updating } = &*self.tasks;
        active_paused.store(of(restoring, is_paused), Ordering::Relaxed);
        active_restoring.store(of(restoring, !is_paused), Ordering::Relaxed);
        standby_paused.store(of(standbys, is_paused), Ordering::Relaxed);
        standby_updating.store(of(standbys, !is_paused), Ordering::Relaxed);
    }
}
