//! One task: the nodes and stores of a sub-topology for one partition, and the records it has been given.
//!
//! A task knows no Kafka client and reads no clock. Records come in by [`Task::add_records`], what it writes goes to
//! its [`RecordCollector`], and every step is asked for: [`process`](Task::process), punctuation, flush, commit.

mod input;
mod node;
mod queue;
mod source;

use std::{collections::BTreeMap, sync::Arc};

pub use input::{InputBatch, InputRecord};
pub(crate) use input::{RawView, slice};
pub(crate) use node::{Children, Edge, FnNode, Process, TaskCtx, TypedSlot};
pub(crate) use source::{ConnectedSource, Pattern, Reads, Source, SourceNode};

use self::queue::{Lag, PartitionGroup, Ready, RecordQueue};
use crate::{
    config::StreamsConfig,
    error::{Error, Result},
    metrics::{
        Recorder,
        node::SourceMetrics,
        task::{Counted, TaskMetrics},
    },
    processing::RecordContext,
    record::Headers,
    state::{GlobalStores, OpenMark, TaskDirectory},
    store::{AnyStore, KeptStores},
};
pub use crate::{
    processing::{
        Cancellable, ConsumerRecord, FailOnInvalidTimestamp, LogAndSkipOnInvalidTimestamp, PunctuationType,
        RecordCollector, TimestampExtractor, UsePartitionTimeOnInvalidTimestamp, WallclockTimestampExtractor,
    },
    record::{ProducerRecord, RecordOrigin},
    task_id::TaskId,
};

/// Which part of a topology a task runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskScope {
    /// The sub-topology of the task's id.
    Subtopology,
    /// All of it, as the test driver does.
    Everything,
}

/// What a task is made from.
pub struct TaskOptions {
    /// The task's id.
    pub id: TaskId,
    /// The settings.
    pub config: Arc<StreamsConfig>,
    /// Where records go.
    pub collector: Box<dyn RecordCollector>,
    /// The task's directory for persistent stores; without one they are kept in memory.
    pub state_dir: Option<TaskDirectory>,
    /// The global stores, opened before by who fills them; `None` for a topology without.
    pub globals: Option<GlobalStores>,
    /// Which nodes it runs.
    pub scope: TaskScope,
    /// The clock, in ms since the epoch.
    pub now: i64,
}

impl std::fmt::Debug for TaskOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TaskOptions").field("id", &self.id).field("scope", &self.scope).finish_non_exhaustive()
    }
}

/// What a task is put together from.
pub(crate) struct TaskParts {
    /// The nodes, and the stores by number.
    pub(crate) ctx: TaskCtx,
    /// The sources in the order of the topology.
    pub(crate) sources: Vec<ConnectedSource>,
    /// The task's own stores in the order in which they were registered.
    pub(crate) store_order: Vec<usize>,
    /// Marks of stores that have to be closed.
    pub(crate) open_marks: Vec<OpenMark>,
    /// The changelog offsets that kept stores cover whose engines do not keep them.
    pub(crate) kept_offsets: BTreeMap<String, i64>,
    pub(crate) scope: TaskScope,
}

/// The offset after the last processed record of a partition, and what a commit keeps beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsumedOffset {
    /// The next offset to read.
    pub offset: i64,
    /// The greatest timestamp of the partition so far, in ms since the epoch.
    pub partition_time: i64,
}

/// The name of the stores' time among those of processors; no store has such a one.
const STORE_TIME: &str = "@stores";

