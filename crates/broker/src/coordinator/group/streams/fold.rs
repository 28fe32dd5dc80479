//! The records of streams groups, and how they fold into a group.

use std::collections::BTreeMap;
use std::sync::Arc;

use vltava_protocol::records::group::streams_group_current_member_assignment_value::TaskIds as OwnedIds;
use vltava_protocol::records::group::streams_group_target_assignment_member_value::TaskIds as TargetIds;
use vltava_protocol::records::group::{
    StreamsGroupCurrentMemberAssignmentValue, StreamsGroupMemberMetadataValue, StreamsGroupMetadataValue,
    StreamsGroupTargetAssignmentMemberValue, StreamsGroupTargetAssignmentMetadataValue, StreamsGroupTopologyValue,
};

use super::member::{MemberState, StreamsMember};
use super::tasks::{ActiveTasks, OwnedTasks, TaskSet, Tasks};
use super::topology::StreamsTopology;
use super::{LEAVE_EPOCH, StreamsGroup};

/// What a record says about a streams group; without a value it takes back.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Change {
    /// The group's epoch, and what is checked of its topics; without a value the group is gone.
    Group(Option<StreamsGroupMetadataValue>),
    /// Who a member is.
    Member(String, Option<StreamsGroupMemberMetadataValue>),
    /// The epoch of the target assignment.
    Target(Option<StreamsGroupTargetAssignmentMetadataValue>),
    /// A member's target.
    TargetOf(String, Option<StreamsGroupTargetAssignmentMemberValue>),
    /// What a member has.
    Current(String, Option<StreamsGroupCurrentMemberAssignmentValue>),
    /// The topology of the application.
    Topology(Option<StreamsGroupTopologyValue>),
}

impl Change {
    /// Returns whether the record only takes back: it makes no group where there is none.
    pub(in super::super) fn is_removal(&self) -> bool {
        match self {
            Self::Group(value) => value.is_none(),
            Self::Member(_, value) => value.is_none(),
            Self::Target(value) => value.is_none(),
            Self::TargetOf(_, value) => value.is_none(),
            Self::Current(_, value) => value.is_none(),
            Self::Topology(value) => value.is_none(),
        }
    }
}

impl StreamsGroup {
    /// Folds a record into the group. That of the group's removal is the caller's.
    pub(in super::super) fn apply(&mut self, change: Change) {
        match change {
            Change::Group(Some(value)) => {
                self.epoch = value.epoch;
                self.metadata_hash = value.metadata_hash;
                self.validated_topology_epoch = value.validated_topology_epoch;
                let configs = value.last_assignment_configs.into_iter().flatten();
                self.assignment_configs = configs.map(|config| (config.key, config.value)).collect();
            }
            Change::Group(None) => {}
            Change::Member(id, Some(value)) => self.member_mut(&id).set_metadata(value),
            Change::Member(id, None) => {
                self.members.remove(id.as_str());
                if self.members.is_empty() {
                    self.shutdown_requested_by = None;
                }
            }
            Change::Target(Some(value)) => {
                self.assignment_epoch = value.assignment_epoch;
                self.assignment_timestamp_ms = value.assignment_timestamp;
            }
            Change::Target(None) => (self.assignment_epoch, self.assignment_timestamp_ms) = (-1, 0),
            Change::TargetOf(id, Some(value)) => {
                self.target.insert(id.into(), target(value));
            }
            Change::TargetOf(id, None) => {
                self.target.remove(id.as_str());
            }
            Change::Current(id, Some(value)) => set_current(self.member_mut(&id), value),
            Change::Current(id, None) => {
                if let Some(member) = self.members.get_mut(id.as_str()) {
                    (member.epoch, member.previous_epoch) = (LEAVE_EPOCH, LEAVE_EPOCH);
                    member.assigned = OwnedTasks::default();
                    member.pending_revocation = OwnedTasks::default();
                }
            }
            Change::Topology(value) => {
                self.topology = value.map(|value| Arc::new(StreamsTopology::of_record(value)));
                self.configured = None;
            }
        }
    }

    /// The member, which is made if it is not there: compaction may leave either of its records the first.
    fn member_mut(&mut self, id: &str) -> &mut StreamsMember {
        let id: Arc<str> = id.into();
        self.members.entry(id.clone()).or_insert_with(|| StreamsMember::new(id))
    }
}

