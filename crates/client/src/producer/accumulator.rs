//! Records on their way into batches: one queue per partition, filled by any thread, emptied by the sender.
//!
//! No clock, no socket: who appends gives the time, and is told whether the sender has something to look at.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashSet};
use parking_lot::{Mutex, RwLock};
use vltava_protocol::record::{Codec, Compression, CompressionRatioEstimator, RecordBatchBuilder};

use super::batch::Batch;
use super::buffer_pool::BufferPool;
use super::delivery::{BatchCompletion, Outcome};
use super::lane::{Lane, Lanes, NOWHERE};
use super::observe::Observe;
use super::pending::Pending;
use super::permit::Permit;
use super::record::ProducerRecord;
use super::sticky::StickyPartition;
use super::tags::FailedRecord;
use super::transaction::manager::{TransactionManager, TransactionSettings};
use crate::error::ClientError;
use crate::metrics::ProducerMetrics;
use crate::net::TopicMetadata;

/// What the accumulator needs of the configuration.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AccumulatorSettings {
    pub(crate) batch_size: usize,
    pub(crate) buffer_memory: usize,
    pub(crate) max_request_size: usize,
    pub(crate) codec: Codec,
    pub(crate) adaptive_partitioning: bool,
}

/// Why records are not taken, as bits.
const CLOSED: u8 = 1;
const NO_TRANSACTION: u8 = 2;

/// All records that are not acknowledged.
#[derive(Debug)]
pub(crate) struct Accumulator {
    settings: AccumulatorSettings,
    pub(crate) memory: BufferPool,
    pub(crate) metrics: ProducerMetrics,
    topics: RwLock<HashMap<Arc<str>, Arc<TopicQueues>, RandomState>>,
    /// Partitions that got a record since the sender looked.
    activated: Mutex<Vec<Arc<PartitionQueue>>>,
    pub(crate) pending: Pending,
    pub(crate) permit: Permit,
    lanes: Lanes,
    /// Topics that are held back.
    held: Mutex<HashSet<Arc<str>, RandomState>>,
    flushing: AtomicUsize,
    /// Whether records are not taken, and why.
    refuses: AtomicU8,
    /// Why nobody sends any more, if that was not asked for.
    failure: OnceLock<ClientError>,
    /// With `transactional.id`. Whoever changes it says by [`transact`](Self::transact) what.
    transactions: Option<Mutex<TransactionManager>>,
    next_id: AtomicU64,
    /// The first failure of a record that nobody waits for.
    unobserved_failure: Mutex<Option<ClientError>>,
    /// Records with a tag that were given up.
    failed: Mutex<Vec<FailedRecord>>,
    has_failed: AtomicBool,
}

/// The queues of one topic.
#[derive(Debug)]
pub(crate) struct TopicQueues {
    pub(crate) partitions: Vec<Arc<PartitionQueue>>,
    pub(crate) sticky: Arc<StickyPartition>,
}

/// The batches of one partition that were not sent.
#[derive(Debug)]
pub(crate) struct PartitionQueue {
    /// Distinguishes partitions for the sender.
    pub(crate) id: u64,
    pub(crate) topic: Arc<str>,
    pub(crate) partition: i32,
    /// Batches in the queue, for the choice of the sticky partition.
    pub(crate) waiting: AtomicU32,
    /// Whether records without a key may come here.
    pub(crate) available: AtomicBool,
    /// Who leads it, as far as its lane knows.
    node: AtomicI32,
    is_held: AtomicBool,
    queue: Mutex<Queue>,
    ratio: Arc<Mutex<CompressionRatioEstimator>>,
}

#[derive(Debug)]
struct Queue {
    /// The last one is written to.
    batches: VecDeque<Batch>,
    /// Whether the sender knows that there is something.
    is_active: bool,
    /// With which other partitions' batches they may go.
    lane: Arc<Lane>,
}

/// What became of a record.
pub(crate) enum Appended<O: Observe> {
    /// It is in a batch; whether a new one, and whether the sender should be woken.
    Done { tag: O::Tag, is_batch_start: bool, wake: bool },
    /// This many bytes of memory have to be free first.
    NeedsMemory { size: usize, observe: O },
}

