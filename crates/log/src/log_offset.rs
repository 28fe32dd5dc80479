//! An offset and where it is on disk.

/// An offset of a log together with the segment and the position that it is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogOffsetMetadata {
    /// The offset.
    pub message_offset: i64,
    /// Base offset of its segment; `None` where only the offset is known.
    pub segment_base_offset: Option<i64>,
    /// Position in the segment's file, in bytes; meaningful where the segment is known.
    pub relative_position_in_segment: u64,
}

impl LogOffsetMetadata {
    /// An offset of which the place is not known.
    pub fn only(message_offset: i64) -> Self {
        Self { message_offset, segment_base_offset: None, relative_position_in_segment: 0 }
    }

    /// An offset at a known place.
    pub(crate) fn at(message_offset: i64, segment_base_offset: i64, relative_position_in_segment: u64) -> Self {
        Self { message_offset, segment_base_offset: Some(segment_base_offset), relative_position_in_segment }
    }

    /// Whether only the offset is known.
    pub fn message_offset_only(&self) -> bool {
        self.segment_base_offset.is_none()
    }
}
