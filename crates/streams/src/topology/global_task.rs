//! The task that fills the global stores: of every record of their topics, whichever partition it is in.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    NodeKind, Topology,
    instantiate::{Instantiated, instantiate},
    task_stores::open_global_stores,
};
use crate::{
    config::StreamsConfig,
    error::{Error, Result},
    guard::guarded,
    metrics::{Recorder, task::Dropped},
    processing::{Handlers, RecordCollector, Runtime},
    record::{Headers, ProducerRecord},
    state::{GlobalStores, Sharing, TaskDirectory},
    store::AnyStore,
    task::{InputBatch, RawView, Source, TaskCtx, slice},
    task_id::TaskId,
};

/// What a [`GlobalTask`] is made from.
pub(crate) struct GlobalTaskOptions {
    pub(crate) config: Arc<StreamsConfig>,
    pub(crate) handlers: Handlers,
    /// Where the other tasks find the stores.
    pub(crate) stores: GlobalStores,
    /// The directory of persistent stores; without one they are kept in memory.
    pub(crate) state_dir: Option<TaskDirectory>,
    /// In ms since the epoch.
    pub(crate) now: i64,
}

impl GlobalTaskOptions {
    /// With the handlers of the settings; that of failures of application code only where they say so (KIP-1270).
    pub(crate) fn handlers(config: &StreamsConfig) -> Handlers {
        let mut handlers = Handlers::of(config);
        if !config.fields().processing_handler_of_globals {
            handlers.processing = None;
        }
        handlers
    }
}

/// A source with its topic.
struct Input {
    source: Box<dyn Source>,
    lane: usize,
    topic: Arc<str>,
}

/// The global stores, and the nodes that fill them.
pub(crate) struct GlobalTask {
    /// The stores, by number and topic.
    stores: Vec<(usize, String)>,
    ctx: TaskCtx,
    inputs: BTreeMap<String, Input>,
    /// Whether there are nodes that were initialised and not closed.
    at_work: bool,
    /// By topic and partition the offset after the last record that the stores have.
    offsets: BTreeMap<String, BTreeMap<i32, i64>>,
    dropped: Dropped,
}

impl GlobalTask {
    /// Opens the stores. The nodes are made by [`initialize`](Self::initialize).
    pub(crate) fn open(topology: &Topology, options: GlobalTaskOptions) -> Result<Self> {
        let GlobalTaskOptions { config, handlers, stores, state_dir, now } = options;
        topology.validate()?;
        let node_names = topology.nodes.iter().map(|node| node.name.clone()).collect();
        let mut rt = Runtime::new(TaskId::GLOBAL, &config, Box::new(NoCollector), node_names, now);
        rt.handlers = handlers;
        let mut ctx = TaskCtx::new(rt);
        open_global_stores(topology, &mut ctx, Sharing::Writer(&stores), state_dir)?;
        let stores = topology.global_stores.iter().map(|global| (global.factory.id, global.topic.clone())).collect();
        Ok(GlobalTask {
            stores,
            ctx,
            inputs: BTreeMap::new(),
            at_work: false,
            offsets: BTreeMap::new(),
            dropped: Dropped::default(),
        })
    }

    fn make_nodes(&mut self, topology: &Topology, nodes: &[usize]) -> Result<()> {
        self.close_nodes()?;
        self.ctx.arena.clear();
        self.inputs.clear();
        let config = self.ctx.rt.config.clone();
        let Instantiated { sources } = instantiate(topology, &config, nodes, &mut self.ctx)?;
        for (node, mut source) in sources {
            let Some(NodeKind::Source { topics, .. }) = topology.node(node).map(|node| &node.kind) else {
                continue;
            };
            let Some(topic) = topics.first() else { continue };
            let input = Input { lane: source.add_lane(), source, topic: Arc::from(topic.as_str()) };
            self.inputs.insert(topic.clone(), input);
        }
        self.ctx.rt.context = Default::default();
        self.at_work = true;
        self.ctx.init_nodes()
    }

