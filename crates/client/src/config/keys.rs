//! The keys of each client as constants.

pub mod admin;
pub mod consumer;
pub mod producer;
