//! Values that carry headers, as engines keep them: the size of the headers as a varint, the headers, and the rest
//! (KIP-1271). In the changelog the headers are the record's.

use bytes::Bytes;
use vltava_protocol::record::{put_varint, split_varint};

use crate::{
    data::Flow,
    error::SerdeError,
    record::{AggregationWithHeaders, Headers, ValueTimestampHeaders},
    serdes::{self, Serde, SerdeRef},
};

/// Writes headers with their size before them.
///
/// # Errors
/// If a length is more than the form has room for.
pub(super) fn write_headers(headers: &Headers, out: &mut Vec<u8>) -> Result<(), SerdeError> {
    let mut bytes = Vec::new();
    if !headers.is_empty() {
        put_varint(serdes::length(headers.len())?, &mut bytes);
        for header in headers {
            put_varint(serdes::length(header.key.len())?, &mut bytes);
            bytes.extend_from_slice(header.key.as_bytes());
            match &header.value {
                Some(value) => {
                    put_varint(serdes::length(value.len())?, &mut bytes);
                    bytes.extend_from_slice(value);
                }
                None => put_varint(-1, &mut bytes),
            }
        }
    }
    put_varint(serdes::length(bytes.len())?, out);
    out.extend_from_slice(&bytes);
    Ok(())
}

/// Headers and the rest; `None` if the bytes are not such.
pub(super) fn split_headers(bytes: &[u8]) -> Option<(Headers, &[u8])> {
    let mut input = bytes;
    let size = usize::try_from(length(&mut input)?).ok()?;
    let (mut own, rest) = input.split_at_checked(size)?;
    let mut headers = Headers::new();
    if !own.is_empty() {
        for _ in 0..length(&mut own)? {
            let key = take(&mut own)??;
            let value = take(&mut own)?;
            headers.add(String::from_utf8(key.to_vec()).ok()?, value.map(Bytes::copy_from_slice));
        }
    }
    Some((headers, rest))
}

fn take<'a>(input: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let length = length(input)?;
    if length == -1 {
        return Some(None);
    }
    let (bytes, rest) = input.split_at_checked(usize::try_from(length).ok()?)?;
    *input = rest;
    Some(Some(bytes))
}

fn length(input: &mut &[u8]) -> Option<i32> {
    let (length, rest) = split_varint(input)?;
    *input = rest;
    Some(length)
}

fn no_headers() -> SerdeError {
    SerdeError::new("no headers before a value that has them")
}

/// Headers, 8 bytes of timestamp, and the value's own bytes.
pub(super) struct ValueTimestampHeadersSerde<V>(pub(super) SerdeRef<V>);

impl<V: Flow> Serde<ValueTimestampHeaders<V>> for ValueTimestampHeadersSerde<V> {
    fn serialize(&self, topic: &str, row: &ValueTimestampHeaders<V>, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        write_headers(&row.headers, out)?;
        out.extend_from_slice(&row.timestamp.to_be_bytes());
        self.0.serialize(topic, &row.value, out)
    }

    fn deserialize(&self, topic: &str, bytes: &[u8]) -> Result<ValueTimestampHeaders<V>, SerdeError> {
        let (headers, rest) = split_headers(bytes).ok_or_else(no_headers)?;
        let (timestamp, value) = rest.split_first_chunk::<8>().ok_or_else(|| SerdeError::new("no timestamp"))?;
        Ok(ValueTimestampHeaders::new(self.0.deserialize(topic, value)?, i64::from_be_bytes(*timestamp), headers))
    }
}

/// Headers and the value's own bytes.
pub(super) struct AggregationWithHeadersSerde<V>(pub(super) SerdeRef<V>);

impl<V: Flow> Serde<AggregationWithHeaders<V>> for AggregationWithHeadersSerde<V> {
    fn serialize(&self, topic: &str, row: &AggregationWithHeaders<V>, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        write_headers(&row.headers, out)?;
        self.0.serialize(topic, &row.aggregation, out)
    }

    fn deserialize(&self, topic: &str, bytes: &[u8]) -> Result<AggregationWithHeaders<V>, SerdeError> {
        let (headers, rest) = split_headers(bytes).ok_or_else(no_headers)?;
        Ok(AggregationWithHeaders::new(self.0.deserialize(topic, rest)?, headers))
    }
}

/// The value's own bytes: timestamp and headers are forgotten.
pub(super) struct ValueAloneSerde<V>(pub(super) SerdeRef<V>);

impl<V: Flow> Serde<ValueTimestampHeaders<V>> for ValueAloneSerde<V> {
    fn serialize(&self, topic: &str, row: &ValueTimestampHeaders<V>, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        self.0.serialize(topic, &row.value, out)
    }

    fn deserialize(&self, topic: &str, bytes: &[u8]) -> Result<ValueTimestampHeaders<V>, SerdeError> {
        Ok(ValueTimestampHeaders::new(self.0.deserialize(topic, bytes)?, -1, Headers::new()))
    }
}
