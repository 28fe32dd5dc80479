//! A coordinator's records as bytes.
//!
//! A key begins with the type of the record as `i16`, a value with its version (KIP-915 says how they evolve).

use bytes::Bytes;
use vltava_protocol::records::CoordinatorKey;
use vltava_protocol::wire::{DecodeError, EncodeError, Message, Reader, Writer};

/// The producer id of a record outside any transaction.
pub(crate) const NO_PRODUCER_ID: i64 = -1;
/// What a batch takes beside its records, bytes.
pub(crate) const BATCH_OVERHEAD: usize = 61;
/// The most a record takes beside key and value: lengths, attributes and deltas as varints, no headers.
const RECORD_OVERHEAD: usize = 32;

/// A record as it is written into a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RecordBytes {
    pub(crate) key: Bytes,
    /// None for a tombstone.
    pub(crate) value: Option<Bytes>,
}

impl RecordBytes {
    /// Returns a size that the record does not exceed in a batch, bytes.
    pub(crate) fn max_size(&self) -> usize {
        self.key.len() + self.value.as_ref().map_or(0, Bytes::len) + RECORD_OVERHEAD
    }
}

/// Reads the value of a record, after its version.
pub(crate) fn decode_value<V: Message>(value: Option<Bytes>) -> Result<Option<V>, DecodeError> {
    let Some(value) = value else { return Ok(None) };
    let mut reader = Reader::new(value);
    let version = reader.i16()?;
    V::decode(&mut reader, version).map(Some)
}

/// Why a record cannot be written.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RecordError {
    /// It has no form in its version: a string is longer than it may be, for instance.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The state that it is to describe contradicts itself.
    #[error("{0}")]
    Inconsistent(&'static str),
}

/// Writes a record, its value in `version`.
///
/// # Errors
///
/// [`RecordError::Encode`] for what the versions of key and value cannot express.
pub(crate) fn encode<K: CoordinatorKey>(
    key: &K,
    value: Option<&impl Message>,
    version: i16,
) -> Result<RecordBytes, RecordError> {
    let value = value.map(|value| encode_message(version, value, version)).transpose()?;
    Ok(RecordBytes { key: encode_message(K::RECORD_TYPE, key, 0)?, value })
}

fn encode_message(prefix: i16, message: &impl Message, version: i16) -> Result<Bytes, EncodeError> {
    let mut writer = Writer::new();
    writer.i16(prefix);
    message.encode(&mut writer, version)?;
    Ok(writer.into_bytes())
}

/// Returns whether a string can be in every record: the keys have the old strings of 32767 bytes at most, and requests
/// of newer versions longer ones.
pub(crate) fn fits_in_record(text: &str) -> bool {
    i16::try_from(text.len()).is_ok()
}
