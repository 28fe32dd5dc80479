//! The records of classic groups, from and to the state.

use std::sync::Arc;

use bytes::Bytes;
use vltava_protocol::messages::ConsumerProtocolSubscription;
use vltava_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use vltava_protocol::records::group::GroupMetadataValue;
use vltava_protocol::records::group::group_metadata_value::MemberMetadata;
use vltava_protocol::wire::{Message, Reader};

use super::classic::{ClassicGroup, ClassicGroupState};
use super::member::ClassicMember;
use super::records::{CoordinatorRecord, group_key};
use crate::coordinator::record::{RecordBytes, RecordError};

/// Makes the record of a group that somebody has begun to join.
pub(super) fn empty_group_record(group: &ClassicGroup) -> Result<RecordBytes, RecordError> {
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
///
/// # Errors
///
/// [`RecordError::Inconsistent`] if a member does not offer what was agreed on, and those of writing.
pub(super) fn group_record(group: &ClassicGroup) -> Result<RecordBytes, RecordError> {
    let member_metadata = |member: &ClassicMember| {
        Some(MemberMetadata {
            member_id: member.id.to_string(),
            group_instance_id: member.group_instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            rebalance_timeout: member.rebalance_timeout_ms,
            session_timeout: member.session_timeout_ms,
            subscription: member.metadata(group.protocol_name.as_deref()?)?.clone(),
            assignment: member.assignment.clone(),
            ..MemberMetadata::default()
        })
    };
    let members: Option<_> = group.members().map(member_metadata).collect();
    let value = GroupMetadataValue {
        protocol_type: group.protocol_type.clone().unwrap_or_default(),
        generation: group.generation_id,
        protocol: group.protocol_name.clone(),
        leader: group.leader_id.as_deref().map(str::to_owned),
        current_state_timestamp: group.state_timestamp_ms.unwrap_or(-1),
        members: members.ok_or(RecordError::Inconsistent("a member does not offer the protocol of its group"))?,
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
