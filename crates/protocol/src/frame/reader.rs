//! A stream of bytes, cut into frames.

use std::collections::VecDeque;

use bytes::buf::Limit;
use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::LENGTH_SIZE;
use crate::Error;

/// How much is read at a time from a peer that is not trusted, as long as no longer frame is under way.
const FIRST_READ: usize = 8 << 10;
/// Up to here a buffer may grow to four times of what came, beyond to twice: few copies for usual requests, little
/// claimed for large ones.
const FAST_GROWTH: usize = 1 << 20;

/// How much is read at a time from a trusted peer.
const TRUSTED_READ: usize = 64 << 10;
/// How much address space a trusted peer's announced length may claim before its bytes are there. Memory that nothing
/// was read into costs nothing.
const CLAIM: usize = 64 << 20;
/// Long buffers come in multiples of this, so that one fits frames of about the same length.
const GRAIN: usize = 256 << 10;
/// How many buffers wait for their frames to be dropped: while one is read into, one may be at work and one be next.
const KEPT: usize = 2;
/// Longer buffers are not kept: they would hold their memory while nothing comes.
const LONGEST_KEPT: usize = 16 << 20;

/// Cuts a stream of bytes into frames, which are slices of the buffer that was read into.
///
/// Whoever has the socket reads into [`room`](Self::room), and then takes [frames](Self::next_frame) until there is no
/// whole one.
///
/// # Examples
///
/// ```
/// use bytes::BufMut;
/// use vltava_protocol::frame::FrameReader;
///
/// let mut frames = FrameReader::new(1024);
/// frames.room().put_slice(&[0, 0, 0, 2, b'h', b'i', 0, 0]);
/// assert_eq!(frames.next_frame()?.as_deref(), Some(&b"hi"[..]));
/// assert_eq!(frames.next_frame()?, None);
/// # Ok::<(), vltava_protocol::Error>(())
/// ```
#[derive(Debug)]
pub struct FrameReader {
    max_size: usize,
    trusting: bool,
    buffer: BytesMut,
    /// The ends of buffers whose frames may still be in use. Of a trusted peer only.
    kept: VecDeque<BytesMut>,
}

impl FrameReader {
    /// A reader for whoever may connect; frames of more than `max_size` bytes, their length not counted, are refused.
    ///
    /// A length is a claim: the buffer grows with the bytes that came. A long frame has a buffer of its own, which is
    /// given back with the frame.
    pub fn new(max_size: usize) -> Self {
        Self { max_size, trusting: false, buffer: BytesMut::new(), kept: VecDeque::new() }
    }

    /// A reader for a peer that was chosen: its announced lengths are believed up to 64 MiB, and buffers are used again
    /// when their frames are gone. Frames may have any length.
    pub fn trusting() -> Self {
        Self { max_size: i32::MAX as usize, trusting: true, ..Self::new(0) }
    }

    /// Refuses frames of more than `max_size` bytes from now on: who has shown who it is may send more than others.
    pub fn limit(&mut self, max_size: usize) {
        self.max_size = max_size;
    }

    /// The size of the frame under way, if its length is there; its bytes may be there or not.
    ///
    /// # Errors
    /// [`Error::FrameTooLarge`] or [`Error::InvalidFrameSize`] as soon as the length is there. The stream has lost its
    /// sense then: the connection is to be closed.
    pub fn announced(&self) -> Result<Option<usize>, Error> {
        let Some(length) = self.buffer.first_chunk::<LENGTH_SIZE>() else {
            return Ok(None);
        };
        let length = i32::from_be_bytes(*length);
        let size = usize::try_from(length).map_err(|_| Error::InvalidFrameSize(length))?;
        if size > self.max_size {
            return Err(Error::FrameTooLarge { size, limit: self.max_size });
        }
        Ok(Some(size))
    }

    /// Takes the next frame, without its length, if it is there as a whole.
    ///
    /// # Errors
    /// As [`announced`](Self::announced).
    pub fn next_frame(&mut self) -> Result<Option<Bytes>, Error> {
        let Some(size) = self.announced()? else { return Ok(None) };
        if self.buffer.len() - LENGTH_SIZE < size {
            return Ok(None);
        }
        self.buffer.advance(LENGTH_SIZE);
        Ok(Some(self.buffer.split_to(size).freeze()))
    }