    fn close_nodes(&mut self) -> Result<()> {
        if std::mem::take(&mut self.at_work) { self.ctx.close_nodes() } else { Ok(()) }
    }

    /// Makes and initialises the nodes, in the order of the topology: the stores have what they should.
    pub(crate) fn initialize(&mut self, topology: &Topology) -> Result<()> {
        let stores = topology.global_stores.iter();
        let mut nodes: Vec<_> = stores.flat_map(|global| [global.source, global.processor]).collect();
        nodes.sort_unstable();
        self.make_nodes(topology, &nodes)
    }

    /// Makes the nodes of one store alone, by which its content is brought back.
    pub(crate) fn begin_reprocessing(&mut self, topology: &Topology, store: usize) -> Result<()> {
        let global = topology.global_stores.iter().find(|global| global.factory.id == store);
        let Some(global) = global else { return Err(Error::internal("no such global store")) };
        let mut nodes = [global.source, global.processor];
        nodes.sort_unstable();
        self.make_nodes(topology, &nodes)
    }

    /// Processes records of one partition, each to its end.
    pub(crate) fn update(&mut self, topic: &str, partition: i32, batch: InputBatch, now: i64) -> Result<()> {
        self.process(topic, partition, batch, now, true)
    }

    /// The same with records that were processed in an earlier life; those without a key are passed over.
    pub(crate) fn reprocess(&mut self, topic: &str, partition: i32, batch: InputBatch, now: i64) -> Result<()> {
        self.process(topic, partition, batch, now, false)
    }

    fn process(&mut self, topic: &str, partition: i32, batch: InputBatch, now: i64, keyless: bool) -> Result<()> {
        let Some(input) = self.inputs.get_mut(topic) else { return Err(Error::internal("a foreign global topic")) };
        let rt = &mut self.ctx.rt;
        rt.wall_clock = now;
        let (buffer, leader_epoch, records) = batch.into_parts();
        let mut next = None;
        for record in records {
            next = Some(record.offset + 1);
            let view = RawView {
                topic,
                partition,
                offset: record.offset,
                timestamp: record.timestamp,
                headers: &record.headers,
                key: slice(&buffer, record.key.as_ref())?,
                value: slice(&buffer, record.value.as_ref())?,
            };
            if view.key.is_none() && !keyless {
                continue;
            }
            let Some(timestamp) = input.source.prepare(input.lane, &view, -1, &mut self.ctx.rt)? else { continue };
            let context = &mut self.ctx.rt.context;
            context.known = true;
            context.topic = Some(input.topic.clone());
            context.batch = buffer.clone();
            context.partition = partition;
            context.offset = record.offset;
            context.leader_epoch = leader_epoch;
            context.timestamp = timestamp;
            context.headers = record.headers;
            context.raw_key = record.key;
            context.raw_value = record.value;
            input.source.take_head(input.lane);
            guarded(|| input.source.process(timestamp, &mut self.ctx))?;
        }
        if let Some(next) = next {
            self.set_offset(topic, partition, next);
        }
        Ok(())
    }

    /// Puts a record of the topic into a store as it is.
    pub(crate) fn restore(
        &mut self,
        store: usize,
        key: &[u8],
        value: Option<&[u8]>,
        timestamp: i64,
        headers: &Headers,
    ) -> Result<()> {
        match self.ctx.stores.get_mut(store) {
            Some(Some(store)) => store.restore_with_headers(key, value, timestamp, headers),
            _ => Err(Error::internal("no such global store")),
        }
    }

    /// From here on the stores have what is before this offset.
    pub(crate) fn set_offset(&mut self, topic: &str, partition: i32, offset: i64) {
        if let Some(partitions) = self.offsets.get_mut(topic) {
            partitions.insert(partition, offset);
        } else {
            self.offsets.insert(topic.to_owned(), BTreeMap::from([(partition, offset)]));
        }
    }

    /// By topic and partition the offset after the last record that the stores have.
    pub(crate) fn offsets(&self) -> &BTreeMap<String, BTreeMap<i32, i64>> {
        &self.offsets
    }

