//! The states of a transaction, with Kafka's names and numbers.

/// Where the last transaction of a transactional id stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TransactionState {
    /// The producer has its id and has not begun.
    Empty,
    /// Partitions are in the transaction.
    Ongoing,
    /// It is decided to commit; markers are being written.
    PrepareCommit,
    /// It is decided to abort; markers are being written.
    PrepareAbort,
    /// Committed, with all markers.
    CompleteCommit,
    /// Aborted, with all markers.
    CompleteAbort,
    /// Being removed. Kafka has it in memory only.
    Dead,
    /// Being fenced. Kafka has it in memory only.
    PrepareEpochFence,
}

/// All of them.
const ALL: [TransactionState; 8] = [
    TransactionState::Empty,
    TransactionState::Ongoing,
    TransactionState::PrepareCommit,
    TransactionState::PrepareAbort,
    TransactionState::CompleteCommit,
    TransactionState::CompleteAbort,
    TransactionState::Dead,
    TransactionState::PrepareEpochFence,
];

impl TransactionState {
    /// The state's number in records.
    pub(crate) fn id(self) -> i8 {
        match self {
            Self::Empty => 0,
            Self::Ongoing => 1,
            Self::PrepareCommit => 2,
            Self::PrepareAbort => 3,
            Self::CompleteCommit => 4,
            Self::CompleteAbort => 5,
            Self::Dead => 6,
            Self::PrepareEpochFence => 7,
        }
    }

    pub(crate) fn from_id(id: i8) -> Option<Self> {
        ALL.into_iter().find(|state| state.id() == id)
    }

    /// The state's name in answers.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Ongoing => "Ongoing",
            Self::PrepareCommit => "PrepareCommit",
            Self::PrepareAbort => "PrepareAbort",
            Self::CompleteCommit => "CompleteCommit",
            Self::CompleteAbort => "CompleteAbort",
            Self::Dead => "Dead",
            Self::PrepareEpochFence => "PrepareEpochFence",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        ALL.into_iter().find(|state| state.name() == name)
    }

    /// The decision whose markers are being written, if one is: whether to commit.
    pub(crate) fn decision(self) -> Option<bool> {
        match self {
            Self::PrepareCommit => Some(true),
            Self::PrepareAbort => Some(false),
            _ => None,
        }
    }

    /// Whether nothing is open or being ended, so that the id may expire.
    pub(crate) fn is_at_rest(self) -> bool {
        matches!(self, Self::Empty | Self::CompleteCommit | Self::CompleteAbort)
    }
}
