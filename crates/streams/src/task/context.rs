//! What the nodes of one task share.

use std::{any::Any, collections::BTreeMap, ops::Range, sync::Arc};

use bytes::Bytes;

use super::{
    collector::{ProducerRecord, RecordCollector, RecordOrigin},
    guard::guarded,
    node::{Slot, TypedSlot},
    punctuation::Punctuations,
    skipped::Skipped,
};
use crate::{
    config::StreamsConfig,
    error::{Error, Result},
    handler::{
        DeadLetter, DeserializationExceptionHandler, ErrorHandlerContext, HandlerResponse, HandlerResult,
        ProcessingExceptionHandler,
    },
    record::{Headers, Record},
    store::{AnyStore, StoreHandle},
};

/// `subtopology_partition`: which part of the application's work a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId {
    /// The number of the sub-topology.
    pub subtopology: u32,
    /// The partition of its source topics.
    pub partition: i32,
}

impl TaskId {
    /// The task that fills the global stores; Kafka's is `-1_-1`.
    pub const GLOBAL: TaskId = TaskId { subtopology: u32::MAX, partition: -1 };
}

impl std::fmt::Display for TaskId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            TaskId::GLOBAL => f.write_str("-1_-1"),
            TaskId { subtopology, partition } => write!(f, "{subtopology}_{partition}"),
        }
    }
}

/// The coordinates of the source record that is being processed.
#[derive(Clone, Debug, Default)]
pub(crate) struct RecordContext {
    /// False before the first record and outside of punctuations: there is nothing to tell.
    pub(crate) known: bool,
    /// `None` while no record is being processed, as in punctuations.
    pub(crate) topic: Option<Arc<str>>,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) leader_epoch: Option<i32>,
    /// Of the record as the current node got it, which may differ from the source record's.
    pub(crate) timestamp: i64,
    pub(crate) headers: Headers,
    /// The source record's bytes, for the handlers: slices of the batch they came in.
    pub(crate) batch: Bytes,
    pub(crate) raw_key: Option<Range<u32>>,
    pub(crate) raw_value: Option<Range<u32>>,
}

impl RecordContext {
    fn slice(&self, range: &Option<Range<u32>>) -> Option<Bytes> {
        let range = range.as_ref()?;
        let range = range.start as usize..range.end as usize;
        (range.end <= self.batch.len() && range.start <= range.end).then(|| self.batch.slice(range))
    }

    pub(crate) fn raw_key(&self) -> Option<Bytes> {
        self.slice(&self.raw_key)
    }

    pub(crate) fn raw_value(&self) -> Option<Bytes> {
        self.slice(&self.raw_value)
    }
}

/// Who is asked about records that cannot be read or processed.
#[derive(Clone)]
pub(crate) struct Handlers {
    pub(crate) deserialization: Arc<dyn DeserializationExceptionHandler>,
    /// Without one every failure of application code stands.
    pub(crate) processing: Option<Arc<dyn ProcessingExceptionHandler>>,
}

impl Handlers {
    /// Those of the settings.
    pub(crate) fn of(config: &StreamsConfig) -> Self {
        Handlers {
            deserialization: config.deserialization_exception_handler().clone(),
            processing: Some(config.processing_exception_handler().clone()),
        }
    }
}

/// All of a task but its nodes and stores, so that those can be borrowed beside it.
pub(crate) struct Runtime {
    pub(crate) task_id: TaskId,
    pub(crate) config: Arc<StreamsConfig>,
    pub(crate) collector: Box<dyn RecordCollector>,
    pub(crate) handlers: Handlers,
    pub(crate) context: RecordContext,
    /// The greatest timestamp seen, -1 before the first record.
    pub(crate) stream_time: i64,
    pub(crate) wall_clock: i64,
    pub(crate) dropped: u64,
    skipped: Skipped,
    /// Times that processors want to know again after a restart, by a name of theirs: Kafka's `ProcessorMetadata`. A
    /// commit keeps them. They may change only while a record is processed, whose partition is committed then.
    pub(crate) processor_times: BTreeMap<String, i64>,
    pub(crate) commit_requested: bool,
    /// Whether all caches are being flushed: between two of their rows nothing is half done.
    pub(crate) is_flushing: bool,
    pub(crate) punctuations: Punctuations,
    pub(crate) node_names: Arc<[Arc<str>]>,
    pub(crate) cache: CacheBudget,
    /// Arena slots whose store has evicted entries that nobody has forwarded yet.
    pub(crate) evicted: Vec<usize>,
    pub(crate) key_buffer: Vec<u8>,
    pub(crate) value_buffer: Vec<u8>,
}

/// The bytes that the record caches of a task may hold, and do.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CacheBudget {
    pub(crate) used: u64,
    pub(crate) max: u64,
    /// How many caches share it.
    pub(crate) caches: usize,
}

