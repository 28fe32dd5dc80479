//! The writing of a message's fields.

use bytes::Bytes;

use super::{EncodeError, Records, UnknownTaggedField, UnknownTaggedFields, Wire, Writer};
use crate::Uuid;

/// Writes a message's fields one after another, for [`Wire::write`]: Kafka's `Writable`.
///
/// As in a [`Decoder`](super::Decoder) the first failure is kept and told when the message ends; what is written then is
/// nothing to be sent.
#[derive(Debug)]
pub struct Encoder<'a> {
    writer: &'a mut Writer,
    failure: Option<EncodeError>,
}

/// The tagged fields that end a flexible structure, while they are written in rising order: known ones as they are given,
/// and unknown ones between them.
#[derive(Debug)]
pub(crate) struct Tags<'a> {
    unknown: &'a [UnknownTaggedField],
    start: usize,
    count: u32,
    next: u32,
}

macro_rules! simple {
    ($($type:ty, $method:ident;)*) => {$(
        #[inline]
        pub(crate) fn $method(&mut self, value: $type) {
            self.writer.$method(value);
        }
    )*};
}

macro_rules! with_length {
    ($($type:ty, $method:ident;)*) => {$(
        #[inline]
        pub(crate) fn $method(&mut self, value: $type, flexible: bool) {
            let written = self.writer.$method(value, flexible);
            self.or_fail(written);
        }
    )*};
}

impl<'a> Encoder<'a> {
    pub(super) fn new(writer: &'a mut Writer) -> Self {
        Self { writer, failure: None }
    }

    /// Whether all could be written.
    pub(super) fn finish(self) -> Result<(), EncodeError> {
        self.failure.map_or(Ok(()), Err)
    }

    #[inline]
    fn or_fail(&mut self, written: Result<(), EncodeError>) {
        if let Err(error) = written {
            self.fail(error);
        }
    }

    #[cold]
    fn fail(&mut self, error: EncodeError) {
        self.failure.get_or_insert(error);
    }

    /// A field is set that the version lacks.
    #[cold]
    pub(crate) fn unsupported(&mut self, field: &'static str, version: i16) {
        self.fail(EncodeError::UnsupportedField { field, version });
    }

    /// A field is null where the version has no null.
    #[cold]
    pub(crate) fn unexpected_null(&mut self, field: &'static str, version: i16) {
        self.fail(EncodeError::UnexpectedNull { field, version });
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
        &str, string;
        Option<&str>, opt_string;
        &Bytes, bytes;
        Option<&Bytes>, opt_bytes;
        Option<&Records>, opt_records;
    }

    #[inline]
    pub(crate) fn records(&mut self, value: &Records, flexible: bool) {
        self.opt_records(Some(value), flexible);
    }

    fn array_len(&mut self, len: Option<usize>, flexible: bool) {
        let written = self.writer.array_len(len, flexible);
        self.or_fail(written);
    }

    pub(crate) fn array<T: Wire>(&mut self, items: &[T], version: i16, flexible: bool) {
        self.array_len(Some(items.len()), flexible);
        for item in items {
            item.write(self, version, flexible);
        }
    }

    pub(crate) fn opt_array<T: Wire>(&mut self, items: Option<&[T]>, version: i16, flexible: bool) {
        match items {
            Some(items) => self.array(items, version, flexible),
            None => self.array_len(None, flexible),
        }
    }

    /// A structure behind the byte 1, or the byte -1 for null.
    pub(crate) fn opt_struct<T: Wire>(&mut self, value: Option<&T>, version: i16, flexible: bool) {
        self.i8(if value.is_some() { 1 } else { -1 });
        if let Some(value) = value {
            value.write(self, version, flexible);
        }
    }

    /// A structure in a tagged field, where the mark is 1 or 0.
    pub(crate) fn opt_tagged_struct<T: Wire>(&mut self, value: Option<&T>, version: i16, flexible: bool) {
        self.writer.unsigned_varint(u32::from(value.is_some()));
        if let Some(value) = value {
            value.write(self, version, flexible);
        }
    }

    /// The tagged fields of a structure that has no known ones in this version.
    #[inline]
    pub(crate) fn unknown_tags(&mut self, fields: &UnknownTaggedFields, version: i16, flexible: bool) {
        if !fields.is_empty() {
            self.some_unknown_tags(fields, version, flexible);
        } else if flexible {
            self.writer.unsigned_varint(0);
        }
    }

    #[cold]
    fn some_unknown_tags(&mut self, fields: &UnknownTaggedFields, version: i16, flexible: bool) {
        if !flexible {
            return self.fail(EncodeError::UnsupportedTaggedFields(version));
        }
        let tags = self.tags(fields);
        self.end_tags(tags);
    }

    /// Begins the tagged fields of a structure; [`end_tags`](Self::end_tags) must follow.
    pub(crate) fn tags<'f>(&mut self, unknown: &'f UnknownTaggedFields) -> Tags<'f> {
        Tags { unknown: unknown.as_slice(), start: self.writer.open(), count: 0, next: 0 }
    }

    /// Begins a known field; [`end_tag`](Self::end_tag) with what this returns must follow.
    pub(crate) fn begin_tag(&mut self, tags: &mut Tags<'_>, tag: u32) -> usize {
        self.unknown_below(tags, Some(tag));
        self.tag_head(tags, tag);
        self.writer.open()
    }

    /// Ends a known field: puts its size in front of it.
    pub(crate) fn end_tag(&mut self, start: usize) {
        let size = self.tag_size(self.writer.size_since(start));
        self.writer.close(start, size);
    }

    /// Writes the unknown fields that are left, and in front of all how many there are.
    pub(crate) fn end_tags(&mut self, mut tags: Tags<'_>) {
        self.unknown_below(&mut tags, None);
        self.writer.close(tags.start, tags.count);
    }

    fn unknown_below(&mut self, tags: &mut Tags<'_>, limit: Option<u32>) {
        while let Some((field, rest)) = tags.unknown.split_first() {
            if limit.is_some_and(|limit| field.tag >= limit) {
                break;
            }
            self.tag_head(tags, field.tag);
            let size = self.tag_size(field.data.len());
            self.writer.unsigned_varint(size);
            self.writer.slice(&field.data);
            tags.unknown = rest;
        }
    }

    fn tag_head(&mut self, tags: &mut Tags<'_>, tag: u32) {
        if tag < tags.next {
            self.fail(EncodeError::TagOrder(tag));
        }
        tags.next = tag.saturating_add(1);
        tags.count += 1;
        self.writer.unsigned_varint(tag);
    }

    fn tag_size(&mut self, length: usize) -> u32 {
        u32::try_from(length).unwrap_or_else(|_| {
            self.fail(EncodeError::TooLong { length, limit: u32::MAX as usize });
            0
        })
    }
}
