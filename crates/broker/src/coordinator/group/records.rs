//! The records of `__consumer_offsets`, from and to bytes.

use bytes::Bytes;
use vltava_protocol::records::CoordinatorKey;
use vltava_protocol::records::group::{
    GroupMetadataKey, GroupMetadataValue, LegacyOffsetCommitKey, OffsetCommitKey, OffsetCommitValue,
};
use vltava_protocol::wire::{DecodeError, Message, Reader};

use super::consumer;
use super::offsets::CommittedOffset;
use super::records_of_members;
use super::streams;
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
    Consumer { group: String, change: consumer::Change },
    /// Something about a streams group (KIP-1071).
    Streams { group: String, change: streams::Change },
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
            other => return records_of_members::decode(other, &mut reader, value),
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
            Self::Consumer { group, change } => records_of_members::encode_consumer(group.clone(), change),
            Self::Streams { group, change } => records_of_members::encode_streams(group.clone(), change),
        }
    }
}

fn offset_key(group: &str, topic: &str, partition: i32) -> OffsetCommitKey {
    OffsetCommitKey { group: group.to_owned(), topic: topic.to_owned(), partition }
}

pub(super) fn group_key(group: &str) -> GroupMetadataKey {
    GroupMetadataKey { group: group.to_owned() }
}
