//! Streams grouped by key: `count`, `reduce` and `aggregate`.

use std::{cell::Cell, marker::PhantomData, rc::Rc, sync::Arc};

use super::{
    KTable, TableOptions, UserError, aggregate,
    kstream::KStream,
    ktable::{
        TableSupplier,
        materialize::{Aggregated, Materialized as TableStoreSpec},
    },
    materialized::{Materialized, MaterializedStore, StoreFamily},
    options::named_table,
    sure, user,
};
use crate::{
    builder::{GraphNode, NodeId, RepartitionNames, RepartitionSpec},
    data::{Data, DefaultSerde, ErasedSerde, Nullable},
    error::Result,
    options::Grouped,
    serdes::{Serde, serde_of},
};

const AGGREGATE: &str = "KSTREAM-AGGREGATE-";

struct AggregateSpec<K, A> {
    prefix: &'static str,
    name: Option<String>,
    store: MaterializedStore<K, A>,
}

/// A stream about to be aggregated by key.
///
/// Records with a null key or value are dropped and counted. They are taken in as they come, in order or not; a row's
/// timestamp is the greatest of its records. Rows are in a timestamped key-value store, named after the operator or by
/// [`Materialized`], with the changelog topic `APPLICATION-STORE-changelog`. With a cache
/// (`statestore.cache.max.bytes`) only the last change of a row between two commits is sent on. If the key has changed
/// since the source, the records first go through the topic `APPLICATION-STORE-repartition`, or one with the name that the
/// grouping has.
pub struct KGroupedStream<K, V> {
    pub(crate) stream: KStream<K, V>,
    /// The repartition topic's name, if the user gave one.
    pub(crate) topic_name: Option<String>,
    /// The repartition node, which aggregations share if the user named it.
    pub(crate) repartition: Rc<Cell<Option<NodeId>>>,
    types: PhantomData<fn() -> (K, V)>,
}

impl<K, V> Clone for KGroupedStream<K, V> {
    fn clone(&self) -> Self {
        let (stream, topic_name) = (self.stream.clone(), self.topic_name.clone());
        KGroupedStream { stream, topic_name, repartition: self.repartition.clone(), types: PhantomData }
    }
}

impl<K, V> std::fmt::Debug for KGroupedStream<K, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KGroupedStream").field("stream", &self.stream.name).finish_non_exhaustive()
    }
}

impl<K: Nullable, V: Nullable> KGroupedStream<K, V> {
    /// Groups a stream; the grouping's serdes take the place of the stream's.
    pub(crate) fn new(stream: KStream<K, V>, grouped: Grouped<K::Some, V::Some>) -> Self {
        let stream = stream.with_serdes(grouped.key_serde(), grouped.value_serde());
        let topic_name = grouped.name.clone();
        KGroupedStream { stream, topic_name, repartition: Rc::default(), types: PhantomData }
    }

    pub(crate) fn key_serde(&self) -> Option<ErasedSerde> {
        self.stream.key_serde.clone()
    }

    pub(crate) fn value_serde(&self) -> Option<ErasedSerde> {
        self.stream.value_serde.clone()
    }

    /// Where an aggregation with this store attaches: below the repartition, if one is needed. Gives the node and the
    /// source nodes that the result is partitioned like.
    pub(crate) fn attach(&self, store: &str, queryable: bool) -> KStream<K, V> {
        self.attach_sharing(store, queryable, self.topic_name.is_some())
    }

    /// The same; `shared` says whether a repartition that was made before serves again.
    pub(crate) fn attach_sharing(&self, store: &str, queryable: bool, shared: bool) -> KStream<K, V> {
        let stream = &self.stream;
        if !stream.repartition {
            return stream.clone();
        }
        let mut graph = stream.graph.borrow_mut();
        let prefix = self.topic_name.as_deref().unwrap_or(store);
        let names = RepartitionNames::new(&mut graph, prefix, self.topic_name.is_some() || queryable);
        let source = names.source.clone();
        let node = match self.repartition.get() {
            Some(node) if shared => {
                graph.attach(&[stream.node], node);
                node
            }
            _ => {
                let spec = RepartitionSpec::<K, V>::new(names, self.key_serde(), self.value_serde());
                graph.add(&[stream.node], spec.into_node())
            }
        };
        self.repartition.set(Some(node));
        KStream::new(&stream.graph, node, &source, Rc::new([source.clone()].into()))
    }

    /// Counts the records of every key. Records with a null key or value are dropped.
    ///
    /// ```
    /// # use vltava_streams::{StreamsBuilder, TopologyTestDriver};
    /// let builder = StreamsBuilder::new();
    /// builder.stream::<String, String>("in").group_by_key().count().to_stream().to("out");
    /// let driver = TopologyTestDriver::new(&builder.build()?)?;
    /// let input = driver.input_topic::<String, String>("in");
    /// input.pipe("k".to_owned(), "v".to_owned())?;
    /// input.pipe("k".to_owned(), "w".to_owned())?;
    /// let out = driver.output_topic::<String, i64>("out");
    /// assert_eq!(out.read_key_values()?, [("k".to_owned(), 1), ("k".to_owned(), 2)]);
    /// # Ok::<(), Box<vltava_streams::Error>>(())
    /// ```
    pub fn count(&self) -> KTable<K::Some, i64>
    where
        K: Nullable<Some: DefaultSerde>,
    {
        self.count_with(())
    }

