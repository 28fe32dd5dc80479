//! Streams groups (KIP-1071): describe, delete, and what they have committed.

use std::collections::BTreeMap;

use vltava_protocol::messages::StreamsGroupDescribeRequest;
use vltava_protocol::messages::streams_group_describe_response as answer;

use super::{Admin, Results};
use crate::error::ClientError;
use crate::net::{CoordinatorType, Node};
use crate::{OffsetAndMetadata, TopicPartition};

/// A group of instances of a Kafka Streams application (KIP-1071).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamsGroupDescription {
    /// `application.id`.
    pub group_id: String,
    /// How often members or topics changed.
    pub group_epoch: i32,
    /// The group's epoch for which the target assignment was computed.
    pub target_assignment_epoch: i32,
    /// The epoch of the topology.
    pub topology_epoch: i32,
    /// The parts of the topology, in order of their ids.
    pub subtopologies: Vec<StreamsGroupSubtopologyDescription>,
    /// Its members, a stream thread each.
    pub members: Vec<StreamsGroupMemberDescription>,
    /// `Empty`, `NotReady`, `Assigning`, `Reconciling`, `Stable` or `Dead`.
    pub state: String,
    /// The broker that coordinates it.
    pub coordinator: Node,
}

/// A part of a topology (KIP-1071).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamsGroupSubtopologyDescription {
    /// Its id, a number in practice.
    pub subtopology_id: String,
    /// The topics from outside that it reads.
    pub source_topics: Vec<String>,
    /// The repartition topics that it writes.
    pub repartition_sink_topics: Vec<String>,
    /// The changelogs of its stores, by name.
    pub state_changelog_topics: BTreeMap<String, StreamsInternalTopic>,
    /// The repartition topics that it reads, by name.
    pub repartition_source_topics: BTreeMap<String, StreamsInternalTopic>,
}

/// A topic that belongs to an application (KIP-1071).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamsInternalTopic {
    /// Its number of partitions; 0 if the coordinator has not decided it.
    pub partitions: i32,
    /// How many replicas are asked for; 0 for the broker's default.
    pub replication_factor: i16,
    /// The settings that it is created with.
    pub topic_configs: BTreeMap<String, String>,
}

/// A member of a streams group (KIP-1071).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamsGroupMemberDescription {
    /// Its id.
    pub member_id: String,
    /// The epoch that it has reached.
    pub member_epoch: i32,
    /// `group.instance.id`, for a static member.
    pub group_instance_id: Option<String>,
    /// `client.rack`, where it told it.
    pub rack_id: Option<String>,
    /// `client.id`.
    pub client_id: String,
    /// The address it connects from, such as `/127.0.0.1`.
    pub host: String,
    /// The epoch of the topology that it has.
    pub topology_epoch: i32,
    /// The process that it belongs to.
    pub process_id: String,
    /// Host and port of `application.server`.
    pub user_endpoint: Option<(String, u16)>,
    /// `client.tag.*`.
    pub client_tags: BTreeMap<String, String>,
    /// The tasks that it has.
    pub assignment: StreamsGroupMemberAssignment,
    /// The tasks that it shall have in the end.
    pub target_assignment: StreamsGroupMemberAssignment,
    /// Whether it speaks the classic protocol.
    pub is_classic: bool,
}

/// Tasks by their roles: subtopologies with partitions (KIP-1071).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamsGroupMemberAssignment {
    /// Those that it processes.
    pub active_tasks: BTreeMap<String, Vec<i32>>,
    /// Those whose stores it follows.
    pub standby_tasks: BTreeMap<String, Vec<i32>>,
    /// Those whose stores it builds up to take the tasks over.
    pub warmup_tasks: BTreeMap<String, Vec<i32>>,
}

impl Admin {
    /// Streams groups with their topologies and members.
    ///
    /// # Errors
    /// For each group `GroupIdNotFound`, also of a group of another kind, `GroupAuthorizationFailed`,
    /// `TopicAuthorizationFailed`, …; [`ClientError::UnsupportedVersion`] of a broker without streams groups.
    pub async fn describe_streams_groups(
        &self,
        groups: impl IntoIterator<Item = impl Into<String>>,
    ) -> Results<String, StreamsGroupDescription> {
        self.for_each(groups, async |group: String| self.describe_streams_group(&group).await).await
    }

