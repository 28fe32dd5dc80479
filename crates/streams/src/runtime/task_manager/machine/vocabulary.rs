//! What the machine is told, and what it says is to be done.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use vltava_client::{ClientError, TopicPartition};

use crate::{runtime::task_manager::anew::Anew, task::TaskId};

/// What the group makes of the thread, as far as it can know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::runtime::task_manager) enum Session {
    /// A member, whose offsets are taken.
    Member,
    /// A member that takes part in a rebalance: what it has is its own until it hears otherwise.
    Rebalancing,
    /// It may have forgotten the thread, and its tasks may be others'.
    Unknown,
}

/// What a thread has from an assignment on, and nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::runtime) struct Assignment {
    /// Active tasks with their partitions.
    pub(in crate::runtime) tasks: BTreeMap<TaskId, Vec<TopicPartition>>,
    pub(in crate::runtime) standbys: BTreeSet<TaskId>,
}

/// What has happened.
#[derive(Clone, Debug)]
pub(in crate::runtime::task_manager) enum Event {
    /// Time has passed.
    Tick(Session),
    /// These are the thread's tasks from now on, and no others.
    Assigned(Assignment),
    /// Partitions of these tasks are about to be given up; the others stay.
    Revoked { tasks: BTreeSet<TaskId>, session: Session },
    /// All partitions are others' already.
    Lost,
    /// The group, or a broker in its name, has said that another thread has the tasks by now.
    Migrated,
    /// Another thread has the directory of the task, or of the standby, or has not let it go yet.
    Busy(TaskId),
    /// The task, or the standby, could not be made, for a reason that may pass.
    NotMade(TaskId, ClientError),
    /// The standby is there.
    StandbyMade(TaskId),
    /// Records of changelogs have come for the standby's stores.
    Following(TaskId),
    /// They do not come, for a reason that may pass.
    NotFollowing(TaskId, ClientError),
    /// The stores of these standbys are of no use as they are.
    StandbysAnew(BTreeSet<TaskId>),
    /// The task is there; its stores are, too, if they are `complete`.
    Made { task: TaskId, complete: bool },
    /// Records of changelogs have come for the task's stores.
    Restoring(TaskId),
    /// Records of changelogs do not come, for a reason that may pass.
    NotRestoring(TaskId, ClientError),
    /// The task's stores have all of their changelogs.
    Restored(TaskId),
    /// It is time for a pending task to be made, or else for a pending standby.
    MakePending(Session),
    /// It is time to commit. `urgent`: a transaction has been open for too long to wait for the end of a rebalance.
    Commit { session: Session, urgent: bool },
    /// What the tasks held back is with the producer, but for that of these tasks: they begin anew.
    Flushed(Anew),
    /// What was with the producer is acknowledged, but for records of these tasks: they begin anew.
    Delivered(Anew),
    /// The offsets are committed; those of these tasks are others than before.
    Committed { advanced: BTreeSet<TaskId> },
    /// The offsets are not committed: a rebalance goes on, or for a reason that may pass. Or that is not known.
    NotCommitted(Option<ClientError>),
    /// The session ended in the midst of a commit: what was flushed may not be sent before the group has answered. These
    /// tasks have to begin anew beside that.
    OutOfSession(Anew),
    /// The progress of these tasks since the last commit counts for nothing.
    BeginAnew(Anew),
    /// The thread ends.
    Close(Session),
    /// The thread ends by a failure.
    GiveUp,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::runtime::task_manager) enum Step {
    /// Nothing of the partitions is read until the task runs.
    Pause(TaskId, Vec<TopicPartition>),
    /// Begin to make the task over its directory. Answered by `Made`, `NotMade` or `Busy` when that is known; others go on
    /// meanwhile. Exactly once the thread's producer ends before that what it, or the one before it, has left open.
    Make(TaskId, Vec<TopicPartition>),
    /// What is being made of the task, or of the standby, is not wanted any more, and is not answered. Its directory is busy
    /// until it is closed.
    Unmake(TaskId),
    /// The task's stores are complete: let it begin to work.
    Start(TaskId),
    /// Forget what the task has read and not processed; it comes again.
    Suspend(TaskId),
    /// Write and forward what these tasks hold back in their caches. Answered by `Flushed`.
    Flush(Vec<TaskId>),
    /// Wait until all that was written is acknowledged. Answered by `Delivered`.
    Deliver,
    /// Commit what these tasks have consumed; exactly once with all that was written. Answered by `Committed`,
    /// `NotCommitted` or `Migrated`.
    Commit(Vec<TaskId>),
    /// Have the stores of these tasks keep what they cover.
    Checkpoint(Vec<TaskId>),
    /// Whatever was given to be sent and is not acknowledged must never be sent any more: the tasks may be others' next.
    /// Exactly once whatever was written since the last commit must never be committed.
    Discard,
    /// Close the task; its stores cover what was committed.
    Close(TaskId),
    /// Close the task and leave its stores as of the last commit. If it stays assigned, its partitions are read from there
    /// again.
    Abandon { task: TaskId, rewind: bool },
    /// Begin to make the standby over its directory. Answered by `StandbyMade`, `NotMade` or `Busy` when that is known.
    MakeStandby(TaskId),
    /// Have the stores of these standbys keep what they cover.
    CheckpointStandbys(Vec<TaskId>),
    /// Close the standby; its stores cover what it has read.
    CloseStandby(TaskId),
    /// Close the standby and leave its stores as of its last checkpoint.
    AbandonStandby(TaskId),
    /// The task becomes a standby, or the standby a task: close it, and keep its stores for the one that is made next.
    Recycle(TaskId),
    /// Leave the group and join again, unless that is under way.
    Rejoin,
    /// The task has made no progress for `task.timeout.ms`: end the thread, with the task's last error.
    Fail { task: TaskId, after: Duration },
}
