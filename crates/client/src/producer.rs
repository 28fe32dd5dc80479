//! The producer: records into batches, batches to the brokers.
//!
//! Kafka's semantics: idempotent by default (KIP-679), up to five requests in flight with the order of each partition
//! kept, sticky partitioning that is uniform in bytes (KIP-794), back-pressure by `buffer.memory`, transactions of both
//! generations (KIP-98, KIP-890). Any thread appends its record straight into the batch of the partition; one task sends.

mod accumulator;
mod batch;
mod buffer_pool;
mod delivery;
mod io;
mod lane;
mod observe;
mod partitioner;
mod pending;
mod permit;
mod record;
mod sender;
mod sticky;
mod tags;
mod transaction;
mod typed;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub use delivery::Delivery;
pub use partitioner::{DefaultPartitioner, Partitioner, RoundRobinPartitioner, TopicPartitions};
pub use record::{ProducerRecord, RecordMetadata};
pub use tags::{FailedRecord, RecordTag};
pub use transaction::Transaction;
pub use typed::TypedProducer;
pub use vltava_protocol::record::{HeaderView, partition_for_key};

use vltava_metrics::{Gauge, Snapshot};

use crate::config::ProducerConfig;
use crate::error::ClientError;
use crate::metrics::{ProducerMetrics, Timed, producer_definitions as define};
use crate::net::{Cluster, PartitionMetadata};
use accumulator::{Accumulator, AccumulatorSettings, Appended, PartitionQueue, TopicQueues};
use io::Wake;
use observe::{ByCallback, ByDelivery, ByDeliveryAndTag, ByFlush, ByTag, Observe};
use sender::{Sender, SenderSettings};
use transaction::manager::TransactionSettings;

/// Sends records to a Kafka cluster. Thread-safe and cheap to clone; all clones are one producer.
///
/// [`send`](Self::send) waits only for room in the buffer and gives a future of the record's metadata. Records of one
/// partition are written in the order in which they were given, also through retries.
///
/// # Order
/// Across partitions, what was given first does not *arrive at one broker* later: of two records for partitions that one
/// broker leads, the one that was given first (its `send` was over before the other began) is in the same request or in an
/// earlier one. When a batch is due (it is full, or `linger.ms` is over), everything that was given for its broker goes with
/// it. This holds also when connections break.
///
/// It does not hold
/// * for a partition whose batch the broker *refused* and that is sent again (too few replicas, another leader, a time-out
///   at the broker): it comes later, in its partition's order, and others do not wait for it;
/// * between what was given before and after a partition's leader moved to another broker;
/// * across brokers, of which one may be slower.
///
/// Where one record must not be there without others, [`hold_back`](Self::hold_back) and [`barrier`](Self::barrier) promise
/// that over all brokers and all failures.
///
/// When the last clone is dropped, what is buffered is still sent in the background as long as the runtime lives;
/// [`close`](Self::close) waits for it.
///
/// ```no_run
/// # async fn example() -> Result<(), vltava_client::ClientError> {
/// use vltava_client::producer::{Producer, ProducerRecord};
/// use vltava_client::ProducerConfig;
///
/// let producer = Producer::new(ProducerConfig::builder().bootstrap_servers("localhost:9092").build()?)?;
/// let delivery = producer.send(ProducerRecord::new("users").key("1").value("mitch")).await?;
/// let metadata = delivery.await?;
/// println!("{}-{} at {:?}", metadata.topic, metadata.partition, metadata.offset);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Producer {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: ProducerConfig,
    cluster: Cluster,
    accumulator: Arc<Accumulator>,
    wake: Arc<Wake>,
    partitioner: Choice,
    _gauges: [Gauge; 5],
}

/// The default partitioner is called directly, it is on the path of every record.
#[derive(Debug)]
enum Choice {
    Default(DefaultPartitioner),
    Other(Box<dyn Partitioner>),
}

