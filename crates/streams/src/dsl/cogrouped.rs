//! Several grouped streams aggregated into one table: each brings its own aggregator.

use std::{collections::BTreeSet, rc::Rc, sync::Arc};

use super::{
    KTable, TableOptions, UserError, aggregate,
    grouped::KGroupedStream,
    kstream::processor,
    ktable::materialize::{Aggregated, Materialized as TableStoreSpec},
    materialized::{MaterializedStore, SessionStores, WindowStores},
    options::named_table,
    sure, user,
    windowed::{self, Fold, Merger, TimeKind, WindowedTable},
    windows::SessionWindows,
};
use crate::{
    builder::{GraphNode, NodeId, Shared, Write},
    data::{Data, DefaultSerde, ErasedSerde, Flow, Nullable},
    error::Result,
    record::{Change, Record},
    task::{Children, TaskCtx},
    topology::physical,
    windowed::Windowed,
};

pub(super) type Initializer<A> = Arc<dyn Fn() -> Result<Option<A>> + Send + Sync>;

/// One input: where it attaches, and the node that aggregates it.
pub(super) trait Input<K, A> {
    fn sources(&self) -> Rc<BTreeSet<String>>;
    fn attach(&self, store: &str, queryable: bool) -> NodeId;
    fn write(&self, name: &str, table: &TableStoreSpec<K, A>, initializer: Initializer<A>) -> Write;
    fn write_windowed(
        &self,
        name: &str,
        table: &WindowedTable<K, A, WindowStores>,
        kind: TimeKind,
        initializer: Initializer<A>,
    ) -> Write;
    fn write_sessions(
        &self,
        name: &str,
        table: &WindowedTable<K, A, SessionStores>,
        windows: SessionWindows,
        initializer: Initializer<A>,
        merger: Merger<K, A>,
    ) -> Write;
}

struct Grouped<K, V, F> {
    stream: KGroupedStream<K, V>,
    aggregator: Arc<F>,
}

impl<K, V, A, F> Input<K::Some, A> for Grouped<K, V, F>
where
    K: Nullable,
    V: Nullable,
    A: Data,
    F: Fn(&K::Some, V, Option<A>) -> Result<Option<A>> + Send + Sync + 'static,
{
    fn sources(&self) -> Rc<BTreeSet<String>> {
        self.stream.stream.sources.clone()
    }

    fn attach(&self, store: &str, queryable: bool) -> NodeId {
        self.stream.attach_sharing(store, queryable, true).node
    }

    fn write(&self, name: &str, table: &TableStoreSpec<K::Some, A>, initializer: Initializer<A>) -> Write {
        let aggregator = self.aggregator.clone();
        aggregate::write::<K, V, A>(
            name,
            table,
            move || initializer(),
            move |key: &K::Some, value, sum| aggregator(key, V::from_some(value), sum),
        )
    }

    fn write_windowed(
        &self,
        name: &str,
        table: &WindowedTable<K::Some, A, WindowStores>,
        kind: TimeKind,
        initializer: Initializer<A>,
    ) -> Write {
        let fold = self.fold(initializer);
        windowed::write_time::<K, V, Windowed<K::Some>, A, _>(name, table, kind, fold)
    }

    fn write_sessions(
        &self,
        name: &str,
        table: &WindowedTable<K::Some, A, SessionStores>,
        windows: SessionWindows,
        initializer: Initializer<A>,
        merger: Merger<K::Some, A>,
    ) -> Write {
        let fold = self.fold(initializer);
        windowed::write_sessions::<K, V, Windowed<K::Some>, A, _>(name, table, windows, fold, merger)
    }
}

impl<K, V, F> Grouped<K, V, F>
where
    K: Nullable,
    V: Nullable,
{
    #[expect(clippy::type_complexity, reason = "closures cannot be named")]
    fn fold<A: Data>(
        &self,
        initializer: Initializer<A>,
    ) -> Fold<
        impl Fn() -> Result<Option<A>> + use<K, V, F, A>,
        impl Fn(&K::Some, V, Option<A>) -> Result<Option<A>> + use<K, V, F, A>,
    >
    where
        F: Fn(&K::Some, V, Option<A>) -> Result<Option<A>> + Send + Sync + 'static,
    {
        let aggregator = self.aggregator.clone();
        Fold(Arc::new((move || initializer(), move |key: &K::Some, value: V, sum| aggregator(key, value, sum))))
    }
}

/// Streams that are grouped by the same key and aggregated into one table.
///
/// Nulls, order, store and topics are those of [`KGroupedStream`](super::KGroupedStream); there is one store for all
/// streams, and each whose key has changed has a repartition topic of its own. Topics of all streams must have equally
/// many partitions.
pub struct CogroupedKStream<K, A> {
    pub(super) graph: Shared,
    pub(super) inputs: Vec<Rc<dyn Input<K, A>>>,
    pub(super) key_serde: Option<ErasedSerde>,
}

