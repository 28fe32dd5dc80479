//! The consumer's calls about offsets.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use vltava_protocol::ErrorCode;

use super::core::{CommitJob, Completion, Core, Offsets, Waiter};
use super::position::OffsetAndTimestamp;
use super::subscription::{EARLIEST_TIMESTAMP, LATEST_TIMESTAMP};
use super::{CommitHandle, Consumer};
use crate::{ClientError, OffsetAndMetadata, TopicPartition};

impl Consumer {
    /// Commits the positions of all assigned partitions: what was returned by earlier calls of
    /// `poll` counts as consumed. Tries again after errors that may pass, up to
    /// `default.api.timeout.ms`; commits started before come first.
    ///
    /// Cancel-safe: when the future is dropped the commit goes on.
    ///
    /// A loop that survives what other members do:
    /// ```no_run
    /// # use std::time::Duration;
    /// # async fn run(consumer: vltava_client::Consumer) -> Result<(), vltava_client::ClientError> {
    /// loop {
    ///     let records = consumer.poll(Duration::from_secs(1)).await?;
    ///     for record in records.iter() {
    ///         println!("{record:?}");
    ///     }
    ///     match consumer.commit_sync().await {
    ///         Ok(()) => {}
    ///         // Members come or go: the next `poll` takes part in that, and the next commit covers this one.
    ///         Err(error) if error.is_rebalancing() => {}
    ///         // This member was away for too long: others read its records again, the next `poll` joins anew.
    ///         Err(error) if error.is_member_lost() => eprintln!("{error}"),
    ///         Err(error) => return Err(error),
    ///     }
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    /// - [`is_rebalancing`](ClientError::is_rebalancing): poll, then commit again.
    /// - [`is_member_lost`](ClientError::is_member_lost): the group has given the partitions to others.
    /// - [`is_fenced`](ClientError::is_fenced): another member has this one's `group.instance.id`.
    /// - [`ClientError::Broker`] with `UNKNOWN_TOPIC_OR_PARTITION`, at once: the topic was deleted.
    /// - [`ClientError::Timeout`], [`ClientError::InvalidState`] without `group.id`.
    pub async fn commit_sync(&self) -> Result<(), ClientError> {
        let offsets = self.inner().read(Core::consumed);
        self.commit_sync_offsets(offsets).await
    }

    /// As [`commit_sync`](Self::commit_sync) with given offsets, each the next one to read.
    ///
    /// # Errors
    /// As [`commit_sync`](Self::commit_sync).
    pub async fn commit_sync_offsets(&self, offsets: Offsets) -> Result<(), ClientError> {
        self.commit_sync_within(offsets, self.inner().config.common.api_timeout).await
    }

    /// As [`commit_sync_offsets`](Self::commit_sync_offsets) with a time limit of its own.
    ///
    /// # Errors
    /// As [`commit_sync`](Self::commit_sync).
    pub async fn commit_sync_within(&self, offsets: Offsets, timeout: Duration) -> Result<(), ClientError> {
        let begun = Instant::now();
        let result = if offsets.is_empty() {
            self.inner().group_id()?;
            self.wait_for_commits(begun + timeout).await
        } else {
            self.start_commit(offsets, true, timeout)?.wait().await
        };
        self.inner().metrics.commit_sync(begun, Instant::now());
        result
    }

    /// Starts to commit the positions of all assigned partitions. Commits are made one after the
    /// other in the order in which they are started. A failed one is not tried again, since a later
    /// one may be on its way.
    ///
    /// # Errors
    /// [`ClientError::InvalidState`] without `group.id`, [`ClientError::Closed`].
    pub fn commit_async(&self) -> Result<CommitHandle, ClientError> {
        let offsets = self.inner().read(Core::consumed);
        self.commit_async_offsets(offsets)
    }

    /// As [`commit_async`](Self::commit_async) with given offsets, each the next one to read.
    ///
    /// # Errors
    /// As [`commit_async`](Self::commit_async).
    pub fn commit_async_offsets(&self, offsets: Offsets) -> Result<CommitHandle, ClientError> {
        self.start_commit(offsets, false, self.inner().config.common.api_timeout)
    }