impl Choice {
    #[inline]
    fn partition(&self, record: &ProducerRecord<'_>, topic: TopicPartitions) -> Option<i32> {
        match self {
            Self::Default(partitioner) => partitioner.partition(record, topic),
            Self::Other(partitioner) => partitioner.partition(record, topic),
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.accumulator.close();
        self.wake.wake();
    }
}

/// What became of an attempt to place a record without waiting.
enum Placed<O: Observe> {
    Done(O::Tag),
    NeedsMemory { size: usize, observe: O },
    NeedsTopic { observe: O },
    NoSuchPartition { observe: O, partition: i32, count: usize },
}

impl Producer {
    /// A producer with the partitioner that the configuration names. Connects when the first record is sent.
    ///
    /// # Errors
    /// [`ClientError::NoRuntime`] outside of a tokio runtime.
    pub fn new(config: ProducerConfig) -> Result<Self, ClientError> {
        let partitioner = if config.round_robin {
            Choice::Other(Box::new(RoundRobinPartitioner::default()))
        } else {
            Choice::Default(DefaultPartitioner { ignore_keys: config.partitioner_ignore_keys })
        };
        Self::start(config, partitioner)
    }

    /// A producer with a partitioner of one's own.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_partitioner(
        config: ProducerConfig,
        partitioner: impl Partitioner + 'static,
    ) -> Result<Self, ClientError> {
        Self::start(config, Choice::Other(Box::new(partitioner)))
    }

    fn start(config: ProducerConfig, partitioner: Choice) -> Result<Self, ClientError> {
        let cluster = Cluster::new(&config.common)?;
        cluster.set_allow_auto_topic_creation(true);
        cluster.set_metadata_max_idle(config.metadata_max_idle);
        let accumulator = Accumulator::new(AccumulatorSettings {
            batch_size: config.batch_size,
            buffer_memory: config.buffer_memory,
            max_request_size: config.max_request_size,
            codec: config.codec,
            adaptive_partitioning: config.adaptive_partitioning,
        });
        let accumulator = accumulator.with_metrics(ProducerMetrics::new(cluster.recorder().clone()));
        let accumulator = Arc::new(match &config.transactional_id {
            Some(transactional_id) => accumulator.with_transactions(TransactionSettings {
                transactional_id: Arc::clone(transactional_id),
                retry_backoff: config.common.retry_backoff,
                retry_backoff_max: config.common.retry_backoff_max,
            }),
            None => accumulator,
        });
        let sender = Sender::new(SenderSettings::from(&config), Arc::clone(&accumulator));
        let wake = Arc::new(Wake::default());
        cluster.spawn(io::run(config.clone(), cluster.clone(), Arc::clone(&accumulator), sender, Arc::clone(&wake)));
        let _gauges = gauges(&cluster, &accumulator);
        Ok(Self { inner: Arc::new(Inner { config, cluster, accumulator, wake, partitioner, _gauges }) })
    }

    /// What this producer has counted, under Kafka's names: `producer-metrics`, by broker `producer-node-metrics`, and by
    /// topic, as long as its metadata is kept (`metadata.max.idle.ms`), `producer-topic-metrics`. Averages, largest values and
    /// rates are over `metrics.num.samples` windows of `metrics.sample.window.ms`.
    #[must_use]
    pub fn metrics(&self) -> Snapshot {
        self.inner.cluster.metrics()
    }

    /// Where the producer counts for itself.
    fn counts(&self) -> &ProducerMetrics {
        &self.inner.accumulator.metrics
    }