    /// [`count`](Self::count) with a name, or into a store of this make.
    pub fn count_with(&self, options: impl TableOptions<K::Some, i64>) -> KTable<K::Some, i64> {
        self.count_as(options, serde_of::<i64>(), || 0, |count| count + 1)
    }

    /// A count in numbers of another type.
    #[doc(hidden)]
    pub fn count_as<A: Data>(
        &self,
        options: impl TableOptions<K::Some, A>,
        numbers: impl Serde<A>,
        zero: impl Fn() -> A + Send + Sync + 'static,
        next: impl Fn(A) -> A + Send + Sync + 'static,
    ) -> KTable<K::Some, A> {
        let (name, store) = self.store_of_count(options, numbers);
        let spec = AggregateSpec { prefix: AGGREGATE, name, store };
        self.build(spec, move || Ok(Some(zero())), move |_, _, count| Ok(count.map(&next)))
    }

    pub(super) fn store_of_count<A: Data, S: StoreFamily>(
        &self,
        options: impl TableOptions<K::Some, A, S>,
        numbers: impl Serde<A>,
    ) -> (Option<String>, MaterializedStore<K::Some, A, S>) {
        let (name, materialized) = named_table(options);
        if materialized.as_ref().is_some_and(|materialized| materialized.given_name().is_none()) {
            // Kafka takes one more number for a count whose Materialized has no name.
            self.stream.graph.borrow_mut().new_store_name(AGGREGATE);
        }
        (name, self.store(materialized, AGGREGATE, Some(ErasedSerde::of(numbers))))
    }

    pub(super) fn store<A: Data, S: StoreFamily>(
        &self,
        materialized: Option<Materialized<K::Some, A, S>>,
        prefix: &str,
        value_serde: Option<ErasedSerde>,
    ) -> MaterializedStore<K::Some, A, S> {
        let mut graph = self.stream.graph.borrow_mut();
        let store = MaterializedStore::new(&mut graph, &materialized.unwrap_or_default(), prefix);
        store.or_serdes(self.key_serde(), value_serde)
    }

    /// Combines the values of every key, two at a time; the first value stands for itself. Records with a null key or
    /// value are dropped.
    ///
    /// ```
    /// # use vltava_streams::{StreamsBuilder, TopologyTestDriver};
    /// let builder = StreamsBuilder::new();
    /// let bids = builder.stream::<String, i64>("bids");
    /// bids.group_by_key().reduce(|highest, bid| highest.max(bid)).to_stream().to("highest");
    /// let driver = TopologyTestDriver::new(&builder.build()?)?;
    /// let bids = driver.input_topic::<String, i64>("bids");
    /// for bid in [5, 3, 8] {
    ///     bids.pipe("vase".to_owned(), bid)?;
    /// }
    /// let highest = driver.output_topic::<String, Option<i64>>("highest");
    /// assert_eq!(highest.read_values()?, [Some(5), Some(5), Some(8)]);
    /// # Ok::<(), Box<vltava_streams::Error>>(())
    /// ```
    pub fn reduce(
        &self,
        reducer: impl Fn(V::Some, V::Some) -> V::Some + Send + Sync + 'static,
    ) -> KTable<K::Some, V::Some>
    where
        K: Nullable<Some: DefaultSerde>,
        V: Nullable<Some: DefaultSerde>,
    {
        self.reduce_with((), reducer)
    }

    /// [`reduce`](Self::reduce) with a name, or into a store of this make. The function may delete the row by `None`.
    pub fn reduce_with<R: Into<Option<V::Some>>>(
        &self,
        options: impl TableOptions<K::Some, V::Some>,
        reducer: impl Fn(V::Some, V::Some) -> R + Send + Sync + 'static,
    ) -> KTable<K::Some, V::Some> {
        self.try_reduce(options, move |sum, v| sure(reducer(sum, v)))
    }

    /// [`reduce_with`](Self::reduce_with) with a function that may fail; its error goes to the processing exception handler.
    pub fn try_reduce<R: Into<Option<V::Some>>, E: Into<UserError>>(
        &self,
        options: impl TableOptions<K::Some, V::Some>,
        reducer: impl Fn(V::Some, V::Some) -> Result<R, E> + Send + Sync + 'static,
    ) -> KTable<K::Some, V::Some> {
        const REDUCE: &str = "KSTREAM-REDUCE-";
        let (name, materialized) = named_table(options);
        let store = self.store(materialized, REDUCE, self.value_serde());
        self.build(
            AggregateSpec { prefix: REDUCE, name, store },
            || Ok(None),
            move |_, value, sum| match sum {
                None => Ok(Some(value)),
                Some(sum) => reducer(sum, value).map(Into::into).map_err(user),
            },
        )
    }

