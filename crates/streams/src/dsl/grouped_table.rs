//! Tables grouped by another key: `count`, `reduce` and `aggregate` with an adder and a subtractor.

use std::{cell::Cell, marker::PhantomData, rc::Rc, sync::Arc};

use super::{
    KTable, TableOptions, UserError, kstream,
    ktable::materialize::{Aggregated, Materialized as TableStoreSpec, Materializer},
    materialized::MaterializedStore,
    options::named_table,
    sure, user,
};
use crate::{
    builder::{GraphNode, NodeId, Shared, Write, Written},
    data::{Data, DefaultSerde, ErasedSerde},
    dsl::ktable::table_store::TableStore,
    error::Result,
    options::Grouped,
    record::{Change, Record},
    serdes::{ChangeSerde, Serde, SerdeRef, serde_of},
    task::{Process, TaskCtx},
    topology::{
        Instantiation, Topology,
        physical::{self, Extractor, SinkSpec, SinkTopic, SourceSpec},
    },
};

/// A table about to be aggregated by another key than its own.
///
/// Every change of a row takes its old value out of the group it was in and its new one into the group it comes to. Both
/// travel through the topic `APPLICATION-STORE-repartition`, or one with the name that the grouping has, so for a moment a
/// row may be in neither. Rows of the result are in a timestamped key-value store with the changelog topic
/// `APPLICATION-STORE-changelog`; their timestamp is the greatest of what they were made of. Of a versioned table, updates
/// that are older than their row do not count.
pub struct KGroupedTable<K, V> {
    graph: Shared,
    node: NodeId,
    key_serde: Option<ErasedSerde>,
    value_serde: Option<ErasedSerde>,
    topic_name: Option<String>,
    repartition: Rc<Cell<Option<NodeId>>>,
    types: PhantomData<fn() -> (K, V)>,
}

impl<K, V> std::fmt::Debug for KGroupedTable<K, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KGroupedTable").field("topic", &self.topic_name).finish_non_exhaustive()
    }
}

impl<K, V> Clone for KGroupedTable<K, V> {
    fn clone(&self) -> Self {
        KGroupedTable {
            graph: self.graph.clone(),
            node: self.node,
            key_serde: self.key_serde.clone(),
            value_serde: self.value_serde.clone(),
            topic_name: self.topic_name.clone(),
            repartition: self.repartition.clone(),
            types: PhantomData,
        }
    }
}

type Step<K, V, A> = Arc<dyn Fn(&K, V, Option<A>) -> Result<Option<A>> + Send + Sync>;

struct Functions<K, V, A> {
    initializer: Arc<dyn Fn() -> Result<Option<A>> + Send + Sync>,
    adder: Step<K, V, A>,
    subtractor: Step<K, V, A>,
}

impl<K, V, A> Clone for Functions<K, V, A> {
    fn clone(&self) -> Self {
        Functions {
            initializer: self.initializer.clone(),
            adder: self.adder.clone(),
            subtractor: self.subtractor.clone(),
        }
    }
}

const AGGREGATE: &str = "KTABLE-AGGREGATE-";
const REDUCE: &str = "KTABLE-REDUCE-";

impl<K: Data, V: Data> KGroupedTable<K, V> {
    pub(crate) fn new(graph: &Shared, node: NodeId, grouped: &Grouped<K, V>) -> Self {
        KGroupedTable {
            graph: graph.clone(),
            node,
            key_serde: grouped.key_serde(),
            value_serde: grouped.value_serde(),
            topic_name: grouped.name.clone(),
            repartition: Rc::default(),
            types: PhantomData,
        }
    }

    /// Counts the rows of every key.
    pub fn count(&self) -> KTable<K, i64> {
        self.count_with(())
    }

    /// [`count`](Self::count) with a name, or into a store of this make.
    pub fn count_with(&self, options: impl TableOptions<K, i64>) -> KTable<K, i64> {
        self.count_as(options, serde_of::<i64>(), || 0, |n| n + 1, |n| n - 1)
    }

    /// A count in numbers of another type.
    #[doc(hidden)]
    pub fn count_as<A: Data>(
        &self,
        options: impl TableOptions<K, A>,
        numbers: impl Serde<A>,
        zero: impl Fn() -> A + Send + Sync + 'static,
        next: impl Fn(A) -> A + Send + Sync + 'static,
        previous: impl Fn(A) -> A + Send + Sync + 'static,
    ) -> KTable<K, A> {
        self.build(
            AGGREGATE,
            options,
            Some(ErasedSerde::of(numbers)),
            Functions {
                initializer: Arc::new(move || Ok(Some(zero()))),
                adder: Arc::new(move |_, _, n| Ok(n.map(&next))),
                subtractor: Arc::new(move |_, _, n| Ok(n.map(&previous))),
            },
        )
    }

