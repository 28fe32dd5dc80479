//! The states of an application.

use std::fmt;

/// Where an application is in its life; Kafka Streams' `KafkaStreams.State`.
///
/// `CREATED` → `REBALANCING` ⇄ `RUNNING` → `PENDING_SHUTDOWN` → `NOT_RUNNING`; a thread's failure leads over
/// `PENDING_ERROR` to `ERROR`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Made, not started.
    Created,
    /// Getting its tasks, or restoring their stores.
    Rebalancing,
    /// All threads have their tasks, and all stores are restored.
    Running,
    /// Closing on request.
    PendingShutdown,
    /// Closed.
    NotRunning,
    /// Closing because of a failure.
    PendingError,
    /// Closed because of a failure.
    Error,
}

impl State {
    /// Whether the application works or is about to.
    #[must_use]
    pub fn is_running_or_rebalancing(self) -> bool {
        matches!(self, State::Running | State::Rebalancing)
    }

    /// Whether nothing will change any more.
    #[must_use]
    pub fn has_completed_shutdown(self) -> bool {
        matches!(self, State::NotRunning | State::Error)
    }

    /// Whether Kafka Streams allows this transition.
    pub(super) fn may_become(self, next: State) -> bool {
        match self {
            State::Created => matches!(next, State::Rebalancing | State::PendingShutdown | State::PendingError),
            State::Rebalancing => matches!(next, State::Running | State::PendingShutdown | State::PendingError),
            State::Running => matches!(next, State::Rebalancing | State::PendingShutdown | State::PendingError),
            State::PendingShutdown => next == State::NotRunning,
            State::PendingError => next == State::Error,
            State::NotRunning | State::Error => false,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            State::Created => "CREATED",
            State::Rebalancing => "REBALANCING",
            State::Running => "RUNNING",
            State::PendingShutdown => "PENDING_SHUTDOWN",
            State::NotRunning => "NOT_RUNNING",
            State::PendingError => "PENDING_ERROR",
            State::Error => "ERROR",
        })
    }
}
