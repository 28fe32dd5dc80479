//! Any bytes give a value or an error, in every message and version.

use bytes::Bytes;
use proptest::prelude::*;

use crate::codecs::{self, Codec, Failure};
use crate::schema::{self, Random};

/// Reads the bytes as every version of the message; what is read is written and read alike.
fn offer(codec: &Codec, bytes: &Bytes) {
    for version in codec.min..=codec.max {
        match (codec.round_trip)(bytes.clone(), version) {
            Ok(written) => {
                let again = (codec.round_trip)(written.clone(), version);
                assert_eq!(again, Ok(written), "{} version {version}", codec.name);
            }
            Err(Failure::Decode(_) | Failure::Encode(_)) => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 4, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let bytes = Bytes::from(bytes);
        for codec in codecs::all() {
            offer(&codec, &bytes);
        }
    }

    #[test]
    fn small_numbers_are_read_or_refused(bytes in prop::collection::vec(0u8..4, 0..300)) {
        // Small numbers pass for lengths and counts: this gets deeper into the messages.
        let bytes = Bytes::from(bytes);
        for codec in codecs::all() {
            offer(&codec, &bytes);
        }
    }
}

#[test]
fn damaged_messages_are_read_or_refused() {
    let codecs = codecs::all();
    let schemas = schema::load();
    let mut random = Random(3);
    for (codec, schema) in codecs.iter().flat_map(|codec| {
        let is_same = |schema: &&schema::Schema| schema.name == codec.name && schema.module == codec.module;
        schemas.iter().find(is_same).map(|schema| (codec, schema))
    }) {
        for version in schema.min..=schema.max {
            for _ in 0..20 {
                let mut bytes = schema.sample(version, &mut random, true);
                for _ in 0..1 + random.below(3) {
                    let at = random.below(bytes.len().max(1) as u64) as usize;
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte = [0, 0x7f, 0x80, 0xff, random.next() as u8][random.below(5) as usize];
                    }
                }
                let _ = (codec.round_trip)(Bytes::from(bytes), version);
            }
        }
    }
}

#[test]
fn what_is_allocated_is_bounded_by_the_bytes() {
    const SIZE: usize = 20_000;
    // A value takes more room than its shortest form on the wire, but no stated count is believed.
    const FACTOR: u64 = 32;
    let lies: [&[u8]; 7] =
        [&[0], &[1], &[2], &[0, 0, 0, 1], &[0x7f, 0xff, 0xff, 0xff], &[0xff, 0xff, 0x7f], &[0, 0, 0x20, 0]];
    let mut worst = (0, String::new());
    for codec in codecs::all() {
        for lie in lies {
            for shift in 0..lie.len().min(4) {
                let bytes: Bytes = lie.iter().cycle().skip(shift).take(SIZE).copied().collect();
                for version in codec.min..=codec.max {
                    let allocated = allocation_counter::measure(|| {
                        let _ = (codec.decode)(bytes.clone(), version);
                    });
                    worst = worst.max((allocated.bytes_max, format!("{} {version} {lie:?}", codec.name)));
                }
            }
        }
    }
    assert!(worst.0 < FACTOR * SIZE as u64, "{worst:?}");
}
