//! What happens, with the time since the round began.
#![allow(clippy::print_stdout, reason = "a command that tells what it does")]

use std::time::Instant;

/// Prints the events of a round as they come.
#[derive(Clone, Copy, Debug)]
pub struct Journal {
    began: Instant,
}

impl Journal {
    /// A round that begins now.
    pub fn begin(now: Instant) -> Self {
        Self { began: now }
    }

    /// Tells an event.
    pub fn tell(&self, event: impl std::fmt::Display) {
        println!("  [{:7.3} s] {event}", self.began.elapsed().as_secs_f64());
    }
}
