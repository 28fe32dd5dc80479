//! `suppress`: holds changes back.

use std::{
    marker::PhantomData,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{KTable, TableSupplier, ValueGetter};
use crate::{
    builder::{Graph, GraphNode, NodeId, ROOT, Written},
    data::Data,
    dsl::{
        kstream,
        suppressed::{Limits, SuppressUntil, Suppressed},
    },
    error::{Error, Result},
    metrics::node::Emits,
    record::{Change, Record, ValueAndTimestamp},
    store::{ChangeBuffer, ChangeBufferSpec, StoreFactory, StoreHandle, StoreKind, StoreRef},
    task::{Children, Process, TaskCtx},
    topology::{Instantiation, Topology},
};

const PREFIX: &str = "KTABLE-SUPPRESS-";

impl<K: Data, V: Data> KTable<K, V> {
    /// Holds changes back until their window has closed, or for a time; of a key only the last one is sent on.
    ///
    /// What is held back is in memory, with a changelog topic `APPLICATION-NAME-store-changelog`. Time is the stream's:
    /// a change leaves when a later record comes. The table must not be versioned. Keys stay, nothing is repartitioned; a
    /// deletion is held back like any change, and swallowed where windows close.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use vltava_streams::{BufferConfig, StreamsBuilder, Suppressed, TimeWindows, TopologyTestDriver};
    /// let builder = StreamsBuilder::new();
    /// builder
    ///     .stream::<String, String>("clicks")
    ///     .group_by_key()
    ///     .windowed_by(TimeWindows::of_size_with_no_grace(Duration::from_secs(60)))
    ///     .count()
    ///     .suppress(Suppressed::until_window_closes(BufferConfig::unbounded()))
    ///     .to_stream()
    ///     .map(|user, clicks| (user.key, clicks))
    ///     .to("clicks-per-minute");
    /// let driver = TopologyTestDriver::new(&builder.build()?)?;
    /// let clicks = driver.input_topic::<String, String>("clicks");
    /// for second in [0, 30, 65] {
    ///     clicks.pipe_at("ada".to_owned(), "/".to_owned(), second * 1000)?;
    /// }
    /// let counts = driver.output_topic::<String, i64>("clicks-per-minute");
    /// assert_eq!(counts.read_key_values()?, [("ada".to_owned(), 2)]);
    /// # Ok::<(), Box<vltava_streams::Error>>(())
    /// ```
    pub fn suppress<U: SuppressUntil<K>>(&self, suppressed: Suppressed<U>) -> Self {
        let Suppressed { until, limits, name: given } = suppressed;
        let shared = self.graph.clone();
        let mut graph = shared.borrow_mut();
        if graph.plan.node(self.node).and_then(|node| node.output_versioned) == Some(true) {
            graph.fail(Error::topology(NOT_VERSIONED));
        }
        if let Some(name) = &given {
            graph.validate_name(name);
        }
        let name = given.clone().unwrap_or_else(|| graph.new_processor_name(PREFIX));
        let wait = match until.wait().map_or_else(|| window_grace(&graph, self.node, ""), Ok) {
            Ok(wait) => wait,
            Err(error) => {
                graph.fail(error);
                0
            }
        };
        let store = given.map(|name| format!("{name}-store")).unwrap_or_else(|| {
            let store = graph.new_store_name(PREFIX);
            if limits.logging.is_some() {
                graph.implicit.changelogs.push(format!("{store}-changelog"));
            }
            store
        });
        self.supplier.enable_sending_old_values(true);
        let (id, builder) = (graph.store_id(&store), graph.new_builder());
        let buffer: StoreHandle<ChangeBuffer<K, V>> = StoreRef::new(id).handle();
        let factory = factory::<K, V>(self, store, id, builder, &limits);
        let limits = Arc::new(limits);
        let make = Arc::new(move |making: &mut Instantiation<'_>| {
            let (limits, id) = (limits.clone(), making.node_id());
            let children = making.children()?;
            making.ctx.rt.metrics.declare_emits(id, Emits::Suppressed);
            making
                .place::<K, Change<V>>(SuppressNode { until, wait, limits, buffer, children, observed: -1, id }, false);
            Ok(())
        });
        let node_name = Arc::<str>::from(name.as_str());
        let versioned = Arc::new(AtomicBool::new(false));
        let told = versioned.clone();
        let write = move |written: &Written<'_>, topology: &mut Topology| {
            if versioned.load(Ordering::Relaxed) {
                return Err(Error::topology(NOT_VERSIONED));
            }
            let parents = written.parents.clone();
            topology.add_node(kstream::factory::<K, Change<V>, K, Change<V>>(&node_name, parents, make.clone()))?;
            topology.add_state_store(factory.clone(), &[&node_name])
        };
        let node = GraphNode {
            output_versioned: Some(false),
            versioned_semantics: Some(Rc::new(move |on, _| told.store(on, Ordering::Relaxed))),
            ..GraphNode::new(name.clone(), Rc::new(write))
        };
        let node = graph.add(&[self.node], node);
        let table = SuppressTable { parent: self.supplier.clone(), buffer };
        let sources = Rc::new([self.name.to_string()].into());
        KTable::new(&shared, node, &name, sources, Arc::new(table))
            .with_serdes(self.key_serde.clone(), self.value_serde.clone())
    }
}

const NOT_VERSIONED: &str = "suppress() is only supported for non-versioned KTables";

fn factory<K: Data, V: Data>(
    table: &KTable<K, V>,
    name: String,
    id: usize,
    builder: usize,
    limits: &Limits,
) -> StoreFactory {
    let spec = ChangeBufferSpec {
        name: name.clone(),
        key_serde: table.key_serde.clone(),
        value_serde: table.value_serde.clone(),
        types: PhantomData::<fn() -> (K, V)>,
    };
    StoreFactory {
        id,
        name,
        kind: StoreKind::Buffer,
        logging: limits.logging.is_some(),
        log_config: limits.logging.clone().unwrap_or_default(),
        caching: false,
        builder: Some(builder),
        make: Arc::new(move |init| spec.make(init)),
    }
}

