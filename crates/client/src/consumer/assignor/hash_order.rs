//! The iteration order of Java's hash tables.
//!
//! Some results of Kafka's sticky assignors depend on the order in which a `HashMap` of member ids
//! or a `HashSet` of partitions is iterated: which member keeps one partition more, which of
//! several movements is undone first. To give the same results, this module reproduces that order:
//! by bucket, and within a bucket by insertion. (Java turns buckets of more than eight entries into
//! trees; that needs crafted ids, and then only changes which of several equal choices is taken.)

/// `String.hashCode()`.
pub(super) fn string_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0i32, |h, unit| h.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

/// `TopicPartition.hashCode()`.
pub(super) fn partition_hash(topic: &str, partition: i32) -> i32 {
    31i32.wrapping_add(partition).wrapping_mul(31).wrapping_add(string_hash(topic))
}

/// The bucket of a hash code in a table of `capacity` buckets (a power of two).
fn bucket(hash: i32, capacity: usize) -> usize {
    let hash = hash.cast_unsigned();
    let spread = hash ^ (hash >> 16);
    spread as usize & (capacity - 1)
}

/// The table size after `len` insertions into an empty `HashMap` of default size.
fn capacity_for(len: usize) -> usize {
    let mut capacity = 16;
    while len > capacity / 4 * 3 {
        capacity *= 2;
    }
    capacity
}

/// Positions of `keys`, which were inserted in the given order, in the order of iteration.
pub(super) fn iteration_order<'a>(keys: impl ExactSizeIterator<Item = &'a str>) -> Vec<usize> {
    let capacity = capacity_for(keys.len());
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
        let capacity = capacity_for(self.peak);
        self.entries.iter().min_by_key(|&&(hash, _)| bucket(hash, capacity)).map(|&(_, v)| v)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_codes_are_javas() {
        assert_eq!(string_hash(""), 0);
        assert_eq!(string_hash("Aa"), 2112);
        assert_eq!(string_hash("BB"), 2112);
        assert_eq!(string_hash("hello"), 99_162_322);
        assert_eq!(partition_hash("Aa", 3), (31 + 3) * 31 + 2112);
    }

    #[test]
    fn iterates_by_bucket_then_insertion() {
        // "Aa" and "BB" share a bucket, 2112 % 16 = 0; "b" is 98 % 16 = 2; "a" is 97 % 16 = 1.
        let keys = ["b", "BB", "a", "Aa"];
        assert_eq!(iteration_order(keys.iter().copied()), [1, 3, 2, 0]);
    }

    #[test]
    fn tables_grow_at_three_quarters() {
        assert_eq!(capacity_for(12), 16);
        assert_eq!(capacity_for(13), 32);
        assert_eq!(capacity_for(25), 64);
    }
}
