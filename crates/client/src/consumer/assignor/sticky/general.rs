//! The algorithm for members whose subscriptions differ.
//!
//! Members keep what they own, unowned partitions go to the member with the fewest, and then
//! partitions move from fuller members to emptier ones until no move improves the balance. If the
//! moves did not improve the balance as a whole, they are taken back.

use std::collections::{BTreeMap, BTreeSet};

use vltava_protocol::java::partition_hash;

use super::racks::Racks;
use super::{DEFAULT_GENERATION, Outcome, Problem};
use crate::consumer::assignor::hash_order::HashOrderedSet;

/// Assigns the partitions of `problem`; `max_generation` is the highest seen by this assignor.
pub(super) fn assign(problem: &Problem<'_>, max_generation: i32) -> Outcome {
    let mut builder = Builder::new(problem, max_generation);
    builder.keep_owned();
    let unassigned = builder.unassigned();
    builder.by_size = (0..problem.members.len()).map(|m| (builder.count(m), m)).collect();
    builder.balance(unassigned);
    Outcome { lists: problem.named(&builder.lists), transferring: None }
}

#[derive(Debug)]
struct Builder<'a> {
    problem: &'a Problem<'a>,
    racks: Racks<'a>,
    /// Members that subscribe to each topic.
    subscribers: Vec<Vec<usize>>,
    /// All partitions, those of the topics with the fewest subscribers first.
    sorted_partitions: Vec<usize>,
    /// Owners of partitions under earlier generations.
    earlier: BTreeMap<usize, (usize, i32)>,
    owner: Vec<Option<usize>>,
    lists: Vec<Vec<usize>>,
    /// Members that take part in the balancing, by number of partitions, then by id.
    by_size: BTreeSet<(usize, usize)>,
    /// Members whose assignment cannot change.
    fixed: BTreeSet<usize>,
    revocation_required: bool,
    movements: Movements,
}

impl<'a> Builder<'a> {
    fn new(problem: &'a Problem<'a>, max_generation: i32) -> Self {
        let mut subscribers = vec![Vec::new(); problem.topics.len()];
        for (at, member) in problem.members.iter().enumerate() {
            for &topic in &member.topics {
                if let Some(list) = subscribers.get_mut(topic) {
                    list.push(at);
                }
            }
        }
        let mut topics: Vec<usize> = (0..problem.topics.len()).collect();
        topics.sort_by_key(|&topic| (subscribers.get(topic).map_or(0, Vec::len), topic));
        let mut owner = vec![None; problem.partitions.len()];
        for (at, member) in problem.members.iter().enumerate() {
            for &partition in &member.owned {
                if let Some(slot) = owner.get_mut(partition) {
                    *slot = Some(at);
                }
            }
        }
        Self {
            problem,
            racks: Racks::new(problem),
            sorted_partitions: topics.iter().flat_map(|&t| problem.partitions_of(t)).collect(),
            subscribers,
            earlier: earlier_owners(problem, max_generation),
            owner,
            lists: problem.members.iter().map(|m| m.owned.clone()).collect(),
            by_size: BTreeSet::new(),
            fixed: BTreeSet::new(),
            revocation_required: false,
            movements: Movements::default(),
        }
    }

    /// Takes from members what they no longer subscribe to or what is far from their rack.
    fn keep_owned(&mut self) {
        for (at, member) in self.problem.members.iter().enumerate() {
            let Some(list) = self.lists.get_mut(at) else { continue };
            let before = list.len();
            list.retain(|&partition| {
                member.topics.contains(&self.problem.topic_of(partition)) && !self.racks.mismatch(at, partition)
            });
            self.revocation_required |= list.len() < before;
        }
    }

    fn unassigned(&self) -> Vec<usize> {
        let assigned: BTreeSet<usize> = self.lists.iter().flatten().copied().collect();
        self.sorted_partitions.iter().copied().filter(|p| !assigned.contains(p)).collect()
    }

