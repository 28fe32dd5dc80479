//! Membership in a group, as state machines without I/O.

pub(crate) mod classic;
mod heartbeat;

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