/// A task at work.
pub struct Task {
    ctx: TaskCtx,
    sources: Vec<Box<dyn Source>>,
    /// What each source has processed, beside its name.
    processed: Vec<(Arc<str>, SourceMetrics)>,
    /// Topics of pattern sources become queues when their first record comes.
    patterns: Vec<(Pattern, usize)>,
    group: PartitionGroup,
    by_topic: BTreeMap<Arc<str>, usize>,
    /// Stores in the order in which they were registered: the order of flushes.
    store_order: Vec<usize>,
    open_marks: Vec<OpenMark>,
    /// The changelog offsets that kept stores cover whose engines do not keep them.
    kept_offsets: BTreeMap<String, i64>,
    /// How much memory what is not committed may take before a commit is wanted, in bytes.
    uncommitted_limit: u64,
    consumed: BTreeMap<usize, i64>,
    max_idle_ms: i64,
    /// How many punctuations were run since that was asked last.
    punctuated: usize,
    /// What is known of the lag of a new queue.
    first_lag: Lag,
    initialized: bool,
    closed: bool,
}

impl std::fmt::Debug for Task {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Task").field("id", &self.ctx.rt.task_id).finish_non_exhaustive()
    }
}

impl Task {
    pub(crate) fn of(parts: TaskParts) -> Self {
        let TaskParts { ctx, sources, store_order, open_marks, kept_offsets, scope } = parts;
        let uncommitted_limit = ctx.rt.config.fields().uncommitted_max_bytes;
        let mut task = Task {
            max_idle_ms: ctx.rt.config.fields().max_task_idle_ms,
            punctuated: 0,
            ctx,
            sources: Vec::new(),
            processed: Vec::new(),
            patterns: Vec::new(),
            group: PartitionGroup::default(),
            by_topic: BTreeMap::new(),
            store_order,
            open_marks,
            kept_offsets,
            uncommitted_limit,
            consumed: BTreeMap::new(),
            first_lag: match scope {
                TaskScope::Everything => Lag::Known(0),
                TaskScope::Subtopology => Lag::Unread,
            },
            initialized: false,
            closed: false,
        };
        for (number, ConnectedSource { source, name, reads }) in sources.into_iter().enumerate() {
            task.sources.push(source);
            task.processed.push((name, SourceMetrics::default()));
            match reads {
                Reads::Pattern(pattern) => task.patterns.push((pattern, number)),
                Reads::Topics(topics) => {
                    for topic in topics {
                        task.add_queue(topic, number);
                    }
                }
            }
        }
        task
    }

    fn add_queue(&mut self, topic: Arc<str>, source: usize) -> usize {
        let lane = self.sources.get_mut(source).map_or(0, |source| source.add_lane());
        let queue = self.group.queues.len();
        self.by_topic.insert(topic.clone(), queue);
        self.group.queues.push(RecordQueue::new(topic, self.ctx.rt.task_id.partition, source, lane, self.first_lag));
        self.measure_queue(queue);
        queue
    }

    /// From here on what is counted is told there, until the task is dropped or closed.
    pub(crate) fn measure(&mut self, of_thread: &Recorder) {
        let (task, rt) = (self.id().to_string(), &mut self.ctx.rt);
        let recorder = rt.metrics.measure(of_thread, &task, &rt.node_names);
        self.processed.iter_mut().for_each(|(name, metrics)| metrics.measure(&recorder, name));
        (0..self.group.queues.len()).for_each(|queue| self.measure_queue(queue));
        self.own_stores_mut().for_each(|store| store.measure(&recorder));
    }

    fn measure_queue(&mut self, queue: usize) {
        let Some(recorder) = self.ctx.rt.metrics.recorder() else { return };
        if let Some(queue) = self.group.queues.get_mut(queue)
            && let Some((source, _)) = self.processed.get(queue.source)
        {
            queue.metrics.measure(recorder, source, &queue.topic);
        }
    }

    /// Tells what was counted since the last time: once in a turn.
    pub(crate) fn record_metrics(&mut self, now: i64) {
        let processed = self.processed.iter_mut().map(|(_, metrics)| metrics.record(now)).sum();
        let mut buffered = 0;
        for queue in &mut self.group.queues {
            queue.metrics.record(now);
            buffered += queue.len();
        }
        let (dropped, cache_bytes) = (self.ctx.rt.dropped, self.ctx.rt.cache.used);
        self.ctx.rt.metrics.record(Counted { dropped, processed, buffered, cache_bytes }, now);
        self.own_stores_mut().for_each(|store| store.record_metrics(now));
    }

