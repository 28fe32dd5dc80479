//! The topology of an application, as its members say it and as the log has it.

use std::collections::{BTreeMap, BTreeSet};

use vltava_protocol::messages::streams_group_heartbeat_request as request;
use vltava_protocol::records::group::StreamsGroupTopologyValue;
use vltava_protocol::records::group::streams_group_topology_value::{
    CopartitionGroup, Subtopology, TopicConfig, TopicInfo,
};

/// A topology: what its subtopologies read, and the topics that they need.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) struct StreamsTopology {
    pub(in super::super) epoch: i32,
    pub(in super::super) subtopologies: BTreeMap<String, Subtopology>,
}

impl StreamsTopology {
    pub(super) fn of_record(value: StreamsGroupTopologyValue) -> Self {
        let subtopologies = value.subtopologies.into_iter();
        Self { epoch: value.epoch, subtopologies: subtopologies.map(|it| (it.subtopology_id.clone(), it)).collect() }
    }

    /// The record of the topology.
    pub(super) fn to_record(&self) -> StreamsGroupTopologyValue {
        StreamsGroupTopologyValue {
            epoch: self.epoch,
            subtopologies: self.subtopologies.values().cloned().collect(),
            ..StreamsGroupTopologyValue::default()
        }
    }

    /// The subtopology that reads a topic.
    pub(super) fn reader_of(&self, topic: &str) -> Option<&Subtopology> {
        self.subtopologies.values().find(|subtopology| source_topics(subtopology).any(|name| name == topic))
    }

    /// Returns the topics that have to be there: what is read, and the changelogs.
    pub(super) fn required_topics(&self) -> BTreeSet<&str> {
        let read = self.subtopologies.values().flat_map(source_topics);
        let changelogs = self.subtopologies.values().flat_map(|subtopology| &subtopology.state_changelog_topics);
        read.chain(changelogs.map(|topic| topic.name.as_str())).collect()
    }
}

/// Returns what a subtopology reads: topics from outside, and repartition topics.
pub(super) fn source_topics(subtopology: &Subtopology) -> impl Iterator<Item = &str> {
    let repartition = subtopology.repartition_source_topics.iter().map(|topic| &topic.name);
    subtopology.source_topics.iter().chain(repartition).map(String::as_str)
}

/// The record of a topology that a member says.
pub(super) fn topology_value(topology: &request::Topology) -> StreamsGroupTopologyValue {
    StreamsGroupTopologyValue {
        epoch: topology.epoch,
        subtopologies: topology.subtopologies.iter().map(subtopology).collect(),
        ..StreamsGroupTopologyValue::default()
    }
}

fn subtopology(from: &request::Subtopology) -> Subtopology {
    let copartitioned = |group: &request::CopartitionGroup| CopartitionGroup {
        source_topics: group.source_topics.clone(),
        source_topic_regex: group.source_topic_regex.clone(),
        repartition_source_topics: group.repartition_source_topics.clone(),
        ..CopartitionGroup::default()
    };
    Subtopology {
        subtopology_id: from.subtopology_id.clone(),
        source_topics: from.source_topics.clone(),
        source_topic_regex: from.source_topic_regex.clone(),
        state_changelog_topics: from.state_changelog_topics.iter().map(topic_info).collect(),
        repartition_sink_topics: from.repartition_sink_topics.clone(),
        repartition_source_topics: from.repartition_source_topics.iter().map(topic_info).collect(),
        copartition_groups: from.copartition_groups.iter().map(copartitioned).collect(),
        ..Subtopology::default()
    }
}

fn topic_info(from: &request::TopicInfo) -> TopicInfo {
    let config = |config: &request::KeyValue| TopicConfig {
        key: config.key.clone(),
        value: config.value.clone(),
        ..TopicConfig::default()
    };
    TopicInfo {
        name: from.name.clone(),
        partitions: from.partitions,
        replication_factor: from.replication_factor,
        topic_configs: from.topic_configs.iter().map(config).collect(),
        ..TopicInfo::default()
    }
}
