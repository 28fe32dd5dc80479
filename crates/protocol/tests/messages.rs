//! Every message in every version: against messages made straight from Kafka's specifications, against
//! the `kafka-protocol` crate, against bytes captured from Apache Kafka, and against hostile bytes.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests fail by panicking")]

#[path = "messages/captured.rs"]
mod captured;
#[path = "messages/codecs.rs"]
mod codecs;
#[path = "messages/hostile.rs"]
mod hostile;
#[path = "messages/schema.rs"]
mod schema;
#[path = "messages/second_opinion.rs"]
mod second_opinion;
#[path = "messages/specification.rs"]
mod specification;
