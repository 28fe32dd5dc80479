//! Percentiles over the last windows, as Kafka's `Percentiles`: how many values fell into each of a few bins.

use super::sampled::Sampled;
use crate::config::MetricConfig;
use crate::definition::Bins;

#[derive(Debug, Clone)]
pub(super) struct Percentiles {
    bins: Bins,
    counts: Sampled<Box<[f32]>>,
}

impl Percentiles {
    pub(super) fn new(bins: Bins) -> Self {
        Self { bins, counts: Sampled::new(vec![0.0; bins.count()].into()) }
    }

    pub(super) fn record(&mut self, config: &MetricConfig, value: f64, now: i64) {
        let bin = self.bins.bin_of(value);
        self.counts.record(config, now, 1, |counts| {
            if let Some(count) = counts.get_mut(bin) {
                *count += 1.0;
            }
        });
    }

    /// NaN without a value.
    pub(super) fn value(&mut self, config: &MetricConfig, now: i64, quantile: f64) -> f64 {
        self.counts.purge(config, now);
        // Kafka counts in single precision, and so do we: the same bin is found.
        let (count, quantile) = (self.counts.events() as f32, quantile as f32);
        if count == 0.0 {
            return f64::NAN;
        }
        let mut sum = 0.0;
        for bin in 0..self.bins.count() {
            sum += self.counts.values().filter_map(|counts| counts.get(bin)).sum::<f32>();
            if sum / count > quantile {
                return self.bins.value_of(bin);
            }
        }
        f64::INFINITY
    }
}

impl Bins {
    /// Two at least.
    fn count(&self) -> usize {
        match self {
            Self::Constant { count, .. } | Self::Linear { count, .. } => (*count).max(2),
        }
    }

    /// By how much a bin is wider than the one before, of linear bins.
    fn scale(&self, max: f64) -> f64 {
        let count = self.count() as f64;
        max / (count * (count - 1.0) / 2.0)
    }

    fn bin_of(&self, value: f64) -> usize {
        let bin = match *self {
            Self::Constant { min, max, .. } => {
                let width = (max - min) / self.count() as f64;
                (value.max(min).min(max) - min) / width
            }
            Self::Linear { max, .. } => -0.5 + 0.5 * (1.0 + 8.0 * value.max(0.0).min(max) / self.scale(max)).sqrt(),
        };
        // Towards zero; NaN is 0.
        (bin as usize).min(self.count() - 1)
    }

    fn value_of(&self, bin: usize) -> f64 {
        let bin = bin as f64;
        match *self {
            Self::Constant { min, max, .. } => min + bin * ((max - min) / self.count() as f64),
            Self::Linear { max, .. } => self.scale(max) * (bin * (bin + 1.0)) / 2.0,
        }
    }
}
