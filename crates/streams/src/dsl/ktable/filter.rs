//! `filter` and `filter_not` of tables.

use std::{
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{
    KTable, TableSupplier, ValueGetter,
    materialize::{Materialized as TableStoreSpec, Materializer, map_row},
};
use crate::{
    builder::{GraphNode, Written},
    data::Data,
    dsl::{
        TableOptions, UserError, kstream,
        materialized::{Materialized, MaterializedStore},
        options::named_table,
        sure, user,
    },
    error::Result,
    record::{Change, Record, ValueAndTimestamp},
    task::{Process, TaskCtx},
    topology::{Instantiation, Topology},
};

type Predicate<K, V> = Arc<dyn Fn(&K, &V) -> Result<bool> + Send + Sync>;

impl<K: Data, V: Data> KTable<K, V> {
    /// The rows that satisfy a predicate. A row that stops to do so is deleted. Where old values are not known, a row that
    /// never satisfied it is deleted too, as in Kafka: those below see deletions of what was not there.
    ///
    /// ```
    /// # use vltava_streams::{StreamsBuilder, TopologyTestDriver};
    /// let builder = StreamsBuilder::new();
    /// builder.table::<String, i64>("in").filter(|_, n| *n > 1).to_stream().to("out");
    /// let driver = TopologyTestDriver::new(&builder.build()?)?;
    /// let input = driver.input_topic::<String, i64>("in");
    /// input.pipe("k".to_owned(), 2)?;
    /// input.pipe("k".to_owned(), 1)?;
    /// let out = driver.output_topic::<String, Option<i64>>("out");
    /// assert_eq!(out.read_values()?, [Some(2), None]);
    /// # Ok::<(), Box<vltava_streams::Error>>(())
    /// ```
    pub fn filter(&self, predicate: impl Fn(&K, &V) -> bool + Send + Sync + 'static) -> Self {
        self.filter_with((), predicate)
    }

    /// [`filter`](Self::filter) with a name, or into a store of this make.
    pub fn filter_with(
        &self,
        options: impl TableOptions<K, V>,
        predicate: impl Fn(&K, &V) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.try_filter(options, move |k, v| sure(predicate(k, v)))
    }

    /// [`filter_with`](Self::filter_with) with a predicate that may fail; its error goes to the processing exception handler.
    pub fn try_filter<E: Into<UserError>>(
        &self,
        options: impl TableOptions<K, V>,
        predicate: impl Fn(&K, &V) -> Result<bool, E> + Send + Sync + 'static,
    ) -> Self {
        self.keep(named_table(options), Arc::new(move |k, v| predicate(k, v).map_err(user)))
    }

    /// The rows that do not satisfy a predicate.
    pub fn filter_not(&self, predicate: impl Fn(&K, &V) -> bool + Send + Sync + 'static) -> Self {
        self.filter_not_with((), predicate)
    }

    /// [`filter_not`](Self::filter_not) with a name, or into a store of this make.
    pub fn filter_not_with(
        &self,
        options: impl TableOptions<K, V>,
        predicate: impl Fn(&K, &V) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.try_filter_not(options, move |k, v| sure(predicate(k, v)))
    }

    /// [`filter_not_with`](Self::filter_not_with) with a predicate that may fail.
    pub fn try_filter_not<E: Into<UserError>>(
        &self,
        options: impl TableOptions<K, V>,
        predicate: impl Fn(&K, &V) -> Result<bool, E> + Send + Sync + 'static,
    ) -> Self {
        self.keep(named_table(options), Arc::new(move |k, v| predicate(k, v).map(|keep| !keep).map_err(user)))
    }

    fn keep(
        &self,
        (name, materialized): (Option<String>, Option<Materialized<K, V>>),
        predicate: Predicate<K, V>,
    ) -> Self {
        const PREFIX: &str = "KTABLE-FILTER-";
        let shared = self.graph.clone();
        let mut graph = shared.borrow_mut();
        let (mut key_serde, mut value_serde) = (self.key_serde.clone(), self.value_serde.clone());
        let mut store = None;
        if let Some(materialized) = materialized {
            key_serde = materialized.key_serde().or(key_serde);
            value_serde = materialized.value_serde().or(value_serde);
            match materialized.given_name() {
                None => drop(graph.new_store_name(PREFIX)),
                Some(_) => store = Some(MaterializedStore::new(&mut graph, &materialized, PREFIX)),
            }
        }
        let name = graph.name_or(name.as_deref(), PREFIX);
        let table = Arc::new(FilterTable {
            send_old: AtomicBool::new(self.enable_sending_old_values(false)),
            parent: self.supplier.clone(),
            predicate,
            store: store.map(|store| TableStoreSpec::new(&mut graph, store)),
        });
        let versioned_semantics = Arc::new(AtomicBool::new(false));
        let (of, node_name) = (table.clone(), Arc::<str>::from(name.as_str()));
        let versioned = versioned_semantics.clone();
        let make = Arc::new(move |making: &mut Instantiation<'_>| make(&of, &versioned, making));
        let of = table.clone();
        let write = move |written: &Written<'_>, topology: &mut Topology| {
            let parents = written.parents.clone();
            topology.add_node(kstream::factory::<K, Change<V>, K, Change<V>>(&node_name, parents, make.clone()))?;
            of.store.as_ref().map_or(Ok(()), |store| store.add_store(topology, &node_name))
        };
        let node = GraphNode {
            output_versioned: table.store.as_ref().map(TableStoreSpec::is_versioned),
            versioned_semantics: Some(Rc::new(move |on, _| versioned_semantics.store(on, Ordering::Relaxed))),
            ..GraphNode::new(name.clone(), Rc::new(write))
        };
        let node = graph.add(&[self.node], node);
        let queryable = table.store.as_ref().map(|store| store.store_name().to_owned());
        KTable::new(&shared, node, &name, self.sources.clone(), table)
            .with_serdes(key_serde, value_serde)
            .with_queryable(queryable)
    }
}

struct FilterTable<K, V> {
    parent: Arc<dyn TableSupplier<K, V>>,
    predicate: Predicate<K, V>,
    store: Option<TableStoreSpec<K, V>>,
    send_old: AtomicBool,
}

impl<K: Data, V: Data> TableSupplier<K, V> for FilterTable<K, V> {
    fn enable_sending_old_values(&self, force: bool) -> bool {
        if let Some(store) = &self.store {
            store.send_old();
            self.send_old.store(true, Ordering::Relaxed);
            return true;
        }
        if self.parent.enable_sending_old_values(force) {
            self.send_old.store(true, Ordering::Relaxed);
        }
        self.send_old.load(Ordering::Relaxed)
    }

    fn view(&self) -> Arc<dyn ValueGetter<K, V>> {
        match &self.store {
            Some(store) => Arc::new(store.clone()),
            None => Arc::new(FilterGetter { parent: self.parent.view(), predicate: self.predicate.clone() }),
        }
    }
}

struct FilterGetter<K, V> {
    parent: Arc<dyn ValueGetter<K, V>>,
    predicate: Predicate<K, V>,
}

impl<K: Data, V: Data> FilterGetter<K, V> {
    fn keep(&self, key: &K, row: Option<ValueAndTimestamp<V>>) -> Result<Option<ValueAndTimestamp<V>>> {
        map_row(row, |value| Ok((self.predicate)(key, &value)?.then_some(value)))
    }
}

impl<K: Data, V: Data> ValueGetter<K, V> for FilterGetter<K, V> {
    fn get(&self, ctx: &mut TaskCtx, key: &K) -> Result<Option<ValueAndTimestamp<V>>> {
        let row = self.parent.get(ctx, key)?;
        self.keep(key, row)
    }

    fn get_as_of(&self, ctx: &mut TaskCtx, key: &K, as_of: i64) -> Result<Option<ValueAndTimestamp<V>>> {
        let row = self.parent.get_as_of(ctx, key, as_of)?;
        self.keep(key, row)
    }

    fn is_versioned(&self) -> bool {
        self.parent.is_versioned()
    }

    fn stores(&self, ids: &mut Vec<usize>) {
        self.parent.stores(ids);
    }
}

fn make<K: Data, V: Data>(
    table: &Arc<FilterTable<K, V>>,
    versioned: &AtomicBool,
    making: &mut Instantiation<'_>,
) -> Result<()> {
    let send_old = table.send_old.load(Ordering::Relaxed);
    let out = match &table.store {
        Some(store) => {
            if send_old {
                store.send_old();
            }
            Materializer::new(making, store)?
        }
        None => Materializer::without_store(making, send_old)?,
    };
    let versioned = versioned.load(Ordering::Relaxed);
    let node = FilterNode { predicate: table.predicate.clone(), send_old, versioned, out, id: making.node_id() };
    let addressable = node.out.addressable();
    making.place::<K, Change<V>>(node, addressable);
    Ok(())
}

struct FilterNode<K, V> {
    predicate: Predicate<K, V>,
    send_old: bool,
    /// Whether the table above keeps versions; then no change may be swallowed.
    versioned: bool,
    out: Materializer<K, V>,
    id: u32,
}

impl<K: Data, V: Data> FilterNode<K, V> {
    fn keep(&self, key: &K, value: Option<V>) -> Result<Option<V>> {
        match value {
            Some(value) if (self.predicate)(key, &value)? => Ok(Some(value)),
            _ => Ok(None),
        }
    }

    fn change(&mut self, record: Record<K, Change<V>>, ctx: &mut TaskCtx) -> Result<()> {
        let (key, change, rest) = record.split();
        let new = self.keep(&key, change.new)?;
        let old = match self.out.store() {
            _ if !self.send_old => None,
            Some(store) => store.get(ctx, &key)?.map(|row| row.value),
            None => self.keep(&key, change.old)?,
        };
        if !self.versioned && self.send_old && old.is_none() && new.is_none() {
            return Ok(());
        }
        let change = Change { new, old, is_latest: change.is_latest };
        self.out.put_and_forward(rest.with_key(key).with_value(change), ctx)
    }
}

impl<K: Data, V: Data> Process<K, Change<V>> for FilterNode<K, V> {
    fn init(&mut self, slot: usize, ctx: &mut TaskCtx) -> Result<()> {
        self.out.init(slot, ctx)
    }

    fn process(&mut self, record: Record<K, Change<V>>, ctx: &mut TaskCtx) -> Result<()> {
        ctx.rt.enter(&record);
        self.change(record, ctx).or_else(|error| ctx.rt.settle(error, self.id))
    }

    fn forward_flushed(&mut self, ctx: &mut TaskCtx) -> Result<()> {
        self.out.forward_flushed(ctx)
    }
}
