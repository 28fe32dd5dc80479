//! Keys and values as bytes, as Kafka's own serdes write them.

mod basic;
mod change;

use std::sync::Arc;

pub use basic::{BigEndian, BytesSerde, StringSerde};
pub(crate) use change::ChangeSerde;

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

    /// The serde to use under this configuration instead of this one; `None` for this one. Asked once per node.
    fn configure(&self, _config: &StreamsConfig, _is_key: bool) -> Option<SerdeRef<T>> {
        None
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
    fn configure(&self, config: &StreamsConfig, is_key: bool) -> Option<SerdeRef<T>> {
        (**self).configure(config, is_key)
    }
}

/// The default serde of `T`.
#[must_use]
pub fn serde_of<T: DefaultSerde>() -> SerdeRef<T> {
    Arc::new(T::Serde::default())
}
