//! Polling as a stream.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream;

use super::assignor::BoxFuture;
use super::{Consumer, ConsumerRecord, ConsumerRecords, PartitionRecords};
use crate::ClientError;

/// How long one `poll` inside of a stream waits; it is repeated until there is something.
const STEP: Duration = Duration::from_secs(1);

/// An endless sequence of what a consumer reads, for `while let`, and a [`Stream`] for everything that takes one.
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
///
/// As a `Stream` it goes on polling between its items: until it is dropped, the consumer is busy for calls that exclude
/// `poll`. It ends after [`Consumer::wakeup`] or when the consumer is closed.
pub struct PollStream<'a> {
    consumer: &'a Consumer,
    partitions: VecDeque<PartitionRecords>,
    records: VecDeque<ConsumerRecord>,
    /// What the stream waits for.
    polling: Option<BoxFuture<'a, Result<ConsumerRecords, ClientError>>>,
}

impl fmt::Debug for PollStream<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PollStream")
            .field("partitions", &self.partitions)
            .field("records", &self.records.len())
            .finish()
    }
}

impl Stream for PollStream<'_> {
    type Item = Result<ConsumerRecord, ClientError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if let Some(record) = this.records.pop_front() {
                return Poll::Ready(Some(Ok(record)));
            }
            if let Some(partition) = this.partitions.pop_front() {
                this.records.extend(partition.into_owned_records());
                continue;
            }
            let consumer = this.consumer;
            let polling = this.polling.get_or_insert_with(|| Box::pin(consumer.poll(STEP)));
            let polled = ready!(polling.as_mut().poll(context));
            this.polling = None;
            match polled {
                Ok(records) => this.partitions.extend(records.into_partitions()),
                Err(ClientError::Wakeup | ClientError::Closed) => return Poll::Ready(None),
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
    }
}

impl<'a> PollStream<'a> {
    pub(super) fn new(consumer: &'a Consumer) -> Self {
        Self { consumer, partitions: VecDeque::new(), records: VecDeque::new(), polling: None }
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
            // One that was begun as a stream keeps others out.
            self.polling = None;
            match self.consumer.poll(STEP).await {
                Ok(records) => self.partitions.extend(records.into_partitions().into_iter().filter(|p| !p.is_empty())),
                Err(ClientError::Wakeup | ClientError::Closed) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }
}
