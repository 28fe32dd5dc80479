//! The algorithm for members with equal subscriptions.
//!
//! Every member gets `partitions / members` partitions, and the rest of the division goes to as
//! many members. Owned partitions are kept up to that quota, the others are dealt in turn to the
//! members below it, those below the minimum first.

use std::collections::{BTreeMap, VecDeque};

use super::racks::Racks;
use super::{Outcome, Problem};

/// Assigns the partitions of `problem`, whose subscriptions are all equal.
pub(super) fn assign(problem: &Problem<'_>) -> Outcome {
    let mut builder = Builder::new(problem);
    builder.keep_owned();
    let mut unassigned = builder.unassigned();
    builder.below_min.sort_unstable();
    builder.at_min.make_contiguous().sort_unstable();
    builder.racks.sort_by_members(&mut unassigned);
    if builder.racks.active {
        unassigned = builder.assign_near(unassigned);
    }
    builder.deal(&unassigned);
    let transferring = builder
        .transferring
        .iter()
        .filter_map(|(&partition, &member)| {
            let id = problem.members.get(member)?.id.to_owned();
            Some((problem.topic_partition(partition), id))
        })
        .collect();
    Outcome { lists: problem.named(&builder.lists), transferring: Some(transferring) }
}

#[derive(Debug)]
struct Builder<'a> {
    problem: &'a Problem<'a>,
    racks: Racks<'a>,
    min_quota: usize,
    max_quota: usize,
    /// Number of members that shall get more than the minimum, and that have got it.
    over_min_expected: usize,
    over_min: usize,
    below_min: Vec<usize>,
    at_min: VecDeque<usize>,
    /// Partitions that their owner may have to give up.
    maybe_revoked: BTreeMap<usize, usize>,
    transferring: BTreeMap<usize, usize>,
    lists: Vec<Vec<usize>>,
}

impl<'a> Builder<'a> {
    fn new(problem: &'a Problem<'a>) -> Self {
        let (partitions, members) = (problem.partitions.len(), problem.members.len().max(1));
        Self {
            problem,
            racks: Racks::new(problem),
            min_quota: partitions / members,
            max_quota: partitions.div_ceil(members),
            over_min_expected: partitions % members,
            over_min: 0,
            below_min: Vec::new(),
            at_min: VecDeque::new(),
            maybe_revoked: BTreeMap::new(),
            transferring: BTreeMap::new(),
            lists: vec![Vec::new(); problem.members.len()],
        }
    }

    /// Lets members keep what they own, up to their quota.
    fn keep_owned(&mut self) {
        for &member in &self.problem.hash_order {
            let Some(owned) = self.problem.members.get(member).map(|m| m.owned.as_slice()) else {
                continue;
            };
            let mut kept = Vec::with_capacity(owned.len());
            for &partition in owned {
                if self.racks.mismatch(member, partition) {
                    self.maybe_revoked.insert(partition, member);
                } else {
                    kept.push(partition);
                }
            }
            kept.sort_by_key(|&p| self.problem.partitions.get(p).map(|&(topic, n)| (n, topic)));
            kept.retain(|partition| !self.problem.multiple_owners.contains(partition));
            let quota = if kept.len() < self.min_quota {
                self.below_min.push(member);
                kept.len()
            } else if kept.len() >= self.max_quota && self.over_min < self.over_min_expected {
                self.over_min += 1;
                if self.over_min == self.over_min_expected {
                    self.at_min.clear();
                }
                self.max_quota
            } else {
                if self.over_min < self.over_min_expected {
                    self.at_min.push_back(member);
                }
                self.min_quota
            };
            for partition in kept.split_off(quota) {
                self.maybe_revoked.insert(partition, member);
            }
            if let Some(list) = self.lists.get_mut(member) {
                *list = kept;
            }
        }
    }

    /// Partitions that nobody keeps, in order of topic and number.
    fn unassigned(&self) -> Vec<usize> {
        let mut taken = vec![false; self.problem.partitions.len()];
        for &partition in self.lists.iter().flatten() {
            if let Some(slot) = taken.get_mut(partition) {
                *slot = true;
            }
        }
        taken.iter().enumerate().filter(|(_, taken)| !**taken).map(|(at, _)| at).collect()
    }

    /// Gives partitions to members in racks of their replicas; returns those left.
    fn assign_near(&mut self, unassigned: Vec<usize>) -> Vec<usize> {
        let mut next = 0;
        let mut left = Vec::new();
        for partition in unassigned {
            let member = if let Some(at) = self.racks.next_member(partition, &self.below_min, next) {
                let member = self.below_min.get(at).copied().unwrap_or_default();
                let count = self.count(member) + 1;
                let mut following = at;
                if count >= self.min_quota {
                    self.below_min.remove(at);
                    if count < self.max_quota && self.over_min < self.over_min_expected {
                        self.at_min.push_back(member);
                    }
                } else {
                    following += 1;
                }
                next = following.checked_rem(self.below_min.len()).unwrap_or(0);
                Some(member)
            } else {
                self.near_member_at_min(partition)
            };
            match member {
                Some(member) => {
                    self.give(partition, member);
                }
                None => left.push(partition),
            }
        }
        left
    }

    fn near_member_at_min(&mut self, partition: usize) -> Option<usize> {
        let at = self.racks.next_member(partition, self.at_min.make_contiguous(), 0)?;
        let member = self.at_min.get(at).copied()?;
        if self.count(member) + 1 == self.max_quota {
            self.at_min.remove(at);
            self.over_min += 1;
            if self.over_min == self.over_min_expected {
                self.at_min.clear();
            }
        }
        Some(member)
    }

    /// Deals partitions in turn to the members below the minimum, then one each to those at it.
    fn deal(&mut self, unassigned: &[usize]) {
        let mut turn = 0;
        for &partition in unassigned {
            let below = if turn < self.below_min.len() {
                Some(turn)
            } else if self.below_min.is_empty() {
                None
            } else {
                Some(0)
            };
            let member = match below {
                Some(at) => {
                    turn = at + 1;
                    self.below_min.get(at).copied()
                }
                None => self.at_min.pop_front(),
            };
            // The quotas add up to the number of partitions, so there is a member left.
            let Some(member) = member else { break };
            let count = self.give(partition, member);
            if count == self.min_quota {
                if let Some(at) = below {
                    self.below_min.remove(at);
                    turn = at;
                }
                self.at_min.push_back(member);
            } else if count == self.max_quota {
                self.over_min += 1;
            }
        }
    }

    fn count(&self, member: usize) -> usize {
        self.lists.get(member).map_or(0, Vec::len)
    }

    fn give(&mut self, partition: usize, member: usize) -> usize {
        let moved = self.maybe_revoked.get(&partition).is_some_and(|&owner| owner != member);
        if moved || self.problem.multiple_owners.contains(&partition) {
            self.transferring.insert(partition, member);
        }
        let Some(list) = self.lists.get_mut(member) else { return 0 };
        list.push(partition);
        list.len()
    }
}
