//! Keys and values as bytes, as Kafka's own serdes write them.
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

mod basic;
mod change;
mod configured;
mod json;
mod list;
mod single;
#[cfg(test)]
mod tests;
mod windowed;

use std::sync::Arc;

pub use basic::{BigEndian, BytesSerde, StringSerde};
pub(crate) use change::ChangeSerde;
pub use configured::Configured;
pub use json::{Json, JsonSerde};
pub use list::ListSerde;
pub use single::{BooleanSerde, UnitSerde, UuidSerde, Void, VoidSerde};
pub use windowed::{SessionWindowedSerde, TimeWindowedSerde};

use crate::{config::StreamsConfig, data::DefaultSerde, error::SerdeError};

/// Turns a value into bytes and back. Null never gets here: a null key or value has no bytes.
#[diagnostic::on_unimplemented(message = "`{Self}` is not a serde for `{T}`")]
pub trait Serde<T>: Send + Sync + 'static {
    /// Appends the bytes of `value` to `out`.
    ///
    /// # Errors
    /// If the value has no bytes; the application's handlers are asked what to do.
    fn serialize(&self, topic: &str, value: &T, out: &mut Vec<u8>) -> Result<(), SerdeError>;

    /// Reads a value.
    ///
    /// # Errors
    /// If the bytes are not those of a value; the application's handlers are asked what to do.
    fn deserialize(&self, topic: &str, bytes: &[u8]) -> Result<T, SerdeError>;

    /// The number of bytes that `serialize` will write, where that is known without writing them and writing cannot
    /// fail. A record cache then keeps the value itself and writes it once per flush instead of once per update.
    fn serialized_len(&self, _value: &T) -> Option<usize> {
        None
    }

    /// The number of bytes of every value, where it is the same for all of them. Lists then have no lengths of entries.
    fn fixed_len(&self) -> Option<usize> {
        None
    }

    /// How many bytes at the end of what `serialize` writes are a window; 0 for keys that are in none.
    ///
    /// [`KStream::to`](crate::KStream::to) partitions windowed keys by the bytes before those, so that all windows of a
    /// key are in the partition that the key itself would be in.
    fn window_len(&self) -> usize {
        0
    }

    /// The serde to use under this configuration instead of this one; `None` for this one. Asked once per node.
    fn configure(&self, _config: &StreamsConfig, _is_key: bool) -> Option<SerdeRef<T>> {
        None
    }

    /// Whether this one only stands for what [`configure`](Self::configure) gives: where that gives nothing, no task
    /// begins.
    fn needs_configuration(&self) -> bool {
        false
    }
}

/// A serde chosen at build time: one dynamic call per record at sources, sinks and stores.
pub type SerdeRef<T> = Arc<dyn Serde<T>>;

impl<T: 'static> Serde<T> for SerdeRef<T> {
    fn serialize(&self, topic: &str, value: &T, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        (**self).serialize(topic, value, out)
    }
    fn deserialize(&self, topic: &str, bytes: &[u8]) -> Result<T, SerdeError> {
        (**self).deserialize(topic, bytes)
    }
    fn serialized_len(&self, value: &T) -> Option<usize> {
        (**self).serialized_len(value)
    }
    fn fixed_len(&self) -> Option<usize> {
        (**self).fixed_len()
    }
    fn window_len(&self) -> usize {
        (**self).window_len()
    }
    fn configure(&self, config: &StreamsConfig, is_key: bool) -> Option<SerdeRef<T>> {
        (**self).configure(config, is_key)
    }
    fn needs_configuration(&self) -> bool {
        (**self).needs_configuration()
    }
}

/// The default serde of `T`.
#[must_use]
pub fn serde_of<T: DefaultSerde>() -> SerdeRef<T> {
    Arc::new(T::Serde::default())
}