    /// What is told of its work as a whole.
    pub(crate) fn metrics(&self) -> &TaskMetrics {
        &self.ctx.rt.metrics
    }

    /// Initialises the processors, in the order of the topology. The time of the stores goes on from here.
    ///
    /// # Errors
    /// If one of them fails.
    pub fn initialize(&mut self) -> Result<()> {
        for store in self.own_stores_mut() {
            store.limit_time(i64::MAX);
            store.end_restoration()?;
        }
        self.ctx.init_nodes()?;
        self.initialized = true;
        Ok(())
    }

    /// Whether [`initialize`](Self::initialize) was called: its stores are complete, and it may process.
    #[must_use]
    pub fn is_initialized(&self) -> bool {
        self.initialized
    }

    /// The task's id.
    #[must_use]
    pub fn id(&self) -> TaskId {
        self.ctx.rt.task_id
    }

    /// The number of an input topic's queue; a topic that a pattern source takes gets one now.
    pub fn queue(&mut self, topic: &str) -> Option<usize> {
        if let Some(queue) = self.by_topic.get(topic) {
            return Some(*queue);
        }
        let (_, source) = self.patterns.iter().find(|(pattern, _)| pattern.matches(topic))?;
        let source = *source;
        Some(self.add_queue(topic.into(), source))
    }

    /// The pattern whose source takes a topic.
    pub(crate) fn pattern_of(&self, topic: &str) -> Option<String> {
        self.patterns.iter().find(|(pattern, _)| pattern.matches(topic)).map(|(pattern, _)| pattern.to_string())
    }

    /// How many records each source node has processed: Kafka's `process-total`.
    pub fn processed(&self) -> impl Iterator<Item = (&str, u64)> {
        self.processed.iter().map(|(name, metrics)| (&**name, metrics.processed))
    }

    /// Takes records of one partition. The first ones are read at once, so their errors show here.
    ///
    /// # Errors
    /// If a record cannot be read and the deserialisation handler chooses to fail, or has no valid timestamp.
    pub fn add_records(&mut self, queue: usize, batch: InputBatch) -> Result<()> {
        self.group.add_records(queue, batch, &mut self.sources, &mut self.ctx.rt)
    }

    /// Forgets the records that wait; they will come again.
    pub fn clear_buffered(&mut self) {
        self.group.clear(&mut self.sources);
    }

    /// How many records of a queue wait.
    #[must_use]
    pub fn buffered(&self, queue: usize) -> usize {
        self.group.queues.get(queue).map_or(0, RecordQueue::len)
    }

    /// Whether any records wait.
    #[must_use]
    pub fn has_records(&self) -> bool {
        self.group.has_records()
    }

    /// Processes the record with the smallest timestamp to its end, and runs the stream-time punctuations that are due by
    /// then. False if there is no record that may be processed yet.
    ///
    /// # Errors
    /// If application code fails and the processing handler chooses to fail; the task is of no further use then.
    pub fn process(&mut self, now: i64) -> Result<bool> {
        self.ctx.rt.set_wall_clock(now);
        match self.group.ready(now, self.max_idle_ms) {
            Ready::No => return Ok(false),
            Ready::Yes => {}
            Ready::Enforced => self.ctx.rt.metrics.enforced(),
        }
        let Some(taken) = self.group.take(&mut self.sources, &mut self.ctx.rt)? else { return Ok(false) };
        if !taken.corrupted {
            self.ctx.rt.stream_time = self.ctx.rt.stream_time.max(taken.timestamp);
            let start = self.ctx.rt.metrics.start();
            let Some(source) = self.sources.get_mut(taken.source) else { return Err(Error::internal("no source")) };
            if let Some((_, metrics)) = self.processed.get_mut(taken.source) {
                metrics.processed += 1;
                metrics.end_to_end.add(taken.timestamp, now);
            }
            source.process(taken.timestamp, &mut self.ctx)?;
            if let Some(start) = start {
                self.ctx.rt.metrics.processed(start, self.ctx.rt.stream_time - taken.timestamp);
            }
            if !self.ctx.rt.evicted.is_empty() {
                self.ctx.forward_evicted()?;
            }
        }
        self.consumed.insert(taken.queue, taken.offset + 1);
        let time = self.ctx.rt.stream_time;
        if self.ctx.rt.punctuations.is_due(PunctuationType::StreamTime, time) {
            self.punctuate(PunctuationType::StreamTime, time)?;
        }
        self.ctx.rt.collector.end_unit(false)?;
        Ok(true)
    }

