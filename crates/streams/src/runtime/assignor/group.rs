//! What the leader of a group makes of what its members have said: pure.
//!
//! Members give partitions up before others get them (KIP-429): a task that somebody else still has is assigned to nobody,
//! and who is to have it asks for a rebalance at once, by which time it is given up.

use std::collections::{BTreeMap, BTreeSet};

use vltava_client::TopicPartition;
use vltava_protocol::invariant;

use super::{
    client_state::{ClientState, Clients, Role, UNKNOWN_OFFSET_SUM},
    high_availability::{self, AssignmentConfig},
    messages::{AssignmentInfo, LATEST, SubscriptionInfo},
    prior,
    process_id::ProcessId,
    threads::{self, ThreadTasks},
};
use crate::{query::HostInfo, task::TaskId};

/// A member of the group.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) id: String,
    /// The partitions that it has not given up.
    pub(super) owned: Vec<TopicPartition>,
    pub(super) info: SubscriptionInfo,
}

/// What there is to assign.
#[derive(Clone, Debug, Default)]
pub(super) struct Tasks {
    pub(super) partitions: BTreeMap<TaskId, BTreeSet<TopicPartition>>,
    /// Those that have changelogs.
    pub(super) stateful: BTreeSet<TaskId>,
    /// Where their changelogs end, all of a task's together; `None` if that is not known.
    pub(super) ends: Option<BTreeMap<TaskId, i64>>,
}

/// What a member gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MemberAssignment {
    pub(super) partitions: Vec<TopicPartition>,
    pub(super) info: AssignmentInfo,
}

/// The versions that all can work with: the oldest that one uses, and the newest that all know.
pub(super) fn versions(members: &[Member]) -> (i32, i32) {
    let used = members.iter().map(|member| member.info.version).fold(LATEST, i32::min);
    let supported = members.iter().map(|member| member.info.latest_supported).fold(LATEST, i32::min);
    (used, supported)
}

struct Leader<'a> {
    tasks: &'a Tasks,
    clients: Clients,
    owned: BTreeSet<&'a TopicPartition>,
    versions: (i32, i32),
    hosts: BTreeMap<ProcessId, HostInfo>,
}

/// Assigns all tasks, in the name of the instance `leader`.
pub(super) fn assign(
    members: &[Member],
    tasks: &Tasks,
    config: AssignmentConfig,
    leader: ProcessId,
    now_ms: i64,
) -> BTreeMap<String, MemberAssignment> {
    let (mut clients, mut arrival) = (Clients::new(), Vec::new());
    let (mut hosts, mut owned) = (BTreeMap::new(), BTreeSet::new());
    for Member { id, owned: partitions, info } in members {
        let process = ProcessId(info.process);
        if !clients.contains_key(&process) {
            arrival.push(process);
        }
        for partition in partitions {
            if !owned.insert(partition) {
                tracing::warn!(%partition, "two members of the group have the same partition");
            }
        }
        clients.entry(process).or_insert_with(ClientState::default).add_consumer(
            id,
            partitions.iter().cloned(),
            &info.offset_sums,
        );
        if let Some(host) = info.endpoint.as_deref().and_then(|endpoint| endpoint.parse().ok()) {
            hosts.entry(process).or_insert(host);
        }
    }
    let of_task = |(task, partitions): (&TaskId, &BTreeSet<TopicPartition>)| {
        let task = *task;
        partitions.iter().map(move |partition| (partition.clone(), task)).collect::<Vec<_>>()
    };
    let task_of: BTreeMap<TopicPartition, TaskId> = tasks.partitions.iter().flat_map(of_task).collect();
    let unknown = || tasks.stateful.iter().map(|task| (*task, UNKNOWN_OFFSET_SUM)).collect();
    let ends = tasks.ends.clone().unwrap_or_else(unknown);
    clients.values_mut().for_each(|state| state.prepare(&task_of, &ends));
    let all: BTreeSet<TaskId> = tasks.partitions.keys().copied().collect();
    let probing = if tasks.ends.is_some() {
        high_availability::assign(&mut clients, &all, &tasks.stateful, config)
    } else {
        prior::assign(&mut clients, &arrival, &all, &tasks.stateful, config.num_standby_replicas);
        true
    };
    let versions = versions(members);
    let group = Leader { tasks, clients, owned, versions, hosts };
    group.told(probing.then_some((leader, now_ms + config.probing_rebalance_interval_ms)))
}

impl Leader<'_> {
    /// `probe`: one member of this instance is to ask for a rebalance at this time.
    fn told(&self, probe: Option<(ProcessId, i64)>) -> BTreeMap<String, MemberAssignment> {
        let hosts = self.by_host(Role::Active);
        let standby_hosts = self.by_host(Role::Standby);
        let mut assignments = BTreeMap::new();
        for (process, state) in &self.clients {
            let mut probe = probe.filter(|(leader, _)| leader == process).map(|(_, at)| at);
            for (member, tasks) in threads::divide(state) {
                let mut assignment = self.of_member(&member, state, &tasks);
                if assignment.info.next_rebalance_ms == 0 {
                    probe = None;
                } else if let Some(at) = probe.take() {
                    assignment.info.next_rebalance_ms = at;
                }
                assignment.info.hosts.clone_from(&hosts);
                assignment.info.standby_hosts.clone_from(&standby_hosts);
                assignments.insert(member, assignment);
            }
        }
        assignments
    }

    fn of_member(&self, member: &str, state: &ClientState, tasks: &ThreadTasks) -> MemberAssignment {
        let mut info = AssignmentInfo::new(self.versions.0, self.versions.1);
        let mut active: Vec<(&TopicPartition, TaskId)> = Vec::new();
        for task in &tasks.standby {
            info.standby.insert(*task, self.partitions(*task).clone());
        }
        for task in &tasks.active {
            let partitions = self.partitions(*task);
            let is_free = |partition| state.owner_of(partition) == Some(member) || !self.owned.contains(partition);
            if partitions.iter().all(is_free) {
                active.extend(partitions.iter().map(|partition| (partition, *task)));
                continue;
            }
            tracing::info!(%task, member, "assigned in the next rebalance, when its owner has given it up");
            info.next_rebalance_ms = 0;
            // What it has of it is not closed in between.
            if self.tasks.stateful.contains(task) && state.previous_standby.contains(task) {
                info.standby.insert(*task, partitions.clone());
            }
        }
        active.sort_unstable();
        info.active = active.iter().map(|(_, task)| *task).collect();
        MemberAssignment { partitions: active.into_iter().map(|(partition, _)| partition.clone()).collect(), info }
    }

    fn partitions(&self, task: TaskId) -> &BTreeSet<TopicPartition> {
        static NONE: BTreeSet<TopicPartition> = BTreeSet::new();
        let partitions = self.tasks.partitions.get(&task);
        invariant!(partitions.is_some(), "an assigned task {task} has partitions");
        partitions.unwrap_or(&NONE)
    }

    fn by_host(&self, role: Role) -> BTreeMap<HostInfo, BTreeSet<TopicPartition>> {
        let of = |(process, host): (&ProcessId, &HostInfo)| {
            let tasks = self.clients.get(process).map(|state| state.tasks(role)).into_iter().flatten();
            (host.clone(), tasks.flat_map(|task| self.partitions(*task)).cloned().collect())
        };
        self.hosts.iter().map(of).collect()
    }
}

#[cfg(test)]
mod tests;
