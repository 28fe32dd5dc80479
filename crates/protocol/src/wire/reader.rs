use bytes::{Buf, Bytes};

use super::DecodeError;
use super::error::saturate;
use super::varint::{unzigzag32, unzigzag64};
use crate::Uuid;

/// Reads values from bytes; what it returns as [`Bytes`] are slices of them, not copies.
///
/// Every length is checked against the bytes that remain before anything is allocated, and an error
/// leaves the position somewhere within the bytes: a reader that has failed is to be dropped.
#[derive(Debug, Clone)]
pub struct Reader {
    /// What is left; while a tagged field is read, what is left of that.
    rest: Bytes,
    /// How many bytes were there, less what is put aside while a tagged field is read.
    end: usize,
}

impl Reader {
    /// Creates a reader at the start of the bytes.
    pub fn new(bytes: Bytes) -> Self {
        Self { end: bytes.len(), rest: bytes }
    }

    /// Returns how many bytes are left.
    #[inline]
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Returns how many bytes were read so far.
    #[inline]
    pub fn position(&self) -> usize {
        self.end - self.rest.len()
    }

    /// Returns what is left, without a copy.
    pub fn into_rest(self) -> Bytes {
        self.rest
    }

    /// Checks that nothing is left.
    ///
    /// # Errors
    /// [`DecodeError::TrailingBytes`] when something is.
    pub fn finish(&self) -> Result<(), DecodeError> {
        match self.remaining() {
            0 => Ok(()),
            n => Err(DecodeError::TrailingBytes(saturate(n))),
        }
    }

    /// Reads `len` bytes as a slice that shares the buffer.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`], as for every method here that reads.
    #[inline]
    pub fn take_bytes(&mut self, len: usize) -> Result<Bytes, DecodeError> {
        if len > self.rest.len() {
            return Err(DecodeError::truncated(len, self.rest.len()));
        }
        Ok(self.rest.split_to(len))
    }

