//! How soon a failed thread is replaced.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(30);
/// A thread that has worked for so long has not met the failure of the one before.
const HEALTHY: Duration = Duration::from_secs(60);

/// The pauses before the replacements of one thread: twice as long each time, unless the last one did well for a while.
/// Kafka Streams replaces without a pause, and so fails thousands of times a second on what fails at once.
#[derive(Debug)]
pub(super) struct Pauses {
    next: Duration,
}

impl Default for Pauses {
    fn default() -> Self {
        Pauses { next: FIRST }
    }
}

impl Pauses {
    /// The pause after a thread that worked for `lived`.
    pub(super) fn after(&mut self, lived: Duration) -> Duration {
        let pause = if lived >= HEALTHY { FIRST } else { self.next };
        self.next = (pause * 2).min(LONGEST);
        pause
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Pauses;

    #[test]
    fn what_fails_again_and_again_is_replaced_more_and_more_seldom() {
        let mut pauses = Pauses::default();
        let ms = |pauses: &mut Pauses, lived| pauses.after(Duration::from_secs(lived)).as_millis();
        let first: Vec<_> = (0..12).map(|_| ms(&mut pauses, 0)).collect();
        assert_eq!(first, [100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 30_000, 30_000, 30_000]);
        assert_eq!((ms(&mut pauses, 3_600), ms(&mut pauses, 59)), (100, 200));
    }
}
