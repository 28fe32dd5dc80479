//! What a stream thread says of its work now and then (`log.summary.interval.ms`).

use std::time::{Duration, Instant};

/// Work that was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Work {
    /// Records.
    pub(super) processed: usize,
    /// Punctuations that were run.
    pub(super) punctuated: usize,
    /// Polls.
    pub(super) polled: usize,
    /// Tasks, as often as their offsets were committed.
    pub(super) committed: usize,
}

impl Work {
    pub(super) fn add(&mut self, more: Work) {
        self.processed += more.processed;
        self.punctuated += more.punctuated;
        self.polled += more.polled;
        self.committed += more.committed;
    }
}

/// The work of a thread since it told of it last.
#[derive(Debug)]
pub(super) struct Summary {
    /// `None` for never.
    interval: Option<Duration>,
    since: Instant,
    work: Work,
}

impl Summary {
    /// Told whenever more than `interval` has passed; never where it is zero or `None`.
    pub(super) fn new(interval: Option<Duration>, now: Instant) -> Self {
        Summary { interval: interval.filter(|interval| !interval.is_zero()), since: now, work: Work::default() }
    }

    pub(super) fn add(&mut self, work: Work) {
        self.work.add(work);
    }

    /// What is to be told now, and since when it counts.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<(Work, Duration)> {
        let passed = now.duration_since(self.since);
        if passed <= self.interval? {
            return None;
        }
        self.since = now;
        Some((std::mem::take(&mut self.work), passed))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Summary, Work};

    const WORK: Work = Work { processed: 1, punctuated: 2, polled: 3, committed: 4 };

    #[test]
    fn what_was_done_is_told_when_the_interval_is_over_and_counts_anew_then() {
        let (begun, second) = (Instant::now(), Duration::from_secs(1));
        let mut summary = Summary::new(Some(2 * second), begun);
        summary.add(WORK);
        assert_eq!(summary.take_due(begun + 2 * second), None);
        summary.add(WORK);
        let both = Work { processed: 2, punctuated: 4, polled: 6, committed: 8 };
        assert_eq!(summary.take_due(begun + 3 * second), Some((both, 3 * second)));
        assert_eq!(summary.take_due(begun + 5 * second), None);
        summary.add(WORK);
        assert_eq!(summary.take_due(begun + 6 * second), Some((WORK, 3 * second)));
    }

    #[test]
    fn nothing_is_told_where_nobody_wants_it() {
        for interval in [None, Some(Duration::ZERO)] {
            let begun = Instant::now();
            let mut summary = Summary::new(interval, begun);
            summary.add(WORK);
            assert_eq!(summary.take_due(begun + Duration::from_secs(3600)), None);
        }
    }
}
