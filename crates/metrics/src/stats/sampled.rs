//! Values over the last windows, as Kafka's `SampledStat` keeps them.

use crate::config::MetricConfig;

/// A ring of windows. A window begins with the first value after the one before is over; one more than are asked for is
/// kept, since the oldest may reach into the time that counts.
#[derive(Debug, Clone)]
pub(super) struct Sampled<V> {
    initial: V,
    current: usize,
    samples: Vec<Sample<V>>,
}

#[derive(Debug, Clone)]
struct Sample<V> {
    /// In ms.
    start: i64,
    /// When the last value came.
    last: i64,
    events: u64,
    value: V,
}

impl<V: Clone> Sample<V> {
    fn reset(&mut self, initial: &V, now: i64) {
        (self.start, self.last, self.events) = (now, now, 0);
        self.value.clone_from(initial);
    }
}

impl<V: Clone> Sampled<V> {
    pub(super) fn new(initial: V) -> Self {
        Self { initial, current: 0, samples: Vec::new() }
    }

    pub(super) fn record(&mut self, config: &MetricConfig, now: i64, events: u64, update: impl FnOnce(&mut V)) {
        if let Some(sample) = self.samples.get(self.current)
            && now - sample.start >= config.window_ms
        {
            self.current = (self.current + 1) % (config.samples + 1);
            if let Some(oldest) = self.samples.get_mut(self.current) {
                oldest.reset(&self.initial, now);
            }
        }
        if self.samples.get(self.current).is_none() {
            self.begin(now);
        }
        if let Some(sample) = self.samples.get_mut(self.current) {
            update(&mut sample.value);
            sample.events += events;
            sample.last = now;
        }
    }

    fn begin(&mut self, now: i64) {
        self.samples.push(Sample { start: now, last: now, events: 0, value: self.initial.clone() });
    }

    /// Empties windows without a value in the time that counts.
    pub(super) fn purge(&mut self, config: &MetricConfig, now: i64) {
        let expiry = config.expiry_ms();
        for sample in self.samples.iter_mut().filter(|sample| now - sample.last >= expiry) {
            sample.reset(&self.initial, now);
        }
    }

    /// When the oldest window began. One begins if there is none.
    pub(super) fn oldest(&mut self, now: i64) -> i64 {
        if self.samples.is_empty() {
            self.begin(now);
        }
        self.samples.iter().map(|sample| sample.start).min().unwrap_or(now)
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &V> {
        self.samples.iter().map(|sample| &sample.value)
    }

    pub(super) fn events(&self) -> u64 {
        self.samples.iter().map(|sample| sample.events).sum()
    }

    /// NaN without a value.
    pub(super) fn of_events(&self, value: f64) -> f64 {
        if self.events() == 0 { f64::NAN } else { value }
    }
}

impl Sampled<f64> {
    pub(super) fn sum(&self) -> f64 {
        self.values().sum()
    }
}
