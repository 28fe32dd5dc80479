//! A rate over samples of time: Kafka's `Rate` of a `WindowedSum`.

use super::{Measure, Windows, round_ms};

/// What was used, by windows of time. A window begins with the first use after the one before is over.
#[derive(Debug, Clone, Default)]
pub(super) struct Rate {
    samples: Vec<Sample>,
    current: usize,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    value: f64,
    started_ms: i64,
    last_ms: i64,
}

impl Sample {
    fn new(now_ms: i64) -> Self {
        Self { value: 0.0, started_ms: now_ms, last_ms: now_ms }
    }
}

impl Rate {
    fn current(&mut self, windows: Windows, now_ms: i64) -> Option<&mut Sample> {
        match self.samples.get(self.current) {
            None => self.samples.push(Sample::new(now_ms)),
            Some(sample) if now_ms - sample.started_ms >= windows.size_ms => {
                // One more than there are: the oldest may lie half within the time that is looked at.
                self.current = (self.current + 1) % (windows.samples as usize).saturating_add(1);
                match self.samples.get_mut(self.current) {
                    Some(oldest) => *oldest = Sample::new(now_ms),
                    None => self.samples.push(Sample::new(now_ms)),
                }
            }
            Some(_) => {}
        }
        self.samples.get_mut(self.current)
    }

    /// Forgets what was used too long ago.
    fn purge(&mut self, windows: Windows, now_ms: i64) {
        for sample in &mut self.samples {
            if now_ms - sample.last_ms >= windows.span_ms() {
                *sample = Sample::new(now_ms);
            }
        }
    }

    /// The time that the sum is of: since the oldest sample began, and as many whole windows at least as are looked at.
    fn window_ms(&self, windows: Windows, now_ms: i64) -> i64 {
        let oldest = self.samples.iter().map(|sample| sample.started_ms).min().unwrap_or(now_ms);
        let elapsed = now_ms - oldest;
        let missing = windows.whole() - elapsed / windows.size_ms;
        elapsed.saturating_add(missing.max(0).saturating_mul(windows.size_ms)).max(1)
    }
}

impl Measure for Rate {
    fn record(&mut self, windows: Windows, _limit: f64, value: f64, now_ms: i64) {
        if let Some(sample) = self.current(windows, now_ms) {
            sample.value += value;
            sample.last_ms = now_ms;
        }
    }

    /// Kafka's `QuotaUtils.throttleTime`: a pause of X after a window of W brings the rate O down to the limit T where
    /// O · W / (W + X) = T.
    fn throttle_ms(&mut self, windows: Windows, limit: f64, now_ms: i64) -> i64 {
        self.purge(windows, now_ms);
        let window_ms = self.window_ms(windows, now_ms) as f64;
        let rate = self.samples.iter().map(|sample| sample.value).sum::<f64>() / (window_ms / 1000.0);
        if rate > limit { round_ms((rate - limit) / limit * window_ms) } else { 0 }
    }

    fn is_as_new(&mut self, windows: Windows, _limit: f64, now_ms: i64) -> bool {
        self.samples.iter().all(|sample| now_ms - sample.last_ms >= windows.span_ms())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOWS: Windows = Windows { samples: 11, size_ms: 1000 };

    /// Uses of a client that may use 100 a second: when and how much, and how long it has to wait then.
    fn check(windows: Windows, uses: &[(i64, f64, i64)]) {
        let mut rate = Rate::default();
        for (at, value, expected) in uses {
            rate.record(windows, 100.0, *value, *at);
            assert_eq!(rate.throttle_ms(windows, 100.0, *at), *expected, "{value} at {at} of {uses:?}");
        }
    }

    #[test]
    fn ten_whole_windows_are_looked_at_from_the_beginning() {
        check(WINDOWS, &[(0, 1000.0, 0), (0, 1.0, 10), (0, 99.0, 1000)]);
        // Half of the eleventh window is over, and counts.
        check(WINDOWS, &[(0, 1000.0, 0), (500, 50.0, 0), (500, 1.0, 10)]);
    }

    #[test]
    fn the_window_under_way_counts_from_its_beginning() {
        // With all of its second's at once it makes eleven seconds' use of ten seconds.
        check(
            WINDOWS,
            &(0..10).map(|second| (second * 1000, 100.0, 0)).chain([(10_000, 100.0, 1000)]).collect::<Vec<_>>(),
        );
        check(WINDOWS, &(0..100).map(|second| (second * 1000, 90.0, 0)).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_left_after_a_pause_is_what_its_windows_say() {
        // Where less than ten seconds were looked at, a pause changes nothing; then it makes up for all of it.
        check(WINDOWS, &[(0, 1100.0, 1000), (1000, 0.0, 1000), (10_000, 0.0, 1000), (10_500, 0.0, 500)]);
        // A burst is forgotten eleven seconds after its last use.
        check(WINDOWS, &[(0, 5000.0, 40_000), (10_999, 0.0, 39_001), (11_000, 0.0, 0), (11_000, 1000.0, 0)]);
    }

    #[test]
    fn what_is_taken_back_does_not_count() {
        check(WINDOWS, &[(0, 1100.0, 1000), (0, -1100.0, 0), (0, 1000.0, 0)]);
    }

    #[test]
    fn one_sample_is_the_window_under_way() {
        // Nothing whole is looked at: at its very beginning a window has a millisecond.
        check(Windows { samples: 1, size_ms: 1000 }, &[(0, 10.0, 99), (99, 0.0, 1), (100, 0.0, 0)]);
    }

    #[test]
    fn memory_is_bounded_by_the_windows() {
        let mut rate = Rate::default();
        for at in 0..1000 {
            rate.record(WINDOWS, 100.0, 1.0, at * 1000);
        }
        assert_eq!(rate.samples.len(), 12);
        assert!(!rate.is_as_new(WINDOWS, 100.0, 999_000 + 10_999));
        assert!(rate.is_as_new(WINDOWS, 100.0, 999_000 + 11_000));
    }
}
