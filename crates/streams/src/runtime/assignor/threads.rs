//! The tasks of an instance, divided among its threads.

use std::collections::{BTreeMap, VecDeque};

use vltava_protocol::java::PriorityQueue;

use super::client_state::{ClientState, Role};
use crate::task::TaskId;

/// What one thread gets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ThreadTasks {
    pub(super) active: Vec<TaskId>,
    pub(super) standby: Vec<TaskId>,
}

/// By member id.
pub(super) fn divide(state: &ClientState) -> BTreeMap<String, ThreadTasks> {
    let mut load = BTreeMap::new();
    let active = among_threads(state.active_tasks(true), true, state, &mut load);
    let standby = among_threads(state.tasks(Role::Standby).iter().copied().collect(), true, state, &mut load);
    let stateless = among_threads(state.active_tasks(false), false, state, &mut load);
    let mut threads: BTreeMap<String, ThreadTasks> = BTreeMap::new();
    for (thread, tasks) in active.into_iter().chain(stateless) {
        threads.entry(thread).or_default().active.extend(tasks);
    }
    for (thread, tasks) in standby {
        threads.entry(thread).or_default().standby = tasks;
    }
    threads
}

/// Every thread keeps of what it had as many as all get, and the rest fills up those that have less. `load` counts what
/// they have got already.
fn among_threads(
    tasks: Vec<TaskId>,
    stateful: bool,
    state: &ClientState,
    load: &mut BTreeMap<String, usize>,
) -> BTreeMap<String, Vec<TaskId>> {
    let threads: Vec<&String> = state.consumers.keys().collect();
    let mut assigned: BTreeMap<String, Vec<TaskId>> =
        threads.iter().map(|thread| ((*thread).clone(), Vec::new())).collect();
    let least = (tasks.len() + load.values().sum::<usize>()) / threads.len().max(1);
    let has = |load: &BTreeMap<String, usize>, thread: &str| load.get(thread).copied().unwrap_or(0);
    let mut left: PriorityQueue<TaskId> = tasks.into_iter().collect();
    let mut to_fill: VecDeque<&String> = VecDeque::new();
    let mut skipped: BTreeMap<TaskId, &String> = BTreeMap::new();
    if !left.is_empty() {
        for thread in threads.iter().copied() {
            let Some(own) = assigned.get_mut(thread) else { continue };
            let target = least.saturating_sub(has(load, thread));
            for task in if stateful { state.previous_by_lag(thread) } else { Vec::new() } {
                if !left.contains(&task) {
                    continue;
                }
                if own.len() < target {
                    own.push(task);
                    left.remove(&task);
                } else {
                    skipped.insert(task, thread);
                }
            }
            if own.len() < target {
                to_fill.push_back(thread);
            }
        }
        while let Some(thread) = to_fill.pop_front() {
            let (Some(task), Some(own)) = (left.pop(), assigned.get_mut(thread)) else { break };
            own.push(task);
            if own.len() + has(load, thread) < least {
                to_fill.push_back(thread);
            }
        }
        // All have as many as each gets; of the rest each gets one.
        let full = |thread: &&String| assigned.get(*thread).map_or(0, Vec::len) + has(load, thread) == least;
        let mut to_fill: VecDeque<&String> = threads.iter().copied().filter(full).collect();
        for (task, thread) in skipped {
            if left.contains(&task) && to_fill.contains(&thread) {
                assigned.entry(thread.clone()).or_default().push(task);
                left.remove(&task);
                to_fill.retain(|other| *other != thread);
            }
        }
        for task in left.iter() {
            let Some(thread) = to_fill.pop_front() else { break };
            assigned.entry(thread.clone()).or_default().push(*task);
        }
    }
    for (thread, tasks) in &assigned {
        *load.entry(thread.clone()).or_default() += tasks.len();
    }
    assigned
}