    fn balance(&mut self, mut unassigned: Vec<usize>) {
        let initializing = self.by_size.last().is_none_or(|&(count, _)| count == 0);
        let mut to_assign = unassigned.clone();
        if self.racks.active {
            to_assign.retain(|&partition| !self.assign_to_smallest(partition, true));
        }
        for partition in to_assign {
            self.assign_to_smallest(partition, false);
        }

        let movable = |partition: &usize| {
            let topic = self.problem.topic_of(*partition);
            self.subscribers.get(topic).is_some_and(|members| members.len() >= 2)
        };
        let reassignable: Vec<usize> = self.sorted_partitions.iter().copied().filter(|p| movable(p)).collect();
        unassigned.retain(movable);
        self.fixed = (0..self.lists.len()).filter(|&member| !self.can_take_part(member)).collect();
        for member in self.fixed.clone() {
            self.by_size.remove(&(self.count(member), member));
        }

        let lists_before = self.lists.clone();
        if !self.revocation_required {
            self.reassign_all(&unassigned);
        }
        let moved = self.reassign_all(&reassignable);
        if !initializing && moved && self.score(&self.lists) >= self.score(&lists_before) {
            self.lists = lists_before;
        }
    }

    /// Gives a partition to the subscribed member with the fewest; whether there was one.
    fn assign_to_smallest(&mut self, partition: usize, near: bool) -> bool {
        let topic = self.problem.topic_of(partition);
        let found =
            self.by_size.iter().copied().find(|&(_, member)| {
                self.subscribes(member, topic) && !(near && self.racks.mismatch(member, partition))
            });
        let Some((count, member)) = found else { return false };
        self.by_size.remove(&(count, member));
        if let Some(list) = self.lists.get_mut(member) {
            list.push(partition);
        }
        self.set_owner(partition, member);
        self.by_size.insert((count + 1, member));
        true
    }

    fn reassign_all(&mut self, partitions: &[usize]) -> bool {
        let mut any = false;
        loop {
            let mut modified = false;
            for &partition in partitions {
                if self.is_balanced() {
                    break;
                }
                modified |= self.reassign(partition);
            }
            if !modified {
                return any;
            }
            any = true;
        }
    }

    /// Moves one partition if that improves the balance; whether it did.
    fn reassign(&mut self, partition: usize) -> bool {
        let Some(owner) = self.owner.get(partition).copied().flatten() else { return false };
        let topic = self.problem.topic_of(partition);
        let count = self.count(owner);
        if let Some(&(earlier, _)) = self.earlier.get(&partition)
            && !self.fixed.contains(&earlier)
            && self.subscribes(earlier, topic)
            && count > self.count(earlier) + 1
        {
            self.move_to(partition, earlier);
            return true;
        }
        let subscribers = self.subscribers.get(topic).map_or(&[][..], Vec::as_slice);
        let improves = subscribers.iter().any(|other| !self.fixed.contains(other) && count > self.count(*other) + 1);
        if !improves {
            return false;
        }
        // A member near the partition only decides that it moves, as in Kafka: the target is the
        // smallest subscribed member either way.
        let target = self.by_size.iter().map(|&(_, m)| m).find(|&m| self.subscribes(m, topic));
        let Some(target) = target else { return false };
        self.move_to(partition, target);
        true
    }

    fn move_to(&mut self, partition: usize, to: usize) {
        let Some(from) = self.owner.get(partition).copied().flatten() else { return };
        let topic = self.problem.topic_of(partition);
        let partition = self.movements.partition_to_move(topic, partition, from, to);
        let Some(from) = self.owner.get(partition).copied().flatten() else { return };
        self.by_size.remove(&(self.count(from), from));
        self.by_size.remove(&(self.count(to), to));
        let (name, number) = self.problem.partitions.get(partition).copied().unwrap_or_default();
        let name = self.problem.topics.get(name).map_or("", |(name, _)| *name);
        self.movements.record(topic, partition, partition_hash(name, number), from, to);
        if let Some(list) = self.lists.get_mut(from) {
            list.retain(|&p| p != partition);
        }
        if let Some(list) = self.lists.get_mut(to) {
            list.push(partition);
        }
        self.set_owner(partition, to);
        self.by_size.insert((self.count(to), to));
        self.by_size.insert((self.count(from), from));
    }

    /// Whether no member could take a partition from one that has at least two more.
    fn is_balanced(&self) -> bool {
        let (Some(&(min, _)), Some(&(max, _))) = (self.by_size.first(), self.by_size.last()) else {
            return true;
        };
        if min + 1 >= max {
            return true;
        }
        self.by_size.iter().all(|&(count, member)| {
            count == self.max_size(member)
                || self.topics_of(member).flat_map(|t| self.problem.partitions_of(t)).all(|p| {
                    match self.owner.get(p).copied().flatten() {
                        Some(owner) if owner != member => count + 1 >= self.count(owner),
                        _ => true,
                    }
                })
        })
    }

