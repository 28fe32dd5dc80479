//! OffsetForLeaderEpoch (23), versions 2–4.
//!
//! Tells where the records of a leader epoch end, by which a consumer finds out that what it read
//! was truncated (KIP-320).
//!
//! Versions: 2 current leader epoch · 3 replica id · 4 flexible.

use vltava_protocol::ErrorCode;
use vltava_protocol::messages::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
use vltava_protocol::messages::offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};
use vltava_protocol::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};
use vltava_security::acl::AclOperation;

use crate::partitions::Partitions;
use crate::request::RequestContext;
use crate::security::Resource;

pub(crate) fn handle(
    partitions: &Partitions,
    context: &RequestContext,
    request: &OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let result = |topic: &OffsetForLeaderTopic, answer: &dyn Fn(&OffsetForLeaderPartition) -> EpochEndOffset| {
        OffsetForLeaderTopicResult {
            topic: topic.topic.clone(),
            partitions: topic.partitions.iter().map(answer).collect(),
            ..OffsetForLeaderTopicResult::default()
        }
    };
    let is_follower = context.may_quietly(AclOperation::ClusterAction, Resource::CLUSTER);
    let may_see = |topic: &&OffsetForLeaderTopic| {
        is_follower || context.may(AclOperation::Describe, Resource::topic(&topic.topic))
    };
    let (allowed, refused): (Vec<_>, Vec<_>) = request.topics.iter().partition(may_see);
    let refuse = |asked: &OffsetForLeaderPartition| EpochEndOffset {
        partition: asked.partition,
        error_code: ErrorCode::TopicAuthorizationFailed.code(),
        ..EpochEndOffset::default()
    };
    let allowed = allowed.into_iter().map(|topic| result(topic, &|asked| answer(partitions, &topic.topic, asked)));
    let refused = refused.into_iter().map(|topic| result(topic, &refuse));
    OffsetForLeaderEpochResponse { topics: allowed.chain(refused).collect(), ..OffsetForLeaderEpochResponse::default() }
}

fn answer(partitions: &Partitions, topic: &str, asked: &OffsetForLeaderPartition) -> EpochEndOffset {
    let mut answer = EpochEndOffset { partition: asked.partition, ..EpochEndOffset::default() };
    match find(partitions, topic, asked) {
        Ok((leader_epoch, end_offset)) => {
            answer.leader_epoch = leader_epoch;
            answer.end_offset = end_offset;
        }
        Err(error) => answer.error_code = error.code(),
    }
    answer
}

fn find(partitions: &Partitions, topic: &str, asked: &OffsetForLeaderPartition) -> Result<(i32, i64), ErrorCode> {
    let partition = partitions.by_name(topic, asked.partition)?;
    partition.check_leader_epoch(asked.current_leader_epoch)?;
    Ok(partition.end_offset_for_epoch(asked.leader_epoch).unwrap_or((-1, -1)))
}
