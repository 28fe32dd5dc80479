//! Frames from a socket.

use std::io;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt};
use vltava_protocol::frame::FrameReader;

use super::connection::Failure;
use crate::error::ClientError;

/// The frames of the answers that a broker sends.
pub(super) struct Answers<R> {
    read: R,
    frames: FrameReader,
}

impl<R: AsyncRead + Unpin> Answers<R> {
    pub(super) fn new(read: R) -> Self {
        Self { read, frames: FrameReader::trusting() }
    }

    /// The next frame, without its length.
    pub(super) async fn next(&mut self) -> Result<Bytes, Failure> {
        loop {
            let whole = self.frames.next_frame();
            if let Some(frame) = whole.map_err(|error| Failure::Protocol(ClientError::unexpected(error.to_string())))? {
                return Ok(frame);
            }
            match self.read.read_buf(&mut self.frames.room()).await {
                Ok(0) => {
                    return Err(Failure::Io(io::Error::new(io::ErrorKind::UnexpectedEof, "closed by the broker")));
                }
                Ok(_) => {}
                Err(error) => return Err(Failure::Io(error)),
            }
        }
    }
}
