//! Murmur3 in 128 bits, as Kafka hashes the values of foreign-key joins: with its own seed.

const C1: u64 = 0x87c3_7b91_1142_53d5;
const C2: u64 = 0x4cf5_ad43_2745_937f;
const SEED: u64 = 104_729;

/// The hash of bytes, as its two halves.
pub(crate) fn hash128(bytes: &[u8]) -> [u64; 2] {
    let (mut h1, mut h2) = (SEED, SEED);
    let (blocks, rest) = bytes.as_chunks::<16>();
    for block in blocks {
        let (k1, k2) = mixed(block);
        h1 = (h1 ^ k1).rotate_left(27).wrapping_add(h2).wrapping_mul(5).wrapping_add(0x52dc_e729);
        h2 = (h2 ^ k2).rotate_left(31).wrapping_add(h1).wrapping_mul(5).wrapping_add(0x3849_5ab5);
    }
    // Zeros change nothing, so the rest may be filled up with them.
    let mut block = [0; 16];
    block.iter_mut().zip(rest).for_each(|(place, byte)| *place = *byte);
    let (k1, k2) = mixed(&block);
    let len = bytes.len() as u64;
    (h1, h2) = added(h1 ^ k1 ^ len, h2 ^ k2 ^ len);
    let (h1, h2) = added(finished(h1), finished(h2));
    [h1, h2]
}

fn mixed(block: &[u8; 16]) -> (u64, u64) {
    let block = u128::from_le_bytes(*block);
    let (k1, k2) = (block as u64, (block >> 64) as u64);
    (k1.wrapping_mul(C1).rotate_left(31).wrapping_mul(C2), k2.wrapping_mul(C2).rotate_left(33).wrapping_mul(C1))
}

fn added(h1: u64, h2: u64) -> (u64, u64) {
    let h1 = h1.wrapping_add(h2);
    (h1, h2.wrapping_add(h1))
}

fn finished(mut h: u64) -> u64 {
    h = (h ^ (h >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    h = (h ^ (h >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    h ^ (h >> 33)
}

#[cfg(test)]
mod tests {
    use super::hash128;

    /// As they stand in the subscriptions that Kafka Streams 4.3.1 sends for these values.
    #[test]
    fn hashes_are_kafkas() {
        let cases = [
            ("c1,10", [0x65d3_5b60_8c9d_4d05, 0xa58e_308f_34ca_abb3]),
            ("c2,20", [0x758b_3fe4_5db7_60e9, 0x2011_3afe_b75a_882e]),
            ("c1,30", [0xe233_bf15_e66e_a2a2, 0x2c2e_c4b9_8596_cab8]),
            ("c2,11", [0xfab8_7982_7f49_e522, 0xe631_2991_de0b_355a]),
        ];
        for (value, hash) in cases {
            assert_eq!(hash128(value.as_bytes()), hash, "{value}");
        }
    }

    #[test]
    fn every_byte_counts_whatever_the_length() {
        let mut seen = std::collections::HashSet::new();
        for len in 0..=48 {
            let bytes = vec![0; len];
            assert!(seen.insert(hash128(&bytes)), "{len} zeros");
            for at in 0..len {
                let mut bytes = bytes.clone();
                bytes[at] = 1;
                assert!(seen.insert(hash128(&bytes)), "byte {at} of {len}");
            }
        }
    }
}