pub(super) const AGGREGATE: &str = "COGROUPKSTREAM-AGGREGATE-";

impl<K, A> Clone for CogroupedKStream<K, A> {
    fn clone(&self) -> Self {
        let (graph, inputs) = (self.graph.clone(), self.inputs.clone());
        CogroupedKStream { graph, inputs, key_serde: self.key_serde.clone() }
    }
}

impl<K, A> std::fmt::Debug for CogroupedKStream<K, A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CogroupedKStream").field("inputs", &self.inputs.len()).finish_non_exhaustive()
    }
}

impl<K: Nullable, V: Nullable> KGroupedStream<K, V> {
    /// Begins an aggregation of several streams into one table, with this stream's aggregator.
    ///
    /// ```
    /// # use vltava_streams::{StreamsBuilder, TopologyTestDriver};
    /// let builder = StreamsBuilder::new();
    /// let deposits = builder.stream::<String, i64>("deposits").group_by_key();
    /// let payments = builder.stream::<String, i64>("payments").group_by_key();
    /// deposits
    ///     .cogroup(|_, n, sum: i64| sum + n)
    ///     .cogroup(&payments, |_, n, sum| sum - n)
    ///     .aggregate(|| 0i64)
    ///     .to_stream()
    ///     .to("balance");
    /// let driver = TopologyTestDriver::new(&builder.build()?)?;
    /// driver.input_topic::<String, i64>("deposits").pipe("ada".to_owned(), 10)?;
    /// driver.input_topic::<String, i64>("payments").pipe("ada".to_owned(), 3)?;
    /// assert_eq!(driver.output_topic::<String, i64>("balance").read_values()?, [10, 7]);
    /// # Ok::<(), Box<vltava_streams::Error>>(())
    /// ```
    pub fn cogroup<A: Data, R: Into<Option<A>>>(
        &self,
        aggregator: impl Fn(&K::Some, V, A) -> R + Send + Sync + 'static,
    ) -> CogroupedKStream<K::Some, A> {
        self.try_cogroup(move |k, v, sum| sure(aggregator(k, v, sum)))
    }

    /// [`cogroup`](Self::cogroup) with a function that may fail; its error goes to the processing exception handler.
    pub fn try_cogroup<A: Data, R: Into<Option<A>>, E: Into<UserError>>(
        &self,
        aggregator: impl Fn(&K::Some, V, A) -> Result<R, E> + Send + Sync + 'static,
    ) -> CogroupedKStream<K::Some, A> {
        CogroupedKStream::of(&self.stream.graph).try_cogroup(self, aggregator)
    }

    /// [`try_cogroup`](Self::try_cogroup) with a function that sees and gives what is null in Java.
    #[doc(hidden)]
    pub fn cogroup_as<A: Data, E: Into<UserError>>(
        &self,
        aggregator: impl Fn(&K::Some, V, Option<A>) -> Result<Option<A>, E> + Send + Sync + 'static,
    ) -> CogroupedKStream<K::Some, A> {
        CogroupedKStream::of(&self.stream.graph).cogroup_as(self, aggregator)
    }
}

impl<K: Data, A: Data> CogroupedKStream<K, A> {
    fn of(graph: &Shared) -> Self {
        CogroupedKStream { graph: graph.clone(), inputs: Vec::new(), key_serde: None }
    }

    /// Adds a stream with its aggregator.
    #[must_use]
    pub fn cogroup<KN, V, R>(
        &self,
        grouped: &KGroupedStream<KN, V>,
        aggregator: impl Fn(&K, V, A) -> R + Send + Sync + 'static,
    ) -> Self
    where
        KN: Nullable<Some = K>,
        V: Nullable,
        R: Into<Option<A>>,
    {
        self.try_cogroup(grouped, move |k, v, sum| sure(aggregator(k, v, sum)))
    }

    /// [`cogroup`](Self::cogroup) with a function that may fail.
    #[must_use]
    pub fn try_cogroup<KN, V, R, E>(
        &self,
        grouped: &KGroupedStream<KN, V>,
        aggregator: impl Fn(&K, V, A) -> Result<R, E> + Send + Sync + 'static,
    ) -> Self
    where
        KN: Nullable<Some = K>,
        V: Nullable,
        R: Into<Option<A>>,
        E: Into<UserError>,
    {
        self.cogroup_as(grouped, move |k, v, sum: Option<A>| {
            sum.map_or(Ok(None), |sum| aggregator(k, v, sum).map(Into::into))
        })
    }

