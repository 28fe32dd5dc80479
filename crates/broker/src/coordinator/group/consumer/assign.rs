//! The assignors of the coordinator: `uniform` and `range`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use vltava_protocol::Uuid;

use super::Partitions;

/// Which assignor computes a target assignment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Assignor {
    /// As many partitions for each member as possible, and as few moved as possible.
    Uniform,
    /// Of every topic a range for each member, so that equally numbered partitions of topics go together.
    Range,
}

impl Assignor {
    /// The names of all, the default first.
    pub(super) const NAMES: [&'static str; 2] = ["uniform", "range"];

    pub(super) fn by_name(name: &str) -> Option<Self> {
        match name {
            "uniform" => Some(Self::Uniform),
            "range" => Some(Self::Range),
            _ => None,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Range => "range",
        }
    }

    /// Computes a target for every member.
    pub(super) fn assign(self, spec: &GroupSpec) -> BTreeMap<Arc<str>, Partitions> {
        match self {
            Self::Range => range(spec),
            Self::Uniform if spec.is_homogeneous() => uniform_of_equals(spec),
            Self::Uniform => uniform(spec),
        }
    }
}

/// Partitions by member.
type Kept = BTreeMap<Arc<str>, Vec<(Uuid, i32)>>;

/// A group as the assignors see it.
#[derive(Debug, Default)]
pub(super) struct GroupSpec {
    pub(super) members: BTreeMap<Arc<str>, MemberSpec>,
    /// The number of partitions of every topic that somebody subscribes to.
    pub(super) topics: BTreeMap<Uuid, i32>,
}

/// A member as the assignors see it.
#[derive(Debug, Default)]
pub(super) struct MemberSpec {
    pub(super) instance_id: Option<String>,
    pub(super) topics: BTreeSet<Uuid>,
    /// Its target so far.
    pub(super) current: Partitions,
}

impl GroupSpec {
    fn is_homogeneous(&self) -> bool {
        let mut topics = self.members.values().map(|member| &member.topics);
        let Some(first) = topics.next() else { return true };
        topics.all(|other| other == first)
    }

