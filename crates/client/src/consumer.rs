//! The consumer.
//!
//! [`Consumer`] reads the partitions that its group assigns to it, or that the application chooses,
//! and returns records batch by batch. In reading order:
//!
//! - [`Consumer`]: what applications call; `poll` drives everything that needs the application.
//! - [`assignor`]: how a group divides partitions; a public trait.
//! - `core`: the state machine of it all, without I/O and clocks, over `subscription`, `fetcher`, `coordinator` and
//!   `membership`, where each group protocol is a file.
//! - `io`: the edge, which does what the core says; `poll`, `callbacks`, `close`: what runs on the caller.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use vltava_metrics::{Gauge, Snapshot};

pub mod assignor;
mod callbacks;
mod close;
mod close_options;
mod coordinator;
mod core;
mod fetcher;
mod group_metadata;
mod io;
mod listener;
mod membership;
mod offsets;
mod poll;
mod position;
mod records;
mod stream;
#[doc(hidden)]
pub mod streams_group;
mod subscription;
mod typed;

pub use close_options::{CloseOptions, GroupMembershipOperation};
pub use core::Offsets;
pub use group_metadata::ConsumerGroupMetadata;
pub use listener::{RebalanceCallbacks, RebalanceListener};
pub use position::OffsetAndTimestamp;
pub use records::{BatchRecords, ConsumerRecord, ConsumerRecords, PartitionRecords};
pub use stream::PollStream;
pub use subscription::{PatternSubscription, SubscriptionPattern, TopicPattern};
pub use typed::{TypedConsumer, TypedRecord};

use crate::config::{AutoOffsetReset, ConsumerConfig, GroupProtocol};
use crate::metrics::consumer_definitions as define;
use crate::net::TopicMetadata;
use crate::{ClientError, OffsetAndMetadata, TopicPartition};
use assignor::PartitionAssignor;
use core::Core;
use io::Inner;
use streams_group::StreamsMember;

/// Reads records from Kafka.
///
/// All calls take `&self`, and a clone is another handle on the same consumer. Calls may be made
/// from any thread, except that there is only one `poll` at a time. The consumer needs a tokio
/// runtime to live on: it is made within one, and its heartbeats, fetches and look-ups run there
/// while the application works on records. From a thread outside of the runtime, wait for its calls
/// with [`Handle::block_on`](tokio::runtime::Handle::block_on).
///
/// A member of a group has to `poll` at least every `max.poll.interval.ms`, or it leaves the group.
/// When the last handle is dropped without [`close`](Self::close), the member leaves its group
/// without committing.
///
/// # Examples
///
/// ```no_run
/// use std::time::Duration;
/// use vltava_client::{Consumer, ConsumerConfig};
///
/// # async fn example() -> Result<(), vltava_client::ClientError> {
/// let config = ConsumerConfig::from_properties([
///     ("bootstrap.servers", "localhost:9092"),
///     ("group.id", "billing"),
///     ("auto.offset.reset", "earliest"),
/// ])?;
/// let consumer = Consumer::new(config)?;
/// consumer.subscribe(["purchases"])?;
/// loop {
///     let records = consumer.poll(Duration::from_secs(1)).await?;
///     for partition in records.partitions() {
///         for record in partition.iter() {
///             println!("{} {}: {:?}", partition.topic_partition(), record.offset(), record.value());
///         }
///     }
/// }
/// # }
/// ```
#[derive(Clone)]
pub struct Consumer {
    handle: Arc<Handle>,
}

/// Ends the consumer when the last handle is gone.
struct Handle {
    inner: Arc<Inner>,
    _gauges: [Gauge; 4],
}

impl Drop for Handle {
    fn drop(&mut self) {
        close::abandon(&self.inner);
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("client_id", &self.inner().config.common.client_id)
            .field("group_id", &self.inner().config.group_id)
            .finish_non_exhaustive()
    }
}

