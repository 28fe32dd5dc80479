//! How much of a partition is asked for at a time.

use std::time::{Duration, Instant};

/// What is asked for at first, in bytes.
const FIRST: i32 = 256 << 10;
/// A wait for an answer that counts: the broker is far away, or slow to begin.
const LONG: Duration = Duration::from_millis(5);
/// So many long waits in a row and more is asked for: one may be chance.
const WAITS: u32 = 3;
/// So many answers in a row without a long wait and less is asked for: where that was too little, few are lost to learn it.
const NO_WAITS: u32 = 32;

/// The bytes of a partition that a request asks for: few at first, and twice as many when the application has waited
/// long for one answer after the other although the broker had records, up to `max.partition.fetch.bytes`; half as many
/// when it has not for a while.
///
/// What lies ready only takes memory, unless it bridges the time until the next answer.
#[derive(Debug)]
pub(crate) struct FetchSize {
    bytes: i32,
    min: i32,
    max: i32,
    /// Long waits in a row.
    waits: u32,
    /// Answers in a row without one.
    no_waits: u32,
    /// Since when the application waits for an answer.
    waiting: Option<Instant>,
}

impl FetchSize {
    pub(crate) fn new(max: i32) -> Self {
        let min = max.min(FIRST);
        Self { bytes: min, min, max, waits: 0, no_waits: 0, waiting: None }
    }

    pub(crate) fn bytes(&self) -> i32 {
        self.bytes
    }

    /// As many bytes of a partition that are not read yet are enough.
    pub(crate) fn is_full(&self, buffered: usize) -> bool {
        buffered >= self.bytes.unsigned_abs() as usize
    }

    /// The application waits for what the broker has.
    pub(crate) fn on_wait(&mut self, now: Instant) {
        self.waiting.get_or_insert(now);
    }

    pub(crate) fn on_answer(&mut self, now: Instant) {
        let waited = self.waiting.take().map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        (self.waits, self.no_waits) = if waited < LONG { (0, self.no_waits + 1) } else { (self.waits + 1, 0) };
        if self.waits == WAITS {
            self.waits = 0;
            self.bytes = self.bytes.saturating_mul(2).min(self.max);
        }
        if self.no_waits == NO_WAITS {
            self.no_waits = 0;
            self.bytes = (self.bytes / 2).max(self.min);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers, each with the time that the application waited for it.
    fn answers(size: &mut FetchSize, waited: impl IntoIterator<Item = Option<Duration>>) -> i32 {
        let mut now = Instant::now();
        for waited in waited {
            if let Some(waited) = waited {
                size.on_wait(now);
                size.on_wait(now + waited / 2);
                now += waited;
            }
            size.on_answer(now);
        }
        size.bytes()
    }

    #[test]
    fn it_grows_with_every_three_long_waits() {
        let mut size = FetchSize::new(3 * FIRST);
        assert_eq!(answers(&mut size, [Some(LONG); 2]), FIRST);
        assert_eq!(answers(&mut size, [Some(LONG); 1]), 2 * FIRST);
        assert_eq!(answers(&mut size, [Some(LONG); 3]), 3 * FIRST);
        assert_eq!(answers(&mut size, [Some(LONG); 9]), 3 * FIRST);
    }

    #[test]
    fn it_stays_while_answers_come_soon_or_nobody_waits() {
        let mut size = FetchSize::new(3 * FIRST);
        for soon in [None, Some(LONG / 2)] {
            assert_eq!(answers(&mut size, [Some(LONG), Some(LONG), soon].into_iter().cycle().take(90)), FIRST);
        }
    }

    #[test]
    fn it_shrinks_with_every_thirty_two_answers_without_a_long_wait() {
        let (long, soon) = (Some(LONG), Some(LONG / 2));
        let mut size = FetchSize::new(4 * FIRST);
        let steps = [
            (long, 6, 4 * FIRST),
            (soon, 31, 4 * FIRST),
            // One long wait, and they are counted anew.
            (long, 1, 4 * FIRST),
            (soon, 31, 4 * FIRST),
            (None, 1, 2 * FIRST),
            (None, 31, 2 * FIRST),
            (long, 3, 4 * FIRST),
            (soon, 64, FIRST),
            (None, 320, FIRST),
        ];
        for (index, (waited, times, bytes)) in steps.into_iter().enumerate() {
            assert_eq!(answers(&mut size, std::iter::repeat_n(waited, times)), bytes, "step {index}");
        }
    }

    #[test]
    fn it_never_is_more_than_the_setting() {
        let mut size = FetchSize::new(100);
        assert_eq!(answers(&mut size, [Some(LONG); 9]), 100);
        assert_eq!(answers(&mut size, [None; 99]), 100);
        assert!(size.is_full(100) && !size.is_full(99));
    }
}
