//! The runtime, with counters for a coordinator.

mod bed;
mod counter;
mod failures;
mod shell;
mod simulation;
