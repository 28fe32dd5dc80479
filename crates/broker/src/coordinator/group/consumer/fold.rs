//! The records of consumer groups, and how they fold into a group.

use std::sync::Arc;

use vltava_protocol::Uuid;
use vltava_protocol::records::group::consumer_group_current_member_assignment_value::TopicPartitions;
use vltava_protocol::records::group::consumer_group_target_assignment_member_value::TopicPartition;
use vltava_protocol::records::group::{
    ConsumerGroupCurrentMemberAssignmentValue, ConsumerGroupMemberMetadataValue, ConsumerGroupMetadataValue,
    ConsumerGroupRegularExpressionValue, ConsumerGroupTargetAssignmentMemberValue,
    ConsumerGroupTargetAssignmentMetadataValue,
};

use super::{ConsumerGroup, ConsumerMember, LEAVE_EPOCH, MemberState, Owned, Partitions, ResolvedRegex};

/// What a record says about a consumer group; without a value it takes back.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Change {
    /// The group's epoch; without a value the group is gone.
    Group(Option<ConsumerGroupMetadataValue>),
    /// What a member wants.
    Member(String, Option<ConsumerGroupMemberMetadataValue>),
    /// The epoch of the target assignment.
    Target(Option<ConsumerGroupTargetAssignmentMetadataValue>),
    /// A member's target.
    TargetOf(String, Option<ConsumerGroupTargetAssignmentMemberValue>),
    /// What a member has.
    Current(String, Option<ConsumerGroupCurrentMemberAssignmentValue>),
    /// What a regular expression stands for.
    Regex(String, Option<ConsumerGroupRegularExpressionValue>),
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
            Self::Regex(_, value) => value.is_none(),
        }
    }
}

impl ConsumerGroup {
    /// Folds a record into the group. That of the group's removal is the caller's.
    pub(in super::super) fn apply(&mut self, change: Change) {
        match change {
            Change::Group(Some(value)) => {
                self.epoch = value.epoch;
                self.metadata_hash = value.metadata_hash;
            }
            Change::Group(None) => {}
            Change::Member(id, Some(value)) => self.update(&id, |member| member.set_metadata(value)),
            Change::Member(id, None) => self.remove(&id),
            Change::Target(Some(value)) => {
                self.assignment_epoch = value.assignment_epoch;
                self.assignment_timestamp_ms = value.assignment_timestamp;
            }
            Change::Target(None) => (self.assignment_epoch, self.assignment_timestamp_ms) = (-1, 0),
            Change::TargetOf(id, Some(value)) => {
                self.target.insert(id.into(), partitions(value));
            }
            Change::TargetOf(id, None) => {
                self.target.remove(id.as_str());
            }
            Change::Current(id, Some(value)) => self.update(&id, |member| set_current(member, value)),
            Change::Current(id, None) if self.members.contains_key(id.as_str()) => {
                self.update(&id, |member| {
                    set_current(
                        member,
                        ConsumerGroupCurrentMemberAssignmentValue {
                            member_epoch: LEAVE_EPOCH,
                            previous_member_epoch: LEAVE_EPOCH,
                            ..ConsumerGroupCurrentMemberAssignmentValue::default()
                        },
                    );
                });
            }
            Change::Current(_, None) => {}
            Change::Regex(regex, Some(value)) => {
                let topics = value.topics.into_iter().collect();
                let resolved = ResolvedRegex { topics, version: value.version, timestamp_ms: value.timestamp };
                self.regexes.insert(regex, resolved);
            }
            Change::Regex(regex, None) => {
                self.regexes.remove(&regex);
            }
        }
    }

