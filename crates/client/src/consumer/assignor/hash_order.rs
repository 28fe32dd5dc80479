//! The iteration order of Java's hash tables.
//!
//! Some results of Kafka's sticky assignors depend on the order in which a `HashMap` of member ids
//! or a `HashSet` of partitions is iterated: which member keeps one partition more, which of
//! several movements is undone first. To give the same results, this module reproduces that order:
//! by bucket, and within a bucket by insertion.

use vltava_protocol::java::{bucket, grown, string_hash};

/// Positions of `keys`, which were inserted in the given order, in the order of iteration.
pub(super) fn iteration_order<'a>(keys: impl ExactSizeIterator<Item = &'a str>) -> Vec<usize> {
    let capacity = grown(keys.len());
    let mut order: Vec<(usize, usize)> =
        keys.enumerate().map(|(at, key)| (bucket(string_hash(key), capacity), at)).collect();
    order.sort_unstable();
    order.into_iter().map(|(_, at)| at).collect()
}

/// A set that can tell which element Java's `HashSet` iterates first.
#[derive(Debug, Clone, Default)]
pub(super) struct HashOrderedSet {
    /// Hash code and value, in order of insertion.
    entries: Vec<(i32, usize)>,
    /// The largest size so far: tables never shrink.
    peak: usize,
}

impl HashOrderedSet {
    pub(super) fn insert(&mut self, hash: i32, value: usize) {
        if !self.entries.iter().any(|&(_, v)| v == value) {
            self.entries.push((hash, value));
            self.peak = self.peak.max(self.entries.len());
        }
    }

    pub(super) fn remove(&mut self, value: usize) {
        self.entries.retain(|&(_, v)| v != value);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn first(&self) -> Option<usize> {
        let capacity = grown(self.peak);
        self.entries.iter().min_by_key(|&&(hash, _)| bucket(hash, capacity)).map(|&(_, v)| v)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iterates_by_bucket_then_insertion() {
        // "Aa" and "BB" share a bucket, 2112 % 16 = 0; "b" is 98 % 16 = 2; "a" is 97 % 16 = 1.
        let keys = ["b", "BB", "a", "Aa"];
        assert_eq!(iteration_order(keys.iter().copied()), [1, 3, 2, 0]);
    }
}
