//! The reading of a message's fields.

use bytes::Bytes;

use super::reader::{Reader, Tag};
use super::{DecodeError, Records, UnknownTaggedFields, Wire};
use crate::Uuid;

/// An array's first allocation, in elements: above that it grows with what was really read.
const FIRST_CAPACITY: usize = 4096;

/// Reads a message's fields one after another, for [`Wire::read`]: Kafka's `Readable`.
///
/// The first failure is kept and told when the message ends; what is read after it is empty. So the code of a message, of
/// which there are hundreds, has one way through it and not one out of it behind each field.
#[derive(Debug)]
pub struct Decoder<'a> {
    reader: &'a mut Reader,
    failure: Option<DecodeError>,
}

macro_rules! simple {
    ($($type:ty, $method:ident;)*) => {$(
        #[inline]
        pub(crate) fn $method(&mut self) -> $type {
            let read = self.reader.$method();
            self.or_fail(read)
        }
    )*};
}

macro_rules! with_length {
    ($($type:ty, $method:ident;)*) => {$(
        #[inline]
        pub(crate) fn $method(&mut self, flexible: bool) -> $type {
            let read = self.reader.$method(flexible);
            self.or_fail(read)
        }
    )*};
}

impl<'a> Decoder<'a> {
    pub(super) fn new(reader: &'a mut Reader) -> Self {
        Self { reader, failure: None }
    }

    /// Whether all could be read.
    pub(super) fn finish(self) -> Result<(), DecodeError> {
        self.failure.map_or(Ok(()), Err)
    }

    #[inline]
    fn or_fail<T: Default>(&mut self, read: Result<T, DecodeError>) -> T {
        match read {
            Ok(value) => value,
            Err(error) => {
                self.fail(error);
                T::default()
            }
        }
    }

    #[cold]
    fn fail(&mut self, error: DecodeError) {
        self.failure.get_or_insert(error);
        self.reader.drop_rest();
    }

    simple! {
        bool, bool;
        i8, i8;
        i16, i16;
        u16, u16;
        i32, i32;
        i64, i64;
        f64, f64;
        Uuid, uuid;
    }

    with_length! {
        String, string;
        Option<String>, opt_string;
        Bytes, bytes;
        Option<Bytes>, opt_bytes;
    }

    #[inline]
    pub(crate) fn records(&mut self, flexible: bool) -> Records {
        Records::Memory(self.bytes(flexible))
    }

    #[inline]
    pub(crate) fn opt_records(&mut self, flexible: bool) -> Option<Records> {
        self.opt_bytes(flexible).map(Records::Memory)
    }

    fn opt_array_len(&mut self, flexible: bool, min_size: usize) -> Option<usize> {
        let read = self.reader.array_len(flexible, min_size);
        self.or_fail(read)
    }

    fn array_len(&mut self, flexible: bool, min_size: usize) -> usize {
        self.opt_array_len(flexible, min_size).unwrap_or_else(|| {
            self.fail(DecodeError::UnexpectedNull);
            0
        })
    }

    /// Nothing is gathered that could not be read.
    fn items<T: Wire>(&mut self, len: usize, version: i16, flexible: bool) -> Vec<T> {
        let mut items = Vec::with_capacity(len.min(FIRST_CAPACITY));
        while items.len() < len && self.failure.is_none() {
            items.push(T::read(self, version, flexible));
        }
        items
    }

    pub(crate) fn array<T: Wire>(&mut self, version: i16, flexible: bool) -> Vec<T> {
        let len = self.array_len(flexible, T::MIN_SIZE);
        self.items(len, version, flexible)
    }

    pub(crate) fn opt_array<T: Wire>(&mut self, version: i16, flexible: bool) -> Option<Vec<T>> {
        let len = self.opt_array_len(flexible, T::MIN_SIZE)?;
        Some(self.items(len, version, flexible))
    }

    /// A structure that may be null: a byte below 0 says that it is.
    pub(crate) fn opt_struct<T: Wire>(&mut self, version: i16, flexible: bool) -> Option<T> {
        if self.i8() < 0 {
            return None;
        }
        Some(T::read(self, version, flexible))
    }

    /// The same in a tagged field, where the mark is an unsigned varint, 0 for null.
    pub(crate) fn opt_tagged_struct<T: Wire>(&mut self, version: i16, flexible: bool) -> Option<T> {
        let read = self.reader.unsigned_varint();
        // Kafka compares as a signed number.
        if self.or_fail(read).cast_signed() <= 0 {
            return None;
        }
        Some(T::read(self, version, flexible))
    }

    /// The number of tagged fields that end a flexible structure.
    #[inline]
    pub(crate) fn tags(&mut self, flexible: bool) -> u32 {
        if !flexible {
            return 0;
        }
        let read = self.reader.unsigned_varint();
        self.or_fail(read)
    }

    /// The next of `left` tagged fields; [`end_tag`](Self::end_tag) must follow.
    pub(crate) fn next_tag(&mut self, left: &mut u32) -> Option<Tag> {
        *left = left.checked_sub(1)?;
        match self.reader.begin_tag() {
            Ok(tag) => Some(tag),
            Err(error) => {
                self.fail(error);
                None
            }
        }
    }

    pub(crate) fn end_tag(&mut self, tag: Tag) {
        // After a failure what follows is not to be read either, and the failure is why something is left.
        if self.failure.is_none()
            && let Err(error) = self.reader.end_tag(tag)
        {
            self.fail(error);
        }
    }

    /// Keeps a tagged field that this version of the code does not know.
    pub(crate) fn unknown_tag(&mut self, tag: &Tag, fields: &mut UnknownTaggedFields) {
        fields.push(tag.number, self.reader.take_rest());
    }

    /// The tagged fields of a structure that has no known ones.
    pub(crate) fn unknown_tags(&mut self, flexible: bool) -> UnknownTaggedFields {
        let mut fields = UnknownTaggedFields::default();
        let mut left = self.tags(flexible);
        while let Some(tag) = self.next_tag(&mut left) {
            self.unknown_tag(&tag, &mut fields);
            self.end_tag(tag);
        }
        fields
    }
}
