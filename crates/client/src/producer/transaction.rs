//! Transactions of a producer: records of many partitions, and offsets of a group, that readers see all or none of.
//!
//! Here is what an application calls. What it is about stands in [`manager`] (where transactions stand), [`calls`] (the
//! coordinators' requests) and [`verdict`] (what their codes mean), all without socket and clock; [`coordinator`] is the edge.

pub(crate) mod calls;
pub(crate) mod coordinator;
pub(crate) mod manager;
#[cfg(test)]
mod simulation;
pub(crate) mod verdict;

use std::time::Instant;

use tokio::sync::watch;

use super::{Delivery, Producer, ProducerRecord, RecordMetadata};
use crate::consumer::{ConsumerGroupMetadata, Offsets};
use crate::error::ClientError;
use crate::metrics::Timed;
use manager::{Outcome, TransactionManager};

/// A transaction that is open (KIP-98): [`commit`](Self::commit) it, or it is aborted.
///
/// All that its producer sends until then belongs to it, whether by [`send`](Self::send) here or by the producer's own
/// methods. When it is dropped before it is committed it is aborted in the background, and
/// [`Producer::begin_transaction`] waits for that; so `?` in between does what it should.
///
/// ```no_run
/// # async fn example() -> Result<(), vltava_client::ClientError> {
/// use vltava_client::producer::{Producer, ProducerRecord};
/// use vltava_client::ProducerConfig;
///
/// let config = ProducerConfig::builder().bootstrap_servers("localhost:9092").transactional_id("transfers-1").build()?;
/// let producer = Producer::new(config)?;
/// producer.init_transactions().await?;
///
/// let transfer = producer.begin_transaction().await?;
/// transfer.send(ProducerRecord::new("accounts").key("alice").value("-10")).await?;
/// transfer.send(ProducerRecord::new("accounts").key("bob").value("+10")).await?;
/// transfer.commit().await?;
/// # Ok(())
/// # }
/// ```
///
/// What was read can be committed with what was made of it, so that a record is processed once, whatever fails:
///
/// ```no_run
/// # async fn example(
/// #     consumer: vltava_client::Consumer, // with isolation.level=read_committed and enable.auto.commit=false
/// #     producer: vltava_client::Producer,
/// # ) -> Result<(), vltava_client::ClientError> {
/// # use std::time::Duration;
/// use vltava_client::producer::ProducerRecord;
///
/// let records = consumer.poll(Duration::from_secs(1)).await?;
/// let transaction = producer.begin_transaction().await?;
/// for (_, record) in records.iter() {
///     transaction.send(ProducerRecord::new("copy").value(record.value().unwrap_or_default())).await?;
/// }
/// transaction.send_offsets(records.next_offsets(), &consumer.group_metadata()?).await?;
/// transaction.commit().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a transaction that is dropped is aborted"]
pub struct Transaction {
    producer: Producer,
    number: u64,
    is_over: bool,
}

impl Transaction {
    /// The producer that it is a transaction of.
    #[must_use]
    pub fn producer(&self) -> &Producer {
        &self.producer
    }

    /// [`Producer::send`].
    ///
    /// Cancel-safe: a future dropped before it is ready has not sent the record.
    ///
    /// # Errors
    /// As [`Producer::send`].
    pub async fn send(&self, record: ProducerRecord<'_>) -> Result<Delivery, ClientError> {
        self.producer.send(record).await
    }