impl Consumer {
    /// Makes a consumer with the assignors of `partition.assignment.strategy`. Connects to nobody
    /// yet.
    ///
    /// # Errors
    /// [`ClientError::NoRuntime`] outside of a tokio runtime, [`ClientError::Config`].
    pub fn new(config: ConsumerConfig) -> Result<Self, ClientError> {
        let assignors = assignor::by_names(&config.partition_assignment_strategy)?;
        Self::with(config, assignors, None)
    }

    /// Makes a consumer that offers its group these assignors, the preferred one first, instead of
    /// those of `partition.assignment.strategy`.
    ///
    /// # Errors
    /// As [`new`](Self::new), and [`ClientError::InvalidArgument`] if the assignors have no
    /// rebalance protocol in common, or with `group.protocol=consumer`, under which no member assigns.
    pub fn with_assignors(
        config: ConsumerConfig,
        assignors: Vec<Box<dyn PartitionAssignor>>,
    ) -> Result<Self, ClientError> {
        if config.group_protocol == GroupProtocol::Consumer {
            let reason = "assignors of a member mean nothing with group.protocol=CONSUMER: see `group.remote.assignor`";
            return Err(ClientError::invalid(reason));
        }
        Self::with(config, assignors, None)
    }

    fn with(
        config: ConsumerConfig,
        assignors: Vec<Box<dyn PartitionAssignor>>,
        streams: Option<StreamsMember>,
    ) -> Result<Self, ClientError> {
        let inner = Arc::new(Inner::new(config, assignors, streams, Instant::now())?);
        inner.cluster.spawn(Arc::clone(&inner).run());
        let _gauges = gauges(&inner);
        Ok(Self { handle: Arc::new(Handle { inner, _gauges }) })
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.handle.inner
    }

