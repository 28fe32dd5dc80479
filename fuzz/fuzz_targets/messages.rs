//! Any message in any version: what is read is written, and read as the same value.
//!
//! The first two bytes choose the message, the third the version. `tests/messages/hostile.rs` of the
//! protocol crate does the same on stable.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use vltava_protocol::wire::{Message, Reader, Writer};

type Target = fn(Bytes, u8);

macro_rules! targets {
    ($($message:ty,)*) => {
        const TARGETS: &[Target] = &[$(round_trip::<$message>,)*];
    };
}

vltava_protocol::for_each_message!(targets);

fn round_trip<M: Message>(bytes: Bytes, choice: u8) {
    let versions = i16::from(choice) % (M::MAX_VERSION - M::MIN_VERSION + 1);
    let version = M::MIN_VERSION + versions;
    let Ok(message) = M::decode(&mut Reader::new(bytes), version) else { return };
    let mut w = Writer::new();
    // Unknown tags in a wrong order are read, but not written.
    if message.encode(&mut w, version).is_err() {
        return;
    }
    let written = w.into_bytes();
    let mut r = Reader::new(written.clone());
    let again = M::decode(&mut r, version).expect("what was written is read");
    assert_eq!(r.remaining(), 0);
    let mut w = Writer::new();
    again.encode(&mut w, version).expect("what was written is written again");
    assert_eq!(w.into_bytes(), written);
}

fuzz_target!(|data: &[u8]| {
    let [high, low, version, body @ ..] = data else { return };
    let index = usize::from(u16::from_be_bytes([*high, *low])) % TARGETS.len();
    TARGETS[index](Bytes::copy_from_slice(body), *version);
});
