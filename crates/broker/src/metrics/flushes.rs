//! How long the disks take to have what was written.

use std::time::{Duration, Instant};

use vltava_log::FlushListener;
use vltava_metrics::Histogram;

/// Of all log directories, in microseconds.
#[derive(Debug)]
pub(crate) struct FlushTimes {
    base: Instant,
    pub(super) times: Histogram,
}

impl Default for FlushTimes {
    fn default() -> Self {
        Self { base: Instant::now(), times: Histogram::default() }
    }
}

impl FlushListener for FlushTimes {
    fn begins(&self) -> u64 {
        micros(self.base.elapsed())
    }

    fn ends(&self, begun: u64) {
        self.times.record(micros(self.base.elapsed()).saturating_sub(begun));
    }
}

pub(super) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).map_or(u64::MAX, |micros| micros)
}
