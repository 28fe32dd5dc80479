//! The records of `__consumer_offsets`, from and to bytes.

use bytes::Bytes;
use vltava_protocol::records::CoordinatorKey;
use vltava_protocol::records::group::{
    ConsumerGroupCurrentMemberAssignmentKey, ConsumerGroupMemberMetadataKey, ConsumerGroupMetadataKey,
    ConsumerGroupRegularExpressionKey, ConsumerGroupTargetAssignmentMemberKey,
    ConsumerGroupTargetAssignmentMetadataKey, GroupMetadataKey, GroupMetadataValue, LegacyOffsetCommitKey,
    OffsetCommitKey, OffsetCommitValue,
};
use vltava_protocol::wire::{DecodeError, Message, Reader};

use super::consumer::Change;
use super::offsets::CommittedOffset;
use crate::coordinator::record::{RecordBytes, RecordError, decode_value, encode};

/// The versions in which Kafka 4.3 writes these values.
const GROUP_METADATA_VALUE_VERSION: i16 = 3;
const OFFSET_COMMIT_VALUE_VERSION: i16 = 4;
/// The only version that can say when an offset expires.
const OFFSET_COMMIT_VALUE_WITH_EXPIRY_VERSION: i16 = 1;

/// A record of `__consumer_offsets` that means something to this coordinator.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum CoordinatorRecord {
    /// An offset of a group; none if it was removed.
    OffsetCommit { key: OffsetCommitKey, value: Option<OffsetCommitValue> },
    /// A classic group; none if it was removed.
    GroupMetadata { key: GroupMetadataKey, value: Option<GroupMetadataValue> },
    /// Something about a consumer group (KIP-848).
    Consumer { group: String, change: Change },
}

impl CoordinatorRecord {
    /// Makes the record of a committed offset.
    pub(super) fn offset_commit(group: &str, topic: &str, partition: i32, offset: CommittedOffset) -> Self {
        let value = OffsetCommitValue {
            offset: offset.offset,
            leader_epoch: offset.leader_epoch,
            metadata: offset.metadata,
            commit_timestamp: offset.commit_timestamp_ms,
            expire_timestamp: offset.expire_timestamp_ms.unwrap_or(-1),
            topic_id: offset.topic_id,
            ..OffsetCommitValue::default()
        };
        Self::OffsetCommit { key: offset_key(group, topic, partition), value: Some(value) }
    }

    /// Makes the record that removes an offset.
    pub(super) fn offset_tombstone(group: &str, topic: &str, partition: i32) -> Self {
        Self::OffsetCommit { key: offset_key(group, topic, partition), value: None }
    }

    /// Makes the record that removes a group.
    pub(super) fn group_tombstone(group: &str) -> Self {
        Self::GroupMetadata { key: group_key(group), value: None }
    }

    /// Reads a record.
    ///
    /// Returns none for a type that this coordinator does not serve.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] for bytes that are not a record of a known type.
    pub(crate) fn decode(key: Bytes, value: Option<Bytes>) -> Result<Option<Self>, DecodeError> {
        let mut reader = Reader::new(key);
        let record = match reader.i16()? {
            // The two types differ in name only: the older one was written by Kafka 0.8.
            LegacyOffsetCommitKey::RECORD_TYPE | OffsetCommitKey::RECORD_TYPE => {
                let key = OffsetCommitKey::decode(&mut reader, 0)?;
                Self::OffsetCommit { key, value: decode_value(value)? }
            }
            GroupMetadataKey::RECORD_TYPE => {
                let key = GroupMetadataKey::decode(&mut reader, 0)?;
                Self::GroupMetadata { key, value: decode_value(value)? }
            }
            other => return decode_consumer(other, &mut reader, value),
        };
        Ok(Some(record))
    }

