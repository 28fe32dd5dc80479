//! Joins of a stream with a table: each record looks its key up.

use std::{collections::BTreeSet, marker::PhantomData, rc::Rc, sync::Arc};

use super::{KStream, factory};
use crate::{
    builder::{Graph, GraphNode, RepartitionNames, RepartitionSpec, Written},
    data::{Data, ErasedSerde, Flow, Nullable},
    dsl::{KTable, Options, UserError, ktable::ValueGetter, sure, user},
    error::{Error, Result},
    options::Joined,
    record::Record,
    state::millis,
    store::{AnyStore, Due, JoinBuffer, JoinBufferSpec, StoreFactory, StoreHandle, StoreKind, StoreRef},
    task::{Children, Process, TaskCtx},
    topology::{Instantiation, Topology},
};

impl<K: Nullable, V: Nullable> KStream<K, V> {
    /// Joins each record with the table's row of its key, as it is at that moment; without a row there is no result.
    /// Records with a null key or value are dropped. Only records of the stream make results. If the stream's key has
    /// changed it is repartitioned first; topics of both must have equally many partitions. If the table is versioned, a
    /// record meets the row of its own time, which may since have changed. Two streams are joined within a window:
    /// [`join_stream`](Self::join_stream); a global table by a key of choice: [`join_global`](Self::join_global).
    ///
    /// ```
    /// # use vltava_streams::{StreamsBuilder, TopologyTestDriver};
    /// let builder = StreamsBuilder::new();
    /// let prices = builder.table::<String, i64>("prices");
    /// builder.stream::<String, i64>("orders").join(&prices, |n, price| n * price).to("totals");
    /// let driver = TopologyTestDriver::new(&builder.build()?)?;
    /// driver.input_topic::<String, i64>("prices").pipe("tea".to_owned(), 7)?;
    /// let orders = driver.input_topic::<String, i64>("orders");
    /// orders.pipe("tea".to_owned(), 3)?;
    /// orders.pipe("gin".to_owned(), 3)?;
    /// let totals = driver.output_topic::<String, i64>("totals");
    /// assert_eq!(totals.read_values()?, [21]);
    /// # Ok::<(), Box<vltava_streams::Error>>(())
    /// ```
    pub fn join<V2: Data, R: Flow>(
        &self,
        table: &KTable<K::Some, V2>,
        joiner: impl Fn(V::Some, &V2) -> R + Send + Sync + 'static,
    ) -> KStream<K, R> {
        self.join_with((), table, move |_, a, b| joiner(a, b))
    }

    /// [`join`](Self::join) with a name, serdes or a grace period, and a joiner that sees the key.
    ///
    /// With a grace period (KIP-923) a record waits, so that rows that come late are met too: until the stream's time is
    /// its own and the grace period. Records leave in the order of their timestamps, then of their keys' bytes; one that
    /// comes later than that is joined at once. The table must be versioned, with a history as long as the grace period
    /// at least. It makes the persistent store `NAME-Buffer` with its changelog.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use vltava_streams::{Joined, Materialized, StreamsBuilder, TopologyTestDriver, state::KeyValueSupplier};
    /// let builder = StreamsBuilder::new();
    /// let history = KeyValueSupplier::persistent_versioned("prices", Duration::from_secs(60));
    /// let prices = builder.table_with::<String, i64>(Materialized::supplied(history), "prices");
    /// let joined = Joined::named("total").with_grace_period(Duration::from_secs(10));
    /// builder.stream::<String, i64>("orders").join_with(joined, &prices, |_, n, price| n * price).to("totals");
    /// let driver = TopologyTestDriver::new(&builder.build()?)?;
    /// let orders = driver.input_topic::<String, i64>("orders");
    /// orders.pipe_at("tea".to_owned(), 3, 5_000)?;
    /// driver.input_topic::<String, i64>("prices").pipe_at("tea".to_owned(), 7, 4_000)?;
    /// orders.pipe_at("tea".to_owned(), 1, 15_000)?;
    /// let totals = driver.output_topic::<String, i64>("totals");
    /// assert_eq!(totals.read_values()?, [21]);
    /// # Ok::<(), Box<vltava_streams::Error>>(())
    /// ```
    pub fn join_with<V2: Data, R: Flow>(
        &self,
        options: impl Options<Joined<K::Some, V::Some, V2>>,
        table: &KTable<K::Some, V2>,
        joiner: impl Fn(&K, V::Some, &V2) -> R + Send + Sync + 'static,
    ) -> KStream<K, R> {
        self.try_join(options, table, move |k, a, b| sure(joiner(k, a, b)))
    }

