//! Stores whose files turn out to be damaged while their tasks are at work.

use std::time::Instant;

use super::{TaskManager, machine::Event};
use crate::{error::Result, task::TaskId};

/// The result of a task's step, or nothing where it failed by the damage of a store: the task is noted then.
pub(super) fn noted<T>(damaged: &mut Vec<TaskId>, id: TaskId, done: Result<T>) -> Result<Option<T>> {
    match done {
        Err(error) if error.is_corrupted_store() => {
            // Whoever opens the store again tells of it, once.
            tracing::debug!(task = %id, "begins anew: {error}");
            damaged.push(id);
            Ok(None)
        }
        done => done.map(Some),
    }
}

impl TaskManager {
    /// Makes these tasks anew from what is committed; their damaged stores are restored then.
    pub(super) fn restore_damaged(&mut self, damaged: Vec<TaskId>) -> Result<()> {
        if damaged.is_empty() { Ok(()) } else { self.on(Event::Damaged(damaged)) }
    }

    /// The same in the middle of a step: what follows is done behind it.
    pub(super) fn note_damaged(&mut self, damaged: Vec<TaskId>) {
        if !damaged.is_empty() {
            self.machine.on(Event::Damaged(damaged), Instant::now());
        }
    }
}
