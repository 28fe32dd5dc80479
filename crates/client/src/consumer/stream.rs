//! Polling as a stream.

use std::collections::VecDeque;
use std::time::Duration;

use super::{Consumer, ConsumerRecord, PartitionRecords};
use crate::ClientError;

/// How long one `poll` inside of a stream waits; it is repeated until there is something.
const STEP: Duration = Duration::from_secs(1);

/// An endless sequence of what a consumer reads, for `while let`.
///
/// ```no_run
/// # async fn example(consumer: vltava_client::Consumer) -> Result<(), vltava_client::ClientError> {
/// let mut records = consumer.stream();
/// while let Some(record) = records.next().await? {
///     println!("{}@{}: {:?}", record.topic_partition(), record.offset(), record.value());
/// }
/// # Ok(())
/// # }
/// ```
///
/// Records that have been fetched into the stream but not taken are lost with it as far as the
/// position goes: positions, and with them automatic commits, run ahead by up to
/// `max.poll.records`.
#[derive(Debug)]
pub struct PollStream<'a> {
    consumer: &'a Consumer,
    partitions: VecDeque<PartitionRecords>,
    records: VecDeque<ConsumerRecord>,
}

impl<'a> PollStream<'a> {
    pub(super) fn new(consumer: &'a Consumer) -> Self {
        Self { consumer, partitions: VecDeque::new(), records: VecDeque::new() }
    }

    /// The next record; `None` after [`Consumer::wakeup`] or when the consumer is closed.
    ///
    /// Cancel-safe: a dropped future loses no record.
    ///
    /// # Errors
    /// As [`Consumer::poll`].
    pub async fn next(&mut self) -> Result<Option<ConsumerRecord>, ClientError> {
        loop {
            if let Some(record) = self.records.pop_front() {
                return Ok(Some(record));
            }
            match self.next_partition().await? {
                Some(partition) => self.records.extend(partition.into_owned_records()),
                None => return Ok(None),
            }
        }
    }

    /// The records of the next partition; `None` after [`Consumer::wakeup`] or when the consumer is
    /// closed. Do not mix with [`next`](Self::next), which takes records out one by one.
    ///
    /// Cancel-safe: a dropped future loses no record.
    ///
    /// # Errors
    /// As [`Consumer::poll`].
    pub async fn next_partition(&mut self) -> Result<Option<PartitionRecords>, ClientError> {
        loop {
            if let Some(partition) = self.partitions.pop_front() {
                return Ok(Some(partition));
            }
            match self.consumer.poll(STEP).await {
                Ok(records) => self.partitions.extend(records.into_partitions().into_iter().filter(|p| !p.is_empty())),
                Err(ClientError::Wakeup | ClientError::Closed) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }
}
