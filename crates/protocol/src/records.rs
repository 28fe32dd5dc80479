//! The records that coordinators and the controller keep in Kafka's internal topics, with the prefixes
//! of their keys and values.
//!
//! - A coordinator's key begins with its type, its value with its version (both `i16`); a missing value
//!   deletes what the key stands for.
//! - A metadata record is a value alone: frame version, type and version (unsigned varints), then the
//!   message.

use bytes::Bytes;

use crate::wire::{DecodeError, EncodeError, Message, Reader, Writer};

pub mod group;
pub mod metadata;
pub mod share;
pub mod transaction;

/// The key of a coordinator's record.
pub trait CoordinatorKey: Message {
    /// The value that belongs to it.
    type Value: Message;
    /// The type that the key begins with.
    const RECORD_TYPE: i16;
}

/// A record of `__cluster_metadata`.
pub trait MetadataMessage: Message {
    /// The number of its type.
    const API_KEY: i16;
}

/// The only version of the frame around metadata records.
const FRAME_VERSION: u32 = 1;

/// Writes a coordinator's key with its type.
///
/// # Errors
/// Those of the key.
pub fn encode_key<K: CoordinatorKey>(key: &K, w: &mut Writer) -> Result<(), EncodeError> {
    w.i16(K::RECORD_TYPE);
    key.encode(w, K::MAX_VERSION)
}

/// Writes a coordinator's value with its version.
///
/// # Errors
/// Those of the value.
pub fn encode_value<V: Message>(value: &V, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
    w.i16(version);
    value.encode(w, version)
}

/// Reads a coordinator's value with its version.
///
/// # Errors
/// [`DecodeError::UnsupportedVersion`] for a version that Kafka 4.3 does not have, or those of the value.
pub fn decode_value<V: Message>(r: &mut Reader) -> Result<V, DecodeError> {
    let version = r.i16()?;
    V::decode(r, version)
}

/// Returns a coordinator's key with its type, as bytes of their own.
///
/// # Errors
/// Those of the key.
pub fn key_bytes<K: CoordinatorKey>(key: &K) -> Result<Bytes, EncodeError> {
    let mut w = Writer::new();
    encode_key(key, &mut w)?;
    Ok(w.into_bytes())
}

/// Returns a coordinator's value with its version, as bytes of their own.
///
/// # Errors
/// Those of the value.
pub fn value_bytes<V: Message>(value: &V, version: i16) -> Result<Bytes, EncodeError> {
    let mut w = Writer::new();
    encode_value(value, &mut w, version)?;
    Ok(w.into_bytes())
}

/// Writes what a metadata record begins with.
pub(crate) fn encode_head(w: &mut Writer, api_key: i16, version: i16) {
    w.unsigned_varint(FRAME_VERSION);
    w.unsigned_varint(u32::from(api_key.cast_unsigned()));
    w.unsigned_varint(u32::from(version.cast_unsigned()));
}

/// Reads what a metadata record begins with: its type and version.
pub(crate) fn decode_head(r: &mut Reader) -> Result<(i16, i16), DecodeError> {
    let frame = r.unsigned_varint()?;
    if frame != FRAME_VERSION {
        return Err(DecodeError::Unknown { what: "metadata frame version", value: frame.cast_signed() });
    }
    let mut number = || {
        let value = r.unsigned_varint()?;
        i16::try_from(value).map_err(|_| DecodeError::InvalidLength(i64::from(value)))
    };
    Ok((number()?, number()?))
}