    /// Runs the wall-clock punctuations that are due. Whether there were any.
    ///
    /// # Errors
    /// As [`process`](Self::process).
    pub fn maybe_punctuate_system_time(&mut self, now: i64) -> Result<bool> {
        self.ctx.rt.set_wall_clock(now);
        self.ctx.rt.tell_skipped(now);
        self.punctuate(PunctuationType::WallClockTime, now)
    }

    /// How many punctuations were run since this was asked last.
    pub(crate) fn take_punctuated(&mut self) -> usize {
        std::mem::take(&mut self.punctuated)
    }

    fn punctuate(&mut self, kind: PunctuationType, now: i64) -> Result<bool> {
        let mut any = false;
        while let Some((id, time, timer)) = self.ctx.rt.punctuations.due(kind, now) {
            any = true;
            self.punctuated += 1;
            self.ctx.rt.context =
                RecordContext { known: true, partition: -1, offset: -1, timestamp: now, ..Default::default() };
            let start = self.ctx.rt.metrics.start();
            self.ctx.with_slot(timer.slot, |node, ctx| node.punctuate(timer.callback, now, ctx))?;
            if let Some(start) = start {
                self.ctx.rt.metrics.punctuated(start);
            }
            self.ctx.forward_evicted()?;
            self.ctx.rt.punctuations.again(kind, id, time, now);
        }
        if any {
            self.ctx.rt.collector.end_unit(false)?;
        }
        Ok(any)
    }

    /// Writes what the record caches hold to the stores and forwards it, store by store.
    ///
    /// # Errors
    /// As [`process`](Self::process).
    pub fn flush(&mut self) -> Result<()> {
        self.ctx.rt.is_flushing = true;
        let flushed = self.flush_stores();
        self.ctx.rt.is_flushing = false;
        flushed?;
        self.note_store_time();
        self.ctx.rt.collector.end_unit(true)
    }

    fn flush_stores(&mut self) -> Result<()> {
        for at in 0..self.store_order.len() {
            let store = self.store_order.get(at).and_then(|id| self.ctx.stores.get_mut(*id)).and_then(Option::as_mut);
            let Some(store) = store else { continue };
            let name = store.name().to_owned();
            let done = match store.flush_cache(&mut self.ctx.rt) {
                Ok(Some(slot)) => self.ctx.with_slot(slot, |node, ctx| node.forward_flushed(ctx)),
                Ok(None) => Ok(()),
                Err(error) => Err(error),
            };
            done.and_then(|()| self.ctx.forward_evicted())
                .map_err(|source| Box::new(Error::Flush { store: name, source }))?;
        }
        for id in &self.store_order {
            if let Some(Some(store)) = self.ctx.stores.get_mut(*id) {
                store.write_changelog(&mut self.ctx.rt)?;
            }
        }
        Ok(())
    }

    /// The commit that follows keeps the time of the stores if it is ahead of the records', of which it keeps the time anyway:
    /// a processor may send on what is later than what it was given.
    fn note_store_time(&mut self) {
        let time = self.own_stores_mut().filter_map(|store| store.time()).max();
        if let Some(time) = time.filter(|time| *time > self.stream_time()) {
            self.ctx.rt.processor_times.insert(STORE_TIME.to_owned(), time);
        }
    }

