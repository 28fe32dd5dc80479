//! The coordinates of the record at work, as nodes and handlers see them.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;

use crate::record::Headers;

/// The coordinates of the source record that is being processed.
#[derive(Clone, Debug, Default)]
pub(crate) struct RecordContext {
    /// False before the first record and outside of punctuations: there is nothing to tell.
    pub(crate) known: bool,
    /// `None` while no record is being processed, as in punctuations.
    pub(crate) topic: Option<Arc<str>>,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) leader_epoch: Option<i32>,
    /// Of the record as the current node got it, which may differ from the source record's.
    pub(crate) timestamp: i64,
    pub(crate) headers: Headers,
    /// The source record's bytes, for the handlers: slices of the batch they came in.
    pub(crate) batch: Bytes,
    pub(crate) raw_key: Option<Range<u32>>,
    pub(crate) raw_value: Option<Range<u32>>,
}

impl RecordContext {
    fn slice(&self, range: &Option<Range<u32>>) -> Option<Bytes> {
        let range = range.as_ref()?;
        let range = range.start as usize..range.end as usize;
        (range.end <= self.batch.len() && range.start <= range.end).then(|| self.batch.slice(range))
    }

    pub(crate) fn raw_key(&self) -> Option<Bytes> {
        self.slice(&self.raw_key)
    }

    pub(crate) fn raw_value(&self) -> Option<Bytes> {
        self.slice(&self.raw_value)
    }
}

/// Where the record being processed comes from.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RecordMetadata<'a> {
    /// The source topic; `None` in punctuations.
    pub topic: Option<&'a str>,
    /// Its partition, -1 without topic.
    pub partition: i32,
    /// The offset, -1 without topic.
    pub offset: i64,
    /// The record's timestamp as this node got it, in ms since the epoch.
    pub timestamp: i64,
    /// The record's headers as this node got them.
    pub headers: &'a Headers,
}

impl<'a> RecordMetadata<'a> {
    pub(crate) fn of(context: &'a RecordContext) -> Self {
        RecordMetadata {
            topic: context.topic.as_deref(),
            partition: context.partition,
            offset: context.offset,
            timestamp: context.timestamp,
            headers: &context.headers,
        }
    }
}
