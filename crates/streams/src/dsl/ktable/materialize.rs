//! The store of a table, and the node's way to it: put, and forward what changed.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use super::{TableSupplier, ValueGetter};
use crate::{
    builder::Graph,
    data::{Data, Flow},
    dsl::{
        ktable::table_store::{PutCode, TableStore},
        materialized::MaterializedStore,
    },
    error::Result,
    record::{Change, Record, ValueAndTimestamp},
    state::KeyValueSupplier,
    store::{MakeStore, StoreFactory, StoreKind, StoreSpec, Supply, VersionedSpec},
    task::{Children, TaskCtx},
    topology::{Instantiation, Topology},
};

/// A table's store as far as the builder knows it; cheap to clone, all clones are the same store.
pub(crate) struct Materialized<K, V> {
    inner: Arc<Inner<K, V>>,
}

impl<K, V> Clone for Materialized<K, V> {
    fn clone(&self) -> Self {
        Materialized { inner: self.inner.clone() }
    }
}

struct Inner<K, V> {
    id: usize,
    builder: usize,
    store: MaterializedStore<K, V>,
    /// Whether the table has its store: by name, or because somebody below reads it.
    materialized: AtomicBool,
    send_old: AtomicBool,
}

impl<K: Data, V: Data> Materialized<K, V> {
    pub(crate) fn new(graph: &mut Graph, store: MaterializedStore<K, V>) -> Self {
        let (id, builder) = (graph.store_id(&store.store), graph.new_builder());
        let materialized = AtomicBool::new(true);
        Materialized { inner: Arc::new(Inner { id, builder, store, materialized, send_old: AtomicBool::new(false) }) }
    }

    /// A table that has a store only if it was named, or as soon as somebody reads it.
    pub(crate) fn on_demand(graph: &mut Graph, store: MaterializedStore<K, V>) -> Self {
        let queryable = store.queryable;
        let table = Self::new(graph, store);
        table.inner.materialized.store(queryable, Ordering::Relaxed);
        table
    }

    pub(crate) fn id(&self) -> usize {
        self.inner.id
    }

    pub(crate) fn store(&self) -> TableStore<K, V> {
        match self.is_versioned() {
            true => TableStore::versioned(self.inner.id),
            false => TableStore::timestamped(self.inner.id),
        }
    }

    /// Whether the store that was supplied keeps old versions of rows.
    pub(crate) fn is_versioned(&self) -> bool {
        self.inner.store.rest.supplier.as_ref().is_some_and(|supplier| supplier.history().is_some())
    }

    pub(crate) fn store_name(&self) -> &str {
        &self.inner.store.store
    }

    pub(crate) fn is_materialized(&self) -> bool {
        self.inner.materialized.load(Ordering::Relaxed)
    }

    pub(crate) fn materialize(&self) {
        self.inner.materialized.store(true, Ordering::Relaxed);
    }

    pub(crate) fn sends_old(&self) -> bool {
        self.inner.send_old.load(Ordering::Relaxed)
    }

    pub(crate) fn send_old(&self) {
        self.inner.send_old.store(true, Ordering::Relaxed);
    }

    /// Adds the store to the topology, if the table has one.
    pub(crate) fn add_store(&self, topology: &mut Topology, node: &str) -> Result<()> {
        match self.is_materialized() {
            true => topology.add_state_store(self.factory(), &[node]),
            false => Ok(()),
        }
    }

    /// The same without a changelog of its own: a source topic serves.
    pub(crate) fn factory(&self) -> StoreFactory {
        let Inner { id, builder, store, .. } = &*self.inner;
        let rest = &store.rest;
        let (kind, make): (StoreKind, MakeStore) = match &rest.supplier {
            Some(supplier) if supplier.history().is_some() => {
                let spec = VersionedSpec::<K, V>::new(supplier.clone(), store.serdes());
                let history = supplier.history().unwrap_or_default();
                (StoreKind::Versioned { history }, Arc::new(move |init| spec.make(init)))
            }
            _ => self.timestamped(),
        };
        StoreFactory {
            id: *id,
            name: store.store.clone(),
            kind,
            logging: rest.logging,
            log_config: rest.log_config.clone(),
            // A versioned store has no cache: updates that are out of order could not be told apart.
            caching: rest.caching && !self.is_versioned(),
            builder: Some(*builder),
            make,
        }
    }

    fn timestamped(&self) -> (StoreKind, MakeStore) {
        let store = &self.inner.store;
        let (name, in_memory) = (store.store.clone(), store.in_memory());
        let supply =
            Supply::or_dsl(store.store.clone(), store.rest.supplier.clone(), move |init| match in_memory(init) {
                true => KeyValueSupplier::in_memory(name.clone()),
                false => KeyValueSupplier::persistent_timestamped(name.clone()),
            });
        let spec = StoreSpec::<_, K, ValueAndTimestamp<V>>::timestamped(supply, store.serdes());
        (StoreKind::KeyValue, Arc::new(move |init| spec.make(init)))
    }
}

