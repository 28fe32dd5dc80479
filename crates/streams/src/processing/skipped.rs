//! Records that were skipped, as the log tells of them: the first of a reason at once, then how many there were.

/// How long nothing more is said of one reason, in ms: Kafka's interval of Streams' own summaries is two minutes, and here
/// one hears of the first at once.
const SILENCE: i64 = 30_000;

/// What has been said and what has not, by reason.
#[derive(Debug, Default)]
pub(crate) struct Skipped {
    reasons: Vec<Reason>,
}

#[derive(Debug)]
struct Reason {
    why: &'static str,
    /// Records that nothing has been said of.
    unsaid: u64,
    /// When something may be said again.
    silent_until: i64,
}

impl Skipped {
    /// Counts a record. Gives how many are to be told of, this one among them, or nothing while it is too early to speak.
    pub(crate) fn count(&mut self, why: &'static str, now: i64) -> Option<u64> {
        let known = self.reasons.iter().position(|reason| reason.why == why);
        let at = known.unwrap_or_else(|| {
            self.reasons.push(Reason { why, unsaid: 0, silent_until: i64::MIN });
            self.reasons.len() - 1
        });
        let reason = self.reasons.get_mut(at)?;
        reason.unsaid += 1;
        reason.tell(now)
    }

    /// What was counted, is due to be told, and would otherwise wait for the next record of its kind.
    pub(crate) fn due(&mut self, now: i64) -> impl Iterator<Item = (&'static str, u64)> {
        self.reasons.iter_mut().filter_map(move |reason| Some((reason.why, reason.tell(now)?)))
    }
}

impl Reason {
    fn tell(&mut self, now: i64) -> Option<u64> {
        // A clock that was set back makes nobody silent for longer.
        let silent = now < self.silent_until && self.silent_until - now <= SILENCE;
        if self.unsaid == 0 || silent {
            return None;
        }
        self.silent_until = now.saturating_add(SILENCE);
        Some(std::mem::take(&mut self.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_a_reason_is_told_at_once_and_the_others_by_number() {
        let mut skipped = Skipped::default();
        assert_eq!(skipped.count("late", 1_000), Some(1));
        assert_eq!(skipped.count("null", 1_000), Some(1));
        assert_eq!((1..=500).filter_map(|n| skipped.count("late", 1_000 + n)).count(), 0);
        assert_eq!(skipped.count("late", 1_000 + SILENCE), Some(501));
        assert_eq!(skipped.count("late", 1_001 + SILENCE), None);
    }

    #[test]
    fn what_nobody_follows_is_told_when_it_is_due() {
        let mut skipped = Skipped::default();
        skipped.count("late", 0);
        skipped.count("late", 1);
        assert_eq!(skipped.due(SILENCE - 1).count(), 0);
        assert_eq!(skipped.due(SILENCE).collect::<Vec<_>>(), [("late", 1)]);
        assert_eq!(skipped.due(2 * SILENCE).count(), 0);
    }

    #[test]
    fn a_clock_set_back_silences_nobody() {
        let mut skipped = Skipped::default();
        skipped.count("late", 100_000_000);
        assert_eq!(skipped.count("late", 1), Some(1));
    }
}
