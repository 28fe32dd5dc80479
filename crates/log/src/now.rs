//! The clocks that a caller passes in.

/// What two clocks say at one moment.
///
/// What is due is told by the one that never goes back, so that a wall clock that is set does not stop the upkeep;
/// how old a record is can be told by the wall clock alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds of a clock that never goes back, from any moment.
    pub uptime_ms: i64,
    /// Milliseconds since the epoch.
    pub wall_ms: i64,
}