    /// [`Producer::send_with`].
    ///
    /// # Errors
    /// As [`Producer::send`]; the callback is not called then.
    pub async fn send_with<F>(&self, record: ProducerRecord<'_>, callback: F) -> Result<(), ClientError>
    where
        F: FnOnce(Result<RecordMetadata, ClientError>) + Send + 'static,
    {
        self.producer.send_with(record, callback).await
    }

    /// [`Producer::send_offsets_to_transaction`].
    ///
    /// Cancel-safe, as that.
    ///
    /// # Errors
    /// As [`Producer::send_offsets_to_transaction`].
    pub async fn send_offsets(&self, offsets: Offsets, group: &ConsumerGroupMetadata) -> Result<(), ClientError> {
        self.producer.send_offsets_to_transaction(offsets, group).await
    }

    /// Sends what is buffered and commits: when this returns `Ok`, every record was acknowledged, every callback has run, and
    /// readers see all of it.
    ///
    /// A future that is dropped before it is ready leaves the commit under way, as does [`ClientError::Timeout`]: whether it
    /// came to an end is then told by [`Producer::commit_transaction`], and nothing else may be called before.
    ///
    /// # Errors
    /// As [`Producer::commit_transaction`]. After [`ClientError::TransactionFailed`] the transaction is aborted in the
    /// background.
    pub async fn commit(mut self) -> Result<(), ClientError> {
        self.check_last()?;
        // What is begun here must not be aborted by a drop.
        self.is_over = true;
        let result = self.producer.commit_transaction().await;
        if matches!(result, Err(ClientError::TransactionFailed { .. })) {
            self.producer.abandon_transaction(self.number);
        }
        result
    }

    /// Ends the transaction as if it had not been. Records that were not sent fail with
    /// [`ClientError::TransactionAborted`].
    ///
    /// A future that is dropped before it is ready leaves the abort under way, as does [`ClientError::Timeout`]:
    /// [`Producer::abort_transaction`] waits for its end, and nothing else may be called before.
    ///
    /// # Errors
    /// As [`Producer::abort_transaction`].
    pub async fn abort(mut self) -> Result<(), ClientError> {
        self.check_last()?;
        self.is_over = true;
        self.producer.abort_transaction().await
    }

    /// Leaves the transaction open, for [`Producer::commit_transaction`] and [`Producer::abort_transaction`]: for who has no
    /// place to keep this value.
    pub fn detach(mut self) {
        self.is_over = true;
    }

    fn check_last(&self) -> Result<(), ClientError> {
        match self.producer.transact(|manager| manager.is_last(self.number))? {
            true => Ok(()),
            false => Err(ClientError::state("the transaction was ended by its producer's methods before")),
        }
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if !self.is_over {
            self.producer.abandon_transaction(self.number);
        }
    }
}

/// Transactions, for a producer with `transactional.id`.
impl Producer {
    /// Gets the producer's identity, once, before the first transaction: producers before it with the same
    /// `transactional.id` are fenced, and what they left open is ended first.
    ///
    /// Cancel-safe: a future that is dropped leaves it under way, as does [`ClientError::Timeout`]; call it again to wait for
    /// its end.
    ///
    /// # Errors
    /// [`ClientError::InvalidState`] without `transactional.id`, or if it has succeeded before; [`ClientError::Timeout`] after
    /// `max.block.ms`; [`ClientError::Broker`] with `TRANSACTIONAL_ID_AUTHORIZATION_FAILED` or
    /// `CLUSTER_AUTHORIZATION_FAILED`, after which it may be called again; [`ClientError::ProducerFailed`].
    pub async fn init_transactions(&self) -> Result<(), ClientError> {
        let begun = Instant::now();
        let end = self.transact(TransactionManager::init)??;
        let result = self.wait_for_end("init_transactions", end).await;
        self.counts().timed(Timed::InitTransactions, begun, Instant::now());
        result
    }

    /// Begins a transaction. Asks nobody: this waits only while a transaction that was dropped is still being aborted, or a
    /// failed one needs another epoch.
    ///
    /// Cancel-safe: a future dropped before it is ready has not begun one.
    ///
    /// # Errors
    /// [`ClientError::InvalidState`] without `transactional.id`, before [`init_transactions`](Self::init_transactions), with a
    /// transaction open, or while the end of another call is not known; [`ClientError::Timeout`] after `max.block.ms`;
    /// [`ClientError::TransactionFailed`] if the one before has failed and was not aborted; [`ClientError::ProducerFailed`].
    pub async fn begin_transaction(&self) -> Result<Transaction, ClientError> {
        let limit = self.inner.config.max_block;
        let begun = Instant::now();
        let deadline = begun + limit;
        let mut at_rest = self.transact(|manager| manager.at_rest())?;
        loop {
            at_rest.mark_unchanged();
            if let Some(number) = self.transact(TransactionManager::begin)?? {
                self.counts().timed(Timed::BeginTransaction, begun, Instant::now());
                return Ok(Transaction { producer: self.clone(), number, is_over: false });
            }
            let next = self.until_ended(at_rest.changed());
            tokio::time::timeout_at(deadline.into(), next)
                .await
                .map_err(|_| ClientError::timeout("the end of the transaction before", limit))??;
        }
    }

