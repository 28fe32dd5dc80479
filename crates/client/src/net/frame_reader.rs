//! Frames from a socket, each as one slice of a buffer that is used again when its records are gone.

use std::collections::VecDeque;
use std::io;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::connection::Failure;
use crate::error::ClientError;

/// How much is read at a time when no longer frame is expected.
const READ_SIZE: usize = 64 << 10;
/// How much address space a frame's announced length may claim before its bytes are there. Memory that nothing was
/// read into costs nothing.
const CLAIM: usize = 64 << 20;
/// Long buffers come in multiples of this, so that one fits frames of about the same length.
const GRAIN: usize = 256 << 10;
/// How many buffers wait for their frames to be dropped: while one is read into, one may be at work and one be next.
const KEPT: usize = 2;
/// Longer buffers are not kept: they would hold their memory while nothing comes.
const LONGEST_KEPT: usize = 16 << 20;

/// The first answer is one to `ApiVersions`: what announces more is something else.
const LONGEST_FIRST: usize = 16 << 20;

/// Reads frames: four bytes of length, then that many.
pub(super) struct FrameReader<R> {
    read: R,
    buffer: BytesMut,
    /// The ends of buffers whose frames may still be in use.
    kept: VecDeque<BytesMut>,
    is_first: bool,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub(super) fn new(read: R) -> Self {
        FrameReader { read, buffer: BytesMut::with_capacity(READ_SIZE), kept: VecDeque::new(), is_first: true }
    }

    /// The next frame, without its length.
    pub(super) async fn next(&mut self) -> Result<Bytes, Failure> {
        while self.buffer.len() < 4 {
            self.buffer.reserve(READ_SIZE);
            self.fill().await?;
        }
        let head = self.buffer.first_chunk::<4>().copied().unwrap_or_default();
        let length = usize::try_from(i32::from_be_bytes(head)).ok();
        if std::mem::take(&mut self.is_first) && length.is_none_or(|length| length > LONGEST_FIRST) {
            return Err(Failure::NotKafka(guess(head)));
        }
        self.buffer.advance(4);
        let length = length.ok_or_else(|| Failure::Protocol(ClientError::unexpected("a frame of negative length")))?;
        if self.buffer.capacity() < length {
            self.make_room(length.min(CLAIM));
        }
        while self.buffer.len() < length {
            if self.buffer.len() == self.buffer.capacity() {
                let more = self.buffer.len().min(length - self.buffer.len());
                self.buffer.reserve(more);
            }
            self.fill().await?;
        }
        Ok(self.buffer.split_to(length).freeze())
    }

    /// Finds a buffer for a frame of this length: this one, one that is free again, or a new one.
    fn make_room(&mut self, length: usize) {
        if self.buffer.try_reclaim(length.saturating_sub(self.buffer.len())) {
            return;
        }
        let free = self.kept.iter_mut().position(|kept| kept.try_reclaim(length));
        let mut other = match free.and_then(|at| self.kept.remove(at)) {
            Some(other) => other,
            None => BytesMut::with_capacity(length.next_multiple_of(if length > GRAIN { GRAIN } else { READ_SIZE })),
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

    async fn fill(&mut self) -> Result<(), Failure> {
        match self.read.read_buf(&mut self.buffer).await {
            Ok(0) => Err(Failure::Io(io::Error::new(io::ErrorKind::UnexpectedEof, "closed by the broker"))),
            Ok(_) => Ok(()),
            Err(error) => Err(Failure::Io(error)),
        }
    }
}

/// What begins with these bytes.
fn guess(head: [u8; 4]) -> String {
    match &head {
        b"HTTP" => "it speaks HTTP".to_owned(),
        // An alert or handshake record of TLS.
        [0x15 | 0x16, 3, ..] => "it speaks TLS".to_owned(),
        text if text.iter().all(|byte| (0x20..0x7f).contains(byte)) => {
            format!("its answer begins with {:?}", String::from_utf8_lossy(text))
        }
        other => format!("its answer begins with {other:02x?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(frames: &[Vec<u8>]) -> Vec<u8> {
        frames
            .iter()
            .flat_map(|frame| [&u32::try_from(frame.len()).unwrap().to_be_bytes(), &frame[..]].concat())
            .collect()
    }

    #[tokio::test]
    async fn frames_of_all_lengths_come_whole() {
        let lengths = [0, 1, READ_SIZE - 4, READ_SIZE, 3, 2 * GRAIN + 7, 5, GRAIN, GRAIN - 1, 3 * GRAIN, 9];
        let frames: Vec<Vec<u8>> = lengths.iter().zip(1u8..).map(|(length, fill)| vec![fill; *length]).collect();
        let bytes = framed(&frames);
        let mut reader = FrameReader::new(&bytes[..]);
        let mut held = Vec::new();
        for (at, frame) in frames.iter().enumerate() {
            let read = reader.next().await.map_err(|_| "no frame").unwrap();
            assert_eq!(read, frame, "frame {at}");
            held.push(read);
            if at % 3 == 0 {
                held.clear();
            }
        }
        assert!(reader.next().await.is_err());
    }

    #[tokio::test]
    async fn a_buffer_is_used_again_when_its_frame_is_gone() {
        let bytes = framed(&vec![vec![1; 2 * GRAIN]; 12]);
        let mut reader = FrameReader::new(&bytes[..]);
        let mut seen = std::collections::HashSet::new();
        let mut last = None;
        for _ in 0..12 {
            let frame = reader.next().await.map_err(|_| "no frame").unwrap();
            seen.insert(frame.as_ptr() as usize / GRAIN);
            last = Some(frame);
        }
        drop(last);
        assert!(seen.len() <= 6, "{} buffers", seen.len());
    }
}