    /// As [`commit_async_offsets`](Self::commit_async_offsets) with a callback instead of a handle.
    /// Callbacks are called by `poll`, `close` and `commit_sync`, in the order of the commits.
    ///
    /// # Errors
    /// As [`commit_async`](Self::commit_async).
    pub fn commit_async_with(
        &self,
        offsets: Offsets,
        callback: impl FnOnce(&Offsets, Result<(), ClientError>) + Send + 'static,
    ) -> Result<(), ClientError> {
        self.queue_commit(offsets, Waiter::Callback(Box::new(callback)), false, self.inner().config.common.api_timeout)
    }

    fn start_commit(&self, offsets: Offsets, retry: bool, timeout: Duration) -> Result<CommitHandle, ClientError> {
        let (reply, result) = oneshot::channel();
        self.queue_commit(offsets, Waiter::Reply(reply), retry, timeout)?;
        Ok(CommitHandle { result })
    }

    fn queue_commit(
        &self,
        offsets: Offsets,
        waiter: Waiter,
        retry: bool,
        timeout: Duration,
    ) -> Result<(), ClientError> {
        let inner = self.inner();
        inner.check_open()?;
        inner.group_id()?;
        inner.turn(|core, now| core.commit(CommitJob::new(offsets, waiter, retry, timeout, now)))
    }

    /// Waits until all commits are done, and calls their callbacks.
    pub(super) async fn wait_for_commits(&self, deadline: Instant) -> Result<(), ClientError> {
        let inner = self.inner();
        loop {
            let mut progress = std::pin::pin!(inner.progress.notified());
            progress.as_mut().enable();
            let (completions, is_done) = inner.turn(|core, _| (core.take_completions(), core.has_committed()));
            completions.into_iter().for_each(Completion::call);
            if is_done {
                return Ok(());
            }
            inner.check_open()?;
            if tokio::time::timeout_at(deadline.into(), progress).await.is_err() {
                return Err(ClientError::timeout("commit of offsets", Duration::ZERO));
            }
        }
    }

