//! What is computed of recorded values: plain fields of whoever records.

mod percentiles;
mod rate;
mod sampled;
#[cfg(test)]
mod tests;

use crate::config::MetricConfig;
use crate::definition::{Kind, SensorDefinition, Statistic};
use crate::tally::Tally;

use percentiles::Percentiles;
use rate::Rate;
use sampled::Sampled;

/// The statistics of one sensor, owned by whoever records. [`Sensor`](crate::Sensor) is the same behind a lock.
#[derive(Debug, Clone)]
pub struct Stats {
    definition: &'static SensorDefinition,
    stats: Box<[Stat]>,
    percentiles: Option<Box<Percentiles>>,
}

#[derive(Debug, Clone)]
enum Stat {
    Avg(Sampled<f64>),
    Max(Sampled<f64>),
    Min(Sampled<f64>),
    WindowedSum(Sampled<f64>),
    WindowedCount(Sampled<f64>),
    Rate(Rate),
    RateOfEvents(Rate),
    CumulativeSum(f64),
    CumulativeCount(f64),
    Value(f64),
    /// Of what the percentiles have recorded.
    Percentile(f64),
}

impl Stats {
    /// Statistics of nothing.
    #[must_use]
    pub fn new(definition: &'static SensorDefinition) -> Self {
        let stats = definition.statistics.iter().map(|statistic| Stat::new(statistic.kind)).collect();
        let percentiles = definition.bins.map(|bins| Box::new(Percentiles::new(bins)));
        Self { definition, stats, percentiles }
    }

    /// Takes a value in.
    pub fn record(&mut self, config: &MetricConfig, value: f64, now_ms: i64) {
        for stat in &mut self.stats {
            stat.record(config, value, now_ms);
        }
        if let Some(percentiles) = &mut self.percentiles {
            percentiles.record(config, value, now_ms);
        }
    }

    /// Takes in what was put together of many values. Percentiles, which need each of them, take in their average as often.
    pub fn record_all(&mut self, config: &MetricConfig, tally: &Tally, now_ms: i64) {
        for stat in &mut self.stats {
            stat.record_all(config, tally, now_ms);
        }
        if let Some(percentiles) = &mut self.percentiles {
            let average = tally.sum / tally.count as f64;
            (0..tally.count).for_each(|_| percentiles.record(config, average, now_ms));
        }
    }

    /// Tells each statistic. Windows that are over by now are forgotten.
    pub fn measure(&mut self, config: &MetricConfig, now_ms: i64, mut tell: impl FnMut(&'static Statistic, f64)) {
        for (statistic, stat) in self.definition.statistics.iter().zip(&mut self.stats) {
            let value = match (stat, &mut self.percentiles) {
                (Stat::Percentile(percent), Some(percentiles)) => percentiles.value(config, now_ms, *percent / 100.0),
                (stat, _) => stat.measure(config, now_ms),
            };
            tell(statistic, value);
        }
    }
}

impl Stat {
    fn new(kind: Kind) -> Self {
        match kind {
            Kind::Avg => Self::Avg(Sampled::new(0.0)),
            Kind::Max => Self::Max(Sampled::new(f64::NEG_INFINITY)),
            Kind::Min => Self::Min(Sampled::new(f64::MAX)),
            Kind::WindowedSum => Self::WindowedSum(Sampled::new(0.0)),
            Kind::WindowedCount => Self::WindowedCount(Sampled::new(0.0)),
            Kind::Rate(per) => Self::Rate(Rate::new(per)),
            Kind::RateOfEvents(per) => Self::RateOfEvents(Rate::new(per)),
            Kind::CumulativeSum => Self::CumulativeSum(0.0),
            Kind::CumulativeCount => Self::CumulativeCount(0.0),
            Kind::Value => Self::Value(0.0),
            Kind::Percentile(percent) => Self::Percentile(percent),
        }
    }

    fn record(&mut self, config: &MetricConfig, value: f64, now: i64) {
        self.record_all(config, &Tally::of(1, value), now);
    }

    fn record_all(&mut self, config: &MetricConfig, tally: &Tally, now: i64) {
        let count = tally.count as f64;
        match self {
            Self::Avg(sampled) | Self::WindowedSum(sampled) => {
                sampled.record(config, now, tally.count, |sum| *sum += tally.sum);
            }
            Self::WindowedCount(sampled) => sampled.record(config, now, tally.count, |all| *all += count),
            Self::Max(sampled) => sampled.record(config, now, tally.count, |max| *max = max.max(tally.max)),
            Self::Min(sampled) => sampled.record(config, now, tally.count, |min| *min = min.min(tally.min)),
            Self::Rate(rate) => rate.record(config, tally.count, tally.sum, now),
            Self::RateOfEvents(rate) => rate.record(config, tally.count, count, now),
            Self::CumulativeSum(sum) => *sum += tally.sum,
            Self::CumulativeCount(all) => *all += count,
            Self::Value(last) => *last = tally.last,
            Self::Percentile(_) => {}
        }
    }

    fn measure(&mut self, config: &MetricConfig, now: i64) -> f64 {
        match self {
            Self::Avg(sampled) => {
                sampled.purge(config, now);
                sampled.of_events(sampled.sum() / sampled.events() as f64)
            }
            Self::Max(sampled) => {
                sampled.purge(config, now);
                sampled.of_events(sampled.values().fold(f64::NEG_INFINITY, |max, value| max.max(*value)))
            }
            Self::Min(sampled) => {
                sampled.purge(config, now);
                sampled.of_events(sampled.values().fold(f64::MAX, |min, value| min.min(*value)))
            }
            Self::WindowedSum(sampled) | Self::WindowedCount(sampled) => {
                sampled.purge(config, now);
                sampled.sum()
            }
            Self::Rate(rate) | Self::RateOfEvents(rate) => rate.measure(config, now),
            Self::CumulativeSum(number) | Self::CumulativeCount(number) | Self::Value(number) => *number,
            Self::Percentile(_) => f64::NAN,
        }
    }
}
