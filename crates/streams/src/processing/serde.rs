//! Which serde reads and writes a type.

use crate::{
    config::StreamsConfig,
    data::{Data, ErasedSerde},
    serdes::{SerdeRef, configured},
};

/// The serde that was named or inherited, else the type's own, as this configuration wants it.
pub(crate) fn resolve_serde<T: Data>(
    named: Option<&ErasedSerde>,
    config: &StreamsConfig,
    is_key: bool,
) -> Option<SerdeRef<T>> {
    let serde = named.and_then(ErasedSerde::get::<T>).or_else(T::default_serde)?;
    configured(serde, &config.fields().serdes, is_key)
}