    /// Puts a record into the batch of its partition, waiting up to `max.block.ms` for the topic's metadata and for room
    /// in `buffer.memory`, and gives the future of its metadata. Dropping that future changes nothing for the record.
    ///
    /// Cancel-safe: a future dropped before it is ready has not sent the record.
    ///
    /// # Errors
    /// [`ClientError::RecordTooLarge`], [`ClientError::InvalidPartition`], [`ClientError::Broker`] with the topic's error,
    /// [`ClientError::Timeout`] if there was no room in time, [`ClientError::Closed`]. What happens to the record after
    /// that is the future's result: there, [`ClientError::Timeout`] means that it was not acknowledged in
    /// `delivery.timeout.ms`.
    ///
    /// With `transactional.id` also [`ClientError::InvalidState`] outside of a [transaction](Self::begin_transaction), and
    /// [`ClientError::TransactionFailed`] or [`ClientError::ProducerFailed`] after a failure. A record that is refused for good
    /// makes its transaction fail, as one does whose delivery fails: none has to be looked at before the commit.
    pub async fn send(&self, record: ProducerRecord<'_>) -> Result<Delivery, ClientError> {
        self.place(&record, ByDelivery).await
    }

    /// As [`send`](Self::send), and calls back with the record's fate, in the order of the partition's records. The
    /// callback runs on the producer's task: it must be short and never block.
    ///
    /// # Errors
    /// As [`send`](Self::send); the callback is not called then.
    pub async fn send_with<F>(&self, record: ProducerRecord<'_>, callback: F) -> Result<(), ClientError>
    where
        F: FnOnce(Result<RecordMetadata, ClientError>) + Send + 'static,
    {
        self.place(&record, ByCallback(Box::new(callback))).await
    }

    /// As [`send`](Self::send) without waiting for anything: for threads that must not block.
    ///
    /// # Errors
    /// As [`send`](Self::send), and [`ClientError::WouldBlock`] if the topic's metadata is not there yet (it is being
    /// fetched then) or the buffer is full.
    pub fn try_send(&self, record: ProducerRecord<'_>) -> Result<Delivery, ClientError> {
        self.place_now(&record, ByDelivery)
    }

    /// As [`try_send`](Self::try_send) for records whose fate nobody waits for: the cheapest way to send. A failure is told
    /// by the next [`flush`](Self::flush).
    ///
    /// # Errors
    /// As [`try_send`](Self::try_send).
    pub fn send_nowait(&self, record: ProducerRecord<'_>) -> Result<(), ClientError> {
        self.place_now(&record, ByFlush)
    }

    /// As [`send_nowait`](Self::send_nowait); if the record fails later, [`take_failed`](Self::take_failed) tells it with
    /// this tag, and not the flush.
    ///
    /// # Errors
    /// As [`try_send`](Self::try_send).
    pub fn send_nowait_tagged(&self, record: ProducerRecord<'_>, tag: RecordTag) -> Result<(), ClientError> {
        self.place_now(&record, ByTag(tag))
    }

    /// As [`try_send`](Self::try_send); [`take_failed`](Self::take_failed) tells a failure too.
    ///
    /// # Errors
    /// As [`try_send`](Self::try_send).
    pub fn try_send_tagged(&self, record: ProducerRecord<'_>, tag: RecordTag) -> Result<Delivery, ClientError> {
        self.place_now(&record, ByDeliveryAndTag(tag))
    }

    /// As [`send`](Self::send); [`take_failed`](Self::take_failed) tells a failure too.
    ///
    /// Cancel-safe: a future dropped before it is ready has not sent the record.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn send_tagged(&self, record: ProducerRecord<'_>, tag: RecordTag) -> Result<Delivery, ClientError> {
        self.place(&record, ByDeliveryAndTag(tag)).await
    }

    /// Takes those records with a tag that have failed for good since the last call, in the order in which it was known.
    /// After a [`flush`](Self::flush) that is all of them. Cheap where there are none.
    #[must_use]
    pub fn take_failed(&self) -> Vec<FailedRecord> {
        self.inner.accumulator.take_failed()
    }

    fn place_now<O: Observe>(&self, record: &ProducerRecord<'_>, observe: O) -> Result<O::Tag, ClientError> {
        self.place_without_wait(record, observe).map_err(|error| self.refuse(error))
    }

