//! `/api/brokers`: the brokers and their log directories.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use vltava_client::TopicPartition;
use vltava_client::admin::{LogDirDescription, ReplicaInfo, Results};
use vltava_client::net::Node;

use super::Problem;
use crate::console::Shared;
use crate::sampler::Sample;

pub(super) async fn brokers(shared: &Shared) -> Result<Value, Problem> {
    let view = shared.sampler.view().await?;
    let sample = &view.newest;
    let described = log_dirs(shared, sample).await;
    let broker = |node: &Node| {
        let (dirs, problem) = match described.get(&node.id) {
            Some(Ok(dirs)) => (dirs.iter().map(|(path, dir)| log_dir(path, dir)).collect(), None),
            Some(Err(error)) => (Vec::new(), Some(Problem::from(error).inner())),
            None => (Vec::new(), None),
        };
        json!({
            "id": node.id,
            "address": node.address(),
            "rack": node.rack.as_deref(),
            "is_controller": sample.controller == Some(node.id),
            "log_dirs": dirs,
            "problem": problem,
        })
    };
    Ok(json!({"at": sample.at_ms, "brokers": sample.nodes.iter().map(broker).collect::<Vec<_>>()}))
}

fn log_dir(path: &str, dir: &LogDirDescription) -> Value {
    json!({
        "path": path,
        "replicas": dir.replicas.len(),
        "size_bytes": dir.replicas.values().map(|replica| replica.size_bytes).sum::<i64>(),
        "total_bytes": dir.total_bytes,
        "usable_bytes": dir.usable_bytes,
        "problem": dir.error.as_ref().map(|error| Problem::from(error).inner()),
    })
}

/// The bytes of all replicas of each topic, and the brokers that do not tell theirs.
pub(super) async fn sizes(shared: &Shared, sample: &Sample) -> (BTreeMap<String, i64>, Vec<Value>) {
    let mut sizes = BTreeMap::new();
    let problems = each_replica(shared, sample, |_, partition, info| {
        *sizes.entry(partition.topic().to_owned()).or_insert(0) += info.size_bytes;
    });
    let problems = problems.await;
    (sizes, problems)
}

/// The replicas of a topic as broker, partition and what is said of it, and the brokers that do not tell theirs.
pub(super) async fn replicas(
    shared: &Shared,
    sample: &Sample,
    topic: &str,
) -> (Vec<(i32, i32, ReplicaInfo)>, Vec<Value>) {
    let mut found = Vec::new();
    let problems = each_replica(shared, sample, |broker, partition, info| {
        if partition.topic() == topic {
            found.push((broker, partition.partition(), *info));
        }
    });
    let problems = problems.await;
    (found, problems)
}

async fn each_replica(
    shared: &Shared,
    sample: &Sample,
    mut take: impl FnMut(i32, &TopicPartition, &ReplicaInfo),
) -> Vec<Value> {
    let described = log_dirs(shared, sample).await;
    let mut problems = Vec::new();
    for (broker, dirs) in described {
        match dirs {
            Err(error) => problems.push(json!({"broker": broker, "problem": Problem::from(error).inner()})),
            Ok(dirs) => {
                for (partition, info) in dirs.values().flat_map(|dir| &dir.replicas) {
                    take(broker, partition, info);
                }
            }
        }
    }
    problems
}

async fn log_dirs(shared: &Shared, sample: &Sample) -> Results<i32, BTreeMap<String, LogDirDescription>> {
    let ids: Vec<i32> = sample.nodes.iter().map(|node| node.id).collect();
    shared.admin.describe_log_dirs(ids).await
}
