/// Kafka's hash of record keys: 32-bit MurmurHash2 with Kafka's seed, as the signed integer that
/// Java sees.
pub fn murmur2(data: &[u8]) -> i32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    const R: u32 = 24;

    // Java's arrays have at most 2^31 - 1 bytes; the length is mixed in modulo 2^32.
    let mut hash = SEED ^ data.len() as u32;
    let (words, tail) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> R;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !tail.is_empty() {
        let last = tail.iter().rev().fold(0, |k, &byte| k << 8 | u32::from(byte));
        hash = (hash ^ last).wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    (hash ^ (hash >> 15)) as i32
}

/// The partition that Kafka's default partitioner gives a key, of `partitions` (> 0) partitions:
/// the hash without its sign bit, modulo the number of partitions. Without partitions it is 0.
pub fn partition_for_key(key: &[u8], partitions: i32) -> i32 {
    // Clears the sign bit and does not negate: for i32::MIN and all negative hashes that differs.
    let positive = murmur2(key) & i32::MAX;
    positive.checked_rem(partitions).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hashes that Apache Kafka's own tests and `Utils.murmur2` give.
    #[test]
    fn hashes_are_those_of_apache_kafka() {
        for (key, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()), hash, "{key}");
        }
    }

    #[test]
    fn a_negative_hash_loses_its_sign_bit() {
        assert_eq!(partition_for_key(b"foobar", 10), (-790_332_482_i32 & 0x7fff_ffff) % 10);
        assert_eq!(partition_for_key(b"abc", 7), 479_470_107 % 7);
        assert_eq!(partition_for_key(b"abc", 0), 0);
    }
}
