//! What the tasks of a thread do when records of theirs could not be sent.

use std::collections::BTreeSet;

use super::{TaskManager, machine::Event};
use crate::{error::Result, runtime::failures::Verdict, task::TaskId};

impl TaskManager {
    /// Looks after records that could not be sent since the last time.
    pub(in crate::runtime) fn look_after_failures(&mut self) -> Result<()> {
        match self.settle_failures()? {
            Some(anew) if !anew.is_empty() => self.on(Event::BeginAnew(anew)),
            _ => Ok(()),
        }
    }

    /// Asks the production exception handler about the records that could not be sent. If there were any, returns the
    /// tasks that have to begin anew.
    pub(super) fn settle_failures(&mut self) -> Result<Option<BTreeSet<TaskId>>> {
        let failed = self.failures.take(&self.producer);
        if failed.is_empty() {
            return Ok(None);
        }
        let mut anew = BTreeSet::new();
        for record in failed {
            match self.failures.settle(record, &self.shared.config, &self.producer)? {
                Verdict::Dropped(id) => {
                    if let Some(active) = self.tasks.get_mut(&id) {
                        active.task.count_dropped();
                    }
                }
                Verdict::BeginAnew(id) => {
                    anew.insert(id);
                }
            }
        }
        Ok(Some(anew))
    }
}
