//! How far apart in time two records may be to be joined: Kafka's `JoinWindows`.

use std::{fmt, time::Duration};

use crate::{
    error::{Error, Result},
    state::millis,
};

/// Which records of two streams meet: those of one key whose timestamps are no further apart than this.
///
/// A record of the left stream with timestamp `t` meets the right stream's records from `t - before` to `t + after`,
/// both included. Records that are late by more than the grace period find nothing and are not found any more.
///
/// ```
/// use std::time::Duration;
/// use vltava_streams::JoinWindows;
///
/// let windows = JoinWindows::of_time_difference_with_no_grace(Duration::from_secs(10)).before(Duration::ZERO);
/// assert_eq!((windows.before_ms(), windows.after_ms(), windows.size_ms()), (0, 10_000, 10_000));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct JoinWindows {
    before: i64,
    after: i64,
    grace: i64,
    /// Whether left and outer joins wait for the end of the window before they say that there is no other record.
    waits: bool,
}

/// What Kafka waited for late records before there was a grace period, in ms.
const DAY: i64 = 24 * 60 * 60 * 1000;

impl JoinWindows {
    /// At most `difference` apart, with `grace` for records that come late.
    pub fn of_time_difference_and_grace(difference: Duration, grace: Duration) -> Self {
        let difference = millis(difference);
        JoinWindows { before: difference, after: difference, grace: millis(grace), waits: true }
    }

    /// At most `difference` apart; what is late is not joined.
    pub fn of_time_difference_with_no_grace(difference: Duration) -> Self {
        Self::of_time_difference_and_grace(difference, Duration::ZERO)
    }

    /// Kafka's deprecated `JoinWindows.of`: a grace of 24 hours less the window, and left and outer joins that say at
    /// once that there is no other record, though one may come. For applications that come from the JVM and need it.
    pub fn of_time_difference_eager(difference: Duration) -> Self {
        let difference = millis(difference);
        let grace = DAY.saturating_sub(difference.saturating_mul(2)).max(0);
        JoinWindows { before: difference, after: difference, grace, waits: false }
    }

    /// How much earlier than the left record the right one may be.
    pub fn before(self, difference: Duration) -> Self {
        self.with_before_ms(millis(difference))
    }

    /// How much later than the left record the right one may be.
    pub fn after(self, difference: Duration) -> Self {
        self.with_after_ms(millis(difference))
    }

    /// [`before`](Self::before) in ms; negative where the right record must be later by at least so much.
    pub const fn with_before_ms(self, before: i64) -> Self {
        JoinWindows { before, ..self }
    }

    /// [`after`](Self::after) in ms; negative where the right record must be earlier by at least so much.
    pub const fn with_after_ms(self, after: i64) -> Self {
        JoinWindows { after, ..self }
    }

    /// How long late records are waited for. Kafka allows to change it only where it was not chosen with the
    /// difference: see [`of_time_difference_eager`](Self::of_time_difference_eager).
    pub fn grace(self, grace: Duration) -> Self {
        JoinWindows { grace: millis(grace), ..self }
    }

    /// How much earlier than the left record the right one may be, in ms.
    #[must_use]
    pub const fn before_ms(&self) -> i64 {
        self.before
    }

    /// How much later than the left record the right one may be, in ms.
    #[must_use]
    pub const fn after_ms(&self) -> i64 {
        self.after
    }

    /// How long late records are waited for, in ms.
    #[must_use]
    pub const fn grace_ms(&self) -> i64 {
        self.grace
    }

    /// The length of the window in ms: before and after together.
    #[must_use]
    pub const fn size_ms(&self) -> i64 {
        self.before.saturating_add(self.after)
    }

    pub(crate) const fn waits(&self) -> bool {
        self.waits
    }

    /// How long the stores of the join keep records, in ms.
    pub(crate) const fn retention(&self) -> i64 {
        self.size_ms().saturating_add(self.grace)
    }

    /// Refuses windows that end before they begin.
    pub(crate) fn check(&self) -> Result<()> {
        match self.size_ms() < 0 {
            false => Ok(()),
            true => Err(Box::new(Error::IllegalArgument(format!("the window of a join must not be negative: {self}")))),
        }
    }
}

impl fmt::Display for JoinWindows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let JoinWindows { before, after, grace, .. } = self;
        write!(f, "JoinWindows{{beforeMs={before}, afterMs={after}, graceMs={grace}}}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deprecated_constructor_waits_for_a_day_less_the_window() {
        let hours = |n: u64| Duration::from_secs(n * 3600);
        assert_eq!(JoinWindows::of_time_difference_eager(hours(1)).grace_ms(), 22 * 3_600_000);
        assert_eq!(JoinWindows::of_time_difference_eager(hours(13)).grace_ms(), 0);
    }

    #[test]
    fn a_bound_may_be_negative_as_long_as_the_window_is_not() {
        let windows = JoinWindows::of_time_difference_with_no_grace(Duration::from_millis(5));
        assert!(windows.with_before_ms(-5).check().is_ok());
        let error = windows.with_before_ms(-6).check().unwrap_err();
        assert!(error.to_string().contains("beforeMs=-6"), "{error}");
        assert!(JoinWindows::of_time_difference_with_no_grace(Duration::MAX).check().is_ok());
    }
}
