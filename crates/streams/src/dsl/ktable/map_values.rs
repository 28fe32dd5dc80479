//! `map_values` of tables.

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
    data::{Data, Nullable},
    dsl::{TableOptions, UserError, kstream, materialized::MaterializedStore, options::named_table, sure, user},
    error::Result,
    record::{Change, Record, ValueAndTimestamp},
    task::{Process, TaskCtx},
    topology::{Instantiation, Topology},
};

type Mapper<K, V, R> = Arc<dyn Fn(&K, V) -> Result<Option<R>> + Send + Sync>;

impl<K: Data, V: Data> KTable<K, V> {
    /// Turns the value of every row into another; a function that gives an `Option` deletes rows by `None`.
    ///
    /// The result has no store: whoever reads it maps what the table above has.
    ///
    /// ```
    /// # use vltava_streams::{StreamsBuilder, TopologyTestDriver};
    /// let builder = StreamsBuilder::new();
    /// builder.table::<String, i64>("in").map_values(|n| n * 10).to_stream().to("out");
    /// let driver = TopologyTestDriver::new(&builder.build()?)?;
    /// let input = driver.input_topic::<String, i64>("in");
    /// input.pipe("k".to_owned(), 2)?;
    /// let out = driver.output_topic::<String, i64>("out");
    /// assert_eq!(out.read_values()?, [20]);
    /// # Ok::<(), Box<vltava_streams::Error>>(())
    /// ```
    pub fn map_values<R: Nullable>(&self, mapper: impl Fn(V) -> R + Send + Sync + 'static) -> KTable<K, R::Some> {
        self.map_values_with((), move |_, v| mapper(v))
    }

    /// [`map_values`](Self::map_values) with a name, or into a store of this make, with a function that sees the key.
    pub fn map_values_with<R: Nullable>(
        &self,
        options: impl TableOptions<K, R::Some>,
        mapper: impl Fn(&K, V) -> R + Send + Sync + 'static,
    ) -> KTable<K, R::Some> {
        self.try_map_values(options, move |k, v| sure(mapper(k, v)))
    }

    /// [`map_values_with`](Self::map_values_with) with a function that may fail; its error goes to the processing exception
    /// handler.
    pub fn try_map_values<R: Nullable, E: Into<UserError>>(
        &self,
        options: impl TableOptions<K, R::Some>,
        mapper: impl Fn(&K, V) -> Result<R, E> + Send + Sync + 'static,
    ) -> KTable<K, R::Some> {
        let mapper: Mapper<K, V, R::Some> = Arc::new(move |k, v| mapper(k, v).map(R::into_some).map_err(user));
        map_nodes(self, options, mapper)
    }
}

fn map_nodes<K: Data, V: Data, R: Data>(
    table: &KTable<K, V>,
    options: impl TableOptions<K, R>,
    mapper: Mapper<K, V, R>,
) -> KTable<K, R> {
    const PREFIX: &str = "KTABLE-MAPVALUES-";
    let (name, materialized) = named_table(options);
    let shared = table.graph.clone();
    let mut graph = shared.borrow_mut();
    let (mut key_serde, mut value_serde) = (table.key_serde.clone(), None);
    let mut store = None;
    if let Some(materialized) = materialized {
        key_serde = materialized.key_serde().or(key_serde);
        value_serde = materialized.value_serde();
        match materialized.given_name() {
            None => drop(graph.new_store_name(PREFIX)),
            Some(_) => store = Some(MaterializedStore::new(&mut graph, &materialized, PREFIX)),
        }
    }
    let name = graph.name_or(name.as_deref(), PREFIX);
    let mapped = Arc::new(MappedTable {
        parent: table.supplier.clone(),
        mapper,
        store: store.map(|store| TableStoreSpec::new(&mut graph, store)),
        send_old: AtomicBool::new(false),
    });
    let (of, node_name) = (mapped.clone(), Arc::<str>::from(name.as_str()));
    let make = Arc::new(move |making: &mut Instantiation<'_>| make(&of, making));
    let of = mapped.clone();
    let write = move |written: &Written<'_>, topology: &mut Topology| {
        let parents = written.parents.clone();
        topology.add_node(kstream::factory::<K, Change<V>, K, Change<R>>(&node_name, parents, make.clone()))?;
        of.store.as_ref().map_or(Ok(()), |store| store.add_store(topology, &node_name))
    };
    let node = GraphNode {
        output_versioned: mapped.store.as_ref().map(TableStoreSpec::is_versioned),
        ..GraphNode::new(name.clone(), Rc::new(write))
    };
    let node = graph.add(&[table.node], node);
    let queryable = mapped.store.as_ref().map(|store| store.store_name().to_owned());
    KTable::new(&shared, node, &name, table.sources.clone(), mapped)
        .with_serdes(key_serde, value_serde)
        .with_queryable(queryable)
}

