//! The assignor of tasks: `sticky`, Kafka's `StickyTaskAssignor` of its group coordinator.
//!
//! Active tasks stay with who has them as long as that is not more than its share, else go to who has them as standbys,
//! else to the process with the least load; standbys likewise. Its results are those of Kafka: who comes first among
//! equals follows from the order of Java's hash maps and heaps.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use vltava_protocol::java::{self, PriorityQueue};

use super::tasks::{TaskSet, Tasks};

/// A group as the assignor sees it.
#[derive(Debug, Default)]
pub(super) struct GroupSpec<'a> {
    pub(super) members: BTreeMap<Arc<str>, MemberSpec<'a>>,
    pub(super) subtopologies: BTreeMap<&'a str, SubtopologySpec>,
    pub(super) standby_replicas: usize,
}

/// A member as the assignor sees it.
#[derive(Debug)]
pub(super) struct MemberSpec<'a> {
    pub(super) process_id: &'a str,
    /// Its target so far.
    pub(super) target: Option<&'a Tasks>,
}

/// A subtopology as the assignor sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct SubtopologySpec {
    pub(super) tasks: i32,
    /// Whether it has changelogs, and so standbys.
    pub(super) is_stateful: bool,
}

impl GroupSpec<'_> {
    /// How many of the standbys that are wanted a target does not have, since there are too few processes for them.
    pub(super) fn standbys_without_process(&self, target: &BTreeMap<Arc<str>, Tasks>) -> usize {
        let wanted = tasks(self, |subtopology| subtopology.is_stateful).len() * self.standby_replicas;
        let given: usize = target.values().flat_map(|tasks| tasks.standby.values()).map(BTreeSet::len).sum();
        wanted.saturating_sub(given)
    }
}

type Task<'a> = (&'a str, i32);

/// Computes a target for every member.
pub(super) fn sticky(spec: &GroupSpec<'_>) -> BTreeMap<Arc<str>, Tasks> {
    let mut assignment = Assignment::new(spec);
    assignment.assign_active(tasks(spec, |_| true));
    if spec.standby_replicas > 0 {
        assignment.assign_standby(tasks(spec, |subtopology| subtopology.is_stateful));
    }
    let target = |id: &Arc<str>| assignment.members.get(&**id).map_or_else(Tasks::default, Member::target);
    spec.members.keys().map(|id| (id.clone(), target(id))).collect()
}

fn tasks<'a>(spec: &GroupSpec<'a>, are_wanted: impl Fn(&SubtopologySpec) -> bool) -> Vec<Task<'a>> {
    let wanted = spec.subtopologies.iter().filter(|(_, subtopology)| are_wanted(subtopology));
    wanted.flat_map(|(id, subtopology)| (0..subtopology.tasks).map(move |partition| (*id, partition))).collect()
}

/// How many tasks a member may have, while there are members that have fewer.
#[derive(Debug)]
struct Quota {
    tasks: usize,
    members: usize,
    per_member: usize,
}

impl Quota {
    fn new(tasks: usize, members: usize) -> Self {
        Self { tasks, members, per_member: if members == 0 { 0 } else { tasks.div_ceil(members) } }
    }

    /// Notes that a member has so many tasks now: if those are all that it may have, the others share the rest.
    fn reached(&mut self, tasks: usize) {
        if tasks == self.per_member {
            *self = Self::new(self.tasks.saturating_sub(tasks), self.members.saturating_sub(1));
        }
    }
}

#[derive(Debug)]
struct Member<'a> {
    process_id: &'a str,
    count: usize,
    active: BTreeSet<Task<'a>>,
    standby: BTreeSet<Task<'a>>,
}

impl Member<'_> {
    fn target(&self) -> Tasks {
        let set = |tasks: &BTreeSet<Task<'_>>| {
            let mut set = TaskSet::new();
            for (subtopology, partition) in tasks {
                set.entry((*subtopology).to_owned()).or_default().insert(*partition);
            }
            set
        };
        Tasks { active: set(&self.active), standby: set(&self.standby), warmup: TaskSet::new() }
    }
}

#[derive(Debug, Default)]
struct Process<'a> {
    /// In the order of Java's map of them.
    members: Vec<&'a str>,
    tasks: BTreeSet<Task<'a>>,
    count: usize,
    /// Kept as long as nobody is given a task for another reason than that it has the fewest.
    by_load: Option<PriorityQueue<MemberLoad<'a>>>,
}

impl Process<'_> {
    #[expect(clippy::cast_precision_loss, reason = "as in Kafka; there are not that many")]
    fn load(&self) -> f64 {
        self.count as f64 / self.members.len() as f64
    }
}

/// A member in the heap of its process: only the number of tasks counts.
#[derive(Debug)]
struct MemberLoad<'a> {
    count: usize,
    id: &'a str,
}

/// A process in the heap of all: only the load counts.
#[derive(Debug)]
struct ProcessLoad<'a> {
    load: f64,
    id: &'a str,
}