    /// Combines the values of every key: `adder` takes a new value in, `subtractor` an old one out. The first value
    /// stands for itself.
    ///
    /// ```
    /// # use vltava_streams::{StreamsBuilder, TopologyTestDriver};
    /// let builder = StreamsBuilder::new();
    /// let stock = builder.table::<String, i64>("stock");
    /// let all = stock.group_by(|_, n| ("all".to_owned(), *n)).reduce(|sum, n| sum + n, |sum, n| sum - n);
    /// all.to_stream().to("all");
    /// let driver = TopologyTestDriver::new(&builder.build()?)?;
    /// let stock = driver.input_topic::<String, i64>("stock");
    /// stock.pipe("tea".to_owned(), 10)?;
    /// stock.pipe("gin".to_owned(), 5)?;
    /// stock.pipe("tea".to_owned(), 7)?;
    /// let all = driver.output_topic::<String, Option<i64>>("all").read_key_values_to_map()?;
    /// assert_eq!(all["all"], Some(12));
    /// # Ok::<(), Box<vltava_streams::Error>>(())
    /// ```
    pub fn reduce(
        &self,
        adder: impl Fn(V, V) -> V + Send + Sync + 'static,
        subtractor: impl Fn(V, V) -> V + Send + Sync + 'static,
    ) -> KTable<K, V> {
        self.reduce_with((), adder, subtractor)
    }

    /// [`reduce`](Self::reduce) with a name, or into a store of this make. The functions may delete the row by `None`.
    pub fn reduce_with<R: Into<Option<V>>, S: Into<Option<V>>>(
        &self,
        options: impl TableOptions<K, V>,
        adder: impl Fn(V, V) -> R + Send + Sync + 'static,
        subtractor: impl Fn(V, V) -> S + Send + Sync + 'static,
    ) -> KTable<K, V> {
        self.try_reduce(options, move |sum, v| sure(adder(sum, v)), move |sum, v| sure(subtractor(sum, v)))
    }

    /// [`reduce_with`](Self::reduce_with) with functions that may fail; their errors go to the processing exception handler.
    pub fn try_reduce<R, S, E, F>(
        &self,
        options: impl TableOptions<K, V>,
        adder: impl Fn(V, V) -> Result<R, E> + Send + Sync + 'static,
        subtractor: impl Fn(V, V) -> Result<S, F> + Send + Sync + 'static,
    ) -> KTable<K, V>
    where
        R: Into<Option<V>>,
        S: Into<Option<V>>,
        E: Into<UserError>,
        F: Into<UserError>,
    {
        let functions = Functions {
            initializer: Arc::new(|| Ok(None)),
            adder: Arc::new(move |_, value, sum| match sum {
                None => Ok(Some(value)),
                Some(sum) => adder(sum, value).map(Into::into).map_err(user),
            }),
            subtractor: Arc::new(move |_, value, sum| match sum {
                None => Ok(None),
                Some(sum) => subtractor(sum, value).map(Into::into).map_err(user),
            }),
        };
        self.build(REDUCE, options, self.value_serde.clone(), functions)
    }

    /// Folds the values of every key into an aggregate: `adder` takes a new value in, `subtractor` an old one out.
    ///
    /// ```
    /// # use vltava_streams::{StreamsBuilder, TopologyTestDriver};
    /// let builder = StreamsBuilder::new();
    /// let stock = builder.table::<String, i64>("stock");
    /// let by_letter = stock.group_by(|item, n| (item.chars().take(1).collect::<String>(), *n));
    /// by_letter.aggregate(|| 0i64, |_, n, sum| sum + n, |_, n, sum| sum - n).to_stream().to("out");
    /// let driver = TopologyTestDriver::new(&builder.build()?)?;
    /// let input = driver.input_topic::<String, i64>("stock");
    /// input.pipe_key_values([("tea".to_owned(), 5), ("tin".to_owned(), 1), ("tea".to_owned(), 2)])?;
    /// let out = driver.output_topic::<String, i64>("out");
    /// assert_eq!(out.read_values()?, [5, 6, 3]);
    /// # Ok::<(), Box<vltava_streams::Error>>(())
    /// ```
    pub fn aggregate<A: DefaultSerde, R: Into<Option<A>>, S: Into<Option<A>>>(
        &self,
        initializer: impl Fn() -> A + Send + Sync + 'static,
        adder: impl Fn(&K, V, A) -> R + Send + Sync + 'static,
        subtractor: impl Fn(&K, V, A) -> S + Send + Sync + 'static,
    ) -> KTable<K, A> {
        self.aggregate_with((), initializer, adder, subtractor)
    }

