//! A buffered change in bytes, as it is in the buffer's changelog.
//!
//! Since Kafka 2.4 (version 3): the record context, the prior, the old and the new value, and the time under which the
//! change is buffered. Versions 0 and 1 were written by Kafka 2.1 to 2.3 and are refused.

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    error::SerdeError,
    processing::RecordContext,
    record::{Header, Headers},
    serdes::length,
};

/// The version that is written, as the header `v` has it.
pub(in crate::store) const VERSION: u8 = 3;
const NULL: i32 = -1;
/// In place of an old value that is the prior one.
const AS_PRIOR: i32 = -2;

#[derive(Clone, Debug)]
pub(in crate::store) struct BufferValue {
    /// What those below the buffer know.
    pub(in crate::store) prior: Option<Bytes>,
    pub(in crate::store) old: Option<Bytes>,
    pub(in crate::store) new: Option<Bytes>,
    pub(in crate::store) context: RecordContext,
}

/// What is kept of a record context: not the source record's bytes.
pub(in crate::store) fn kept(context: &RecordContext) -> RecordContext {
    RecordContext {
        known: context.known,
        topic: context.topic.clone(),
        partition: context.partition,
        offset: context.offset,
        timestamp: context.timestamp,
        headers: context.headers.clone(),
        ..RecordContext::default()
    }
}

impl BufferValue {
    /// The memory that Kafka counts for it.
    pub(in crate::store) fn size(&self, key: &Bytes) -> u64 {
        let length = |value: &Option<Bytes>| value.as_ref().map_or(0, Bytes::len);
        let old = if self.old == self.prior { 0 } else { length(&self.old) };
        let headers: usize =
            self.context.headers.iter().map(|header| header.key.encode_utf16().count() + length(&header.value)).sum();
        let topic = self.context.topic.as_ref().map_or(0, |topic| topic.encode_utf16().count());
        let context = 8 + 8 + topic + 4 + headers;
        (8 + key.len() + length(&self.prior) + old + length(&self.new) + context) as u64
    }

    /// # Errors
    /// If something is longer than the form has room for.
    pub(in crate::store) fn write(&self, time: i64) -> Result<Vec<u8>, SerdeError> {
        let mut out = self.write_without_time()?;
        out.extend_from_slice(&time.to_be_bytes());
        Ok(out)
    }

    /// # Errors
    /// As [`write`](Self::write).
    pub(in crate::store) fn write_without_time(&self) -> Result<Vec<u8>, SerdeError> {
        let mut out = Vec::new();
        let context = &self.context;
        out.extend_from_slice(&context.timestamp.to_be_bytes());
        out.extend_from_slice(&context.offset.to_be_bytes());
        sized(Some(context.topic.as_deref().unwrap_or_default().as_bytes()), &mut out)?;
        out.extend_from_slice(&context.partition.to_be_bytes());
        out.extend_from_slice(&length(context.headers.len())?.to_be_bytes());
        for header in &context.headers {
            sized(Some(header.key.as_bytes()), &mut out)?;
            sized(header.value.as_deref(), &mut out)?;
        }
        sized(self.prior.as_deref(), &mut out)?;
        match &self.old {
            Some(_) if self.old == self.prior => out.extend_from_slice(&AS_PRIOR.to_be_bytes()),
            old => sized(old.as_deref(), &mut out)?,
        }
        sized(self.new.as_deref(), &mut out)?;
        Ok(out)
    }
}

fn sized(bytes: Option<&[u8]>, out: &mut Vec<u8>) -> Result<(), SerdeError> {
    match bytes {
        Some(bytes) => {
            out.extend_from_slice(&length(bytes.len())?.to_be_bytes());
            out.extend_from_slice(bytes);
        }
        None => out.extend_from_slice(&NULL.to_be_bytes()),
    }
    Ok(())
}

/// A value and its time; `None` if the bytes are not those of this version.
pub(in crate::store) fn read(version: Option<u8>, bytes: &[u8]) -> Option<(i64, BufferValue)> {
    match version? {
        3 => read_3(bytes),
        // Kafka 2.4.0 to 2.5.0 wrote version 3 under this number.
        2 => read_3(bytes).or_else(|| read_2(bytes)),
        _ => None,
    }
}