impl Accumulator {
    pub(crate) fn new(settings: AccumulatorSettings) -> Self {
        Self {
            memory: BufferPool::new(settings.buffer_memory, settings.batch_size),
            metrics: ProducerMetrics::default(),
            settings,
            lanes: Lanes::new(settings.max_request_size),
            topics: RwLock::default(),
            activated: Mutex::default(),
            pending: Pending::default(),
            permit: Permit::default(),
            held: Mutex::default(),
            flushing: AtomicUsize::new(0),
            refuses: AtomicU8::new(0),
            failure: OnceLock::new(),
            transactions: None,
            next_id: AtomicU64::new(0),
            unobserved_failure: Mutex::default(),
            failed: Mutex::default(),
            has_failed: AtomicBool::new(false),
        }
    }

    /// The same with sensors.
    pub(crate) fn with_metrics(self, metrics: ProducerMetrics) -> Self {
        Self { metrics, ..self }
    }

    /// The same for a producer with transactions: records are taken while one is open.
    pub(crate) fn with_transactions(self, settings: TransactionSettings) -> Self {
        let refuses = AtomicU8::new(NO_TRANSACTION);
        Self { refuses, transactions: Some(Mutex::new(TransactionManager::new(settings))), ..self }
    }

    /// Has something done with the transactions. `None` for a producer without.
    pub(crate) fn transact<T>(&self, change: impl FnOnce(&mut TransactionManager) -> T) -> Option<T> {
        let mut manager = self.transactions.as_ref()?.lock();
        let result = change(&mut manager);
        match manager.is_open() {
            true => self.refuses.fetch_and(!NO_TRANSACTION, Ordering::AcqRel),
            false => self.refuses.fetch_or(NO_TRANSACTION, Ordering::AcqRel),
        };
        Some(result)
    }

    /// Fails if records are not taken now.
    #[inline]
    pub(crate) fn check_open(&self) -> Result<(), ClientError> {
        match self.refuses.load(Ordering::Acquire) {
            0 => Ok(()),
            reasons => Err(self.refusal(reasons)),
        }
    }

    #[cold]
    fn refusal(&self, reasons: u8) -> ClientError {
        let refusal = self.transact(|manager| manager.refusal()).filter(|_| reasons & CLOSED == 0);
        refusal.unwrap_or_else(|| self.failure.get().cloned().unwrap_or(ClientError::Closed))
    }

    /// Waits until everything is in a batch that was taken before a transaction ended.
    pub(crate) fn await_appends(&self) {
        let topics: Vec<Arc<TopicQueues>> = self.topics.read().values().map(Arc::clone).collect();
        for queue in topics.iter().flat_map(|topic| &topic.partitions) {
            drop(queue.queue.lock());
        }
    }

    /// A transaction that has failed is over: nothing of it is told any more.
    pub(crate) fn forget_failures(&self) {
        self.unobserved_failure.lock().take();
        self.pending.accept_failures();
    }

    pub(crate) fn settings(&self) -> &AccumulatorSettings {
        &self.settings
    }

    /// Calls `use_topic` with the queues of a topic, if it has been seen.
    #[inline]
    pub(crate) fn with_topic<T>(&self, topic: &str, use_topic: impl FnOnce(&TopicQueues) -> T) -> Option<T> {
        self.topics.read().get(topic).map(|queues| use_topic(queues))
    }

    pub(crate) fn topic_names(&self) -> Vec<Arc<str>> {
        self.topics.read().keys().map(Arc::clone).collect()
    }