    fn place_without_wait<O: Observe>(&self, record: &ProducerRecord<'_>, observe: O) -> Result<O::Tag, ClientError> {
        match self.try_place(record, observe)? {
            Placed::Done(tag) => Ok(tag),
            Placed::NeedsMemory { .. } => {
                self.inner.wake.wake();
                Err(ClientError::WouldBlock { reason: "`buffer.memory` is used up" })
            }
            Placed::NeedsTopic { .. } => {
                self.fetch_in_background(record.topic);
                Err(ClientError::WouldBlock { reason: "the topic's metadata is not known yet" })
            }
            Placed::NoSuchPartition { partition, count, .. } => {
                Err(ClientError::InvalidPartition { topic: record.topic.into(), partition, count })
            }
        }
    }

    fn fetch_in_background(&self, topic: &str) {
        let (producer, topic) = (self.clone(), topic.to_owned());
        self.inner.cluster.spawn(async move {
            if let Err(error) = producer.adopt_topic(&topic).await {
                tracing::debug!(topic, "no metadata: {error}");
            }
        });
    }

    #[inline]
    async fn place<O: Observe>(&self, record: &ProducerRecord<'_>, observe: O) -> Result<O::Tag, ClientError> {
        let placed = match self.try_place(record, observe) {
            Ok(Placed::Done(tag)) => return Ok(tag),
            Ok(other) => self.place_slowly(record, other).await,
            Err(error) => Err(error),
        };
        placed.map_err(|error| self.refuse(error))
    }

    /// A record is not taken. One that was refused for good is missing in its transaction, whether the caller looks or not:
    /// that cannot be committed any more, as in Kafka.
    #[cold]
    fn refuse(&self, error: ClientError) -> ClientError {
        let is_for_good = !matches!(error, ClientError::WouldBlock { .. } | ClientError::InvalidState { .. });
        if is_for_good {
            self.counts().refused(Instant::now());
        }
        if is_for_good && self.inner.accumulator.transact(|manager| manager.record_refused(&error)).is_some() {
            self.inner.wake.wake();
        }
        error
    }

    /// Waits for what is missing, `max.block.ms` in all.
    #[cold]
    async fn place_slowly<O: Observe>(
        &self,
        record: &ProducerRecord<'_>,
        first: Placed<O>,
    ) -> Result<O::Tag, ClientError> {
        let limit = self.inner.config.max_block;
        let deadline = Instant::now() + limit;
        let metadata = self.inner.cluster.within(deadline, limit, || format!("metadata of {}", record.topic));
        let mut placed = first;
        let mut has_refreshed = false;
        loop {
            let observe = match placed {
                Placed::Done(tag) => return Ok(tag),
                Placed::NeedsMemory { size, observe } => {
                    let room = self.inner.accumulator.memory.wait(size, || self.inner.wake.wake());
                    let what = || ClientError::timeout("waiting for `buffer.memory`", limit);
                    let mut ended = self.inner.wake.ended.subscribe();
                    let begun = Instant::now();
                    let in_time = tokio::select! {
                        room = tokio::time::timeout_at(deadline.into(), room) => room.is_ok(),
                        // Nobody makes room any more: the next attempt says why.
                        _ = ended.wait_for(|ended| *ended) => true,
                    };
                    let now = Instant::now();
                    self.counts().timed(Timed::Memory, begun, now);
                    if !in_time {
                        self.counts().exhausted(now);
                        return Err(what());
                    }
                    observe
                }
                Placed::NeedsTopic { observe } => {
                    self.inner.accumulator.check_open()?;
                    let begun = Instant::now();
                    let adopted = metadata.wait(self.adopt_topic(record.topic)).await;
                    self.counts().timed(Timed::Metadata, begun, Instant::now());
                    adopted?;
                    observe
                }
                Placed::NoSuchPartition { partition, count, .. } if has_refreshed => {
                    return Err(ClientError::InvalidPartition { topic: record.topic.into(), partition, count });
                }
                Placed::NoSuchPartition { observe, .. } => {
                    // It may have been added since the metadata was read.
                    has_refreshed = true;
                    metadata.wait(self.inner.cluster.refresh()).await?;
                    metadata.wait(self.adopt_topic(record.topic)).await?;
                    observe
                }
            };
            placed = self.try_place(record, observe)?;
        }
    }

