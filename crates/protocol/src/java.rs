//! What Kafka's results owe to Java: hash codes, and the order in which its collections are iterated.
//!
//! Parts of what Kafka prints and decides depend on the order of a `HashMap` or a `HashSet`: by bucket, and within a
//! bucket by insertion. (Java turns buckets of more than eight entries into trees; that needs crafted keys, and is not
//! imitated.)

mod priority_queue;
mod tree_set;

pub use priority_queue::PriorityQueue;
pub use tree_set::TreeSet;

/// `String.hashCode()`.
#[must_use]
pub fn string_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0, |hash: i32, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

/// `Arrays.hashCode(byte[])`.
#[must_use]
pub fn bytes_hash(bytes: &[u8]) -> i32 {
    bytes.iter().fold(1, |hash: i32, byte| hash.wrapping_mul(31).wrapping_add(i32::from(byte.cast_signed())))
}

/// `Long.hashCode()`.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "the lower half of both halves' exclusive or")]
pub fn long_hash(value: i64) -> i32 {
    let bits = value.cast_unsigned();
    (bits ^ (bits >> 32)) as u32 as i32
}

/// `TopicPartition.hashCode()`.
#[must_use]
pub fn partition_hash(topic: &str, partition: i32) -> i32 {
    31_i32.wrapping_add(partition).wrapping_mul(31).wrapping_add(string_hash(topic))
}

/// The bucket of a hash code in a table of `table` buckets, a power of two.
#[must_use]
pub fn bucket(hash: i32, table: usize) -> usize {
    // The table uses the lower bits, into which Java folds the higher ones.
    let hash = hash.cast_unsigned();
    (hash ^ (hash >> 16)) as usize & table.saturating_sub(1)
}

/// The table size of a `HashSet` or `HashMap` that grew by single additions to `len` entries.
#[must_use]
pub fn grown(len: usize) -> usize {
    made_for(16, len)
}

/// The table size of a `HashSet` copied from a collection of `len` entries.
#[must_use]
pub fn copied(len: usize) -> usize {
    // (int) (len / .75f) + 1, at least 16, rounded up to a power of two.
    (len * 4 / 3 + 1).max(16).next_power_of_two()
}

/// The table size of a `HashMap` that was made for `capacity` entries and got `len` of them.
#[must_use]
pub fn made_for(capacity: usize, len: usize) -> usize {
    let mut table = capacity.max(1).next_power_of_two();
    while len > table - table / 4 - usize::from(table < 4) {
        table *= 2;
    }
    table
}

/// Sorts into the iteration order of a hash table of `table` buckets into which the items went in their order.
pub fn sort_by_bucket<T>(items: &mut [T], table: usize, hash: impl Fn(&T) -> i32) {
    items.sort_by_key(|item| bucket(hash(item), table));
}

/// Strings in the iteration order of a hash table of `table` buckets into which they went in their order.
#[must_use]
pub fn hash_order<T: AsRef<str>>(mut items: Vec<T>, table: usize) -> Vec<T> {
    sort_by_bucket(&mut items, table, |item| string_hash(item.as_ref()));
    items
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
        // Arrays.hashCode(new byte[] {1, -1}): (31 + 1) * 31 - 1
        assert_eq!(bytes_hash(&[1, 0xff]), 991);
    }

    #[test]
    fn tables_grow_at_three_quarters() {
        assert_eq!([12, 13, 24, 25].map(grown), [16, 32, 32, 64]);
        assert_eq!([11, 12, 23, 24].map(copied), [16, 32, 32, 64]);
        assert_eq!([3, 4].map(|len| made_for(4, len)), [4, 8]);
        assert_eq!(made_for(3, 3), 4);
    }

    #[test]
    fn strings_in_the_order_of_a_hash_set() {
        // "Aa" and "BB" share a bucket, 2112 % 16 = 0, and stay in their order; "a" is 97 % 16 = 1, "b" 2.
        assert_eq!(hash_order(vec!["b", "BB", "a", "Aa"], copied(4)), ["BB", "Aa", "a", "b"]);
    }
}