    /// Makes queues for a topic, or more of them when it has got more partitions.
    pub(crate) fn set_partitions(&self, topic: &Arc<str>, count: usize) {
        let mut topics = self.topics.write();
        let known = topics.get(topic);
        if known.is_some_and(|known| known.partitions.len() >= count) {
            return;
        }
        let (mut partitions, sticky, ratio) = match known {
            Some(known) => {
                let ratio = known.partitions.first().map(|one| Arc::clone(&one.ratio)).unwrap_or_default();
                (known.partitions.clone(), Arc::clone(&known.sticky), ratio)
            }
            None => {
                let sticky = Arc::new(StickyPartition::new(self.settings.adaptive_partitioning));
                (Vec::with_capacity(count), sticky, Arc::default())
            }
        };
        let is_held = self.held.lock().contains(topic);
        for partition in partitions.len()..count {
            partitions.push(Arc::new(PartitionQueue {
                id: self.next_id.fetch_add(1, Ordering::Relaxed),
                topic: Arc::clone(topic),
                partition: i32::try_from(partition).unwrap_or(i32::MAX),
                waiting: AtomicU32::new(0),
                available: AtomicBool::new(true),
                node: AtomicI32::new(NOWHERE),
                is_held: AtomicBool::new(is_held),
                queue: Mutex::new(Queue {
                    batches: VecDeque::new(),
                    is_active: false,
                    lane: self.lanes.get(NOWHERE, is_held),
                }),
                ratio: Arc::clone(&ratio),
            }));
        }
        topics.insert(Arc::clone(topic), Arc::new(TopicQueues { partitions, sticky }));
    }

    /// Takes in a topic's partitions and their leaders: what one broker gets goes there in the order in which it was given.
    pub(crate) fn adopt(&self, topic: &TopicMetadata) {
        self.set_partitions(&topic.name, topic.partitions.len());
        let Some(queues) = self.topics.read().get(&topic.name).map(Arc::clone) else { return };
        for (queue, partition) in queues.partitions.iter().zip(&topic.partitions) {
            if let Some(leader) = partition.leader {
                self.assign(queue, leader);
            }
        }
    }

    /// Says who leads a partition.
    pub(crate) fn assign(&self, queue: &PartitionQueue, node: i32) {
        if queue.node.load(Ordering::Acquire) != node {
            queue.change_lane(&self.lanes, Some(node), None);
        }
    }

    /// From now on the records of a topic are held back.
    pub(crate) fn hold_back(&self, topic: &str) {
        self.pending.set_used();
        if !self.held.lock().insert(Arc::from(topic)) {
            return;
        }
        let Some(queues) = self.topics.read().get(topic).map(Arc::clone) else { return };
        for queue in &queues.partitions {
            queue.change_lane(&self.lanes, None, Some(true));
        }
    }

    /// Ends a unit of work. Whether the sender has something to look at.
    #[inline]
    pub(crate) fn barrier(&self) -> bool {
        if !self.pending.is_used() {
            return false;
        }
        let is_awaited = self.pending.barrier();
        // What is not told yet cannot be accepted.
        let accepts = self.pending.has_failed()
            && self.failed.lock().is_empty()
            && self.unobserved_failure.lock().is_none()
            && self.pending.accept_failures();
        is_awaited || accepts
    }

    /// Gives up what is held back in a partition and may not go yet. How many records that are.
    pub(crate) fn discard_held(&self, topic: &str, partition: i32) -> usize {
        let queue = self.with_topic(topic, |topic| {
            usize::try_from(partition).ok().and_then(|index| topic.partitions.get(index)).map(Arc::clone)
        });
        let Some(queue) = queue.flatten().filter(|queue| queue.is_held()) else { return 0 };
        let mut count = 0;
        // What follows a batch that may not go may not go either.
        let released = self.pending.released_below();
        while let Some(batch) = queue.pop_if(|batch| batch.completion.held_epoch() >= released) {
            count += batch.count().unsigned_abs() as usize;
            let error = ClientError::HeldBack { topic: Arc::clone(&queue.topic), partition };
            self.finish(batch, Err(error));
        }
        count
    }

    /// Gives up everything that is held back and may not go yet.
    pub(crate) fn discard_all_held(&self) {
        for topic in self.held.lock().clone() {
            let partitions = self.with_topic(&topic, |topic| topic.partitions.len()).unwrap_or(0);
            for partition in 0..partitions {
                self.discard_held(&topic, i32::try_from(partition).unwrap_or(i32::MAX));
            }
        }
    }

    /// Gives up everything that is queued, and has the sender do the same with what it has taken.
    pub(crate) fn discard_all(&self) {
        let era = self.permit.end_era();
        let topics: Vec<Arc<TopicQueues>> = self.topics.read().values().map(Arc::clone).collect();
        for queue in topics.iter().flat_map(|topic| &topic.partitions) {
            while let Some(batch) = queue.pop_if(|batch| batch.era < era) {
                self.discard(batch);
            }
        }
    }