    /// Learns of a topic's partitions.
    async fn adopt_topic(&self, topic: &str) -> Result<(), ClientError> {
        let metadata = self.inner.cluster.topic(topic).await?;
        self.inner.accumulator.adopt(&metadata);
        Ok(())
    }

    #[inline]
    fn try_place<O: Observe>(&self, record: &ProducerRecord<'_>, observe: O) -> Result<Placed<O>, ClientError> {
        let size = record.size_upper_bound();
        self.check_size(size)?;
        let inner = &*self.inner;
        let mut observe = Some(observe);
        let placed = inner.accumulator.with_topic(record.topic, |topic| {
            let count = topic.partitions.len();
            let partition = self.choose(record, topic);
            let (target, observe) = match (usize::try_from(partition).ok(), observe.take()) {
                (_, None) => return Err(ClientError::Closed),
                (index, Some(observe)) => match index.and_then(|index| topic.partitions.get(index)) {
                    Some(target) => (target, observe),
                    None => return Ok(Placed::NoSuchPartition { observe, partition, count }),
                },
            };
            self.append(record, topic, target, size, observe)
        });
        match (placed, observe) {
            (Some(placed), _) => placed,
            (None, Some(observe)) => Ok(Placed::NeedsTopic { observe }),
            (None, None) => Err(ClientError::Closed),
        }
    }

    #[inline]
    fn append<O: Observe>(
        &self,
        record: &ProducerRecord<'_>,
        topic: &TopicQueues,
        target: &Arc<PartitionQueue>,
        size: usize,
        observe: O,
    ) -> Result<Placed<O>, ClientError> {
        let inner = &*self.inner;
        let timestamp = record.timestamp.unwrap_or_else(now_ms);
        match inner.accumulator.append(target, record, timestamp, observe, Instant::now)? {
            Appended::Done { tag, is_batch_start, wake } => {
                if record.partition.is_none() {
                    let limit = inner.config.batch_size;
                    topic.sticky.record(topic, target.partition, size, limit, is_batch_start);
                }
                if wake {
                    inner.wake.wake();
                }
                Ok(Placed::Done(tag))
            }
            Appended::NeedsMemory { size, observe } => Ok(Placed::NeedsMemory { size, observe }),
        }
    }

