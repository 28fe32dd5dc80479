//! How long work waits that is faster than it may be.

use std::time::{Duration, Instant};

/// At the least between two looks at how fast it is. Kafka's constant.
const CHECK_INTERVAL: Duration = Duration::from_millis(300);

/// Bytes that were read and written since some moment.
#[derive(Debug)]
pub(super) struct Throttler {
    begun: Instant,
    bytes: u64,
}

impl Throttler {
    pub(super) fn new(now: Instant) -> Self {
        Self { begun: now, bytes: 0 }
    }

    /// Counts; whether it is time to look whether to wait.
    pub(super) fn observe(&mut self, bytes: usize, now: Instant) -> bool {
        self.bytes = self.bytes.saturating_add(bytes as u64);
        now.duration_since(self.begun) > CHECK_INTERVAL
    }

    /// How long to wait yet, so that what was counted is no more than this many bytes per second.
    pub(super) fn wait(&self, bytes_per_second: f64, now: Instant) -> Duration {
        let wanted = Duration::try_from_secs_f64(self.bytes as f64 / bytes_per_second).unwrap_or(Duration::MAX);
        wanted.saturating_sub(now.duration_since(self.begun))
    }

    /// Counts anew.
    pub(super) fn begin(&mut self, now: Instant) {
        *self = Self::new(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_fast_waits_until_it_is_not() {
        let begun = Instant::now();
        let at = |ms| begun + Duration::from_millis(ms);
        let mut throttler = Throttler::new(begun);
        assert!(!throttler.observe(600, at(300)));
        assert!(throttler.observe(400, at(400)));
        for (rate, expected) in [(1000.0, 600), (2000.0, 100), (2500.0, 0), (f64::MAX, 0)] {
            assert_eq!(throttler.wait(rate, at(400)), Duration::from_millis(expected), "{rate}");
        }
        throttler.begin(at(1000));
        assert!(!throttler.observe(1000, at(1300)));
        assert_eq!(throttler.wait(1000.0, at(1300)), Duration::from_millis(700));
        // As good as for ever: whoever waits looks at the rate again and again.
        assert_eq!(throttler.wait(0.0, at(1300)), Duration::MAX - Duration::from_millis(300));
    }
}
