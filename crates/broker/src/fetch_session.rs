//! Fetch sessions (KIP-227): the broker remembers what a consumer fetches, so that a request names
//! only what changed and an answer only what is new.
//!
//! No I/O and no clock in here: `now_ms` is an argument.

mod cache;
mod session;

pub(crate) use cache::{FetchSessions, Opened, SessionRef};
pub(crate) use session::{Answered, FetchKey, FetchTarget};