    /// The partition for a record. What a partitioner says is not trusted further than an index.
    #[inline]
    fn choose(&self, record: &ProducerRecord<'_>, topic: &TopicQueues) -> i32 {
        if let Some(partition) = record.partition {
            return partition;
        }
        let partitions = TopicPartitions::of(i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX));
        match self.inner.partitioner.partition(record, partitions) {
            Some(partition) => partition,
            None => topic.sticky.current(topic),
        }
    }

    #[inline]
    fn check_size(&self, size: usize) -> Result<(), ClientError> {
        let config = &self.inner.config;
        if size > config.max_request_size {
            return Err(ClientError::RecordTooLarge {
                size,
                setting: "max.request.size",
                limit: config.max_request_size,
            });
        }
        if size.max(config.batch_size) > config.buffer_memory {
            let size = size.max(config.batch_size);
            return Err(ClientError::RecordTooLarge { size, setting: "buffer.memory", limit: config.buffer_memory });
        }
        Ok(())
    }

    /// Sends everything that was given before at once and waits until each record has its fate and every callback has run.
    /// What is [held back](Self::hold_back) goes behind the rest; end the unit of work with a [`barrier`](Self::barrier)
    /// before.
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    /// The first failure of a record sent by [`send_nowait`](Self::send_nowait) since the last flush: those of other
    /// records are their futures' and callbacks'. [`ClientError::HeldBack`] if records stay held back, behind one that
    /// failed or for want of a barrier. [`ClientError::Closed`] if the producer's runtime has ended.
    pub async fn flush(&self) -> Result<(), ClientError> {
        let accumulator = &self.inner.accumulator;
        let mut ended = self.inner.wake.ended.subscribe();
        let begun = Instant::now();
        let flushed = tokio::select! {
            biased;
            over = accumulator.flush(|| self.inner.wake.wake()) => over,
            _ = ended.wait_for(|ended| *ended) => Err(ClientError::Closed),
        };
        self.counts().timed(Timed::Flush, begun, Instant::now());
        flushed
    }

    /// From now on the topic's records are *held back*: one goes to its broker only when every record of a topic that is not
    /// held back, given before the [`barrier`](Self::barrier) that follows it, is acknowledged, on whatever broker that is.
    /// For records that say what was done, such as a changelog's, which must never be there without the results.
    ///
    /// Call it before the topic's first record. Records of topics that are held back keep their order among each other as
    /// others do. `delivery.timeout.ms` counts from when they are given: what may go too late is given up, and not sent behind
    /// what others have written meanwhile. As long as it is held back it does not fail. When they take all of `buffer.memory`
    /// and a record waits for room, they are let go as if there were a barrier, with a warning: the memory has to hold what is
    /// written between two barriers.
    pub fn hold_back(&self, topic: &str) {
        self.inner.accumulator.hold_back(topic);
    }

    /// Ends a unit of work: what was [held back](Self::hold_back) up to now may go as soon as everything else that was given
    /// up to now is acknowledged. Waits for nothing and costs nanoseconds, so that it may follow every record that is
    /// processed. It counts for the whole producer, so that its clones must not give the records of one unit beside another.
    ///
    /// A record that has failed for good keeps held back what was given with it and later. The next barrier that is called
    /// when the failure is known, that is, after [`take_failed`](Self::take_failed) or [`flush`](Self::flush) told it where
    /// they tell it, accepts the failure and lets go what was held back. Who cannot accept it calls
    /// [`discard_held`](Self::discard_held) instead, or closes the producer.
    #[inline]
    pub fn barrier(&self) {
        if self.inner.accumulator.barrier() {
            self.inner.wake.wake();
        }
    }

    /// Gives up the records of a partition that are [held back](Self::hold_back) and may not go yet: they fail with
    /// [`ClientError::HeldBack`]. How many that are.
    pub fn discard_held(&self, topic: &str, partition: i32) -> usize {
        let count = self.inner.accumulator.discard_held(topic, partition);
        self.inner.wake.wake();
        count
    }

    /// From now on records are sent only while `may_send` says so. It is asked right before the bytes of a request are
    /// written to its connection, so that a process that was stopped (by SIGSTOP, or because its machine was too busy) does
    /// not write what it was about to when it goes on, if others have its work by then. What is in the operating system's
    /// buffers arrives, if it does, whatever is said.
    ///
    /// While it says no, records wait, `delivery.timeout.ms` counts, and a connection that was in the midst of a request is
    /// given up; it is asked again every 50 ms. Who knows that it will not say yes for these records calls
    /// [`discard_all`](Self::discard_all). It is asked on the tasks of the producer and its connections, and must be quick.
    ///
    /// # Errors
    /// [`ClientError::InvalidState`] if the producer has a condition already.
    pub fn send_only_while(&self, may_send: impl Fn() -> bool + Send + Sync + 'static) -> Result<(), ClientError> {
        match self.inner.accumulator.permit.set(may_send) {
            true => Ok(()),
            false => Err(ClientError::state("the producer has a condition for sending already")),
        }
    }

    /// Whether records may be sent, as far as [`send_only_while`](Self::send_only_while) says. While they may not, room in a
    /// full buffer is made by nobody but [`discard_all`](Self::discard_all).
    #[must_use]
    pub fn may_send(&self) -> bool {
        self.inner.accumulator.permit.may_send()
    }

    /// Gives up all records that are not acknowledged, whatever they wait for: when this returns, none of them is sent any
    /// more. Those that were sent may be written or not. They fail with [`ClientError::Discarded`]; neither
    /// [`flush`](Self::flush) nor [`take_failed`](Self::take_failed) tells that, and nothing is held back behind them.
    pub fn discard_all(&self) {
        self.inner.accumulator.discard_all();
        self.inner.wake.wake();
    }

    /// Takes no more records, sends what is buffered, and closes the connections. Records that are not acknowledged after
    /// `timeout` fail with [`ClientError::Closed`]; those that are [held back](Self::hold_back) for want of a barrier, or
    /// behind a failure, with [`ClientError::HeldBack`].
    ///
    /// Closes all clones. Closing again waits again.
    ///
    /// # Errors
    /// [`ClientError::Timeout`] if records had to be given up.
    pub async fn close(&self, timeout: Duration) -> Result<(), ClientError> {
        self.inner.accumulator.close();
        self.inner.wake.wake();
        let mut ended = self.inner.wake.ended.subscribe();
        let in_time = tokio::time::timeout(timeout, ended.wait_for(|ended| *ended)).await.is_ok();
        if !in_time {
            self.inner.wake.abandon();
            // The sender of this channel lives as long as we do.
            let _ = ended.wait_for(|ended| *ended).await;
        }
        self.inner.cluster.close();
        if in_time { Ok(()) } else { Err(ClientError::timeout("closing the producer", timeout)) }
    }

    /// The partitions of a topic, from the metadata, which is read if need be.
    ///
    /// # Errors
    /// [`ClientError::Broker`] with the topic's error, [`ClientError::NoBrokerAvailable`].
    pub async fn partitions_for(&self, topic: &str) -> Result<Vec<PartitionMetadata>, ClientError> {
        let metadata = self.inner.cluster.topic(topic).await?;
        self.inner.accumulator.adopt(&metadata);
        Ok(metadata.partitions.clone())
    }

    /// How many bytes of `buffer.memory` are in use.
    #[must_use]
    pub fn buffered_bytes(&self) -> usize {
        self.inner.accumulator.memory.used()
    }

    /// The brokers that this producer talks to, for requests of one's own.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.inner.cluster
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &ProducerConfig {
        &self.inner.config
    }
}

