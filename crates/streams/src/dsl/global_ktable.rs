//! Global tables and global stores: all of a topic, on every instance.

use std::{rc::Rc, sync::Arc};

use super::{
    Options, TableOptions,
    ktable::{materialize::Materialized as TableStoreSpec, source},
    materialized::{KeyValueStores, MaterializedStore},
};
use crate::{
    builder::{Graph, GraphNode, Shared, StreamsBuilder, Written, graph::ROOT},
    data::{Data, DefaultSerde, ErasedSerde, Nullable},
    error::Error,
    options::Consumed,
    processor::Processor,
    store::{GlobalStoreRef, StoreBuilder, StoreHandle, StoreRef, TimestampedKeyValueStore},
    topology::{
        AutoOffsetReset, StoreInput, Topology,
        physical::{self, Extractor, SourceSpec},
        updater,
    },
};

/// The newest value of every key of a topic, all of it on every instance (KIP-99).
///
/// Streams join it by any key ([`KStream::join_global`](crate::KStream::join_global)), without being repartitioned.
/// Processors may read its [`store`](Self::store). It is not a table whose changes flow: nothing but its store is below
/// it. A thread of its own reads the topic, completely before the first record of any stream is processed, and then as
/// it grows, without regard to the time of the streams: what a join finds depends on how far that thread is.
///
/// The topic is the changelog of the store, so it should be compacted, and its records are put into the store as they
/// are.
pub struct GlobalKTable<K, V> {
    pub(crate) graph: Shared,
    pub(crate) table: TableStoreSpec<K, V>,
}

impl<K, V> Clone for GlobalKTable<K, V> {
    fn clone(&self) -> Self {
        GlobalKTable { graph: self.graph.clone(), table: self.table.clone() }
    }
}

impl<K: Data, V: Data> std::fmt::Debug for GlobalKTable<K, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GlobalKTable").field("store", &self.table.store_name()).finish()
    }
}

impl<K: Data, V: Data> GlobalKTable<K, V> {
    /// The name of its store, for queries.
    #[must_use]
    pub fn queryable_store_name(&self) -> &str {
        self.table.store_name()
    }

    /// Its store, for processors.
    #[must_use]
    pub fn store(&self) -> GlobalStoreRef<TimestampedKeyValueStore<K, V>> {
        GlobalStoreRef::new(self.table.id())
    }
}

/// The names of the source and the processor of a global store.
fn names(graph: &mut Graph, given: Option<&str>) -> (String, Arc<str>) {
    let source = graph.name_with_suffix_or(given, "-source", "KSTREAM-SOURCE-");
    (source, graph.name_or(given, "KTABLE-SOURCE-").into())
}

fn source_spec<K: Nullable, V: Nullable>(
    name: &str,
    topic: &str,
    (key_serde, value_serde): (Option<ErasedSerde>, Option<ErasedSerde>),
) -> SourceSpec<K, V> {
    SourceSpec {
        name: name.to_owned(),
        topics: vec![topic.to_owned()],
        pattern: None,
        reset: Some(AutoOffsetReset::Earliest),
        key_serde,
        value_serde,
        extractor: Extractor::Record,
    }
}

impl StreamsBuilder {
    /// A global table of a topic, with the serdes of the types. Records with a null key are dropped, a null value deletes
    /// its row. It cannot be a source of streams or tables too.
    ///
    /// ```
    /// # use vltava_streams::{StreamsBuilder, TopologyTestDriver};
    /// let builder = StreamsBuilder::new();
    /// let products = builder.global_table::<String, String>("products");
    /// let orders = builder.stream::<i64, String>("orders");
    /// orders.join_global(&products, |_, product| product.clone(), |_, name| name.clone()).to("ordered");
    /// let driver = TopologyTestDriver::new(&builder.build()?)?;
    /// driver.input_topic::<String, String>("products").pipe("p1".to_owned(), "tea".to_owned())?;
    /// driver.input_topic::<i64, String>("orders").pipe(7, "p1".to_owned())?;
    /// assert_eq!(driver.output_topic::<i64, String>("ordered").read_values()?, ["tea"]);
    /// # Ok::<(), Box<vltava_streams::Error>>(())
    /// ```
    pub fn global_table<K: DefaultSerde, V: DefaultSerde>(&self, topic: &str) -> GlobalKTable<K, V> {
        self.global_table_with((), topic)
    }

