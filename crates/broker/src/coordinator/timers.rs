//! The deadlines of one shard.
//!
//! A heartbeat moves its member's deadline a few seconds ahead and hardly ever lets it pass, so moving a deadline
//! later costs one look-up: the queue keeps the earlier entry, which is put back when its time comes.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::Hash;

/// The armed deadlines, in milliseconds of [`Now::elapsed_ms`](super::shard::Now::elapsed_ms); a key says what one is for.
#[derive(Debug)]
pub(crate) struct Timers<K> {
    armed: HashMap<K, Armed>,
    queue: BinaryHeap<Reverse<(i64, K)>>,
}

#[derive(Debug)]
struct Armed {
    deadline: i64,
    /// The time of this timer's entry in the queue, never later than `deadline`.
    queued: i64,
}

impl<K: Ord> Default for Timers<K> {
    fn default() -> Self {
        Self { armed: HashMap::new(), queue: BinaryHeap::new() }
    }
}

impl<K: Clone + Hash + Ord> Timers<K> {
    /// Arms a timer, or moves it if it is armed.
    pub(crate) fn schedule(&mut self, key: K, deadline: i64) {
        match self.armed.get_mut(&key) {
            Some(armed) if armed.queued <= deadline => armed.deadline = deadline,
            Some(armed) => {
                *armed = Armed { deadline, queued: deadline };
                self.queue.push(Reverse((deadline, key)));
            }
            None => {
                self.queue.push(Reverse((deadline, key.clone())));
                self.armed.insert(key, Armed { deadline, queued: deadline });
            }
        }
    }

    /// Disarms a timer; nothing happens if it is not armed.
    pub(crate) fn cancel(&mut self, key: &K) {
        self.armed.remove(key);
    }

    /// Returns the time at which [`Timers::pop_due`] has to be asked again: the earliest deadline, or earlier.
    pub(crate) fn next_deadline(&self) -> Option<i64> {
        self.queue.peek().map(|Reverse((time, _))| *time)
    }

    /// Disarms and returns a timer whose deadline has come, the earliest first.
    pub(crate) fn pop_due(&mut self, now: i64) -> Option<K> {
        while self.queue.peek().is_some_and(|Reverse((time, _))| *time <= now) {
            let Reverse((time, key)) = self.queue.pop()?;
            let Some(armed) = self.armed.get_mut(&key) else { continue };
            if armed.queued != time {
                continue;
            }
            if armed.deadline <= now {
                self.armed.remove(&key);
                return Some(key);
            }
            armed.queued = armed.deadline;
            self.queue.push(Reverse((armed.deadline, key)));
        }
        None
    }

    /// Returns whether a timer is armed.
    pub(crate) fn is_armed(&self, key: &K) -> bool {
        self.armed.contains_key(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_timers_come_in_the_order_of_their_deadlines() {
        let mut timers = Timers::default();
        timers.schedule("b", 20);
        timers.schedule("a", 10);
        timers.schedule("c", 30);
        assert_eq!(timers.next_deadline(), Some(10));
        assert_eq!(timers.pop_due(9), None);
        assert_eq!(timers.pop_due(20), Some("a"));
        assert_eq!(timers.pop_due(20), Some("b"));
        assert_eq!(timers.pop_due(20), None);
        assert_eq!(timers.next_deadline(), Some(30));
    }

    #[test]
    fn a_timer_moved_later_fires_at_its_last_deadline_only() {
        let mut timers = Timers::default();
        timers.schedule("a", 10);
        timers.schedule("a", 40);
        assert_eq!(timers.pop_due(39), None);
        assert_eq!(timers.pop_due(40), Some("a"));
        assert_eq!(timers.pop_due(100), None);
        assert_eq!(timers.next_deadline(), None);
    }

    #[test]
    fn a_timer_moved_earlier_fires_once_and_early() {
        let mut timers = Timers::default();
        timers.schedule("a", 300);
        timers.schedule("a", 10);
        assert_eq!(timers.pop_due(10), Some("a"));
        assert_eq!(timers.pop_due(400), None);
    }

    #[test]
    fn a_cancelled_timer_does_not_fire_and_can_be_armed_again() {
        let mut timers = Timers::default();
        timers.schedule("a", 10);
        timers.cancel(&"a");
        assert!(!timers.is_armed(&"a"));
        assert_eq!(timers.pop_due(10), None);
        timers.schedule("a", 20);
        assert_eq!(timers.pop_due(30), Some("a"));
        assert_eq!(timers.pop_due(30), None);
    }
}
