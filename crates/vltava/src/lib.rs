//! Vltava: Kafka and Kafka Streams in Rust. The crate that applications depend on.
//!
//! - [`streams`]: the DSL, the Processor API, state stores, the test driver and the runtime.
//! - [`client`]: producer, consumer and admin, for any Kafka broker.
//! - [`metrics`]: what a snapshot of metrics is, its text for Prometheus, and with the feature `metrics-http` a server for it.
//! - [`serdes`]: keys and values as bytes, for both.
//! - `embedded`: a broker in this process, for a laptop and for tests. The feature `broker`, on by default: with
//!   `default-features = false` no broker is built.
//! - `schema`: JSON serdes with schemas and the client of the schema registry, with the feature `schema`; `avro` and
//!   `protobuf` add these formats, and `schema-tls` registries behind HTTPS. `oauth` gets
//!   tokens for SASL by HTTP.
//!
//! Each of them has its one error type: [`streams::Error`], [`client::ClientError`], `embedded::BrokerError`,
//! `schema::SchemaError`.
//!
#![cfg_attr(feature = "broker", doc = "```no_run")]
#![cfg_attr(not(feature = "broker"), doc = "```ignore")]
//! use vltava::{embedded, streams::{KafkaStreams, StreamsBuilder, StreamsConfig}};
//!
//! let broker = embedded::Broker::start(embedded::Config::default())?;
//! let builder = StreamsBuilder::new();
//! builder.stream::<Option<String>, String>("names").map_values(|name| format!("hello, {name}")).to("greetings");
//! let config = StreamsConfig::from_properties([
//!     ("application.id", "greeter"),
//!     ("bootstrap.servers", broker.bootstrap_servers()),
//! ])?;
//! let streams = KafkaStreams::new(builder.build()?, config)?;
//! streams.start()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#[cfg(feature = "broker")]
pub use vltava_broker::embedded;
pub use vltava_client as client;
pub use vltava_metrics as metrics;
#[cfg(feature = "schema")]
pub use vltava_schema as schema;
pub use vltava_serde as serdes;
pub use vltava_streams as streams;

/// The guides' code is compiled and run with the tests.
#[cfg(all(doctest, feature = "broker"))]
mod guides {
    #[doc = include_str!("../../../README.md")]
    mod readme {}
    #[doc = include_str!("../../../docs/from-java.md")]
    mod from_java {}
    #[doc = include_str!("../../../docs/metrics.md")]
    mod metrics {}
    #[doc = include_str!("../../../docs/types.md")]
    mod types {}
}
