//! Random topologies with random records, through the test driver: no panic, no hang, no failure, and the same bytes come
//! to the same records. The generator is that of `crates/streams/tests/random_topologies`.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/streams/tests/random_topologies/generator.rs"]
mod generator;

fuzz_target!(|bytes: &[u8]| generator::check(bytes));