    /// Gives up a batch of an era that is over.
    pub(crate) fn discard(&self, batch: Batch) {
        let (topic, partition) = batch.completion.place();
        let error = ClientError::Discarded { topic: Arc::clone(topic), partition };
        self.finish(batch, Err(error));
    }

    /// Writes a record into the last batch of a partition, or a new one.
    ///
    /// `now` is asked only for a new batch.
    #[inline]
    pub(crate) fn append<O: Observe>(
        &self,
        target: &Arc<PartitionQueue>,
        record: &ProducerRecord<'_>,
        timestamp: i64,
        observe: O,
        now: impl FnOnce() -> Instant,
    ) -> Result<Appended<O>, ClientError> {
        let mut queue = target.queue.lock();
        // Under the lock: after closing, the sender empties every queue once, and nothing may come later; nor into a
        // transaction that is ending.
        self.check_open()?;
        let Queue { batches, lane, .. } = &mut *queue;
        if let Some(batch) = batches.back_mut()
            && batch.generation == lane.current()
            && let room = batch.reserved
            && let Some(builder) = batch.builder()
            && fits(builder, room, record, timestamp)
            && let upper_bound = record.size_upper_bound()
            && let size = builder.estimated_size() + upper_bound
            && batch.is_charged(size, lane)
            && let Some(builder) = batch.builder()
        {
            let index = write(builder, record, timestamp)?;
            batch.largest = batch.largest.max(upper_bound);
            if target.is_held() {
                batch.completion.set_held_epoch(self.pending.epoch_of_held());
            }
            let tag = observe.observe(batch, index, timestamp);
            return Ok(Appended::Done { tag, is_batch_start: false, wake: false });
        }
        let size = self.batch_memory(target).max(record.size_upper_bound());
        if !self.memory.try_reserve(size) {
            return Ok(Appended::NeedsMemory { size, observe });
        }
        self.append_to_new_batch(target, &mut queue, size, record, timestamp, observe, now())
    }

    /// Memory of a batch until it is compressed: as much as is expected to make `batch.size` then. It takes no more
    /// records than fit into that.
    fn batch_memory(&self, target: &PartitionQueue) -> usize {
        /// A batch that shrinks more is sent before it makes `batch.size`: a few of them would take all the memory.
        const LEAST_RATIO: f32 = 0.125;
        let compression = self.settings.codec.compression();
        if compression == Compression::None {
            return self.settings.batch_size;
        }
        let ratio = target.ratio.lock().estimate(compression).clamp(LEAST_RATIO, 1.0);
        let expected = (self.settings.batch_size as f32 / ratio) as usize;
        expected.min(self.settings.buffer_memory).max(self.settings.batch_size)
    }

    #[expect(clippy::too_many_arguments, reason = "the cold half of append")]
    #[cold]
    fn append_to_new_batch<O: Observe>(
        &self,
        target: &Arc<PartitionQueue>,
        queue: &mut Queue,
        reserved: usize,
        record: &ProducerRecord<'_>,
        timestamp: i64,
        observe: O,
        now: Instant,
    ) -> Result<Appended<O>, ClientError> {
        let buffer = self.memory.take_buffer(reserved);
        let mut builder = RecordBatchBuilder::with_buffer(self.settings.codec, buffer, self.settings.batch_size);
        if self.settings.codec.compression() != Compression::None {
            builder.set_estimated_ratio(target.ratio.lock().estimate(self.settings.codec.compression()));
        }
        let index = match write(&mut builder, record, timestamp) {
            Ok(index) => index,
            Err(error) => {
                self.memory.release(reserved);
                return Err(error);
            }
        };
        let is_held = target.is_held();
        let epoch = (!is_held).then(|| self.pending.epoch());
        let completion = Arc::new(BatchCompletion::new(Arc::clone(&target.topic), target.partition, epoch));
        if is_held {
            completion.set_held_epoch(self.pending.epoch_of_held());
        }
        self.pending.insert(&completion);
        let mut batch = Batch::new(builder, completion, now, reserved);
        // Under the queue's lock: who ends an era empties the queues behind that.
        batch.era = self.permit.era();
        batch.largest = record.size_upper_bound();
        queue.enter_generation(&mut batch);
        let tag = observe.observe(&mut batch, index, timestamp);
        queue.batches.push_back(batch);
        target.waiting.store(u32::try_from(queue.batches.len()).unwrap_or(u32::MAX), Ordering::Relaxed);
        let was_active = std::mem::replace(&mut queue.is_active, true);
        if !was_active {
            self.activated.lock().push(Arc::clone(target));
        }
        // The first batch starts its linger; a second one means that the first is full.
        Ok(Appended::Done { tag, is_batch_start: true, wake: queue.batches.len() <= 2 })
    }

