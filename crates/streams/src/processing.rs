//! What is at hand while a record is processed: clocks, timers, handlers, the record's coordinates, and the way out.
//!
//! Stores and nodes get it as `&mut Runtime`, and it knows neither.

mod collector;
mod extractor;
mod partitioner;
mod punctuation;
mod record_context;
mod serde;
mod skipped;

use std::{collections::BTreeMap, sync::Arc};

pub use collector::RecordCollector;
pub use extractor::{
    ConsumerRecord, FailOnInvalidTimestamp, LogAndSkipOnInvalidTimestamp, TimestampExtractor,
    UsePartitionTimeOnInvalidTimestamp, WallclockTimestampExtractor,
};
pub(crate) use extractor::{ExtractorRef, default_extractor};
pub(crate) use partitioner::{PartitionerRef, TopicRef};
pub use partitioner::{StreamPartitioner, TopicNameExtractor};
pub use punctuation::{Cancellable, PunctuationType};
pub(crate) use punctuation::{JavaHeap, Timer, next_punctuation};
pub(crate) use record_context::RecordContext;
pub use record_context::RecordMetadata;
pub(crate) use serde::resolve_serde;

use self::{punctuation::Punctuations, skipped::Skipped};
use crate::{
    config::StreamsConfig,
    error::{Error, Result},
    guard::guarded,
    handler::{
        DeadLetter, DeserializationExceptionHandler, ErrorHandlerContext, HandlerResponse, HandlerResult,
        ProcessingExceptionHandler,
    },
    metrics::{record_size, task::TaskMetrics},
    record::{ProducerRecord, Record, RecordOrigin},
    task_id::TaskId,
};

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
    pub(crate) metrics: TaskMetrics,
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
            metrics: TaskMetrics::default(),
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
        let Some(number) = self.node_names.iter().position(|name| &**name == node) else { return Ok(()) };
        let Some(node) = self.node_names.get(number) else { return Ok(()) };
        let RecordContext { topic, partition, offset, .. } = &self.context;
        let origin = RecordOrigin { node, topic: topic.as_ref(), partition: *partition, offset: *offset };
        for letter in letters {
            let topic = Arc::from(letter.topic);
            let size = record_size(letter.key.as_deref(), letter.value.as_deref(), &topic, &letter.headers);
            self.metrics.produced.add(number as u32, &topic, size);
            self.collector.send_from(
                origin,
                ProducerRecord {
                    topic: &topic,
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
