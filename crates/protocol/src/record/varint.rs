//! Variable-length integers of the record format: zigzag, little end first, seven bits a byte.
//!
//! Readers take from the front of a slice, writers fill a slice that the caller has sized. Both
//! give `None` where the slice ends too early.

/// The reading end of a slice.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SliceReader<'a> {
    bytes: &'a [u8],
}

impl<'a> SliceReader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// What has not been read.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    #[inline]
    pub(crate) fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(first)
    }

    #[inline]
    pub(crate) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(length)?;
        self.bytes = rest;
        Some(taken)
    }

    #[inline]
    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.bytes.split_first_chunk::<N>()?;
        self.bytes = rest;
        Some(*taken)
    }

    #[inline]
    pub(crate) fn varint(&mut self) -> Option<i32> {
        // Nearly all have one byte or two.
        let (raw, rest) = match *self.bytes {
            [first, ref rest @ ..] if first < 0x80 => (u32::from(first), rest),
            [first, second, ref rest @ ..] if second < 0x80 => (u32::from(first & 0x7f) | u32::from(second) << 7, rest),
            _ => {
                let (raw, rest) = long_varint(self.bytes, 5)?;
                (raw as u32, rest)
            }
        };
        self.bytes = rest;
        Some((raw >> 1) as i32 ^ -((raw & 1) as i32))
    }

    #[inline]
    pub(crate) fn varlong(&mut self) -> Option<i64> {
        let (raw, rest) = match *self.bytes {
            [first, ref rest @ ..] if first < 0x80 => (u64::from(first), rest),
            [first, second, ref rest @ ..] if second < 0x80 => (u64::from(first & 0x7f) | u64::from(second) << 7, rest),
            _ => long_varint(self.bytes, 10)?,
        };
        self.bytes = rest;
        Some((raw >> 1) as i64 ^ -((raw & 1) as i64))
    }

    /// A length, then as many bytes; a negative length is a null (the outer `None` is an error).
    #[inline]
    pub(crate) fn nullable_bytes(&mut self) -> Option<Option<&'a [u8]>> {
        let length = self.varint()?;
        match usize::try_from(length) {
            Ok(length) => self.take(length).map(Some),
            Err(_) => Some(None),
        }
    }
}

/// Reads a varint of up to `max_length` bytes and gives what follows it.
#[inline(never)]
fn long_varint(bytes: &[u8], max_length: usize) -> Option<(u64, &[u8])> {
    let mut raw = 0;
    for (index, &byte) in bytes.iter().enumerate().take(max_length) {
        raw |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            return Some((raw, bytes.get(index + 1..)?));
        }
    }
    None
}

/// The writing end of a slice.
#[derive(Debug)]
pub(crate) struct SliceWriter<'a> {
    bytes: &'a mut [u8],
}

impl<'a> SliceWriter<'a> {
    pub(crate) fn new(bytes: &'a mut [u8]) -> Self {
        Self { bytes }
    }

    /// Bytes still free.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    #[inline]
    pub(crate) fn byte(&mut self, value: u8) -> Option<()> {
        let (first, rest) = std::mem::take(&mut self.bytes).split_first_mut()?;
        *first = value;
        self.bytes = rest;
        Some(())
    }

    #[inline]
    pub(crate) fn put(&mut self, value: &[u8]) -> Option<()> {
        let (room, rest) = std::mem::take(&mut self.bytes).split_at_mut_checked(value.len())?;
        room.copy_from_slice(value);
        self.bytes = rest;
        Some(())
    }

    #[inline]
    pub(crate) fn varint(&mut self, value: i32) -> Option<()> {
        self.unsigned(u64::from(zigzag32(value)))
    }

    #[inline]
    pub(crate) fn varlong(&mut self, value: i64) -> Option<()> {
        self.unsigned(zigzag64(value))
    }

    #[inline]
    fn unsigned(&mut self, raw: u64) -> Option<()> {
        // Nearly all have one byte or two.
        match raw {
            0..0x80 => self.byte(raw as u8),
            0x80..0x4000 => self.put(&[raw as u8 | 0x80, (raw >> 7) as u8]),
            _ => {
                let (bytes, length) = long_varint_bytes(raw);
                self.put(bytes.get(..length)?)
            }
        }
    }
}

/// The bytes of a varint, and how many they are. It gets no reference to a writer, which can stay
/// in registers then.
#[inline(never)]
fn long_varint_bytes(mut raw: u64) -> ([u8; 10], usize) {
    let mut bytes = [0; 10];
    for (index, byte) in bytes.iter_mut().enumerate() {
        if raw < 0x80 {
            *byte = raw as u8;
            return (bytes, index + 1);
        }
        *byte = raw as u8 | 0x80;
        raw >>= 7;
    }
    (bytes, bytes.len())
}

