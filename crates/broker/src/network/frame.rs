//! Requests off a socket: four bytes of length, then that many bytes.
//!
//! A length is a claim of whoever connects: the buffer grows with the bytes that came, never with
//! the bytes that were announced.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// How much is read ahead at first.
const FIRST_READ_BYTES: usize = 8 * 1024;

/// A buffer above this is given back when a connection has nothing to read.
const KEPT_BYTES: usize = 256 * 1024;

/// Why no further request can be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("a request announces {0} bytes")]
    Length(i32),
    #[error("the connection ended within a request")]
    Truncated,
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The bytes of a connection that are not handled yet.
#[derive(Debug)]
pub(crate) struct FrameReader {
    buffer: BytesMut,
    max_bytes: usize,
}

impl FrameReader {
    pub(crate) fn new(max_bytes: usize) -> Self {
        Self { buffer: BytesMut::new(), max_bytes }
    }

    /// The next request if it has come whole already.
    pub(crate) fn buffered(&mut self) -> Result<Option<Bytes>, FrameError> {
        let Some(announced) = self.buffer.first_chunk::<4>().map(|head| i32::from_be_bytes(*head)) else {
            return Ok(None);
        };
        let length = usize::try_from(announced).map_err(|_| FrameError::Length(announced))?;
        if length > self.max_bytes {
            return Err(FrameError::Length(announced));
        }
        if self.buffer.len() - 4 < length {
            return Ok(None);
        }
        self.buffer.advance(4);
        Ok(Some(self.buffer.split_to(length).freeze()))
    }

    /// Reads once; false at the end of the stream. Cancel-safe.
    pub(crate) async fn fill(&mut self, stream: &mut (impl AsyncRead + Unpin)) -> Result<bool, FrameError> {
        let missing = match self.buffer.first_chunk::<4>() {
            Some(head) => usize::try_from(i32::from_be_bytes(*head)).unwrap_or(0).saturating_sub(self.buffer.len() - 4),
            None => 0,
        };
        // Four times what is there: a large request takes few steps, and a claim costs what it sent.
        let step = missing.min(4 * self.buffer.len()).max(FIRST_READ_BYTES);
        self.buffer.reserve(step);
        match stream.read_buf(&mut self.buffer).await? {
            0 if self.buffer.is_empty() => Ok(false),
            0 => Err(FrameError::Truncated),
            _ => Ok(true),
        }
    }

    /// How many bytes came and are not handled.
    pub(crate) fn buffered_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// Gives a large buffer back, to be called when nothing is there to read.
    pub(crate) fn trim(&mut self) {
        if self.buffer.is_empty() && self.buffer.capacity() > KEPT_BYTES {
            self.buffer = BytesMut::new();
        }
    }

    #[cfg(test)]
    fn capacity(&self) -> usize {
        self.buffer.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(mut bytes: &[u8], max: usize) -> (Vec<Vec<u8>>, Option<FrameError>, usize) {
        let mut reader = FrameReader::new(max);
        let mut frames = Vec::new();
        let error = loop {
            match reader.buffered() {
                Ok(Some(frame)) => frames.push(frame.to_vec()),
                Ok(None) => match reader.fill(&mut bytes).await {
                    Ok(true) => {}
                    Ok(false) => break None,
                    Err(error) => break Some(error),
                },
                Err(error) => break Some(error),
            }
        };
        (frames, error, reader.capacity())
    }

    fn frame(body: &[u8]) -> Vec<u8> {
        let mut out = u32::try_from(body.len()).unwrap().to_be_bytes().to_vec();
        out.extend_from_slice(body);
        out
    }

    #[tokio::test]
    async fn frames_come_whole_and_in_order() {
        let large = vec![7; 300_000];
        let bytes = [frame(b"a"), frame(b""), frame(&large)].concat();
        let (frames, error, _) = read(&bytes, 1 << 20).await;
        assert!(error.is_none());
        assert_eq!(frames, [b"a".to_vec(), Vec::new(), large]);
    }

    #[tokio::test]
    async fn absurd_lengths_are_refused_before_anything_is_kept() {
        for announced in [-1, i32::MIN, 1001, i32::MAX] {
            let (frames, error, _) = read(&announced.to_be_bytes(), 1000).await;
            assert!(frames.is_empty());
            assert!(matches!(error, Some(FrameError::Length(length)) if length == announced));
        }
    }

    #[tokio::test]
    async fn a_claim_alone_costs_no_memory() {
        let mut bytes = (100_i32 << 20).to_be_bytes().to_vec();
        bytes.extend_from_slice(&[0; 100]);
        let (_, error, capacity) = read(&bytes, 100 << 20).await;
        assert!(matches!(error, Some(FrameError::Truncated)));
        assert!(capacity < 64 * 1024, "{capacity}");
    }
}
