//! OffsetForLeaderEpoch (23), versions 2–4.
//!
//! Tells where the records of a leader epoch end, by which a consumer finds out that what it read
//! was truncated (KIP-320).
//!
//! Versions: 2 current leader epoch · 3 replica id · 4 flexible.

use vltava_protocol::ErrorCode;
use vltava_protocol::messages::offset_for_leader_epoch_request::OffsetForLeaderPartition;
use vltava_protocol::messages::offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};
use vltava_protocol::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};

use crate::partitions::Partitions;
use crate::request::RequestContext;

pub(crate) fn handle(
    partitions: &Partitions,
    _: &RequestContext,
    request: &OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let topics = request.topics.iter().map(|topic| OffsetForLeaderTopicResult {
        topic: topic.topic.clone(),
        partitions: topic.partitions.iter().map(|asked| answer(partitions, &topic.topic, asked)).collect(),
        ..OffsetForLeaderTopicResult::default()
    });
    OffsetForLeaderEpochResponse { topics: topics.collect(), ..OffsetForLeaderEpochResponse::default() }
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