/// Ordered by one field alone, as Java's comparators are.
macro_rules! ordered_by {
    ($type:ident, $field:ident, $compare:ident) => {
        impl Ord for $type<'_> {
            fn cmp(&self, other: &Self) -> Ordering {
                self.$field.$compare(&other.$field)
            }
        }
        impl PartialOrd for $type<'_> {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }
        impl PartialEq for $type<'_> {
            fn eq(&self, other: &Self) -> bool {
                self.cmp(other) == Ordering::Equal
            }
        }
        impl Eq for $type<'_> {}
    };
}
ordered_by!(MemberLoad, count, cmp);
ordered_by!(ProcessLoad, load, total_cmp);

struct Assignment<'a> {
    members: BTreeMap<&'a str, Member<'a>>,
    processes: BTreeMap<&'a str, Process<'a>>,
    /// Processes in the order of Java's map of them.
    process_order: Vec<&'a str>,
    was_active: BTreeMap<Task<'a>, &'a str>,
    was_standby: BTreeMap<Task<'a>, Vec<&'a str>>,
    standby_replicas: usize,
    active_quota: Quota,
    total_quota: Quota,
}

impl<'a> Assignment<'a> {
    fn new(spec: &'a GroupSpec<'a>) -> Self {
        let count = |subtopology: &SubtopologySpec| usize::try_from(subtopology.tasks).unwrap_or(0);
        let active: usize = spec.subtopologies.values().map(count).sum();
        let stateful: usize = spec.subtopologies.values().filter(|it| it.is_stateful).map(count).sum();
        let members = spec.members.len();
        let mut assignment = Self {
            members: BTreeMap::new(),
            processes: BTreeMap::new(),
            process_order: Vec::new(),
            was_active: BTreeMap::new(),
            was_standby: BTreeMap::new(),
            standby_replicas: spec.standby_replicas,
            active_quota: Quota::new(active, members),
            total_quota: Quota::new(active.saturating_add(stateful.saturating_mul(spec.standby_replicas)), members),
        };
        let ids: Vec<&str> = spec.members.keys().map(|id| &**id).collect();
        for id in java::hash_order(ids, java::grown(members)) {
            if let Some(member) = spec.members.get(id) {
                assignment.add_member(id, member);
            }
        }
        let processes = assignment.process_order.len();
        assignment.process_order =
            java::hash_order(std::mem::take(&mut assignment.process_order), java::made_for(members, processes));
        for process in assignment.processes.values_mut() {
            let members = std::mem::take(&mut process.members);
            let table = java::grown(members.len());
            process.members = java::hash_order(members, table);
        }
        assignment
    }

    fn add_member(&mut self, id: &'a str, spec: &MemberSpec<'a>) {
        let process_id = spec.process_id;
        self.members.insert(id, Member { process_id, count: 0, active: BTreeSet::new(), standby: BTreeSet::new() });
        if !self.processes.contains_key(process_id) {
            self.process_order.push(process_id);
        }
        self.processes.entry(process_id).or_default().members.push(id);
        let Some(target) = spec.target else { return };
        for (subtopology, partitions) in &target.active {
            self.was_active.extend(partitions.iter().map(|partition| ((subtopology.as_str(), *partition), id)));
        }
        for (subtopology, partitions) in &target.standby {
            for partition in partitions {
                self.was_standby.entry((subtopology, *partition)).or_default().push(id);
            }
        }
    }

    fn count(&self, member: &str) -> usize {
        self.members.get(member).map_or(0, |member| member.count)
    }