    /// [`aggregate`](Self::aggregate) with a name, or into a store of this make.
    pub fn aggregate_with<A: Data, R: Into<Option<A>>, S: Into<Option<A>>>(
        &self,
        options: impl TableOptions<K, A>,
        initializer: impl Fn() -> A + Send + Sync + 'static,
        adder: impl Fn(&K, V, A) -> R + Send + Sync + 'static,
        subtractor: impl Fn(&K, V, A) -> S + Send + Sync + 'static,
    ) -> KTable<K, A> {
        self.try_aggregate(
            options,
            move || sure(initializer()),
            move |k, v, sum| sure(adder(k, v, sum)),
            move |k, v, sum| sure(subtractor(k, v, sum)),
        )
    }

    /// [`aggregate_with`](Self::aggregate_with) with functions that may fail; their errors go to the processing exception
    /// handler.
    pub fn try_aggregate<A, R, S, E, F, G>(
        &self,
        options: impl TableOptions<K, A>,
        initializer: impl Fn() -> Result<A, E> + Send + Sync + 'static,
        adder: impl Fn(&K, V, A) -> Result<R, F> + Send + Sync + 'static,
        subtractor: impl Fn(&K, V, A) -> Result<S, G> + Send + Sync + 'static,
    ) -> KTable<K, A>
    where
        A: Data,
        R: Into<Option<A>>,
        S: Into<Option<A>>,
        E: Into<UserError>,
        F: Into<UserError>,
        G: Into<UserError>,
    {
        self.aggregate_as(
            options,
            move || initializer().map(Some),
            move |k, v, sum| sum.map_or(Ok(None), |sum| adder(k, v, sum).map(Into::into)),
            move |k, v, sum| sum.map_or(Ok(None), |sum| subtractor(k, v, sum).map(Into::into)),
        )
    }

    /// [`try_aggregate`](Self::try_aggregate) with functions that see and give what is null in Java.
    #[doc(hidden)]
    pub fn aggregate_as<A: Data, E: Into<UserError>, F: Into<UserError>, G: Into<UserError>>(
        &self,
        options: impl TableOptions<K, A>,
        initializer: impl Fn() -> Result<Option<A>, E> + Send + Sync + 'static,
        adder: impl Fn(&K, V, Option<A>) -> Result<Option<A>, F> + Send + Sync + 'static,
        subtractor: impl Fn(&K, V, Option<A>) -> Result<Option<A>, G> + Send + Sync + 'static,
    ) -> KTable<K, A> {
        let functions = Functions {
            initializer: Arc::new(move || initializer().map_err(user)),
            adder: Arc::new(move |key, value, sum| adder(key, value, sum).map_err(user)),
            subtractor: Arc::new(move |key, value, sum| subtractor(key, value, sum).map_err(user)),
        };
        self.build(AGGREGATE, options, None, functions)
    }

