//! Frames from a socket.

use std::io;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt};
use vltava_protocol::{Error, frame::FrameReader};

use super::connection::Failure;
use crate::error::ClientError;

/// The first answer is one to `ApiVersions`: what announces more is something else.
const LONGEST_FIRST: usize = 16 << 20;

/// The frames of the answers that a broker sends.
pub(super) struct Answers<R> {
    read: R,
    frames: FrameReader,
    is_first: bool,
}

impl<R: AsyncRead + Unpin> Answers<R> {
    pub(super) fn new(read: R) -> Self {
        Self { read, frames: FrameReader::trusting(), is_first: true }
    }

    /// The next frame, without its length.
    pub(super) async fn next(&mut self) -> Result<Bytes, Failure> {
        loop {
            if self.is_first {
                self.look_at_the_first()?;
            }
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

    /// Before anything is believed of what it announces.
    fn look_at_the_first(&mut self) -> Result<(), Failure> {
        let head = match self.frames.announced() {
            Ok(None) => return Ok(()),
            Ok(Some(size)) if size <= LONGEST_FIRST => {
                self.is_first = false;
                return Ok(());
            }
            Ok(Some(size)) => u32::try_from(size).unwrap_or(u32::MAX).to_be_bytes(),
            Err(Error::InvalidFrameSize(size)) => size.to_be_bytes(),
            Err(error) => return Err(Failure::Protocol(ClientError::unexpected(error.to_string()))),
        };
        Err(Failure::NotKafka(guess(head)))
    }
}

/// What begins with these bytes.
fn guess(head: [u8; 4]) -> String {
    match &head {
        b"HTTP" => "it speaks HTTP".to_owned(),
        // An alert or handshake record of TLS.
        [0x15 | 0x16, 3, ..] => "it speaks TLS, which `security.protocol` SSL asks for".to_owned(),
        text if text.iter().all(|byte| (0x20..0x7f).contains(byte)) => {
            format!("its answer begins with {:?}", String::from_utf8_lossy(text))
        }
        other => format!("its answer begins with {other:02x?}"),
    }
}