    /// Where the next bytes of the stream go: never without room.
    pub fn room(&mut self) -> Limit<&mut BytesMut> {
        let most = if self.trusting { self.make_trusted_room() } else { self.make_wary_room() };
        (&mut self.buffer).limit(most)
    }

    /// How many bytes came that are in no frame taken.
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// How many bytes the buffer under way may hold: what the reader has of memory, frames taken not counted.
    pub fn capacity(&self) -> usize {
        self.buffer.capacity()
    }

    /// The length of the frame under way with its head, where it is known, possible and not whole.
    fn unfinished(&self) -> Option<usize> {
        let whole = self.announced().ok().flatten()? + LENGTH_SIZE;
        (whole > self.buffer.len()).then_some(whole)
    }

    /// Makes room that grows with what came, and returns how much of it may be used: a long frame's buffer takes
    /// nothing of the frame behind it, which would hold it.
    fn make_wary_room(&mut self) -> usize {
        let came = self.buffer.len();
        match self.unfinished() {
            Some(whole) if whole > FIRST_READ => {
                if self.buffer.capacity() == came {
                    let grown = if came <= FAST_GROWTH / 4 { 4 * came } else { 2 * came };
                    self.reserve(grown.max(FIRST_READ).min(whole) - came);
                }
                whole - came
            }
            _ => {
                if self.buffer.capacity() - came < FIRST_READ / 8 {
                    self.reserve(FIRST_READ);
                }
                usize::MAX
            }
        }
    }

    fn reserve(&mut self, more: usize) {
        if self.buffer.try_reclaim(more) {
            return;
        }
        let mut larger = BytesMut::with_capacity(self.buffer.len() + more);
        larger.extend_from_slice(&self.buffer);
        self.buffer = larger;
    }

    fn make_trusted_room(&mut self) -> usize {
        match self.unfinished() {
            Some(whole) if self.buffer.capacity() < whole.min(CLAIM) => self.find_buffer(whole.min(CLAIM)),
            Some(whole) if self.buffer.capacity() == self.buffer.len() => {
                let more = self.buffer.len().min(whole - self.buffer.len());
                self.buffer.reserve(more);
            }
            Some(_) => {}
            None => self.buffer.reserve(TRUSTED_READ),
        }
        usize::MAX
    }