fn set_current(member: &mut StreamsMember, value: StreamsGroupCurrentMemberAssignmentValue) {
    member.epoch = value.member_epoch;
    member.previous_epoch = value.previous_member_epoch;
    member.state = MemberState::from_code(value.state);
    member.assigned = OwnedTasks {
        active: active(value.active_tasks, value.member_epoch),
        standby: owned(value.standby_tasks),
        warmup: owned(value.warmup_tasks),
    };
    member.pending_revocation = OwnedTasks {
        active: active(value.active_tasks_pending_revocation, value.member_epoch),
        standby: owned(value.standby_tasks_pending_revocation),
        warmup: owned(value.warmup_tasks_pending_revocation),
    };
}

fn active(tasks: Vec<OwnedIds>, member_epoch: i32) -> ActiveTasks {
    let of_subtopology = |tasks: OwnedIds| {
        // Records older than assignment epochs mean the member's.
        let epochs = tasks.assignment_epochs.filter(|epochs| epochs.len() == tasks.partitions.len());
        let epochs = epochs.unwrap_or_else(|| vec![member_epoch; tasks.partitions.len()]);
        (tasks.subtopology_id, tasks.partitions.into_iter().zip(epochs).collect::<BTreeMap<_, _>>())
    };
    tasks.into_iter().map(of_subtopology).filter(|(_, partitions)| !partitions.is_empty()).collect()
}

fn owned(tasks: Vec<OwnedIds>) -> TaskSet {
    set(tasks.into_iter().map(|tasks| (tasks.subtopology_id, tasks.partitions)))
}

fn target(value: StreamsGroupTargetAssignmentMemberValue) -> Tasks {
    let of_role = |tasks: Vec<TargetIds>| set(tasks.into_iter().map(|tasks| (tasks.subtopology_id, tasks.partitions)));
    Tasks {
        active: of_role(value.active_tasks),
        standby: of_role(value.standby_tasks),
        warmup: of_role(value.warmup_tasks),
    }
}

fn set(tasks: impl Iterator<Item = (String, Vec<i32>)>) -> TaskSet {
    let tasks = tasks.filter(|(_, partitions)| !partitions.is_empty());
    tasks.map(|(subtopology, partitions)| (subtopology, partitions.into_iter().collect())).collect()
}

/// The record of a member's target.
pub(super) fn target_value(target: &Tasks) -> StreamsGroupTargetAssignmentMemberValue {
    let ids = |tasks: &TaskSet| {
        let of_subtopology = |(subtopology, partitions): (&String, &std::collections::BTreeSet<i32>)| TargetIds {
            subtopology_id: subtopology.clone(),
            partitions: partitions.iter().copied().collect(),
            ..TargetIds::default()
        };
        tasks.iter().map(of_subtopology).collect()
    };
    StreamsGroupTargetAssignmentMemberValue {
        active_tasks: ids(&target.active),
        standby_tasks: ids(&target.standby),
        warmup_tasks: ids(&target.warmup),
        ..StreamsGroupTargetAssignmentMemberValue::default()
    }
}

/// The record of what a member has.
pub(super) fn current_value(member: &StreamsMember) -> StreamsGroupCurrentMemberAssignmentValue {
    let (assigned, pending) = (&member.assigned, &member.pending_revocation);
    StreamsGroupCurrentMemberAssignmentValue {
        member_epoch: member.epoch,
        previous_member_epoch: member.previous_epoch,
        state: member.state.code(),
        active_tasks: active_ids(&assigned.active),
        standby_tasks: owned_ids(&assigned.standby),
        warmup_tasks: owned_ids(&assigned.warmup),
        active_tasks_pending_revocation: active_ids(&pending.active),
        standby_tasks_pending_revocation: owned_ids(&pending.standby),
        warmup_tasks_pending_revocation: owned_ids(&pending.warmup),
        ..StreamsGroupCurrentMemberAssignmentValue::default()
    }
}

fn active_ids(tasks: &ActiveTasks) -> Vec<OwnedIds> {
    let of_subtopology = |(subtopology, partitions): (&String, &BTreeMap<i32, i32>)| OwnedIds {
        subtopology_id: subtopology.clone(),
        partitions: partitions.keys().copied().collect(),
        assignment_epochs: Some(partitions.values().copied().collect()),
        ..OwnedIds::default()
    };
    tasks.iter().map(of_subtopology).collect()
}

fn owned_ids(tasks: &TaskSet) -> Vec<OwnedIds> {
    let of_subtopology = |(subtopology, partitions): (&String, &std::collections::BTreeSet<i32>)| OwnedIds {
        subtopology_id: subtopology.clone(),
        partitions: partitions.iter().copied().collect(),
        ..OwnedIds::default()
    };
    tasks.iter().map(of_subtopology).collect()
}
