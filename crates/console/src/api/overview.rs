//! `/api/overview`: the cluster in a few numbers.

use serde_json::{Value, json};
use vltava_client::admin::{ListGroupsOptions, TopicPartitionInfo};
use vltava_client::net::Node;

use super::Problem;
use crate::console::Shared;
use crate::sampler::View;

pub(super) async fn overview(shared: &Shared) -> Result<Value, Problem> {
    let view = shared.sampler.view().await?;
    let mut found = summary(&view);
    let groups = shared.admin.list_groups(&ListGroupsOptions::default()).await;
    if let Value::Object(fields) = &mut found {
        match groups {
            Ok(groups) => fields.insert("groups".to_owned(), json!(groups.len())),
            // The rest may be seen though this is refused.
            Err(error) => fields.insert("groups_problem".to_owned(), Problem::from(error).inner()),
        };
    }
    Ok(found)
}

/// What a sample says of the cluster as a whole.
pub(super) fn summary(view: &View) -> Value {
    let sample = &view.newest;
    let partitions = || sample.described().flat_map(|topic| &topic.partitions);
    let controller = sample.controller;
    let broker = |node: &Node| {
        let of = partitions().filter(|partition| partition.leader == Some(node.id)).count();
        json!({
            "id": node.id,
            "address": node.address(),
            "rack": node.rack.as_deref(),
            "is_controller": controller == Some(node.id),
            "leads": of,
        })
    };
    let mut missing: Vec<i32> = partitions().flat_map(|partition| partition.replicas.iter().copied()).collect();
    missing.retain(|id| !sample.nodes.iter().any(|node| node.id == *id));
    missing.sort_unstable();
    missing.dedup();
    json!({
        "at": sample.at_ms,
        "cluster_id": sample.cluster_id,
        "controller": controller,
        "brokers": sample.nodes.iter().map(broker).collect::<Vec<_>>(),
        "missing_brokers": missing,
        "topics": sample.topics.len(),
        "partitions": partitions().count(),
        "offline_partitions": partitions().filter(|partition| is_offline(partition)).count(),
        "under_replicated_partitions": partitions().filter(|partition| is_under_replicated(partition)).count(),
        "records_per_second": view.rates().map(|rates| rates.values().sum::<f64>()),
        "problems": sample.topics.iter().filter_map(|(name, topic)| {
            let error = topic.as_ref().err()?;
            Some(json!({"topic": name, "problem": Problem::from(error).inner()}))
        }).collect::<Vec<_>>(),
    })
}

pub(super) fn is_offline(partition: &TopicPartitionInfo) -> bool {
    partition.leader.is_none()
}

pub(super) fn is_under_replicated(partition: &TopicPartitionInfo) -> bool {
    partition.isr.len() < partition.replicas.len()
}