    /// The stores may be ahead of what was committed, for what was written after it is in their changelogs and comes again.
    /// Until [`initialize`](Self::initialize) their time goes no further than the commit's, as
    /// [`set_partition_time`](Self::set_partition_time) and [`restore_processor_times`](Self::restore_processor_times) have
    /// set it: so that nothing expires, and nothing is too late, that was not when it came first.
    pub fn limit_store_times(&mut self) {
        let ahead = self.ctx.rt.processor_times.get(STORE_TIME).copied().unwrap_or(-1);
        let limit = self.stream_time().max(ahead);
        self.own_stores_mut().for_each(|store| store.limit_time(limit));
    }

    /// The offsets to commit: of every queue from which a record was processed.
    pub fn consumed_offsets(&self) -> impl Iterator<Item = (&str, ConsumedOffset)> {
        self.consumed.iter().filter_map(|(queue, offset)| {
            let queue = self.group.queues.get(*queue)?;
            Some((&*queue.topic, ConsumedOffset { offset: *offset, partition_time: queue.partition_time }))
        })
    }

    /// Tells how many records of a queue's partition are at the broker and not yet here; `None` if that is not known.
    /// A queue of which this is told is waited for, as `max.task.idle.ms` says (KIP-695).
    pub fn set_lag(&mut self, queue: usize, lag: Option<i64>) {
        if let Some(queue) = self.group.queues.get_mut(queue) {
            queue.lag = lag.map_or(Lag::Unknown, Lag::Known);
        }
    }

    /// Sets a partition's time as a commit kept it; the task's stream time is the greatest of them.
    pub fn set_partition_time(&mut self, queue: usize, time: i64) {
        if let Some(queue) = self.group.queues.get_mut(queue) {
            queue.partition_time = time;
            self.ctx.rt.stream_time = self.ctx.rt.stream_time.max(time);
        }
    }

    /// The greatest timestamp of a queue's partition so far, in ms since the epoch; -1 before the first record.
    #[must_use]
    pub fn partition_time(&self, queue: usize) -> i64 {
        self.group.queues.get(queue).map_or(-1, |queue| queue.partition_time)
    }

    /// Times that processors want to know again after a restart, in ms since the epoch by a name of theirs: what a commit
    /// keeps beside every offset.
    pub fn processor_times(&self) -> &BTreeMap<String, i64> {
        &self.ctx.rt.processor_times
    }

    /// Brings back times that a commit kept; of two with the same name the later counts. Must come before the first
    /// record.
    pub fn restore_processor_times(&mut self, times: impl IntoIterator<Item = (String, i64)>) {
        for (name, time) in times {
            let known = self.ctx.rt.processor_times.entry(name).or_insert(time);
            *known = time.max(*known);
        }
    }

    /// Makes the stores durable, each with the changelog offset it covers.
    ///
    /// # Errors
    /// If an engine cannot write.
    pub fn commit_stores(&mut self, offset: impl Fn(&str) -> Option<i64>) -> Result<()> {
        for store in self.own_stores_mut() {
            let changelog_offset = offset(store.name());
            store.commit(changelog_offset)?;
        }
        self.ctx.rt.commit_requested = false;
        Ok(())
    }

    /// How many of the stores have a record cache.
    #[must_use]
    pub fn caches(&self) -> usize {
        self.ctx.rt.cache.caches
    }

    /// How many bytes the record caches may take together from the next write on. At first it is all of
    /// `statestore.cache.max.bytes`.
    pub fn set_cache_limit(&mut self, bytes: u64) {
        self.ctx.rt.cache.max = bytes;
    }

    /// The stores, by name, with the changelog offset each has kept.
    ///
    /// # Errors
    /// If an engine cannot read.
    pub fn store_offsets(&self) -> Result<BTreeMap<String, Option<i64>>> {
        let stores = self.store_order.iter().filter_map(|id| self.ctx.stores.get(*id)?.as_ref());
        let offset = |store: &dyn AnyStore| -> Result<_> {
            let kept = || self.kept_offsets.get(store.name()).copied();
            Ok((store.name().to_owned(), store.committed_offset()?.or_else(kept)))
        };
        stores.map(|store| offset(&**store)).collect()
    }

