//! When the first batches of a transaction go, where they alone begin it (`transaction.version` 2, KIP-890).
//!
//! A transaction's end is answered when it is decided, and the coordinator then writes it into the partitions. A broker of
//! Apache Kafka that gets a batch of the next transaction before that is over asks the coordinator again only after
//! `add.partitions.to.txn.retry.backoff.ms`, 20 ms: whoever comes a millisecond too early waits for twenty. How long to wait
//! instead is learned from how long the first requests took.

use std::time::Duration;

/// A first request that takes this much longer than requests do came too early.
const TOO_EARLY: Duration = Duration::from_millis(15);
/// By how much the pause grows after one.
const STEP: Duration = Duration::from_millis(1);
/// The longest pause: half of what it is there to avoid.
const LONGEST: Duration = Duration::from_millis(10);
/// The part of itself by which the pause shrinks after one that did not.
const SHRINKS: u32 = 32;

/// The pause between the end of a transaction and the first batches of the next.
#[derive(Debug, Default)]
pub(super) struct PauseAfterEnd {
    pause: Duration,
    /// How long a request takes, of late.
    usual: Option<Duration>,
}

impl PauseAfterEnd {
    pub(super) fn get(&self) -> Duration {
        self.pause
    }

    /// A request was answered: that of a coordinator too says how long one takes.
    pub(super) fn answered(&mut self, is_first: bool, took: Duration) {
        let usual = self.usual.map_or(took, |usual| took.min(usual + usual / SHRINKS));
        self.usual = Some(usual);
        if is_first && took >= usual + TOO_EARLY {
            self.pause = (self.pause + STEP).min(LONGEST);
        } else if is_first {
            self.pause -= self.pause / SHRINKS;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// The answers of a broker that is done with a transaction's end after `markers`.
    fn learn(pause: &mut PauseAfterEnd, markers: Duration, trip: Duration, transactions: usize) -> usize {
        let mut too_early = 0;
        for _ in 0..transactions {
            let is_early = pause.get() < markers;
            too_early += usize::from(is_early);
            pause.answered(true, if is_early { trip + ms(20) } else { trip });
            pause.answered(false, trip);
        }
        too_early
    }

    #[test]
    fn few_come_too_early_once_it_is_learned() {
        let mut pause = PauseAfterEnd::default();
        learn(&mut pause, ms(3), ms(1), 10);
        assert!(learn(&mut pause, ms(3), ms(1), 1000) <= 100);
        assert!(pause.get() <= ms(4), "{pause:?}");
    }

    #[test]
    fn there_is_none_where_nobody_has_to_wait() {
        let mut pause = PauseAfterEnd::default();
        learn(&mut pause, ms(0), ms(40), 100);
        assert_eq!(pause.get(), ms(0), "a network that is slow is no reason");
    }

    #[test]
    fn it_is_bounded_and_forgotten() {
        let mut pause = PauseAfterEnd::default();
        learn(&mut pause, ms(50), ms(1), 100);
        assert_eq!(pause.get(), LONGEST);
        learn(&mut pause, ms(0), ms(1), 200);
        assert!(pause.get() < ms(1), "{pause:?}");
    }

    /// The network becomes slower: that is the usual time then, and no longer too early.
    #[test]
    fn a_network_that_becomes_slower_is_noticed() {
        let mut pause = PauseAfterEnd::default();
        learn(&mut pause, ms(0), ms(1), 100);
        learn(&mut pause, ms(0), ms(60), 400);
        assert!(pause.get() < ms(5), "{pause:?}");
    }
}
