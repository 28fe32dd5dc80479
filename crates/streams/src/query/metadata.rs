//! What is told of stream threads and their tasks.

use std::{collections::BTreeMap, fmt};

use vltava_client::TopicPartition;

use crate::task_id::TaskId;

/// Where a stream thread is in its life; Kafka Streams' `StreamThread.State`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ThreadState {
    /// It makes its clients and joins the group.
    Starting,
    /// Its partitions were taken; it waits for the group.
    PartitionsRevoked,
    /// It has its tasks, and restores them.
    PartitionsAssigned,
    /// All its tasks are at work.
    Running,
    /// It is about to end: it commits, and closes its tasks.
    PendingShutdown,
}

impl ThreadState {
    /// Kafka's number of it; 0 is a thread that is only created.
    pub(crate) fn number(self) -> u8 {
        self as u8 + 1
    }
}

impl fmt::Display for ThreadState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ThreadState::Starting => "STARTING",
            ThreadState::PartitionsRevoked => "PARTITIONS_REVOKED",
            ThreadState::PartitionsAssigned => "PARTITIONS_ASSIGNED",
            ThreadState::Running => "RUNNING",
            ThreadState::PendingShutdown => "PENDING_SHUTDOWN",
        })
    }
}

/// A stream thread of this instance.
#[derive(Clone, Debug)]
pub struct ThreadMetadata {
    name: String,
    state: ThreadState,
    active_tasks: Vec<TaskMetadata>,
    standby_tasks: Vec<TaskMetadata>,
}

impl ThreadMetadata {
    pub(crate) fn new(name: String, state: ThreadState, active_tasks: Vec<TaskMetadata>) -> Self {
        ThreadMetadata { name, state, active_tasks, standby_tasks: Vec::new() }
    }

    pub(crate) fn with_standbys(self, standby_tasks: Vec<TaskMetadata>) -> Self {
        ThreadMetadata { standby_tasks, ..self }
    }

    /// The thread's name: what the ids of its clients begin with.
    #[must_use]
    pub fn thread_name(&self) -> &str {
        &self.name
    }

    /// Where it is in its life.
    #[must_use]
    pub fn thread_state(&self) -> ThreadState {
        self.state
    }

    /// Its active tasks.
    #[must_use]
    pub fn active_tasks(&self) -> &[TaskMetadata] {
        &self.active_tasks
    }

    /// The tasks of which it has a standby. They have committed nothing.
    #[must_use]
    pub fn standby_tasks(&self) -> &[TaskMetadata] {
        &self.standby_tasks
    }

    /// The client id of its consumer.
    #[must_use]
    pub fn main_consumer_client_id(&self) -> String {
        format!("{}-consumer", self.name)
    }

    /// The client id of the consumer that restores stores.
    #[must_use]
    pub fn restore_consumer_client_id(&self) -> String {
        format!("{}-restore-consumer", self.name)
    }

    /// The client id of its producer.
    #[must_use]
    pub fn producer_client_id(&self) -> String {
        format!("{}-producer", self.name)
    }
}

/// A task of a stream thread.
#[derive(Clone, Debug)]
pub struct TaskMetadata {
    pub(crate) task_id: TaskId,
    /// By partition, the offset that was committed, if there is one.
    pub(crate) inputs: BTreeMap<TopicPartition, Option<i64>>,
}

impl TaskMetadata {
    /// The task.
    #[must_use]
    pub fn task_id(&self) -> TaskId {
        self.task_id
    }

    /// The partitions it reads.
    pub fn topic_partitions(&self) -> impl Iterator<Item = &TopicPartition> {
        self.inputs.keys()
    }

    /// The offsets that were committed.
    pub fn committed_offsets(&self) -> impl Iterator<Item = (&TopicPartition, i64)> {
        self.inputs.iter().filter_map(|(partition, offset)| Some((partition, (*offset)?)))
    }
}