    /// [`try_cogroup`](Self::try_cogroup) with a function that sees and gives what is null in Java.
    #[doc(hidden)]
    #[must_use]
    pub fn cogroup_as<KN, V, E>(
        &self,
        grouped: &KGroupedStream<KN, V>,
        aggregator: impl Fn(&K, V, Option<A>) -> Result<Option<A>, E> + Send + Sync + 'static,
    ) -> Self
    where
        KN: Nullable<Some = K>,
        V: Nullable,
        E: Into<UserError>,
    {
        let aggregator = Arc::new(move |key: &K, value: V, sum: Option<A>| aggregator(key, value, sum).map_err(user));
        let mut more = self.clone();
        // Aggregations of one cogrouped stream share the repartitions of its inputs, and nobody else does.
        let mut stream = grouped.clone();
        stream.repartition = Rc::default();
        more.inputs.push(Rc::new(Grouped { stream, aggregator }));
        more
    }

    /// Aggregates all streams into one table, whose rows begin as `initializer` makes them.
    pub fn aggregate(&self, initializer: impl Fn() -> A + Send + Sync + 'static) -> KTable<K, A>
    where
        K: DefaultSerde,
        A: DefaultSerde,
    {
        self.aggregate_with((), initializer)
    }

    /// [`aggregate`](Self::aggregate) with a name, or into a store of this make.
    pub fn aggregate_with(
        &self,
        options: impl TableOptions<K, A>,
        initializer: impl Fn() -> A + Send + Sync + 'static,
    ) -> KTable<K, A> {
        self.try_aggregate(options, move || sure(initializer()))
    }

    /// [`aggregate_with`](Self::aggregate_with) with a function that may fail.
    pub fn try_aggregate<E: Into<UserError>>(
        &self,
        options: impl TableOptions<K, A>,
        initializer: impl Fn() -> Result<A, E> + Send + Sync + 'static,
    ) -> KTable<K, A> {
        self.aggregate_as(options, move || initializer().map(Some))
    }

    /// [`try_aggregate`](Self::try_aggregate) with a function that may give what is null in Java.
    #[doc(hidden)]
    pub fn aggregate_as<E: Into<UserError>>(
        &self,
        options: impl TableOptions<K, A>,
        initializer: impl Fn() -> Result<Option<A>, E> + Send + Sync + 'static,
    ) -> KTable<K, A> {
        let (name, materialized) = named_table(options);
        let initializer: Initializer<A> = Arc::new(move || initializer().map_err(user));
        let store = MaterializedStore::new(&mut self.graph.borrow_mut(), &materialized.unwrap_or_default(), AGGREGATE)
            .or_serdes(self.key_serde.clone(), None);
        let (key_serde, value_serde) = (store.key_serde.clone(), store.value_serde.clone());
        let (below, queryable) = (store.store.clone(), store.queryable);
        let table = TableStoreSpec::new(&mut self.graph.borrow_mut(), store);
        let (name, node) = self.build(
            name.as_deref(),
            (&below, queryable, None),
            |input, name| input.write(name, &table, initializer.clone()),
            |key: K| key,
        );
        KTable::new(&self.graph, node, &name, Rc::new([name.clone()].into()), Arc::new(Aggregated(table)))
            .with_serdes(key_serde, value_serde)
            .with_queryable(queryable.then_some(below))
    }

    /// The nodes that aggregate, and the one below them where they meet: its name and itself. `grace` is that of
    /// windows, `to_key` makes the table's keys.
    pub(super) fn build<KIn: Flow, KOut: Flow>(
        &self,
        name: Option<&str>,
        (store, queryable, grace): (&str, bool, Option<i64>),
        write: impl Fn(&dyn Input<K, A>, &str) -> Write,
        to_key: impl Fn(KIn) -> KOut + Send + Sync + 'static,
    ) -> (String, NodeId) {
        let parents: Vec<_> = self.inputs.iter().map(|input| input.attach(store, queryable)).collect();
        let mut graph = self.graph.borrow_mut();
        let sources: BTreeSet<String> =
            self.inputs.iter().flat_map(|input| input.sources().iter().cloned().collect::<Vec<_>>()).collect();
        graph.copartition(sources);
        let mut nodes = Vec::new();
        for (number, (input, parent)) in self.inputs.iter().zip(parents).enumerate() {
            let name = graph.name_with_suffix_or(name, &format!("-cogroup-agg-{number}"), AGGREGATE);
            let node = GraphNode { grace, ..GraphNode::new(name.clone(), write(&**input, &name)) };
            nodes.push(graph.add(&[parent], GraphNode { output_versioned: Some(false), ..node }));
        }
        let name = graph.name_with_suffix_or(name, "-cogroup-merge", "COGROUPKSTREAM-MERGE-");
        let pass = move |record: Record<KIn, Change<A>>, out: &mut Children<KOut, Change<A>>, ctx: &mut TaskCtx| {
            let (key, value, rest) = record.split();
            out.forward(rest.with_key(to_key(key)).with_value(value), ctx)
        };
        let write = processor::<KIn, Change<A>, KOut, Change<A>>(&name, physical::make_fn(Arc::new(pass)));
        let node = graph.add(&nodes, GraphNode::new(name.clone(), write));
        (name, node)
    }
}
