//! The clocks of a broker: the edge at which they are read.

use std::sync::LazyLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use vltava_log::Now;

/// What [`Now::uptime_ms`] counts from.
static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Milliseconds since the epoch: what goes into records.
pub(crate) fn wall_clock_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Both clocks: the upkeep is scheduled by the one that nobody sets.
pub(crate) fn now() -> Now {
    let uptime_ms = i64::try_from(STARTED.elapsed().as_millis()).unwrap_or(i64::MAX);
    Now { uptime_ms, wall_ms: wall_clock_ms() }
}
