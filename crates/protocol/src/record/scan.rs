use bytes::Bytes;

use super::records::RecordCursor;
use super::varint::SliceReader;
use super::{DecodedBatch, Headers, RecordBatchHeader, RecordError, RecordView};

/// Reads a [`DecodedBatch`] piece by piece, as positions instead of borrowed slices.
///
/// A consumer that returns a limited number of records at a time parses each record once, keeps
/// where its parts lie as a [`RecordSpan`], and goes on later where it stopped.
#[derive(Debug, Clone)]
pub struct RecordScanner {
    cursor: RecordCursor,
    records: Bytes,
    position: usize,
}

impl RecordScanner {
    pub(crate) fn new(header: &RecordBatchHeader, records: Bytes) -> Self {
        Self { cursor: RecordCursor::new(header), records, position: 0 }
    }

    /// The decompressed bytes that spans point into.
    pub fn bytes(&self) -> &Bytes {
        &self.records
    }

    /// How many of [the bytes](Self::bytes) have been read.
    pub fn bytes_read(&self) -> usize {
        self.position
    }

    /// Whether all records have been read.
    pub fn is_finished(&self) -> bool {
        self.cursor.remaining() == 0 && self.position >= self.records.len()
    }

    /// Appends up to `max` records to `spans`, leaving out those before `from_offset`.
    ///
    /// # Errors
    ///
    /// As the iterator [`Records`](super::Records); the records before the error are in `spans`, and
    /// nothing is read after it.
    pub fn scan(&mut self, from_offset: i64, max: usize, spans: &mut Vec<RecordSpan>) -> Result<(), RecordError> {
        let records = &self.records[..];
        let mut reader = SliceReader::new(records.get(self.position..).unwrap_or_default());
        let mut left = max;
        spans.reserve(left.min(self.cursor.at_most(reader.len())));
        let mut result = Ok(());
        // With nothing left to take, an end without a record still has to be noticed.
        while left > 0 || self.cursor.remaining() == 0 {
            match self.cursor.next(&mut reader) {
                Some(Ok(record)) => {
                    if record.offset >= from_offset {
                        spans.push(RecordSpan::new(&record, records));
                        left -= 1;
                    }
                }
                Some(Err(error)) => {
                    result = Err(error);
                    break;
                }
                None => break,
            }
        }
        self.position = match result {
            Ok(()) => records.len() - reader.len(),
            Err(_) => records.len(),
        };
        result
    }
}

impl DecodedBatch {
    /// Reads the records as positions, piece by piece.
    pub fn into_scanner(self) -> RecordScanner {
        let (header, records) = self.into_parts();
        RecordScanner::new(&header, records)
    }
}

/// A record as the places of its parts in the decompressed bytes of its batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordSpan {
    offset: i64,
    timestamp: i64,
    key: Place,
    value: Place,
    headers: Place,
    header_count: u32,
}

impl RecordSpan {
    #[inline]
    fn new(record: &RecordView<'_>, records: &[u8]) -> Self {
        Self {
            offset: record.offset,
            timestamp: record.timestamp,
            key: Place::of(record.key, records),
            value: Place::of(record.value, records),
            headers: Place::of(Some(record.headers.as_bytes()), records),
            header_count: record.headers.len() as u32,
        }
    }

    /// The record's absolute offset.
    #[inline]
    pub fn offset(&self) -> i64 {
        self.offset
    }

    /// The record's timestamp in milliseconds, -1 for none.
    #[inline]
    pub fn timestamp(&self) -> i64 {
        self.timestamp
    }

    /// The record within `records`, which must be the [bytes](RecordScanner::bytes) it was read
    /// from; from others come other keys and values, or none.
    #[inline]
    pub fn view<'a>(&self, records: &'a [u8]) -> RecordView<'a> {
        RecordView {
            offset: self.offset,
            timestamp: self.timestamp,
            key: self.key.slice(records),
            value: self.value.slice(records),
            headers: if self.header_count == 0 {
                Headers::EMPTY
            } else {
                Headers::checked(self.headers.slice(records).unwrap_or_default(), self.header_count)
            },
        }
    }
}

/// A part of the records' bytes, or null. Decompressed batches are smaller than 2^32 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    start: u32,
    length: u32,
}

impl Place {
    const NULL: Self = Self { start: u32::MAX, length: 0 };

    /// Where `part`, a slice of `whole`, lies in it.
    #[inline]
    fn of(part: Option<&[u8]>, whole: &[u8]) -> Self {
        match part {
            // An empty slice may lie anywhere.
            Some([]) => Self { start: 0, length: 0 },
            Some(part) => {
                let start = part.as_ptr().addr().wrapping_sub(whole.as_ptr().addr());
                Self { start: start as u32, length: part.len() as u32 }
            }
            None => Self::NULL,
        }
    }

    #[inline]
    fn slice(self, whole: &[u8]) -> Option<&[u8]> {
        let start = self.start as usize;
        whole.get(start..start + self.length as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Compression, Decompressor, HeaderView, RecordBatch, RecordBatchBuilder};
    use super::*;

    fn batch(compression: Compression) -> DecodedBatch {
        let mut builder = RecordBatchBuilder::new(compression);
        let header = HeaderView::new("h", Some(b"1"));
        builder.append(1, Some(b"key"), None, []).unwrap();
        builder.append(2, None, Some(b""), [header]).unwrap();
        builder.append(3, Some(b""), Some(b"value"), [header, HeaderView::new("null", None)]).unwrap();
        let bytes = builder.build().unwrap();
        RecordBatch::parse(bytes).unwrap().decode(&mut Decompressor::new()).unwrap()
    }

    #[test]
    fn spans_give_what_the_iterator_gives() {
        for compression in [Compression::None, Compression::Lz4] {
            let batch = batch(compression);
            let expected: Vec<String> = batch.iter().map(|record| format!("{:?}", record.unwrap())).collect();
            for step in 1..=4 {
                let mut scanner = batch.clone().into_scanner();
                let mut spans = Vec::new();
                while !scanner.is_finished() {
                    scanner.scan(0, step, &mut spans).unwrap();
                }
                let got: Vec<String> = spans.iter().map(|span| format!("{:?}", span.view(scanner.bytes()))).collect();
                assert_eq!(got, expected);
            }
        }
    }

    #[test]
    fn records_before_an_offset_are_left_out() {
        let mut scanner = batch(Compression::None).into_scanner();
        let mut spans = Vec::new();
        scanner.scan(2, 10, &mut spans).unwrap();
        assert_eq!(spans.iter().map(RecordSpan::offset).collect::<Vec<_>>(), [2]);
        assert!(scanner.is_finished());
    }
}