    async fn describe_streams_group(&self, group: &str) -> Result<StreamsGroupDescription, ClientError> {
        let request =
            StreamsGroupDescribeRequest { group_ids: vec![group.to_owned()], ..StreamsGroupDescribeRequest::default() };
        let response = self.send_to_group(group, &request).await?;
        let described = response.groups.into_iter().next();
        let described = described.ok_or_else(|| ClientError::unexpected("no group described"))?;
        self.check_group(group, described.error_code, described.error_message.as_deref())?;
        let coordinator = self.cluster.coordinator(CoordinatorType::Group, group).await?;
        Ok(description(described, coordinator))
    }

    /// What a streams group has committed; `None` for a partition without an offset. `partitions` are all without it.
    ///
    /// # Errors
    /// As [`Admin::list_consumer_group_offsets`].
    pub async fn list_streams_group_offsets(
        &self,
        group: &str,
        partitions: Option<&[TopicPartition]>,
    ) -> Result<BTreeMap<TopicPartition, Option<OffsetAndMetadata>>, ClientError> {
        self.list_consumer_group_offsets(group, partitions).await
    }

    /// Sets offsets of a streams group without members.
    ///
    /// # Errors
    /// As [`Admin::alter_consumer_group_offsets`]; `UnknownMemberId` of a group that has members.
    pub async fn alter_streams_group_offsets(
        &self,
        group: &str,
        offsets: impl IntoIterator<Item = (TopicPartition, OffsetAndMetadata)>,
    ) -> Results<TopicPartition, ()> {
        self.alter_consumer_group_offsets(group, offsets).await
    }

    /// Deletes offsets of a streams group, of topics that no member reads.
    ///
    /// # Errors
    /// As [`Admin::delete_consumer_group_offsets`].
    pub async fn delete_streams_group_offsets(
        &self,
        group: &str,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> Results<TopicPartition, ()> {
        self.delete_consumer_group_offsets(group, partitions).await
    }

    /// Deletes streams groups without members, and their offsets. Their internal topics stay.
    ///
    /// # Errors
    /// As [`Admin::delete_groups`].
    pub async fn delete_streams_groups(
        &self,
        groups: impl IntoIterator<Item = impl Into<String>>,
    ) -> Results<String, ()> {
        self.delete_groups(groups).await
    }
}

fn description(group: answer::DescribedGroup, coordinator: Node) -> StreamsGroupDescription {
    let topology = group.topology.unwrap_or_default();
    StreamsGroupDescription {
        group_id: group.group_id,
        group_epoch: group.group_epoch,
        target_assignment_epoch: group.assignment_epoch,
        topology_epoch: topology.epoch,
        subtopologies: topology.subtopologies.into_iter().flatten().map(subtopology).collect(),
        members: group.members.into_iter().map(member).collect(),
        state: group.group_state,
        coordinator,
    }
}

fn subtopology(from: answer::Subtopology) -> StreamsGroupSubtopologyDescription {
    let topics = |topics: Vec<answer::TopicInfo>| topics.into_iter().map(internal_topic).collect();
    StreamsGroupSubtopologyDescription {
        subtopology_id: from.subtopology_id,
        source_topics: from.source_topics,
        repartition_sink_topics: from.repartition_sink_topics,
        state_changelog_topics: topics(from.state_changelog_topics),
        repartition_source_topics: topics(from.repartition_source_topics),
    }
}

fn internal_topic(topic: answer::TopicInfo) -> (String, StreamsInternalTopic) {
    let described = StreamsInternalTopic {
        partitions: topic.partitions,
        replication_factor: topic.replication_factor,
        topic_configs: topic.topic_configs.into_iter().map(|config| (config.key, config.value)).collect(),
    };
    (topic.name, described)
}

fn member(member: answer::Member) -> StreamsGroupMemberDescription {
    StreamsGroupMemberDescription {
        member_id: member.member_id,
        member_epoch: member.member_epoch,
        group_instance_id: member.instance_id,
        rack_id: member.rack_id,
        client_id: member.client_id,
        host: member.client_host,
        topology_epoch: member.topology_epoch,
        process_id: member.process_id,
        user_endpoint: member.user_endpoint.map(|endpoint| (endpoint.host, endpoint.port)),
        client_tags: member.client_tags.into_iter().map(|tag| (tag.key, tag.value)).collect(),
        assignment: assignment(member.assignment),
        target_assignment: assignment(member.target_assignment),
        is_classic: member.is_classic,
    }
}

fn assignment(from: answer::Assignment) -> StreamsGroupMemberAssignment {
    let tasks = |tasks: Vec<answer::TaskIds>| tasks.into_iter().map(|it| (it.subtopology_id, it.partitions)).collect();
    StreamsGroupMemberAssignment {
        active_tasks: tasks(from.active_tasks),
        standby_tasks: tasks(from.standby_tasks),
        warmup_tasks: tasks(from.warmup_tasks),
    }
}
