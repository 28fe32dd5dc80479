use thiserror::Error;

use super::Message;

/// Why bytes are not the value they should be.
///
/// None of these goes away by a retry: the peer speaks something else, or the bytes are damaged.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The version is outside the range that the message has.
    #[error("version {version} of {message} is not supported: it has versions {min} to {max}")]
    UnsupportedVersion {
        /// The message's name in Kafka's specification.
        message: &'static str,
        /// The version asked for.
        version: i16,
        /// The lowest supported version.
        min: i16,
        /// The highest supported version.
        max: i16,
    },
    /// The value goes on past the end of the bytes.
    #[error("{needed} bytes are needed where {remaining} remain")]
    Truncated {
        /// How many bytes the value needs.
        needed: u32,
        /// How many there are.
        remaining: u32,
    },
    /// A length or count is negative where it may not be, or more than its type allows.
    #[error("length {0} is out of range")]
    InvalidLength(i64),
    /// Null stands where the version does not allow it.
    #[error("null where the version has no null")]
    UnexpectedNull,
    /// A string is not UTF-8.
    #[error("a string is not valid UTF-8")]
    InvalidUtf8,
    /// A varint does not end within the bytes its type may have.
    #[error("a varint is longer than its type allows")]
    InvalidVarint,
    /// A tagged field does not fill the size that it states.
    #[error("tagged field {tag} leaves {left} bytes of its size unread")]
    TaggedFieldSize {
        /// The field's tag.
        tag: u32,
        /// How many bytes were left.
        left: u32,
    },
    /// Bytes follow a value that should be the last.
    #[error("{0} bytes follow the end of the value")]
    TrailingBytes(u32),
    /// A type or version number that prefixes a record is not known.
    #[error("{what} {value} is not known")]
    Unknown {
        /// What the number stands for, such as `record type`.
        what: &'static str,
        /// The number.
        value: i32,
    },
}

impl DecodeError {
    #[cold]
    pub(crate) fn unsupported_version<M: Message>(version: i16) -> Self {
        Self::UnsupportedVersion { message: M::NAME, version, min: M::MIN_VERSION, max: M::MAX_VERSION }
    }

    #[cold]
    pub(crate) fn truncated(needed: usize, remaining: usize) -> Self {
        Self::Truncated { needed: saturate(needed), remaining: saturate(remaining) }
    }
}

/// Why a value cannot be written in the version asked for.
///
/// None of these goes away by a retry of the same value in the same version.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The version is outside the range that the message has.
    #[error("version {version} of {message} is not supported: it has versions {min} to {max}")]
    UnsupportedVersion {
        /// The message's name in Kafka's specification.
        message: &'static str,
        /// The version asked for.
        version: i16,
        /// The lowest supported version.
        min: i16,
        /// The highest supported version.
        max: i16,
    },
    /// A field is set that the version does not have and that must not be dropped in silence.
    #[error("field `{field}` is set, but version {version} does not have it")]
    UnsupportedField {
        /// The field's path, such as `FetchRequest.replica_state`.
        field: &'static str,
        /// The version asked for.
        version: i16,
    },
    /// A field is null that may not be null in the version.
    #[error("field `{field}` is null, but version {version} has no null for it")]
    UnexpectedNull {
        /// The field's path, such as `MetadataRequest.topics`.
        field: &'static str,
        /// The version asked for.
        version: i16,
    },
    /// Unknown tagged fields are set, but the version has no tagged fields.
    #[error("tagged fields are set, but version {0} has none")]
    UnsupportedTaggedFields(i16),
    /// Unknown tagged fields are not in rising order of their tags, or repeat a known tag.
    #[error("unknown tagged field {0} is out of order")]
    TagOrder(u32),
    /// A string, a byte sequence or an array is longer than its length field can say.
    #[error("length {length} is above the limit of {limit}")]
    TooLong {
        /// The length.
        length: usize,
        /// The most that is possible.
        limit: usize,
    },
    /// Records lie in a file, and whoever sends the message takes memory only.
    #[error("records in a file where they have to be in memory")]
    NotInMemory,
}

impl EncodeError {
    #[cold]
    pub(crate) fn unsupported_version<M: Message>(version: i16) -> Self {
        Self::UnsupportedVersion { message: M::NAME, version, min: M::MIN_VERSION, max: M::MAX_VERSION }
    }
}

pub(crate) fn saturate(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