impl From<&ProducerConfig> for SenderSettings {
    fn from(config: &ProducerConfig) -> Self {
        Self {
            acks: config.acks,
            idempotent: config.enable_idempotence,
            linger: config.linger,
            delivery_timeout: config.delivery_timeout,
            retries: config.retries,
            retry_backoff: config.common.retry_backoff,
            retry_backoff_max: config.common.retry_backoff_max,
            max_in_flight: config.max_in_flight,
            max_request_size: config.max_request_size,
            availability_timeout: config.partitioner_availability_timeout,
        }
    }
}

/// What is looked up in the producer when its metrics are read.
fn gauges(cluster: &Cluster, accumulator: &Arc<Accumulator>) -> [Gauge; 5] {
    let of_memory = |definition, look: fn(&Accumulator) -> usize| {
        let accumulator = Arc::clone(accumulator);
        cluster.recorder().gauge(define::PRODUCER, definition, move || look(&accumulator) as f64)
    };
    let of_cluster = |definition, look: fn(&Cluster) -> f64| {
        // Held by the producer, and not by its cluster.
        let looked_at = cluster.clone();
        cluster.recorder().gauge(define::PRODUCER, definition, move || look(&looked_at))
    };
    [
        of_memory(&define::BUFFER_TOTAL, |accumulator| accumulator.settings().buffer_memory),
        of_memory(&define::BUFFER_AVAILABLE, |accumulator| {
            accumulator.settings().buffer_memory.saturating_sub(accumulator.memory.used())
        }),
        of_memory(&define::WAITING, |accumulator| accumulator.memory.waiters()),
        of_cluster(&define::REQUESTS_IN_FLIGHT, |cluster| cluster.in_flight() as f64),
        of_cluster(&define::METADATA_AGE, |cluster| {
            cluster.metadata_age(Instant::now()).map_or(0.0, |age| age.as_secs_f64())
        }),
    ]
}

#[inline]
fn now_ms() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
