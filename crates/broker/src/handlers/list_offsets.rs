//! ListOffsets (2), versions 1–11.
//!
//! Finds the offset of a partition's beginning, of its end, of its largest timestamp, or of the
//! first record at or after a timestamp. For a consumer that reads committed records the end is
//! the last stable offset, and no record is found at or after that. There is no tiered storage: what speaks of it finds no offset.
//!
//! Versions: 2 isolation · 4 leader epochs · 6 flexible · 7 largest timestamp (KIP-734) · 8 start
//! of the local log (KIP-405) · 9 end of the tiered log (KIP-1005) · 10 timeout (KIP-1075) · 11
//! start of what waits for upload (KIP-1023).

use std::collections::HashSet;

use vltava_protocol::ErrorCode;
use vltava_protocol::messages::list_offsets_request::ListOffsetsPartition;
use vltava_protocol::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use vltava_protocol::messages::{ListOffsetsRequest, ListOffsetsResponse};
use vltava_security::acl::AclOperation;

use crate::partition::{FoundOffset, Isolation, Partition};
use crate::partitions::Partitions;
use crate::request::RequestContext;
use crate::security::Resource;

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
const EARLIEST_PENDING_UPLOAD: i64 = -6;

pub(crate) fn handle(
    partitions: &Partitions,
    context: &RequestContext,
    request: &ListOffsetsRequest,
) -> ListOffsetsResponse {
    let isolation = Isolation::from_wire(request.isolation_level);
    let mut repeated = HashSet::new();
    let mut seen = HashSet::new();
    for topic in &request.topics {
        for partition in &topic.partitions {
            if !seen.insert((topic.name.as_str(), partition.partition_index)) {
                repeated.insert((topic.name.as_str(), partition.partition_index));
            }
        }
    }
    let (allowed, refused): (Vec<_>, Vec<_>) =
        request.topics.iter().partition(|topic| context.may(AclOperation::Describe, Resource::topic(&topic.name)));
    let refused = refused.into_iter().map(|topic| {
        let error = Err(ErrorCode::TopicAuthorizationFailed);
        let partitions = topic.partitions.iter().map(|asked| answer(context.version, asked.partition_index, error));
        ListOffsetsTopicResponse {
            name: topic.name.clone(),
            partitions: partitions.collect(),
            ..ListOffsetsTopicResponse::default()
        }
    });
    let topics = allowed.into_iter().map(|topic| {
        // What is asked for twice is refused once.
        let once = topic.partitions.iter().filter(|asked| seen.remove(&(topic.name.as_str(), asked.partition_index)));
        let partitions = once.map(|asked| {
            let found = if repeated.contains(&(topic.name.as_str(), asked.partition_index)) {
                Err(ErrorCode::InvalidRequest)
            } else {
                partitions
                    .by_name(&topic.name, asked.partition_index)
                    .and_then(|partition| find(&partition, context.version, asked, isolation))
            };
            answer(context.version, asked.partition_index, found)
        });
        ListOffsetsTopicResponse {
            name: topic.name.clone(),
            partitions: partitions.collect(),
            ..ListOffsetsTopicResponse::default()
        }
    });
    ListOffsetsResponse { topics: topics.chain(refused).collect(), ..ListOffsetsResponse::default() }
}

/// The first version that has a place for the leader epoch.
const LEADER_EPOCH_VERSION: i16 = 4;

fn answer(version: i16, index: i32, found: Result<FoundOffset, ErrorCode>) -> ListOffsetsPartitionResponse {
    match found {
        Ok(found) => ListOffsetsPartitionResponse {
            partition_index: index,
            timestamp: found.timestamp,
            offset: found.offset,
            leader_epoch: if version < LEADER_EPOCH_VERSION { -1 } else { found.leader_epoch },
            ..ListOffsetsPartitionResponse::default()
        },
        Err(error) => ListOffsetsPartitionResponse {
            partition_index: index,
            error_code: error.code(),
            ..ListOffsetsPartitionResponse::default()
        },
    }
}

fn find(
    partition: &Partition,
    version: i16,
    asked: &ListOffsetsPartition,
    isolation: Isolation,
) -> Result<FoundOffset, ErrorCode> {
    let since = match asked.timestamp {
        0.. | LATEST | EARLIEST => 0,
        MAX_TIMESTAMP => 7,
        EARLIEST_LOCAL => 8,
        LATEST_TIERED => 9,
        EARLIEST_PENDING_UPLOAD => 11,
        _ => i16::MAX,
    };
    if version < since {
        return Err(ErrorCode::UnsupportedVersion);
    }
    partition.check_leader_epoch(asked.current_leader_epoch)?;
    match asked.timestamp {
        LATEST => Ok(partition.latest_offset(isolation)),
        EARLIEST | EARLIEST_LOCAL => Ok(partition.earliest_offset()),
        MAX_TIMESTAMP => partition.offset_of_max_timestamp(isolation),
        LATEST_TIERED | EARLIEST_PENDING_UPLOAD => Ok(FoundOffset::NONE),
        timestamp => partition.offset_for_timestamp(timestamp, isolation),
    }
}
