//! A stream of frames with requests in them, cut as the first bytes say.
#![no_main]

use bytes::BufMut;
use libfuzzer_sys::fuzz_target;
use vltava_protocol::frame::{FrameReader, decode_request_header};
use vltava_protocol::wire::Reader;

const LIMIT: usize = 1 << 16;

fuzz_target!(|data: &[u8]| {
    let [cut, stream @ ..] = data else { return };
    let mut frames = if cut % 2 == 0 { FrameReader::new(LIMIT) } else { FrameReader::trusting() };
    let mut rest = stream;
    while !rest.is_empty() {
        let mut room = frames.room();
        let length = (usize::from(*cut) + 1).min(rest.len()).min(room.chunk_mut().len());
        assert!(length > 0, "no room");
        let (now, later) = rest.split_at(length);
        room.put_slice(now);
        rest = later;
        loop {
            match frames.next_frame() {
                Ok(Some(frame)) => {
                    assert!(frame.len() <= stream.len());
                    let _ = decode_request_header(&mut Reader::new(frame));
                }
                Ok(None) => break,
                Err(_) => return,
            }
        }
        assert!(cut % 2 == 1 || frames.capacity() <= 4 * stream.len() + 16 * 1024);
    }
});