    /// Writes the record, in the versions in which Kafka 4.3 does.
    ///
    /// # Errors
    ///
    /// [`RecordError::Encode`] for a string that is too long, for instance.
    pub(crate) fn encode(&self) -> Result<RecordBytes, RecordError> {
        match self {
            Self::OffsetCommit { key, value } => {
                let has_expiry = value.as_ref().is_some_and(|value| value.expire_timestamp != -1);
                let version =
                    if has_expiry { OFFSET_COMMIT_VALUE_WITH_EXPIRY_VERSION } else { OFFSET_COMMIT_VALUE_VERSION };
                encode(key, value.as_ref(), version)
            }
            Self::GroupMetadata { key, value } => encode(key, value.as_ref(), GROUP_METADATA_VALUE_VERSION),
            Self::Consumer { group, change } => encode_consumer(group.clone(), change),
        }
    }
}

/// Reads a record of a consumer group, after its type.
fn decode_consumer(
    record_type: i16,
    reader: &mut Reader,
    value: Option<Bytes>,
) -> Result<Option<CoordinatorRecord>, DecodeError> {
    let (group, change) = match record_type {
        ConsumerGroupMetadataKey::RECORD_TYPE => {
            let key = ConsumerGroupMetadataKey::decode(reader, 0)?;
            (key.group_id, Change::Group(decode_value(value)?))
        }
        ConsumerGroupMemberMetadataKey::RECORD_TYPE => {
            let key = ConsumerGroupMemberMetadataKey::decode(reader, 0)?;
            (key.group_id, Change::Member(key.member_id, decode_value(value)?))
        }
        ConsumerGroupTargetAssignmentMetadataKey::RECORD_TYPE => {
            let key = ConsumerGroupTargetAssignmentMetadataKey::decode(reader, 0)?;
            (key.group_id, Change::Target(decode_value(value)?))
        }
        ConsumerGroupTargetAssignmentMemberKey::RECORD_TYPE => {
            let key = ConsumerGroupTargetAssignmentMemberKey::decode(reader, 0)?;
            (key.group_id, Change::TargetOf(key.member_id, decode_value(value)?))
        }
        ConsumerGroupCurrentMemberAssignmentKey::RECORD_TYPE => {
            let key = ConsumerGroupCurrentMemberAssignmentKey::decode(reader, 0)?;
            (key.group_id, Change::Current(key.member_id, decode_value(value)?))
        }
        ConsumerGroupRegularExpressionKey::RECORD_TYPE => {
            let key = ConsumerGroupRegularExpressionKey::decode(reader, 0)?;
            (key.group_id, Change::Regex(key.regular_expression, decode_value(value)?))
        }
        _ => return Ok(None),
    };
    Ok(Some(CoordinatorRecord::Consumer { group, change }))
}

/// Writes a record of a consumer group; all of them have one version.
fn encode_consumer(group_id: String, change: &Change) -> Result<RecordBytes, RecordError> {
    match change {
        Change::Group(value) => encode(&ConsumerGroupMetadataKey { group_id }, value.as_ref(), 0),
        Change::Member(member, value) => {
            let key = ConsumerGroupMemberMetadataKey { group_id, member_id: member.clone() };
            encode(&key, value.as_ref(), 0)
        }
        Change::Target(value) => encode(&ConsumerGroupTargetAssignmentMetadataKey { group_id }, value.as_ref(), 0),
        Change::TargetOf(member, value) => {
            let key = ConsumerGroupTargetAssignmentMemberKey { group_id, member_id: member.clone() };
            encode(&key, value.as_ref(), 0)
        }
        Change::Current(member, value) => {
            let key = ConsumerGroupCurrentMemberAssignmentKey { group_id, member_id: member.clone() };
            encode(&key, value.as_ref(), 0)
        }
        Change::Regex(regex, value) => {
            let key = ConsumerGroupRegularExpressionKey { group_id, regular_expression: regex.clone() };
            encode(&key, value.as_ref(), 0)
        }
    }
}

fn offset_key(group: &str, topic: &str, partition: i32) -> OffsetCommitKey {
    OffsetCommitKey { group: group.to_owned(), topic: topic.to_owned(), partition }
}

pub(super) fn group_key(group: &str) -> GroupMetadataKey {
    GroupMetadataKey { group: group.to_owned() }
}