    /// Folds the values of every key into an aggregate, which begins as `initializer` makes it. The function returns
    /// the new aggregate, or `None` to delete the row. Records with a null key or value are dropped.
    ///
    /// A plain number as the beginning is an `i32`: write `|| 0i64` if the aggregate is to be 8 bytes wide.
    ///
    /// ```
    /// # use vltava_streams::{StreamsBuilder, TopologyTestDriver};
    /// let builder = StreamsBuilder::new();
    /// let sums = builder.stream::<String, i64>("in").group_by_key().aggregate(|| 0i64, |_, n, sum| sum + n);
    /// sums.to_stream().to("out");
    /// let driver = TopologyTestDriver::new(&builder.build()?)?;
    /// let input = driver.input_topic::<String, i64>("in");
    /// input.pipe("k".to_owned(), 3)?;
    /// input.pipe("k".to_owned(), 4)?;
    /// let out = driver.output_topic::<String, i64>("out");
    /// assert_eq!(out.read_values()?, [3, 7]);
    /// # Ok::<(), Box<vltava_streams::Error>>(())
    /// ```
    pub fn aggregate<A: DefaultSerde, R: Into<Option<A>>>(
        &self,
        initializer: impl Fn() -> A + Send + Sync + 'static,
        aggregator: impl Fn(&K::Some, V::Some, A) -> R + Send + Sync + 'static,
    ) -> KTable<K::Some, A>
    where
        K: Nullable<Some: DefaultSerde>,
    {
        self.aggregate_with((), initializer, aggregator)
    }

    /// [`aggregate`](Self::aggregate) with a name, or into a store of this make.
    pub fn aggregate_with<A: Data, R: Into<Option<A>>>(
        &self,
        options: impl TableOptions<K::Some, A>,
        initializer: impl Fn() -> A + Send + Sync + 'static,
        aggregator: impl Fn(&K::Some, V::Some, A) -> R + Send + Sync + 'static,
    ) -> KTable<K::Some, A> {
        self.try_aggregate(options, move || sure(initializer()), move |k, v, sum| sure(aggregator(k, v, sum)))
    }

    /// [`aggregate_with`](Self::aggregate_with) with functions that may fail; their errors go to the processing exception
    /// handler.
    pub fn try_aggregate<A: Data, R: Into<Option<A>>, E: Into<UserError>, F: Into<UserError>>(
        &self,
        options: impl TableOptions<K::Some, A>,
        initializer: impl Fn() -> Result<A, E> + Send + Sync + 'static,
        aggregator: impl Fn(&K::Some, V::Some, A) -> Result<R, F> + Send + Sync + 'static,
    ) -> KTable<K::Some, A> {
        self.aggregate_as(
            options,
            move || initializer().map(Some),
            move |k, v, sum| sum.map_or(Ok(None), |sum| aggregator(k, v, sum).map(Into::into)),
        )
    }

    /// [`try_aggregate`](Self::try_aggregate) with functions that see and give what is null in Java.
    #[doc(hidden)]
    pub fn aggregate_as<A: Data, E: Into<UserError>, F: Into<UserError>>(
        &self,
        options: impl TableOptions<K::Some, A>,
        initializer: impl Fn() -> Result<Option<A>, E> + Send + Sync + 'static,
        aggregator: impl Fn(&K::Some, V::Some, Option<A>) -> Result<Option<A>, F> + Send + Sync + 'static,
    ) -> KTable<K::Some, A> {
        let (name, materialized) = named_table(options);
        let store = self.store(materialized, AGGREGATE, None);
        self.build(
            AggregateSpec { prefix: AGGREGATE, name, store },
            move || initializer().map_err(user),
            move |key, value, sum| aggregator(key, value, sum).map_err(user),
        )
    }

    /// Adds the aggregation, below a repartition if the key has changed.
    fn build<A: Data>(
        &self,
        spec: AggregateSpec<K::Some, A>,
        initializer: impl Fn() -> Result<Option<A>> + Send + Sync + 'static,
        aggregator: impl Fn(&K::Some, V::Some, Option<A>) -> Result<Option<A>> + Send + Sync + 'static,
    ) -> KTable<K::Some, A> {
        let AggregateSpec { prefix, name, store } = spec;
        let shared = &self.stream.graph;
        let name = shared.borrow_mut().name_or(name.as_deref(), prefix);
        let input = self.attach(&store.store, store.queryable);
        let mut graph = shared.borrow_mut();
        let table = TableStoreSpec::new(&mut graph, store.clone());
        let is_versioned = table.is_versioned();
        let write = aggregate::write::<K, V, A>(&name, &table, initializer, aggregator);
        let node = GraphNode::new(name.clone(), write);
        let node = graph.add(&[input.node], GraphNode { output_versioned: Some(is_versioned), ..node });
        drop(graph);
        let queryable = store.queryable.then(|| store.store.clone());
        let supplier: Arc<dyn TableSupplier<K::Some, A>> = Arc::new(Aggregated(table));
        KTable::new(shared, node, &name, input.sources.clone(), supplier)
            .with_serdes(store.key_serde, store.value_serde)
            .with_queryable(queryable)
    }
}
