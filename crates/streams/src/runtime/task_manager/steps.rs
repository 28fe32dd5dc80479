//! The steps of the machine, performed.

use super::{
    TaskManager,
    machine::{Event, Step},
};
use crate::error::Result;

impl TaskManager {
    /// Tells the machine what has happened, and does what follows from it.
    ///
    /// # Errors
    /// If a step fails in a way that ends the thread; the steps after it are not taken.
    pub(super) fn on(&mut self, event: Event) -> Result<()> {
        self.machine.on(event);
        while let Some(step) = self.machine.next_step() {
            match self.perform(step) {
                Ok(Some(event)) => self.machine.on(event),
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
            Step::Make(task, partitions) => return self.make(task, &partitions).map(Some),
            Step::Start(task) => self.start(task)?,
            Step::Resume(task) => self.resume(task)?,
            Step::Suspend(task) => self.suspend(task)?,
            Step::Flush(tasks) => {
                self.flush_caches(&tasks)?;
                return Ok(Some(Event::Flushed));
            }
            Step::Deliver => return self.deliver().map(|anew| Some(Event::Delivered(anew))),
            Step::Commit(tasks) => {
                let committed = self.commit_offsets(&tasks)?;
                return Ok(Some(if committed { Event::Committed } else { Event::NotCommitted }));
            }
            Step::Checkpoint(tasks) => self.checkpoint(&tasks)?,
            Step::Close(task) => self.close_task(task)?,
            Step::Abandon { task, rewind } => self.abandon(task, rewind)?,
        }
        Ok(None)
    }
}