    /// Whether a store outlives the process.
    #[must_use]
    pub fn is_on_disk(&self, store: &str) -> bool {
        let mut stores = self.store_order.iter().filter_map(|id| self.ctx.stores.get(*id)?.as_ref());
        stores.any(|known| known.name() == store && known.persistent())
    }

    /// Gives a store a record of its changelog; before [`initialize`](Self::initialize).
    ///
    /// # Errors
    /// If there is no such store, or its engine cannot write.
    pub fn restore(
        &mut self,
        store: &str,
        key: &[u8],
        value: Option<&[u8]>,
        timestamp: i64,
        headers: &Headers,
    ) -> Result<()> {
        let place = self.own_stores_mut().find(|place| place.name() == store);
        match place {
            Some(place) => place.restore_with_headers(key, value, timestamp, headers),
            None => Err(Box::new(Error::Streams(format!("task {} has no store {store}", self.id())))),
        }
    }

    /// Empties a store that is not of use: it will be restored from the beginning of its changelog.
    ///
    /// # Errors
    /// If its engine cannot write, or cannot be emptied.
    pub fn clear_store(&mut self, store: &str) -> Result<()> {
        self.kept_offsets.remove(store);
        self.own_stores_mut().filter(|place| place.name() == store).try_for_each(|place| place.clear())
    }

    /// A store has all of its changelog before `offset`; after a crash it goes on from there. Also bounds what an engine
    /// holds in memory during a long restoration.
    ///
    /// # Errors
    /// If the engine cannot write.
    pub fn restored(&mut self, store: &str, offset: i64) -> Result<()> {
        self.own_stores_mut().filter(|place| place.name() == store).try_for_each(|place| place.commit(Some(offset)))
    }

    /// Has the stores begin to write what was restored, and says whether they have, so that [`initialize`](Self::initialize) waits
    /// for nothing.
    ///
    /// # Errors
    /// If an engine cannot write.
    pub fn is_restoration_written(&mut self) -> Result<bool> {
        let mut is_written = true;
        for store in self.own_stores_mut() {
            is_written &= store.is_restoration_written()?;
        }
        Ok(is_written)
    }

    /// Whether a commit is wanted before its time: a processor has asked for one since the last one, or a store
    /// [needs it](Self::needs_commit).
    #[must_use]
    pub fn commit_requested(&self) -> bool {
        self.ctx.rt.commit_requested || self.needs_commit()
    }

    /// Whether the stores hold as much in memory as they should before a commit: what was put since the last one stays there,
    /// so that it can be forgotten. This bounds it, whatever `commit.interval.ms` is: by
    /// `statestore.uncommitted.max.bytes` (KIP-892), and for each store on disk by its part of the write buffers.
    #[must_use]
    pub fn needs_commit(&self) -> bool {
        let stores = self.store_order.iter().filter_map(|id| self.ctx.stores.get(*id)?.as_ref());
        let mut uncommitted = 0;
        for store in stores {
            uncommitted += store.uncommitted_bytes();
            if uncommitted >= self.uncommitted_limit || store.needs_commit() {
                return true;
            }
        }
        self.ctx.rt.collector.needs_commit()
    }

    /// How much memory the stores may take together for what is not committed, in bytes. At first it is all of
    /// `statestore.uncommitted.max.bytes`.
    pub fn set_uncommitted_limit(&mut self, bytes: u64) {
        self.uncommitted_limit = bytes;
    }

    /// The greatest timestamp processed so far, before the last commit too, in ms since the epoch; -1 before the first
    /// record.
    #[must_use]
    pub fn stream_time(&self) -> i64 {
        self.ctx.rt.stream_time
    }

    /// How many records were dropped so far.
    #[must_use]
    pub fn dropped_records(&self) -> u64 {
        self.ctx.rt.dropped
    }

    /// Counts a record that was given up after it had been sent.
    pub fn count_dropped(&mut self) {
        self.ctx.rt.dropped += 1;
    }

