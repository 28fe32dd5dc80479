//! The steps of the machine, performed.

use std::time::Instant;

use super::{
    TaskManager,
    machine::{Event, Step},
};
use crate::error::{Error, Result};

impl TaskManager {
    /// Tells the machine what has happened, and does what follows from it.
    ///
    /// # Errors
    /// If a step fails in a way that ends the thread; the steps after it are not taken.
    pub(super) fn on(&mut self, event: Event) -> Result<()> {
        self.machine.on(event, Instant::now());
        while let Some(step) = self.machine.next_step() {
            match self.perform(step) {
                Ok(Some(event)) => self.machine.on(event, Instant::now()),
                Ok(None) => {}
                Err(error) => {
                    self.machine.stop();
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Performs one step. What comes of it is the next event, if it has any.
    pub(super) fn perform(&mut self, step: Step) -> Result<Option<Event>> {
        match step {
            Step::Pause(_, partitions) => self.pause(&partitions)?,
            Step::Make(task, partitions) => return self.make(task, partitions),
            Step::Unmake(task) => self.unmake(task),
            Step::Start(task) => self.start(task)?,
            Step::Suspend(task) => self.suspend(task)?,
            Step::Flush(tasks) => return self.flush_caches(&tasks).map(Some),
            Step::Deliver => return self.deliver().map(Some),
            Step::Commit(tasks) => return self.commit_offsets(&tasks).map(Some),
            Step::Checkpoint(tasks) => return self.checkpoint(&tasks).map(Some),
            Step::Discard => self.discard(),
            Step::Close(task) => self.close_task(task)?,
            Step::Abandon { task, rewind } => self.abandon(task, rewind)?,
            Step::MakeStandby(task) => return Ok(self.make_standby(task)),
            Step::CheckpointStandbys(tasks) => return self.checkpoint_standbys(&tasks),
            Step::CloseStandby(task) => self.close_standby(task, true)?,
            Step::AbandonStandby(task) => self.close_standby(task, false)?,
            Step::Recycle(task) => self.recycle(task)?,
            // Not here: the consumer would call the listener, which needs the lock that is held now.
            Step::Rejoin => self.rejoin = true,
            Step::Fail { task, after } => {
                let Some(source) = self.machine.error_of(task).cloned() else { return Ok(None) };
                return Err(Box::new(Error::TaskTimeout { task: task.to_string(), after, source }));
            }
        }
        Ok(None)
    }
}
