//! How often which values were recorded, without a lock: for what many threads record all the time.
//!
//! A value is a whole number of any unit. Values below four have a bucket each, and from there on each power of two is cut in
//! four: a quantile is off by an eighth at the most. Buckets only grow, so two looks at them give what came in between, and
//! nothing has to be forgotten while something is recorded.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

/// What lies at or beyond 2^32 counts as what lies just before it.
const LARGEST_POWER: u32 = 31;
const PARTS: u64 = 4;
const BUCKETS: usize = (LARGEST_POWER as usize) * PARTS as usize;

/// The time of half of what quantiles are of. Kafka's forget with a weight that is gone after five minutes.
const HALF_MS: i64 = 150_000;

type Counts = [u64; BUCKETS];

/// Takes values in.
#[derive(Debug)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    sum: AtomicU64,
    /// Made by the first look.
    past: Mutex<Option<Box<Past>>>,
}

/// What was known at the beginning of this half of the time that quantiles are of, and at that of the one before.
#[derive(Debug)]
struct Past {
    begun_ms: i64,
    before: Counts,
    long_before: Counts,
}

/// What a histogram held at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Distribution {
    counts: Counts,
}

/// A look at a histogram.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    /// All there ever was.
    pub all: Distribution,
    /// The sum of it.
    pub sum: u64,
    /// What came in the last minutes: two and a half to five, or since the look before where that is longer ago.
    pub recent: Distribution,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: [const { AtomicU64::new(0) }; BUCKETS], sum: AtomicU64::new(0), past: Mutex::default() }
    }
}

impl Histogram {
    /// Takes a value in.
    pub fn record(&self, value: u64) {
        if let Some(bucket) = self.buckets.get(bucket_of(value)) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    /// What it holds, and what of that came lately.
    #[must_use]
    pub fn read(&self, now_ms: i64) -> Reading {
        let counts: Counts = std::array::from_fn(|i| self.buckets.get(i).map_or(0, |b| b.load(Ordering::Relaxed)));
        let mut past = self.past.lock();
        let past = past.get_or_insert_with(|| {
            Box::new(Past { begun_ms: now_ms, before: [0; BUCKETS], long_before: [0; BUCKETS] })
        });
        if now_ms - past.begun_ms >= HALF_MS {
            past.long_before = std::mem::replace(&mut past.before, counts);
            past.begun_ms = now_ms;
        }
        // Another look may have been later and have its counts here already.
        let since = |i: usize| match (counts.get(i), past.long_before.get(i)) {
            (Some(now), Some(then)) => now.saturating_sub(*then),
            _ => 0,
        };
        Reading {
            all: Distribution { counts },
            sum: self.sum.load(Ordering::Relaxed),
            recent: Distribution { counts: std::array::from_fn(since) },
        }
    }
}

impl Distribution {
    /// How many values there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// How many of them are below a power of two.
    #[must_use]
    pub fn below(&self, power: u32) -> u64 {
        self.counts.iter().take(bucket_of(1 << power.min(63))).sum()
    }

    /// What a part of the values, of 0 to 1, is not above. NaN without a value.
    #[must_use]
    pub fn quantile(&self, part: f64) -> f64 {
        let count = self.count();
        if count == 0 {
            return f64::NAN;
        }
        let wanted = part * count as f64;
        let mut before = 0.0;
        let mut last = f64::NAN;
        for (bucket, here) in self.counts.iter().enumerate().filter(|(_, here)| **here > 0) {
            let (from, to) = (start_of(bucket), start_of(bucket + 1));
            let here = *here as f64;
            if before + here >= wanted {
                return from + (to - from) * ((wanted - before) / here).clamp(0.0, 1.0);
            }
            before += here;
            last = to;
        }
        last
    }
}

fn bucket_of(value: u64) -> usize {
    if value < PARTS {
        return value as usize;
    }
    let power = value.ilog2();
    if power > LARGEST_POWER {
        return BUCKETS - 1;
    }
    let part = (value >> (power - 2)) & (PARTS - 1);
    (power as usize - 1) * PARTS as usize + part as usize
}

/// The smallest value of a bucket.
fn start_of(bucket: usize) -> f64 {
    let (power, part) = (bucket / PARTS as usize, (bucket % PARTS as usize) as f64);
    match power {
        0 => part,
        _ => (PARTS as f64 + part) * (1_u64 << (power - 1)) as f64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_in_the_bucket_that_begins_at_or_below_it() {
        for value in (0..100_000).chain([u32::MAX.into(), (1 << 31) - 1, 1 << 31]) {
            let bucket = bucket_of(value);
            assert!(start_of(bucket) <= value as f64 && (value as f64) < start_of(bucket + 1), "{value} in {bucket}");
        }
        assert_eq!((bucket_of(1 << 32), bucket_of(u64::MAX)), (BUCKETS - 1, BUCKETS - 1));
    }

    #[test]
    fn quantiles_are_off_by_an_eighth_at_the_most() {
        let histogram = Histogram::default();
        (1..=10_000).for_each(|value| histogram.record(value));
        let Reading { all, sum, recent } = histogram.read(0);
        assert_eq!((all.count(), sum, recent), (10_000, 50_005_000, all));
        for part in [0.5, 0.75, 0.95, 0.98, 0.99, 0.999] {
            let (found, exact) = (recent.quantile(part), part * 10_000.0);
            assert!((found - exact).abs() <= exact / 8.0, "{part}: {found} and not {exact}");
        }
        assert_eq!((all.below(3), all.below(10), all.below(63)), (7, 1023, 10_000));
        assert!(Histogram::default().read(0).recent.quantile(0.5).is_nan());
    }

    #[test]
    fn quantiles_are_of_the_last_minutes_and_counts_of_all() {
        let histogram = Histogram::default();
        histogram.record(1000);
        assert_eq!(histogram.read(0).recent.count(), 1);
        assert_eq!(histogram.read(HALF_MS).recent.count(), 1);
        histogram.record(2);
        assert_eq!(histogram.read(2 * HALF_MS - 1).recent.count(), 2);
        let then = histogram.read(2 * HALF_MS);
        assert_eq!((then.all.count(), then.recent.count(), then.recent.quantile(1.0)), (2, 1, 3.0));
    }
}