    /// [`join_with`](Self::join_with) with a joiner that may fail; its error goes to the processing exception handler.
    pub fn try_join<V2: Data, R: Flow, E: Into<UserError>>(
        &self,
        options: impl Options<Joined<K::Some, V::Some, V2>>,
        table: &KTable<K::Some, V2>,
        joiner: impl Fn(&K, V::Some, &V2) -> Result<R, E> + Send + Sync + 'static,
    ) -> KStream<K, R> {
        let join = move |key: &K, value: V::Some, row: Option<&V2>| match row {
            Some(row) => joiner(key, value, row).map(Some).map_err(user),
            None => Ok(None),
        };
        self.join_rows(table, &options.chosen().unwrap_or_default(), false, join)
    }

    /// Joins each record with the table's row of its key, or with none: a record whose key is null or has no row stays.
    /// Otherwise as [`join`](Self::join).
    ///
    /// ```
    /// # use vltava_streams::{StreamsBuilder, TopologyTestDriver};
    /// let builder = StreamsBuilder::new();
    /// let orders = builder.stream::<String, i64>("orders");
    /// let prices = builder.table::<String, i64>("prices");
    /// orders.left_join(&prices, |n, price| price.map_or(-1, |price| n * price)).to("out");
    /// let driver = TopologyTestDriver::new(&builder.build()?)?;
    /// driver.input_topic::<String, i64>("orders").pipe("tea".to_owned(), 3)?;
    /// assert_eq!(driver.output_topic::<String, i64>("out").read_values()?, [-1]);
    /// # Ok::<(), Box<vltava_streams::Error>>(())
    /// ```
    pub fn left_join<V2: Data, R: Flow>(
        &self,
        table: &KTable<K::Some, V2>,
        joiner: impl Fn(V::Some, Option<&V2>) -> R + Send + Sync + 'static,
    ) -> KStream<K, R> {
        self.left_join_with((), table, move |_, a, b| joiner(a, b))
    }

    /// [`left_join`](Self::left_join) with a name, serdes or a grace period, and a joiner that sees the key.
    ///
    /// A grace period is that of [`join_with`](Self::join_with). A record with a null key cannot wait: it is an
    /// [`Error::NullKey`] for the processing exception handler.
    pub fn left_join_with<V2: Data, R: Flow>(
        &self,
        options: impl Options<Joined<K::Some, V::Some, V2>>,
        table: &KTable<K::Some, V2>,
        joiner: impl Fn(&K, V::Some, Option<&V2>) -> R + Send + Sync + 'static,
    ) -> KStream<K, R> {
        self.try_left_join(options, table, move |k, a, b| sure(joiner(k, a, b)))
    }

    /// [`left_join_with`](Self::left_join_with) with a joiner that may fail.
    pub fn try_left_join<V2: Data, R: Flow, E: Into<UserError>>(
        &self,
        options: impl Options<Joined<K::Some, V::Some, V2>>,
        table: &KTable<K::Some, V2>,
        joiner: impl Fn(&K, V::Some, Option<&V2>) -> Result<R, E> + Send + Sync + 'static,
    ) -> KStream<K, R> {
        let join = move |key: &K, value: V::Some, row: Option<&V2>| joiner(key, value, row).map(Some).map_err(user);
        self.join_rows(table, &options.chosen().unwrap_or_default(), true, join)
    }

