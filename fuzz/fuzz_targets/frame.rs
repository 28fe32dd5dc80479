//! A stream of frames with requests in them, cut as the first bytes say.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use vltava_protocol::frame::{FrameDecoder, decode_request_header};
use vltava_protocol::wire::Reader;

const LIMIT: usize = 1 << 16;

fuzz_target!(|data: &[u8]| {
    let [cut, stream @ ..] = data else { return };
    let decoder = FrameDecoder::new(LIMIT);
    let mut buf = BytesMut::new();
    for part in stream.chunks(usize::from(*cut) + 1) {
        buf.extend_from_slice(part);
        loop {
            match decoder.decode(&mut buf) {
                Ok(Some(frame)) => {
                    assert!(frame.len() <= LIMIT);
                    let _ = decode_request_header(&mut Reader::new(frame));
                }
                Ok(None) => break,
                Err(_) => return,
            }
        }
        assert!(buf.capacity() <= 2 * (LIMIT + stream.len() + 512 * 1024));
    }
});
