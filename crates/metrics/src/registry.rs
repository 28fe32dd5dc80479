//! Which metrics there are.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::config::MetricConfig;
use crate::definition::{GaugeDefinition, SensorDefinition};
use crate::gauge::{Gauge, GaugeSeries};
use crate::name::{MetricName, Tags};
use crate::sensor::{Sensor, SensorSeries};
use crate::stats::Stats;
use crate::value::{MetricValue, Snapshot};

/// The metrics of one client, or of an application: those of the sensors and gauges that somebody holds. Cheap to clone;
/// all clones are one registry.
#[derive(Debug, Clone)]
pub struct Registry {
    inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    domain: &'static str,
    config: MetricConfig,
    tags: Tags,
    next: AtomicU64,
    series: Mutex<BTreeMap<u64, Weak<dyn Series>>>,
}

/// What has values to tell.
pub(crate) trait Series: std::fmt::Debug + Send + Sync {
    fn collect(&self, now_ms: i64, into: &mut Snapshot);
}

/// A place in a registry, which ends with it.
#[derive(Debug)]
pub(crate) struct Registration {
    registry: Weak<Inner>,
    id: u64,
}

impl Drop for Registration {
    fn drop(&mut self) {
        if let Some(registry) = self.registry.upgrade() {
            let gone = registry.series.lock().remove(&self.id);
            // Not under the lock: the last reference may be this one.
            drop(gone);
        }
    }
}

impl Registry {
    /// A registry of a [domain](MetricName::domain), whose metrics all have these tags. It has one metric of its own, `kafka-metrics-count`: how many there are.
    #[must_use]
    pub fn new(domain: &'static str, config: MetricConfig, tags: Tags) -> Self {
        let series = Mutex::new(BTreeMap::new());
        Self { inner: Arc::new(Inner { domain, config, tags, next: AtomicU64::new(0), series }) }
    }

    /// Over what statistics are kept.
    #[must_use]
    pub fn config(&self) -> &MetricConfig {
        &self.inner.config
    }

    /// The tags that all metrics have.
    #[must_use]
    pub fn tags(&self) -> &Tags {
        &self.inner.tags
    }

    /// A sensor of a group, whose metrics have `tags` beside the registry's own. They are there until the last clone of the
    /// sensor is dropped; one that is not recorded at the [configured level](MetricConfig::level) has none.
    #[must_use]
    pub fn sensor(&self, group: &'static str, definition: &'static SensorDefinition, tags: &Tags) -> Sensor {
        if !definition.level.is_recorded_at(self.inner.config.level()) {
            return Sensor::default();
        }
        let tags = self.all_tags(tags);
        let (domain, config) = (self.inner.domain, self.inner.config);
        Sensor::of(self.register(|place| SensorSeries {
            domain,
            group,
            tags,
            config,
            stats: Mutex::new(Stats::new(definition)),
            _place: place,
        }))
    }

    /// A metric that is looked up when it is read; the look gets the time. It is there until the gauge is dropped.
    #[must_use = "the metric is gone with this"]
    pub fn gauge(
        &self,
        group: &'static str,
        definition: &'static GaugeDefinition,
        tags: &Tags,
        look: impl Fn(i64) -> MetricValue + Send + Sync + 'static,
    ) -> Gauge {
        let tags = self.all_tags(tags);
        let name = MetricName::new(self.inner.domain, group, definition.name, definition.description, tags);
        Gauge::of(self.register(|place| GaugeSeries::new(name, Box::new(look), place)))
    }

    /// What all metrics say at this time.
    #[must_use]
    pub fn snapshot(&self, now_ms: i64) -> Snapshot {
        // Nothing is looked at under the lock: a series may end while it is.
        let alive: Vec<Arc<dyn Series>> = self.inner.series.lock().values().filter_map(Weak::upgrade).collect();
        let mut snapshot = Snapshot::new();
        for series in alive {
            series.collect(now_ms, &mut snapshot);
        }
        let description = "total number of registered metrics";
        let count =
            MetricName::new(self.inner.domain, "kafka-metrics-count", "count", description, self.inner.tags.clone());
        // With this one.
        let registered = snapshot.len() as f64 + 1.0;
        snapshot.insert(count, registered.into());
        snapshot
    }

    fn all_tags(&self, tags: &Tags) -> Tags {
        tags.iter().fold(self.inner.tags.clone(), |all, (tag, value)| all.with(tag, value))
    }

    fn register<S: Series + 'static>(&self, make: impl FnOnce(Registration) -> S) -> Arc<S> {
        let id = self.inner.next.fetch_add(1, Ordering::Relaxed);
        let series = Arc::new(make(Registration { registry: Arc::downgrade(&self.inner), id }));
        let weak: Weak<S> = Arc::downgrade(&series);
        self.inner.series.lock().insert(id, weak);
        series
    }
}

#[cfg(test)]
mod tests {
    use super::Registry;
    use crate::config::{MetricConfig, RecordingLevel};
    use crate::definition::{GaugeDefinition, SensorDefinition, avg, total};
    use crate::name::Tags;

    static SIZES: SensorDefinition = SensorDefinition::new("bytes", &[avg("size-avg", "a"), total("size-total", "t")]);
    static DETAILS: SensorDefinition =
        SensorDefinition::new("ms", &[avg("detail-avg", "d")]).level(RecordingLevel::Debug);
    static OPEN: GaugeDefinition = GaugeDefinition::new("open", "connections", "o");

    fn names(registry: &Registry) -> Vec<String> {
        registry.snapshot(0).into_iter().map(|(name, value)| format!("{name}={value}")).collect()
    }

    fn registry(level: RecordingLevel) -> Registry {
        Registry::new("kafka.test", MetricConfig::new(2, 30_000, level), Tags::new([("client-id", "c")]))
    }

    #[test]
    fn a_series_ends_with_the_last_handle_of_what_it_describes() {
        let registry = registry(RecordingLevel::Info);
        let sensor = registry.sensor("g", &SIZES, &Tags::new([("topic", "t")]));
        let (other, gauge) = (sensor.clone(), registry.gauge("g", &OPEN, &Tags::default(), |now| (now as f64).into()));
        sensor.record(4.0, 0);
        other.record(6.0, 0);
        drop(sensor);
        let all = [
            "g:open,client-id=c=0",
            "g:size-avg,client-id=c,topic=t=5",
            "g:size-total,client-id=c,topic=t=10",
            "kafka-metrics-count:count,client-id=c=4",
        ];
        assert_eq!(names(&registry), all);
        drop(other);
        assert_eq!(names(&registry), ["g:open,client-id=c=0", "kafka-metrics-count:count,client-id=c=2"]);
        drop(gauge);
        assert_eq!(names(&registry), ["kafka-metrics-count:count,client-id=c=1"]);
    }

    #[test]
    fn what_is_not_recorded_is_not_there() {
        for (level, count) in [(RecordingLevel::Info, 1), (RecordingLevel::Debug, 2), (RecordingLevel::Trace, 2)] {
            let registry = registry(level);
            let sensor = registry.sensor("g", &DETAILS, &Tags::default());
            sensor.record(1.0, 0);
            assert_eq!(registry.snapshot(0).len(), count, "{level:?}");
        }
    }

    #[test]
    fn a_sensor_outlives_its_registry() {
        let registry = registry(RecordingLevel::Info);
        let sensor = registry.sensor("g", &SIZES, &Tags::default());
        drop(registry);
        sensor.record(1.0, 0);
    }
}
