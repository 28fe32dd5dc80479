//! How values lie on the wire: [`Reader`], [`Writer`], and the [`Wire`] and [`Message`] traits of the
//! generated types.
//!
//! Kafka has two forms for everything that has a length. The older one has a fixed-width signed length
//! (`i16` for strings, `i32` for bytes and arrays, -1 for null). The compact one, used by the versions
//! that are *flexible* (KIP-482), has an unsigned varint of the length plus one, 0 for null; a flexible
//! structure also ends with its tagged fields. Every call that depends on it takes `flexible`.

mod decoder;
mod element;
mod encoder;
mod error;
mod reader;
mod records;
mod tagged;
mod varint;
mod writer;

pub use decoder::Decoder;
pub use encoder::Encoder;
pub use error::{DecodeError, EncodeError};
pub use reader::Reader;
pub use records::{FileRecords, Records};
pub use tagged::{UnknownTaggedField, UnknownTaggedFields};
pub use varint::{MAX_VARINT_LEN, MAX_VARLONG_LEN, size_of_unsigned_varint, size_of_varint, size_of_varlong};
pub use writer::Writer;

use crate::ApiKey;

/// A value with a layout on the wire that may depend on the version of the message it is part of.
pub trait Wire: Sized {
    /// The fewest bytes that a value takes in any version. The length of an array is checked against it
    /// before anything is allocated.
    const MIN_SIZE: usize;

    /// Reads a value; a failure is kept by the decoder.
    ///
    /// `version` is trusted: the public entry is [`Message::decode`], which checks it.
    fn read(r: &mut Decoder<'_>, version: i16, flexible: bool) -> Self;

    /// Writes the value; a failure is kept by the encoder.
    ///
    /// `version` is trusted: the public entry is [`Message::encode`], which checks it.
    fn write(&self, w: &mut Encoder<'_>, version: i16, flexible: bool);
}

/// A request, a response, a header or a record: a structure that has versions of its own.
pub trait Message: Wire + Default + Clone + std::fmt::Debug + PartialEq {
    /// The name in Kafka's specification, such as `ProduceRequest`.
    const NAME: &'static str;
    /// The lowest version that Kafka 4.3 knows.
    const MIN_VERSION: i16;
    /// The highest version that Kafka 4.3 knows.
    const MAX_VERSION: i16;
    /// The first version with compact lengths and tagged fields, `i16::MAX` when there is none.
    const FLEXIBLE_SINCE: i16;

    /// For how long a broker wants to hear nothing more, as an answer tells it (KIP-219), in milliseconds; 0 where the
    /// message does not tell.
    fn throttle_time_ms(&self) -> i32 {
        0
    }

    /// Makes an answer tell a throttle time; without effect in a message that has no place for it.
    fn set_throttle_time_ms(&mut self, _throttle_time_ms: i32) {}

    /// Reads a message of the given version. Bytes that follow it stay in the reader.
    ///
    /// # Errors
    /// [`DecodeError::UnsupportedVersion`] outside `MIN_VERSION..=MAX_VERSION`, another variant when the
    /// bytes are not such a message.
    fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        if version < Self::MIN_VERSION || version > Self::MAX_VERSION {
            return Err(DecodeError::unsupported_version::<Self>(version));
        }
        let mut decoder = Decoder::new(r);
        let message = Self::read(&mut decoder, version, version >= Self::FLEXIBLE_SINCE);
        decoder.finish().map(|()| message)
    }

    /// Writes the message in the given version.
    ///
    /// # Errors
    /// [`EncodeError::UnsupportedVersion`] outside `MIN_VERSION..=MAX_VERSION`,
    /// [`EncodeError::UnsupportedField`] when a field that this version lacks is set and must not be
    /// dropped, and the other variants when a value has no form on the wire.
    fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
        if version < Self::MIN_VERSION || version > Self::MAX_VERSION {
            return Err(EncodeError::unsupported_version::<Self>(version));
        }
        let mut encoder = Encoder::new(w);
        self.write(&mut encoder, version, version >= Self::FLEXIBLE_SINCE);
        encoder.finish()
    }
}

/// The body of a request, with the API it belongs to and the answer it gets.
pub trait Request: Message {
    /// The body of the answer.
    type Response: Message;
    /// The API.
    const API_KEY: ApiKey;
}

#[cfg(test)]
mod tests;