    /// Takes the partitions that got something since the last time.
    pub(crate) fn take_activated(&self) -> Vec<Arc<PartitionQueue>> {
        std::mem::take(&mut *self.activated.lock())
    }

    /// A batch was compressed: gives back the memory that it does not need any more.
    pub(crate) fn shrink(&self, batch: &mut Batch) {
        let surplus = batch.reserved.saturating_sub(batch.size());
        if self.settings.codec.compression() != Compression::None && surplus > 0 {
            batch.reserved -= surplus;
            self.memory.release(surplus);
        }
    }

    /// Takes in how well a batch compressed.
    pub(crate) fn observe_ratio(&self, partition: &PartitionQueue, uncompressed: usize, compressed: usize) {
        let compression = self.settings.codec.compression();
        if compression != Compression::None {
            partition.ratio.lock().observe(compression, uncompressed, compressed);
        }
    }

    /// Does not trust the compression of a topic any more, whose batch was too large.
    pub(crate) fn distrust_ratio(&self, partition: &PartitionQueue, ratio: f32) {
        partition.ratio.lock().reset(self.settings.codec.compression(), ratio);
    }

    /// Adds the completions of batches that were made of another one.
    pub(crate) fn add_incomplete(&self, completion: &Arc<BatchCompletion>) {
        self.pending.insert(completion);
    }

    /// A batch is over: gives its memory back, and tells everybody.
    ///
    /// What went wrong is kept before anybody is told that the batch is over, and whoever waits for all of them is told
    /// after all others: then he finds nothing untold. What was discarded or aborted is no failure.
    pub(crate) fn finish(&self, mut batch: Batch, outcome: Outcome) {
        if let Err(error) = &outcome {
            self.transact(|manager| manager.batch_failed(error, batch.attempts > 0));
        }
        let failure = outcome.as_ref().err().filter(|error| !is_meant(error));
        if let Some(error) = failure {
            self.keep_failed(&mut batch, error);
        }
        let reserved = batch.reserved;
        let completion = Arc::clone(&batch.completion);
        if let Some(bytes) = batch.into_bytes() {
            self.memory.recycle(bytes);
        }
        self.memory.release(reserved);
        if let Some(error) = failure
            && completion.is_unobserved()
        {
            self.unobserved_failure.lock().get_or_insert_with(|| error.clone());
        }
        completion.tell(&outcome);
        self.pending.remove(&completion, failure.is_some());
        completion.settle();
    }

    /// Keeps those records of a batch that have a tag for [`take_failed`](Self::take_failed).
    #[cold]
    fn keep_failed(&self, batch: &mut Batch, error: &ClientError) {
        let tags = std::mem::take(&mut batch.tags);
        if tags.is_empty() {
            return;
        }
        let completion = Arc::clone(&batch.completion);
        let (topic, partition) = completion.place();
        let failed = batch.take_records().map(|records| tags.failed(topic, partition, records, error));
        match failed {
            Ok(Ok(records)) => {
                self.failed.lock().extend(records);
                self.has_failed.store(true, Ordering::Release);
            }
            // What cannot be told is told by the next flush.
            Ok(Err(unreadable)) => {
                tracing::error!(%topic, partition, "a batch that was given up cannot be read back: {unreadable}");
                completion.set_unobserved();
            }
            Err(unreadable) => {
                tracing::error!(%topic, partition, "a batch that was given up cannot be built: {unreadable}");
                completion.set_unobserved();
            }
        }
    }