    /// What this consumer has counted, under Kafka's names: `consumer-metrics`, `consumer-coordinator-metrics`, by broker
    /// `consumer-node-metrics`, and `consumer-fetch-manager-metrics` also by topic and, as long as it is assigned, by partition.
    /// Averages, largest values and rates are over `metrics.num.samples` windows of `metrics.sample.window.ms`.
    #[must_use]
    pub fn metrics(&self) -> Snapshot {
        self.inner().cluster.metrics()
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &ConsumerConfig {
        &self.inner().config
    }

    /// Subscribes to topics: the group assigns their partitions. Replaces an earlier subscription
    /// and its listener; takes effect in `poll`.
    ///
    /// # Errors
    /// [`ClientError::InvalidState`] without `group.id` or after [`assign`](Self::assign);
    /// [`ClientError::InvalidArgument`] without topics ([`unsubscribe`](Self::unsubscribe) does that).
    pub fn subscribe<T: Into<String>>(&self, topics: impl IntoIterator<Item = T>) -> Result<(), ClientError> {
        self.subscribe_topics(topics.into_iter().map(Into::into).collect(), None)
    }

    /// As [`subscribe`](Self::subscribe), with a listener that is told which partitions come and go.
    ///
    /// # Errors
    /// As [`subscribe`](Self::subscribe).
    pub fn subscribe_with<T: Into<String>>(
        &self,
        topics: impl IntoIterator<Item = T>,
        listener: impl RebalanceListener + 'static,
    ) -> Result<(), ClientError> {
        self.subscribe_topics(topics.into_iter().map(Into::into).collect(), Some(Box::new(listener)))
    }

    fn subscribe_topics(
        &self,
        topics: BTreeSet<String>,
        listener: Option<Box<dyn RebalanceListener>>,
    ) -> Result<(), ClientError> {
        self.take_subscription(listener, |core| {
            if topics.is_empty() || topics.iter().any(|topic| topic.trim().is_empty()) {
                return Err(ClientError::invalid("a subscription needs topics, and each topic a name"));
            }
            core.subscribe(topics)
        })
    }

    fn take_subscription(
        &self,
        listener: Option<Box<dyn RebalanceListener>>,
        subscribe: impl FnOnce(&mut Core) -> Result<(), ClientError>,
    ) -> Result<(), ClientError> {
        let inner = self.inner();
        inner.check_open()?;
        inner.group_id()?;
        let replaced = inner.turn(|core, _| {
            subscribe(core)?;
            Ok(std::mem::replace(&mut *inner.listener.lock(), listener))
        });
        // The application's own code, if it has some, is run by no lock's owner.
        replaced.map(drop)
    }

    /// Subscribes to all topics that match a pattern, now and later.
    ///
    /// A [`TopicPattern`] is looked at here: new topics are noticed when the metadata is read again
    /// (`metadata.max.age.ms`), which is that of all topics. A [`SubscriptionPattern`] is looked at by the group's
    /// coordinator; if that does not take it for a regular expression, `poll` fails with
    /// `INVALID_REGULAR_EXPRESSION`.
    ///
    /// # Errors
    /// [`ClientError::InvalidState`] without `group.id`, after [`assign`](Self::assign), and for a [`SubscriptionPattern`]
    /// under the classic group protocol; [`ClientError::InvalidArgument`] for one that is empty.
    pub fn subscribe_pattern(&self, pattern: impl Into<PatternSubscription>) -> Result<(), ClientError> {
        let pattern = pattern.into();
        self.take_subscription(None, |core| core.subscribe_pattern(pattern))
    }

    /// As [`subscribe_pattern`](Self::subscribe_pattern), with a listener.
    ///
    /// # Errors
    /// As [`subscribe_pattern`](Self::subscribe_pattern).
    pub fn subscribe_pattern_with(
        &self,
        pattern: impl Into<PatternSubscription>,
        listener: impl RebalanceListener + 'static,
    ) -> Result<(), ClientError> {
        let pattern = pattern.into();
        self.take_subscription(Some(Box::new(listener)), |core| core.subscribe_pattern(pattern))
    }

    /// Reads these partitions, without a group's assignment. Replaces an earlier choice; positions
    /// of partitions that stay are kept. With `group.id`, positions begin at committed offsets.
    ///
    /// # Errors
    /// [`ClientError::InvalidState`] after [`subscribe`](Self::subscribe).
    pub fn assign(&self, partitions: impl IntoIterator<Item = TopicPartition>) -> Result<(), ClientError> {
        let inner = self.inner();
        inner.check_open()?;
        let partitions: BTreeSet<TopicPartition> = partitions.into_iter().collect();
        if let Some(bad) = partitions.iter().find(|tp| tp.topic().is_empty() || tp.partition() < 0) {
            return Err(ClientError::invalid(format!("there is no partition {bad}")));
        }
        inner.turn(|core, now| core.assign(partitions, now))
    }

    /// Waits up to `timeout` for records and returns at most `max.poll.records` of them; empty after
    /// the timeout. This is also where rebalances happen: the listener and the assignor run in here.
    ///
    /// Positions move with what is returned. With `enable.auto.commit`, what an earlier `poll`
    /// returned is committed by a later one, every `auto.commit.interval.ms`.
    ///
    /// Cancel-safe: a dropped future loses no record. Only a call of the listener that was under way
    /// counts as done.
    ///
    /// # Errors
    /// - [`ClientError::NoOffsetForPartition`], [`ClientError::OffsetOutOfRange`],
    ///   [`ClientError::LogTruncated`] with `auto.offset.reset=none`: [`seek`](Self::seek), then poll
    ///   again.
    /// - [`ClientError::RecordsUnreadable`]: seek past the record.
    /// - [`ClientError::DecompressedBatchTooLarge`]: seek past the batch, or raise `max.decompressed.batch.bytes`.
    /// - [`ClientError::Wakeup`] after [`wakeup`](Self::wakeup).
    /// - [`ClientError::RebalanceCallback`] if the listener or the assignor failed.
    /// - [`ClientError::Broker`] for what cannot be repaired by trying again (authorisation, a
    ///   fenced `group.instance.id`, inconsistent protocols of the group).
    /// - [`ClientError::InvalidState`] without a subscription, or while another `poll` runs.
    pub async fn poll(&self, timeout: Duration) -> Result<ConsumerRecords, ClientError> {
        self.poll_until(timeout).await
    }

    /// Polls again and again: see [`PollStream`].
    #[must_use]
    pub fn stream(&self) -> PollStream<'_> {
        PollStream::new(self)
    }

