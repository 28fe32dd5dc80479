//! Pausing an application (KIP-834).
//!
//! ```text
//! goes on    polling, heartbeats, rebalances, tasks made and closed, commits, queries, global stores
//! stops      processing, punctuation, restoration, standbys
//! ```
//!
//! As in Kafka it belongs to this instance alone, and to no task: those that come are paused as well.

use std::sync::atomic::{AtomicBool, Ordering};

use super::kafka_streams::KafkaStreams;

/// Whether an application is paused.
#[derive(Debug, Default)]
pub(super) struct Pausing(AtomicBool);

impl Pausing {
    pub(super) fn is_paused(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self, paused: bool) {
        if self.0.swap(paused, Ordering::Relaxed) != paused {
            tracing::info!("the application {}", if paused { "is paused" } else { "goes on" });
        }
    }
}

impl KafkaStreams {
    /// Has the threads of this instance process no more records, run no punctuations, restore no stores and update no standbys,
    /// as soon as they have done what they are at. They stay members of their group and keep their tasks; what was processed is
    /// committed, and records are read until the queues are full (`buffered.records.per.partition`). Stores can be queried.
    /// Other instances do not hear of it. It may be called before [`start`](Self::start).
    ///
    /// An application whose stores are not restored yet stays in state `REBALANCING`.
    pub fn pause(&self) {
        self.shared.pausing.set(true);
    }

    /// Goes on after a [`pause`](Self::pause), within `poll.ms`.
    pub fn resume(&self) {
        self.shared.pausing.set(false);
    }

    /// Whether it is paused.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.shared.pausing.is_paused()
    }
}
