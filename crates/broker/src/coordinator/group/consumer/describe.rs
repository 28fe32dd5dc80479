//! ConsumerGroupDescribe.

use std::collections::BTreeMap;

use vltava_protocol::Uuid;
use vltava_protocol::messages::consumer_group_describe_response::{
    Assignment, DescribedGroup, Member, TopicPartitions,
};

use super::topics::TopicMetadata;
use super::{Consumer, ConsumerGroup, ConsumerMember};
use crate::coordinator::group::shard::{GroupCoordinatorShard, Refused};

/// The type of a member that speaks the consumer protocol.
const CONSUMER_MEMBER: i8 = 1;

impl GroupCoordinatorShard {
    /// Describes a consumer group; an error is in the description.
    pub(crate) fn describe_consumer_group(&self, topics: &dyn TopicMetadata, group_id: &str) -> DescribedGroup {
        match self.known_group::<Consumer>(group_id) {
            Ok(group) => group.describe(topics),
            Err(Refused { error, message }) => DescribedGroup {
                group_id: group_id.to_owned(),
                error_code: error.code(),
                error_message: message,
                ..DescribedGroup::default()
            },
        }
    }
}

impl ConsumerGroup {
    fn describe(&self, topics: &dyn TopicMetadata) -> DescribedGroup {
        DescribedGroup {
            group_id: self.id.to_string(),
            group_state: self.state().name().to_owned(),
            group_epoch: self.epoch,
            assignment_epoch: self.assignment_epoch,
            assignor_name: self.preferred_assignor().name().to_owned(),
            members: self.members.values().map(|member| self.describe_member(member, topics)).collect(),
            ..DescribedGroup::default()
        }
    }

    fn describe_member(&self, member: &ConsumerMember, topics: &dyn TopicMetadata) -> Member {
        let mut current: BTreeMap<Uuid, Vec<i32>> = BTreeMap::new();
        for (topic, partitions) in member.assigned.iter().chain(&member.pending_revocation) {
            current.entry(*topic).or_default().extend(partitions.keys());
        }
        let target = self.target.get(&member.id).into_iter().flatten();
        let target = target.map(|(topic, partitions)| (*topic, partitions.iter().copied().collect()));
        Member {
            member_id: member.id.to_string(),
            instance_id: member.instance_id.clone(),
            rack_id: member.rack_id.clone(),
            member_epoch: member.epoch,
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            subscribed_topic_names: member.wants.topics.iter().cloned().collect(),
            subscribed_topic_regex: Some(member.wants.regex.clone().unwrap_or_default()),
            assignment: assignment(current, topics),
            target_assignment: assignment(target, topics),
            member_type: CONSUMER_MEMBER,
            ..Member::default()
        }
    }
}

/// Names the topics of an assignment; those that are deleted are left out.
fn assignment(partitions: impl IntoIterator<Item = (Uuid, Vec<i32>)>, topics: &dyn TopicMetadata) -> Assignment {
    let named = partitions.into_iter().filter_map(|(topic_id, partitions)| {
        let topic_name = topics.name(topic_id)?;
        Some(TopicPartitions { topic_id, topic_name, partitions, ..TopicPartitions::default() })
    });
    Assignment { topic_partitions: named.collect(), ..Assignment::default() }
}
