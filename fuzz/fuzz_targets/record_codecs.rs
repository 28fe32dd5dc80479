//! Compressed records: the first byte chooses the codec, the rest is compressed and decompressed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vltava_protocol::record::{Compression, Compressor, Decompressor};

const LIMIT: usize = 1 << 20;

fuzz_target!(|data: &[u8]| {
    let [choice, data @ ..] = data else { return };
    let compression = Compression::from_id(choice % 5).expect("there are five");
    let mut output = Vec::new();
    let mut decompressor = Decompressor::with_limit(LIMIT);
    if decompressor.decompress_into(compression, data, &mut output).is_ok() {
        assert!(output.len() <= LIMIT);
    }
    assert!(output.capacity() <= 2 * LIMIT);
    // Other streams have been read in between; that leaves nothing behind.
    let mut compressor = Compressor::new();
    let compressed = compressor.compress(compression.into(), data).expect("there is memory");
    let decompressed = decompressor.decompress(compression, compressed).expect("it was compressed so");
    assert_eq!(decompressed, data);
});
