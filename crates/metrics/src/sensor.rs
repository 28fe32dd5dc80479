//! What is recorded into.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::config::MetricConfig;
use crate::name::{MetricName, Tags};
use crate::registry::{Registration, Series};
use crate::stats::Stats;
use crate::tally::Tally;
use crate::value::Snapshot;

/// Takes values in. Cheap to clone; all clones are one sensor, and its metrics end with the last of them.
///
/// Recording takes a lock that nobody else holds but who records at the same time and who reads: it is for what happens
/// once per batch, request or answer. What happens per record is counted in fields of whoever does it, such as a [`Tally`], and
/// recorded when the batch is over. A sensor that is not [recorded](crate::RecordingLevel) costs a comparison.
#[derive(Debug, Clone, Default)]
pub struct Sensor {
    series: Option<Arc<SensorSeries>>,
}

#[derive(Debug)]
pub(crate) struct SensorSeries {
    pub(crate) domain: &'static str,
    pub(crate) group: &'static str,
    pub(crate) tags: Tags,
    pub(crate) config: MetricConfig,
    pub(crate) stats: Mutex<Stats>,
    pub(crate) _place: Registration,
}

impl Sensor {
    pub(crate) fn of(series: Arc<SensorSeries>) -> Self {
        Self { series: Some(series) }
    }

    /// Takes a value in.
    pub fn record(&self, value: f64, now_ms: i64) {
        if let Some(series) = &self.series {
            series.stats.lock().record(&series.config, value, now_ms);
        }
    }

    /// Takes in what was put together of many values; nothing if that is of none.
    pub fn record_all(&self, tally: &Tally, now_ms: i64) {
        if let Some(series) = &self.series
            && !tally.is_empty()
        {
            series.stats.lock().record_all(&series.config, tally, now_ms);
        }
    }

    /// Whether it is recorded at all.
    #[must_use]
    pub fn is_recorded(&self) -> bool {
        self.series.is_some()
    }
}

impl Series for SensorSeries {
    fn collect(&self, now_ms: i64, into: &mut Snapshot) {
        self.stats.lock().measure(&self.config, now_ms, |statistic, value| {
            let tags = self.tags.clone();
            let name = MetricName::new(self.domain, self.group, statistic.name, statistic.description, tags);
            into.insert(name, value.into());
        });
    }
}
