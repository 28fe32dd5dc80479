//! StreamsGroupDescribe.

use std::collections::BTreeMap;

use vltava_protocol::messages::streams_group_describe_response::{
    Assignment, DescribedGroup, Endpoint, KeyValue, Member, Subtopology, TaskIds, TopicInfo, Topology,
};
use vltava_protocol::records::group::streams_group_topology_value as record;

use super::configure::{ConfiguredSubtopology, InternalTopic};
use super::member::StreamsMember;
use super::tasks::{OwnedTasks, TaskSet, Tasks};
use super::topology::StreamsTopology;
use super::{Streams, StreamsGroup};
use crate::coordinator::group::shard::{GroupCoordinatorShard, Refused};

impl GroupCoordinatorShard {
    /// Describes a streams group; an error is in the description.
    pub(crate) fn describe_streams_group(&self, group_id: &str) -> DescribedGroup {
        match self.known_group::<Streams>(group_id) {
            Ok(group) => group.describe(),
            Err(Refused { error, message }) => DescribedGroup {
                group_id: group_id.to_owned(),
                error_code: error.code(),
                error_message: message,
                ..DescribedGroup::default()
            },
        }
    }
}

impl StreamsGroup {
    fn describe(&self) -> DescribedGroup {
        DescribedGroup {
            group_id: self.id.to_string(),
            group_state: self.state().name().to_owned(),
            group_epoch: self.epoch,
            assignment_epoch: self.assignment_epoch,
            topology: self.own.topology.as_deref().map(|topology| self.describe_topology(topology)),
            members: self.members.values().map(|member| self.describe_member(member)).collect(),
            ..DescribedGroup::default()
        }
    }

    /// The topology with the counts that its topics have, or as the members say it if that is not known.
    fn describe_topology(&self, topology: &StreamsTopology) -> Topology {
        let configured = self.own.configured.as_ref().filter(|configured| configured.is_ready());
        let subtopologies = match configured.and_then(|configured| configured.subtopologies.as_ref()) {
            Some(configured) => {
                configured.iter().map(|(id, subtopology)| configured_subtopology(id, subtopology)).collect()
            }
            None => topology.subtopologies.values().map(said_subtopology).collect(),
        };
        Topology { epoch: topology.epoch, subtopologies: Some(subtopologies), ..Topology::default() }
    }

    fn describe_member(&self, member: &StreamsMember) -> Member {
        let target = self.target.get(&member.id).map_or_else(Assignment::default, target_assignment);
        let endpoint = member.wants.user_endpoint.as_ref();
        Member {
            member_id: member.id.to_string(),
            member_epoch: member.epoch,
            instance_id: member.instance_id.clone(),
            rack_id: member.rack_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            topology_epoch: member.wants.topology_epoch,
            process_id: member.wants.process_id.clone(),
            user_endpoint: endpoint.map(|endpoint| Endpoint {
                host: endpoint.host.clone(),
                port: endpoint.port,
                ..Endpoint::default()
            }),
            client_tags: key_values(&member.wants.client_tags),
            assignment: assignment(&member.assigned),
            target_assignment: target,
            ..Member::default()
        }
    }
}

fn key_values(map: &BTreeMap<String, String>) -> Vec<KeyValue> {
    let pair =
        |(key, value): (&String, &String)| KeyValue { key: key.clone(), value: value.clone(), ..KeyValue::default() };
    map.iter().map(pair).collect()
}

fn ids(tasks: &TaskSet) -> Vec<TaskIds> {
    let of_subtopology = |(subtopology, partitions): (&String, &std::collections::BTreeSet<i32>)| TaskIds {
        subtopology_id: subtopology.clone(),
        partitions: partitions.iter().copied().collect(),
        ..TaskIds::default()
    };
    tasks.iter().map(of_subtopology).collect()
}

fn target_assignment(target: &Tasks) -> Assignment {
    Assignment {
        active_tasks: ids(&target.active),
        standby_tasks: ids(&target.standby),
        warmup_tasks: ids(&target.warmup),
        ..Assignment::default()
    }
}

fn assignment(owned: &OwnedTasks) -> Assignment {
    let active = owned.active.iter().map(|(subtopology, partitions)| TaskIds {
        subtopology_id: subtopology.clone(),
        partitions: partitions.keys().copied().collect(),
        ..TaskIds::default()
    });
    Assignment {
        active_tasks: active.collect(),
        standby_tasks: ids(&owned.standby),
        warmup_tasks: ids(&owned.warmup),
        ..Assignment::default()
    }
}

fn configured_subtopology(id: &str, subtopology: &ConfiguredSubtopology) -> Subtopology {
    let topic = |topic: &InternalTopic| TopicInfo {
        name: topic.name.clone(),
        partitions: topic.partitions,
        replication_factor: topic.replication_factor,
        topic_configs: key_values(&topic.configs),
        ..TopicInfo::default()
    };
    Subtopology {
        subtopology_id: id.to_owned(),
        source_topics: subtopology.source_topics.iter().cloned().collect(),
        repartition_sink_topics: subtopology.repartition_sink_topics.iter().cloned().collect(),
        state_changelog_topics: subtopology.state_changelog_topics.values().map(topic).collect(),
        repartition_source_topics: subtopology.repartition_source_topics.values().map(topic).collect(),
        ..Subtopology::default()
    }
}

fn said_subtopology(subtopology: &record::Subtopology) -> Subtopology {
    let topics = |topics: &[record::TopicInfo]| {
        let topic = |topic: &record::TopicInfo| TopicInfo {
            name: topic.name.clone(),
            partitions: topic.partitions,
            replication_factor: topic.replication_factor,
            topic_configs: topic
                .topic_configs
                .iter()
                .map(|config| KeyValue { key: config.key.clone(), value: config.value.clone(), ..KeyValue::default() })
                .collect(),
            ..TopicInfo::default()
        };
        let mut topics: Vec<_> = topics.iter().map(topic).collect();
        topics.sort_by(|one, other| one.name.cmp(&other.name));
        topics
    };
    let sorted = |names: &[String]| {
        let mut names = names.to_vec();
        names.sort();
        names
    };
    Subtopology {
        subtopology_id: subtopology.subtopology_id.clone(),
        source_topics: sorted(&subtopology.source_topics),
        repartition_sink_topics: sorted(&subtopology.repartition_sink_topics),
        state_changelog_topics: topics(&subtopology.state_changelog_topics),
        repartition_source_topics: topics(&subtopology.repartition_source_topics),
        ..Subtopology::default()
    }
}
