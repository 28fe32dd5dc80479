use bytes::Bytes;

use super::{EncodeError, Writer};

/// A tagged field that the code does not know, kept so that it can be written again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownTaggedField {
    /// The field's number within its structure.
    pub tag: u32,
    /// Its value as it lies on the wire, without tag and size.
    pub data: Bytes,
}

/// The tagged fields of a structure that the code does not know, in rising order of their tags.
///
/// It is nearly always empty and then takes one word and no allocation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
// A vector's three words in each of thousands of structures would be for nothing.
#[allow(clippy::box_collection)]
pub struct UnknownTaggedFields(Option<Box<Vec<UnknownTaggedField>>>);

impl UnknownTaggedFields {
    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }

    /// Returns the fields.
    pub fn as_slice(&self) -> &[UnknownTaggedField] {
        self.0.as_ref().map_or(&[], |fields| fields.as_slice())
    }

    /// Adds a field at the end.
    pub fn push(&mut self, tag: u32, data: Bytes) {
        self.0.get_or_insert_default().push(UnknownTaggedField { tag, data });
    }
}

impl Writer {
    /// Writes the tagged fields of a structure that has no known ones in this version.
    ///
    /// # Errors
    /// [`EncodeError::UnsupportedTaggedFields`] when there are some and the version is not flexible, or
    /// [`EncodeError::TagOrder`].
    #[inline]
    pub fn unknown_tags(
        &mut self,
        fields: &UnknownTaggedFields,
        version: i16,
        flexible: bool,
    ) -> Result<(), EncodeError> {
        if !fields.is_empty() {
            return self.some_unknown_tags(fields, version, flexible);
        }
        if flexible {
            self.unsigned_varint(0);
        }
        Ok(())
    }

    #[cold]
    fn some_unknown_tags(
        &mut self,
        fields: &UnknownTaggedFields,
        version: i16,
        flexible: bool,
    ) -> Result<(), EncodeError> {
        if !flexible {
            return Err(EncodeError::UnsupportedTaggedFields(version));
        }
        TagWriter::new(self, fields).finish()
    }
}

/// Writes the tagged fields that end a flexible structure: the known ones as they are given, in rising
/// order of their tags, and the unknown ones between them.
#[derive(Debug)]
pub struct TagWriter<'a> {
    writer: &'a mut Writer,
    unknown: &'a [UnknownTaggedField],
    start: usize,
    count: u32,
    next_tag: u32,
}

impl<'a> TagWriter<'a> {
    /// Opens the tagged fields of a structure.
    pub fn new(writer: &'a mut Writer, unknown: &'a UnknownTaggedFields) -> Self {
        let start = writer.open();
        Self { writer, unknown: unknown.as_slice(), start, count: 0, next_tag: 0 }
    }

    /// Writes one known field by the given function.
    ///
    /// # Errors
    /// Those of the function, [`EncodeError::TagOrder`], or [`EncodeError::TooLong`].
    #[inline]
    pub fn field(
        &mut self,
        tag: u32,
        write: impl FnOnce(&mut Writer) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        let start = self.begin(tag)?;
        write(self.writer)?;
        let size = self.writer.size_since(start);
        self.writer.close(start, field_len(size)?);
        Ok(())
    }

    fn begin(&mut self, tag: u32) -> Result<usize, EncodeError> {
        self.unknown_below(tag)?;
        self.head(tag)?;
        Ok(self.writer.open())
    }

    fn head(&mut self, tag: u32) -> Result<(), EncodeError> {
        if tag < self.next_tag {
            return Err(EncodeError::TagOrder(tag));
        }
        self.next_tag = tag.saturating_add(1);
        self.count += 1;
        self.writer.unsigned_varint(tag);
        Ok(())
    }

    fn unknown_below(&mut self, limit: u32) -> Result<(), EncodeError> {
        while let Some((field, rest)) = self.unknown.split_first() {
            if field.tag >= limit {
                break;
            }
            self.one_unknown(field)?;
            self.unknown = rest;
        }
        Ok(())
    }

    fn one_unknown(&mut self, field: &UnknownTaggedField) -> Result<(), EncodeError> {
        self.head(field.tag)?;
        self.writer.unsigned_varint(field_len(field.data.len())?);
        self.writer.slice(&field.data);
        Ok(())
    }

    /// Writes the remaining unknown fields and the number of fields in front of all.
    ///
    /// # Errors
    /// [`EncodeError::TagOrder`] or [`EncodeError::TooLong`].
    pub fn finish(mut self) -> Result<(), EncodeError> {
        for field in self.unknown {
            self.one_unknown(field)?;
        }
        self.writer.close(self.start, self.count);
        Ok(())
    }
}
fn field_len(length: usize) -> Result<u32, EncodeError> {
    u32::try_from(length).map_err(|_| EncodeError::TooLong { length, limit: u32::MAX as usize })
}