    /// The offsets that a persistent store has kept; `None` where it must be filled anew although it may have content.
    pub(crate) fn kept_offsets(&self, store: usize) -> Result<Option<BTreeMap<i32, i64>>> {
        match self.ctx.stores.get(store) {
            Some(Some(store)) if store.persistent() => store.committed_partitions(),
            _ => Ok(Some(BTreeMap::new())),
        }
    }

    /// Makes the stores durable, with the offsets that they have.
    pub(crate) fn commit(&mut self) -> Result<()> {
        let none = BTreeMap::new();
        for (id, topic) in &self.stores {
            if let Some(Some(store)) = self.ctx.stores.get_mut(*id) {
                store.commit_partitions(self.offsets.get(topic).unwrap_or(&none))?;
            }
        }
        Ok(())
    }

    /// The stores are filled, and that is committed.
    pub(crate) fn end_restoration(&mut self) -> Result<()> {
        for (id, _) in &self.stores {
            if let Some(Some(store)) = self.ctx.stores.get_mut(*id) {
                store.end_restoration()?;
            }
        }
        Ok(())
    }

    /// Whether a store holds as much in memory as it should before a commit.
    pub(crate) fn needs_commit(&self) -> bool {
        let stores = self.stores.iter().filter_map(|(id, _)| self.ctx.stores.get(*id)?.as_ref());
        stores.into_iter().any(|store| store.needs_commit())
    }

    /// Whether a topic is that of a global store.
    pub(crate) fn reads(&self, topic: &str) -> bool {
        self.inputs.contains_key(topic)
    }

    /// From here on those that are dropped are told there.
    pub(crate) fn measure(&mut self, of_thread: &Recorder) {
        self.dropped = Dropped::of(of_thread, &TaskId::GLOBAL.to_string());
    }

    /// Tells what was dropped since the last time.
    pub(crate) fn record_metrics(&mut self, now: i64) {
        self.dropped.record(self.ctx.rt.dropped, now);
    }

    /// How many records were dropped so far.
    pub(crate) fn dropped_records(&self) -> u64 {
        self.ctx.rt.dropped
    }

    pub(crate) fn ctx_mut(&mut self) -> &mut TaskCtx {
        &mut self.ctx
    }

    /// Closes processors and leaves the stores as of the last commit that reached them.
    pub(crate) fn abandon(&mut self) -> Result<()> {
        self.close_nodes()
    }

    /// Closes processors and stores; returns the first failure.
    pub(crate) fn close(&mut self) -> Result<()> {
        let mut first = self.close_nodes();
        let own = |store: &mut Option<Box<dyn AnyStore>>| store.as_mut().map_or(Ok(()), |store| store.close());
        for store in &mut self.ctx.stores {
            first = first.and(own(store));
        }
        first
    }
}

impl std::fmt::Debug for GlobalTask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GlobalTask").field("offsets", &self.offsets).finish_non_exhaustive()
    }
}

/// Nothing is sent from here: what a handler wants in a dead letter queue is lost, as in Kafka.
struct NoCollector;

impl RecordCollector for NoCollector {
    fn send(&mut self, record: ProducerRecord<'_>) -> Result<()> {
        tracing::warn!(topic = &**record.topic, "a record cannot be sent from a global store's processor");
        Ok(())
    }

    fn partitions_for(&mut self, topic: &str) -> Result<i32> {
        Err(Box::new(Error::Streams(format!("topic {topic}: a global store's processor cannot send"))))
    }
}

/// A context with the global stores to read, for who is no task.
pub(crate) fn read_global_stores(
    topology: &Topology,
    config: &Arc<StreamsConfig>,
    stores: &GlobalStores,
    now: i64,
) -> Result<TaskCtx> {
    let rt = Runtime::new(TaskId::GLOBAL, config, Box::new(NoCollector), Arc::from([]), now);
    let mut ctx = TaskCtx::new(rt);
    open_global_stores(topology, &mut ctx, Sharing::Reader(stores), None)?;
    Ok(ctx)
}
