//! Tasks that cannot be where they were dealt to, as long as their stores are not there.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
};

use vltava_protocol::java::PriorityQueue;

use super::{
    client_state::{Clients, Role},
    high_availability::{assign_to, least_loaded},
    process_id::ProcessId,
};
use crate::task::TaskId;

/// A task that was dealt to somebody who is behind others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Movement {
    /// How many have caught up with it: the fewer, the sooner it has its turn.
    choices: usize,
    task: TaskId,
    /// Where it is to be in the end.
    destination: ProcessId,
}

/// Which of two of the same task comes first decides the heap, as in the JVM.
impl Ord for Movement {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.choices, self.task).cmp(&(other.choices, other.task))
    }
}

impl PartialOrd for Movement {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

pub(super) struct Movements<'a> {
    clients: &'a mut Clients,
    caught_up: &'a BTreeMap<TaskId, BTreeSet<ProcessId>>,
    by_lag: &'a BTreeMap<TaskId, Vec<ProcessId>>,
    warmups_left: i32,
    /// The standbys that are there to catch up.
    warmups: BTreeSet<(ProcessId, TaskId)>,
}

impl<'a> Movements<'a> {
    pub(super) fn new(
        clients: &'a mut Clients,
        caught_up: &'a BTreeMap<TaskId, BTreeSet<ProcessId>>,
        by_lag: &'a BTreeMap<TaskId, Vec<ProcessId>>,
        max_warmups: i32,
    ) -> Self {
        Movements { clients, caught_up, by_lag, warmups_left: max_warmups, warmups: BTreeSet::new() }
    }

    fn is_caught_up(&self, client: ProcessId, task: TaskId) -> bool {
        self.caught_up.get(&task).is_some_and(|clients| clients.contains(&client))
    }

    fn lag(&self, client: ProcessId, task: TaskId) -> i64 {
        self.clients.get(&client).map_or(i64::MAX, |state| state.lag(task))
    }

    /// Those that have a task in this role while others are further.
    fn needed(&self, role: Role) -> PriorityQueue<Movement> {
        let mut movements = PriorityQueue::new();
        for (destination, state) in &*self.clients {
            for task in state.tasks(role) {
                let first = self.by_lag.get(task).and_then(|clients| clients.first());
                let others_are_further =
                    || first.is_some_and(|first| self.lag(*first, *task) < self.lag(*destination, *task));
                let is_warmup = role == Role::Standby && self.warmups.contains(&(*destination, *task));
                if !is_warmup && !self.is_caught_up(*destination, *task) && others_are_further() {
                    let choices = self.caught_up.get(task).map_or(0, BTreeSet::len);
                    movements.push(Movement { choices, task: *task, destination: *destination });
                }
            }
        }
        movements
    }

    /// Gives active tasks to those who can begin, and has the others warm up. How many had to be moved.
    pub(super) fn move_active(&mut self) -> usize {
        let mut movements = self.needed(Role::Active);
        let needed = movements.len();
        while let Some(movement) = movements.pop() {
            let Movement { task, destination, .. } = movement;
            let standby = self.caught_up_client(task, |id, clients| is_standby(clients, id, task));
            let source = standby.or_else(|| self.caught_up_client(task, |_, _| true));
            let Some(source) = source.or_else(|| self.furthest(movement, |_| true)) else { continue };
            if is_standby(self.clients, source, task) {
                self.swap(task, source, destination);
            } else {
                self.move_and_warm_up(task, source, destination);
            }
        }
        needed
    }

    /// Keeps standbys where they are nearly complete, as long as the others warm up. How many were moved.
    pub(super) fn move_standbys(&mut self) -> usize {
        let mut movements = self.needed(Role::Standby);
        let mut moved = 0;
        while let Some(movement) = movements.pop() {
            let Movement { task, destination, .. } = movement;
            let free = |id: ProcessId, clients: &Clients| clients.get(&id).is_some_and(|state| !state.has(task));
            let source = self.caught_up_client(task, free);
            let Some(source) = source.or_else(|| self.furthest(movement, |id| free(id, self.clients))) else {
                continue;
            };
            assign_to(self.clients, source, Role::Standby, task);
            if !self.take_warmup() {
                self.unassign(destination, Role::Standby, task);
            }
            moved += 1;
        }
        moved
    }

    fn caught_up_client(&self, task: TaskId, may: impl Fn(ProcessId, &Clients) -> bool) -> Option<ProcessId> {
        least_loaded(self.clients, |state| state.load(), |id| self.is_caught_up(*id, task) && may(*id, self.clients))
    }

    /// The one that is least behind, if it is less behind than the destination.
    fn furthest(&self, movement: Movement, may: impl Fn(ProcessId) -> bool) -> Option<ProcessId> {
        let clients = self.by_lag.get(&movement.task)?.iter();
        clients.take_while(|id| **id != movement.destination).find(|id| may(**id)).copied()
    }

    fn take_warmup(&mut self) -> bool {
        self.warmups_left -= 1;
        self.warmups_left >= 0
    }

    fn swap(&mut self, task: TaskId, source: ProcessId, destination: ProcessId) {
        self.unassign(source, Role::Standby, task);
        assign_to(self.clients, source, Role::Active, task);
        self.unassign(destination, Role::Active, task);
        assign_to(self.clients, destination, Role::Standby, task);
    }

    fn move_and_warm_up(&mut self, task: TaskId, source: ProcessId, destination: ProcessId) {
        assign_to(self.clients, source, Role::Active, task);
        self.unassign(destination, Role::Active, task);
        if self.take_warmup() {
            assign_to(self.clients, destination, Role::Standby, task);
            self.warmups.insert((destination, task));
        }
    }

    fn unassign(&mut self, client: ProcessId, role: Role, task: TaskId) {
        if let Some(state) = self.clients.get_mut(&client) {
            state.unassign(role, task);
        }
    }
}

fn is_standby(clients: &Clients, client: ProcessId, task: TaskId) -> bool {
    clients.get(&client).is_some_and(|state| state.tasks(Role::Standby).contains(&task))
}
