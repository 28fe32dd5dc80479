//! DescribeLogDirs (35), versions 1–5 (KIP-113).
//!
//! Tells each log directory, the size of each partition in it, and the size of its volume; of one
//! that is offline, that it is. A single replica has no lag and no future copy.
//!
//! Versions: 2 flexible · 3 an error for the whole answer · 4 size of the volume (KIP-827) · 5
//! cordoned directories (KIP-1066), of which there are none here.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use vltava_protocol::ErrorCode;
use vltava_protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use vltava_protocol::messages::{DescribeLogDirsRequest, DescribeLogDirsResponse};
use vltava_security::acl::AclOperation;

use crate::partitions::Partitions;
use crate::request::RequestContext;
use crate::security::Resource;

pub(crate) fn handle(
    partitions: &Partitions,
    context: &RequestContext,
    request: &DescribeLogDirsRequest,
) -> DescribeLogDirsResponse {
    if !context.may(AclOperation::Describe, Resource::CLUSTER) {
        let error_code = ErrorCode::ClusterAuthorizationFailed.code();
        return DescribeLogDirsResponse { error_code, ..DescribeLogDirsResponse::default() };
    }
    let wanted: Option<HashSet<(&str, i32)>> = request.topics.as_ref().map(|topics| {
        let pairs = |topic| partitions_of(topic);
        topics.iter().flat_map(pairs).collect()
    });
    let results = partitions.storage().views().map(|dir| {
        if !dir.is_online {
            return DescribeLogDirsResult {
                error_code: ErrorCode::KafkaStorageError.code(),
                log_dir: dir.path.display().to_string(),
                total_bytes: -1,
                usable_bytes: -1,
                ..DescribeLogDirsResult::default()
            };
        }
        let mut topics: BTreeMap<String, Vec<DescribeLogDirsPartition>> = BTreeMap::new();
        for partition in partitions.all() {
            let asked = wanted.as_ref().is_none_or(|w| w.contains(&(partition.topic(), partition.index())));
            if asked && Some(partition.directory_id()) == dir.id {
                topics.entry(partition.topic().to_owned()).or_default().push(DescribeLogDirsPartition {
                    partition_index: partition.index(),
                    partition_size: i64::try_from(partition.size_bytes()).unwrap_or(i64::MAX),
                    ..DescribeLogDirsPartition::default()
                });
            }
        }
        let (total_bytes, usable_bytes) = volume(dir.path);
        DescribeLogDirsResult {
            error_code: ErrorCode::None.code(),
            log_dir: dir.path.display().to_string(),
            topics: topics
                .into_iter()
                .map(|(name, mut partitions)| {
                    partitions.sort_unstable_by_key(|partition| partition.partition_index);
                    DescribeLogDirsTopic { name, partitions, ..DescribeLogDirsTopic::default() }
                })
                .collect(),
            total_bytes,
            usable_bytes,
            ..DescribeLogDirsResult::default()
        }
    });
    DescribeLogDirsResponse { results: results.collect(), ..DescribeLogDirsResponse::default() }
}

fn partitions_of(
    topic: &vltava_protocol::messages::describe_log_dirs_request::DescribableLogDirTopic,
) -> impl Iterator<Item = (&str, i32)> {
    topic.partitions.iter().map(|partition| (topic.topic.as_str(), *partition))
}

/// The size of the volume and what of it can be used; -1 where the system does not say.
fn volume(path: &Path) -> (i64, i64) {
    let Ok(stat) = rustix::fs::statvfs(path) else { return (-1, -1) };
    let bytes = |blocks: u64| i64::try_from(blocks.saturating_mul(stat.f_frsize)).unwrap_or(i64::MAX);
    (bytes(stat.f_blocks), bytes(stat.f_bavail))
}
