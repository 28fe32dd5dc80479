//! Warnings about what may happen thousands of times a second: the first at once, then one a minute with a count.

use std::time::{Duration, Instant};

/// Between two warnings.
const PAUSE: Duration = Duration::from_secs(60);

/// Says when to warn again.
#[derive(Debug, Default)]
pub(crate) struct Seldom {
    last: Option<Instant>,
    unsaid: u64,
}

impl Seldom {
    /// Counts one more; gives how many there were since the last warning, this one included, if it is time to warn.
    pub(crate) fn count(&mut self, now: Instant) -> Option<u64> {
        self.unsaid += 1;
        if self.last.is_some_and(|last| now.duration_since(last) < PAUSE) {
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_said_at_once_and_the_others_are_counted() {
        let begun = Instant::now();
        let mut seldom = Seldom::default();
        assert_eq!(seldom.count(begun), Some(1));
        for second in 1..60 {
            assert_eq!(seldom.count(begun + Duration::from_secs(second)), None);
        }
        assert_eq!(seldom.count(begun + PAUSE), Some(60));
    }
}
