//! Which part of an application's work a task is.

/// `subtopology_partition`: which part of the application's work a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId {
    /// The number of the sub-topology.
    pub subtopology: u32,
    /// The partition of its source topics.
    pub partition: i32,
}

impl TaskId {
    /// The task that fills the global stores; Kafka's is `-1_-1`.
    pub const GLOBAL: TaskId = TaskId { subtopology: u32::MAX, partition: -1 };
}

impl std::fmt::Display for TaskId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            TaskId::GLOBAL => f.write_str("-1_-1"),
            TaskId { subtopology, partition } => write!(f, "{subtopology}_{partition}"),
        }
    }
}