    /// Finds a buffer for so many bytes: this one, one that is free again, or a new one.
    fn find_buffer(&mut self, length: usize) {
        if self.buffer.try_reclaim(length.saturating_sub(self.buffer.len())) {
            return;
        }
        let free = self.kept.iter_mut().position(|kept| kept.try_reclaim(length));
        let mut other = match free.and_then(|at| self.kept.remove(at)) {
            Some(other) => other,
            None => BytesMut::with_capacity(length.next_multiple_of(if length > GRAIN { GRAIN } else { TRUSTED_READ })),
        };
        let long = (GRAIN..=LONGEST_KEPT).contains(&other.capacity());
        other.extend_from_slice(&self.buffer);
        let mut before = std::mem::replace(&mut self.buffer, other);
        before.clear();
        if long {
            self.kept.push_back(before);
            if self.kept.len() > KEPT {
                self.kept.pop_front();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn framed(frames: &[Vec<u8>]) -> Vec<u8> {
        let framed = |frame: &Vec<u8>| [&u32::try_from(frame.len()).unwrap().to_be_bytes(), &frame[..]].concat();
        frames.iter().flat_map(framed).collect()
    }

    /// Gives the reader what it has room for, at most `most` bytes at a time.
    fn feed(reader: &mut FrameReader, stream: &mut &[u8], most: usize) -> usize {
        let mut room = reader.room();
        let available = room.chunk_mut().len();
        assert!(available > 0, "no room");
        let (now, later) = stream.split_at(stream.len().min(most).min(available));
        room.put_slice(now);
        *stream = later;
        now.len()
    }

    fn read_all(reader: &mut FrameReader, mut stream: &[u8], most: usize) -> Vec<Bytes> {
        let mut found = Vec::new();
        loop {
            while let Some(frame) = reader.next_frame().unwrap() {
                found.push(frame);
            }
            if feed(reader, &mut stream, most) == 0 {
                return found;
            }
        }
    }

    #[test]
    fn absurd_lengths_are_refused_at_once() {
        for (length, expected) in [
            (1001, Error::FrameTooLarge { size: 1001, limit: 1000 }),
            (i32::MAX, Error::FrameTooLarge { size: i32::MAX as usize, limit: 1000 }),
            (-1, Error::InvalidFrameSize(-1)),
            (i32::MIN, Error::InvalidFrameSize(i32::MIN)),
        ] {
            let mut reader = FrameReader::new(1000);
            reader.room().put_slice(&length.to_be_bytes());
            assert_eq!(reader.next_frame(), Err(expected));
        }
    }

    #[test]
    fn memory_follows_what_came_and_not_what_was_announced() {
        let mut reader = FrameReader::new(100 << 20);
        let stream = framed(&[vec![7; 40 << 20]]);
        let mut half = &stream[..20 << 20];
        while !half.is_empty() {
            let came = reader.buffered();
            feed(&mut reader, &mut half, 1 << 16);
            assert_eq!(reader.next_frame(), Ok(None));
            let most = if came < FAST_GROWTH { 4 * came } else { 2 * came };
            assert!(reader.capacity() <= most.max(FIRST_READ) + (1 << 16), "{} for {came}", reader.capacity());
        }
    }

    #[test]
    fn a_long_frame_takes_its_buffer_with_it() {
        let mut reader = FrameReader::new(100 << 20);
        let stream = framed(&[vec![1; 3], vec![2; 5 << 20], vec![3; 4]]);
        let found = read_all(&mut reader, &stream, usize::MAX);
        assert_eq!(found.iter().map(Bytes::len).collect::<Vec<_>>(), [3, 5 << 20, 4]);
        assert!(reader.capacity() <= FIRST_READ, "{}", reader.capacity());
        // Nothing but the frame is in its memory.
        assert!(found[1].clone().is_unique() || found[1].len() == 5 << 20);
        let mut long = found.into_iter().nth(1).unwrap().try_into_mut().unwrap();
        assert!(!long.try_reclaim(1 << 20), "the buffer is longer than its frame");
    }

    #[test]
    fn a_trusted_peers_buffer_is_used_again_when_its_frame_is_gone() {
        let stream = framed(&vec![vec![1; 2 * GRAIN]; 12]);
        let mut reader = FrameReader::trusting();
        let mut stream = &stream[..];
        let mut seen = std::collections::HashSet::new();
        let mut last = None;
        while !stream.is_empty() {
            feed(&mut reader, &mut stream, usize::MAX);
            while let Some(frame) = reader.next_frame().unwrap() {
                seen.insert(frame.as_ptr() as usize / GRAIN);
                last = Some(frame);
            }
        }
        drop(last);
        assert!(seen.len() <= 6, "{} buffers", seen.len());
    }

    #[test]
    fn frames_of_all_lengths_come_whole() {
        let lengths = [
            0,
            1,
            FIRST_READ - 4,
            FIRST_READ,
            TRUSTED_READ - 4,
            TRUSTED_READ,
            3,
            2 * GRAIN + 7,
            5,
            GRAIN,
            GRAIN - 1,
            9,
        ];
        let frames: Vec<Vec<u8>> = lengths.iter().zip(1_u8..).map(|(length, fill)| vec![fill; *length]).collect();
        let stream = framed(&frames);
        for mut reader in [FrameReader::new(usize::MAX), FrameReader::trusting()] {
            assert_eq!(read_all(&mut reader, &stream, usize::MAX), frames);
            assert_eq!(reader.buffered(), 0);
        }
    }

    proptest! {
        #[test]
        fn frames_are_found_wherever_the_stream_is_cut(
            lengths in prop::collection::vec(prop_oneof![0_usize..50, 8000_usize..9000, 60_000_usize..70_000], 0..8),
            cut in prop_oneof![1_usize..20, 1000_usize..100_000],
            trusting in any::<bool>(),
        ) {
            let frames: Vec<Vec<u8>> = lengths.iter().zip(1_u8..).map(|(length, fill)| vec![fill; *length]).collect();
            let mut reader = if trusting { FrameReader::trusting() } else { FrameReader::new(70_000) };
            prop_assert_eq!(read_all(&mut reader, &framed(&frames), cut), frames);
            prop_assert_eq!(reader.buffered(), 0);
        }
    }
}