    /// Changes a member, which is made if it is not there, and keeps the books about owners and instances.
    fn update(&mut self, id: &str, change: impl FnOnce(&mut ConsumerMember)) {
        let id: Arc<str> = id.into();
        let mut member = self.members.remove(&id).unwrap_or_else(|| ConsumerMember::new(id.clone()));
        self.disown(&member);
        change(&mut member);
        for owned in [&member.assigned, &member.pending_revocation] {
            for (topic, partitions) in owned {
                let owners = self.owners.entry(*topic).or_default();
                owners.extend(partitions.keys().map(|partition| (*partition, member.epoch)));
            }
        }
        if let Some(instance) = &member.instance_id {
            self.static_members.insert(instance.clone(), id.clone());
        }
        self.members.insert(id, member);
    }

    fn remove(&mut self, id: &str) {
        let Some(member) = self.members.remove(id) else { return };
        self.disown(&member);
        if let Some(instance) = &member.instance_id
            && self.static_members.get(instance) == Some(&member.id)
        {
            self.static_members.remove(instance);
        }
    }

    /// Takes out a member's partitions, except those that somebody has at another epoch by now.
    fn disown(&mut self, member: &ConsumerMember) {
        for owned in [&member.assigned, &member.pending_revocation] {
            for (topic, partitions) in owned {
                let Some(owners) = self.owners.get_mut(topic) else { continue };
                owners.retain(|partition, epoch| !partitions.contains_key(partition) || *epoch != member.epoch);
                if owners.is_empty() {
                    self.owners.remove(topic);
                }
            }
        }
    }
}

fn set_current(member: &mut ConsumerMember, value: ConsumerGroupCurrentMemberAssignmentValue) {
    member.epoch = value.member_epoch;
    member.previous_epoch = value.previous_member_epoch;
    member.state = MemberState::from_code(value.state);
    member.assigned = owned(value.assigned_partitions, value.member_epoch);
    member.pending_revocation = owned(value.partitions_pending_revocation, value.member_epoch);
}

fn owned(topics: Vec<TopicPartitions>, member_epoch: i32) -> Owned {
    let topic = |topic: TopicPartitions| {
        // Records older than assignment epochs mean the member's.
        let default = member_epoch.max(0);
        let epochs = topic.assignment_epochs.filter(|epochs| epochs.len() == topic.partitions.len());
        let epochs = epochs.unwrap_or_else(|| vec![default; topic.partitions.len()]);
        (topic.topic_id, topic.partitions.into_iter().zip(epochs).collect())
    };
    topics.into_iter().map(topic).collect()
}

fn partitions(value: ConsumerGroupTargetAssignmentMemberValue) -> Partitions {
    value.topic_partitions.into_iter().map(|topic| (topic.topic_id, topic.partitions.into_iter().collect())).collect()
}

/// The record of a member's target.
pub(super) fn target_value(target: &Partitions) -> ConsumerGroupTargetAssignmentMemberValue {
    let topic = |(topic_id, partitions): (&Uuid, &std::collections::BTreeSet<i32>)| TopicPartition {
        topic_id: *topic_id,
        partitions: partitions.iter().copied().collect(),
        ..TopicPartition::default()
    };
    ConsumerGroupTargetAssignmentMemberValue {
        topic_partitions: target.iter().map(topic).collect(),
        ..ConsumerGroupTargetAssignmentMemberValue::default()
    }
}

/// The record of what a member has.
pub(super) fn current_value(member: &ConsumerMember) -> ConsumerGroupCurrentMemberAssignmentValue {
    let topics = |owned: &Owned| {
        let topic = |(topic_id, partitions): (&Uuid, &std::collections::BTreeMap<i32, i32>)| TopicPartitions {
            topic_id: *topic_id,
            partitions: partitions.keys().copied().collect(),
            assignment_epochs: Some(partitions.values().copied().collect()),
            ..TopicPartitions::default()
        };
        owned.iter().map(topic).collect()
    };
    ConsumerGroupCurrentMemberAssignmentValue {
        member_epoch: member.epoch,
        previous_member_epoch: member.previous_epoch,
        state: member.state.code(),
        assigned_partitions: topics(&member.assigned),
        partitions_pending_revocation: topics(&member.pending_revocation),
        ..ConsumerGroupCurrentMemberAssignmentValue::default()
    }
}
