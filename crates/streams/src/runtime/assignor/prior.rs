//! Who runs which task where nobody knows how far stores are: the JVM's `FallbackPriorTaskAssignor`.
//!
//! Tasks stay where they were, the others go where they were a standby, else to those who have least; a rebalance is due
//! soon, for ends of changelogs may be known by then.

use std::collections::{BTreeMap, BTreeSet};

use vltava_protocol::java::{copied, grown, sort_by_bucket};

use super::{
    client_state::{ClientState, Clients, Role, hash_order, java_hash},
    process_id::ProcessId,
};
use crate::task::TaskId;

struct Prior<'a> {
    clients: &'a mut Clients,
    /// In the order of the JVM's hash table.
    order: Vec<ProcessId>,
    was_active: BTreeMap<TaskId, ProcessId>,
    was_standby: BTreeMap<TaskId, BTreeSet<ProcessId>>,
    /// Tasks that are together somewhere, the lesser first.
    pairs: BTreeSet<(TaskId, TaskId)>,
    max_pairs: usize,
}

/// Deals `all` tasks out, of which `stateful` have changelogs. `arrival`: the clients in the order in which they came.
pub(super) fn assign(
    clients: &mut Clients,
    arrival: &[ProcessId],
    all: &BTreeSet<TaskId>,
    stateful: &BTreeSet<TaskId>,
    standbys: usize,
) {
    let mut order = arrival.to_vec();
    sort_by_bucket(&mut order, grown(arrival.len()), |id| id.java_hash());
    let mut prior = Prior {
        clients,
        order,
        was_active: BTreeMap::new(),
        was_standby: BTreeMap::new(),
        pairs: BTreeSet::new(),
        max_pairs: all.len() * all.len().saturating_sub(1) / 2,
    };
    prior.look_back();
    prior.assign_active(all);
    for task in stateful {
        for _ in 0..standbys {
            let free: Vec<ProcessId> =
                prior.order.iter().filter(|id| prior.state(**id).is_some_and(|s| !s.has(*task))).copied().collect();
            if free.is_empty() {
                break;
            }
            prior.place(*task, &free, Role::Standby);
        }
    }
}

fn pair(one: TaskId, other: TaskId) -> (TaskId, TaskId) {
    if one < other { (one, other) } else { (other, one) }
}

impl Prior<'_> {
    fn state(&self, id: ProcessId) -> Option<&ClientState> {
        self.clients.get(&id)
    }

    fn look_back(&mut self) {
        for id in &self.order {
            let Some(state) = self.clients.get(id) else { continue };
            self.was_active.extend(state.previous_active.iter().map(|task| (*task, *id)));
            for task in &state.previous_standby {
                self.was_standby.entry(*task).or_default().insert(*id);
            }
        }
    }

    fn assign_active(&mut self, all: &BTreeSet<TaskId>) {
        let capacity: usize = self.clients.values().map(ClientState::capacity).sum();
        let per_thread = all.len() / capacity.max(1);
        let mut left = all.clone();
        for task in hash_order(self.was_active.keys().copied()) {
            let Some(client) = self.was_active.get(&task).copied().filter(|_| left.remove(&task)) else { continue };
            self.give(task, client, Role::Active);
        }
        let mut rest: Vec<TaskId> = all.iter().copied().collect();
        sort_by_bucket(&mut rest, copied(all.len()), java_hash);
        for task in rest {
            if !left.contains(&task) {
                continue;
            }
            let mut was: Vec<ProcessId> = self.was_standby.get(&task).into_iter().flatten().copied().collect();
            self.sort(&mut was);
            let has_room = |state: &ClientState| state.tasks(Role::Active).len() < state.capacity() * per_thread;
            let Some(client) = was.into_iter().find(|id| self.state(*id).is_some_and(has_room)) else { continue };
            left.remove(&task);
            self.give(task, client, Role::Active);
        }
        let order = self.order.clone();
        for task in left {
            self.place(task, &order, Role::Active);
        }
    }

    /// As a hash set of them has them.
    fn sort(&self, ids: &mut [ProcessId]) {
        ids.sort_by_key(|id| self.order.iter().position(|other| other == id));
    }

    fn give(&mut self, task: TaskId, client: ProcessId, role: Role) {
        let Some(state) = self.clients.get_mut(&client) else { return };
        self.pairs.extend(state.assigned().map(|other| pair(task, *other)));
        state.assign(role, task);
    }

    fn place(&mut self, task: TaskId, among: &[ProcessId], role: Role) {
        if let Some(client) = self.find(task, among) {
            self.give(task, client, role);
        }
    }

    fn find(&self, task: TaskId, among: &[ProcessId]) -> Option<ProcessId> {
        if let [only] = among {
            return Some(*only);
        }
        let was_active = self.was_active.get(&task).filter(|id| among.contains(id)).copied();
        let Some(previous) = was_active.or_else(|| self.former_standby(task, among)) else {
            return self.least_loaded(task, among);
        };
        if !self.is_overloaded(previous) {
            return Some(previous);
        }
        let standby = self.former_standby(task, among).filter(|id| !self.is_overloaded(*id));
        standby.or_else(|| self.least_loaded(task, among))
    }

    fn former_standby(&self, task: TaskId, among: &[ProcessId]) -> Option<ProcessId> {
        let mut ids: Vec<ProcessId> =
            self.was_standby.get(&task)?.iter().filter(|id| among.contains(id)).copied().collect();
        self.sort(&mut ids);
        self.least_loaded(task, &ids)
    }

    fn is_overloaded(&self, id: ProcessId) -> bool {
        let Some(state) = self.state(id) else { return false };
        state.assigned_count() >= state.capacity() && self.clients.values().any(|other| has_more_room(other, state))
    }

    fn least_loaded(&self, task: TaskId, among: &[ProcessId]) -> Option<ProcessId> {
        self.least_loaded_of(task, among, true).or_else(|| self.least_loaded_of(task, among, false))
    }

    fn least_loaded_of(&self, task: TaskId, among: &[ProcessId], new_pairs: bool) -> Option<ProcessId> {
        let mut least: Option<(ProcessId, &ClientState)> = None;
        for id in among {
            let Some(state) = self.state(*id) else { continue };
            if state.assigned_count() == 0 {
                return Some(*id);
            }
            if least.is_none_or(|(_, least)| has_more_room(state, least))
                && (!new_pairs || self.has_new_pair(task, state))
            {
                least = Some((*id, state));
            }
        }
        least.map(|(id, _)| id)
    }

    fn has_new_pair(&self, task: TaskId, state: &ClientState) -> bool {
        self.pairs.len() != self.max_pairs && state.assigned().any(|other| !self.pairs.contains(&pair(task, *other)))
    }
}

fn has_more_room(one: &ClientState, other: &ClientState) -> bool {
    (one.load(), other.capacity()) < (other.load(), one.capacity())
}