    #[inline]
    fn array_of<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        match self.rest.first_chunk::<N>() {
            Some(bytes) => {
                let bytes = *bytes;
                self.rest.advance(N);
                Ok(bytes)
            }
            None => Err(DecodeError::truncated(N, self.rest.len())),
        }
    }

    /// Reads a boolean: any byte but 0 is true, as in Kafka.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    #[inline]
    pub fn bool(&mut self) -> Result<bool, DecodeError> {
        Ok(self.i8()? != 0)
    }

    /// Reads an 8-bit integer.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    #[inline]
    pub fn i8(&mut self) -> Result<i8, DecodeError> {
        Ok(i8::from_be_bytes(self.array_of()?))
    }

    /// Reads a big-endian 16-bit integer.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    #[inline]
    pub fn i16(&mut self) -> Result<i16, DecodeError> {
        Ok(i16::from_be_bytes(self.array_of()?))
    }

    /// Reads a big-endian unsigned 16-bit integer.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    #[inline]
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        Ok(u16::from_be_bytes(self.array_of()?))
    }

    /// Reads a big-endian 32-bit integer.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    #[inline]
    pub fn i32(&mut self) -> Result<i32, DecodeError> {
        Ok(i32::from_be_bytes(self.array_of()?))
    }

    /// Reads a big-endian unsigned 32-bit integer.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    #[inline]
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_be_bytes(self.array_of()?))
    }

    /// Reads a big-endian 64-bit integer.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    #[inline]
    pub fn i64(&mut self) -> Result<i64, DecodeError> {
        Ok(i64::from_be_bytes(self.array_of()?))
    }

    /// Reads a big-endian double.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    #[inline]
    pub fn f64(&mut self) -> Result<f64, DecodeError> {
        Ok(f64::from_be_bytes(self.array_of()?))
    }

    /// Reads the 16 bytes of a [`Uuid`].
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    #[inline]
    pub fn uuid(&mut self) -> Result<Uuid, DecodeError> {
        Ok(Uuid::from_bytes(self.array_of()?))
    }

    /// Reads an unsigned varint of up to 32 bits.
    ///
    /// # Errors
    /// [`DecodeError::InvalidVarint`] when it does not end within five bytes, or
    /// [`DecodeError::Truncated`].
    #[inline]
    pub fn unsigned_varint(&mut self) -> Result<u32, DecodeError> {
        let first = self.i8()?;
        if first >= 0 {
            return Ok(u32::from(first.cast_unsigned()));
        }
        self.long_varint(u64::from(first.cast_unsigned()), 5).map(|value| {
            // Kafka drops what is above 32 bits, too.
            value as u32
        })
    }

    /// Reads a zigzag-coded varint of up to 32 bits.
    ///
    /// # Errors
    /// As [`Reader::unsigned_varint`].
    #[inline]
    pub fn varint(&mut self) -> Result<i32, DecodeError> {
        Ok(unzigzag32(self.unsigned_varint()?))
    }

    /// Reads a zigzag-coded varint of up to 64 bits.
    ///
    /// # Errors
    /// [`DecodeError::InvalidVarint`] when it does not end within ten bytes, or
    /// [`DecodeError::Truncated`].
    #[inline]
    pub fn varlong(&mut self) -> Result<i64, DecodeError> {
        let first = self.i8()?.cast_unsigned();
        if first < 0x80 {
            return Ok(unzigzag64(u64::from(first)));
        }
        Ok(unzigzag64(self.long_varint(u64::from(first), 10)?))
    }

    fn long_varint(&mut self, first: u64, max_len: u32) -> Result<u64, DecodeError> {
        let mut value = first & 0x7f;
        for index in 1..max_len {
            let byte = u64::from(self.i8()?.cast_unsigned());
            value |= (byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(DecodeError::InvalidVarint)
    }

    /// Reads a compact length: `None` for null.
    #[inline]
    fn compact_len(&mut self) -> Result<Option<usize>, DecodeError> {
        Ok(match self.unsigned_varint()? {
            0 => None,
            n => Some((n - 1) as usize),
        })
    }

    #[inline]
    fn fixed_len(len: i32) -> Result<Option<usize>, DecodeError> {
        match len {
            -1 => Ok(None),
            n => usize::try_from(n).map(Some).map_err(|_| DecodeError::InvalidLength(i64::from(n))),
        }
    }

    /// Reads a string that may be null.
    ///
    /// # Errors
    /// [`DecodeError::InvalidUtf8`], [`DecodeError::InvalidLength`] or [`DecodeError::Truncated`].
    pub fn opt_string(&mut self, flexible: bool) -> Result<Option<String>, DecodeError> {
        let len = if flexible { self.compact_len()? } else { Self::fixed_len(i32::from(self.i16()?))? };
        let Some(len) = len else { return Ok(None) };
        // The compact form could say more, but Kafka refuses what the older form could not.
        if len > i16::MAX as usize {
            return Err(DecodeError::InvalidLength(len as i64));
        }
        let Some(text) = self.rest.get(..len) else {
            return Err(DecodeError::truncated(len, self.rest.len()));
        };
        let text = std::str::from_utf8(text).map_err(|_| DecodeError::InvalidUtf8)?.to_owned();
        self.rest.advance(len);
        Ok(Some(text))
    }

    /// Reads a string.
    ///
    /// # Errors
    /// [`DecodeError::UnexpectedNull`], or as [`Reader::opt_string`].
    pub fn string(&mut self, flexible: bool) -> Result<String, DecodeError> {
        self.opt_string(flexible)?.ok_or(DecodeError::UnexpectedNull)
    }

    /// Reads bytes that may be null.
    ///
    /// # Errors
    /// [`DecodeError::InvalidLength`] or [`DecodeError::Truncated`].
    #[inline]
    pub fn opt_bytes(&mut self, flexible: bool) -> Result<Option<Bytes>, DecodeError> {
        let len = if flexible { self.compact_len()? } else { Self::fixed_len(self.i32()?)? };
        match len {
            None => Ok(None),
            Some(len) => self.take_bytes(len).map(Some),
        }
    }

    /// Reads bytes.
    ///
    /// # Errors
    /// [`DecodeError::UnexpectedNull`], or as [`Reader::opt_bytes`].
    #[inline]
    pub fn bytes(&mut self, flexible: bool) -> Result<Bytes, DecodeError> {
        self.opt_bytes(flexible)?.ok_or(DecodeError::UnexpectedNull)
    }

    /// Reads the length of an array whose elements take at least `min_size` bytes: `None` for null.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] when so many elements cannot be in what remains,
    /// [`DecodeError::InvalidLength`] when the length is negative.
    pub fn array_len(&mut self, flexible: bool, min_size: usize) -> Result<Option<usize>, DecodeError> {
        let len = if flexible { self.compact_len()? } else { Self::fixed_len(self.i32()?)? };
        if let Some(len) = len {
            let needed = len.saturating_mul(min_size.max(1));
            if needed > self.remaining() {
                return Err(DecodeError::truncated(needed, self.remaining()));
            }
        }
        Ok(len)
    }

    /// Drops what is left.
    pub(super) fn drop_rest(&mut self) {
        self.rest.clear();
    }

    /// Reads the head of a tagged field and limits the reader to it; [`end_tag`](Self::end_tag) must follow.
    pub(super) fn begin_tag(&mut self) -> Result<Tag, DecodeError> {
        let number = self.unsigned_varint()?;
        let size = self.unsigned_varint()? as usize;
        if size > self.remaining() {
            return Err(DecodeError::truncated(size, self.remaining()));
        }
        let value = self.rest.split_to(size);
        self.end -= self.rest.len();
        Ok(Tag { number, after: std::mem::replace(&mut self.rest, value) })
    }

    /// Ends a tagged field, of which nothing may be left.
    pub(super) fn end_tag(&mut self, tag: Tag) -> Result<(), DecodeError> {
        let left = self.remaining();
        self.end += tag.after.len();
        self.rest = tag.after;
        if left > 0 {
            return Err(DecodeError::TaggedFieldSize { tag: tag.number, left: saturate(left) });
        }
        Ok(())
    }

    /// Takes what is left.
    pub(super) fn take_rest(&mut self) -> Bytes {
        std::mem::take(&mut self.rest)
    }
}

/// The head of a tagged field being read.
#[derive(Debug)]
pub(crate) struct Tag {
    /// The field's number.
    pub(crate) number: u32,
    /// What follows the field.
    after: Bytes,
}
