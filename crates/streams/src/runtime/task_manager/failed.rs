//! What the tasks of a thread do when records of theirs could not be sent.

use std::collections::BTreeSet;

use super::{TaskManager, client_failed};
use crate::{error::Result, runtime::failures::Verdict, task::TaskId};

impl TaskManager {
    /// Asks the production exception handler about the records that could not be sent. Whether there were any.
    pub(in crate::runtime) fn settle_failures(&mut self) -> Result<bool> {
        let failed = self.failures.take(&self.producer);
        if failed.is_empty() {
            return Ok(false);
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
        anew.into_iter().try_for_each(|id| self.begin_anew(id))?;
        // It is decided what becomes of them: what was held back behind them may go.
        self.producer.barrier();
        Ok(true)
    }

    /// Gives a task's progress since the last commit up and makes it again: what it read since then comes again.
    pub(super) fn begin_anew(&mut self, id: TaskId) -> Result<()> {
        let Some(active) = self.tasks.remove(&id) else { return Ok(()) };
        self.restorer.remove(id)?;
        let partitions: Vec<_> = active.inputs.keys().cloned().collect();
        let from: Vec<_> = partitions
            .iter()
            .filter_map(|partition| {
                let offset = active.committed.get(partition).or_else(|| active.first.get(partition))?;
                Some((partition.clone(), *offset))
            })
            .collect();
        self.abandon(id, active)?;
        // While partitions are taken away, those that come back are read from what is committed.
        if !self.assigned {
            return Ok(());
        }
        for (partition, offset) in from {
            self.consumer.seek(&partition, offset).map_err(|error| client_failed("seeking", &error))?;
        }
        self.pause(&partitions)?;
        self.pending.insert(id, partitions);
        Ok(())
    }
}
