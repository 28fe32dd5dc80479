//! Values that are put together before they are recorded.

/// What was counted of many values in a plain field of whoever had them, to be [recorded](crate::Sensor::record_all) at once:
/// the statistics are then what each value alone would have made of them, as of the time at which that happens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tally {
    pub(crate) count: u64,
    pub(crate) sum: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    pub(crate) last: f64,
}

impl Default for Tally {
    fn default() -> Self {
        Self { count: 0, sum: 0.0, min: f64::MAX, max: f64::NEG_INFINITY, last: 0.0 }
    }
}

impl Tally {
    /// So many values that are all the same.
    #[must_use]
    pub fn of(count: u64, value: f64) -> Self {
        Self { count, sum: count as f64 * value, min: value, max: value, last: value }
    }

    /// Takes a value in.
    #[inline]
    pub fn add(&mut self, value: f64) {
        self.count += 1;
        self.sum += value;
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        self.last = value;
    }

    /// Whether there is no value.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// What there is; nothing is left.
    #[must_use]
    pub fn take(&mut self) -> Self {
        std::mem::take(self)
    }
}
