//! Keys and values as bytes, as Kafka's own serdes write them: for producers and consumers, for Streams, and for schemas.
//!
//! A [`Serde`] turns values of one type into bytes and back. Serdes with schemas are made of this crate alone, so that a
//! producer of Avro builds no Streams; serdes of windows are in Streams, which has the windows.
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
//!
//! The crate does no I/O, reads no clock, and knows no setting but those that name serdes.

mod basic;
mod config;
mod configured;
mod data;
mod error;
mod json;
mod list;
mod single;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use basic::{BigEndian, BytesSerde, StringSerde};
pub use config::SerdeConfig;
pub use configured::Configured;
pub use data::{Data, DefaultSerde, ErasedSerde, Flow, Nullable};
pub use error::SerdeError;
pub use json::{Json, JsonSerde};
pub use list::ListSerde;
pub use single::{BooleanSerde, UnitSerde, UuidSerde, Void, VoidSerde};

/// Turns a value into bytes and back. Null never gets here: a null key or value has no bytes.
///
/// ```
/// use vltava_serde::{Serde, StringSerde};
///
/// let mut bytes = Vec::new();
/// StringSerde.serialize("topic", &"mitch".to_owned(), &mut bytes)?;
/// assert_eq!(StringSerde.deserialize("topic", &bytes)?, "mitch");
/// # Ok::<(), vltava_serde::SerdeError>(())
/// ```
#[diagnostic::on_unimplemented(message = "`{Self}` is not a serde for `{T}`")]
pub trait Serde<T>: Send + Sync + 'static {
    /// Appends the bytes of `value` to `out`.
    ///
    /// # Errors
    /// If the value has no bytes; what was appended until then has no meaning. A producer does not send the record,
    /// Streams asks the application's handlers what to do.
    fn serialize(&self, topic: &str, value: &T, out: &mut Vec<u8>) -> Result<(), SerdeError>;

    /// Reads a value.
    ///
    /// # Errors
    /// If the bytes are not those of a value. A consumer stays before the record, Streams asks the application's
    /// handlers what to do.
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
    /// Streams partitions windowed keys by the bytes before those, so that all windows of a key are in the partition
    /// that the key itself would be in.
    fn window_len(&self) -> usize {
        0
    }

    /// The serde to use under this configuration instead of this one; `None` for this one. Asked once, before the first
    /// record: by typed clients when they are made, by Streams for every node of a task.
    fn configure(&self, _config: &SerdeConfig, _is_key: bool) -> Option<SerdeRef<T>> {
        None
    }

    /// Whether this one only stands for what [`configure`](Self::configure) gives: where that gives nothing, no task
    /// begins.
    fn needs_configuration(&self) -> bool {
        false
    }
}

/// A serde chosen at build time: one dynamic call per key or value.
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
    fn configure(&self, config: &SerdeConfig, is_key: bool) -> Option<SerdeRef<T>> {
        (**self).configure(config, is_key)
    }
    fn needs_configuration(&self) -> bool {
        (**self).needs_configuration()
    }
}

/// The serde to use under a configuration; `None` if this one needs a configuration that does not name one.
#[must_use]
pub fn configured<T: 'static>(serde: SerdeRef<T>, config: &SerdeConfig, is_key: bool) -> Option<SerdeRef<T>> {
    match serde.configure(config, is_key) {
        Some(configured) => Some(configured),
        None if serde.needs_configuration() => None,
        None => Some(serde),
    }
}

/// The default serde of `T`.
#[must_use]
pub fn serde_of<T: DefaultSerde>() -> SerdeRef<T> {
    Arc::new(T::Serde::default())
}