impl Runtime {
    pub(crate) fn new(
        task_id: TaskId,
        config: &Arc<StreamsConfig>,
        collector: Box<dyn RecordCollector>,
        node_names: Arc<[Arc<str>]>,
        now: i64,
    ) -> Self {
        Runtime {
            task_id,
            handlers: Handlers::of(config),
            cache: CacheBudget { used: 0, max: config.fields().cache_max_bytes, caches: 0 },
            config: config.clone(),
            collector,
            context: RecordContext::default(),
            stream_time: -1,
            wall_clock: now,
            dropped: 0,
            skipped: Skipped::default(),
            processor_times: BTreeMap::new(),
            commit_requested: false,
            is_flushing: false,
            punctuations: Punctuations::default(),
            node_names,
            evicted: Vec::new(),
            key_buffer: Vec::new(),
            value_buffer: Vec::new(),
        }
    }

    /// Counts a record that is skipped. The log has the first one for a reason with its position, and of the others how
    /// many there were: a topic of nothing but late records would fill it.
    #[cold]
    pub(crate) fn drop_record(&mut self, why: &'static str) {
        self.dropped += 1;
        self.remark("skipping record", why);
    }

    /// Says something of the current record, as [`drop_record`](Self::drop_record) says it.
    #[cold]
    pub(crate) fn remark(&mut self, what: &str, why: &'static str) {
        let Some(records) = self.skipped.count(why, self.wall_clock) else { return };
        tracing::warn!(
            task = %self.task_id,
            topic = self.context.topic.as_deref(),
            partition = self.context.partition,
            offset = self.context.offset,
            records,
            "{what}: {why}"
        );
    }

    /// Tells how many records were skipped since the log last said so, where that is due.
    pub(crate) fn tell_skipped(&mut self, now: i64) {
        for (why, records) in self.skipped.due(now) {
            tracing::warn!(task = %self.task_id, records, "skipped records: {why}");
        }
    }

    /// The clock on the wall is read again. Where it was set back, the timers it drives are due as much earlier: they would
    /// stand still until it has caught up.
    #[inline]
    pub(crate) fn set_wall_clock(&mut self, now: i64) {
        if now < self.wall_clock {
            self.punctuations.wall_clock_went_back(self.wall_clock - now);
        }
        self.wall_clock = now;
    }

    /// From here on the context is that of `record`, as this node got it.
    #[inline]
    pub(crate) fn enter<K, V>(&mut self, record: &Record<K, V>) {
        self.context.timestamp = record.timestamp;
        if !(record.headers.is_empty() && self.context.headers.is_empty()) {
            self.context.headers = record.headers.clone();
        }
    }

    pub(crate) fn node_name(&self, id: u32) -> &str {
        self.node_names.get(id as usize).map_or("", |name| name)
    }

    /// What a handler is told about an error.
    pub(crate) fn error_context<'a>(&'a self, node: &'a str) -> ErrorHandlerContext<'a> {
        ErrorHandlerContext {
            topic: self.context.topic.as_deref(),
            partition: self.context.partition,
            offset: self.context.offset,
            headers: &self.context.headers,
            processor_node_id: node,
            task_id: self.task_id,
            timestamp: self.context.timestamp,
            source_raw_key: self.context.raw_key(),
            source_raw_value: self.context.raw_value(),
        }
    }

    fn send_dead_letters(&mut self, letters: Vec<DeadLetter>, node: &str) -> Result<()> {
        let Some(node) = self.node_names.iter().find(|name| &***name == node) else { return Ok(()) };
        let RecordContext { topic, partition, offset, .. } = &self.context;
        let origin = RecordOrigin { node, topic: topic.as_ref(), partition: *partition, offset: *offset };
        for letter in letters {
            self.collector.send_from(
                origin,
                ProducerRecord {
                    topic: &Arc::from(letter.topic),
                    partition: letter.partition,
                    timestamp: letter.timestamp,
                    headers: &letter.headers,
                    key: letter.key.as_deref(),
                    value: letter.value.as_deref(),
                },
            )?;
        }
        Ok(())
    }

    /// Asks the processing handler about an error of application code at `node`, once.
    #[cold]
    #[inline(never)]
    pub(crate) fn settle(&mut self, error: Box<Error>, node: u32) -> Result<()> {
        match self.node_names.get(node as usize).cloned() {
            Some(name) => self.settle_at(error, &name),
            None => Err(error),
        }
    }

    /// [`settle`](Self::settle) by the node's name.
    #[cold]
    #[inline(never)]
    pub(crate) fn settle_at(&mut self, error: Box<Error>, node: &str) -> Result<()> {
        if error.is_settled() {
            return Err(error);
        }
        let Some(handler) = self.handlers.processing.clone() else { return Err(self.located(error, node)) };
        let response = guarded(|| Ok(handler.handle(&self.error_context(node), &error)));
        self.obey(response, error, node)
    }