    fn build<A: Data>(
        &self,
        prefix: &str,
        options: impl TableOptions<K, A>,
        value_serde: Option<ErasedSerde>,
        functions: Functions<K, V, A>,
    ) -> KTable<K, A> {
        let (name, materialized) = named_table(options);
        let name = name.as_deref();
        let mut graph = self.graph.borrow_mut();
        // The store of a reduction is named as that of an aggregation.
        let store = MaterializedStore::new(&mut graph, &materialized.unwrap_or_default(), AGGREGATE)
            .or_serdes(self.key_serde.clone(), value_serde);
        let sink = graph.name_with_suffix_or(name, "-sink", "KSTREAM-SINK-");
        let source = graph.name_with_suffix_or(name, "-source", "KSTREAM-SOURCE-");
        let name = graph.name_or(name, prefix);
        let topic = format!("{}-repartition", self.topic_name.as_ref().unwrap_or(&store.store));
        let repartition = match self.repartition.get() {
            Some(node) if self.topic_name.is_some() => {
                graph.attach(&[self.node], node);
                node
            }
            _ => graph.add(&[self.node], GraphNode::new(source.clone(), self.repartition(sink, source.clone(), topic))),
        };
        self.repartition.set(Some(repartition));
        let (key_serde, value_serde) = (store.key_serde.clone(), store.value_serde.clone());
        let queryable = store.queryable.then(|| store.store.clone());
        let table = TableStoreSpec::new(&mut graph, store);
        let is_versioned = table.is_versioned();
        let (of, node_name) = (table.clone(), Arc::<str>::from(name.as_str()));
        let make = Arc::new(move |making: &mut Instantiation<'_>| {
            let out = Materializer::new(making, &of)?;
            let node = AggregateNode { functions: functions.clone(), store: of.store(), out, id: making.node_id() };
            let addressable = node.out.addressable();
            making.place::<K, Change<V>>(node, addressable);
            Ok(())
        });
        let of = table.clone();
        let write = move |written: &Written<'_>, topology: &mut Topology| {
            let parents = written.parents.clone();
            topology.add_node(kstream::factory::<K, Change<V>, K, Change<A>>(&node_name, parents, make.clone()))?;
            of.add_store(topology, &node_name)
        };
        let node = GraphNode { output_versioned: Some(is_versioned), ..GraphNode::new(name.clone(), Rc::new(write)) };
        let node = graph.add(&[repartition], node);
        KTable::new(&self.graph, node, &name, Rc::new([source].into()), Arc::new(Aggregated(table)))
            .with_serdes(key_serde, value_serde)
            .with_queryable(queryable)
    }

    /// Sink and source of the repartition topic, whose values are changes.
    fn repartition(&self, sink: String, source: String, topic: String) -> Write {
        let key_serde = self.key_serde.clone();
        let value_serde = self.value_serde.as_ref().and_then(ErasedSerde::get::<V>);
        let value_serde =
            value_serde.map(|serde| ErasedSerde::new(Arc::new(ChangeSerde(serde)) as SerdeRef<Change<V>>));
        Rc::new(move |written, topology| {
            topology.add_internal_topic(topic.clone(), None);
            topology.add_node(physical::sink::<K, Change<V>>(
                SinkSpec {
                    name: sink.clone(),
                    topic: SinkTopic::Static(topic.clone()),
                    key_serde: key_serde.clone(),
                    value_serde: value_serde.clone(),
                    partitioner: None,
                    by_own_key: false,
                },
                written.parents.clone(),
            ))?;
            topology.add_source(physical::source::<K, Change<V>>(SourceSpec {
                name: source.clone(),
                topics: vec![topic.clone()],
                pattern: None,
                reset: None,
                key_serde: key_serde.clone(),
                value_serde: value_serde.clone(),
                extractor: Extractor::Record,
            }))
        })
    }
}

struct AggregateNode<K, V, A> {
    functions: Functions<K, V, A>,
    store: TableStore<K, A>,
    out: Materializer<K, A>,
    id: u32,
}

impl<K: Data, V: Data, A: Data> AggregateNode<K, V, A> {
    fn aggregate(&mut self, record: Record<K, Change<V>>, ctx: &mut TaskCtx) -> Result<()> {
        ctx.rt.enter(&record);
        let (key, change, rest) = record.split();
        let mut timestamp = rest.timestamp;
        let row = self.store.get(ctx, &key)?;
        let row_timestamp = row.as_ref().map(|row| row.timestamp);
        let mut aggregate = row.map(|row| row.value);
        let sent_old = if self.out.send_old() { aggregate.clone() } else { None };
        if let (Some(old), true) = (change.old, aggregate.is_some()) {
            aggregate = (self.functions.subtractor)(&key, old, aggregate)?;
            timestamp = timestamp.max(row_timestamp.unwrap_or(timestamp));
        }
        if let Some(new) = change.new {
            let begun = match aggregate {
                None => (self.functions.initializer)()?,
                some => some,
            };
            aggregate = (self.functions.adder)(&key, new, begun)?;
            timestamp = timestamp.max(row_timestamp.unwrap_or(timestamp));
        }
        let change = Change::new(aggregate, sent_old);
        self.out.put_and_forward(rest.with_timestamp(timestamp).with_key(key).with_value(change), ctx)
    }
}

impl<K: Data, V: Data, A: Data> Process<K, Change<V>> for AggregateNode<K, V, A> {
    fn init(&mut self, slot: usize, ctx: &mut TaskCtx) -> Result<()> {
        self.out.init(slot, ctx)
    }

    fn process(&mut self, record: Record<K, Change<V>>, ctx: &mut TaskCtx) -> Result<()> {
        self.aggregate(record, ctx).or_else(|error| ctx.rt.settle(error, self.id))
    }

    fn forward_flushed(&mut self, ctx: &mut TaskCtx) -> Result<()> {
        self.out.forward_flushed(ctx)
    }
}
