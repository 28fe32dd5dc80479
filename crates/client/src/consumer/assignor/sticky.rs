//! The sticky assignor and what it shares with the cooperative one.
//!
//! Assignments are balanced first, and among balanced ones those are chosen that move the fewest
//! partitions. Two algorithms do it, as in Kafka: [`constrained`] when all members subscribe to the
//! same topics, [`general`] otherwise.

use std::collections::{BTreeMap, BTreeSet};
use std::future::ready;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::{
    Assignment, AssignorMetadata, BoxFuture, GroupAssignment, GroupSubscription, PartitionAssignor, Subscription,
    Topics, hash_order, plain,
};
use crate::consumer::group_metadata::ConsumerGroupMetadata;
use crate::{ClientError, TopicPartition};

mod constrained;
mod general;
mod racks;

/// Generation of a member that never got an assignment.
pub(super) const DEFAULT_GENERATION: i32 = -1;

/// Name of the sticky assignor.
pub(crate) const NAME: &str = "sticky";

/// Balances partitions over members and keeps as many as possible where they are.
///
/// Works under the eager protocol: members revoke everything, and tell in their user data what they
/// had. Prefer [`CooperativeStickyAssignor`](super::CooperativeStickyAssignor) for new groups.
#[derive(Debug, Clone)]
pub struct StickyAssignor {
    previous: Option<Vec<TopicPartition>>,
    generation: i32,
    max_generation: i32,
}

impl Default for StickyAssignor {
    fn default() -> Self {
        Self { previous: None, generation: DEFAULT_GENERATION, max_generation: DEFAULT_GENERATION }
    }
}

impl PartitionAssignor for StickyAssignor {
    fn name(&self) -> &str {
        NAME
    }

    fn subscription_user_data(&mut self, _topics: &BTreeSet<String>) -> Option<Bytes> {
        self.previous.as_ref().map(|partitions| encode_previous(partitions, self.generation))
    }

    fn assign<'a>(
        &'a mut self,
        metadata: &'a AssignorMetadata,
        group: &'a GroupSubscription,
    ) -> BoxFuture<'a, Result<GroupAssignment, ClientError>> {
        let outcome = assign(metadata, group, &mut self.max_generation, &previous_of_user_data);
        Box::pin(ready(Ok(plain(outcome.lists))))
    }

    fn on_assignment(&mut self, assignment: &Assignment, metadata: &ConsumerGroupMetadata) -> Result<(), ClientError> {
        self.previous = Some(assignment.partitions.clone());
        self.generation = metadata.generation_id();
        Ok(())
    }
}

/// What a member had before, and since which generation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct MemberData {
    pub(super) partitions: Vec<TopicPartition>,
    pub(super) generation: Option<i32>,
}

/// The result of [`assign`].
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) lists: BTreeMap<String, Vec<TopicPartition>>,
    /// New owners of partitions that another member still owns; `None` if the algorithm did not
    /// keep track.
    pub(super) transferring: Option<BTreeMap<TopicPartition, String>>,
}

/// Assigns by the algorithm that fits the subscriptions.
pub(super) fn assign(
    metadata: &AssignorMetadata,
    group: &GroupSubscription,
    max_generation: &mut i32,
    member_data: &dyn Fn(&Subscription) -> MemberData,
) -> Outcome {
    let topics = metadata.existing(&group.topics());
    let problem = Problem::new(&topics, group, max_generation, member_data);
    if problem.members.is_empty() {
        return Outcome { lists: BTreeMap::new(), transferring: None };
    }
    if problem.all_subscriptions_equal {
        constrained::assign(&problem)
    } else {
        general::assign(&problem, *max_generation)
    }
}

/// One member, its position in the list being its order by id.
#[derive(Debug)]
struct Member<'a> {
    id: &'a str,
    /// Positions of the topics it subscribes to and that exist.
    topics: BTreeSet<usize>,
    /// What it says it had before.
    previous: MemberData,
    /// Partitions it owns, after conflicts with other members have been settled.
    owned: Vec<usize>,
    rack: Option<&'a str>,
}

/// The input with members and partitions numbered densely.
#[derive(Debug)]
struct Problem<'a> {
    topics: &'a Topics<'a>,
    /// Number of the first partition of each topic, and at the end the number of all partitions.
    first_partition: Vec<usize>,
    /// Topic and number of each partition.
    partitions: Vec<(usize, i32)>,
    members: Vec<Member<'a>>,
    /// Members in the order in which Java's `HashMap` iterates them.
    hash_order: Vec<usize>,
    all_subscriptions_equal: bool,
    /// Partitions that several members of the same generation claim.
    multiple_owners: BTreeSet<usize>,
}

