//! What of Java shows in the output of Kafka's tools: the order of a `HashMap`.

use vltava_client::TopicPartition;
use vltava_protocol::java;

/// A key of a Java `HashMap`.
pub(crate) trait JavaHash {
    /// Java's `hashCode()`.
    fn hash_code(&self) -> i32;
}

impl JavaHash for str {
    fn hash_code(&self) -> i32 {
        java::string_hash(self)
    }
}

impl JavaHash for String {
    fn hash_code(&self) -> i32 {
        java::string_hash(self)
    }
}

impl JavaHash for TopicPartition {
    fn hash_code(&self) -> i32 {
        java::partition_hash(self.topic(), self.partition())
    }
}

/// Sorts into the order in which a `HashMap` of Java iterates that was made for `capacity` entries
/// (16 where Java's default is used) and got these in turn.
pub(crate) fn hash_map_order<T, K: JavaHash + ?Sized>(entries: &mut [T], capacity: usize, key: impl Fn(&T) -> &K) {
    let table = java::made_for(capacity, entries.len());
    java::sort_by_bucket(entries, table, |entry| key(entry).hash_code());
}

#[cfg(test)]
mod tests {
    use super::hash_map_order;

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