    /// Makes the `poll` that waits, or the next one, return [`ClientError::Wakeup`].
    pub fn wakeup(&self) {
        self.inner().woken.store(true, Ordering::Release);
        self.inner().changed.notify_one();
    }

    /// The partitions that are read now.
    #[must_use]
    pub fn assignment(&self) -> BTreeSet<TopicPartition> {
        self.inner().read(Core::assignment)
    }

    /// The topics subscribed to; for a pattern, those that match. None for a [`SubscriptionPattern`], as in Kafka: the
    /// coordinator knows them.
    #[must_use]
    pub fn subscription(&self) -> BTreeSet<String> {
        self.inner().read(Core::subscription)
    }

    /// Goes on reading at an offset. What was fetched before is forgotten.
    ///
    /// # Errors
    /// [`ClientError::NotAssigned`], [`ClientError::InvalidArgument`] for a negative offset.
    pub fn seek(&self, partition: &TopicPartition, offset: impl Into<OffsetAndMetadata>) -> Result<(), ClientError> {
        let offset = offset.into();
        if offset.offset < 0 {
            return Err(ClientError::invalid(format!("offset {} to seek is negative", offset.offset)));
        }
        self.inner().turn(|core, _| core.seek(partition, &offset))
    }

    /// Goes on reading at the first record of these partitions, of all if there are none. The offset
    /// is looked up in the background.
    ///
    /// # Errors
    /// [`ClientError::NotAssigned`].
    pub fn seek_to_beginning(&self, partitions: &[TopicPartition]) -> Result<(), ClientError> {
        self.inner().turn(|core, _| core.reset(partitions, AutoOffsetReset::Earliest))
    }

    /// Goes on reading behind the last record of these partitions, of all if there are none. Under
    /// `isolation.level=read_committed` that is the last stable offset.
    ///
    /// # Errors
    /// [`ClientError::NotAssigned`].
    pub fn seek_to_end(&self, partitions: &[TopicPartition]) -> Result<(), ClientError> {
        self.inner().turn(|core, _| core.reset(partitions, AutoOffsetReset::Latest))
    }

    /// Goes on reading these partitions where a reset policy says, as if they had no committed offset and it were
    /// `auto.offset.reset`. The offset is looked up in the background.
    ///
    /// For an application with policies of its own: it runs with `auto.offset.reset` none, and answers
    /// [`ClientError::NoOffsetForPartition`] and [`ClientError::OffsetOutOfRange`] of [`poll`](Self::poll) with this.
    ///
    /// # Errors
    /// [`ClientError::NotAssigned`]; [`ClientError::InvalidArgument`] for [`AutoOffsetReset::None`].
    pub fn reset_offsets(&self, partitions: &[TopicPartition], policy: AutoOffsetReset) -> Result<(), ClientError> {
        match policy {
            AutoOffsetReset::None => {
                Err(ClientError::invalid("the reset policy none says nothing of where to read on"))
            }
            // Elsewhere no partitions stand for all of them.
            _ if partitions.is_empty() => Ok(()),
            _ => self.inner().turn(|core, _| core.reset(partitions, policy)),
        }
    }

    /// Stops returning records of these partitions until [`resume`](Self::resume). They stay
    /// assigned; a rebalance under the eager protocol ends the pause.
    ///
    /// # Errors
    /// [`ClientError::NotAssigned`].
    pub fn pause(&self, partitions: &[TopicPartition]) -> Result<(), ClientError> {
        self.inner().turn(|core, _| core.set_paused(partitions, true))
    }