/// Appends a number as a record's varint: zigzag, seven bits a byte, the lowest first.
pub fn put_varint(value: i32, out: &mut Vec<u8>) {
    let (bytes, length) = long_varint_bytes(u64::from(zigzag32(value)));
    out.extend(bytes.into_iter().take(length));
}

/// A varint, as [`put_varint`] writes it, and what is behind it; `None` if it does not end within five bytes.
#[must_use]
pub fn split_varint(bytes: &[u8]) -> Option<(i32, &[u8])> {
    let mut reader = SliceReader::new(bytes);
    Some((reader.varint()?, reader.rest()))
}

#[inline]
fn zigzag32(value: i32) -> u32 {
    ((value << 1) ^ (value >> 31)) as u32
}

#[inline]
fn zigzag64(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// Bytes that [`SliceWriter::varint`] writes for `value`.
#[inline]
pub(crate) fn varint_size(value: i32) -> usize {
    unsigned_size(u64::from(zigzag32(value)))
}

/// Bytes that [`SliceWriter::varlong`] writes for `value`.
#[inline]
pub(crate) fn varlong_size(value: i64) -> usize {
    unsigned_size(zigzag64(value))
}

#[inline]
fn unsigned_size(raw: u64) -> usize {
    let bits = 64 - (raw | 1).leading_zeros() as usize;
    // One for every seven bits begun, for 1 to 64 bits.
    (bits * 9 + 64) / 64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_endless_one_is_none() {
        assert_eq!(split_varint(&[0x80; 9]), None);
    }

    proptest! {
        #[test]
        fn varints_are_split_from_what_is_behind_them(value: i32, rest: Vec<u8>) {
            let mut bytes = Vec::new();
            put_varint(value, &mut bytes);
            prop_assert_eq!(bytes.len(), varint_size(value));
            bytes.extend_from_slice(&rest);
            prop_assert_eq!(split_varint(&bytes), Some((value, &rest[..])));
        }

        #[test]
        fn varints_round_trip_in_the_announced_size(value: i32) {
            let mut buffer = [0; 8];
            let mut writer = SliceWriter::new(&mut buffer);
            writer.varint(value).unwrap();
            let written = 8 - writer.len();
            prop_assert_eq!(written, varint_size(value));
            let mut reader = SliceReader::new(&buffer[..written]);
            prop_assert_eq!(reader.varint(), Some(value));
            prop_assert_eq!(reader.len(), 0);
        }

        #[test]
        fn varlongs_round_trip_in_the_announced_size(value: i64) {
            let mut buffer = [0; 16];
            let mut writer = SliceWriter::new(&mut buffer);
            writer.varlong(value).unwrap();
            let written = 16 - writer.len();
            prop_assert_eq!(written, varlong_size(value));
            let mut reader = SliceReader::new(&buffer[..written]);
            prop_assert_eq!(reader.varlong(), Some(value));
            prop_assert_eq!(reader.len(), 0);
        }
    }

    #[test]
    fn zigzag_is_that_of_protocol_buffers() {
        for (value, bytes) in [
            (0, &[0x00][..]),
            (-1, &[0x01]),
            (1, &[0x02]),
            (63, &[0x7e]),
            (64, &[0x80, 0x01]),
            (i32::MAX, &[0xfe, 0xff, 0xff, 0xff, 0x0f]),
            (i32::MIN, &[0xff, 0xff, 0xff, 0xff, 0x0f]),
        ] {
            let mut buffer = [0; 5];
            let mut writer = SliceWriter::new(&mut buffer);
            writer.varint(value).unwrap();
            let free = writer.len();
            assert_eq!(&buffer[..5 - free], bytes, "{value}");
        }
    }

    #[test]
    fn varints_that_never_end_are_refused() {
        assert_eq!(SliceReader::new(&[0xff; 5]).varint(), None);
        assert_eq!(SliceReader::new(&[0xff; 10]).varlong(), None);
        assert_eq!(SliceReader::new(&[]).varint(), None);
        assert_eq!(SliceReader::new(&[0x80]).varlong(), None);
    }

    #[test]
    fn a_full_slice_is_not_written_past() {
        assert_eq!(SliceWriter::new(&mut [0; 1]).varint(64), None);
        assert_eq!(SliceWriter::new(&mut [0; 1]).put(b"ab"), None);
    }
}
