//! The records of `__consumer_offsets`: from and to bytes, and from and to the state.
//!
//! A key begins with the type of the record as `i16`, a value with its version (KIP-915 says how they evolve).

use std::sync::Arc;

use bytes::Bytes;
use vltava_protocol::messages::ConsumerProtocolSubscription;
use vltava_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use vltava_protocol::records::CoordinatorKey;
use vltava_protocol::records::group::group_metadata_value::MemberMetadata;
use vltava_protocol::records::group::{
    ConsumerGroupCurrentMemberAssignmentKey, ConsumerGroupMemberMetadataKey, ConsumerGroupMetadataKey,
    ConsumerGroupRegularExpressionKey, ConsumerGroupTargetAssignmentMemberKey,
    ConsumerGroupTargetAssignmentMetadataKey, GroupMetadataKey, GroupMetadataValue, LegacyOffsetCommitKey,
    OffsetCommitKey, OffsetCommitValue,
};
use vltava_protocol::wire::{DecodeError, Message, Reader, Writer};

use super::classic::{ClassicGroup, ClassicGroupState};
use super::consumer::Change;
use super::member::ClassicMember;
use super::offsets::CommittedOffset;

/// The producer id of a record outside any transaction.
pub(crate) const NO_PRODUCER_ID: i64 = -1;
/// What a batch takes beside its records, bytes.
pub(super) const BATCH_OVERHEAD: usize = 61;
/// The most a record takes beside key and value: lengths, attributes and deltas as varints, no headers.
const RECORD_OVERHEAD: usize = 32;

/// The versions in which Kafka 4.3 writes these values.
const GROUP_METADATA_VALUE_VERSION: i16 = 3;
const OFFSET_COMMIT_VALUE_VERSION: i16 = 4;
/// The only version that can say when an offset expires.
const OFFSET_COMMIT_VALUE_WITH_EXPIRY_VERSION: i16 = 1;

/// A record as it is written into a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RecordBytes {
    pub(crate) key: Bytes,
    /// None for a tombstone.
    pub(crate) value: Option<Bytes>,
}

impl RecordBytes {
    /// Returns a size that the record does not exceed in a batch, bytes.
    pub(crate) fn max_size(&self) -> usize {
        self.key.len() + self.value.as_ref().map_or(0, Bytes::len) + RECORD_OVERHEAD
    }
}

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
    pub(crate) fn encode(&self) -> RecordBytes {
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
fn encode_consumer(group_id: String, change: &Change) -> RecordBytes {
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

fn decode_value<V: Message>(value: Option<Bytes>) -> Result<Option<V>, DecodeError> {
    let Some(value) = value else { return Ok(None) };
    let mut reader = Reader::new(value);
    let version = reader.i16()?;
    V::decode(&mut reader, version).map(Some)
}

fn encode<K: CoordinatorKey>(key: &K, value: Option<&impl Message>, version: i16) -> RecordBytes {
    RecordBytes {
        key: encode_message(K::RECORD_TYPE, key, 0),
        value: value.map(|value| encode_message(version, value, version)),
    }
}

fn encode_message(prefix: i16, message: &impl Message, version: i16) -> Bytes {
    let mut writer = Writer::new();
    writer.i16(prefix);
    // Strings and bytes come from requests, where they had the same limits.
    let encoded = message.encode(&mut writer, version);
    debug_assert!(encoded.is_ok(), "a record that the coordinator makes can be written: {encoded:?}");
    writer.into_bytes()
}

fn offset_key(group: &str, topic: &str, partition: i32) -> OffsetCommitKey {
    OffsetCommitKey { group: group.to_owned(), topic: topic.to_owned(), partition }
}

fn group_key(group: &str) -> GroupMetadataKey {
    GroupMetadataKey { group: group.to_owned() }
}

/// Makes the record of a group that somebody has begun to join.
pub(super) fn empty_group_record(group: &ClassicGroup) -> RecordBytes {
    let value = GroupMetadataValue {
        protocol_type: String::new(),
        generation: 0,
        protocol: None,
        leader: None,
        current_state_timestamp: group.state_timestamp_ms.unwrap_or(-1),
        ..GroupMetadataValue::default()
    };
    CoordinatorRecord::GroupMetadata { key: group_key(&group.id), value: Some(value) }.encode()
}

/// Makes the record of a group as it is.
pub(super) fn group_record(group: &ClassicGroup) -> RecordBytes {
    let protocol = group.protocol_name.as_deref().unwrap_or_default();
    let member_metadata = |member: &ClassicMember| MemberMetadata {
        member_id: member.id.to_string(),
        group_instance_id: member.group_instance_id.clone(),
        client_id: member.client_id.clone(),
        client_host: member.client_host.clone(),
        rebalance_timeout: member.rebalance_timeout_ms,
        session_timeout: member.session_timeout_ms,
        subscription: member.metadata(protocol).cloned().unwrap_or_default(),
        assignment: member.assignment.clone(),
        ..MemberMetadata::default()
    };
    let value = GroupMetadataValue {
        protocol_type: group.protocol_type.clone().unwrap_or_default(),
        generation: group.generation_id,
        protocol: group.protocol_name.clone(),
        leader: group.leader_id.as_deref().map(str::to_owned),
        current_state_timestamp: group.state_timestamp_ms.unwrap_or(-1),
        members: group.members().map(member_metadata).collect(),
        ..GroupMetadataValue::default()
    };
    CoordinatorRecord::GroupMetadata { key: group_key(&group.id), value: Some(value) }.encode()
}

/// Makes the group that a record describes.
pub(super) fn group_from_record(group_id: &str, value: GroupMetadataValue) -> ClassicGroup {
    let mut group = ClassicGroup::new(group_id.into(), value.current_state_timestamp);
    group.state_timestamp_ms = (value.current_state_timestamp != -1).then_some(value.current_state_timestamp);
    group.generation_id = value.generation;
    group.leader_id = value.leader.as_deref().map(Arc::from);
    let has_members = !value.members.is_empty();
    for member in value.members {
        let protocol = JoinGroupRequestProtocol {
            name: value.protocol.clone().unwrap_or_default(),
            metadata: member.subscription,
            ..JoinGroupRequestProtocol::default()
        };
        let member = ClassicMember {
            id: member.member_id.into(),
            group_instance_id: member.group_instance_id,
            client_id: member.client_id,
            client_host: member.client_host,
            rebalance_timeout_ms: if member.rebalance_timeout == -1 {
                member.session_timeout
            } else {
                member.rebalance_timeout
            },
            session_timeout_ms: member.session_timeout,
            protocols: vec![protocol],
            assignment: member.assignment,
            awaiting_join: None,
            awaiting_sync: None,
            is_new: false,
        };
        group.add(member, &value.protocol_type);
    }
    group.protocol_type = (!value.protocol_type.is_empty()).then_some(value.protocol_type);
    group.protocol_name = value.protocol;
    group.compute_subscribed_topics();
    if has_members {
        group.state = ClassicGroupState::Stable;
    }
    group
}

/// Reads the topics of a consumer's subscription; none if it is not one.
pub(super) fn subscribed_topics(metadata: &Bytes) -> Option<Vec<String>> {
    let mut reader = Reader::new(metadata.clone());
    reader.i16().ok()?;
    // The first version's fields begin every later version's.
    ConsumerProtocolSubscription::decode(&mut reader, 0).ok().map(|subscription| subscription.topics)
}
