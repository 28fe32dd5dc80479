//! How many connections begin in a second, as Kafka measures it: `max.connection.creation.rate`, and the quotas of
//! addresses (KIP-612).

use std::time::Duration;

use tokio::time::Instant;

use crate::quota::Windows;

/// For how many seconds a rate is a mean: Kafka looks at the whole ones of `quota.window.num` windows of
/// `quota.window.size.seconds`. After as many without connections, as many seconds' worth of them may come at once.
pub(super) fn seconds(windows: Windows) -> f64 {
    windows.whole_seconds().max(windows.size_ms as f64 / 1000.0)
}

/// The connections that time has not made up for yet.
#[derive(Debug, Default)]
pub(super) struct Creations {
    recent: f64,
    counted_at: Option<Instant>,
}

impl Creations {
    /// How long it is, from `now`, until one more may begin at a rate of `per_second`, a mean of `seconds`; nothing if it
    /// may now.
    pub(super) fn wait(&mut self, now: Instant, per_second: usize, seconds: f64) -> Option<Duration> {
        let per_second = per_second as f64;
        let past = self.counted_at.map_or(Duration::ZERO, |at| now.duration_since(at));
        self.recent = (self.recent - past.as_secs_f64() * per_second).max(0.0);
        self.counted_at = Some(now);
        let too_many = self.recent + 1.0 - seconds * per_second;
        (too_many > 0.0).then(|| Duration::try_from_secs_f64(too_many / per_second).unwrap_or(Duration::MAX))
    }

    /// One more has begun.
    pub(super) fn count(&mut self) {
        self.recent += 1.0;
    }

    /// Whether time has made up for all of them, whatever the rate is.
    pub(super) fn is_over(&self, now: Instant, seconds: f64) -> bool {
        self.counted_at.is_none_or(|at| now.duration_since(at).as_secs_f64() >= seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_followed_by_the_rate() {
        let begun = Instant::now();
        let mut creations = Creations::default();
        for _ in 0..20 {
            assert_eq!(creations.wait(begun, 2, 10.0), None);
            creations.count();
        }
        assert_eq!(creations.wait(begun, 2, 10.0), Some(Duration::from_millis(500)));
        let later = begun + Duration::from_millis(500);
        assert_eq!(creations.wait(later, 2, 10.0), None);
        creations.count();
        assert_eq!(creations.wait(later, 2, 10.0), Some(Duration::from_millis(500)));
        assert_eq!(creations.wait(later, 3, 10.0), None, "a higher rate holds at once");
    }

    #[test]
    fn none_begins_where_the_rate_is_none() {
        let mut creations = Creations::default();
        assert_eq!(creations.wait(Instant::now(), 0, 10.0), Some(Duration::MAX));
        assert_eq!(creations.wait(Instant::now(), usize::MAX, 10.0), None);
    }
}
