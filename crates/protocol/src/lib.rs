//! Kafka's wire protocol and record format: what is on the wire and in the log, and nothing else.
//!
//! It turns bytes into values and back. It does not open sockets or files, read a clock, draw random
//! numbers, log, or hold state across calls; who talks to whom, and when, is the business of the crates
//! above. Any bytes give a value or a typed error, never a panic, and no length is believed before it
//! was checked against the bytes that are there.
//!
//! In reading order:
//!
//! - [`wire`]: how values lie on the wire, and the traits of messages.
//! - [`messages`]: every request, response and header of Kafka 4.3 in all its versions, generated from
//!   Apache Kafka's specifications by `cargo xtask codegen`.
//! - [`frame`]: requests and answers with their headers and lengths, as they travel over a connection.
//! - [`ApiKey`], [`ErrorCode`], [`Uuid`], [`TimestampMs`]: what the numbers and identifiers in them stand for.
//! - [`records`]: the records of `__consumer_offsets`, `__transaction_state`, `__share_group_state` and
//!   `__cluster_metadata`, generated likewise.
//! - [`record`]: record batches, what producers send, logs store and consumers fetch.
//! - [`schema`]: the specifications as data, for who shows messages field by field.
//! - [`java`]: what Kafka's results owe to Java's hash codes and collections.
//! - [`invariant!`]: a promise of the code to itself, checked; who uses it logs.

mod all_messages;
mod api_key;
mod error;
mod error_code;
pub mod frame;
mod invariant;
pub mod java;
pub mod messages;
pub mod record;
pub mod records;
pub mod schema;
mod timestamp;
mod uuid;
pub mod wire;

pub use api_key::ApiKey;
pub use error::Error;
pub use error_code::ErrorCode;
pub use timestamp::TimestampMs;
pub use uuid::{ParseUuidError, Uuid};
