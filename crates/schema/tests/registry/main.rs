//! The client and the serdes against a registry behind a real socket.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    unreachable_pub,
    reason = "a test"
)]

#[cfg(feature = "avro")]
mod avro;
mod client;
mod fake;
mod json;
#[cfg(feature = "protobuf")]
mod protobuf;

use fake::FakeRegistry;
use vltava_schema::{RegistryConfig, SchemaRegistry};

/// A client of a registry with some more settings.
fn client(fake: &FakeRegistry, settings: &[(&str, &str)]) -> SchemaRegistry {
    let url = ("schema.registry.url", fake.url.as_str());
    let properties = std::iter::once(url).chain(settings.iter().copied());
    SchemaRegistry::new(RegistryConfig::from_properties(properties).unwrap()).unwrap()
}

const LOOK_UP: (&str, &str) = ("auto.register.schemas", "false");
#[cfg(any(feature = "avro", feature = "protobuf"))]
const LATEST: (&str, &str) = ("use.latest.version", "true");

fn bytes<T>(serde: &impl vltava_serde::Serde<T>, topic: &str, value: &T) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    serde.serialize(topic, value, &mut out).map(|()| out).map_err(|error| error.to_string())
}
