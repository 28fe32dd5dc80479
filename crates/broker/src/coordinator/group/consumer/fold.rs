//! The records of consumer groups.

use std::collections::{BTreeMap, BTreeSet};

use vltava_protocol::Uuid;
use vltava_protocol::records::group::consumer_group_current_member_assignment_value::TopicPartitions;
use vltava_protocol::records::group::consumer_group_target_assignment_member_value::TopicPartition;
use vltava_protocol::records::group::{
    ConsumerGroupCurrentMemberAssignmentValue, ConsumerGroupMemberMetadataValue, ConsumerGroupMetadataValue,
    ConsumerGroupRegularExpressionValue, ConsumerGroupTargetAssignmentMemberValue,
    ConsumerGroupTargetAssignmentMetadataValue,
};

use super::member::Wants;
use super::{Change, Consumer, ConsumerGroup, ConsumerMember, Owned, Partitions, ResolvedRegex};
use crate::coordinator::group::modern::{MemberState, ModernKind};

/// What a regular expression stands for; without a value nobody subscribes by it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RegexChange {
    pub(in super::super) regex: String,
    pub(in super::super) value: Option<ConsumerGroupRegularExpressionValue>,
}

impl ModernKind for Consumer {
    type Wants = Wants;
    type Target = Partitions;
    type Owned = Owned;
    type Read<'a> = (Uuid, i32);

    type GroupRecord = ConsumerGroupMetadataValue;
    type MemberRecord = ConsumerGroupMemberMetadataValue;
    type TargetRecord = ConsumerGroupTargetAssignmentMetadataValue;
    type TargetOfRecord = ConsumerGroupTargetAssignmentMemberValue;
    type CurrentRecord = ConsumerGroupCurrentMemberAssignmentValue;
    type OwnChange = RegexChange;

    const NAME: &'static str = "consumer";
    const TITLE: &'static str = "Consumer";
    const INITIAL_ASSIGNMENT_EPOCH: i32 = 0;
    const INITIAL_PREVIOUS_EPOCH: i32 = -1;
    const STABLE: i8 = 0;

    fn apply_group(group: &mut ConsumerGroup, record: ConsumerGroupMetadataValue) {
        group.epoch = record.epoch;
        group.metadata_hash = record.metadata_hash;
    }

    fn member_record(member: &ConsumerMember) -> ConsumerGroupMemberMetadataValue {
        ConsumerGroupMemberMetadataValue {
            instance_id: member.instance_id.clone(),
            rack_id: member.rack_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            subscribed_topic_names: member.wants.topics.iter().cloned().collect(),
            subscribed_topic_regex: member.wants.regex.clone(),
            rebalance_timeout_ms: member.rebalance_timeout_ms,
            server_assignor: member.wants.assignor.clone(),
            ..ConsumerGroupMemberMetadataValue::default()
        }
    }

    fn apply_member(member: &mut ConsumerMember, record: ConsumerGroupMemberMetadataValue) {
        member.instance_id = record.instance_id;
        member.rack_id = record.rack_id;
        member.client_id = record.client_id;
        member.client_host = record.client_host;
        member.rebalance_timeout_ms = record.rebalance_timeout_ms;
        member.wants = Wants {
            topics: record.subscribed_topic_names.into_iter().collect(),
            regex: record.subscribed_topic_regex.filter(|regex| !regex.is_empty()),
            assignor: record.server_assignor,
        };
    }

    fn target_record(epoch: i32, timestamp_ms: i64) -> ConsumerGroupTargetAssignmentMetadataValue {
        ConsumerGroupTargetAssignmentMetadataValue {
            assignment_epoch: epoch,
            assignment_timestamp: timestamp_ms,
            ..ConsumerGroupTargetAssignmentMetadataValue::default()
        }
    }

    fn epoch_of_target(record: &ConsumerGroupTargetAssignmentMetadataValue) -> (i32, i64) {
        (record.assignment_epoch, record.assignment_timestamp)
    }