    /// Commits offsets of a group with the transaction: they count when it is committed. Of a partition, the last one that was
    /// given counts. `group` is the [consumer's](crate::Consumer::group_metadata): so a member that its group has given up is
    /// refused (KIP-447). That consumer must not commit offsets itself.
    ///
    /// Cancel-safe: the offsets of a future that is dropped may be committed with the transaction or not.
    ///
    /// # Errors
    /// [`ClientError::InvalidState`] without an open transaction; [`ClientError::InvalidArgument`] for a generation without a
    /// member; [`ClientError::TransactionFailed`] if the group's coordinator refuses them
    /// ([`is_member_lost`](ClientError::is_member_lost): the consumer's partitions may belong to others); after
    /// [`ClientError::Timeout`] (`max.block.ms`) they may be committed with the transaction or not.
    pub async fn send_offsets_to_transaction(
        &self,
        offsets: Offsets,
        group: &ConsumerGroupMetadata,
    ) -> Result<(), ClientError> {
        if group.generation_id() > 0 && group.member_id().is_empty() {
            let reason = format!("a member of generation {} has an id", group.generation_id());
            return Err(ClientError::invalid(reason));
        }
        if offsets.is_empty() {
            return self.transact(|_| ());
        }
        let begun = Instant::now();
        let end = self.transact(|manager| manager.send_offsets(offsets.into_iter().collect(), group.clone()))??;
        let result = self.wait_for_end("send_offsets_to_transaction", end).await;
        self.counts().timed(Timed::SendOffsets, begun, Instant::now());
        result
    }

    /// Sends what is buffered, with an implied [`barrier`](Self::barrier), and commits the transaction that is open: when this
    /// returns `Ok`, every record was acknowledged, every callback has run, and readers see all of it.
    ///
    /// Cancel-safe: a future that is dropped leaves the commit under way, as does [`ClientError::Timeout`]. Call it again to
    /// know the end; nothing else may be called before.
    ///
    /// # Errors
    /// [`ClientError::TransactionFailed`]: nothing was committed, [abort](Self::abort_transaction).
    /// [`ClientError::ProducerFailed`]. [`ClientError::Timeout`] after `max.block.ms`. [`ClientError::InvalidState`] without
    /// an open transaction.
    pub async fn commit_transaction(&self) -> Result<(), ClientError> {
        let begun = Instant::now();
        let end = self.transact(TransactionManager::commit)??;
        self.inner.accumulator.barrier();
        let result = self.wait_for_end("commit_transaction", end).await;
        self.counts().timed(Timed::CommitTransaction, begun, Instant::now());
        result
    }

    /// Ends the transaction that is open, or has failed, as if it had not been. Records that were not sent fail with
    /// [`ClientError::TransactionAborted`], which [`flush`](Self::flush) and [`take_failed`](Self::take_failed) do not tell.
    ///
    /// Cancel-safe: a future that is dropped leaves the abort under way, as does [`ClientError::Timeout`]. Call it again to
    /// know the end; nothing else may be called before.
    ///
    /// # Errors
    /// [`ClientError::ProducerFailed`]. [`ClientError::Timeout`] after `max.block.ms`. [`ClientError::InvalidState`] without
    /// an open transaction.
    pub async fn abort_transaction(&self) -> Result<(), ClientError> {
        let begun = Instant::now();
        let end = self.transact(TransactionManager::abort)??;
        let result = self.wait_for_end("abort_transaction", end).await;
        self.counts().timed(Timed::AbortTransaction, begun, Instant::now());
        result
    }

    fn abandon_transaction(&self, number: u64) {
        // A producer without transactions has none to abandon.
        let _ = self.transact(|manager| manager.abandon(number));
        self.inner.wake.wake();
    }

    fn transact<T>(&self, change: impl FnOnce(&mut TransactionManager) -> T) -> Result<T, ClientError> {
        let changed = self.inner.accumulator.transact(change);
        changed.ok_or_else(|| ClientError::state("transactions need the setting `transactional.id`"))
    }

    async fn wait_for_end(&self, what: &'static str, mut end: watch::Receiver<Outcome>) -> Result<(), ClientError> {
        self.inner.wake.wake();
        let limit = self.inner.config.max_block;
        let known = self.until_ended(async { end.wait_for(Option::is_some).await.map(|outcome| outcome.clone()) });
        let timed_out = |_| self.inner.cluster.timed_out(what.to_owned(), limit);
        let outcome = tokio::time::timeout(limit, known).await.map_err(timed_out)??;
        self.transact(|manager| manager.acknowledge(&end))?;
        outcome.unwrap_or(Err(ClientError::Closed))
    }

    /// Waits for something that will not come when the producer's task has ended.
    async fn until_ended<T>(
        &self,
        something: impl Future<Output = Result<T, watch::error::RecvError>>,
    ) -> Result<T, ClientError> {
        let mut ended = self.inner.wake.ended.subscribe();
        tokio::select! {
            biased;
            come = something => come.map_err(|_| ClientError::Closed),
            _ = ended.wait_for(|ended| *ended) => Err(ClientError::Closed),
        }
    }
}
