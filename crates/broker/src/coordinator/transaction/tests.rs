//! The transaction coordinator.

mod records;
mod simulation;
mod states;