    fn process_of(&self, member: &str) -> Option<&Process<'a>> {
        self.processes.get(self.members.get(member)?.process_id)
    }

    fn process_has(&self, member: &str, task: Task<'_>) -> bool {
        self.process_of(member).is_some_and(|process| process.tasks.contains(&task))
    }

    /// Gives a task to a member; returns how many it has then.
    fn give(&mut self, id: &'a str, task: Task<'a>, is_active: bool) -> usize {
        let Some(member) = self.members.get_mut(id) else { return 0 };
        member.count += 1;
        let place = if is_active { &mut member.active } else { &mut member.standby };
        place.insert(task);
        if let Some(process) = self.processes.get_mut(member.process_id) {
            process.count += 1;
            process.tasks.insert(task);
        }
        member.count
    }

    /// Gives a task to a member for what it has had.
    fn give_back(&mut self, id: &'a str, task: Task<'a>, is_active: bool) {
        let count = self.give(id, task, is_active);
        if let Some(process) = self.members.get(id).and_then(|member| self.processes.get_mut(member.process_id)) {
            process.by_load = None;
        }
        if is_active {
            self.active_quota.reached(count);
        }
        self.total_quota.reached(count);
    }

    /// Gives a task to the member of a process that has the fewest.
    fn give_to_idlest(&mut self, process_id: &'a str, task: Task<'a>, is_active: bool) {
        let Some(process) = self.processes.get_mut(process_id) else { return };
        let mut queue = process.by_load.take().unwrap_or_else(|| {
            let mut queue = PriorityQueue::new();
            for id in &process.members {
                queue.push(MemberLoad { count: self.members.get(id).map_or(0, |member| member.count), id });
            }
            queue
        });
        let Some(MemberLoad { id, .. }) = queue.pop() else { return };
        let count = self.give(id, task, is_active);
        queue.push(MemberLoad { count, id });
        if let Some(process) = self.processes.get_mut(process_id) {
            process.by_load = Some(queue);
        }
        if is_active {
            self.active_quota.reached(count);
        }
        self.total_quota.reached(count);
    }

    fn by_load(&self) -> PriorityQueue<ProcessLoad<'a>> {
        let mut queue = PriorityQueue::new();
        for id in &self.process_order {
            queue.push(self.load_of(id));
        }
        queue
    }

    fn load_of(&self, id: &'a str) -> ProcessLoad<'a> {
        ProcessLoad { load: self.processes.get(id).map_or(0.0, Process::load), id }
    }

    fn assign_active(&mut self, mut tasks: Vec<Task<'a>>) {
        tasks.sort_by_key(|(subtopology, partition)| (*partition, *subtopology));
        tasks.retain(|task| {
            let had = self.was_active.get(task).copied();
            !self.give_back_active(had, *task)
        });
        tasks.retain(|task| {
            let had = self.was_standby.get(task).and_then(|members| self.least_loaded(members, None));
            !self.give_back_active(had, *task)
        });
        tasks.sort_unstable();
        let mut queue = self.by_load();
        for task in tasks {
            let Some(process) = queue.pop() else { return };
            self.give_to_idlest(process.id, task, true);
            queue.push(self.load_of(process.id));
        }
    }

    /// Gives a task to who has had it, within the quota; returns whether that is done.
    fn give_back_active(&mut self, had: Option<&'a str>, task: Task<'a>) -> bool {
        let Some(id) = had.filter(|id| self.count(id) < self.active_quota.per_member) else { return false };
        self.give_back(id, task, true);
        true
    }

    /// Returns the member with the least load of those that have had a task; with `task`, of those whose process has it
    /// not already.
    ///
    /// As Kafka: at the end the process of the first is asked whether it has the task, whoever was chosen.
    fn least_loaded(&self, members: &[&'a str], task: Option<Task<'a>>) -> Option<&'a str> {
        let (first, others) = members.split_first()?;
        let load = |id: &str| self.process_of(id).map_or(0.0, Process::load);
        let has = |id: &str| task.is_some_and(|task| self.process_has(id, task));
        let mut chosen = *first;
        for id in others {
            if load(id) < load(chosen) && !has(id) && self.count(id) < self.count(chosen) {
                chosen = id;
            }
        }
        if has(first) { None } else { Some(chosen) }
    }

    fn assign_standby(&mut self, mut tasks: Vec<Task<'a>>) {
        tasks.sort_by_key(|(subtopology, partition)| (*partition, *subtopology));
        tasks.reverse();
        let mut rest: Vec<(Task<'a>, usize)> = Vec::new();
        for task in tasks {
            let kept = (0..self.standby_replicas).take_while(|_| self.give_back_standby(task)).count();
            if kept < self.standby_replicas {
                rest.push((task, self.standby_replicas - kept));
            }
        }
        rest.sort_unstable();
        rest.reverse();
        let mut queue = self.by_load();
        for (task, replicas) in rest {
            for _ in 0..replicas {
                if !self.give_standby(&mut queue, task) {
                    break;
                }
            }
        }
    }

    /// Gives a standby to who has had the task active, else to who has had it as a standby, within the quota; returns
    /// whether that is done.
    fn give_back_standby(&mut self, task: Task<'a>) -> bool {
        let has_room = |this: &Self, id: &&str| this.count(id) < this.total_quota.per_member;
        let was_active = self.was_active.get(&task).copied();
        let chosen = was_active.filter(|id| !self.process_has(id, task) && has_room(self, id)).or_else(|| {
            let members = self.was_standby.get(&task)?;
            self.least_loaded(members, Some(task)).filter(|id| has_room(self, id))
        });
        let Some(id) = chosen else { return false };
        self.give_back(id, task, false);
        true
    }

    /// Gives a standby to the process with the least load that does not have the task; returns whether there is one.
    fn give_standby(&mut self, queue: &mut PriorityQueue<ProcessLoad<'a>>, task: Task<'a>) -> bool {
        let mut passed = Vec::new();
        let mut is_found = false;
        while let Some(process) = queue.pop() {
            let has = self.processes.get(process.id).is_some_and(|process| process.tasks.contains(&task));
            if !has {
                self.give_to_idlest(process.id, task, false);
                is_found = true;
            }
            passed.push(process.id);
            if is_found {
                break;
            }
        }
        // Back in the reverse order, as Kafka's recursion unwinds.
        for id in passed.into_iter().rev() {
            queue.push(self.load_of(id));
        }
        is_found
    }
}
