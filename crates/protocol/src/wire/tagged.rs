use bytes::Bytes;

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