    /// The collector the task was made with.
    pub fn collector_mut(&mut self) -> &mut dyn RecordCollector {
        &mut *self.ctx.rt.collector
    }

    pub(crate) fn ctx_mut(&mut self) -> &mut TaskCtx {
        &mut self.ctx
    }

    /// Closes processors and stores. A second call does nothing.
    ///
    /// # Errors
    /// The first failure; the rest is closed nevertheless.
    pub fn close(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.closed, true) {
            return Ok(());
        }
        let mut first = self.close_processors();
        for store in self.own_stores_mut() {
            first = first.and(store.close());
        }
        if first.is_ok() {
            for mark in self.open_marks.drain(..) {
                mark.remove().map_err(|error| Error::streams(format!("unmarking a store that is closed: {error}")))?;
            }
        }
        first
    }

    /// The task's stores without the global ones.
    fn own_stores_mut(&mut self) -> impl Iterator<Item = &mut Box<dyn AnyStore>> {
        let own = &self.store_order;
        let stores = self.ctx.stores.iter_mut().enumerate().filter(|(id, _)| own.contains(id));
        stores.filter_map(|(_, store)| store.as_mut())
    }

    /// Closes processors, and leaves the stores as of the last commit that reached them: those that are in memory and can
    /// forget what was put since are for the task that takes the place of this one.
    ///
    /// # Errors
    /// If a processor fails; the rest is closed nevertheless.
    pub fn abandon(&mut self) -> Result<KeptStores> {
        let mut kept = KeptStores::default();
        if std::mem::replace(&mut self.closed, true) {
            return Ok(kept);
        }
        let closed = self.close_processors();
        let (task, transactional) = (self.id(), self.ctx.rt.config.is_exactly_once());
        for id in &self.store_order {
            let Some(mut store) = self.ctx.stores.get_mut(*id).and_then(Option::take) else { continue };
            let forgotten = store.forget().and_then(|forgotten| match forgotten && store.persistent() {
                true => store.close().map(|()| false),
                false => Ok(forgotten && transactional),
            });
            match forgotten {
                Ok(true) => kept.put(store),
                Ok(false) => {}
                // Its files are as of a commit before, and it is opened from there.
                Err(error) => tracing::warn!(%task, store = store.name(), "abandoned, and not closed: {error}"),
            }
        }
        closed.map(|()| kept)
    }

    /// Makes the stores durable, each with the changelog offset it covers, closes processors, and gives the stores to the task
    /// that takes the place of this one. Kafka's word for a task that becomes a standby, or the other way round.
    ///
    /// # Errors
    /// If a processor fails, or a store cannot be written.
    pub fn recycle(&mut self, offset: impl Fn(&str) -> Option<i64>) -> Result<KeptStores> {
        let mut kept = KeptStores::default();
        if std::mem::replace(&mut self.closed, true) {
            return Ok(kept);
        }
        self.close_processors()?;
        self.commit_stores(&offset)?;
        for id in &self.store_order {
            let Some(mut store) = self.ctx.stores.get_mut(*id).and_then(Option::take) else { continue };
            if store.recycle()? {
                let offset = offset(store.name());
                kept.put_at(store, offset);
            } else {
                store.close()?;
            }
        }
        // Stores of the application's own are marked, and those were closed.
        for mark in self.open_marks.drain(..) {
            mark.remove().map_err(|error| Error::streams(format!("unmarking a store that is closed: {error}")))?;
        }
        Ok(kept)
    }

    /// The stores have all that their changelogs had at a time, and go on following them: what they take from now on is to
    /// survive a crash with the commits that follow.
    ///
    /// # Errors
    /// If an engine cannot write.
    pub fn caught_up(&mut self) -> Result<()> {
        self.own_stores_mut().try_for_each(|store| store.end_restoration())
    }

    fn close_processors(&mut self) -> Result<()> {
        self.ctx.rt.tell_skipped(i64::MAX);
        if self.initialized { self.ctx.close_nodes() } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests;
