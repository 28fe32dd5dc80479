//! Records whose failure is told to who sent them, by a tag of his own, at no cost but the tag as long as they succeed.

use std::sync::Arc;

use bytes::Bytes;
use vltava_protocol::record::{Decompressor, RecordBatch, RecordError};

use super::record::ProducerRecord;
use crate::error::ClientError;

/// What a sender knows a record by: whose it is, and which of his. The producer only gives it back.
///
/// Records of one owner that follow each other in a batch cost 8 bytes each while they are on their way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordTag {
    /// A number of the sender's.
    pub owner: u32,
    /// Another one, such as the offset of the record that led to this one.
    pub position: i64,
}

/// A record that was given up, and why.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct FailedRecord {
    /// What it was sent with.
    pub tag: RecordTag,
    /// Its topic.
    pub topic: Arc<str>,
    /// Its partition; `None` if it failed before there was one.
    pub partition: Option<i32>,
    /// Milliseconds since the epoch; `None` if it failed before the producer gave it the time.
    pub timestamp: Option<i64>,
    /// The key's bytes.
    pub key: Option<Bytes>,
    /// The value's bytes.
    pub value: Option<Bytes>,
    /// Keys and values of the headers.
    pub headers: Vec<(String, Option<Bytes>)>,
    /// Why.
    pub error: ClientError,
}

impl FailedRecord {
    /// A record that did not come into a batch.
    #[must_use]
    pub fn refused(record: &ProducerRecord<'_>, tag: RecordTag, error: ClientError) -> Self {
        let headers =
            record.headers.iter().map(|header| (header.key().into_owned(), header.value().map(Bytes::copy_from_slice)));
        Self {
            tag,
            topic: Arc::from(record.topic),
            partition: record.partition,
            timestamp: record.timestamp,
            key: record.key.map(Bytes::copy_from_slice),
            value: record.value.map(Bytes::copy_from_slice),
            headers: headers.collect(),
            error,
        }
    }
}

/// The tags of a batch's records by their index: runs of one owner.
#[derive(Debug, Default)]
pub(crate) struct Tags {
    runs: Vec<Run>,
    positions: Vec<i64>,
}

#[derive(Debug, Clone, Copy)]
struct Run {
    owner: u32,
    /// Index of its first record in the batch, and of its position here.
    first: u32,
    at: usize,
}

impl Tags {
    /// Tags the record with this index, which is above those before.
    #[inline]
    pub(crate) fn push(&mut self, index: u32, tag: RecordTag) {
        let at = self.positions.len();
        let goes_on = self.runs.last().is_some_and(|run| {
            run.owner == tag.owner && index.checked_sub(run.first).is_some_and(|after| after as usize == at - run.at)
        });
        if !goes_on {
            self.runs.push(Run { owner: tag.owner, first: index, at });
        }
        self.positions.push(tag.position);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.positions.is_empty()
    }

    /// Index and tag of every tagged record.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, RecordTag)> {
        let ends = self.runs.iter().skip(1).map(|run| run.at).chain([self.positions.len()]);
        self.runs.iter().zip(ends).flat_map(|(run, end)| {
            let positions = self.positions.get(run.at..end).unwrap_or_default();
            (run.first..)
                .zip(positions)
                .map(|(index, position)| (index, RecordTag { owner: run.owner, position: *position }))
        })
    }

    /// The tagged records of a batch that failed.
    pub(crate) fn failed(
        &self,
        topic: &Arc<str>,
        partition: i32,
        batch: Bytes,
        error: &ClientError,
    ) -> Result<Vec<FailedRecord>, RecordError> {
        let batch = RecordBatch::parse(batch)?;
        let mut decompressor = Decompressor::new();
        let mut tags = self.iter().peekable();
        let mut failed = Vec::with_capacity(self.positions.len());
        for (index, record) in (0..).zip(batch.records(&mut decompressor)?) {
            let Some((_, tag)) = tags.next_if(|(tagged, _)| *tagged == index) else { continue };
            let record = record?;
            let headers =
                record.headers().map(|header| (header.key().into_owned(), header.value().map(Bytes::copy_from_slice)));
            failed.push(FailedRecord {
                tag,
                topic: Arc::clone(topic),
                partition: Some(partition),
                timestamp: Some(record.timestamp()),
                key: record.key().map(Bytes::copy_from_slice),
                value: record.value().map(Bytes::copy_from_slice),
                headers: headers.collect(),
                error: error.clone(),
            });
        }
        Ok(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_of_one_owner_and_without_gaps() {
        let tag = |owner, position| RecordTag { owner, position };
        let pushed = [(0, tag(1, 10)), (1, tag(1, 10)), (2, tag(2, 7)), (5, tag(2, 8)), (6, tag(2, 9))];
        let mut tags = Tags::default();
        pushed.iter().for_each(|(index, tag)| tags.push(*index, *tag));
        assert_eq!(tags.iter().collect::<Vec<_>>(), pushed);
        assert_eq!(tags.runs.len(), 3);
        assert_eq!(Tags::default().iter().count(), 0);
    }
}