    /// Returns who has what of its target so far and may keep it, and what is left; no partition is in both.
    fn keep(&self) -> (Kept, VecDeque<(Uuid, i32)>) {
        let mut kept = BTreeMap::new();
        let mut taken = BTreeSet::new();
        for (id, member) in &self.members {
            let valid = |topic: &Uuid, partition: i32| {
                member.topics.contains(topic) && self.topics.get(topic).is_some_and(|count| partition < *count)
            };
            let partitions = member
                .current
                .iter()
                .flat_map(|(topic, partitions)| partitions.iter().map(move |partition| (*topic, *partition)));
            let partitions = partitions.filter(|(topic, partition)| valid(topic, *partition));
            let partitions: Vec<_> = partitions.filter(|partition| taken.insert(*partition)).collect();
            kept.insert(id.clone(), partitions);
        }
        let all = self.topics.iter().flat_map(|(topic, count)| (0..*count).map(move |partition| (*topic, partition)));
        (kept, all.filter(|partition| !taken.contains(partition)).collect())
    }
}

/// Gives every member of a group with one subscription its share; who has more than that gives up the surplus.
fn uniform_of_equals(spec: &GroupSpec) -> BTreeMap<Arc<str>, Partitions> {
    let (mut kept, mut free) = spec.keep();
    let total: usize = kept.values().map(Vec::len).sum::<usize>() + free.len();
    let Some(quota) = total.checked_div(kept.len()) else { return BTreeMap::new() };
    let mut extra = total % kept.len();
    // Whoever has a partition more than the share keeps it, as long as there are some to keep.
    for partitions in kept.values_mut() {
        let limit = if partitions.len() > quota && extra > 0 {
            extra -= 1;
            quota + 1
        } else {
            quota
        };
        free.extend(partitions.drain(limit.min(partitions.len())..));
    }
    for partitions in kept.values_mut() {
        let limit = if partitions.len() <= quota && extra > 0 {
            extra -= 1;
            quota + 1
        } else {
            quota.max(partitions.len())
        };
        let wanted = limit - partitions.len();
        partitions.extend(free.drain(..wanted.min(free.len())));
    }
    kept.into_iter().map(|(id, partitions)| (id, by_topic(partitions))).collect()
}

/// Gives every partition to who has the fewest of those that subscribe to it, and evens out afterwards.
fn uniform(spec: &GroupSpec) -> BTreeMap<Arc<str>, Partitions> {
    let (kept, mut free) = spec.keep();
    let mut assigned: BTreeMap<Arc<str>, BTreeSet<(Uuid, i32)>> =
        kept.into_iter().map(|(id, partitions)| (id, partitions.into_iter().collect())).collect();
    let mut subscribers: BTreeMap<Uuid, Vec<Arc<str>>> = BTreeMap::new();
    for (id, member) in &spec.members {
        for topic in &member.topics {
            subscribers.entry(*topic).or_default().push(id.clone());
        }
    }
    // Topics with few subscribers leave the least choice, so they go first.
    let choice = |topic: &Uuid| subscribers.get(topic).map_or(0, Vec::len);
    free.make_contiguous().sort_by_key(|(topic, partition)| (choice(topic), *topic, *partition));
    let load =
        |assigned: &BTreeMap<Arc<str>, BTreeSet<(Uuid, i32)>>, id: &Arc<str>| assigned.get(id).map_or(0, BTreeSet::len);
    let idlest = |assigned: &BTreeMap<Arc<str>, BTreeSet<(Uuid, i32)>>, topic: &Uuid| {
        subscribers.get(topic)?.iter().min_by_key(|id| load(assigned, id)).cloned()
    };
    for partition in free {
        if let Some(id) = idlest(&assigned, &partition.0) {
            assigned.entry(id).or_default().insert(partition);
        }
    }
    // Every move makes the sum of the squares of the loads smaller, so this ends.
    loop {
        let mut moved = false;
        for id in spec.members.keys() {
            for partition in assigned.get(id).cloned().unwrap_or_default() {
                let Some(other) = idlest(&assigned, &partition.0) else { continue };
                if load(&assigned, id) > load(&assigned, &other) + 1 {
                    assigned.entry(id.clone()).or_default().remove(&partition);
                    assigned.entry(other).or_default().insert(partition);
                    moved = true;
                }
            }
        }
        if !moved {
            break;
        }
    }
    assigned.into_iter().map(|(id, partitions)| (id, by_topic(partitions))).collect()
}

/// Gives every subscriber of a topic a range of it: static members by instance first, then the others by id.
fn range(spec: &GroupSpec) -> BTreeMap<Arc<str>, Partitions> {
    let mut order: Vec<_> = spec.members.iter().collect();
    order.sort_by_key(|(id, member)| (member.instance_id.is_none(), member.instance_id.clone(), (*id).clone()));
    let mut assigned: BTreeMap<Arc<str>, Partitions> =
        spec.members.keys().map(|id| (id.clone(), Partitions::new())).collect();
    for (topic, count) in &spec.topics {
        let subscribers: Vec<_> =
            order.iter().filter(|(_, member)| member.topics.contains(topic)).map(|(id, _)| *id).collect();
        let Ok(members) = i32::try_from(subscribers.len()) else { continue };
        let mut next = 0;
        for (id, position) in subscribers.into_iter().zip(0_i32..) {
            let size = count / members + i32::from(position < count % members);
            if size > 0 {
                let range = (next..next + size).collect();
                assigned.entry(id.clone()).or_default().insert(*topic, range);
            }
            next += size;
        }
    }
    assigned
}

fn by_topic(partitions: impl IntoIterator<Item = (Uuid, i32)>) -> Partitions {
    let mut topics = Partitions::new();
    for (topic, partition) in partitions {
        topics.entry(topic).or_default().insert(partition);
    }
    topics
}

#[cfg(test)]
mod tests;