    /// Whether a member could get more partitions, or has some that others could take.
    fn can_take_part(&self, member: usize) -> bool {
        self.count(member) < self.max_size(member)
            || self.lists.get(member).is_some_and(|list| {
                list.iter().any(|&partition| {
                    let topic = self.problem.topic_of(partition);
                    self.subscribers.get(topic).is_some_and(|members| members.len() >= 2)
                })
            })
    }

    /// Sum of the differences between all pairs of members that take part.
    fn score(&self, lists: &[Vec<usize>]) -> usize {
        let sizes: Vec<usize> = lists
            .iter()
            .enumerate()
            .filter(|(member, _)| !self.fixed.contains(member))
            .map(|(_, list)| list.len())
            .collect();
        sizes.iter().enumerate().map(|(at, a)| sizes.iter().skip(at + 1).map(|b| a.abs_diff(*b)).sum::<usize>()).sum()
    }

    fn topics_of(&self, member: usize) -> impl Iterator<Item = usize> {
        self.problem.members.get(member).into_iter().flat_map(|m| m.topics.iter().copied())
    }

    fn subscribes(&self, member: usize, topic: usize) -> bool {
        self.problem.members.get(member).is_some_and(|m| m.topics.contains(&topic))
    }

    fn max_size(&self, member: usize) -> usize {
        self.topics_of(member).map(|topic| self.problem.partitions_of(topic).len()).sum()
    }

    fn count(&self, member: usize) -> usize {
        self.lists.get(member).map_or(0, Vec::len)
    }

    fn set_owner(&mut self, partition: usize, member: usize) {
        if let Some(slot) = self.owner.get_mut(partition) {
            *slot = Some(member);
        }
    }
}

/// For each partition the latest owner among the members of earlier generations.
fn earlier_owners(problem: &Problem<'_>, max_generation: i32) -> BTreeMap<usize, (usize, i32)> {
    let mut owners: BTreeMap<usize, (usize, i32)> = BTreeMap::new();
    for &at in &problem.hash_order {
        let Some(data) = problem.members.get(at).map(|m| &m.previous) else { continue };
        let generation = data.generation.unwrap_or(DEFAULT_GENERATION);
        if generation >= max_generation {
            continue;
        }
        for partition in data.partitions.iter().filter_map(|tp| problem.number_of(tp)) {
            let entry = owners.entry(partition).or_insert((at, generation));
            if generation > entry.1 {
                *entry = (at, generation);
            }
        }
    }
    owners
}

/// The moves made so far, so that a partition moves back instead of another one moving over.
#[derive(Debug, Default)]
struct Movements {
    by_topic: BTreeMap<usize, BTreeMap<(usize, usize), HashOrderedSet>>,
    by_partition: BTreeMap<usize, (usize, usize)>,
}

impl Movements {
    fn record(&mut self, topic: usize, partition: usize, hash: i32, from: usize, to: usize) {
        let source = match self.by_partition.remove(&partition) {
            None => from,
            Some(pair) => {
                self.forget(topic, partition, pair);
                if pair.0 == to {
                    return;
                }
                pair.0
            }
        };
        self.by_partition.insert(partition, (source, to));
        self.by_topic.entry(topic).or_default().entry((source, to)).or_default().insert(hash, partition);
    }

    fn forget(&mut self, topic: usize, partition: usize, pair: (usize, usize)) {
        if let Some(pairs) = self.by_topic.get_mut(&topic)
            && let Some(set) = pairs.get_mut(&pair)
        {
            set.remove(partition);
            if set.is_empty() {
                pairs.remove(&pair);
            }
        }
    }

    /// The partition to move instead of `partition`: one that came the opposite way, if any.
    fn partition_to_move(&self, topic: usize, partition: usize, from: usize, to: usize) -> usize {
        let from = self.by_partition.get(&partition).map_or(from, |&(source, _)| source);
        self.by_topic
            .get(&topic)
            .and_then(|pairs| pairs.get(&(to, from)))
            .and_then(HashOrderedSet::first)
            .unwrap_or(partition)
    }
}