    /// Takes the records with a tag that were given up since the last time.
    pub(crate) fn take_failed(&self) -> Vec<FailedRecord> {
        if !self.has_failed.swap(false, Ordering::AcqRel) {
            return Vec::new();
        }
        std::mem::take(&mut *self.failed.lock())
    }

    /// A batch was replaced by its parts, which keep its memory.
    pub(crate) fn replaced(&self, completion: &Arc<BatchCompletion>) {
        self.pending.remove(completion, false);
    }

    /// Sends what is open now without lingering and waits until it is over. `begun` is called when the sender has something
    /// to look at.
    pub(crate) async fn flush(&self, begun: impl FnOnce()) -> Result<(), ClientError> {
        let guard = self.begin_flush();
        begun();
        let over = self.all_over().await;
        drop(guard);
        match self.unobserved_failure.lock().take().or_else(|| self.failure.get().cloned()) {
            Some(error) => Err(error),
            None => over,
        }
    }

    /// Waits until all batches are over that are open now, what is held back last.
    async fn all_over(&self) -> Result<(), ClientError> {
        let (open, held): (Vec<_>, Vec<_>) = self.pending.all().into_iter().partition(|batch| batch.epoch().is_some());
        for batch in open {
            batch.settled().await;
        }
        for batch in held {
            self.held_over(&batch).await?;
        }
        Ok(())
    }

    async fn held_over(&self, batch: &Arc<BatchCompletion>) -> Result<(), ClientError> {
        loop {
            let stuck = self.pending.stuck.notified();
            tokio::pin!(stuck);
            stuck.as_mut().enable();
            if self.pending.is_stuck(batch.held_epoch()) && !batch.is_settled() {
                let (topic, partition) = batch.place();
                return Err(ClientError::HeldBack { topic: Arc::clone(topic), partition });
            }
            tokio::select! {
                () = batch.settled() => return Ok(()),
                () = stuck => {}
            }
        }
    }

    /// From now on until the guard is dropped, batches do not linger.
    pub(crate) fn begin_flush(&self) -> FlushGuard<'_> {
        self.flushing.fetch_add(1, Ordering::AcqRel);
        FlushGuard(self)
    }

    /// Takes no more records.
    pub(crate) fn close(&self) {
        self.refuses.fetch_or(CLOSED, Ordering::AcqRel);
    }

    /// Takes no more records, and nobody sends any more: what is not over fails.
    pub(crate) fn fail(&self, why: &ClientError) {
        self.close();
        let topics: Vec<Arc<TopicQueues>> = self.topics.read().values().map(Arc::clone).collect();
        for partition in topics.iter().flat_map(|topic| &topic.partitions) {
            // Whoever gives a record at this moment has done so when the lock is free, all others see that it is closed.
            drop(partition.queue.lock());
        }
        let open = self.pending.all();
        if !open.is_empty() || matches!(why, ClientError::Panicked { .. }) {
            self.failure.get_or_init(|| why.clone());
        }
        for batch in open {
            batch.tell(&Err(why.clone()));
            self.pending.remove(&batch, true);
            batch.settle();
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.refuses.load(Ordering::Acquire) & CLOSED != 0
    }

    /// Whether batches are sent before they are full or old enough.
    pub(crate) fn is_in_a_hurry(&self) -> bool {
        self.flushing.load(Ordering::Acquire) > 0 || self.is_closed() || self.memory.has_waiters()
    }
}

/// Keeps a flush going.
#[derive(Debug)]
pub(crate) struct FlushGuard<'a>(&'a Accumulator);

impl Drop for FlushGuard<'_> {
    fn drop(&mut self) {
        self.0.flushing.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The head of a queue, as far as the sender has to know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    /// When its first record came.
    pub(crate) created: Instant,
    /// Whether nothing can be added to it.
    pub(crate) is_full: bool,
    /// Size in bytes, as far as it is known.
    pub(crate) size: usize,
    /// With which others it goes.
    pub(crate) generation: u64,
    /// If it is held back: the epoch of its last record.
    pub(crate) held_epoch: Option<u64>,
}

impl PartitionQueue {
    /// The first batch.
    pub(crate) fn peek(&self) -> Option<Head> {
        self.queue.lock().head(self.is_held())
    }

