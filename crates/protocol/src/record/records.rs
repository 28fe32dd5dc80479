use std::iter::FusedIterator;

use super::varint::SliceReader;
use super::{Headers, RecordBatchHeader, RecordError, RecordView};

/// Iterates over the records of a batch without copying or allocating.
///
/// It gives as many records as the header counts, or ends with an error: for a record that does
/// not parse, for one that is missing, for bytes that are left after the last.
#[derive(Debug, Clone)]
pub struct Records<'a> {
    reader: SliceReader<'a>,
    cursor: RecordCursor,
}

impl<'a> Records<'a> {
    /// Iterates over the decompressed records of the batch with this header.
    pub(crate) fn new(header: &RecordBatchHeader, records: &'a [u8]) -> Self {
        Self { reader: SliceReader::new(records), cursor: RecordCursor::new(header) }
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<RecordView<'a>, RecordError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.cursor.next(&mut self.reader)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.cursor.at_most(self.reader.len())))
    }
}

impl FusedIterator for Records<'_> {}

/// Where an iteration over records stands, apart from the bytes.
#[derive(Debug, Clone)]
pub(crate) struct RecordCursor {
    base_offset: i64,
    base_timestamp: i64,
    log_append_time: Option<i64>,
    index: i32,
    count: i32,
}

impl RecordCursor {
    pub(crate) fn new(header: &RecordBatchHeader) -> Self {
        Self {
            base_offset: header.base_offset(),
            base_timestamp: header.base_timestamp(),
            log_append_time: header.log_append_time(),
            index: 0,
            count: header.count(),
        }
    }

    /// The next record.
    #[inline]
    pub(crate) fn next<'a>(&mut self, reader: &mut SliceReader<'a>) -> Option<Result<RecordView<'a>, RecordError>> {
        // What is cold takes copies, so that what is hot can stay in registers.
        if self.index < self.count {
            let start = *reader;
            if let Some(record) = self.read(reader) {
                self.index += 1;
                return Some(Ok(record));
            }
            self.count = self.index;
            *reader = SliceReader::new(&[]);
            return Some(Err(RecordError::InvalidRecord { index: self.index, reason: what_is_wrong(start) }));
        }
        let error = error_at_end(reader.len(), self.count);
        self.count = 0;
        *reader = SliceReader::new(&[]);
        error.map(Err)
    }

    /// How many records are left, by the word of whoever wrote the batch.
    #[inline]
    pub(crate) fn remaining(&self) -> usize {
        usize::try_from(self.count.saturating_sub(self.index)).unwrap_or_default()
    }

    /// How many records `left` bytes can hold. The count is the word of whoever wrote the batch.
    pub(crate) fn at_most(&self, left: usize) -> usize {
        const SMALLEST_RECORD: usize = 7;
        let counted = usize::try_from(self.count.saturating_sub(self.index)).unwrap_or_default();
        // One more for the error at the end.
        counted.min(left / SMALLEST_RECORD) + 1
    }

    #[inline]
    fn read<'a>(&self, reader: &mut SliceReader<'a>) -> Option<RecordView<'a>> {
        let length = usize::try_from(reader.varint()?).ok()?;
        let mut body = SliceReader::new(reader.take(length)?);
        // No attribute of a record is defined.
        body.byte()?;
        let timestamp_delta = body.varlong()?;
        let offset_delta = body.varint()?;
        let key = body.nullable_bytes()?;
        let value = body.nullable_bytes()?;
        let headers = match body.rest() {
            [0] => Headers::EMPTY,
            _ => Headers::read_to_end(body)?,
        };
        let (offset, timestamp) = (self.offset(offset_delta), self.timestamp(timestamp_delta));
        Some(RecordView { offset, timestamp, key, value, headers })
    }

    /// The offset of a record in the batch.
    #[inline]
    pub(crate) fn offset(&self, delta: i32) -> i64 {
        self.base_offset.wrapping_add(i64::from(delta))
    }

    /// The timestamp of a record in the batch.
    #[inline]
    pub(crate) fn timestamp(&self, delta: i64) -> i64 {
        self.log_append_time.unwrap_or_else(|| self.base_timestamp.wrapping_add(delta))
    }

    /// The position of the next record, from 0; `None` behind the last.
    #[inline]
    pub(crate) fn next_index(&self) -> Option<i32> {
        (self.index < self.count).then_some(self.index)
    }

    /// The next record was read.
    #[inline]
    pub(crate) fn advance(&mut self) {
        self.index += 1;
    }

    /// What is wrong if `remaining` bytes are left behind the last record.
    pub(crate) fn error_at_end(&self, remaining: usize) -> Option<RecordError> {
        error_at_end(remaining, self.count)
    }
}

/// After the last record nothing may be left.
#[cold]
fn error_at_end(remaining: usize, count: i32) -> Option<RecordError> {
    if count < 0 {
        Some(RecordError::InvalidRecordCount { count })
    } else if remaining > 0 {
        Some(RecordError::TrailingBytes { remaining, count })
    } else {
        None
    }
}

/// Says why the record at the start of `reader` does not parse.
#[cold]
fn what_is_wrong(mut reader: SliceReader<'_>) -> &'static str {
    fn find(reader: &mut SliceReader<'_>) -> Result<(), &'static str> {
        let length = reader.varint().ok_or("its length is cut off")?;
        let body = usize::try_from(length).ok().and_then(|length| reader.take(length));
        let mut body = SliceReader::new(body.ok_or("its length is not within the batch")?);
        body.byte().ok_or("it is empty")?;
        body.varlong().ok_or("its timestamp is cut off")?;
        body.varint().ok_or("its offset is cut off")?;
        body.nullable_bytes().ok_or("its key is cut off")?;
        body.nullable_bytes().ok_or("its value is cut off")?;
        Headers::check(&mut body)?;
        Ok(())
    }
    find(&mut reader).err().unwrap_or("it is shorter than its length")
}
