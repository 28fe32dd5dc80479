use std::borrow::Cow;
use std::iter::FusedIterator;

use super::varint::SliceReader;

/// One record, borrowing from its batch's decompressed bytes.
#[derive(Debug, Clone, Copy)]
pub struct RecordView<'a> {
    pub(crate) offset: i64,
    pub(crate) timestamp: i64,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) headers: Headers<'a>,
}

impl<'a> RecordView<'a> {
    /// The record's absolute offset.
    #[inline]
    pub fn offset(&self) -> i64 {
        self.offset
    }

    /// The record's timestamp in milliseconds, -1 for none. In a batch with log append time it is
    /// the batch's.
    #[inline]
    pub fn timestamp(&self) -> i64 {
        self.timestamp
    }

    /// The key, if it is not null.
    #[inline]
    pub fn key(&self) -> Option<&'a [u8]> {
        self.key
    }

    /// The value, if it is not null.
    #[inline]
    pub fn value(&self) -> Option<&'a [u8]> {
        self.value
    }

    /// The headers, in the producer's order.
    #[inline]
    pub fn headers(&self) -> Headers<'a> {
        self.headers
    }
}

/// One header of a record: a name, which need not be unique, and a value that may be null.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeaderView<'a> {
    key: &'a [u8],
    value: Option<&'a [u8]>,
}

impl<'a> HeaderView<'a> {
    /// A header to append to a batch.
    pub fn new(key: &'a str, value: Option<&'a [u8]>) -> Self {
        Self { key: key.as_bytes(), value }
    }

    /// The name; what is not UTF-8 in it is replaced, as Java does.
    pub fn key(&self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.key)
    }

    /// The bytes of the name.
    pub fn key_bytes(&self) -> &'a [u8] {
        self.key
    }

    /// The value, if it is not null.
    pub fn value(&self) -> Option<&'a [u8]> {
        self.value
    }
}

/// Iterates over the headers of a record.
///
/// They were checked when the record was parsed, so that the iteration cannot fail.
#[derive(Debug, Clone, Copy, Default)]
pub struct Headers<'a> {
    bytes: &'a [u8],
    count: u32,
}

impl<'a> Headers<'a> {
    /// No headers.
    pub const EMPTY: Self = Headers { bytes: &[], count: 0 };

    /// Takes the headers that `reader` holds, if they are well-formed and nothing follows them.
    #[inline(never)]
    pub(crate) fn read_to_end(mut reader: SliceReader<'a>) -> Option<Self> {
        let headers = Self::check(&mut reader).ok()?;
        (reader.len() == 0).then_some(headers)
    }

    /// Takes the headers at the start of `reader`, or says why they are not well-formed.
    pub(crate) fn check(reader: &mut SliceReader<'a>) -> Result<Self, &'static str> {
        let count = reader.varint().ok_or("its header count is cut off")?;
        let count = u32::try_from(count).map_err(|_| "its header count is negative")?;
        // A header has two bytes at least.
        if count as usize > reader.len() / 2 {
            return Err("its header count is larger than the rest of the record");
        }
        let bytes = reader.rest();
        for _ in 0..count {
            read_header(reader).ok_or("its headers are cut off or have a null name")?;
        }
        let length = bytes.len() - reader.len();
        Ok(Self { bytes: bytes.get(..length).unwrap_or_default(), count })
    }

    /// For headers that have been checked before.
    pub(crate) fn checked(bytes: &'a [u8], count: u32) -> Self {
        Self { bytes, count }
    }

    pub(crate) fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Number of headers left.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether no header is left.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The last header of this name, which is the one that counts by Kafka's convention.
    pub fn last(self, key: &str) -> Option<HeaderView<'a>> {
        self.filter(|header| header.key == key.as_bytes()).last()
    }
}

fn read_header<'a>(reader: &mut SliceReader<'a>) -> Option<HeaderView<'a>> {
    let key = reader.nullable_bytes()??;
    let value = reader.nullable_bytes()?;
    Some(HeaderView { key, value })
}

impl<'a> Iterator for Headers<'a> {
    type Item = HeaderView<'a>;

    fn next(&mut self) -> Option<HeaderView<'a>> {
        self.count = self.count.checked_sub(1)?;
        let mut reader = SliceReader::new(self.bytes);
        let header = read_header(&mut reader);
        self.bytes = reader.rest();
        header
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.len(), Some(self.len()))
    }
}

impl ExactSizeIterator for Headers<'_> {}

impl FusedIterator for Headers<'_> {}
