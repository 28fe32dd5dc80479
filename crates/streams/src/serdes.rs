//! Keys and values as bytes: the serdes of [`vltava_serde`], and those of what Streams alone has.
//!
//! | type | serde | bytes | Kafka's class in `Serdes` |
//! |---|---|---|---|
//! | `String` | [`StringSerde`] | UTF-8 | `StringSerde` |
//! | `i16`, `i32`, `i64`, `f32`, `f64` | [`BigEndian`] | big-endian, IEEE 754 | `ShortSerde` … `DoubleSerde` |
//! | `bool` | [`BooleanSerde`] | 0 or 1 | `BooleanSerde` |
//! | `Vec<u8>`, `Bytes` | [`BytesSerde`] | as they are | `ByteArraySerde`, `BytesSerde`, `ByteBufferSerde` |
//! | `Uuid` | [`UuidSerde`] | 36 characters | `UUIDSerde` |
//! | `Vec<T>`, `Vec<Option<T>>` | [`ListSerde`] | with or without lengths | `ListSerde` |
//! | [`Void`] | [`VoidSerde`] | none: only null passes | `VoidSerde` |
//! | `()` | [`UnitSerde`] | none | – |
//! | [`Json<T>`](Json) | [`JsonSerde`] | JSON | – |
//! | [`Windowed<K>`](crate::Windowed) | [`TimeWindowedSerde`], [`SessionWindowedSerde`] | the key's, then the window | `timeWindowedSerdeFrom` |

mod change;
#[cfg(test)]
mod tests;
mod windowed;

pub use vltava_serde::{
    BigEndian, BooleanSerde, BytesSerde, Configured, Json, JsonSerde, ListSerde, Serde, SerdeConfig, SerdeRef,
    StringSerde, UnitSerde, UuidSerde, Void, VoidSerde, configured, serde_of,
};

pub(crate) use change::ChangeSerde;
use vltava_serde::SerdeError;
pub use windowed::{SessionWindowedSerde, TimeWindowedSerde};

/// A length as the formats of stores and topics have it.
///
/// # Errors
/// If they have no room for it.
pub(crate) fn length(len: usize) -> Result<i32, SerdeError> {
    i32::try_from(len).map_err(|_| SerdeError::new(format!("a length of {len}, which the format has no room for")))
}
