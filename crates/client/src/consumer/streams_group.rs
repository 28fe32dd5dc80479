//! What a stream thread tells its group, and what it hears of it, under the streams protocol (KIP-1071).
//!
//! For `vltava-streams` alone: applications have no use for it, and nothing of it is promised to them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::Consumer;
use super::core::Core;
use crate::config::{ConsumerConfig, GroupProtocol};
use crate::{ClientError, TopicPartition};

/// What a member says of itself when it joins (KIP-1071).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamsMember {
    /// The id of the process: its threads do not have standbys of each other's tasks.
    pub process_id: String,
    /// Where others may ask for what its stores have: host and port.
    pub endpoint: Option<(String, u16)>,
    /// What standbys may be spread by.
    pub client_tags: BTreeMap<String, String>,
    /// The topology, by the names of its sub-topologies.
    pub subtopologies: BTreeMap<String, Subtopology>,
}

/// The topics of a sub-topology (KIP-1071).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subtopology {
    /// What it reads, without repartition topics.
    pub source_topics: BTreeSet<String>,
    /// The repartition topics that it writes.
    pub repartition_sink_topics: BTreeSet<String>,
    /// The repartition topics that it reads.
    pub repartition_source_topics: BTreeMap<String, InternalTopic>,
    /// The changelogs of its stores.
    pub state_changelog_topics: BTreeMap<String, InternalTopic>,
    /// Topics that must have equally many partitions.
    pub copartition_groups: Vec<BTreeSet<String>>,
}

impl Subtopology {
    /// All topics that it reads.
    pub fn inputs(&self) -> impl Iterator<Item = &str> {
        self.source_topics.iter().chain(self.repartition_source_topics.keys()).map(String::as_str)
    }
}

/// How the coordinator is to make a topic (KIP-1071).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InternalTopic {
    /// The number of partitions where the topology fixes it.
    pub partitions: Option<i32>,
    /// The number of replicas, -1 for the broker's default.
    pub replication_factor: i16,
    /// Settings by Kafka's keys.
    pub config: BTreeMap<String, String>,
}

/// A task: one partition of all topics that a sub-topology reads (KIP-1071).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamsTaskId {
    /// The name of the sub-topology.
    pub subtopology: String,
    /// The partition.
    pub partition: i32,
}

impl fmt::Display for StreamsTaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}", self.subtopology, self.partition)
    }
}

/// Tasks of a member, by what it is to do with them (KIP-1071).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamsAssignment {
    /// To run.
    pub active: BTreeSet<StreamsTaskId>,
    /// Whose changelogs it is to follow.
    pub standby: BTreeSet<StreamsTaskId>,
    /// Whose changelogs it is to follow until it may run them.
    pub warmup: BTreeSet<StreamsTaskId>,
    /// Whether the group has all that it needs to process records.
    pub is_group_ready: bool,
}

/// What the coordinator says of the group, if not all is well (KIP-1071).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamsGroupStatus {
    /// The group has another topology than the member.
    StaleTopology(String),
    /// Source topics do not exist.
    MissingSourceTopics(String),
    /// Topics that must have equally many partitions do not.
    IncorrectlyPartitionedTopics(String),
    /// Internal topics do not exist, or not yet.
    MissingInternalTopics(String),
    /// A member has asked all to end.
    ShutdownApplication(String),
    /// The coordinator waits for more members.
    AssignmentDelayed(String),
    /// Of a newer coordinator: number and text.
    Other(i8, String),
}

impl StreamsGroupStatus {
    /// From Kafka's number.
    pub(crate) fn of(code: i8, detail: String) -> Self {
        match code {
            0 => Self::StaleTopology(detail),
            1 => Self::MissingSourceTopics(detail),
            2 => Self::IncorrectlyPartitionedTopics(detail),
            3 => Self::MissingInternalTopics(detail),
            4 => Self::ShutdownApplication(detail),
            5 => Self::AssignmentDelayed(detail),
            _ => Self::Other(code, detail),
        }
    }

    /// Whether members have to wait until it is over.
    pub(crate) fn holds_up(&self) -> bool {
        matches!(
            self,
            Self::MissingSourceTopics(_)
                | Self::IncorrectlyPartitionedTopics(_)
                | Self::MissingInternalTopics(_)
                | Self::AssignmentDelayed(_)
        )
    }
}

/// The partitions of the tasks that instances have (KIP-1071).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EndpointPartitions {
    /// Of active tasks, by host and port.
    pub active: BTreeMap<(String, u16), BTreeSet<TopicPartition>>,
    /// Of standby tasks.
    pub standby: BTreeMap<(String, u16), BTreeSet<TopicPartition>>,
}

/// What a member knows of its group (KIP-1071).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamsGroup {
    /// What the member has; within a call of its listener, what it is about to have.
    pub assignment: StreamsAssignment,
    /// As of the last heartbeat.
    pub statuses: Arc<[StreamsGroupStatus]>,
    /// Who has which partitions, of the instances that have told where they are.
    pub endpoints: Arc<EndpointPartitions>,
    /// How often the coordinator wants to hear from its members; zero before it has said so.
    pub heartbeat_interval: Duration,
}

impl Consumer {
    /// Makes a consumer that is a member of a streams group: subscribed to all topics that the topology reads, it is assigned
    /// those of its tasks.
    ///
    /// # Errors
    /// As [`new`](Self::new), and [`ClientError::InvalidArgument`] with `group.instance.id` or `group.protocol=consumer`.
    #[doc(hidden)]
    pub fn of_streams_group(config: ConsumerConfig, member: StreamsMember) -> Result<Self, ClientError> {
        if config.group_instance_id.is_some() {
            // In Kafka's words.
            return Err(ClientError::invalid(
                "Streams rebalance protocol does not support static membership. Please set group.protocol=classic or \
                 remove group.instance.id from the configuration.",
            ));
        }
        if config.group_protocol == GroupProtocol::Consumer {
            return Err(ClientError::invalid("a member of a streams group has not group.protocol=CONSUMER"));
        }
        Self::with(config, Vec::new(), Some(member))
    }

    /// What this member knows of its streams group; `None` for a consumer that is no member of one.
    #[doc(hidden)]
    #[must_use]
    pub fn streams_group(&self) -> Option<StreamsGroup> {
        self.inner().read(Core::streams_group)
    }

    /// Has the coordinator ask all members of the streams group to end.
    #[doc(hidden)]
    pub fn request_shutdown_of_application(&self) {
        self.inner().turn(|core, _| core.request_shutdown_of_application());
    }
}
