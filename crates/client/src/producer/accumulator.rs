//! Records on their way into batches: one queue per partition, filled by any thread, emptied by the sender.
//!
//! No clock, no socket: who appends gives the time, and is told whether the sender has something to look at.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashSet};
use parking_lot::{Mutex, RwLock};
use vltava_protocol::record::{Codec, Compression, CompressionRatioEstimator, RecordBatchBuilder};

use super::batch::Batch;
use super::buffer_pool::BufferPool;
use super::delivery::{BatchCompletion, Callback, Delivery, Outcome};
use super::record::ProducerRecord;
use super::sticky::StickyPartition;
use super::tags::{FailedRecord, RecordTag};
use crate::error::ClientError;

/// What the accumulator needs of the configuration.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AccumulatorSettings {
    pub(crate) batch_size: usize,
    pub(crate) buffer_memory: usize,
    pub(crate) codec: Codec,
    pub(crate) adaptive_partitioning: bool,
}

/// All records that are not acknowledged.
#[derive(Debug)]
pub(crate) struct Accumulator {
    settings: AccumulatorSettings,
    pub(crate) memory: BufferPool,
    topics: RwLock<HashMap<Arc<str>, Arc<TopicQueues>, RandomState>>,
    /// Partitions that got a record since the sender looked.
    activated: Mutex<Vec<Arc<PartitionQueue>>>,
    incomplete: Mutex<HashSet<ByAddress, RandomState>>,
    flushing: AtomicUsize,
    closed: AtomicBool,
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
    pub(crate) name: Arc<str>,
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
    queue: Mutex<Queue>,
    ratio: Arc<Mutex<CompressionRatioEstimator>>,
}

#[derive(Debug, Default)]
struct Queue {
    /// The last one is written to.
    batches: VecDeque<Batch>,
    /// Whether the sender knows that there is something.
    is_active: bool,
}

/// A batch's completion, as a member of a set.
#[derive(Debug, Clone)]
struct ByAddress(Arc<BatchCompletion>);

impl PartialEq for ByAddress {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for ByAddress {}

impl std::hash::Hash for ByAddress {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.0).hash(state);
    }
}

/// What became of a record.
pub(crate) enum Appended<O: Observe> {
    /// It is in a batch; whether a new one, and whether the sender should be woken.
    Done { tag: O::Tag, is_batch_start: bool, wake: bool },
    /// This many bytes of memory have to be free first.
    NeedsMemory { size: usize, observe: O },
}

/// How a record's sender wants to hear of it.
pub(crate) trait Observe {
    /// What he gets.
    type Tag;
    /// Makes it for the record with this index of the batch.
    fn observe(self, batch: &mut Batch, index: u32, timestamp: i64) -> Self::Tag;
}

/// By a future.
pub(crate) struct ByDelivery;

impl Observe for ByDelivery {
    type Tag = Delivery;

    #[inline]
    fn observe(self, batch: &mut Batch, index: u32, timestamp: i64) -> Delivery {
        Delivery::new(Arc::clone(&batch.completion), index, timestamp)
    }
}

/// Not at all.
pub(crate) struct ByFlush;

impl Observe for ByFlush {
    type Tag = ();

    #[inline]
    fn observe(self, batch: &mut Batch, _: u32, _: i64) {
        batch.completion.set_unobserved();
    }
}

/// By a call.
pub(crate) struct ByCallback(pub(crate) Callback);

impl Observe for ByCallback {
    type Tag = ();

    fn observe(self, batch: &mut Batch, index: u32, timestamp: i64) {
        batch.completion.add_callback(index, timestamp, self.0);
    }
}

/// If it fails: with this tag.
pub(crate) struct ByTag(pub(crate) RecordTag);

impl Observe for ByTag {
    type Tag = ();

    #[inline]
    fn observe(self, batch: &mut Batch, index: u32, _: i64) {
        batch.tags.push(index, self.0);
    }
}

/// By a future, and with this tag if it fails.
pub(crate) struct ByDeliveryAndTag(pub(crate) RecordTag);

impl Observe for ByDeliveryAndTag {
    type Tag = Delivery;

    #[inline]
    fn observe(self, batch: &mut Batch, index: u32, timestamp: i64) -> Delivery {
        batch.tags.push(index, self.0);
        Delivery::new(Arc::clone(&batch.completion), index, timestamp)
    }
}

impl Accumulator {
    pub(crate) fn new(settings: AccumulatorSettings) -> Self {
        Self {
            memory: BufferPool::new(settings.buffer_memory, settings.batch_size),
            settings,
            topics: RwLock::default(),
            activated: Mutex::default(),
            incomplete: Mutex::default(),
            flushing: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            next_id: AtomicU64::new(0),
            unobserved_failure: Mutex::default(),
            failed: Mutex::default(),
            has_failed: AtomicBool::new(false),
        }
    }

