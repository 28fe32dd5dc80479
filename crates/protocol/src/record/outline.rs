use std::iter::FusedIterator;

use super::compression::{DecompressedStream, Walk};
use super::records::RecordCursor;
use super::{RecordError, RecordView, Records};

/// What can be told of a record without its key, value and headers, which may be gigabytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordOutline {
    /// The record's absolute offset.
    pub offset: i64,
    /// The record's timestamp in milliseconds, -1 for none; that of the batch where it has log append time.
    pub timestamp: i64,
    /// Whether the key is not null.
    pub has_key: bool,
}

impl RecordOutline {
    #[inline]
    pub(crate) fn of(record: &RecordView<'_>) -> Self {
        Self { offset: record.offset(), timestamp: record.timestamp(), has_key: record.key().is_some() }
    }
}

/// Iterates over the records of a batch, compressed or not, and checks their form, with little in memory at a time: see
/// [`RecordBatch::outlines`](super::RecordBatch::outlines).
///
/// It ends as [`Records`] does.
#[derive(Debug)]
pub struct RecordOutlines<'a> {
    inner: Inner<'a>,
}

#[derive(Debug)]
pub(crate) enum Inner<'a> {
    Whole(Records<'a>),
    Streamed(Streamed<'a>),
}

impl<'a> RecordOutlines<'a> {
    pub(crate) fn new(header: &super::RecordBatchHeader, walk: Walk<'a>) -> Self {
        let inner = match walk {
            Walk::Whole(records) => Inner::Whole(Records::new(header, records)),
            Walk::Stream(stream) => {
                Inner::Streamed(Streamed { cursor: RecordCursor::new(header), stream: Some(stream) })
            }
        };
        Self { inner }
    }

    /// The records themselves where they are in memory anyway, or else what streams them.
    pub(crate) fn into_inner(self) -> Inner<'a> {
        self.inner
    }
}

impl Iterator for RecordOutlines<'_> {
    type Item = Result<RecordOutline, RecordError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.inner {
            Inner::Whole(records) => records.next().map(|record| record.map(|record| RecordOutline::of(&record))),
            Inner::Streamed(streamed) => streamed.next(),
        }
    }
}

impl FusedIterator for RecordOutlines<'_> {}

#[derive(Debug)]
pub(crate) struct Streamed<'a> {
    cursor: RecordCursor,
    /// `None` behind the end.
    stream: Option<DecompressedStream<'a>>,
}

impl Iterator for Streamed<'_> {
    type Item = Result<RecordOutline, RecordError>;

    fn next(&mut self) -> Option<Result<RecordOutline, RecordError>> {
        let stream = self.stream.as_mut()?;
        if let Some(index) = self.cursor.next_index() {
            match read(stream, &self.cursor) {
                Ok(record) => {
                    self.cursor.advance();
                    return Some(Ok(record));
                }
                Err(error) => {
                    self.stream = None;
                    return Some(Err(match error {
                        Wrong::Stream(error) => error,
                        Wrong::Record(reason) => RecordError::InvalidRecord { index, reason },
                    }));
                }
            }
        }
        let remaining = stream.skip(usize::MAX);
        self.stream = None;
        match remaining {
            Ok(remaining) => self.cursor.error_at_end(remaining).map(Err),
            Err(error) => Some(Err(error)),
        }
    }
}

/// Why a record is not read.
enum Wrong {
    /// What does not parse of it.
    Record(&'static str),
    /// What it comes from failed.
    Stream(RecordError),
}

impl From<RecordError> for Wrong {
    fn from(error: RecordError) -> Self {
        Self::Stream(error)
    }
}

fn read(stream: &mut DecompressedStream<'_>, cursor: &RecordCursor) -> Result<RecordOutline, Wrong> {
    const OUTSIDE: &str = "its length is not within the batch";
    // The five bytes of the longest length.
    let length = Body { stream, left: 5 }.varint("its length is cut off")?;
    let left = usize::try_from(length).map_err(|_| Wrong::Record(OUTSIDE))?;
    let mut body = Body { stream, left };
    // No attribute of a record is defined.
    body.byte("it is empty")?;
    let timestamp_delta = body.varlong("its timestamp is cut off")?;
    let offset_delta = body.varint("its offset is cut off")?;
    let has_key = body.skip_nullable("its key is cut off")?;
    body.skip_nullable("its value is cut off")?;
    body.skip_headers()?;
    if body.left > 0 {
        return Err(Wrong::Record("it is shorter than its length"));
    }
    Ok(RecordOutline { offset: cursor.offset(offset_delta), timestamp: cursor.timestamp(timestamp_delta), has_key })
}

/// A record that is read byte by byte, as far as its length goes.
struct Body<'s, 'a> {
    stream: &'s mut DecompressedStream<'a>,
    left: usize,
}

impl Body<'_, '_> {
    #[inline]
    fn byte(&mut self, reason: &'static str) -> Result<u8, Wrong> {
        self.left = self.left.checked_sub(1).ok_or(Wrong::Record(reason))?;
        self.stream.byte()?.ok_or(Wrong::Record(reason))
    }

    #[inline]
    fn raw(&mut self, max_length: u32, reason: &'static str) -> Result<u64, Wrong> {
        let mut raw = 0;
        for index in 0..max_length {
            let byte = self.byte(reason)?;
            raw |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                return Ok(raw);
            }
        }
        Err(Wrong::Record(reason))
    }

    fn varint(&mut self, reason: &'static str) -> Result<i32, Wrong> {
        let raw = self.raw(5, reason)? as u32;
        Ok((raw >> 1) as i32 ^ -((raw & 1) as i32))
    }

    fn varlong(&mut self, reason: &'static str) -> Result<i64, Wrong> {
        let raw = self.raw(10, reason)?;
        Ok((raw >> 1) as i64 ^ -((raw & 1) as i64))
    }

    /// Skips a length and as many bytes; whether they are not null.
    fn skip_nullable(&mut self, reason: &'static str) -> Result<bool, Wrong> {
        let length = self.varint(reason)?;
        let Ok(length) = usize::try_from(length) else { return Ok(false) };
        self.left = self.left.checked_sub(length).ok_or(Wrong::Record(reason))?;
        if self.stream.skip(length)? < length {
            return Err(Wrong::Record(reason));
        }
        Ok(true)
    }

    fn skip_headers(&mut self) -> Result<(), Wrong> {
        const CUT_OFF: &str = "its headers are cut off or have a null name";
        let count = self.varint("its header count is cut off")?;
        let count = usize::try_from(count).map_err(|_| Wrong::Record("its header count is negative"))?;
        // A header has two bytes at least.
        if count > self.left / 2 {
            return Err(Wrong::Record("its header count is larger than the rest of the record"));
        }
        for _ in 0..count {
            if !self.skip_nullable(CUT_OFF)? {
                return Err(Wrong::Record(CUT_OFF));
            }
            self.skip_nullable(CUT_OFF)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