impl<'a> Problem<'a> {
    fn new(
        topics: &'a Topics<'a>,
        group: &'a GroupSubscription,
        max_generation: &mut i32,
        member_data: &dyn Fn(&Subscription) -> MemberData,
    ) -> Self {
        let mut first_partition = Vec::with_capacity(topics.len() + 1);
        let mut partitions = Vec::new();
        for (at, (_, list)) in topics.iter().enumerate() {
            first_partition.push(partitions.len());
            partitions.extend((0..list.len()).map(|number| (at, number as i32)));
        }
        first_partition.push(partitions.len());

        let given: Vec<(&str, &Subscription)> = group.iter().collect();
        let mut by_id: Vec<usize> = (0..given.len()).collect();
        let id_of = |at: usize| given.get(at).map_or("", |(id, _)| *id);
        by_id.sort_by(|&a, &b| super::round_robin::compare(id_of(a), id_of(b)));
        let mut rank = vec![0; given.len()];
        for (position, &at) in by_id.iter().enumerate() {
            if let Some(slot) = rank.get_mut(at) {
                *slot = position;
            }
        }
        let hash_order = hash_order::iteration_order(given.iter().map(|(id, _)| *id))
            .into_iter()
            .filter_map(|at| rank.get(at).copied())
            .collect();
        let members = by_id
            .iter()
            .filter_map(|&at| given.get(at))
            .map(|&(id, subscription)| Member {
                id,
                topics: subscription
                    .topics
                    .iter()
                    .filter_map(|t| topics.binary_search_by(|(name, _)| (*name).cmp(t)).ok())
                    .collect(),
                previous: member_data(subscription),
                owned: Vec::new(),
                rack: subscription.rack_id.as_deref().filter(|rack| !rack.is_empty()),
            })
            .collect();
        let mut problem = Self {
            topics,
            first_partition,
            partitions,
            members,
            hash_order,
            all_subscriptions_equal: subscriptions_equal(&given),
            multiple_owners: BTreeSet::new(),
        };
        let generations: Vec<i32> = by_id
            .iter()
            .filter_map(|&at| given.get(at))
            .map(|(_, s)| s.generation_id.unwrap_or(DEFAULT_GENERATION))
            .collect();
        problem.settle_owners(&generations, max_generation);
        problem
    }

    /// Decides which claims of previous ownership hold: those of the highest generation, and none
    /// if two members of one generation claim the same partition.
    fn settle_owners(&mut self, generations: &[i32], max_generation: &mut i32) {
        let mut owner_of: BTreeMap<usize, usize> = BTreeMap::new();
        for member in self.hash_order.clone() {
            let Some(data) = self.members.get(member).map(|m| m.previous.clone()) else { continue };
            let generation = data.generation.unwrap_or(DEFAULT_GENERATION);
            *max_generation = (*max_generation).max(generation);
            let partitions: Vec<usize> = data.partitions.iter().filter_map(|tp| self.number_of(tp)).collect();
            for partition in partitions {
                match owner_of.get(&partition).copied() {
                    None => self.take(partition, member, None, &mut owner_of),
                    Some(other) => {
                        let others = generations.get(other).copied().unwrap_or(DEFAULT_GENERATION);
                        if generation == others {
                            self.multiple_owners.insert(partition);
                            self.disown(partition, other);
                            owner_of.insert(partition, member);
                        } else if generation > others {
                            self.take(partition, member, Some(other), &mut owner_of);
                        }
                    }
                }
            }
        }
    }

    fn take(&mut self, partition: usize, member: usize, from: Option<usize>, owner_of: &mut BTreeMap<usize, usize>) {
        if let Some(from) = from {
            self.disown(partition, from);
        }
        if let Some(member) = self.members.get_mut(member) {
            member.owned.push(partition);
        }
        owner_of.insert(partition, member);
    }

    fn disown(&mut self, partition: usize, member: usize) {
        if let Some(member) = self.members.get_mut(member) {
            member.owned.retain(|&p| p != partition);
        }
    }

    /// The dense number of a partition, if it exists.
    fn number_of(&self, tp: &TopicPartition) -> Option<usize> {
        let topic = self.topics.binary_search_by(|(name, _)| (*name).cmp(tp.topic())).ok()?;
        let number = usize::try_from(tp.partition()).ok()?;
        let (_, list) = self.topics.get(topic)?;
        let first = self.first_partition.get(topic)?;
        (number < list.len()).then_some(first + number)
    }

    fn topic_of(&self, partition: usize) -> usize {
        self.partitions.get(partition).map_or(0, |(topic, _)| *topic)
    }