    fn join_rows<V2: Data, R: Flow>(
        &self,
        table: &KTable<K::Some, V2>,
        joined: &Joined<K::Some, V::Some, V2>,
        left: bool,
        join: impl Fn(&K, V::Some, Option<&V2>) -> Result<Option<R>> + Send + Sync + 'static,
    ) -> KStream<K, R> {
        let input = match self.repartition {
            true => self.repartition_for_join(joined.name.as_deref(), joined.key_serde(), joined.value_serde()),
            false => self.clone(),
        };
        let mut graph = self.graph.borrow_mut();
        let sources: BTreeSet<String> = input.sources.union(&table.sources).cloned().collect();
        graph.copartition(sources.clone());
        let prefix = if left { "KSTREAM-LEFTJOIN-" } else { "KSTREAM-JOIN-" };
        let name = graph.name_or(joined.name.as_deref(), prefix);
        let (getter, join) = (table.supplier.view(), Arc::new(join));
        let key_serde = joined.key_serde().or_else(|| input.key_serde.clone());
        let grace = joined.grace.map(millis);
        let buffer = grace.map(|grace| {
            let versioned = graph.plan.node(table.node).and_then(|node| node.output_versioned) != Some(false);
            if !versioned || !getter.is_versioned() {
                let message =
                    format!("the table must be versioned to use a grace period in the stream-table join {name}");
                graph.fail(Box::new(Error::IllegalArgument(message)));
            }
            let spec = JoinBufferSpec::<K::Some, V::Some> {
                name: format!("{name}-Buffer"),
                join: name.clone(),
                grace,
                key_serde: key_serde.clone(),
                value_serde: joined.value_serde().or_else(|| input.value_serde.clone()),
                types: PhantomData,
            };
            buffer(&mut graph, spec, joined.name.is_some())
        });
        let handle = buffer.as_ref().map(|buffer| StoreRef::new(buffer.id).handle());
        let mut stores = Vec::new();
        getter.stores(&mut stores);
        let node_name = Arc::<str>::from(name.as_str());
        let make = Arc::new(move |making: &mut Instantiation<'_>| {
            let node = JoinNode {
                join: join.clone(),
                getter: getter.clone(),
                left,
                buffer: handle,
                children: making.children::<K, R>()?,
                id: making.node_id(),
                types: PhantomData,
            };
            making.place::<K, V>(node, false);
            Ok(())
        });
        let write = move |written: &Written<'_>, topology: &mut Topology| {
            topology.add_node(factory::<K, V, K, R>(&node_name, written.parents.clone(), make.clone()))?;
            buffer.iter().try_for_each(|buffer| topology.add_state_store(buffer.clone(), &[&node_name]))?;
            stores.iter().try_for_each(|store| topology.connect(&node_name, *store))?;
            match stores.iter().filter_map(|store| topology.history(*store)).find(|history| Some(*history) < grace) {
                Some(history) => Err(Box::new(Error::IllegalArgument(format!(
                    "the history retention of {history} ms must be at least the grace period of {} ms of {node_name}",
                    grace.unwrap_or_default()
                )))),
                None => Ok(()),
            }
        };
        let node = graph
            .add(&[input.node], GraphNode { keeps_null_keys: left, ..GraphNode::new(name.clone(), Rc::new(write)) });
        KStream::new(&self.graph, node, &name, Rc::new(sources)).with_serdes(key_serde, None)
    }

    /// This stream behind a repartition topic. Joins of the same stream share it unless they are named.
    pub(crate) fn repartition_for_join(
        &self,
        name: Option<&str>,
        key_serde: Option<ErasedSerde>,
        value_serde: Option<ErasedSerde>,
    ) -> Self {
        let mut graph = self.graph.borrow_mut();
        let names = RepartitionNames::new(&mut graph, name.unwrap_or(&self.name), name.is_some());
        let source = names.source.clone();
        let key_serde = key_serde.or_else(|| self.key_serde.clone());
        let value_serde = value_serde.or_else(|| self.value_serde.clone());
        let node = match self.join_repartition.get() {
            Some(node) if name.is_none_or(|name| *name == *self.name) => node,
            _ => {
                let spec = RepartitionSpec::<K, V>::new(names, key_serde.clone(), value_serde.clone());
                graph.add(&[self.node], spec.into_node())
            }
        };
        self.join_repartition.set(Some(node));
        KStream::new(&self.graph, node, &source, Rc::new([source.clone()].into())).with_serdes(key_serde, value_serde)
    }
}

