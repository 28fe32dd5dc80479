//! The records that a task is given: bytes, read when their turn comes.

use std::{collections::VecDeque, ops::Range};

use bytes::Bytes;

use crate::{
    error::{Error, Result},
    processing::RecordContext,
    record::Headers,
};

/// Records of one partition as they came from the broker: slices of one buffer, read when their turn comes.
#[derive(Clone, Debug, Default)]
pub struct InputBatch {
    pub(super) buffer: Bytes,
    pub(super) leader_epoch: Option<i32>,
    pub(super) records: VecDeque<InputRecord>,
}

/// One record of an [`InputBatch`]: positions in the batch's buffer.
#[derive(Clone, Debug)]
pub struct InputRecord {
    /// The offset.
    pub offset: i64,
    /// The record's timestamp, in ms since the epoch; -1 where it has none.
    pub timestamp: i64,
    /// Where the key's bytes are; `None` for a null key.
    pub key: Option<Range<u32>>,
    /// Where the value's bytes are; `None` for a null value.
    pub value: Option<Range<u32>>,
    /// The headers.
    pub headers: Headers,
}

impl InputBatch {
    /// An empty batch over a buffer.
    #[must_use]
    pub fn new(buffer: Bytes, leader_epoch: Option<i32>) -> Self {
        InputBatch { buffer, leader_epoch, records: VecDeque::new() }
    }

    /// Appends a record; offsets must not decrease.
    pub fn push(&mut self, record: InputRecord) {
        self.records.push_back(record);
    }

    /// A batch of one record whose bytes are copied.
    #[must_use]
    pub fn single(offset: i64, timestamp: i64, key: Option<&[u8]>, value: Option<&[u8]>, headers: Headers) -> Self {
        let mut buffer = Vec::new();
        let mut put = |bytes: Option<&[u8]>| {
            let start = buffer.len() as u32;
            buffer.extend_from_slice(bytes?);
            Some(start..buffer.len() as u32)
        };
        let (key, value) = (put(key), put(value));
        let records = VecDeque::from([InputRecord { offset, timestamp, key, value, headers }]);
        InputBatch { buffer: Bytes::from(buffer), leader_epoch: None, records }
    }

    /// The offset of the first record.
    pub(crate) fn first_offset(&self) -> Option<i64> {
        self.records.front().map(|record| record.offset)
    }

    /// The buffer, the leader epoch and the records.
    pub(crate) fn into_parts(self) -> (Bytes, Option<i32>, VecDeque<InputRecord>) {
        (self.buffer, self.leader_epoch, self.records)
    }

    /// How many records there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }
}

/// A record that is about to be read.
pub(crate) struct RawView<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) timestamp: i64,
    pub(crate) headers: &'a Headers,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
}

impl RawView<'_> {
    /// The record's coordinates and bytes for a handler.
    pub(crate) fn context(&self) -> RecordContext {
        let key = self.key.unwrap_or_default();
        let mut batch = key.to_vec();
        batch.extend_from_slice(self.value.unwrap_or_default());
        let (split, end) = (key.len() as u32, batch.len() as u32);
        RecordContext {
            known: true,
            topic: Some(self.topic.into()),
            partition: self.partition,
            offset: self.offset,
            leader_epoch: None,
            timestamp: self.timestamp,
            headers: self.headers.clone(),
            batch: batch.into(),
            raw_key: self.key.map(|_| 0..split),
            raw_value: self.value.map(|_| split..end),
        }
    }
}

pub(crate) fn slice<'a>(buffer: &'a [u8], range: Option<&Range<u32>>) -> Result<Option<&'a [u8]>> {
    let Some(range) = range else { return Ok(None) };
    let bytes = buffer.get(range.start as usize..range.end as usize);
    bytes.map(Some).ok_or_else(|| Error::internal("a record outside of its batch"))
}
