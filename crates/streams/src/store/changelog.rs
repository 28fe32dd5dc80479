//! What a store writes to its changelog topic.

use std::sync::Arc;

use super::{engine::Engine, with_headers::split_headers};
use crate::{
    error::Result,
    processing::Runtime,
    record::{Headers, ProducerRecord},
};

/// How a stored value becomes a changelog record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// As it is, with the timestamp of the record being processed.
    Plain,
    /// Without its first 8 bytes, which are the record's timestamp (KIP-258).
    Timestamped,
    /// As it is, with timestamp and headers of the record being processed: the stores of joins of streams.
    Joined,
    /// Without the headers before it, which are the record's (KIP-1271).
    WithHeaders,
    /// Without headers and timestamp before it, which are the record's (KIP-1271).
    TimestampedWithHeaders,
}

/// Where a store's writes go, and in what form.
pub(crate) struct Changelog {
    /// Topic and partition; none for a store that is not logged.
    pub(crate) partition: Option<(Arc<str>, i32)>,
    pub(crate) format: Format,
    /// Whether deletions have the headers of the record being processed, as in Kafka's stores with headers; what the
    /// DSL puts into those has none.
    pub(crate) headers_format: bool,
}

/// Sends a record to a changelog.
pub(super) fn send(
    (topic, partition): &(Arc<str>, i32),
    rt: &mut Runtime,
    (key, value): (&[u8], Option<&[u8]>),
    timestamp: Option<i64>,
    headers: &Headers,
) -> Result<()> {
    rt.collector.send(ProducerRecord { topic, partition: Some(*partition), timestamp, headers, key: Some(key), value })
}

impl Changelog {
    /// Sends a write.
    pub(crate) fn log(&self, rt: &mut Runtime, key: &[u8], value: Option<&[u8]>) -> Result<()> {
        let Some(partition) = &self.partition else { return Ok(()) };
        let (mut headers, mut timestamp, mut logged) = (Headers::new(), rt.context.timestamp, value);
        let of_record = match self.format {
            Format::Joined => true,
            Format::WithHeaders | Format::TimestampedWithHeaders => value.is_none(),
            Format::Plain | Format::Timestamped => self.headers_format && value.is_none(),
        };
        if of_record {
            headers = rt.context.headers.clone();
        }
        if let (Format::WithHeaders | Format::TimestampedWithHeaders, Some(value)) = (self.format, value)
            && let Some((own, rest)) = split_headers(value)
        {
            (headers, logged) = (own, Some(rest));
        }
        if let (Format::Timestamped | Format::TimestampedWithHeaders, Some(value)) = (self.format, logged)
            && let Some((own, rest)) = value.split_first_chunk::<8>()
        {
            (timestamp, logged) = (i64::from_be_bytes(*own), Some(rest));
        }
        send(partition, rt, (key, logged), Some(timestamp), &headers)
    }

    /// Deletes what the engine has forgotten by itself; as in the JVM, of plain values only.
    pub(crate) fn log_evicted(&self, rt: &mut Runtime, engine: &mut impl Engine) -> Result<()> {
        while let Some(key) = engine.take_evicted() {
            if self.format == Format::Plain {
                self.log(rt, &key, None)?;
            }
        }
        Ok(())
    }
}
