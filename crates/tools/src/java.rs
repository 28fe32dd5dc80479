//! What of Java shows in the output of Kafka's tools: the order of a `HashMap`.

use vltava_client::TopicPartition;

/// A key of a Java `HashMap`.
pub(crate) trait JavaHash {
    /// Java's `hashCode()`.
    fn hash_code(&self) -> i32;
}

impl JavaHash for str {
    fn hash_code(&self) -> i32 {
        self.encode_utf16().fold(0, |hash: i32, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
    }
}

impl JavaHash for String {
    fn hash_code(&self) -> i32 {
        self.as_str().hash_code()
    }
}

impl JavaHash for TopicPartition {
    fn hash_code(&self) -> i32 {
        31_i32.wrapping_add(self.partition()).wrapping_mul(31).wrapping_add(self.topic().hash_code())
    }
}

/// Sorts into the order in which a `HashMap` of Java iterates that was made for `capacity` entries
/// (16 where Java's default is used) and got these in turn.
///
/// Buckets with eight or more keys, which Java turns into trees, are not imitated.
pub(crate) fn hash_map_order<T, K: JavaHash + ?Sized>(entries: &mut [T], capacity: usize, key: impl Fn(&T) -> &K) {
    let mut buckets = capacity.max(1).next_power_of_two();
    while entries.len() > buckets - buckets / 4 - usize::from(buckets < 4) {
        buckets *= 2;
    }
    entries.sort_by_key(|entry| {
        let hash = key(entry).hash_code().cast_unsigned();
        // The table uses the lower bits, into which Java folds the higher ones.
        (hash ^ (hash >> 16)) as usize & (buckets - 1)
    });
}

#[cfg(test)]
mod tests {
    use super::{JavaHash, hash_map_order};
    use vltava_client::TopicPartition;

    #[test]
    fn hashes_are_javas() {
        assert_eq!("hello".hash_code(), 99_162_322);
        assert_eq!("".hash_code(), 0);
        // (31 + partition) * 31 + "a".hashCode()
        assert_eq!(TopicPartition::new("a", 2).hash_code(), 33 * 31 + 97);
    }

    #[test]
    fn order_is_by_bucket() {
        // "a" to "d" have the hashes 97 to 100: buckets 1 to 4 of 16.
        let mut letters = ["d", "b", "a", "c"];
        hash_map_order(&mut letters, 16, |letter| *letter);
        assert_eq!(letters, ["a", "b", "c", "d"]);
        // In a table of four buckets, "d" (100) comes first; three entries fit into it.
        let mut letters = ["b", "c", "d"];
        hash_map_order(&mut letters, 3, |letter| *letter);
        assert_eq!(letters, ["d", "b", "c"]);
        // A fourth makes it grow to eight.
        let mut letters = ["a", "b", "c", "d"];
        hash_map_order(&mut letters, 4, |letter| *letter);
        assert_eq!(letters, ["a", "b", "c", "d"]);
    }
}