    /// Returns records of these partitions again.
    ///
    /// # Errors
    /// [`ClientError::NotAssigned`].
    pub fn resume(&self, partitions: &[TopicPartition]) -> Result<(), ClientError> {
        self.inner().turn(|core, _| core.set_paused(partitions, false))
    }

    /// The partitions that are paused.
    #[must_use]
    pub fn paused(&self) -> BTreeSet<TopicPartition> {
        self.inner().read(Core::paused)
    }

    /// Whether the group counts this consumer as a member, as far as it can know: it has an assignment, the coordinator
    /// has answered within `session.timeout.ms`, and `poll` was called within `max.poll.interval.ms`. If not, its
    /// partitions may belong to others by now; a later `poll` tells. While it joins a rebalance, an eager member has none, and
    /// a cooperative one keeps them.
    ///
    /// Under `group.protocol=consumer` the coordinator keeps its session time-out to itself: there the answer may be as old as
    /// three of the heartbeat intervals that it asked for.
    ///
    /// For what must not be done by a member that was away, such as writing what was computed from its partitions.
    #[must_use]
    pub fn is_in_session(&self) -> bool {
        self.inner().is_in_session()
    }

    /// Whether a rebalance goes on in which this consumer takes part: it has asked to join, and has not taken over yet what
    /// the group assigns. Until it has, in a later `poll`, offsets cannot be committed. Under the cooperative protocol it goes
    /// on reading what it has meanwhile. Never under `group.protocol=consumer`, where nothing has to wait.
    #[must_use]
    pub fn is_rebalancing(&self) -> bool {
        self.inner().read(Core::is_rebalancing)
    }