    fn target_of_record(target: &Partitions) -> ConsumerGroupTargetAssignmentMemberValue {
        let topic = |(topic_id, partitions): (&Uuid, &BTreeSet<i32>)| TopicPartition {
            topic_id: *topic_id,
            partitions: partitions.iter().copied().collect(),
            ..TopicPartition::default()
        };
        ConsumerGroupTargetAssignmentMemberValue {
            topic_partitions: target.iter().map(topic).collect(),
            ..ConsumerGroupTargetAssignmentMemberValue::default()
        }
    }

    fn target(record: ConsumerGroupTargetAssignmentMemberValue) -> Partitions {
        let topics = record.topic_partitions.into_iter();
        topics.map(|topic| (topic.topic_id, topic.partitions.into_iter().collect())).collect()
    }

    fn current_record(member: &ConsumerMember) -> ConsumerGroupCurrentMemberAssignmentValue {
        ConsumerGroupCurrentMemberAssignmentValue {
            member_epoch: member.epoch,
            previous_member_epoch: member.previous_epoch,
            state: member.state.code(Self::STABLE),
            assigned_partitions: recorded(&member.assigned),
            partitions_pending_revocation: recorded(&member.pending_revocation),
            ..ConsumerGroupCurrentMemberAssignmentValue::default()
        }
    }

    fn apply_current(member: &mut ConsumerMember, record: ConsumerGroupCurrentMemberAssignmentValue) {
        member.epoch = record.member_epoch;
        member.previous_epoch = record.previous_member_epoch;
        member.state = MemberState::from_code(record.state, Self::STABLE);
        member.assigned = owned(record.assigned_partitions, record.member_epoch);
        member.pending_revocation = owned(record.partitions_pending_revocation, record.member_epoch);
    }

    fn apply_own(group: &mut ConsumerGroup, RegexChange { regex, value }: RegexChange) {
        let Some(value) = value else {
            group.own.regexes.remove(&regex);
            return;
        };
        let topics = value.topics.into_iter().collect();
        let resolved = ResolvedRegex { topics, version: value.version, timestamp_ms: value.timestamp };
        group.own.regexes.insert(regex, resolved);
    }

    fn is_removal(change: &RegexChange) -> bool {
        change.value.is_none()
    }

    fn removal(&self) -> Vec<Change> {
        let regexes = self.regexes.keys().map(|regex| Change::Own(RegexChange { regex: regex.clone(), value: None }));
        regexes.chain([Change::Group(None)]).collect()
    }

    fn held_since(&self, member: &ConsumerMember, (topic, partition): (Uuid, i32)) -> Option<i32> {
        member.holds_since(topic, partition)
    }

    /// Takes out a member's partitions, except those that somebody has at another epoch by now.
    fn forget(&mut self, member: &ConsumerMember) {
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

    fn note(&mut self, member: &ConsumerMember) {
        for owned in [&member.assigned, &member.pending_revocation] {
            for (topic, partitions) in owned {
                let owners = self.owners.entry(*topic).or_default();
                owners.extend(partitions.keys().map(|partition| (*partition, member.epoch)));
            }
        }
        if let Some(instance) = &member.instance_id {
            self.static_members.insert(instance.clone(), member.id.clone());
        }
    }

    fn member_removed(group: &mut ConsumerGroup, member: &ConsumerMember) {
        let instances = &mut group.own.static_members;
        if let Some(instance) = &member.instance_id
            && instances.get(instance) == Some(&member.id)
        {
            instances.remove(instance);
        }
    }
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

fn recorded(owned: &Owned) -> Vec<TopicPartitions> {
    let topic = |(topic_id, partitions): (&Uuid, &BTreeMap<i32, i32>)| TopicPartitions {
        topic_id: *topic_id,
        partitions: partitions.keys().copied().collect(),
        assignment_epochs: Some(partitions.values().copied().collect()),
        ..TopicPartitions::default()
    };
    owned.iter().map(topic).collect()
}
