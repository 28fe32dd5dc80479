//! The consumer against a broker in the same process.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod closing;
mod commits;
mod consumer_protocol;
mod deserialisation;
mod groups;
mod positions;
mod reading;
mod restarts;
mod support;
