use thiserror::Error;

use crate::wire::{DecodeError, EncodeError};

/// What can be wrong with what arrives, or with what is to be sent.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Error {
    /// Bytes are not the message they should be.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A message has no form in the version asked for.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// A frame is larger than the limit.
    #[error("a frame of {size} bytes is above the limit of {limit}")]
    FrameTooLarge {
        /// The frame's size, its length not counted.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// A frame's length is negative.
    #[error("a frame's length is {0}")]
    InvalidFrameSize(i32),
    /// A request is for an API that Kafka 4.3 does not have.
    #[error("no API has the key {0}")]
    UnknownApiKey(i16),
    /// An answer is for another request than the one that waits.
    #[error("an answer has the correlation id {actual} instead of {expected}")]
    CorrelationMismatch {
        /// The correlation id of the request that waits.
        expected: i32,
        /// The one that came.
        actual: i32,
    },
}

impl Error {
    /// Returns whether doing the same again may succeed: never, all of these come from the bytes or the
    /// values themselves.
    pub fn is_retriable(&self) -> bool {
        false
    }

    /// Returns whether what is to be sent is refused, and the connection can go on with something else.
    pub fn is_abortable(&self) -> bool {
        !self.is_fatal()
    }

    /// Returns whether the connection that the bytes came from cannot go on. Only what was refused
    /// before it was sent leaves a connection usable.
    pub fn is_fatal(&self) -> bool {
        !matches!(self, Self::Encode(_))
    }
}