    /// Whether there is no batch: then the sender may forget the partition until it is activated again.
    pub(crate) fn is_done(&self) -> bool {
        let mut queue = self.queue.lock();
        let is_done = queue.batches.is_empty();
        queue.is_active &= !is_done;
        is_done
    }

    /// Whether its topic is held back.
    #[inline]
    pub(crate) fn is_held(&self) -> bool {
        self.is_held.load(Ordering::Acquire)
    }

    /// Under another leader, or held back from now on.
    fn change_lane(&self, lanes: &Lanes, node: Option<i32>, is_held: Option<bool>) {
        let mut queue = self.queue.lock();
        let node = node.unwrap_or_else(|| self.node.load(Ordering::Acquire));
        let is_held = is_held.unwrap_or_else(|| self.is_held());
        self.node.store(node, Ordering::Release);
        self.is_held.store(is_held, Ordering::Release);
        let lane = lanes.get(node, is_held);
        if !queue.batches.is_empty() {
            // What comes to the new broker later is of a later generation than what is here.
            lane.close(lane.current());
        }
        queue.lane = lane;
    }

    /// Ends the generation if records still go into it.
    pub(crate) fn close(&self, generation: u64) {
        let lane = Arc::clone(&self.queue.lock().lane);
        lane.close(generation);
    }

    /// Takes the first batch.
    pub(crate) fn pop(&self) -> Option<Batch> {
        self.pop_if(|_| true)
    }

    /// Takes the first batch if it is of this generation, and is not held back longer than to an epoch below `released`.
    pub(crate) fn pop_released(&self, generation: u64, released: u64) -> Option<Batch> {
        let is_held = self.is_held();
        self.pop_if(|batch| batch.generation == generation && (!is_held || batch.completion.held_epoch() < released))
    }

    fn pop_if(&self, is_meant: impl FnOnce(&Batch) -> bool) -> Option<Batch> {
        let mut queue = self.queue.lock();
        if !queue.batches.front().is_some_and(is_meant) {
            return None;
        }
        let batch = queue.batches.pop_front();
        self.waiting.store(u32::try_from(queue.batches.len()).unwrap_or(u32::MAX), Ordering::Relaxed);
        batch
    }
}

impl Queue {
    fn head(&self, is_held: bool) -> Option<Head> {
        let first = self.batches.front()?;
        let more = self.batches.len() > 1;
        Some(Head {
            created: first.created,
            is_full: more || first.is_full() || first.generation != self.lane.current(),
            size: first.size(),
            generation: first.generation,
            held_epoch: is_held.then(|| first.completion.held_epoch()),
        })
    }

    /// Puts a new batch into a generation in which the partition has none.
    fn enter_generation(&self, batch: &mut Batch) {
        let size = batch.size();
        batch.charged = size;
        batch.generation = loop {
            let current = self.lane.current();
            if self.batches.back().is_some_and(|last| last.generation == current) {
                self.lane.close(current);
            } else if self.lane.charge(current, size) {
                break current;
            }
        };
    }
}

/// Whether a batch failed because its sender wanted that.
fn is_meant(error: &ClientError) -> bool {
    matches!(error, ClientError::Discarded { .. } | ClientError::TransactionAborted { .. })
}

#[inline]
fn fits(builder: &RecordBatchBuilder, room: usize, record: &ProducerRecord<'_>, timestamp: i64) -> bool {
    // What will be compressed may be larger than `batch.size` before, but not than the memory that it was given.
    if builder.codec().compression() != Compression::None && builder.records_size() + record.size_upper_bound() > room {
        return false;
    }
    builder.has_room_for(
        timestamp,
        record.key.map(<[u8]>::len),
        record.value.map(<[u8]>::len),
        record.headers.iter().copied(),
    )
}

#[inline]
fn write(builder: &mut RecordBatchBuilder, record: &ProducerRecord<'_>, timestamp: i64) -> Result<u32, ClientError> {
    match builder.append(timestamp, record.key, record.value, record.headers.iter().copied()) {
        Ok(index) => Ok(index.unsigned_abs()),
        Err(error) => Err(ClientError::Records { reason: error.to_string().into() }),
    }
}
