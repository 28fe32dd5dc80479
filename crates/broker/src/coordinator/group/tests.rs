//! Tests of the shard by requests and a clock that stands still.

mod golden;
mod groups;
pub(super) mod harness;
mod joining;
mod offsets;
pub(super) mod schedule;
mod simulation;
mod static_members;
pub(super) mod topics;
