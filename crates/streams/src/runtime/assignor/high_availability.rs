//! Who runs which task: Kafka's high-availability assignor (KIP-441).
//!
//! It deals all tasks out evenly, and then asks who is able to begin. A task whose new place is too far behind stays with
//! one that is not, and its new place warms up: it gets the task as a standby. A probing rebalance looks later whether it
//! has caught up. The same as the JVM's for the same input: a group may have leaders of both kinds, one after the other.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    client_state::{Clients, LATEST_OFFSET, Role},
    movements::Movements,
    process_id::ProcessId,
};
use crate::{config::Fields, task::TaskId};

/// What the assignor goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::runtime) struct AssignmentConfig {
    /// `acceptable.recovery.lag`, in records.
    pub(in crate::runtime) acceptable_recovery_lag: i64,
    /// `max.warmup.replicas`.
    pub(in crate::runtime) max_warmup_replicas: i32,
    /// `num.standby.replicas`.
    pub(in crate::runtime) num_standby_replicas: usize,
    /// `probing.rebalance.interval.ms`.
    pub(in crate::runtime) probing_rebalance_interval_ms: i64,
}

impl AssignmentConfig {
    pub(in crate::runtime) fn of(fields: &Fields) -> Self {
        AssignmentConfig {
            acceptable_recovery_lag: fields.acceptable_recovery_lag,
            max_warmup_replicas: fields.max_warmup_replicas,
            num_standby_replicas: fields.num_standby_replicas,
            probing_rebalance_interval_ms: fields.probing_rebalance_interval_ms,
        }
    }
}

/// Deals `all` tasks out, of which `stateful` have changelogs. Whether some have to catch up, so that a rebalance is due
/// after a while.
pub(super) fn assign(
    clients: &mut Clients,
    all: &BTreeSet<TaskId>,
    stateful: &BTreeSet<TaskId>,
    config: AssignmentConfig,
) -> bool {
    deal_in_turn(clients, stateful);
    balance(clients, Role::Active);
    if config.num_standby_replicas > 0 {
        add_standbys(clients, stateful, config.num_standby_replicas);
        balance(clients, Role::Standby);
    }
    let caught_up = caught_up(clients, stateful, config.acceptable_recovery_lag);
    let by_lag = by_lag(clients, stateful);
    let mut movements = Movements::new(clients, &caught_up, &by_lag, config.max_warmup_replicas);
    let moved = movements.move_active() + movements.move_standbys();
    for task in all.difference(stateful) {
        if let Some(client) = least_loaded(clients, |state| state.active_load(), |_| true) {
            assign_to(clients, client, Role::Active, *task);
        }
    }
    moved > 0
}

pub(super) fn assign_to(clients: &mut Clients, client: ProcessId, role: Role, task: TaskId) {
    if let Some(state) = clients.get_mut(&client) {
        state.assign(role, task);
    }
}

fn deal_in_turn(clients: &mut Clients, tasks: &BTreeSet<TaskId>) {
    let turns: Vec<ProcessId> = clients.keys().copied().collect();
    for (task, client) in tasks.iter().zip(turns.into_iter().cycle()) {
        assign_to(clients, client, Role::Active, *task);
    }
}

/// The one with the least load of those that may; the first of equals.
pub(super) fn least_loaded(
    clients: &Clients,
    load: impl Fn(&super::client_state::ClientState) -> f64,
    may: impl Fn(&ProcessId) -> bool,
) -> Option<ProcessId> {
    let may = clients.iter().filter(|(id, _)| may(id));
    may.min_by(|(_, one), (_, other)| load(one).total_cmp(&load(other))).map(|(id, _)| *id)
}

fn add_standbys(clients: &mut Clients, stateful: &BTreeSet<TaskId>, replicas: usize) {
    let mut missing = 0;
    for task in stateful {
        for _ in 0..replicas {
            let free = |id: &ProcessId| clients.get(id).is_some_and(|state| !state.has(*task));
            match least_loaded(clients, |state| state.load(), free) {
                Some(client) => assign_to(clients, client, Role::Standby, *task),
                None => missing += 1,
            }
        }
    }
    if missing > 0 {
        tracing::warn!(missing, "there are fewer processes than `num.standby.replicas` asks for");
    }
}

/// Moves tasks from those who have many to those who have few, as long as that makes the difference less.
fn balance(clients: &mut Clients, role: Role) {
    let ids: Vec<ProcessId> = clients.keys().copied().collect();
    loop {
        let mut moved = false;
        for source in &ids {
            for destination in ids.iter().filter(|id| *id != source) {
                let candidates = clients.get(source).map(|state| state.tasks(role).clone()).unwrap_or_default();
                for task in candidates {
                    let (Some(from), Some(to)) = (clients.get(source), clients.get(destination)) else { break };
                    let skew = from.load() - to.load();
                    let then = from.load_with(-1.0) - to.load_with(1.0);
                    if skew <= 0.0 || then < 0.0 || then >= skew {
                        break;
                    }
                    if to.has(task) {
                        continue;
                    }
                    if let Some(state) = clients.get_mut(source) {
                        state.unassign(role, task);
                    }
                    assign_to(clients, *destination, role, task);
                    moved = true;
                }
            }
        }
        if !moved {
            return;
        }
    }
}

fn caught_up(clients: &Clients, stateful: &BTreeSet<TaskId>, acceptable: i64) -> BTreeMap<TaskId, BTreeSet<ProcessId>> {
    let near = |lag: i64| lag == LATEST_OFFSET || acceptable == i64::MAX || (0..=acceptable).contains(&lag);
    let of = |task: &TaskId| {
        let clients = clients.iter().filter(|(_, state)| near(state.lag(*task)));
        (*task, clients.map(|(id, _)| *id).collect())
    };
    stateful.iter().map(of).collect()
}

fn by_lag(clients: &Clients, stateful: &BTreeSet<TaskId>) -> BTreeMap<TaskId, Vec<ProcessId>> {
    let of = |task: &TaskId| {
        let mut lags: Vec<_> = clients.iter().map(|(id, state)| (state.lag(*task), *id)).collect();
        lags.sort_unstable();
        (*task, lags.into_iter().map(|(_, id)| id).collect())
    };
    stateful.iter().map(of).collect()
}
