//! Schemas: a client of the schema registry, and serdes for Avro, Protobuf and JSON, with and without a registry.
//!
//! A crate of its own, so that an application without schemas builds none of their libraries. Each format is a feature:
//! `avro`, `protobuf`; JSON is always there. `tls` allows registries behind `https://`. Requests block the thread that
//! makes them, as serdes do; there is one per schema and topic, after which caches answer.
//!
//! Reading order: [`registry`] (the client), [`subject`] (under which names schemas are kept), [`wire`] (the header of
//! a record), then the formats.
//!
//! A serde is for clients and Streams alike; a producer of Avro builds no Streams.
//!
//! ```no_run
//! use vltava_schema::{json::JsonSchemaSerde, registry::{RegistryConfig, SchemaRegistry}};
//! use vltava_streams::{Consumed, StreamsBuilder, data::Data, serdes::StringSerde};
//!
//! #[derive(Clone, serde::Serialize, serde::Deserialize)]
//! struct Order { item: String }
//! impl Data for Order {}
//!
//! let registry = SchemaRegistry::new(RegistryConfig::from_properties([
//!     ("schema.registry.url", "http://localhost:8081"),
//!     ("auto.register.schemas", "false"),
//! ])?)?;
//! let schema = r#"{"title": "Order", "type": "object", "properties": {"item": {"type": "string"}}}"#;
//! let orders = JsonSchemaSerde::<Order>::new(&registry, schema)?;
//! let builder = StreamsBuilder::new();
//! builder.stream_with::<String, Order>(Consumed::with(StringSerde, orders), "orders").for_each(|_, order| {
//!     let _ = order.item;
//! });
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#[cfg(feature = "avro")]
pub mod avro;
mod error;
pub mod json;
pub mod keys;
#[cfg(feature = "protobuf")]
pub mod protobuf;
pub mod registry;
pub mod subject;
pub mod wire;
mod writing;

pub use error::{Result, SchemaError};
pub use registry::{
    CompatibilityLevel, Deletion, MockRegistry, RegistryConfig, Schema, SchemaReference, SchemaRegistry, SchemaType,
};
pub use subject::SubjectNameStrategy;