impl<K: Data, V: Data> ValueGetter<K, V> for Materialized<K, V> {
    fn get(&self, ctx: &mut TaskCtx, key: &K) -> Result<Option<ValueAndTimestamp<V>>> {
        self.store().get(ctx, key)
    }

    fn get_as_of(&self, ctx: &mut TaskCtx, key: &K, as_of: i64) -> Result<Option<ValueAndTimestamp<V>>> {
        self.store().get_as_of(ctx, key, as_of)
    }

    fn is_versioned(&self) -> bool {
        Materialized::is_versioned(self)
    }

    fn stores(&self, ids: &mut Vec<usize>) {
        ids.push(self.inner.id);
    }
}

/// The result of an aggregation: always in its store.
pub(crate) struct Aggregated<K, V>(pub(crate) Materialized<K, V>);

impl<K: Data, V: Data> TableSupplier<K, V> for Aggregated<K, V> {
    fn enable_sending_old_values(&self, _force: bool) -> bool {
        self.0.send_old();
        true
    }

    fn view(&self) -> Arc<dyn ValueGetter<K, V>> {
        Arc::new(self.0.clone())
    }
}

/// The outgoing side of a table's node in a task: the store, if there is one, and the children.
pub(crate) struct Materializer<K, V> {
    store: Option<TableStore<K, V>>,
    children: Children<K, Change<V>>,
    send_old: bool,
    /// Whether rows leave by the cache's flush instead of at once.
    cached: bool,
    slot: Option<usize>,
}

impl<K: Data, V: Data> Materializer<K, V> {
    pub(crate) fn new(making: &mut Instantiation<'_>, table: &Materialized<K, V>) -> Result<Self> {
        Ok(Materializer {
            store: table.is_materialized().then(|| table.store()),
            cached: table.is_materialized() && making.is_cached(table.id()),
            send_old: table.sends_old(),
            children: making.children()?,
            slot: None,
        })
    }

    /// For a table that has no store and never will.
    pub(crate) fn without_store(making: &mut Instantiation<'_>, send_old: bool) -> Result<Self> {
        Ok(Materializer { store: None, cached: false, send_old, children: making.children()?, slot: None })
    }

    /// Whether the node must be in the arena, where a flush reaches it.
    pub(crate) fn addressable(&self) -> bool {
        self.cached
    }

    pub(crate) fn send_old(&self) -> bool {
        self.send_old
    }

    pub(crate) fn store(&self) -> Option<TableStore<K, V>> {
        self.store
    }

    pub(crate) fn init(&mut self, slot: usize, ctx: &mut TaskCtx) -> Result<()> {
        self.slot = Some(slot);
        if let (Some(store), true) = (self.store, self.cached) {
            self.cached = store.listen(ctx, slot, self.send_old)?;
        }
        Ok(())
    }

    /// Puts the new value, if there is a store, and forwards the change, unless the cache will.
    pub(crate) fn put_and_forward(&mut self, record: Record<K, Change<V>>, ctx: &mut TaskCtx) -> Result<()> {
        let Some(store) = self.store else { return self.children.forward(record, ctx) };
        let Record { key, value: change, timestamp, headers } = record;
        if self.cached {
            store.put(ctx, &key, change.new, timestamp)?;
            return match ctx.rt.evicted.is_empty() {
                true => Ok(()),
                false => self.forward_evicted(ctx),
            };
        }
        let code = store.put(ctx, &key, change.new.clone(), timestamp)?;
        if code == PutCode::NotPut {
            return Ok(());
        }
        let old = change.old.filter(|_| self.send_old);
        let change = Change { new: change.new, old, is_latest: code == PutCode::Latest };
        self.children.forward(Record { key, value: change, timestamp, headers }, ctx)
    }

    #[cold]
    fn forward_evicted(&mut self, ctx: &mut TaskCtx) -> Result<()> {
        let mine = self.slot;
        ctx.rt.evicted.retain(|slot| Some(*slot) != mine);
        self.forward_flushed(ctx)
    }

    /// Forwards what left the cache, each row under the record context it was written with.
    pub(crate) fn forward_flushed(&mut self, ctx: &mut TaskCtx) -> Result<()> {
        let Some(store) = self.store else { return Ok(()) };
        ctx.for_each_flushed(|ctx| store.next_flushed(ctx), |record, ctx| self.children.forward(record, ctx))
    }
}

/// A table that is neither stored nor a source reads its rows through its parent.
pub(crate) fn map_row<V, V2: Flow>(
    row: Option<ValueAndTimestamp<V>>,
    map: impl FnOnce(V) -> Result<Option<V2>>,
) -> Result<Option<ValueAndTimestamp<V2>>> {
    let Some(row) = row else { return Ok(None) };
    Ok(map(row.value)?.map(|value| ValueAndTimestamp::new(value, row.timestamp)))
}
