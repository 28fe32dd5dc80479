//! How much by time, as Kafka's `Rate`.

use super::sampled::Sampled;
use crate::config::MetricConfig;
use crate::definition::Per;

const HOUR_MS: i64 = 3_600_000;

#[derive(Debug, Clone)]
pub(super) struct Rate {
    per: Per,
    sum: Sampled<f64>,
}

impl Rate {
    pub(super) fn new(per: Per) -> Self {
        Self { per, sum: Sampled::new(0.0) }
    }

    /// Rates by the hour have windows of an hour, whatever the setting is.
    fn config(&self, config: &MetricConfig) -> MetricConfig {
        match self.per {
            Per::Hour => MetricConfig { window_ms: HOUR_MS, ..*config },
            Per::Second | Per::Nanosecond => *config,
        }
    }

    pub(super) fn record(&mut self, config: &MetricConfig, events: u64, value: f64, now: i64) {
        let config = &self.config(config);
        self.sum.record(config, now, events, |sum| *sum += value);
    }

    pub(super) fn measure(&mut self, config: &MetricConfig, now: i64) -> f64 {
        let config = &self.config(config);
        self.sum.purge(config, now);
        let window = self.window_ms(config, now) as f64;
        let time = match self.per {
            Per::Second => window / 1000.0,
            Per::Hour => window / HOUR_MS as f64,
            Per::Nanosecond => window * 1_000_000.0,
        };
        self.sum.sum() / time
    }

    /// Windows that have not begun count as whole ones, so that a first value is no burst.
    fn window_ms(&mut self, config: &MetricConfig, now: i64) -> i64 {
        let elapsed = now - self.sum.oldest(now);
        let whole = elapsed / config.window_ms;
        let least = i64::try_from(config.samples).unwrap_or(i64::MAX) - 1;
        let missing = (least - whole).max(0);
        elapsed.saturating_add(missing.saturating_mul(config.window_ms)).max(1)
    }
}