    /// Offsets that the group has committed, `None` for partitions without one. Cancel-safe.
    ///
    /// # Errors
    /// [`ClientError::Timeout`] after `default.api.timeout.ms`, [`ClientError::InvalidState`] without
    /// `group.id`.
    pub async fn committed(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, Option<OffsetAndMetadata>>, ClientError> {
        let inner = self.inner();
        inner.check_open()?;
        inner.group_id()?;
        let partitions: BTreeSet<TopicPartition> = partitions.iter().cloned().collect();
        if partitions.is_empty() {
            return Ok(BTreeMap::new());
        }
        let begun = Instant::now();
        let result = self.committed_of(&partitions, begun).await;
        inner.metrics.committed(begun, Instant::now());
        result
    }

    async fn committed_of(
        &self,
        partitions: &BTreeSet<TopicPartition>,
        begun: Instant,
    ) -> Result<BTreeMap<TopicPartition, Option<OffsetAndMetadata>>, ClientError> {
        let inner = self.inner();
        let timeout = inner.config.common.api_timeout;
        let deadline = begun + timeout;
        let mut attempt = 0;
        loop {
            let what = || "look-up of committed offsets".to_owned();
            let within = inner.cluster.within(deadline, timeout, what);
            let error = match within.wait(inner.try_committed(partitions)).await {
                Ok(committed) => return Ok(committed),
                Err(error) => error,
            };
            let pause = inner.config.common.retry_pause(attempt);
            // The group has gone on to another epoch meanwhile.
            let is_stale = error.code() == Some(ErrorCode::StaleMemberEpoch);
            let may_pass = error.is_retriable() || (is_stale && inner.read(Core::member_epoch).is_some());
            if !may_pass {
                return Err(error);
            }
            if Instant::now() + pause >= deadline {
                tracing::debug!(%error, "last failure of the look-up of committed offsets");
                return Err(inner.cluster.timed_out("look-up of committed offsets".to_owned(), timeout));
            }
            attempt += 1;
            tokio::time::sleep(pause).await;
        }
    }

    /// The offset of the next record that `poll` will return of an assigned partition; waits until
    /// it is known. Cancel-safe.
    ///
    /// # Errors
    /// [`ClientError::NotAssigned`], [`ClientError::NoOffsetForPartition`],
    /// [`ClientError::Timeout`] after `default.api.timeout.ms`.
    pub async fn position(&self, partition: &TopicPartition) -> Result<i64, ClientError> {
        let inner = self.inner();
        inner.check_open()?;
        let timeout = inner.config.common.api_timeout;
        let deadline = Instant::now() + timeout;
        loop {
            let mut progress = std::pin::pin!(inner.progress.notified());
            progress.as_mut().enable();
            if let Some(position) = inner.turn(|core, _| core.position(partition))? {
                return Ok(position);
            }
            if let Some(error) = inner.cluster.fatal() {
                return Err(error);
            }
            if tokio::time::timeout_at(deadline.into(), progress).await.is_err() {
                return Err(inner.cluster.timed_out(format!("position of {partition}"), timeout));
            }
        }
    }

    /// The offset of the first record of each partition. Cancel-safe.
    ///
    /// # Errors
    /// [`ClientError::Timeout`] after `default.api.timeout.ms`, [`ClientError::Broker`].
    pub async fn beginning_offsets(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, i64>, ClientError> {
        self.offsets_at(partitions, EARLIEST_TIMESTAMP).await
    }

    /// The offset behind the last record of each partition that may be read: the high watermark, or
    /// the last stable offset under `isolation.level=read_committed`. Cancel-safe.
    ///
    /// # Errors
    /// [`ClientError::Timeout`] after `default.api.timeout.ms`, [`ClientError::Broker`].
    pub async fn end_offsets(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, i64>, ClientError> {
        self.offsets_at(partitions, LATEST_TIMESTAMP).await
    }

    async fn offsets_at(
        &self,
        partitions: &[TopicPartition],
        timestamp: i64,
    ) -> Result<BTreeMap<TopicPartition, i64>, ClientError> {
        let inner = self.inner();
        inner.check_open()?;
        let times = partitions.iter().map(|tp| (tp.clone(), timestamp)).collect();
        let found = inner.list_offsets(times, Instant::now() + inner.config.common.api_timeout).await?;
        Ok(found.into_iter().map(|(tp, found)| (tp, found.offset)).collect())
    }

    /// For each partition the first record whose timestamp is at or after the given one, in
    /// milliseconds since the epoch; `None` if there is none. Cancel-safe.
    ///
    /// # Errors
    /// [`ClientError::InvalidArgument`] for a negative time, [`ClientError::Timeout`] after
    /// `default.api.timeout.ms`, [`ClientError::Broker`].
    pub async fn offsets_for_times(
        &self,
        times: BTreeMap<TopicPartition, i64>,
    ) -> Result<BTreeMap<TopicPartition, Option<OffsetAndTimestamp>>, ClientError> {
        let inner = self.inner();
        inner.check_open()?;
        if let Some((tp, time)) = times.iter().find(|(_, time)| **time < 0) {
            return Err(ClientError::invalid(format!("time {time} to look up in {tp} is negative")));
        }
        let found = inner.list_offsets(times, Instant::now() + inner.config.common.api_timeout).await?;
        let answer = found.into_iter().map(|(tp, found)| {
            let record = (found.offset >= 0).then_some(OffsetAndTimestamp {
                offset: found.offset,
                timestamp: found.timestamp,
                leader_epoch: found.leader_epoch,
            });
            (tp, record)
        });
        Ok(answer.collect())
    }

    /// How many records lie between the position and the end of an assigned partition, as the last
    /// fetch told; `None` if that is not known yet.
    ///
    /// # Errors
    /// [`ClientError::NotAssigned`].
    pub fn current_lag(&self, partition: &TopicPartition) -> Result<Option<i64>, ClientError> {
        self.inner().turn(|core, _| core.current_lag(partition))
    }
}
