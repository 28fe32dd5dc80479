//! Where the standbys of tasks go: to other processes than the task's own, and than each other.
//!
//! A standby stays with the thread that has it, or had the task itself, else it goes where its stores are on disk, else to
//! the thread with the least. As in Kafka only tasks whose stores have changelogs have standbys.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::assignor::Preferences;
use crate::task::TaskId;

/// Places up to `replicas` standbys of each of the tasks beside those that are `active` by member. Pure, and the same for the
/// same input.
pub(super) fn place_standbys(
    replicas: usize,
    tasks: &BTreeSet<TaskId>,
    active: &BTreeMap<String, BTreeSet<TaskId>>,
    members: &BTreeMap<String, Preferences>,
) -> BTreeMap<String, BTreeSet<TaskId>> {
    let processes: BTreeSet<Uuid> = members.values().map(|preferences| preferences.process).collect();
    let replicas = replicas.min(processes.len().saturating_sub(1));
    let mut placing = Placing {
        members,
        active,
        most: (tasks.len() * replicas).div_ceil(members.len().max(1)),
        missing: tasks.iter().map(|task| (*task, replicas)).collect(),
        placed: members.keys().map(|member| (member.clone(), BTreeSet::new())).collect(),
        taken: BTreeSet::new(),
    };
    for (member, own) in active {
        let process = members.get(member).map(|preferences| preferences.process);
        placing.taken.extend(own.iter().filter_map(|task| Some((process?, *task))));
    }
    placing.by_wish(|preferences| preferences.standbys.union(&preferences.running).copied().collect());
    placing.by_wish(|preferences| preferences.on_disk.clone());
    placing.by_load();
    placing.placed
}

struct Placing<'a> {
    members: &'a BTreeMap<String, Preferences>,
    active: &'a BTreeMap<String, BTreeSet<TaskId>>,
    /// So many has a member at most as long as there are others.
    most: usize,
    /// How many standbys each task has still to get.
    missing: BTreeMap<TaskId, usize>,
    placed: BTreeMap<String, BTreeSet<TaskId>>,
    /// Which process has which task, active or as a standby.
    taken: BTreeSet<(Uuid, TaskId)>,
}

impl Placing<'_> {
    fn may_have(&self, member: &Preferences, task: TaskId) -> bool {
        self.missing.get(&task).is_some_and(|missing| *missing > 0) && !self.taken.contains(&(member.process, task))
    }

    fn place(&mut self, member: &str, process: Uuid, task: TaskId) {
        if let (Some(own), Some(missing)) = (self.placed.get_mut(member), self.missing.get_mut(&task)) {
            own.insert(task);
            *missing -= 1;
            self.taken.insert((process, task));
        }
    }

    fn load(&self, member: &str) -> usize {
        self.placed.get(member).map_or(0, BTreeSet::len)
    }

    fn by_wish(&mut self, wish: impl Fn(&Preferences) -> BTreeSet<TaskId>) {
        for (member, preferences) in self.members {
            for task in wish(preferences) {
                if self.load(member) < self.most && self.may_have(preferences, task) {
                    self.place(member, preferences.process, task);
                }
            }
        }
    }

    fn by_load(&mut self) {
        let tasks: Vec<TaskId> = self.missing.keys().copied().collect();
        for task in tasks {
            loop {
                let candidates = self.members.iter().filter(|(_, preferences)| self.may_have(preferences, task));
                let load = |(member, _): &(&String, &Preferences)| {
                    (self.load(member), self.active.get(*member).map_or(0, BTreeSet::len))
                };
                let Some((member, preferences)) = candidates.min_by_key(load) else { break };
                self.place(member, preferences.process, task);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::runtime::assignor::assign_tasks;

    fn task(subtopology: u32, partition: i32) -> TaskId {
        TaskId { subtopology, partition }
    }

    fn member(process: u128, running: &[TaskId], standbys: &[TaskId], on_disk: &[TaskId]) -> Preferences {
        let [running, standbys, on_disk] = [running, standbys, on_disk].map(|tasks| tasks.iter().copied().collect());
        Preferences { process: Uuid::from_u128(process), running, standbys, on_disk, host: None }
    }

    #[test]
    fn a_standby_stays_where_it_is_and_takes_over_what_its_active_task_leaves() {
        let all: Vec<TaskId> = (0..4).map(|partition| task(0, partition)).collect();
        let tasks: BTreeSet<_> = all.iter().copied().collect();
        let (one, other) = (&all[..2], &all[2..]);
        let mut members: BTreeMap<String, Preferences> =
            [("a".to_owned(), member(1, one, other, &all)), ("b".to_owned(), member(2, other, one, &all))].into();
        let active = assign_tasks(&tasks, &members);
        let standbys = place_standbys(1, &tasks, &active, &members);
        assert_eq!((&active["a"], &standbys["a"]), (&members["a"].running, &members["a"].standbys));
        assert_eq!((&active["b"], &standbys["b"]), (&members["b"].running, &members["b"].standbys));
        // The process of one of them ends, and another comes, who has nothing.
        members.remove("b");
        members.insert("c".to_owned(), member(3, &[], &[], &[]));
        let third = members.insert("d".to_owned(), member(4, &[], other, other));
        assert!(third.is_none());
        let active = assign_tasks(&tasks, &members);
        assert!(active["d"].iter().all(|task| other.contains(task)), "{active:?}");
        let standbys = place_standbys(1, &tasks, &active, &members);
        assert!(standbys["a"].iter().all(|task| !active["a"].contains(task)));
    }

    #[test]
    fn one_process_has_no_standbys_of_its_own_tasks() {
        let tasks: BTreeSet<_> = [task(0, 0), task(0, 1)].into();
        let members = [("a".to_owned(), member(1, &[], &[], &[])), ("b".to_owned(), member(1, &[], &[], &[]))].into();
        let active = assign_tasks(&tasks, &members);
        assert!(place_standbys(2, &tasks, &active, &members).values().all(BTreeSet::is_empty));
    }

    fn tasks() -> impl Strategy<Value = BTreeSet<TaskId>> {
        prop::collection::btree_set((0u32..3, 0i32..6).prop_map(|(s, p)| task(s, p)), 0..18)
    }

    proptest! {
        #[test]
        fn no_process_has_a_task_twice_and_each_has_as_many_standbys_as_there_are_places(
            all in tasks(),
            replicas in 0usize..4,
            wishes in prop::collection::vec((0u128..4, tasks(), tasks(), tasks()), 1..6),
        ) {
            let members: BTreeMap<_, _> = wishes
                .into_iter()
                .enumerate()
                .map(|(i, (process, running, standbys, on_disk))| {
                    let process = Uuid::from_u128(process);
                    (format!("m{i}"), Preferences { process, running, standbys, on_disk, host: None })
                })
                .collect();
            let active = assign_tasks(&all, &members);
            let placed = place_standbys(replicas, &all, &active, &members);
            let processes: BTreeSet<_> = members.values().map(|member| member.process).collect();
            let mut had = BTreeSet::new();
            for (member, own) in active.iter().chain(&placed) {
                for task in own {
                    prop_assert!(had.insert((members[member].process, *task)), "{} has {} twice", member, task);
                }
            }
            for task in &all {
                let count = placed.values().filter(|own| own.contains(task)).count();
                prop_assert_eq!(count, replicas.min(processes.len() - 1));
            }
        }
    }
}
