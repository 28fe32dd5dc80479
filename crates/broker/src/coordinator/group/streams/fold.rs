//! The records of streams groups.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use vltava_protocol::records::group::streams_group_current_member_assignment_value::TaskIds as OwnedIds;
use vltava_protocol::records::group::streams_group_member_metadata_value::KeyValue;
use vltava_protocol::records::group::streams_group_target_assignment_member_value::TaskIds as TargetIds;
use vltava_protocol::records::group::{
    StreamsGroupCurrentMemberAssignmentValue, StreamsGroupMemberMetadataValue, StreamsGroupMetadataValue,
    StreamsGroupTargetAssignmentMemberValue, StreamsGroupTargetAssignmentMetadataValue, StreamsGroupTopologyValue,
};

use super::member::{StreamsMember, Wants};
use super::tasks::{ActiveTasks, OwnedTasks, TaskSet, Tasks};
use super::topology::StreamsTopology;
use super::{Change, Streams, StreamsGroup};
use crate::coordinator::group::modern::{MemberState, ModernKind};

/// The topology of the application; without a value it is gone.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TopologyChange(pub(in super::super) Option<StreamsGroupTopologyValue>);

impl ModernKind for Streams {
    type Wants = Wants;
    type Target = Tasks;
    type Owned = OwnedTasks;
    type Read<'a> = (&'a str, i32);

    type GroupRecord = StreamsGroupMetadataValue;
    type MemberRecord = StreamsGroupMemberMetadataValue;
    type TargetRecord = StreamsGroupTargetAssignmentMetadataValue;
    type TargetOfRecord = StreamsGroupTargetAssignmentMemberValue;
    type CurrentRecord = StreamsGroupCurrentMemberAssignmentValue;
    type OwnChange = TopologyChange;

    const NAME: &'static str = "streams";
    const TITLE: &'static str = "Streams";
    const INITIAL_ASSIGNMENT_EPOCH: i32 = 1;
    const INITIAL_PREVIOUS_EPOCH: i32 = 0;
    const STABLE: i8 = 1;

    fn apply_group(group: &mut StreamsGroup, record: StreamsGroupMetadataValue) {
        group.epoch = record.epoch;
        group.metadata_hash = record.metadata_hash;
        group.own.validated_topology_epoch = record.validated_topology_epoch;
        let configs = record.last_assignment_configs.into_iter().flatten();
        group.own.assignment_configs = configs.map(|config| (config.key, config.value)).collect();
    }

    fn member_record(member: &StreamsMember) -> StreamsGroupMemberMetadataValue {
        let tag = |(key, value): (&String, &String)| KeyValue {
            key: key.clone(),
            value: value.clone(),
            ..KeyValue::default()
        };
        let wants = &member.wants;
        StreamsGroupMemberMetadataValue {
            instance_id: member.instance_id.clone(),
            rack_id: member.rack_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            rebalance_timeout_ms: member.rebalance_timeout_ms,
            topology_epoch: wants.topology_epoch,
            process_id: wants.process_id.clone(),
            user_endpoint: wants.user_endpoint.clone(),
            client_tags: wants.client_tags.iter().map(tag).collect(),
            ..StreamsGroupMemberMetadataValue::default()
        }
    }

    fn apply_member(member: &mut StreamsMember, record: StreamsGroupMemberMetadataValue) {
        // Recorded, and never given yet: Kafka has no static members of streams groups either.
        member.instance_id = record.instance_id;
        member.rack_id = record.rack_id;
        member.client_id = record.client_id;
        member.client_host = record.client_host;
        member.rebalance_timeout_ms = record.rebalance_timeout_ms;
        member.wants = Wants {
            topology_epoch: record.topology_epoch,
            process_id: record.process_id,
            user_endpoint: record.user_endpoint,
            client_tags: record.client_tags.into_iter().map(|tag| (tag.key, tag.value)).collect(),
        };
    }

    fn target_record(epoch: i32, timestamp_ms: i64) -> StreamsGroupTargetAssignmentMetadataValue {
        StreamsGroupTargetAssignmentMetadataValue {
            assignment_epoch: epoch,
            assignment_timestamp: timestamp_ms,
            ..StreamsGroupTargetAssignmentMetadataValue::default()
        }
    }

    fn epoch_of_target(record: &StreamsGroupTargetAssignmentMetadataValue) -> (i32, i64) {
        (record.assignment_epoch, record.assignment_timestamp)
    }

    fn target_of_record(target: &Tasks) -> StreamsGroupTargetAssignmentMemberValue {
        let ids = |tasks: &TaskSet| {
            let of_subtopology = |(subtopology, partitions): (&String, &BTreeSet<i32>)| TargetIds {
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

    fn target(record: StreamsGroupTargetAssignmentMemberValue) -> Tasks {
        let of_role =
            |tasks: Vec<TargetIds>| set(tasks.into_iter().map(|tasks| (tasks.subtopology_id, tasks.partitions)));
        Tasks {
            active: of_role(record.active_tasks),
            standby: of_role(record.standby_tasks),
            warmup: of_role(record.warmup_tasks),
        }
    }

    fn current_record(member: &StreamsMember) -> StreamsGroupCurrentMemberAssignmentValue {
        let (assigned, pending) = (&member.assigned, &member.pending_revocation);
        StreamsGroupCurrentMemberAssignmentValue {
            member_epoch: member.epoch,
            previous_member_epoch: member.previous_epoch,
            state: member.state.code(Self::STABLE),
            active_tasks: active_ids(&assigned.active),
            standby_tasks: owned_ids(&assigned.standby),
            warmup_tasks: owned_ids(&assigned.warmup),
            active_tasks_pending_revocation: active_ids(&pending.active),
            standby_tasks_pending_revocation: owned_ids(&pending.standby),
            warmup_tasks_pending_revocation: owned_ids(&pending.warmup),
            ..StreamsGroupCurrentMemberAssignmentValue::default()
        }
    }

    fn apply_current(member: &mut StreamsMember, record: StreamsGroupCurrentMemberAssignmentValue) {
        member.epoch = record.member_epoch;
        member.previous_epoch = record.previous_member_epoch;
        member.state = MemberState::from_code(record.state, Self::STABLE);
        member.assigned = OwnedTasks {
            active: active(record.active_tasks, record.member_epoch),
            standby: owned(record.standby_tasks),
            warmup: owned(record.warmup_tasks),
        };
        member.pending_revocation = OwnedTasks {
            active: active(record.active_tasks_pending_revocation, record.member_epoch),
            standby: owned(record.standby_tasks_pending_revocation),
            warmup: owned(record.warmup_tasks_pending_revocation),
        };
    }

    fn apply_own(group: &mut StreamsGroup, TopologyChange(value): TopologyChange) {
        group.own.topology = value.map(|value| Arc::new(StreamsTopology::of_record(value)));
        group.own.configured = None;
    }

    fn is_removal(TopologyChange(value): &TopologyChange) -> bool {
        value.is_none()
    }

    fn removal(&self) -> Vec<Change> {
        vec![Change::Group(None), Change::Own(TopologyChange(None))]
    }

    fn is_ready(&self) -> bool {
        self.topology.as_ref().is_some_and(|topology| topology.epoch == self.validated_topology_epoch)
    }

    fn held_since(&self, member: &StreamsMember, (topic, partition): (&str, i32)) -> Option<i32> {
        let id = &self.topology.as_ref()?.reader_of(topic)?.subtopology_id;
        let pending = || member.pending_revocation.active_since(id, partition);
        member.assigned.active_since(id, partition).or_else(pending)
    }

    fn member_removed(group: &mut StreamsGroup, _member: &StreamsMember) {
        if group.members.is_empty() {
            group.own.shutdown_requested_by = None;
        }
    }
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

fn set(tasks: impl Iterator<Item = (String, Vec<i32>)>) -> TaskSet {
    let tasks = tasks.filter(|(_, partitions)| !partitions.is_empty());
    tasks.map(|(subtopology, partitions)| (subtopology, partitions.into_iter().collect())).collect()
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
    let of_subtopology = |(subtopology, partitions): (&String, &BTreeSet<i32>)| OwnedIds {
        subtopology_id: subtopology.clone(),
        partitions: partitions.iter().copied().collect(),
        ..OwnedIds::default()
    };
    tasks.iter().map(of_subtopology).collect()
}
