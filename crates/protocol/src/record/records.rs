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
        match self.cursor.next(&mut self.reader)? {
            Ok((record, _)) => Some(Ok(record)),
            Err(error) => Some(Err(error)),
        }
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

    /// The next record and its body, all that follows its length.
    #[inline]
    pub(crate) fn next<'a>(
        &mut self,
        reader: &mut SliceReader<'a>,
    ) -> Option<Result<(RecordView<'a>, &'a [u8]), RecordError>> {
        if self.index >= self.count {
            return self.finish(reader);
        }
        match self.read(reader) {
            Ok(record) => {
                self.index += 1;
                Some(Ok(record))
            }
            Err(reason) => Some(Err(self.fail(reader, reason))),
        }
    }

    /// How many records `left` bytes can hold. The count is the word of whoever wrote the batch.
    pub(crate) fn at_most(&self, left: usize) -> usize {
        const SMALLEST_RECORD: usize = 7;
        let counted = usize::try_from(self.count.saturating_sub(self.index)).unwrap_or_default();
        // One more for the error at the end.
        counted.min(left / SMALLEST_RECORD) + 1
    }

    #[inline]
    fn read<'a>(&self, reader: &mut SliceReader<'a>) -> Result<(RecordView<'a>, &'a [u8]), &'static str> {
        let length = reader.varint().ok_or("its length is cut off")?;
        let body = usize::try_from(length)
            .ok()
            .and_then(|length| reader.take(length))
            .ok_or("its length is not within the batch")?;
        let mut reader = SliceReader::new(body);
        // No attribute of a record is defined.
        reader.byte().ok_or("it is empty")?;
        let timestamp_delta = reader.varlong().ok_or("its timestamp is cut off")?;
        let offset_delta = reader.varint().ok_or("its offset is cut off")?;
        let key = reader.nullable_bytes().ok_or("its key is cut off")?;
        let value = reader.nullable_bytes().ok_or("its value is cut off")?;
        let headers = Headers::read(&mut reader)?;
        if reader.len() > 0 {
            return Err("it is shorter than its length");
        }
        let timestamp = match self.log_append_time {
            Some(timestamp) => timestamp,
            None => self.base_timestamp.wrapping_add(timestamp_delta),
        };
        let record = RecordView {
            offset: self.base_offset.wrapping_add(i64::from(offset_delta)),
            timestamp,
            key,
            value,
            headers,
        };
        Ok((record, body))
    }

    /// After the last record nothing may be left.
    #[cold]
    fn finish<T>(&mut self, reader: &mut SliceReader<'_>) -> Option<Result<T, RecordError>> {
        let count = self.count;
        let remaining = reader.len();
        *reader = SliceReader::new(&[]);
        if count < 0 {
            self.count = 0;
            return Some(Err(RecordError::InvalidRecordCount { count }));
        }
        (remaining > 0).then_some(Err(RecordError::TrailingBytes { remaining, count }))
    }

    #[cold]
    fn fail(&mut self, reader: &mut SliceReader<'_>, reason: &'static str) -> RecordError {
        *reader = SliceReader::new(&[]);
        self.count = self.index;
        RecordError::InvalidRecord { index: self.index, reason }
    }
}