struct MappedTable<K, V, R> {
    parent: Arc<dyn TableSupplier<K, V>>,
    mapper: Mapper<K, V, R>,
    store: Option<TableStoreSpec<K, R>>,
    send_old: AtomicBool,
}

impl<K: Data, V: Data, R: Data> TableSupplier<K, R> for MappedTable<K, V, R> {
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

    fn view(&self) -> Arc<dyn ValueGetter<K, R>> {
        match &self.store {
            Some(store) => Arc::new(store.clone()),
            None => Arc::new(MappedGetter { parent: self.parent.view(), mapper: self.mapper.clone() }),
        }
    }
}

struct MappedGetter<K, V, R> {
    parent: Arc<dyn ValueGetter<K, V>>,
    mapper: Mapper<K, V, R>,
}

impl<K: Data, V: Data, R: Data> ValueGetter<K, R> for MappedGetter<K, V, R> {
    fn get(&self, ctx: &mut TaskCtx, key: &K) -> Result<Option<ValueAndTimestamp<R>>> {
        map_row(self.parent.get(ctx, key)?, |value| (self.mapper)(key, value))
    }

    fn get_as_of(&self, ctx: &mut TaskCtx, key: &K, as_of: i64) -> Result<Option<ValueAndTimestamp<R>>> {
        map_row(self.parent.get_as_of(ctx, key, as_of)?, |value| (self.mapper)(key, value))
    }

    fn is_versioned(&self) -> bool {
        self.parent.is_versioned()
    }

    fn stores(&self, ids: &mut Vec<usize>) {
        self.parent.stores(ids);
    }
}

fn make<K: Data, V: Data, R: Data>(table: &MappedTable<K, V, R>, making: &mut Instantiation<'_>) -> Result<()> {
    let send_old = table.send_old.load(Ordering::Relaxed);
    let out = match &table.store {
        Some(store) => Materializer::new(making, store)?,
        None => Materializer::without_store(making, send_old)?,
    };
    let node = MapNode { mapper: table.mapper.clone(), send_old, out, id: making.node_id() };
    let addressable = node.out.addressable();
    making.place::<K, Change<V>>(node, addressable);
    Ok(())
}

struct MapNode<K, V, R> {
    mapper: Mapper<K, V, R>,
    send_old: bool,
    out: Materializer<K, R>,
    id: u32,
}

impl<K: Data, V: Data, R: Data> MapNode<K, V, R> {
    fn map(&self, key: &K, value: Option<V>) -> Result<Option<R>> {
        value.map_or(Ok(None), |value| (self.mapper)(key, value))
    }

    fn change(&mut self, record: Record<K, Change<V>>, ctx: &mut TaskCtx) -> Result<()> {
        let (key, change, rest) = record.split();
        let new = self.map(&key, change.new)?;
        let old = match self.out.store() {
            _ if !self.send_old => None,
            Some(store) => store.get(ctx, &key)?.map(|row| row.value),
            None => self.map(&key, change.old)?,
        };
        let change = Change { new, old, is_latest: change.is_latest };
        self.out.put_and_forward(rest.with_key(key).with_value(change), ctx)
    }
}

impl<K: Data, V: Data, R: Data> Process<K, Change<V>> for MapNode<K, V, R> {
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
