//! ListGroups, DescribeGroups and DeleteGroups.

use vltava_protocol::ErrorCode;
use vltava_protocol::messages::delete_groups_response::DeletableGroupResult;
use vltava_protocol::messages::describe_groups_response::DescribedGroup;
use vltava_protocol::messages::list_groups_response::ListedGroup;

use super::classic::ClassicGroupState;
use super::kind::Group;
use super::records::CoordinatorRecord;
use super::shard::GroupCoordinatorShard;
use crate::coordinator::shard::Now;

/// What a group that is not there is said to be.
const DEAD: &str = "Dead";
/// The first version in which a group that is not there is an error (KIP-1043).
const GROUP_ID_NOT_FOUND_MIN_VERSION: i16 = 6;

impl GroupCoordinatorShard {
    /// Lists the groups whose state and type is among those given; an empty list gives all.
    pub(crate) fn list_groups(&self, states: &[String], types: &[String]) -> Vec<ListedGroup> {
        let matches = |filter: &[String], name: &str| {
            filter.is_empty() || filter.iter().any(|wanted| wanted.trim().eq_ignore_ascii_case(name))
        };
        self.groups
            .values()
            .filter(|group| matches(states, group.state_name()) && matches(types, group.type_name()))
            .map(|group| ListedGroup {
                group_id: group.id().to_owned(),
                protocol_type: group.protocol_type().to_owned(),
                group_state: group.state_name().to_owned(),
                group_type: group.type_name().to_owned(),
                ..ListedGroup::default()
            })
            .collect()
    }

    /// Describes a classic group and its members.
    pub(crate) fn describe_group(&self, api_version: i16, group_id: &str) -> DescribedGroup {
        let found = self.groups.get(group_id);
        let Some(Group::Classic(group)) = found else {
            let mut dead = DescribedGroup {
                group_id: group_id.to_owned(),
                group_state: DEAD.to_owned(),
                ..DescribedGroup::default()
            };
            if api_version >= GROUP_ID_NOT_FOUND_MIN_VERSION {
                dead.error_code = ErrorCode::GroupIdNotFound.code();
                let text = if found.is_some() { "is not a classic group." } else { "not found." };
                dead.error_message = Some(format!("Group {group_id} {text}"));
            }
            return dead;
        };
        // What was agreed on is known once everybody has an assignment.
        let protocol = group.protocol_name.as_deref().filter(|_| group.state == ClassicGroupState::Stable);
        DescribedGroup {
            group_id: group_id.to_owned(),
            group_state: group.state.name().to_owned(),
            protocol_type: group.protocol_type.clone().unwrap_or_default(),
            protocol_data: protocol.unwrap_or_default().to_owned(),
            members: group.members().map(|member| member.describe(protocol)).collect(),
            ..DescribedGroup::default()
        }
    }

    /// Deletes groups without members, with their offsets.
    pub(crate) fn delete_groups(&mut self, now: Now, group_ids: &[String]) -> Vec<DeletableGroupResult> {
        self.core.now = now;
        self.core.allow_division();
        let delete = |group_id: &String| DeletableGroupResult {
            group_id: group_id.clone(),
            error_code: self.delete_group(group_id).err().unwrap_or(ErrorCode::None).code(),
            ..DeletableGroupResult::default()
        };
        group_ids.iter().map(delete).collect()
    }

    fn delete_group(&mut self, group_id: &str) -> Result<(), ErrorCode> {
        let group = self.groups.get(group_id).ok_or(ErrorCode::GroupIdNotFound)?;
        if !group.is_empty() {
            return Err(ErrorCode::NonEmptyGroup);
        }
        let tombstones = group.tombstones();
        for (topic, partition) in self.offsets.partitions_of(group_id) {
            self.emit_and_replay(CoordinatorRecord::offset_tombstone(group_id, &topic, partition));
        }
        for record in tombstones {
            self.emit_and_replay(record);
        }
        Ok(())
    }
}
