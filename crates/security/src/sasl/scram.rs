//! SCRAM (RFC 5802) with SHA-256 and SHA-512 (RFC 7677): each end proves that it knows the password, and says nothing of it.
//!
//! As Kafka, without channel binding, and names and passwords are the bytes they come in, without SASLprep.

mod client;
mod credential;
mod hash;
mod message;
mod server;

pub use client::ScramClient;
pub use credential::{AddScram, AddScramError, ScramCredential};
pub use hash::{Hash, SaltedPassword};
pub use server::ScramServer;

/// The fewest iterations that either end accepts, as in Kafka.
pub const MIN_ITERATIONS: u32 = 4096;

/// The most iterations that Kafka keeps a credential with.
pub const MAX_ITERATIONS: u32 = 16_384;

/// The most iterations that a client works through for a broker, which may be another than Kafka's: about a second.
pub const MAX_CLIENT_ITERATIONS: u32 = 1_000_000;

/// The longest message that is looked at, in bytes. One of Kafka's has a few hundred.
pub const LONGEST_MESSAGE: usize = 16 * 1024;