/// The grace of the windows above a node: the greatest of all branches, each of which must have one.
fn window_grace(graph: &Graph, id: NodeId, chain: &str) -> Result<i64> {
    let node = graph.plan.node(id);
    if let Some(grace) = node.and_then(|node| node.grace) {
        return Ok(grace);
    }
    let name = node.map_or("", |node| &node.name);
    let chain = if chain.is_empty() { name.to_owned() } else { format!("{name}->{chain}") };
    let parents = node.map(|node| node.parents.clone()).unwrap_or_default();
    let graces = parents.iter().filter(|id| **id != ROOT).map(|id| window_grace(graph, *id, &chain));
    graces.collect::<Result<Vec<_>>>()?.into_iter().max().ok_or_else(|| {
        Error::topology(format!("Window close time is only defined for windowed computations. Got [{chain}]."))
    })
}

struct SuppressTable<K, V> {
    parent: Arc<dyn TableSupplier<K, V>>,
    buffer: StoreHandle<ChangeBuffer<K, V>>,
}

impl<K: Data, V: Data> TableSupplier<K, V> for SuppressTable<K, V> {
    fn enable_sending_old_values(&self, force: bool) -> bool {
        self.parent.enable_sending_old_values(force)
    }

    fn view(&self) -> Arc<dyn ValueGetter<K, V>> {
        Arc::new(SuppressGetter { parent: self.parent.view(), buffer: self.buffer })
    }
}

struct SuppressGetter<K, V> {
    parent: Arc<dyn ValueGetter<K, V>>,
    buffer: StoreHandle<ChangeBuffer<K, V>>,
}

impl<K: Data, V: Data> ValueGetter<K, V> for SuppressGetter<K, V> {
    /// The row as those below know it: while a change is held back, as it was before.
    fn get(&self, ctx: &mut TaskCtx, key: &K) -> Result<Option<ValueAndTimestamp<V>>> {
        match ctx.store(self.buffer)?.0.prior_value(key)? {
            // When it was last changed is not known.
            Some(prior) => Ok(prior.map(|value| ValueAndTimestamp::new(value, -1))),
            None => self.parent.get(ctx, key),
        }
    }

    fn stores(&self, ids: &mut Vec<usize>) {
        ids.push(self.buffer.id());
        self.parent.stores(ids);
    }
}

struct SuppressNode<K, V, U> {
    until: U,
    /// In ms.
    wait: i64,
    limits: Arc<Limits>,
    buffer: StoreHandle<ChangeBuffer<K, V>>,
    children: Children<K, Change<V>>,
    observed: i64,
    id: u32,
}

impl<K: Data, V: Data, U: SuppressUntil<K>> Process<K, Change<V>> for SuppressNode<K, V, U> {
    fn process(&mut self, record: Record<K, Change<V>>, ctx: &mut TaskCtx) -> Result<()> {
        ctx.rt.enter(&record);
        self.buffer(&record, ctx).or_else(|error| ctx.rt.settle(error, self.id))
    }
}

impl<K: Data, V: Data, U: SuppressUntil<K>> SuppressNode<K, V, U> {
    fn buffer(&mut self, record: &Record<K, Change<V>>, ctx: &mut TaskCtx) -> Result<()> {
        self.observed = self.observed.max(record.timestamp);
        let time = self.until.time(&record.key, record.timestamp);
        let (buffer, rt) = ctx.store(self.buffer)?;
        buffer.put(time, &record.key, &record.value, &rt.context)?;
        let expired = self.observed.saturating_sub(self.wait);
        self.evict_while(|buffer, _| buffer.min_timestamp().is_some_and(|first| first <= expired), ctx)?;
        let (buffer, rt) = ctx.store(self.buffer)?;
        if !over(buffer, &self.limits) {
            return Ok(());
        }
        if self.limits.shut_down {
            let (node, Limits { records, bytes, .. }) = (rt.node_name(self.id), &*self.limits);
            let (len, size) = (buffer.len(), buffer.size());
            return Err(Error::streams(format!(
                "{node} buffer exceeded its max capacity. Currently [{len}/{records}] records and [{size}/{bytes}] bytes."
            )));
        }
        self.evict_while(over, ctx)
    }

    /// Emits the first changes of the buffer as long as a condition holds.
    fn evict_while(
        &mut self,
        condition: impl Fn(&ChangeBuffer<K, V>, &Limits) -> bool,
        ctx: &mut TaskCtx,
    ) -> Result<()> {
        let mut any = false;
        loop {
            let (buffer, _) = ctx.store(self.buffer)?;
            if !condition(buffer, &self.limits) {
                if any {
                    buffer.tell_size();
                }
                return Ok(());
            }
            let Some(first) = buffer.first()? else { return Ok(()) };
            any = true;
            if first.record.value.new.is_some() || !self.until.drops_tombstones() {
                let current = std::mem::replace(&mut ctx.rt.context, first.context);
                let done = self.children.forward(first.record, ctx);
                ctx.rt.context = current;
                done?;
                ctx.rt.metrics.emitted(self.id, 1, None);
            }
            // Only now: whoever read the table below saw the row as it was.
            ctx.store(self.buffer)?.0.remove_first();
        }
    }
}

fn over<K: Data, V: Data>(buffer: &ChangeBuffer<K, V>, limits: &Limits) -> bool {
    buffer.len() as u64 > limits.records || buffer.size() > limits.bytes
}