    /// Does what a handler said about an error at `node`; that the handler itself panicked is the greater failure.
    pub(crate) fn obey(&mut self, response: Result<HandlerResponse>, error: Box<Error>, node: &str) -> Result<()> {
        let HandlerResponse { result, dead_letters } = response.map_err(|panic| {
            tracing::error!(node, "the exception handler panicked when it was asked about: {error}");
            self.located(panic, node)
        })?;
        self.send_dead_letters(dead_letters, node)?;
        match result {
            HandlerResult::Continue => {
                self.dropped += 1;
                Ok(())
            }
            HandlerResult::Fail => Err(self.located(error, node)),
        }
    }

    /// An error with node, task and the coordinates of the record at work.
    pub(crate) fn located(&self, source: Box<Error>, node: &str) -> Box<Error> {
        let context = &self.context;
        let position = context.topic.clone().map(|topic| (topic, context.partition, context.offset));
        Box::new(Error::Processing { node: node.to_owned(), task: self.task_id.to_string(), position, source })
    }
}

/// A task's shared state: the arena of nodes that several reach, the stores, and the rest. Passed down by `&mut`.
pub(crate) struct TaskCtx {
    /// Arena slots in the order of the topology: the order of initialisation and close.
    pub(crate) init_order: Vec<usize>,
    pub(crate) arena: Vec<Option<Box<dyn Slot>>>,
    pub(crate) stores: Vec<Option<Box<dyn AnyStore>>>,
    /// The global ones among them, which every processor may read, by number.
    pub(crate) global_stores: Vec<usize>,
    pub(crate) rt: Runtime,
}

impl TaskCtx {
    pub(crate) fn new(rt: Runtime) -> Self {
        TaskCtx { init_order: Vec::new(), arena: Vec::new(), stores: Vec::new(), global_stores: Vec::new(), rt }
    }

    /// Initialises the nodes that want it, in the order of the topology.
    pub(crate) fn init_nodes(&mut self) -> Result<()> {
        for slot in self.init_order.clone() {
            self.with_slot(slot, |node, ctx| node.init(slot, ctx))?;
        }
        Ok(())
    }

    /// Closes the nodes that want it; returns the first failure.
    pub(crate) fn close_nodes(&mut self) -> Result<()> {
        let mut first = Ok(());
        for slot in self.init_order.clone() {
            first = first.and(self.with_slot(slot, |node, ctx| node.close(ctx)));
        }
        first
    }

    pub(crate) fn send_to_slot<K: 'static, V: 'static>(&mut self, slot: usize, record: Record<K, V>) -> Result<()> {
        let mut node = self.take(slot)?;
        let done = match (&mut *node as &mut dyn Any).downcast_mut::<TypedSlot<K, V>>() {
            Some(typed) => guarded(|| typed.0.process(record, self)),
            None => Err(Error::internal("a slot holds another type than its edge")),
        };
        self.put_back(slot, node);
        done
    }

    pub(crate) fn with_slot(
        &mut self,
        slot: usize,
        f: impl FnOnce(&mut dyn Slot, &mut TaskCtx) -> Result<()>,
    ) -> Result<()> {
        let mut node = self.take(slot)?;
        let done = guarded(|| f(&mut *node, self));
        self.put_back(slot, node);
        done
    }

    fn take(&mut self, slot: usize) -> Result<Box<dyn Slot>> {
        let node = self.arena.get_mut(slot).and_then(Option::take);
        node.ok_or_else(|| Error::internal("a node was reached while it was at work"))
    }

    fn put_back(&mut self, slot: usize, node: Box<dyn Slot>) {
        if let Some(place) = self.arena.get_mut(slot) {
            *place = Some(node);
        }
    }

    /// The number of a global store, by its name.
    pub(crate) fn global_store(&self, name: &str) -> Option<usize> {
        let named = |id: &&usize| matches!(self.stores.get(**id), Some(Some(store)) if store.name() == name);
        self.global_stores.iter().find(named).copied()
    }

    /// The store behind a handle, and the runtime it works with.
    #[inline]
    pub(crate) fn store<S: 'static>(&mut self, handle: StoreHandle<S>) -> Result<(&mut S, &mut Runtime)> {
        let store = self.stores.get_mut(handle.id()).and_then(Option::as_mut);
        let store = store.and_then(|store| (&mut **store as &mut dyn Any).downcast_mut::<S>());
        match store {
            Some(store) => Ok((store, &mut self.rt)),
            None => Err(Error::internal("a store handle of another topology or type")),
        }
    }

    /// Forwards what caches evicted while no node of theirs could do it.
    pub(crate) fn forward_evicted(&mut self) -> Result<()> {
        while let Some(slot) = self.rt.evicted.pop() {
            self.with_slot(slot, |node, ctx| node.forward_flushed(ctx))?;
        }
        Ok(())
    }

    pub(crate) fn drop_record(&mut self, why: &'static str) -> Result<()> {
        self.rt.drop_record(why);
        Ok(())
    }
}