fn read_3(mut bytes: &[u8]) -> Option<(i64, BufferValue)> {
    let input = &mut bytes;
    let value = read_value(input)?;
    let time = i64::from_be_bytes(take(input)?);
    input.is_empty().then_some((time, value))
}

/// What [`write_without_time`](BufferValue::write_without_time) wrote.
pub(in crate::store) fn read_without_time(mut bytes: &[u8]) -> Option<BufferValue> {
    let value = read_value(&mut bytes)?;
    bytes.is_empty().then_some(value)
}

fn read_value(input: &mut &[u8]) -> Option<BufferValue> {
    let context = read_context(input)?;
    let prior = read_sized(input)?;
    let old = match peek_int(input)? {
        AS_PRIOR => {
            take::<4>(input)?;
            prior.clone()
        }
        _ => read_sized(input)?,
    };
    let new = read_sized(input)?;
    Some(BufferValue { prior, old, new, context })
}

fn read_2(mut bytes: &[u8]) -> Option<(i64, BufferValue)> {
    let input = &mut bytes;
    let context = read_context(input)?;
    let (old, new) = (read_sized(input)?, read_sized(input)?);
    let prior = read_sized(input)?;
    let time = i64::from_be_bytes(take(input)?);
    input.is_empty().then_some((time, BufferValue { prior, old, new, context }))
}

fn read_context(input: &mut &[u8]) -> Option<RecordContext> {
    let (timestamp, offset) = (i64::from_be_bytes(take(input)?), i64::from_be_bytes(take(input)?));
    let topic = String::from_utf8(read_sized(input)??.to_vec()).ok()?;
    let partition = i32::from_be_bytes(take(input)?);
    let mut headers = Headers::new();
    for _ in 0..i32::from_be_bytes(take(input)?) {
        let key = String::from_utf8(read_sized(input)??.to_vec()).ok()?;
        let Header { key, value } = Header { key, value: read_sized(input)? };
        headers.add(key, value);
    }
    let topic = Some(Arc::from(topic));
    Some(RecordContext { known: true, topic, partition, offset, timestamp, headers, ..RecordContext::default() })
}

fn take<const N: usize>(input: &mut &[u8]) -> Option<[u8; N]> {
    let (bytes, rest) = input.split_first_chunk::<N>()?;
    *input = rest;
    Some(*bytes)
}

fn peek_int(input: &[u8]) -> Option<i32> {
    input.first_chunk::<4>().map(|bytes| i32::from_be_bytes(*bytes))
}

fn read_sized(input: &mut &[u8]) -> Option<Option<Bytes>> {
    let length = i32::from_be_bytes(take(input)?);
    if length == NULL {
        return Some(None);
    }
    let (bytes, rest) = input.split_at_checked(usize::try_from(length).ok()?)?;
    *input = rest;
    Some(Some(Bytes::copy_from_slice(bytes)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value(bytes: Option<Vec<u8>>) -> Option<Bytes> {
        bytes.map(Bytes::from)
    }

    proptest! {
        #[test]
        fn reads_what_it_wrote(
            prior: Option<Vec<u8>>, old: Option<Vec<u8>>, same: bool, new: Option<Vec<u8>>,
            position: (i64, i64, i64, i32), topic: String, headers: Vec<(String, Option<Vec<u8>>)>,
        ) {
            let (time, timestamp, offset, partition) = position;
            let headers = headers.into_iter().map(|(key, bytes)| Header { key, value: value(bytes) }).collect();
            let context =
                RecordContext { topic: Some(topic.into()), partition, offset, timestamp, headers, ..RecordContext::default() };
            let prior = value(prior);
            let old = if same { prior.clone() } else { value(old) };
            let written = BufferValue { prior, old, new: value(new), context };
            let (read_time, read) = read(Some(VERSION), &written.write(time).unwrap()).unwrap();
            prop_assert_eq!(read_time, time);
            prop_assert_eq!((&read.prior, &read.old, &read.new), (&written.prior, &written.old, &written.new));
            prop_assert_eq!(read.write(time).unwrap(), written.write(time).unwrap());
            let bytes = written.write_without_time().unwrap();
            prop_assert_eq!(read_without_time(&bytes).unwrap().write_without_time().unwrap(), bytes);
        }

        #[test]
        fn damaged_bytes_are_refused(bytes: Vec<u8>, version: Option<u8>) {
            let _ = (read(version, &bytes), read_without_time(&bytes));
        }
    }
}