    /// [`is_in_session`](Self::is_in_session) for who asks from elsewhere, as a producer that may
    /// [send only while](crate::Producer::send_only_while) the group counts the consumer as a member. It does not keep the
    /// consumer open: when that is closed or dropped the answer is no.
    pub fn session(&self) -> impl Fn() -> bool + Send + Sync + 'static + use<> {
        let inner = Arc::downgrade(self.inner());
        move || inner.upgrade().is_some_and(|inner| inner.is_in_session())
    }

    /// This member's place in its group, for a transactional producer to commit offsets with.
    ///
    /// # Errors
    /// [`ClientError::InvalidState`] without `group.id`.
    pub fn group_metadata(&self) -> Result<ConsumerGroupMetadata, ClientError> {
        self.inner().group_id()?;
        let metadata = self.inner().read(Core::group_metadata);
        metadata.ok_or_else(|| ClientError::state("the consumer has no group"))
    }

    /// Has the group rebalance at the next `poll`; `reason` stands in the coordinator's log. Under `group.protocol=consumer`
    /// the coordinator decides that alone, and this does nothing but log a warning.
    ///
    /// # Errors
    /// [`ClientError::InvalidState`] without a subscription.
    pub fn enforce_rebalance(&self, reason: &str) -> Result<(), ClientError> {
        self.inner().turn(|core, _| core.enforce_rebalance(reason))
    }

    /// Partitions, leaders and replicas of a topic. Cancel-safe.
    ///
    /// # Errors
    /// [`ClientError::Broker`] with `UNKNOWN_TOPIC_OR_PARTITION` if it does not appear within
    /// `default.api.timeout.ms`.
    pub async fn partitions_for(&self, topic: &str) -> Result<Arc<TopicMetadata>, ClientError> {
        let inner = self.inner();
        inner.check_open()?;
        let found = inner.cluster.topic(topic).await;
        if !inner.read(|core| core.tracks(topic)) {
            inner.cluster.untrack([topic]);
        }
        found
    }

    /// All topics that the consumer may see, by name. Cancel-safe.
    ///
    /// # Errors
    /// [`ClientError::NoBrokerAvailable`], [`ClientError::Timeout`] after `default.api.timeout.ms`, and whatever a request
    /// may meet.
    pub async fn list_topics(&self) -> Result<BTreeMap<String, Arc<TopicMetadata>>, ClientError> {
        let inner = self.inner();
        inner.check_open()?;
        let within = inner.cluster.within_api_timeout(|| "metadata of all topics".to_owned());
        let snapshot = within.wait(inner.cluster.all_topics()).await?;
        Ok(snapshot.topics().map(|topic| (topic.name.to_string(), Arc::clone(topic))).collect())
    }

    /// Commits, gives up partitions, leaves the group and closes all connections, within `timeout`.
    /// Other handles get [`ClientError::Closed`] from then on. A static member stays in its group (under
    /// `group.protocol=consumer` it says that it will be back), until its session is over.
    ///
    /// Not cancel-safe: a dropped future may have done a part of this; dropping the last handle
    /// does the rest without committing.
    ///
    /// # Errors
    /// The first of: a failed commit, a failed listener; [`ClientError::InvalidState`] while `poll`
    /// runs. The consumer is closed in any case but the last.
    pub async fn close(&self, timeout: Duration) -> Result<(), ClientError> {
        self.close_with(CloseOptions::timeout(timeout)).await
    }

    /// As [`close`](Self::close), with what becomes of the membership (KIP-1092).
    ///
    /// # Errors
    /// As [`close`](Self::close).
    pub async fn close_with(&self, options: CloseOptions) -> Result<(), ClientError> {
        self.close_within(options.timeout, options.operation).await
    }

    /// Ends subscription and assignment; a member leaves its group, after the listener was told.
    ///
    /// Not cancel-safe: a dropped future may have called the listener without leaving.
    ///
    /// # Errors
    /// [`ClientError::RebalanceCallback`], after everything was done.
    pub async fn unsubscribe(&self) -> Result<(), ClientError> {
        let _guard = self.exclude_poll()?;
        self.inner().check_open()?;
        let result = self.give_up_partitions().await;
        self.inner().turn(|core, _| {
            core.unsubscribe("the consumer unsubscribed from all topics", GroupMembershipOperation::Default)
        });
        let listener = self.inner().listener.lock().take();
        drop(listener);
        result
    }
}

/// What is looked up in the consumer when its metrics are read.
fn gauges(inner: &Arc<Inner>) -> [Gauge; 4] {
    let gauge = |group, definition, look: fn(&Inner) -> f64| {
        // The consumer does not live on for its metrics.
        let weak = Arc::downgrade(inner);
        inner.cluster.recorder().gauge(group, definition, move || weak.upgrade().map_or(f64::NAN, |inner| look(&inner)))
    };
    [
        gauge(define::CONSUMER, &define::LAST_POLL, |inner| inner.metrics.seconds_ago(Instant::now()).poll),
        gauge(define::COORDINATOR, &define::LAST_HEARTBEAT, |inner| {
            inner.metrics.seconds_ago(Instant::now()).heartbeat
        }),
        gauge(define::COORDINATOR, &define::LAST_REBALANCE, |inner| {
            inner.metrics.seconds_ago(Instant::now()).rebalance
        }),
        gauge(define::COORDINATOR, &define::ASSIGNED_PARTITIONS, |inner| {
            inner.read(|core| core.assignment().len()) as f64
        }),
    ]
}

/// A commit that was started by [`Consumer::commit_async`]; wait for it or drop it.
#[derive(Debug)]
pub struct CommitHandle {
    result: oneshot::Receiver<Result<(), ClientError>>,
}

impl CommitHandle {
    /// Waits until the commit is done. Cancel-safe: the commit goes on without this.
    ///
    /// # Errors
    /// As [`Consumer::commit_sync`], and every retriable error, since nothing is tried again.
    pub async fn wait(self) -> Result<(), ClientError> {
        self.result.await.unwrap_or(Err(ClientError::Closed))
    }
}
