//! The records of groups whose members the coordinator assigns to: consumer groups and streams groups, from and to bytes.

use bytes::Bytes;
use vltava_protocol::records::CoordinatorKey;
use vltava_protocol::records::group::{
    ConsumerGroupCurrentMemberAssignmentKey, ConsumerGroupMemberMetadataKey, ConsumerGroupMetadataKey,
    ConsumerGroupRegularExpressionKey, ConsumerGroupTargetAssignmentMemberKey,
    ConsumerGroupTargetAssignmentMetadataKey, StreamsGroupCurrentMemberAssignmentKey, StreamsGroupMemberMetadataKey,
    StreamsGroupMetadataKey, StreamsGroupTargetAssignmentMemberKey, StreamsGroupTargetAssignmentMetadataKey,
    StreamsGroupTopologyKey,
};
use vltava_protocol::wire::{DecodeError, Message, Reader};

use super::consumer::{self, RegexChange};
use super::records::CoordinatorRecord;
use super::streams::{self, TopologyChange};
use crate::coordinator::record::{RecordBytes, RecordError, decode_value, encode};

/// The only version of these values.
const VERSION: i16 = 0;

/// Reads a record, after its type; none for one that this coordinator does not serve.
///
/// # Errors
///
/// [`DecodeError`] for bytes that are not a record of that type.
pub(super) fn decode(
    record_type: i16,
    reader: &mut Reader,
    value: Option<Bytes>,
) -> Result<Option<CoordinatorRecord>, DecodeError> {
    if let Some((group, change)) = decode_consumer(record_type, reader, value.clone())? {
        return Ok(Some(CoordinatorRecord::Consumer { group, change }));
    }
    let streams = decode_streams(record_type, reader, value)?;
    Ok(streams.map(|(group, change)| CoordinatorRecord::Streams { group, change }))
}

fn decode_consumer(
    record_type: i16,
    reader: &mut Reader,
    value: Option<Bytes>,
) -> Result<Option<(String, consumer::Change)>, DecodeError> {
    use consumer::Change;
    Ok(Some(match record_type {
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
            (key.group_id, Change::Own(RegexChange { regex: key.regular_expression, value: decode_value(value)? }))
        }
        _ => return Ok(None),
    }))
}

fn decode_streams(
    record_type: i16,
    reader: &mut Reader,
    value: Option<Bytes>,
) -> Result<Option<(String, streams::Change)>, DecodeError> {
    use streams::Change;
    Ok(Some(match record_type {
        StreamsGroupMetadataKey::RECORD_TYPE => {
            let key = StreamsGroupMetadataKey::decode(reader, 0)?;
            (key.group_id, Change::Group(decode_value(value)?))
        }
        StreamsGroupMemberMetadataKey::RECORD_TYPE => {
            let key = StreamsGroupMemberMetadataKey::decode(reader, 0)?;
            (key.group_id, Change::Member(key.member_id, decode_value(value)?))
        }
        StreamsGroupTargetAssignmentMetadataKey::RECORD_TYPE => {
            let key = StreamsGroupTargetAssignmentMetadataKey::decode(reader, 0)?;
            (key.group_id, Change::Target(decode_value(value)?))
        }
        StreamsGroupTargetAssignmentMemberKey::RECORD_TYPE => {
            let key = StreamsGroupTargetAssignmentMemberKey::decode(reader, 0)?;
            (key.group_id, Change::TargetOf(key.member_id, decode_value(value)?))
        }
        StreamsGroupCurrentMemberAssignmentKey::RECORD_TYPE => {
            let key = StreamsGroupCurrentMemberAssignmentKey::decode(reader, 0)?;
            (key.group_id, Change::Current(key.member_id, decode_value(value)?))
        }
        StreamsGroupTopologyKey::RECORD_TYPE => {
            let key = StreamsGroupTopologyKey::decode(reader, 0)?;
            (key.group_id, Change::Own(TopologyChange(decode_value(value)?)))
        }
        _ => return Ok(None),
    }))
}

/// Writes a record of a consumer group.
pub(super) fn encode_consumer(group_id: String, change: &consumer::Change) -> Result<RecordBytes, RecordError> {
    use consumer::Change;
    match change {
        Change::Group(value) => encode(&ConsumerGroupMetadataKey { group_id }, value.as_ref(), VERSION),
        Change::Member(member, value) => {
            let key = ConsumerGroupMemberMetadataKey { group_id, member_id: member.clone() };
            encode(&key, value.as_ref(), VERSION)
        }
        Change::Target(value) => {
            encode(&ConsumerGroupTargetAssignmentMetadataKey { group_id }, value.as_ref(), VERSION)
        }
        Change::TargetOf(member, value) => {
            let key = ConsumerGroupTargetAssignmentMemberKey { group_id, member_id: member.clone() };
            encode(&key, value.as_ref(), VERSION)
        }
        Change::Current(member, value) => {
            let key = ConsumerGroupCurrentMemberAssignmentKey { group_id, member_id: member.clone() };
            encode(&key, value.as_ref(), VERSION)
        }
        Change::Own(RegexChange { regex, value }) => {
            let key = ConsumerGroupRegularExpressionKey { group_id, regular_expression: regex.clone() };
            encode(&key, value.as_ref(), VERSION)
        }
    }
}

/// Writes a record of a streams group.
pub(super) fn encode_streams(group_id: String, change: &streams::Change) -> Result<RecordBytes, RecordError> {
    use streams::Change;
    match change {
        Change::Group(value) => encode(&StreamsGroupMetadataKey { group_id }, value.as_ref(), VERSION),
        Change::Member(member, value) => {
            let key = StreamsGroupMemberMetadataKey { group_id, member_id: member.clone() };
            encode(&key, value.as_ref(), VERSION)
        }
        Change::Target(value) => encode(&StreamsGroupTargetAssignmentMetadataKey { group_id }, value.as_ref(), VERSION),
        Change::TargetOf(member, value) => {
            let key = StreamsGroupTargetAssignmentMemberKey { group_id, member_id: member.clone() };
            encode(&key, value.as_ref(), VERSION)
        }
        Change::Current(member, value) => {
            let key = StreamsGroupCurrentMemberAssignmentKey { group_id, member_id: member.clone() };
            encode(&key, value.as_ref(), VERSION)
        }
        Change::Own(TopologyChange(value)) => encode(&StreamsGroupTopologyKey { group_id }, value.as_ref(), VERSION),
    }
}
