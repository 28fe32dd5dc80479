//! The round-robin assignor.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::future::ready;

use super::{AssignorMetadata, BoxFuture, GroupAssignment, GroupSubscription, PartitionAssignor, Subscription, plain};
use crate::{ClientError, TopicPartition};

/// Deals all partitions of all topics to the members in turn.
///
/// Partitions are dealt in order of topic and number, members are sorted as by
/// [`RangeAssignor`](super::RangeAssignor); a member that does not subscribe to a topic is passed
/// over.
#[derive(Debug, Clone, Copy, Default)]
pub struct RoundRobinAssignor;

/// Name of the round-robin assignor.
pub(crate) const NAME: &str = "roundrobin";

impl PartitionAssignor for RoundRobinAssignor {
    fn name(&self) -> &str {
        NAME
    }

    fn assign<'a>(
        &'a mut self,
        metadata: &'a AssignorMetadata,
        group: &'a GroupSubscription,
    ) -> BoxFuture<'a, Result<GroupAssignment, ClientError>> {
        Box::pin(ready(Ok(plain(assign(metadata, group)))))
    }
}

fn assign(metadata: &AssignorMetadata, group: &GroupSubscription) -> BTreeMap<String, Vec<TopicPartition>> {
    let mut lists: Vec<(&str, BTreeSet<&str>, Vec<TopicPartition>)> = sorted_members(group.iter())
        .into_iter()
        .map(|(id, s)| (id, s.topics.iter().map(String::as_str).collect(), Vec::new()))
        .collect();
    let mut next = 0;
    for (topic, partitions) in metadata.existing(&group.topics()) {
        for partition in 0..partitions.len() {
            let count = lists.len();
            let turn = (0..count)
                .map(|step| (next + step) % count)
                .find(|&at| lists.get(at).is_some_and(|(_, topics, _)| topics.contains(topic)));
            let Some(turn) = turn else { break };
            if let Some((_, _, list)) = lists.get_mut(turn) {
                list.push(TopicPartition::new(topic, partition as i32));
            }
            next = turn + 1;
        }
    }
    lists.into_iter().map(|(id, _, list)| (id.to_owned(), list)).collect()
}

/// Static members in order of their instance id, then the others in order of member id.
pub(super) fn sorted_members<'a>(
    members: impl Iterator<Item = (&'a str, &'a Subscription)>,
) -> Vec<(&'a str, &'a Subscription)> {
    let mut sorted: Vec<_> = members.collect();
    sorted.sort_by(|(a_id, a), (b_id, b)| match (&a.group_instance_id, &b.group_instance_id) {
        (Some(a), Some(b)) => compare(a, b),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => compare(a_id, b_id),
    });
    sorted
}

/// `String.compareTo`: by UTF-16 code units.
pub(super) fn compare(a: &str, b: &str) -> Ordering {
    a.encode_utf16().cmp(b.encode_utf16())
}
