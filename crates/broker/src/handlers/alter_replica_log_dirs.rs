//! AlterReplicaLogDirs (34), versions 1–2 (KIP-113).
//!
//! A replica stays in the directory in which it is: naming that one succeeds, moving to another
//! is refused.
//!
//! Versions: 2 flexible.

use std::collections::BTreeMap;

use vltava_protocol::ErrorCode;
use vltava_protocol::messages::alter_replica_log_dirs_response::{
    AlterReplicaLogDirPartitionResult, AlterReplicaLogDirTopicResult,
};
use vltava_protocol::messages::{AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse};
use vltava_security::acl::AclOperation;

use crate::partitions::Partitions;
use crate::request::RequestContext;
use crate::security::Resource;

pub(crate) fn handle(
    partitions: &Partitions,
    context: &RequestContext,
    request: &AlterReplicaLogDirsRequest,
) -> AlterReplicaLogDirsResponse {
    let is_allowed = context.may(AclOperation::Alter, Resource::CLUSTER);
    let mut topics: BTreeMap<&str, Vec<AlterReplicaLogDirPartitionResult>> = BTreeMap::new();
    for dir in &request.dirs {
        for topic in &dir.topics {
            let alter = |index| match is_allowed {
                true => alter(partitions, &dir.path, &topic.name, index),
                false => Err(ErrorCode::ClusterAuthorizationFailed),
            };
            let partitions = topic.partitions.iter().map(|index| AlterReplicaLogDirPartitionResult {
                partition_index: *index,
                error_code: alter(*index).err().unwrap_or(ErrorCode::None).code(),
                ..AlterReplicaLogDirPartitionResult::default()
            });
            topics.entry(&topic.name).or_default().extend(partitions);
        }
    }
    let results = topics.into_iter().map(|(name, partitions)| AlterReplicaLogDirTopicResult {
        topic_name: name.to_owned(),
        partitions,
        ..AlterReplicaLogDirTopicResult::default()
    });
    AlterReplicaLogDirsResponse { results: results.collect(), ..AlterReplicaLogDirsResponse::default() }
}

fn alter(partitions: &Partitions, path: &str, topic: &str, index: i32) -> Result<(), ErrorCode> {
    let wanted = partitions.storage().views().find(|dir| dir.is_online && dir.path.display().to_string() == path);
    let wanted = wanted.ok_or(ErrorCode::LogDirNotFound)?;
    let partition = partitions.by_name(topic, index)?;
    match Some(partition.directory_id()) == wanted.id {
        true => Ok(()),
        false => {
            tracing::warn!(topic, partition = index, to = path, "moving a replica is not supported yet");
            Err(ErrorCode::InvalidRequest)
        }
    }
}
