use std::iter::FusedIterator;

use bytes::Bytes;

use super::records::RecordCursor;
use super::varint::SliceReader;
use super::{Headers, RecordBatchHeader, RecordError, RecordView, Records};

/// A batch whose records are decompressed, in bytes that it shares with the records taken from it.
#[derive(Debug, Clone)]
pub struct DecodedBatch {
    header: RecordBatchHeader,
    records: Bytes,
}

impl DecodedBatch {
    pub(crate) fn new(header: RecordBatchHeader, records: Bytes) -> Self {
        Self { header, records }
    }

    pub(crate) fn into_parts(self) -> (RecordBatchHeader, Bytes) {
        (self.header, self.records)
    }

    /// The header of the batch.
    pub fn header(&self) -> &RecordBatchHeader {
        &self.header
    }

    /// Size of the decompressed records in bytes.
    pub fn records_size(&self) -> usize {
        self.records.len()
    }

    /// The records, borrowed.
    pub fn iter(&self) -> Records<'_> {
        Records::new(&self.header, &self.records)
    }

    /// The records, each sharing this batch's bytes: one of them keeps all in memory.
    pub fn into_owned_records(self) -> OwnedRecords {
        OwnedRecords { cursor: RecordCursor::new(&self.header), records: self.records, position: 0 }
    }
}

impl<'a> IntoIterator for &'a DecodedBatch {
    type Item = Result<RecordView<'a>, RecordError>;
    type IntoIter = Records<'a>;

    fn into_iter(self) -> Records<'a> {
        self.iter()
    }
}

/// Iterates over the records of a [`DecodedBatch`] as [`OwnedRecord`]s.
///
/// It ends as [`Records`] does.
#[derive(Debug, Clone)]
pub struct OwnedRecords {
    cursor: RecordCursor,
    records: Bytes,
    position: usize,
}

impl Iterator for OwnedRecords {
    type Item = Result<OwnedRecord, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        let start = self.position;
        let mut reader = SliceReader::new(self.records.get(start..).unwrap_or_default());
        let record = self.cursor.next(&mut reader)?;
        self.position = self.records.len() - reader.len();
        let record = record.map(|record| OwnedRecord::new(&record, self.records.slice(start..self.position)));
        Some(record)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.records.len() - self.position;
        (0, Some(self.cursor.at_most(left)))
    }
}

impl FusedIterator for OwnedRecords {}

/// One record that shares the decompressed bytes of its batch, with one reference count for all of
/// its parts.
#[derive(Clone)]
pub struct OwnedRecord {
    offset: i64,
    timestamp: i64,
    /// The whole record.
    bytes: Bytes,
    key: Option<Span>,
    value: Option<Span>,
    headers: Span,
    header_count: u32,
}

impl OwnedRecord {
    fn new(record: &RecordView<'_>, bytes: Bytes) -> Self {
        let span = |part: &[u8]| Span::of(part, &bytes);
        Self {
            offset: record.offset,
            timestamp: record.timestamp,
            key: record.key.map(span),
            value: record.value.map(span),
            headers: span(record.headers.as_bytes()),
            header_count: record.headers.len() as u32,
            bytes,
        }
    }

    /// The record's absolute offset.
    pub fn offset(&self) -> i64 {
        self.offset
    }

    /// The record's timestamp in milliseconds, -1 for none.
    pub fn timestamp(&self) -> i64 {
        self.timestamp
    }

    /// The key, if it is not null.
    pub fn key(&self) -> Option<&[u8]> {
        self.key.map(|span| span.slice(&self.bytes))
    }

    /// The value, if it is not null.
    pub fn value(&self) -> Option<&[u8]> {
        self.value.map(|span| span.slice(&self.bytes))
    }

    /// The key, sharing the record's bytes.
    pub fn key_bytes(&self) -> Option<Bytes> {
        self.key().map(|key| self.bytes.slice_ref(key))
    }

    /// The value, sharing the record's bytes.
    pub fn value_bytes(&self) -> Option<Bytes> {
        self.value().map(|value| self.bytes.slice_ref(value))
    }

    /// The headers, in the producer's order.
    pub fn headers(&self) -> Headers<'_> {
        Headers::checked(self.headers.slice(&self.bytes), self.header_count)
    }

    /// The record, borrowed.
    pub fn view(&self) -> RecordView<'_> {
        RecordView {
            offset: self.offset,
            timestamp: self.timestamp,
            key: self.key(),
            value: self.value(),
            headers: self.headers(),
        }
    }
}

impl std::fmt::Debug for OwnedRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(&self.view(), f)
    }
}

/// A part of a record, which is less than 2^32 bytes long.
#[derive(Debug, Clone, Copy)]
struct Span {
    start: u32,
    length: u32,
}

impl Span {
    /// Where `part`, a slice of `whole`, lies in it.
    fn of(part: &[u8], whole: &[u8]) -> Self {
        let start = part.as_ptr().addr().wrapping_sub(whole.as_ptr().addr());
        Self {
            // An empty slice may lie anywhere.
            start: if part.is_empty() { 0 } else { start as u32 },
            length: part.len() as u32,
        }
    }

    fn slice(self, whole: &[u8]) -> &[u8] {
        let start = self.start as usize;
        whole.get(start..start + self.length as usize).unwrap_or_default()
    }
}
