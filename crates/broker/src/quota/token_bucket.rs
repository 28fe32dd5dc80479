//! A bucket that fills at a rate and is emptied by use: Kafka's `TokenBucket` (KIP-599).

use super::{Measure, Windows, round_ms};

/// What may be used at once, and fills with time. It may be emptied below nothing, by as much as one use.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct TokenBucket {
    /// As of when it has how much; none is a full one.
    filled: Option<(i64, f64)>,
}

impl TokenBucket {
    /// How much it holds at the most.
    fn burst(windows: Windows, limit: f64) -> f64 {
        windows.span_ms() as f64 / 1000.0 * limit
    }

    fn fill(&mut self, windows: Windows, limit: f64, now_ms: i64) -> f64 {
        let burst = Self::burst(windows, limit);
        let tokens = self.filled.map_or(burst, |(at, tokens)| {
            let passed = now_ms.saturating_sub(at) as f64 / 1000.0;
            burst.min(tokens + limit * passed)
        });
        self.filled = Some((now_ms, tokens));
        tokens
    }
}

impl Measure for TokenBucket {
    fn record(&mut self, windows: Windows, limit: f64, value: f64, now_ms: i64) {
        let left = self.fill(windows, limit, now_ms) - value;
        self.filled = Some((now_ms, left.min(Self::burst(windows, limit))));
    }

    fn throttle_ms(&mut self, windows: Windows, limit: f64, now_ms: i64) -> i64 {
        let tokens = self.fill(windows, limit, now_ms);
        if tokens < 0.0 { round_ms(-tokens / limit * 1000.0) } else { 0 }
    }

    fn is_as_new(&mut self, windows: Windows, limit: f64, now_ms: i64) -> bool {
        self.fill(windows, limit, now_ms) >= Self::burst(windows, limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOWS: Windows = Windows { samples: 11, size_ms: 1000 };

    #[test]
    fn a_burst_is_paid_back_at_the_rate() {
        let mut bucket = TokenBucket::default();
        // Two a second, 22 at once.
        for (at, value, expected) in
            [(0, 22.0, 0), (0, 1.0, 500), (250, 0.0, 250), (500, 0.0, 0), (500, 40.0, 20_000), (20_500, 0.0, 0)]
        {
            bucket.record(WINDOWS, 2.0, value, at);
            assert_eq!(bucket.throttle_ms(WINDOWS, 2.0, at), expected, "{value} at {at}");
        }
        assert!(!bucket.is_as_new(WINDOWS, 2.0, 20_500 + 10_999));
        assert!(bucket.is_as_new(WINDOWS, 2.0, 20_500 + 11_000));
    }

    #[test]
    fn a_lower_limit_holds_less() {
        let mut bucket = TokenBucket::default();
        bucket.record(WINDOWS, 10.0, 1.0, 0);
        bucket.record(WINDOWS, 1.0, 12.0, 0);
        assert_eq!(bucket.throttle_ms(WINDOWS, 1.0, 0), 1000);
    }
}