    fn topic_partition(&self, partition: usize) -> TopicPartition {
        let (topic, number) = self.partitions.get(partition).copied().unwrap_or_default();
        TopicPartition::new(self.topics.get(topic).map_or("", |(name, _)| *name), number)
    }

    /// Numbers of the partitions of a topic.
    fn partitions_of(&self, topic: usize) -> std::ops::Range<usize> {
        let bound = |at: usize| self.first_partition.get(at).copied().unwrap_or(0);
        bound(topic)..bound(topic + 1)
    }

    /// The lists of a solution under the names of members and partitions.
    fn named(&self, lists: &[Vec<usize>]) -> BTreeMap<String, Vec<TopicPartition>> {
        self.members
            .iter()
            .zip(lists)
            .map(|(member, list)| {
                let list = list.iter().map(|&p| self.topic_partition(p)).collect();
                (member.id.to_owned(), list)
            })
            .collect()
    }
}

/// Whether all members subscribe to the same topics.
///
/// Kafka passes over members without topics that come first, and then assigns to them too; such a
/// member would refuse its assignment and rebalance for ever, so that here it makes a difference.
fn subscriptions_equal(members: &[(&str, &Subscription)]) -> bool {
    let mut sets = members.iter().map(|(_, s)| s.topics.iter().collect::<BTreeSet<_>>());
    let Some(first) = sets.next() else { return true };
    sets.all(|set| set == first)
}

/// Encodes the user data of the sticky assignor: previous partitions by topic, then the generation.
fn encode_previous(partitions: &[TopicPartition], generation: i32) -> Bytes {
    let mut by_topic: Vec<(&str, Vec<i32>)> = Vec::new();
    for tp in partitions {
        match by_topic.iter_mut().find(|(topic, _)| *topic == tp.topic()) {
            Some((_, list)) => list.push(tp.partition()),
            None => by_topic.push((tp.topic(), vec![tp.partition()])),
        }
    }
    let mut out = BytesMut::new();
    out.put_i32(by_topic.len() as i32);
    for (topic, list) in by_topic {
        out.put_i16(topic.len() as i16);
        out.put_slice(topic.as_bytes());
        out.put_i32(list.len() as i32);
        for partition in list {
            out.put_i32(partition);
        }
    }
    out.put_i32(generation);
    out.freeze()
}

/// Reads a member's previous assignment from its user data; what cannot be read counts as none.
fn previous_of_user_data(subscription: &Subscription) -> MemberData {
    let Some(data) = subscription.user_data.as_ref().filter(|data| !data.is_empty()) else {
        return MemberData::default();
    };
    decode_previous(data).unwrap_or(MemberData { partitions: Vec::new(), generation: Some(DEFAULT_GENERATION) })
}

fn decode_previous(data: &Bytes) -> Option<MemberData> {
    let mut input = data.clone();
    let topics = input.try_get_i32().ok()?;
    let mut partitions = Vec::new();
    for _ in 0..topics {
        let length = usize::try_from(input.try_get_i16().ok()?).ok()?;
        if input.remaining() < length {
            return None;
        }
        let name = input.split_to(length);
        let name = std::str::from_utf8(&name).ok()?;
        let count = input.try_get_i32().ok()?;
        for _ in 0..count {
            partitions.push(TopicPartition::new(name, input.try_get_i32().ok()?));
        }
    }
    // Version 0 has no generation.
    Some(MemberData { partitions, generation: input.try_get_i32().ok() })
}

#[cfg(test)]
mod user_data_tests {
    use super::*;

    fn subscription(data: &[u8]) -> Subscription {
        Subscription { user_data: Some(Bytes::copy_from_slice(data)), ..Subscription::default() }
    }

    #[test]
    fn previous_assignment_round_trips() {
        let partitions = vec![TopicPartition::new("a", 1), TopicPartition::new("a", 3), TopicPartition::new("b", 0)];
        let data = encode_previous(&partitions, 7);
        assert_eq!(
            previous_of_user_data(&subscription(&data)),
            MemberData { partitions: partitions.clone(), generation: Some(7) }
        );
        let version_0 = &data[..data.len() - 4];
        assert_eq!(previous_of_user_data(&subscription(version_0)), MemberData { partitions, generation: None });
    }

    #[test]
    fn unreadable_user_data_counts_as_no_assignment() {
        for data in [&b"\x00\x00\x00\x01"[..], b"\x7f\xff\xff\xff\x00\x01a", b"\x00\x00\x00\x01\xff\xff"] {
            let previous = previous_of_user_data(&subscription(data));
            assert_eq!(previous.partitions, []);
            assert_eq!(previous.generation, Some(DEFAULT_GENERATION));
        }
        assert_eq!(previous_of_user_data(&Subscription::default()).generation, None);
    }
}
