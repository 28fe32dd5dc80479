//! What a heartbeat says: everything when the member joins, else what it has if that is not known to the coordinator.

use std::collections::{BTreeMap, BTreeSet};

use vltava_protocol::messages::StreamsGroupHeartbeatRequest;
use vltava_protocol::messages::streams_group_heartbeat_request::{
    CopartitionGroup, Endpoint, KeyValue, Subtopology, TaskIds, TopicInfo, Topology,
};

use super::StreamsProtocol;
use crate::consumer::membership::millis;
use crate::consumer::membership::modern::{MemberState, Standing};
use crate::consumer::streams_group::{self, InternalTopic, StreamsAssignment, StreamsMember, StreamsTaskId};

/// The epoch of the topology: Kafka's Streams has but one.
const TOPOLOGY_EPOCH: i32 = 0;
/// The number of partitions of a topic for which the coordinator finds it.
const FOR_THE_COORDINATOR: i32 = 0;

impl StreamsProtocol {
    pub(super) fn said_to_coordinator(
        &mut self,
        standing: &Standing<'_, StreamsAssignment>,
        held: Option<StreamsAssignment>,
    ) -> StreamsGroupHeartbeatRequest {
        let (config, member) = (standing.config, &self.member);
        let mut request = StreamsGroupHeartbeatRequest {
            group_id: config.group_id.clone(),
            member_id: config.member_id.clone(),
            member_epoch: standing.epoch,
            endpoint_information_epoch: self.endpoint_epoch,
            shutdown_application: self.wants_shutdown,
            ..Default::default()
        };
        if standing.state == MemberState::Joining {
            request.topology = Some(topology(member));
            request.rebalance_timeout_ms = millis(config.rebalance_timeout);
            request.process_id = Some(member.process_id.clone());
            request.user_endpoint =
                member.endpoint.clone().map(|(host, port)| Endpoint { host, port, ..Default::default() });
            request.rack_id.clone_from(&config.rack_id);
            request.client_tags = Some(pairs(&member.client_tags));
        }
        if let Some(held) = held {
            request.active_tasks = Some(by_subtopology(&held.active));
            request.standby_tasks = Some(by_subtopology(&held.standby));
            request.warmup_tasks = Some(by_subtopology(&held.warmup));
        }
        self.is_shutdown_told |= self.wants_shutdown;
        request
    }
}

fn topology(member: &StreamsMember) -> Topology {
    let subtopologies = member.subtopologies.iter().map(|(id, subtopology)| described(id, subtopology));
    Topology { epoch: TOPOLOGY_EPOCH, subtopologies: subtopologies.collect(), ..Default::default() }
}

fn described(id: &str, subtopology: &streams_group::Subtopology) -> Subtopology {
    let streams_group::Subtopology {
        source_topics,
        repartition_sink_topics,
        repartition_source_topics,
        state_changelog_topics,
        copartition_groups,
    } = subtopology;
    let sources: BTreeMap<&str, i16> = source_topics.iter().map(String::as_str).zip(0..).collect();
    let repartition: BTreeMap<&str, i16> = repartition_source_topics.keys().map(String::as_str).zip(0..).collect();
    let places = |topics: &BTreeSet<String>, places: &BTreeMap<&str, i16>| -> Vec<i16> {
        topics.iter().filter_map(|topic| places.get(topic.as_str()).copied()).collect()
    };
    let group = |topics: &BTreeSet<String>| CopartitionGroup {
        source_topics: places(topics, &sources),
        repartition_source_topics: places(topics, &repartition),
        ..Default::default()
    };
    Subtopology {
        subtopology_id: id.to_owned(),
        source_topics: source_topics.iter().cloned().collect(),
        repartition_sink_topics: repartition_sink_topics.iter().cloned().collect(),
        repartition_source_topics: repartition_source_topics.iter().map(topic).collect(),
        // As many partitions as the sub-topology has tasks, which is for the coordinator to say.
        state_changelog_topics: state_changelog_topics
            .iter()
            .map(|changelog| TopicInfo { partitions: FOR_THE_COORDINATOR, ..topic(changelog) })
            .collect(),
        copartition_groups: copartition_groups.iter().map(group).collect(),
        ..Default::default()
    }
}

fn topic((name, topic): (&String, &InternalTopic)) -> TopicInfo {
    TopicInfo {
        name: name.clone(),
        partitions: topic.partitions.unwrap_or(FOR_THE_COORDINATOR),
        replication_factor: topic.replication_factor,
        topic_configs: pairs(&topic.config),
        ..Default::default()
    }
}

fn pairs(of: &BTreeMap<String, String>) -> Vec<KeyValue> {
    of.iter().map(|(key, value)| KeyValue { key: key.clone(), value: value.clone(), ..Default::default() }).collect()
}

fn by_subtopology(tasks: &BTreeSet<StreamsTaskId>) -> Vec<TaskIds> {
    let mut listed: Vec<TaskIds> = Vec::new();
    for task in tasks {
        match listed.last_mut() {
            Some(last) if last.subtopology_id == task.subtopology => last.partitions.push(task.partition),
            _ => listed.push(TaskIds {
                subtopology_id: task.subtopology.clone(),
                partitions: vec![task.partition],
                ..Default::default()
            }),
        }
    }
    listed
}
