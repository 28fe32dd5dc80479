//! What may be a key or a value: plain data, and `Option` of it where null may occur.

pub(crate) use vltava_serde::ErasedSerde;
pub use vltava_serde::{Data, DefaultSerde, Flow, Nullable};
