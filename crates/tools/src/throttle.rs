//! As many sends a second as were asked for, and no more.

use std::time::Duration;

/// Kafka's `ThroughputThrottler`: sleeps now and then, so that records go at a rate.
#[derive(Debug)]
pub(crate) struct Throttle {
    /// Records a second; none below 0.
    target: f64,
    start_ms: i64,
    pause: Duration,
    deficit: Duration,
}

impl Throttle {
    /// Shorter sleeps than this are put together.
    const SHORTEST: Duration = Duration::from_millis(2);
    /// What stands for ever, where the rate is 0.
    const FOR_EVER: Duration = Duration::from_secs(u32::MAX as u64);

    pub(crate) fn new(target: f64, start_ms: i64) -> Self {
        let pause = if target > 0.0 { Duration::from_secs_f64(1.0 / target) } else { Self::FOR_EVER };
        Self { target, start_ms, pause, deficit: Duration::ZERO }
    }

    /// How long to sleep after the record with this number, counted from 0, was sent; zero for not at all.
    pub(crate) fn sleep_after(&mut self, sent: u64, sent_ms: i64) -> Duration {
        let elapsed = (sent_ms - self.start_ms) as f64 / 1000.0;
        if self.target < 0.0 || elapsed <= 0.0 || sent as f64 / elapsed <= self.target {
            return Duration::ZERO;
        }
        self.deficit = self.deficit.saturating_add(self.pause);
        if self.deficit < Self::SHORTEST { Duration::ZERO } else { std::mem::take(&mut self.deficit) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleeps_are_put_together() {
        let mut throttle = Throttle::new(1000.0, 0);
        // Not ahead of the rate.
        assert_eq!(throttle.sleep_after(1000, 1000), Duration::ZERO);
        assert_eq!(throttle.sleep_after(1001, 1000), Duration::ZERO);
        assert_eq!(throttle.sleep_after(1002, 1000), Duration::from_millis(2));
        assert_eq!(throttle.sleep_after(1003, 1000), Duration::ZERO);
        assert_eq!(Throttle::new(-1.0, 0).sleep_after(1_000_000, 1), Duration::ZERO);
        assert_eq!(Throttle::new(0.0, 0).sleep_after(1, 1), Throttle::FOR_EVER);
    }
}