    /// [`global_table`](Self::global_table) with serdes, a name, and a store of this make. The store has neither a
    /// changelog nor a record cache, whatever is said here, and cannot be versioned. The timestamp extractor and offset
    /// reset of a [`Consumed`] do not apply: rows have the timestamps of their records, and the topic is read from its
    /// beginning.
    pub fn global_table_with<K: Data, V: Data>(
        &self,
        options: impl TableOptions<K, V, KeyValueStores, Consumed<K, V>>,
        topic: &str,
    ) -> GlobalKTable<K, V> {
        let (consumed, materialized) = options.chosen();
        let consumed = consumed.unwrap_or_default();
        let mut graph = self.0.borrow_mut();
        let materialized = materialized.unwrap_or_default().with_logging_disabled();
        let store = MaterializedStore::new(&mut graph, &materialized, &format!("{topic}-"))
            .with_serdes(consumed.key_serde(), consumed.value_serde());
        let serdes = (store.key_serde.clone(), store.value_serde.clone());
        let table = TableStoreSpec::new(&mut graph, store);
        if table.is_versioned() {
            graph.fail(Error::topology("GlobalTables cannot be versioned."));
        }
        let (source_name, name) = names(&mut graph, consumed.name.as_deref());
        let (of, node_name, topic) = (table.clone(), name.clone(), topic.to_owned());
        let write = move |_: &Written<'_>, topology: &mut Topology| {
            let source = physical::source::<Option<K>, Option<V>>(source_spec(&source_name, &topic, serdes.clone()));
            let node = source::node::<Option<K>, Option<V>>(&node_name, vec![source_name.clone()], &of);
            topology.add_global(source, node, of.factory(), false)
        };
        graph.add(&[ROOT], GraphNode::new(&*name, Rc::new(write)));
        GlobalKTable { graph: self.0.clone(), table }
    }

    /// Adds a store that every task of every instance can read, filled from all partitions of a topic by a processor of
    /// its own; see [`Topology::add_global_store`]. The reference that is returned can be given to processors, which need
    /// not be connected with the store and cannot write to it.
    ///
    /// ```
    /// use vltava_streams::{
    ///     Context, KeyValueStore, Processor, Record, Result, StoreBuilder, StreamsBuilder, TopologyTestDriver,
    ///     store::StoreHandle,
    /// };
    ///
    /// type Rates = KeyValueStore<String, i64>;
    ///
    /// /// Keeps rates by the currency, whatever the case of its name.
    /// struct Keep(StoreHandle<Rates>);
    ///
    /// impl Processor for Keep {
    ///     type KIn = String;
    ///     type VIn = Option<i64>;
    ///     type KOut = ();
    ///     type VOut = ();
    ///
    ///     fn process(&mut self, record: Record<String, Option<i64>>, ctx: &mut Context<'_, Self>) -> Result<()> {
    ///         ctx.store(self.0)?.put(&record.key.to_uppercase(), record.value)
    ///     }
    /// }
    ///
    /// struct Exchange(StoreHandle<Rates>);
    ///
    /// impl Processor for Exchange {
    ///     type KIn = String;
    ///     type VIn = i64;
    ///     type KOut = String;
    ///     type VOut = i64;
    ///
    ///     fn process(&mut self, record: Record<String, i64>, ctx: &mut Context<'_, Self>) -> Result<()> {
    ///         let rate = ctx.store(self.0)?.get(&record.key)?.unwrap_or(1);
    ///         let amount = record.value * rate;
    ///         ctx.forward(record.with_value(amount))
    ///     }
    /// }
    ///
    /// let builder = StreamsBuilder::new();
    /// let rates = builder.add_global_store(StoreBuilder::in_memory("rates"), "rates", Keep);
    /// builder.stream("amounts").process_with(rates, Exchange).to("exchanged");
    /// let driver = TopologyTestDriver::new(&builder.build()?)?;
    /// driver.input_topic::<String, i64>("rates").pipe("eur".to_owned(), 25)?;
    /// driver.input_topic::<String, i64>("amounts").pipe("EUR".to_owned(), 4)?;
    /// assert_eq!(driver.output_topic::<String, i64>("exchanged").read_values()?, [100]);
    /// # Ok::<(), Box<vltava_streams::Error>>(())
    /// ```
    pub fn add_global_store<S, P>(
        &self,
        store: StoreBuilder<S>,
        topic: &str,
        make: impl Fn(StoreHandle<S>) -> P + Send + Sync + 'static,
    ) -> GlobalStoreRef<S>
    where
        S: 'static,
        P: Processor<KIn: Nullable, VIn: Nullable>,
    {
        self.add_global_store_with((), store, topic, make)
    }

    /// [`add_global_store`](Self::add_global_store) with serdes or a name. The timestamp extractor and offset reset of a
    /// [`Consumed`] do not apply.
    pub fn add_global_store_with<S, P>(
        &self,
        options: impl Options<Consumed<<P::KIn as Nullable>::Some, <P::VIn as Nullable>::Some>>,
        store: StoreBuilder<S>,
        topic: &str,
        make: impl Fn(StoreHandle<S>) -> P + Send + Sync + 'static,
    ) -> GlobalStoreRef<S>
    where
        S: 'static,
        P: Processor<KIn: Nullable, VIn: Nullable>,
    {
        let consumed = options.chosen().unwrap_or_default();
        let mut graph = self.0.borrow_mut();
        let id = graph.store_id(store.name());
        let (source_name, name) = names(&mut graph, consumed.name.as_deref());
        let serdes = (consumed.key_serde(), consumed.value_serde());
        let (node_name, topic, make) = (name.clone(), topic.to_owned(), Arc::new(make));
        let handle = StoreRef::new(id).handle();
        let write = move |_: &Written<'_>, topology: &mut Topology| {
            let source = physical::source::<P::KIn, P::VIn>(source_spec(&source_name, &topic, serdes.clone()));
            let (input, make) =
                (StoreInput { topic: &topic, source: &source_name, processor: &node_name }, make.clone());
            topology.add_global(source, updater(input, move || make(handle)), store.factory(id), true)
        };
        graph.add(&[ROOT], GraphNode::new(&*name, Rc::new(write)));
        GlobalStoreRef::new(id)
    }
}
