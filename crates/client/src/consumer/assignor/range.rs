//! The range assignor, per topic: consecutive partitions to members in order.

use std::collections::{BTreeMap, BTreeSet};
use std::future::ready;

use super::{
    AssignorMetadata, AssignorPartition, BoxFuture, GroupAssignment, GroupSubscription, PartitionAssignor, plain,
};
use crate::{ClientError, TopicPartition};

/// Gives each member a range of consecutive partitions of every topic it subscribes to.
///
/// The members of a topic are sorted (static ones by instance id, then the others by member id);
/// the first ones get one partition more when the division leaves a rest. Topics with the same
/// number of partitions and the same members are co-partitioned. With `client.rack` set, members
/// get partitions that have a replica in their rack as far as the balance allows (KIP-881).
#[derive(Debug, Clone, Copy, Default)]
pub struct RangeAssignor;

/// Name of the range assignor.
pub(crate) const NAME: &str = "range";

impl PartitionAssignor for RangeAssignor {
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

type Lists = BTreeMap<String, Vec<TopicPartition>>;

fn assign(metadata: &AssignorMetadata, group: &GroupSubscription) -> Lists {
    let mut lists: Lists = group.iter().map(|(id, _)| (id.to_owned(), Vec::new())).collect();
    let mut states: Vec<TopicState<'_>> = metadata
        .existing(&group.topics())
        .into_iter()
        .map(|(topic, partitions)| TopicState::new(topic, partitions, group))
        .collect();
    let rack_aware = states.iter().any(|state| state.needs_racks);
    if rack_aware {
        assign_with_racks(&mut states, &mut lists);
    }
    for state in &mut states {
        assign_ranges(state, false, &mut lists);
    }
    if rack_aware {
        for list in lists.values_mut() {
            list.sort();
        }
    }
    lists
}

fn assign_ranges(state: &mut TopicState<'_>, match_racks: bool, lists: &mut Lists) {
    for member in 0..state.members.len() {
        let chosen: Vec<usize> = state
            .unassigned()
            .filter(|&partition| !match_racks || state.racks_match(member, partition))
            .take(state.max_assignable(member))
            .collect();
        if !chosen.is_empty() {
            state.give(member, &chosen, lists);
        }
    }
}

/// Assigns by racks, co-partitioned topics together.
fn assign_with_racks(states: &mut [TopicState<'_>], lists: &mut Lists) {
    type Key<'a> = (Vec<Member<'a>>, usize);
    let mut groups: BTreeMap<Key<'_>, Vec<&mut TopicState<'_>>> = BTreeMap::new();
    for state in states {
        let rack_entries = if state.has_rack_members { state.partitions.len() } else { 0 };
        groups.entry((state.members.clone(), rack_entries)).or_default().push(state);
    }
    for ((members, partitions), mut group) in groups {
        match group.as_mut_slice() {
            [state] if state.needs_racks => assign_ranges(state, true, lists),
            [_] => {}
            group => assign_copartitioned(group, members.len(), partitions, lists),
        }
    }
}

fn assign_copartitioned(states: &mut [&mut TopicState<'_>], members: usize, partitions: usize, lists: &mut Lists) {
    let mut remaining: Vec<usize> = (0..members).collect();
    for partition in 0..partitions {
        let fits =
            |&&member: &&usize| states.iter().all(|s| s.racks_match(member, partition) && s.max_assignable(member) > 0);
        let Some(&member) = remaining.iter().find(fits) else { continue };
        for state in states.iter_mut() {
            state.give(member, &[partition], lists);
        }
        if states.iter().all(|state| state.max_assignable(member) == 0) {
            remaining.retain(|&other| other != member);
            if remaining.is_empty() {
                break;
            }
        }
    }
}

/// One member of a topic; its order is that of the assignment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Member<'a> {
    id: &'a str,
    rack: Option<&'a str>,
}

#[derive(Debug)]
struct TopicState<'a> {
    topic: &'a str,
    partitions: &'a [AssignorPartition],
    members: Vec<Member<'a>>,
    needs_racks: bool,
    has_rack_members: bool,
    taken: Vec<bool>,
    counts: Vec<usize>,
    per_member: usize,
    members_with_extra: usize,
}

impl<'a> TopicState<'a> {
    fn new(topic: &'a str, partitions: &'a [AssignorPartition], group: &'a GroupSubscription) -> Self {
        let members =
            super::round_robin::sorted_members(group.iter().filter(|(_, s)| s.topics.iter().any(|t| t == topic)))
                .into_iter()
                .map(|(id, subscription)| Member {
                    id,
                    rack: subscription.rack_id.as_deref().filter(|rack| !rack.is_empty()),
                })
                .collect::<Vec<_>>();
        let member_racks: BTreeSet<&str> = members.iter().filter_map(|m| m.rack).collect();
        Self {
            topic,
            partitions,
            needs_racks: needs_racks(&member_racks, partitions.iter()),
            has_rack_members: !member_racks.is_empty(),
            taken: vec![false; partitions.len()],
            counts: vec![0; members.len()],
            per_member: partitions.len().checked_div(members.len()).unwrap_or(0),
            members_with_extra: partitions.len().checked_rem(members.len()).unwrap_or(0),
            members,
        }
    }

    fn unassigned(&self) -> impl Iterator<Item = usize> {
        self.taken.iter().enumerate().filter(|(_, taken)| !**taken).map(|(at, _)| at)
    }

    fn racks_match(&self, member: usize, partition: usize) -> bool {
        match self.members.get(member).and_then(|m| m.rack) {
            None => true,
            Some(rack) => self.partitions.get(partition).is_some_and(|p| p.replica_racks.contains(rack)),
        }
    }

    fn max_assignable(&self, member: usize) -> usize {
        let count = self.counts.get(member).copied().unwrap_or(0);
        (self.per_member + usize::from(self.members_with_extra > 0)).saturating_sub(count)
    }

    fn give(&mut self, member: usize, partitions: &[usize], lists: &mut Lists) {
        let Some(id) = self.members.get(member).map(|m| m.id) else { return };
        let Some(list) = lists.get_mut(id) else { return };
        for &partition in partitions {
            list.push(TopicPartition::new(self.topic, partition as i32));
            if let Some(taken) = self.taken.get_mut(partition) {
                *taken = true;
            }
        }
        if let Some(count) = self.counts.get_mut(member) {
            *count += partitions.len();
            if *count > self.per_member {
                self.members_with_extra = self.members_with_extra.saturating_sub(1);
            }
        }
    }
}

/// Whether racks make a difference: some member has a rack with replicas, and not every partition
/// has replicas in all racks.
pub(super) fn needs_racks<'p>(
    member_racks: &BTreeSet<&str>,
    partitions: impl Iterator<Item = &'p AssignorPartition> + Clone,
) -> bool {
    if member_racks.is_empty() {
        return false;
    }
    let all: BTreeSet<&str> = partitions.clone().flat_map(|p| p.replica_racks.iter().map(String::as_str)).collect();
    if member_racks.is_disjoint(&all) {
        return false;
    }
    let mut partitions = partitions;
    !partitions.all(|p| p.replica_racks.len() == all.len())
}
