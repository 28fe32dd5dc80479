//! The consumer against a broker in the same process.

mod closing;
mod commits;
mod deserialisation;
mod groups;
mod positions;
mod reading;
mod restarts;
mod support;
