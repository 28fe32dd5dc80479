//! Random topologies with random records: nothing panics, nothing fails, and the same bytes come to the same records.
#![allow(missing_docs, clippy::indexing_slicing, unreachable_pub, reason = "a test")]

mod generator;

use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases * 6 / 5, failure_persistence: None, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn what_bytes_come_to_is_decided_by_them(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        generator::check(&bytes);
    }
}
