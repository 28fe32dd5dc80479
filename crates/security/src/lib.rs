//! Who is at the other end of a connection, what they may do, and how the bytes get there: what the client's end and the
//! broker's share.
//!
//! Nothing here opens a socket. A mechanism is one state machine for both of its ends.

pub mod acl;
mod principal;
mod protocol;
pub mod sasl;
mod secret;
pub mod ssl;

pub use principal::KafkaPrincipal;
pub use protocol::SecurityProtocol;
pub use secret::Secret;
