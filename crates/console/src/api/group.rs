//! `/api/groups/ID`: a group's members, what it has committed, and how far that is behind.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use vltava_client::admin::{GroupDescription, ListGroupsOptions, MemberDescription, OffsetSpec};
use vltava_client::config::IsolationLevel;
use vltava_client::{ClientError, ErrorCode, OffsetAndMetadata, TopicPartition};

use super::Problem;
use super::streams_group;
use crate::clock::now_ms;
use crate::console::Shared;

/// What a group says of itself, and which partitions its members read.
pub(super) struct Described {
    pub(super) fields: Value,
    pub(super) state: String,
    /// The member that reads a partition.
    pub(super) owners: BTreeMap<TopicPartition, String>,
}

pub(super) async fn group(shared: &Shared, id: &str) -> Result<Value, Problem> {
    let described = describe(shared, id).await?;
    let committed = shared.admin.list_consumer_group_offsets(id, None).await?;
    let mut partitions: BTreeSet<TopicPartition> = committed.keys().cloned().collect();
    partitions.extend(described.owners.keys().cloned());
    let ask = |spec: OffsetSpec| {
        let wanted: Vec<_> = partitions.iter().map(|partition| (partition.clone(), spec)).collect();
        shared.admin.list_offsets(wanted, IsolationLevel::ReadUncommitted)
    };
    let (starts, ends) = tokio::join!(ask(OffsetSpec::Earliest), ask(OffsetSpec::Latest));
    let mut total = 0;
    let offset = |partition: &TopicPartition| {
        let committed = committed.get(partition).and_then(Option::as_ref);
        let (start, end) = (starts.get(partition), ends.get(partition));
        let lag = lag(committed, end.and_then(|end| end.as_ref().ok()).map(|end| end.offset));
        if let Some(lag) = lag {
            total += lag;
        }
        let failed = [start, end].into_iter().flatten().find_map(|found| found.as_ref().err());
        json!({
            "topic": partition.topic(),
            "partition": partition.partition(),
            "committed": committed.map(|it| it.offset),
            "metadata": committed.map(|it| it.metadata.as_str()).filter(|it| !it.is_empty()),
            "start_offset": start.and_then(|it| it.as_ref().ok()).map(|it| it.offset),
            "end_offset": end.and_then(|it| it.as_ref().ok()).map(|it| it.offset),
            "lag": lag,
            "member": described.owners.get(partition),
            "problem": failed.map(|error| Problem::from(error).inner()),
        })
    };
    let offsets: Vec<Value> = partitions.iter().map(offset).collect();
    let mut fields = described.fields;
    if let Value::Object(fields) = &mut fields {
        fields.insert("at".to_owned(), json!(now_ms()));
        fields.insert("lag".to_owned(), json!(total));
        fields.insert("offsets".to_owned(), json!(offsets));
    }
    Ok(fields)
}

/// How many records follow what is committed.
pub(super) fn lag(committed: Option<&OffsetAndMetadata>, end: Option<i64>) -> Option<i64> {
    Some((end? - committed?.offset).max(0))
}

/// A group of whatever kind.
pub(super) async fn describe(shared: &Shared, id: &str) -> Result<Described, Problem> {
    let groups = shared.admin.list_groups(&ListGroupsOptions::default()).await?;
    let Some(listed) = groups.into_iter().find(|group| group.group_id == id) else {
        let unknown = Problem::from(ClientError::broker(ErrorCode::GroupIdNotFound));
        return Err(unknown.saying(format!("there is no group `{id}`, or the console's login may not see it")));
    };
    let first = |found: Option<Result<GroupDescription, ClientError>>| match found {
        Some(found) => found.map_err(Problem::from),
        None => Err(Problem::missing(format!("the coordinator does not answer for group `{id}`"))),
    };
    match listed.group_type.as_deref() {
        Some("Streams") => streams_group::describe(shared, id).await,
        Some("Share") => {
            Err(Problem::unsupported(format!("`{id}` is a share group, which this console does not show")))
        }
        _ if listed.is_consumer_group() => {
            let described = shared.admin.describe_consumer_groups([id]).await;
            first(described.into_values().next()).map(|group| of_consumers(&group))
        }
        _ => first(shared.admin.describe_groups([id]).await.into_values().next()).map(|group| of_consumers(&group)),
    }
}

fn of_consumers(group: &GroupDescription) -> Described {
    let mut owners = BTreeMap::new();
    for member in &group.members {
        owners.extend(member.assignment.iter().map(|partition| (partition.clone(), member.member_id.clone())));
    }
    let fields = json!({
        "id": group.group_id,
        "type": group.group_type,
        "protocol": group.protocol_type,
        "state": group.state,
        "assignor": group.partition_assignor,
        "coordinator": {"id": group.coordinator.id, "address": group.coordinator.address()},
        "group_epoch": group.group_epoch,
        "target_assignment_epoch": group.target_assignment_epoch,
        "members": group.members.iter().map(member).collect::<Vec<_>>(),
    });
    Described { fields, state: group.state.clone(), owners }
}

fn member(member: &MemberDescription) -> Value {
    json!({
        "id": member.member_id,
        "instance_id": member.group_instance_id,
        "client_id": member.client_id,
        "host": member.host.trim_start_matches('/'),
        "rack": member.rack_id,
        "epoch": member.member_epoch,
        "assignment": by_topic(&member.assignment),
        "target_assignment": member.target_assignment.as_deref().map(by_topic),
    })
}

/// `[{"topic": …, "partitions": […]}, …]`
pub(super) fn by_topic(partitions: &[TopicPartition]) -> Value {
    let mut topics: BTreeMap<&str, BTreeSet<i32>> = BTreeMap::new();
    for partition in partitions {
        topics.entry(partition.topic()).or_default().insert(partition.partition());
    }
    topics.into_iter().map(|(topic, partitions)| json!({"topic": topic, "partitions": partitions})).collect()
}
