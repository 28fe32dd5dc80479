use bytes::{Bytes, BytesMut};

use super::varint::{zigzag32, zigzag64};
use super::{EncodeError, Records};
use crate::Uuid;

/// Bytes of at least this many stay chunks of their own instead of being copied.
const OWN_CHUNK: usize = 4096;

/// Writes values into a list of chunks: small ones are gathered in a buffer, large byte sequences (such
/// as record batches, from 4 KiB on) are kept as they are, so that a vectored write can send them
/// without a copy.
#[derive(Debug, Default)]
pub struct Writer {
    /// The first chunk, kept writable for the length in front of a frame.
    head: BytesMut,
    chunks: Vec<Records>,
    /// Whether chunks may lie in files.
    takes_files: bool,
    /// The bytes of `head` and `chunks`.
    chunks_len: usize,
    buf: BytesMut,
    /// Above zero while a tagged field is written: its size goes in front of it, so it stays in `buf`.
    open_tags: u32,
}

impl Writer {
    /// Creates an empty writer.
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates an empty writer with room for `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { buf: BytesMut::with_capacity(capacity), ..Self::default() }
    }

    /// Returns how many bytes were written.
    pub fn len(&self) -> usize {
        self.chunks_len + self.buf.len()
    }

    /// Returns whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Creates an empty writer that takes records in files too, for [`into_parts`](Self::into_parts).
    pub fn with_files() -> Self {
        Self { takes_files: true, ..Self::default() }
    }

    /// Returns what was written, as chunks to be sent in this order. Of a writer [`with_files`](Self::with_files) those in
    /// files are missing.
    pub fn into_chunks(self) -> Vec<Bytes> {
        self.into_parts().into_iter().filter_map(Records::into_memory).collect()
    }

    /// Returns what was written, as parts to be sent in this order.
    pub fn into_parts(mut self) -> Vec<Records> {
        self.end_chunk();
        let mut parts = Vec::with_capacity(1 + self.chunks.len());
        if !self.head.is_empty() {
            parts.push(Records::Memory(self.head.freeze()));
        }
        parts.append(&mut self.chunks);
        parts
    }

    /// Returns what was written as one sequence; a copy when there is more than one chunk.
    pub fn into_bytes(self) -> Bytes {
        let len = self.len();
        let mut chunks = self.into_chunks();
        if chunks.len() < 2 {
            return chunks.pop().unwrap_or_default();
        }
        let mut all = BytesMut::with_capacity(len);
        for chunk in &chunks {
            all.extend_from_slice(chunk);
        }
        all.freeze()
    }

    /// Overwrites the first four bytes, which must have been written as a number before.
    pub(crate) fn set_first_i32(&mut self, value: i32) {
        let start = if self.head.is_empty() { &mut self.buf } else { &mut self.head };
        if let Some(bytes) = start.first_chunk_mut() {
            *bytes = value.to_be_bytes();
        }
    }

    fn end_chunk(&mut self) {
        if self.buf.is_empty() {
            return;
        }
        self.chunks_len += self.buf.len();
        let chunk = self.buf.split();
        if self.head.is_empty() && self.chunks.is_empty() {
            self.head = chunk;
        } else {
            self.chunks.push(Records::Memory(chunk.freeze()));
        }
    }

    /// Appends bytes by copy, without a length.
    #[inline]
    pub fn slice(&mut self, bytes: &[u8]) {
        self.buf.extend_from_slice(bytes);
    }

    /// Appends bytes without a length; from 4 KiB on they are not copied.
    pub fn chunk(&mut self, bytes: &Bytes) {
        if bytes.len() < OWN_CHUNK || self.open_tags > 0 {
            self.slice(bytes);
            return;
        }
        self.end_chunk();
        self.chunks_len += bytes.len();
        self.chunks.push(Records::Memory(bytes.clone()));
    }

    /// Writes a boolean as 0 or 1.
    #[inline]
    pub fn bool(&mut self, value: bool) {
        self.slice(&[u8::from(value)]);
    }

    /// Writes an 8-bit integer.
    #[inline]
    pub fn i8(&mut self, value: i8) {
        self.slice(&value.to_be_bytes());
    }

    /// Writes a big-endian 16-bit integer.
    #[inline]
    pub fn i16(&mut self, value: i16) {
        self.slice(&value.to_be_bytes());
    }

    /// Writes a big-endian unsigned 16-bit integer.
    #[inline]
    pub fn u16(&mut self, value: u16) {
        self.slice(&value.to_be_bytes());
    }

    /// Writes a big-endian 32-bit integer.
    #[inline]
    pub fn i32(&mut self, value: i32) {
        self.slice(&value.to_be_bytes());
    }

    /// Writes a big-endian unsigned 32-bit integer.
    #[inline]
    pub fn u32(&mut self, value: u32) {
        self.slice(&value.to_be_bytes());
    }

    /// Writes a big-endian 64-bit integer.
    #[inline]
    pub fn i64(&mut self, value: i64) {
        self.slice(&value.to_be_bytes());
    }

    /// Writes a big-endian double.
    #[inline]
    pub fn f64(&mut self, value: f64) {
        self.slice(&value.to_be_bytes());
    }

    /// Writes the 16 bytes of a [`Uuid`].
    #[inline]
    pub fn uuid(&mut self, value: Uuid) {
        self.slice(value.as_bytes());
    }

    /// Writes an unsigned varint.
    #[inline]
    pub fn unsigned_varint(&mut self, value: u32) {
        if value < 0x80 {
            self.slice(&[value as u8]);
        } else {
            self.long_varint(u64::from(value));
        }
    }

    /// Writes a zigzag-coded varint.
    #[inline]
    pub fn varint(&mut self, value: i32) {
        self.unsigned_varint(zigzag32(value));
    }

    /// Writes a zigzag-coded varint of up to 64 bits.
    #[inline]
    pub fn varlong(&mut self, value: i64) {
        self.long_varint(zigzag64(value));
    }

    fn long_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.slice(&[(value as u8 & 0x7f) | 0x80]);
            value >>= 7;
        }
        self.slice(&[value as u8]);
    }

    /// Writes a compact length, or null.
    fn compact_len(&mut self, len: Option<usize>) -> Result<(), EncodeError> {
        let value = match len {
            None => 0,
            Some(len) if len < i32::MAX as usize => len as u32 + 1,
            Some(length) => return Err(EncodeError::TooLong { length, limit: i32::MAX as usize - 1 }),
        };
        self.unsigned_varint(value);
        Ok(())
    }

    /// Writes the length of bytes or of an array, `None` for null.
    ///
    /// # Errors
    /// [`EncodeError::TooLong`] from 2 GiB on.
    pub fn array_len(&mut self, len: Option<usize>, flexible: bool) -> Result<(), EncodeError> {
        if flexible {
            return self.compact_len(len);
        }
        match len {
            None => self.i32(-1),
            Some(length) => {
                self.i32(i32::try_from(length).map_err(|_| EncodeError::TooLong { length, limit: i32::MAX as usize })?)
            }
        }
        Ok(())
    }

    /// Writes a string, or null.
    ///
    /// # Errors
    /// [`EncodeError::TooLong`] above 32,767 bytes.
    pub fn opt_string(&mut self, value: Option<&str>, flexible: bool) -> Result<(), EncodeError> {
        let Some(text) = value else {
            if flexible {
                self.unsigned_varint(0);
            } else {
                self.i16(-1);
            }
            return Ok(());
        };
        self.string(text, flexible)
    }

    /// Writes a string.
    ///
    /// # Errors
    /// [`EncodeError::TooLong`] above 32,767 bytes.
    pub fn string(&mut self, value: &str, flexible: bool) -> Result<(), EncodeError> {
        let Ok(len) = i16::try_from(value.len()) else {
            return Err(EncodeError::TooLong { length: value.len(), limit: i16::MAX as usize });
        };
        if flexible {
            self.unsigned_varint(u32::from(len.cast_unsigned()) + 1);
        } else {
            self.i16(len);
        }
        self.slice(value.as_bytes());
        Ok(())
    }

    /// Writes records, or null. Those in a file are taken by a writer [`with_files`](Self::with_files) only.
    pub(super) fn opt_records(&mut self, value: Option<&Records>, flexible: bool) -> Result<(), EncodeError> {
        match value {
            Some(Records::File(_)) if !self.takes_files => Err(EncodeError::NotInMemory),
            Some(Records::File(records)) => {
                self.array_len(Some(records.len), flexible)?;
                self.end_chunk();
                self.chunks_len += records.len;
                self.chunks.push(Records::File(records.clone()));
                Ok(())
            }
            Some(Records::Memory(bytes)) => self.bytes(bytes, flexible),
            None => self.opt_bytes(None, flexible),
        }
    }

    /// Writes bytes, or null.
    ///
    /// # Errors
    /// [`EncodeError::TooLong`] from 2 GiB on.
    pub fn opt_bytes(&mut self, value: Option<&Bytes>, flexible: bool) -> Result<(), EncodeError> {
        self.array_len(value.map(Bytes::len), flexible)?;
        if let Some(bytes) = value {
            self.chunk(bytes);
        }
        Ok(())
    }

    /// Writes bytes.
    ///
    /// # Errors
    /// [`EncodeError::TooLong`] from 2 GiB on.
    pub fn bytes(&mut self, value: &Bytes, flexible: bool) -> Result<(), EncodeError> {
        self.opt_bytes(Some(value), flexible)
    }

    /// Opens a part whose size or count will be put in front of it; returns where it starts.
    pub(super) fn open(&mut self) -> usize {
        self.open_tags += 1;
        self.buf.len()
    }

    /// Returns the size of the part that was opened at `start`.
    pub(super) fn size_since(&self, start: usize) -> usize {
        self.buf.len() - start
    }

    /// Ends the part that was opened at `start` and puts an unsigned varint in front of it.
    pub(super) fn close(&mut self, start: usize, number: u32) {
        self.open_tags -= 1;
        let end = self.buf.len();
        self.unsigned_varint(number);
        if let Some(part) = self.buf.get_mut(start..) {
            part.rotate_right(part.len() - (end - start));
        }
    }
}
