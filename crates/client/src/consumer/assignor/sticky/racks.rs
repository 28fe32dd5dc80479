//! Racks of members and partitions, for the sticky algorithms (KIP-881).

use std::collections::{BTreeMap, BTreeSet};

use super::Problem;
use crate::consumer::assignor::range::needs_racks;

/// Racks, empty where they make no difference.
#[derive(Debug)]
pub(super) struct Racks<'a> {
    /// Whether racks are taken into account.
    pub(super) active: bool,
    member_racks: Vec<Option<&'a str>>,
    partition_racks: Vec<Option<&'a BTreeSet<String>>>,
    /// For each partition the number of members in racks with a replica; empty if no member has a
    /// rack.
    members_in_racks: Vec<usize>,
}

impl<'a> Racks<'a> {
    pub(super) fn new(problem: &Problem<'a>) -> Self {
        let given: BTreeSet<&str> = problem.members.iter().filter_map(|m| m.rack).collect();
        let all = problem.topics.iter().flat_map(|(_, list)| list.iter());
        let active = needs_racks(&given, all.clone());
        let mut members_by_rack: BTreeMap<&str, usize> = BTreeMap::new();
        for rack in problem.members.iter().filter_map(|m| m.rack) {
            *members_by_rack.entry(rack).or_default() += 1;
        }
        let members_in_racks = if given.is_empty() {
            Vec::new()
        } else {
            all.clone()
                .map(|partition| {
                    let racks = partition.replica_racks.iter();
                    racks.filter_map(|rack| members_by_rack.get(rack.as_str())).sum()
                })
                .collect()
        };
        Self {
            active,
            member_racks: problem.members.iter().map(|m| m.rack.filter(|_| active)).collect(),
            partition_racks: all.map(|p| active.then_some(&p.replica_racks)).collect(),
            members_in_racks,
        }
    }

    pub(super) fn member_rack(&self, member: usize) -> Option<&'a str> {
        self.member_racks.get(member).copied().flatten()
    }

    /// Whether the partition has a replica in `rack`.
    pub(super) fn partition_in(&self, partition: usize, rack: &str) -> bool {
        self.partition_racks.get(partition).copied().flatten().is_some_and(|r| r.contains(rack))
    }

    /// Whether the member has a rack and the partition no replica there.
    pub(super) fn mismatch(&self, member: usize, partition: usize) -> bool {
        self.member_rack(member).is_some_and(|rack| !self.partition_in(partition, rack))
    }

    /// Sorts partitions so that those with the fewest members near them come first.
    pub(super) fn sort_by_members(&self, partitions: &mut [usize]) {
        if !self.members_in_racks.is_empty() {
            partitions.sort_by_key(|&p| self.members_in_racks.get(p).copied().unwrap_or(0));
        }
    }

    /// Position in `members`, searched in a circle from `first`, of a member near the partition.
    pub(super) fn next_member(&self, partition: usize, members: &[usize], first: usize) -> Option<usize> {
        (0..members.len()).map(|step| (first + step) % members.len()).find(|&at| {
            members
                .get(at)
                .and_then(|&member| self.member_rack(member))
                .is_some_and(|rack| self.partition_in(partition, rack))
        })
    }
}