    pub(crate) fn settings(&self) -> &AccumulatorSettings {
        &self.settings
    }

    /// Calls `use_topic` with the queues of a topic, if it has been seen.
    #[inline]
    pub(crate) fn with_topic<T>(&self, topic: &str, use_topic: impl FnOnce(&TopicQueues) -> T) -> Option<T> {
        self.topics.read().get(topic).map(|queues| use_topic(queues))
    }

    pub(crate) fn topic_names(&self) -> Vec<(Arc<str>, usize)> {
        self.topics.read().values().map(|topic| (Arc::clone(&topic.name), topic.partitions.len())).collect()
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
        for partition in partitions.len()..count {
            partitions.push(Arc::new(PartitionQueue {
                id: self.next_id.fetch_add(1, Ordering::Relaxed),
                topic: Arc::clone(topic),
                partition: i32::try_from(partition).unwrap_or(i32::MAX),
                waiting: AtomicU32::new(0),
                available: AtomicBool::new(true),
                queue: Mutex::default(),
                ratio: Arc::clone(&ratio),
            }));
        }
        topics.insert(Arc::clone(topic), Arc::new(TopicQueues { name: Arc::clone(topic), partitions, sticky }));
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
        // Under the lock: after closing, the sender empties every queue once, and nothing may come later.
        if self.closed.load(Ordering::Acquire) {
            return Err(ClientError::Closed);
        }
        if let Some(batch) = queue.batches.back_mut()
            && let room = batch.reserved
            && let Some(builder) = batch.builder()
            && fits(builder, room, record, timestamp)
        {
            let index = write(builder, record, timestamp)?;
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
        let completion = Arc::new(BatchCompletion::new(Arc::clone(&target.topic), target.partition));
        self.incomplete.lock().insert(ByAddress(Arc::clone(&completion)));
        let mut batch = Batch::new(builder, completion, now, reserved);
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
        self.incomplete.lock().insert(ByAddress(Arc::clone(completion)));
    }

    /// A batch is over: gives its memory back.
    pub(crate) fn finish(&self, mut batch: Batch, outcome: Outcome) {
        if let Err(error) = &outcome {
            self.keep_failed(&mut batch, error);
        }
        self.incomplete.lock().remove(&ByAddress(Arc::clone(&batch.completion)));
        let reserved = batch.reserved;
        let completion = Arc::clone(&batch.completion);
        if let Some(bytes) = batch.into_bytes() {
            self.memory.recycle(bytes);
        }
        self.memory.release(reserved);
        if let Some(error) = completion.complete(outcome) {
            self.unobserved_failure.lock().get_or_insert(error);
        }
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
        self.incomplete.lock().remove(&ByAddress(Arc::clone(completion)));
    }

    /// All batches that are not over.
    pub(crate) fn incomplete(&self) -> Vec<Arc<BatchCompletion>> {
        self.incomplete.lock().iter().map(|one| Arc::clone(&one.0)).collect()
    }

    pub(crate) fn has_incomplete(&self) -> bool {
        !self.incomplete.lock().is_empty()
    }

    /// Takes the first failure of a record that nobody waited for.
    pub(crate) fn take_unobserved_failure(&self) -> Option<ClientError> {
        self.unobserved_failure.lock().take()
    }

    /// From now on until the guard is dropped, batches do not linger.
    pub(crate) fn begin_flush(&self) -> FlushGuard<'_> {
        self.flushing.fetch_add(1, Ordering::AcqRel);
        FlushGuard(self)
    }

    /// Takes no more records.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
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
}

impl PartitionQueue {
    /// The first batch; `None` lets the sender forget the partition until it is activated again.
    pub(crate) fn head(&self) -> Option<Head> {
        let mut queue = self.queue.lock();
        let more = queue.batches.len() > 1;
        match queue.batches.front() {
            Some(batch) => Some(Head { created: batch.created, is_full: more || batch.is_full(), size: batch.size() }),
            None => {
                queue.is_active = false;
                None
            }
        }
    }

    /// Whether there is a batch. Changes nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.lock().batches.is_empty()
    }

    /// Takes the first batch.
    pub(crate) fn pop(&self) -> Option<Batch> {
        let mut queue = self.queue.lock();
        let batch = queue.batches.pop_front();
        self.waiting.store(u32::try_from(queue.batches.len()).unwrap_or(u32::MAX), Ordering::Relaxed);
        batch
    }
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
