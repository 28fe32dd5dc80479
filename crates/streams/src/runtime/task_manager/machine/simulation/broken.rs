//! Rules that a simulation breaks, to show that it would be found.

/// A rule that a simulation breaks, to show that it would be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    Nothing,
    /// The producer sends in a session only.
    Session,
    /// What is left in the producer is discarded when the tasks are not the thread's any more.
    Discard,
    /// Suspended tasks go on only if nobody else may have had them.
    Resume,
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
    pub(super) const TRANSACTIONS: [Broken; 13] = [
        Broken::Resume,
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