/// The buffer of a join with a grace period.
fn buffer<K: Data, V: Data>(graph: &mut Graph, spec: JoinBufferSpec<K, V>, is_named: bool) -> StoreFactory {
    let name = spec.name.clone();
    if !is_named {
        graph.implicit.changelogs.push(format!("{name}-changelog"));
        graph.implicit.stores.push(name.clone());
    }
    StoreFactory {
        id: graph.store_id(&name),
        name,
        kind: StoreKind::KeyValue,
        logging: true,
        log_config: Default::default(),
        caching: false,
        builder: Some(graph.new_builder()),
        make: Arc::new(move |init| spec.make(init)),
    }
}

struct JoinNode<K: Nullable, V: Nullable, V2, R, F> {
    join: Arc<F>,
    getter: Arc<dyn ValueGetter<K::Some, V2>>,
    left: bool,
    /// Where records wait for the grace period, if there is one.
    buffer: Option<StoreHandle<JoinBuffer<K::Some, V::Some>>>,
    children: Children<K, R>,
    id: u32,
    types: PhantomData<fn(V)>,
}

impl<K, V, V2, R, F> JoinNode<K, V, V2, R, F>
where
    K: Nullable,
    V: Nullable,
    V2: Data,
    R: Flow,
    F: Fn(&K, V::Some, Option<&V2>) -> Result<Option<R>>,
{
    fn take(&mut self, record: Record<K, V>, ctx: &mut TaskCtx) -> Result<()> {
        let (key, value, rest) = record.split();
        let Some(value) = value.into_some().filter(|_| self.left || key.as_some().is_some()) else {
            return ctx.drop_record("its join key or value is null");
        };
        let Some(handle) = self.buffer else { return self.look_up(rest.with_key(key).with_value(value), ctx) };
        let (buffer, rt) = ctx.store(handle)?;
        let Some(some) = key.as_some() else {
            return Err(Box::new(Error::NullKey { store: buffer.name().to_owned() }));
        };
        match buffer.put(rt, some, &value)? {
            true => self.emit(handle, ctx),
            false => self.look_up(rest.with_key(key).with_value(value), ctx),
        }
    }

    /// Joins what has waited for long enough.
    fn emit(&mut self, handle: StoreHandle<JoinBuffer<K::Some, V::Some>>, ctx: &mut TaskCtx) -> Result<()> {
        while let Some(Due { key, value, context, place }) = ctx.store(handle)?.0.first_due()? {
            let headers = context.headers.clone();
            let record = Record { key: K::from_some(key), value, timestamp: context.timestamp, headers };
            let current = std::mem::replace(&mut ctx.rt.context, context);
            // What fails is this record, not the one that has ended its wait.
            let done = self.look_up(record, ctx).or_else(|error| ctx.rt.settle(error, self.id));
            ctx.rt.context = current;
            done?;
            let (buffer, rt) = ctx.store(handle)?;
            buffer.remove(rt, &place)?;
        }
        Ok(())
    }

    fn look_up(&mut self, record: Record<K, V::Some>, ctx: &mut TaskCtx) -> Result<()> {
        let (key, value, rest) = record.split();
        let row = match key.as_some() {
            Some(some) if self.getter.is_versioned() => self.getter.get_as_of(ctx, some, rest.timestamp)?,
            Some(some) => self.getter.get(ctx, some)?,
            None => None,
        };
        match (self.join)(&key, value, row.as_ref().map(|row| &row.value))? {
            Some(joined) => self.children.forward(rest.with_key(key).with_value(joined), ctx),
            None => Ok(()),
        }
    }
}

impl<K, V, V2, R, F> Process<K, V> for JoinNode<K, V, V2, R, F>
where
    K: Nullable,
    V: Nullable,
    V2: Data,
    R: Flow,
    F: Fn(&K, V::Some, Option<&V2>) -> Result<Option<R>> + Send + Sync,
{
    fn process(&mut self, record: Record<K, V>, ctx: &mut TaskCtx) -> Result<()> {
        ctx.rt.enter(&record);
        self.take(record, ctx).or_else(|error| ctx.rt.settle(error, self.id))
    }
}
