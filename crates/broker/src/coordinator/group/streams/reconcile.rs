//! A member's next step towards its target assignment.

use std::collections::{BTreeMap, BTreeSet};

use super::StreamsGroup;
use super::member::StreamsMember;
use super::tasks::{ActiveTasks, OwnedTasks, TaskSet, Tasks};
use crate::coordinator::group::modern::MemberState;

/// What a member shall have, and since which epoch of the group.
pub(super) struct Target<'a> {
    pub(super) epoch: i32,
    pub(super) tasks: &'a Tasks,
}

impl StreamsGroup {
    /// Returns the member as it is after the next step; `held` is what it says that it has.
    ///
    /// An active task is given only when no process has it, in any role only when the member's own process does not have
    /// it in another; and the member's epoch moves on only when it holds nothing any more that it has to give up.
    pub(super) fn reconcile(&self, member: &StreamsMember, target: &Target<'_>, held: Option<&Tasks>) -> StreamsMember {
        let step = Step { holders: Holders::of(self, &member.wants.process_id), member, target, held };
        match member.state {
            MemberState::Stable if member.epoch == target.epoch => member.clone(),
            MemberState::Stable | MemberState::Unreleased => step.towards_target(member.epoch),
            MemberState::Unrevoked if step.may_hold(&member.pending_revocation) => member.clone(),
            MemberState::Unrevoked => step.towards_target(member.epoch.saturating_add(1)),
            MemberState::Unknown => step.towards_target(target.epoch),
        }
    }
}

/// Who has a task, or still has to give it up.
struct Holders<'a> {
    /// Active, in any process.
    active: BTreeSet<(&'a str, i32)>,
    /// In any role in the member's own process.
    in_process: BTreeSet<(&'a str, i32)>,
}

impl<'a> Holders<'a> {
    fn of(group: &'a StreamsGroup, process_id: &str) -> Self {
        let mut holders = Self { active: BTreeSet::new(), in_process: BTreeSet::new() };
        for member in group.members.values() {
            for owned in [&member.assigned, &member.pending_revocation] {
                let active = owned.active.iter().flat_map(|(subtopology, partitions)| {
                    partitions.keys().map(move |partition| (subtopology.as_str(), *partition))
                });
                holders.active.extend(active.clone());
                if member.wants.process_id == process_id {
                    let passive = owned.standby.iter().chain(&owned.warmup).flat_map(|(subtopology, partitions)| {
                        partitions.iter().map(move |partition| (subtopology.as_str(), *partition))
                    });
                    holders.in_process.extend(active.chain(passive));
                }
            }
        }
        holders
    }
}

struct Step<'a> {
    holders: Holders<'a>,
    member: &'a StreamsMember,
    target: &'a Target<'a>,
    held: Option<&'a Tasks>,
}

/// How the tasks of one role change.
#[derive(Default)]
struct Difference<T> {
    kept: T,
    revoked: T,
    given: T,
    /// Whether some wait until another gives them up.
    waits: bool,
}

impl Step<'_> {
    /// Returns whether the member may hold any of these: who says nothing may hold them.
    fn may_hold(&self, tasks: &OwnedTasks) -> bool {
        self.held.is_none_or(|held| held.holds_any(tasks))
    }

    /// Keeps what is in the target, gives up the rest, and takes what is free.
    fn towards_target(&self, epoch_while_revoking: i32) -> StreamsMember {
        let target = self.target.tasks;
        let active = self.active();
        let standby = self.passive(&self.member.assigned.standby, &target.standby);
        let warmup = self.passive(&self.member.assigned.warmup, &target.warmup);
        let mut member = self.member.clone();
        let revoked = OwnedTasks { active: active.revoked, standby: standby.revoked, warmup: warmup.revoked };
        member.assigned = OwnedTasks { active: active.kept, standby: standby.kept, warmup: warmup.kept };
        if !revoked.is_empty() && self.may_hold(&revoked) {
            member.state = MemberState::Unrevoked;
            member.advance_to(epoch_while_revoking);
            member.pending_revocation = revoked;
            return member;
        }
        for (subtopology, partitions) in active.given {
            member.assigned.active.entry(subtopology).or_default().extend(partitions);
        }
        for (place, given) in
            [(&mut member.assigned.standby, standby.given), (&mut member.assigned.warmup, warmup.given)]
        {
            for (subtopology, partitions) in given {
                place.entry(subtopology).or_default().extend(partitions);
            }
        }
        let waits = active.waits || standby.waits || warmup.waits;
        member.state = if waits { MemberState::Unreleased } else { MemberState::Stable };
        member.advance_to(self.target.epoch);
        member.pending_revocation = OwnedTasks::default();
        member
    }

    fn active(&self) -> Difference<ActiveTasks> {
        let mut difference = Difference::<ActiveTasks>::default();
        let target = &self.target.tasks.active;
        let is_wanted = |subtopology: &str, partition: &i32| {
            target.get(subtopology).is_some_and(|partitions| partitions.contains(partition))
        };
        for (subtopology, partitions) in &self.member.assigned.active {
            for (partition, since) in partitions {
                let place =
                    if is_wanted(subtopology, partition) { &mut difference.kept } else { &mut difference.revoked };
                place.entry(subtopology.clone()).or_default().insert(*partition, *since);
            }
        }
        let has = &self.member.assigned;
        for (subtopology, partition) in each(target) {
            if has.active_since(subtopology, partition).is_some() {
                continue;
            }
            let task = (subtopology, partition);
            if self.holders.active.contains(&task) || self.holders.in_process.contains(&task) {
                difference.waits = true;
            } else {
                let given: &mut BTreeMap<i32, i32> = difference.given.entry(subtopology.to_owned()).or_default();
                given.insert(partition, self.target.epoch);
            }
        }
        difference
    }

    fn passive(&self, has: &TaskSet, target: &TaskSet) -> Difference<TaskSet> {
        let mut difference = Difference::<TaskSet>::default();
        let is_in = |tasks: &TaskSet, subtopology: &str, partition: i32| {
            tasks.get(subtopology).is_some_and(|partitions| partitions.contains(&partition))
        };
        for (subtopology, partition) in each(has) {
            let stays = is_in(target, subtopology, partition);
            let place = if stays { &mut difference.kept } else { &mut difference.revoked };
            place.entry(subtopology.to_owned()).or_default().insert(partition);
        }
        for (subtopology, partition) in each(target) {
            if is_in(has, subtopology, partition) {
                continue;
            }
            if self.holders.in_process.contains(&(subtopology, partition)) {
                difference.waits = true;
            } else {
                difference.given.entry(subtopology.to_owned()).or_default().insert(partition);
            }
        }
        difference
    }
}

fn each(tasks: &TaskSet) -> impl Iterator<Item = (&str, i32)> {
    tasks.iter().flat_map(|(subtopology, partitions)| {
        partitions.iter().map(move |partition| (subtopology.as_str(), *partition))
    })
}
