//! The time of a store whose entries expire.

/// The greatest time of what was put into a store, in ms, or less: see
/// [`SegmentedBytesStore`](super::SegmentedBytesStore).
#[derive(Clone, Copy, Debug)]
pub(crate) struct StoreTime {
    now: i64,
    limit: i64,
    /// What it would be without limits since there were none last.
    unlimited: i64,
}

impl Default for StoreTime {
    fn default() -> Self {
        StoreTime { now: -1, limit: i64::MAX, unlimited: -1 }
    }
}

impl StoreTime {
    /// -1 before the first put.
    pub(crate) fn now(self) -> i64 {
        self.now
    }

    /// Something of this time is put.
    pub(crate) fn advance(&mut self, time: i64) {
        self.unlimited = self.unlimited.max(time);
        self.now = self.now.max(time.min(self.limit));
    }

    /// Goes no further than this, until it is asked again. A limit that is raised lets it go on to what was put meanwhile, as if
    /// it had been this one from the beginning; without a limit, `i64::MAX`, it goes on from where it is.
    pub(crate) fn limit(&mut self, limit: i64) {
        self.limit = limit;
        if limit == i64::MAX {
            self.unlimited = self.now;
        }
        self.now = self.unlimited.min(limit);
    }

    /// Nothing was put.
    pub(crate) fn reset(&mut self) {
        (self.now, self.unlimited) = (-1, -1);
    }
}

#[cfg(test)]
mod tests {
    use super::StoreTime;

    #[test]
    fn a_limit_that_is_raised_in_steps_is_as_the_last_one_from_the_beginning() {
        let mut steps = StoreTime::default();
        let mut once = StoreTime::default();
        once.limit(160);
        for limit in [100, 120, 160] {
            steps.limit(limit);
            for time in [90, 150] {
                steps.advance(time);
                once.advance(time);
            }
            assert_eq!(steps.now(), limit.min(150));
        }
        assert_eq!(steps.now(), once.now());
        // Without a limit it goes on from there.
        for limited in [&mut steps, &mut once] {
            limited.limit(120);
            limited.limit(i64::MAX);
            assert_eq!(limited.now(), 120);
            limited.advance(130);
            assert_eq!(limited.now(), 130);
        }
    }
}
