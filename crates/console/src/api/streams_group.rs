//! A streams group (KIP-1071): its topology as the coordinator knows it, and who has which task.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use vltava_client::TopicPartition;
use vltava_client::admin::{
    StreamsGroupDescription, StreamsGroupMemberAssignment, StreamsGroupMemberDescription,
    StreamsGroupSubtopologyDescription, StreamsInternalTopic,
};

use super::Problem;
use super::group::Described;
use crate::console::Shared;

pub(super) async fn describe(shared: &Shared, id: &str) -> Result<Described, Problem> {
    let described = shared.admin.describe_streams_groups([id]).await.into_values().next();
    let unanswered = || Problem::missing(format!("the coordinator does not answer for group `{id}`"));
    let group = described.ok_or_else(unanswered)??;
    let fields = json!({
        "id": group.group_id,
        "type": "Streams",
        "protocol": "streams",
        "state": group.state,
        "coordinator": {"id": group.coordinator.id, "address": group.coordinator.address()},
        "group_epoch": group.group_epoch,
        "target_assignment_epoch": group.target_assignment_epoch,
        "topology_epoch": group.topology_epoch,
        "subtopologies": group.subtopologies.iter().map(subtopology).collect::<Vec<_>>(),
        "members": group.members.iter().map(member).collect::<Vec<_>>(),
    });
    Ok(Described { fields, state: group.state.clone(), owners: owners(&group) })
}

/// An active task reads its partition of all topics that its subtopology reads.
fn owners(group: &StreamsGroupDescription) -> BTreeMap<TopicPartition, String> {
    let mut owners = BTreeMap::new();
    for member in &group.members {
        for (id, partitions) in &member.assignment.active_tasks {
            let of = group.subtopologies.iter().filter(|it| it.subtopology_id == *id);
            let topics = of.flat_map(|it| it.source_topics.iter().chain(it.repartition_source_topics.keys()));
            for topic in topics {
                owners.extend(
                    partitions.iter().map(|it| (TopicPartition::new(topic.as_str(), *it), member.member_id.clone())),
                );
            }
        }
    }
    owners
}

fn subtopology(it: &StreamsGroupSubtopologyDescription) -> Value {
    let internal = |topics: &BTreeMap<String, StreamsInternalTopic>| {
        let topic = |(name, topic): (&String, &StreamsInternalTopic)| json!({"name": name, "partitions": topic.partitions, "configs": topic.topic_configs});
        topics.iter().map(topic).collect::<Vec<_>>()
    };
    json!({
        "id": it.subtopology_id,
        "source_topics": it.source_topics,
        "repartition_sink_topics": it.repartition_sink_topics,
        "repartition_source_topics": internal(&it.repartition_source_topics),
        "changelog_topics": internal(&it.state_changelog_topics),
    })
}

fn member(member: &StreamsGroupMemberDescription) -> Value {
    json!({
        "id": member.member_id,
        "instance_id": member.group_instance_id,
        "client_id": member.client_id,
        "host": member.host.trim_start_matches('/'),
        "rack": member.rack_id,
        "epoch": member.member_epoch,
        "process_id": member.process_id,
        "endpoint": member.user_endpoint.as_ref().map(|(host, port)| format!("{host}:{port}")),
        "topology_epoch": member.topology_epoch,
        "tasks": tasks(&member.assignment),
        "target_tasks": tasks(&member.target_assignment),
    })
}

/// Ids of tasks such as `0_1`, by their roles.
fn tasks(assignment: &StreamsGroupMemberAssignment) -> Value {
    let ids = |tasks: &BTreeMap<String, Vec<i32>>| {
        let of = |(subtopology, partitions): (&String, &Vec<i32>)| {
            partitions.iter().map(|partition| format!("{subtopology}_{partition}")).collect::<Vec<_>>()
        };
        tasks.iter().flat_map(of).collect::<Vec<_>>()
    };
    json!({
        "active": ids(&assignment.active_tasks),
        "standby": ids(&assignment.standby_tasks),
        "warmup": ids(&assignment.warmup_tasks),
    })
}
