//! Where a task puts what it sends.

use std::sync::Arc;

use crate::{
    error::Result,
    record::{ProducerRecord, RecordOrigin},
};

/// Takes what the sinks and stores of a task write; a producer in the runtime, a list in the test driver.
pub trait RecordCollector: Send {
    /// Takes a record; the slices are copied before this returns.
    ///
    /// # Errors
    /// If this or an earlier record cannot be sent and the task must stop.
    fn send(&mut self, record: ProducerRecord<'_>) -> Result<()>;

    /// [`send`](Self::send) of a node's record: where it came from is what the production exception handler will be told.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    fn send_from(&mut self, _origin: RecordOrigin<'_>, record: ProducerRecord<'_>) -> Result<()> {
        self.send(record)
    }

    /// A unit of work is over: a record has been processed to its end, with the punctuations that were due by it, or a row
    /// of a cache was flushed, or, `flushed`, everything is. What the stores have written of it must not be durable before
    /// what the nodes have sent.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    fn end_unit(&mut self, _flushed: bool) -> Result<()> {
        Ok(())
    }

    /// Whether so much waits for a commit that there should be one at once.
    fn needs_commit(&self) -> bool {
        false
    }

    /// The offset after the last record of every changelog that was written since the last call, where it is known.
    /// Everything must have been acknowledged.
    fn take_changelog_offsets(&mut self) -> Vec<(Arc<str>, i64)> {
        Vec::new()
    }

    /// Gives up what was held back and may not go yet: the task's progress since its last commit counts for nothing.
    fn discard(&mut self) {}

    /// How many partitions a topic has: what a partitioner is told.
    ///
    /// # Errors
    /// If the topic does not exist.
    fn partitions_for(&mut self, topic: &str) -> Result<i32>;
}
