//! Tasks that begin anew from their last commit, and why.

use std::collections::{BTreeMap, btree_map};

use vltava_client::ClientError;

use crate::{error::Result, task::TaskId};

/// Why a task begins anew.
#[derive(Clone, Debug)]
pub(super) enum Reason {
    /// Something could not be sent or looked up, which may pass: it is tried again after a pause, for `task.timeout.ms`.
    Passing(ClientError),
    /// The files of a store are damaged: it is restored at once, and nothing is wrong with the cluster.
    Damaged,
}

/// Tasks whose progress since the last commit counts for nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct Anew(BTreeMap<TaskId, Reason>);

impl Anew {
    /// Takes in what a step of a task has come to. Whether it was done.
    ///
    /// # Errors
    /// If the task does not get over it.
    pub(super) fn note(&mut self, task: TaskId, done: Result<()>) -> Result<bool> {
        let Err(error) = done else { return Ok(true) };
        let reason = match error.passing() {
            Some(passing) => Reason::Passing(passing.clone()),
            None if error.is_corrupted_store() => {
                // Whoever opens the store again tells of it, once.
                tracing::debug!(%task, "begins anew: {error}");
                Reason::Damaged
            }
            None => return Err(error),
        };
        self.0.insert(task, reason);
        Ok(false)
    }

    /// Records of a task could not be sent.
    pub(super) fn failed(&mut self, task: TaskId, error: ClientError) {
        self.0.insert(task, Reason::Passing(error));
    }

    pub(super) fn extend(&mut self, more: Anew) {
        self.0.extend(more.0);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = TaskId> {
        self.0.keys().copied()
    }
}

impl FromIterator<(TaskId, Reason)> for Anew {
    fn from_iter<T: IntoIterator<Item = (TaskId, Reason)>>(tasks: T) -> Self {
        Anew(tasks.into_iter().collect())
    }
}

impl IntoIterator for Anew {
    type Item = (TaskId, Reason);
    type IntoIter = btree_map::IntoIter<TaskId, Reason>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}
