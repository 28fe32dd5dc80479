//! Rules that a simulation breaks, to show that it would be found.

/// A rule that a simulation breaks, to show that it would be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    Nothing,
    /// The producer sends in a session only.
    Session,
    /// What is left in the producer is discarded when the tasks are not the thread's any more.
    Discard,
    /// A member that joins waits no longer for the group than for its session.
    Join,
    /// A task is given to nobody as long as somebody has it.
    GivenAtOnce,
    /// What the assignment does not have is given up.
    NotGivenUp,
    /// Who has given up something joins again, and so does who waits for it.
    FollowUp,
    /// A task that is revoked is committed before it is closed.
    Revoke,
    /// Nothing of a task's partitions is read before it is made.
    Pause,
    /// What is being made of a task that goes is not wanted any more.
    Unmake,
    /// Offsets are read when the task is the thread's.
    OffsetsBefore,
    /// Exactly once: the group compares the generation in which offsets are put into a transaction.
    Generation,
    /// What is discarded is aborted.
    Abort,
    /// Nobody begins anew alone.
    Alone,
    /// Stores keep nothing as long as it is not known whether the transaction is committed.
    KeptEarly,
    /// What is not known to be committed may be committed: where to go on is asked for, and not remembered.
    UnknownIsAborted,
    /// What is not known to be committed may be aborted.
    UnknownIsCommitted,
    /// Offsets are part of the transaction.
    OffsetsApart,
    /// Caches are flushed before the offsets are committed.
    Flush,
    /// A producer ends what the one before it has left open.
    Init,
    /// Offsets are read when no transaction has others pending.
    Unstable,
    /// The changelog is read behind all that may be committed, and not up to what is by now.
    StableEnd,
    /// Where the changelog ends is looked up behind the offsets.
    ChangelogFirst,
}

impl Broken {
    /// Rules of transactions.
    pub(super) const TRANSACTIONS: [Broken; 12] = [
        Broken::Generation,
        Broken::Abort,
        Broken::Alone,
        Broken::KeptEarly,
        Broken::UnknownIsAborted,
        Broken::UnknownIsCommitted,
        Broken::OffsetsApart,
        Broken::Flush,
        Broken::Init,
        Broken::Unstable,
        Broken::StableEnd,
        Broken::ChangelogFirst,
    ];
}
