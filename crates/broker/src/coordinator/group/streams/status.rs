//! What a member is told beside its tasks.

use vltava_protocol::messages::streams_group_heartbeat_response::Status;

/// Kafka's codes of what is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StatusCode {
    /// The member's topology is older than the group's.
    StaleTopology = 0,
    /// A topic that is read is not there.
    MissingSourceTopics = 1,
    /// Topics that are joined have different numbers of partitions, or an internal one has another than it has to.
    IncorrectlyPartitionedTopics = 2,
    /// A repartition topic or a changelog is not there yet.
    MissingInternalTopics = 3,
    /// A member wants all of the application to end.
    ShutdownApplication = 4,
    /// There is no new target assignment yet, though one is due.
    AssignmentDelayed = 5,
}

impl StatusCode {
    /// The status of an answer, with its text.
    pub(crate) fn with(self, detail: impl Into<String>) -> Status {
        Status { status_code: self as i8, status_detail: detail.into(), ..Status::default() }
    }
}
