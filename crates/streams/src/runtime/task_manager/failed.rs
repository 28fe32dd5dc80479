//! What the tasks of a thread do when records of theirs could not be sent.

use super::{TaskManager, anew::Anew, machine::Event};
use crate::{error::Result, runtime::failures::Settled};

/// What has become of records that were sent.
#[derive(Debug)]
pub(super) enum Failed {
    /// Nothing has failed.
    None,
    /// Some have failed, and these tasks have to begin anew.
    Records(Anew),
    /// Another producer has taken this one's place.
    Migrated,
}

impl TaskManager {
    /// Looks after records that could not be sent since the last time.
    pub(in crate::runtime) fn look_after_failures(&mut self) -> Result<()> {
        match self.settle_failures()? {
            Failed::None => Ok(()),
            Failed::Records(anew) => {
                self.on(Event::BeginAnew(anew))?;
                // It is decided what becomes of them: what was held back behind them may go.
                if !self.producer.is_exactly_once() {
                    self.producer.get().barrier();
                }
                Ok(())
            }
            Failed::Migrated => self.on(Event::Migrated),
        }
    }

    /// Asks the production exception handler about the records that could not be sent.
    pub(super) fn settle_failures(&mut self) -> Result<Failed> {
        let producer = self.producer.get();
        let failed = self.failures.take(&producer);
        if failed.is_empty() {
            return Ok(Failed::None);
        }
        let mut anew = Anew::default();
        for record in failed {
            match self.failures.settle(record, &self.shared.config, &producer)? {
                Settled::Dropped(id) => {
                    if let Some(active) = self.tasks.get_mut(&id) {
                        active.task.count_dropped();
                    }
                }
                Settled::BeginAnew(id, error) => anew.failed(id, error),
                Settled::Migrated => return Ok(Failed::Migrated),
            }
        }
        Ok(Failed::Records(anew))
    }
}
