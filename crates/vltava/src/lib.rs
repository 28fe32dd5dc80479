//! Vltava: Kafka and Kafka Streams in Rust. The crate that applications depend on.
