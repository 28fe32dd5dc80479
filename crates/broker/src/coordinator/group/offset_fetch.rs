//! OffsetFetch: what a group has committed.

use vltava_protocol::messages::offset_fetch_request::OffsetFetchRequestTopics;
use vltava_protocol::messages::offset_fetch_response::{OffsetFetchResponsePartitions, OffsetFetchResponseTopics};
use vltava_protocol::{ErrorCode, Uuid};

use super::kind::Group;
use super::offsets::CommittedOffset;
use super::shard::GroupCoordinatorShard;

impl GroupCoordinatorShard {
    /// Returns what a group has committed for some partitions, or for all that it has committed anything for.
    ///
    /// With `require_stable`, a partition for which a transaction has an offset that is not decided yet is answered by
    /// `UNSTABLE_OFFSET_COMMIT` (KIP-447).
    pub(crate) fn fetch_offsets(
        &self,
        group_id: &str,
        topics: Option<&[OffsetFetchRequestTopics]>,
        require_stable: bool,
    ) -> Vec<OffsetFetchResponseTopics> {
        match topics {
            Some(topics) => {
                topics.iter().map(|topic| self.fetch_topic_offsets(group_id, topic, require_stable)).collect()
            }
            None => self.fetch_all_offsets(group_id, require_stable),
        }
    }

    /// Checks that offsets of a consumer or streams group are asked for by a member that knows its epoch, or by nobody in
    /// particular (KIP-848).
    ///
    /// # Errors
    ///
    /// `UNKNOWN_MEMBER_ID` or `STALE_MEMBER_EPOCH`.
    pub(crate) fn validate_fetch(&self, group_id: &str, member_id: Option<&str>, epoch: i32) -> Result<(), ErrorCode> {
        match self.groups.get(group_id) {
            Some(Group::Consumer(group)) => group.validate_fetch(member_id, epoch),
            Some(Group::Streams(group)) => group.validate_fetch(member_id, epoch),
            Some(Group::Classic(_)) | None => Ok(()),
        }
    }

    fn fetch_topic_offsets(
        &self,
        group_id: &str,
        topic: &OffsetFetchRequestTopics,
        require_stable: bool,
    ) -> OffsetFetchResponseTopics {
        let partitions = topic.partition_indexes.iter().map(|partition| {
            let is_unstable = require_stable && self.offsets.is_unstable(group_id, &topic.name, *partition);
            // An offset of an older topic of that name says nothing about this one.
            let offset = self.offsets.get(group_id, &topic.name, *partition).filter(|offset| {
                offset.topic_id == topic.topic_id || offset.topic_id == Uuid::ZERO || topic.topic_id == Uuid::ZERO
            });
            partition_response(*partition, offset, is_unstable)
        });
        OffsetFetchResponseTopics {
            name: topic.name.clone(),
            topic_id: topic.topic_id,
            partitions: partitions.collect(),
            ..OffsetFetchResponseTopics::default()
        }
    }

    fn fetch_all_offsets(&self, group_id: &str, require_stable: bool) -> Vec<OffsetFetchResponseTopics> {
        let topics = self.offsets.topics_of(group_id).map(|(topic, partitions)| {
            let partitions = partitions.map(|(partition, offset)| {
                let is_unstable = require_stable && self.offsets.is_unstable(group_id, topic, partition);
                partition_response(partition, Some(offset), is_unstable)
            });
            OffsetFetchResponseTopics {
                name: topic.to_owned(),
                partitions: partitions.collect(),
                ..OffsetFetchResponseTopics::default()
            }
        });
        topics.collect()
    }
}

fn partition_response(
    partition: i32,
    offset: Option<&CommittedOffset>,
    is_unstable: bool,
) -> OffsetFetchResponsePartitions {
    let none = OffsetFetchResponsePartitions {
        partition_index: partition,
        committed_offset: -1,
        committed_leader_epoch: -1,
        metadata: Some(String::new()),
        error_code: ErrorCode::None.code(),
        ..OffsetFetchResponsePartitions::default()
    };
    match offset {
        _ if is_unstable => {
            OffsetFetchResponsePartitions { error_code: ErrorCode::UnstableOffsetCommit.code(), ..none }
        }
        None => none,
        Some(offset) => OffsetFetchResponsePartitions {
            committed_offset: offset.offset,
            committed_leader_epoch: offset.leader_epoch,
            metadata: Some(offset.metadata.clone()),
            ..none
        },
    }
}
