//! Generations: which batches may go to a broker together, and which before which.
//!
//! A batch collects records for a while, and so do those of other partitions beside it: records that were given one after
//! the other lie in both. If one of the batches went first, what was given first would arrive later. So the batches that are
//! open at the same time for one broker are a *generation*: they go in one request, and generations go in their order. A
//! generation ends when the sender takes it, when one of its partitions needs a second batch (a request carries one of each),
//! and when it has grown to `max.request.size`. From then on every record goes into the next one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

/// The node of partitions whose leader is not known.
pub(crate) const NOWHERE: i32 = -1;

/// All lanes of a producer: one for each broker, and another one for what is held back there.
#[derive(Debug)]
pub(crate) struct Lanes {
    limit: usize,
    clock: Arc<AtomicU64>,
    lanes: Mutex<BTreeMap<(i32, bool), Arc<Lane>>>,
}

impl Lanes {
    /// `limit` is `max.request.size`.
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, clock: Arc::default(), lanes: Mutex::default() }
    }

    /// The lane of the partitions that this node leads.
    pub(crate) fn get(&self, node: i32, is_held: bool) -> Arc<Lane> {
        let mut lanes = self.lanes.lock();
        let lane = lanes.entry((node, is_held)).or_insert_with(|| Arc::new(Lane::new(self.limit, &self.clock)));
        Arc::clone(lane)
    }
}

/// What collects batches for one broker.
#[derive(Debug)]
pub(crate) struct Lane {
    limit: usize,
    /// Counts the generations of all lanes, so that they can be compared when a partition moves to another broker.
    clock: Arc<AtomicU64>,
    /// Changed under the lock of `size`.
    generation: AtomicU64,
    /// Bytes of the generation's batches.
    size: Mutex<usize>,
}

impl Lane {
    fn new(limit: usize, clock: &Arc<AtomicU64>) -> Self {
        let lane = Self { limit, clock: Arc::clone(clock), generation: AtomicU64::new(0), size: Mutex::new(0) };
        lane.advance(&mut lane.size.lock());
        lane
    }

    /// The generation that records go into now.
    #[inline]
    pub(crate) fn current(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Takes `bytes` more into the generation. `false` if it is not the current one, or has no room for them and has
    /// therefore ended.
    pub(crate) fn charge(&self, generation: u64, bytes: usize) -> bool {
        let mut size = self.size.lock();
        if self.current() != generation {
            return false;
        }
        if *size > 0 && size.saturating_add(bytes) > self.limit {
            self.advance(&mut size);
            return false;
        }
        *size = size.saturating_add(bytes);
        true
    }

    /// Ends the generation if it is the current one.
    pub(crate) fn close(&self, generation: u64) {
        if self.current() != generation {
            return;
        }
        let mut size = self.size.lock();
        if self.current() == generation {
            self.advance(&mut size);
        }
    }

    fn advance(&self, size: &mut usize) {
        *size = 0;
        let next = self.clock.fetch_add(1, Ordering::AcqRel) + 1;
        self.generation.store(next, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_ends_when_it_is_full_or_closed() {
        let lanes = Lanes::new(100);
        let lane = lanes.get(1, false);
        let first = lane.current();
        assert!(lane.charge(first, 300), "the first of a generation always fits");
        assert!(!lane.charge(first, 1));
        let second = lane.current();
        assert!(second > first);
        assert!(!lane.charge(first, 1), "it is over");
        assert!(lane.charge(second, 60) && lane.charge(second, 40));
        lane.close(first);
        assert_eq!(lane.current(), second);
        lane.close(second);
        assert!(lane.current() > second);
    }

    #[test]
    fn lanes_do_not_share_generations() {
        let lanes = Lanes::new(100);
        let all = [(1, false), (1, true), (2, false)].map(|(node, is_held)| lanes.get(node, is_held).current());
        assert!(all[0] < all[1] && all[1] < all[2]);
        assert_eq!(lanes.get(1, false).current(), all[0]);
    }
}
