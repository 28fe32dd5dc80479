//! Tables whose rows are made of those of one table above: what `filter`, `map_values` and `transform_values` have in common.

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
    builder::{GraphNode, TellVersioned, Written},
    data::{Data, ErasedSerde},
    dsl::{
        kstream,
        materialized::{Materialized, MaterializedStore},
    },
    error::Result,
    record::{Change, Record, ValueAndTimestamp},
    task::{Process, TaskCtx},
    topology::{Instantiation, Topology},
};

/// How rows are derived, shared by all tasks.
pub(super) trait Derivation<K, V, R>: Send + Sync + 'static {
    /// What a task derives them with.
    type Deriver: Deriver<K, V, R>;
    fn deriver(&self) -> Self::Deriver;

    /// The rows as others read them where there is no store.
    fn view(&self, parent: Arc<dyn ValueGetter<K, V>>) -> Arc<dyn ValueGetter<K, R>>;

    /// Whether a change from no row to no row is not sent on.
    fn swallows_nothing(&self) -> bool {
        false
    }
}

/// Derives rows in one task.
pub(super) trait Deriver<K, V, R>: Send + 'static {
    /// Whether [`init`](Self::init) does anything.
    const HAS_INIT: bool = false;

    /// Before the first row of the node with this number.
    fn init(&mut self, _node: u32, _ctx: &mut TaskCtx) -> Result<()> {
        Ok(())
    }

    /// The row of a key, of the one above.
    fn derive(&mut self, key: &K, value: Option<V>, ctx: &mut TaskCtx) -> Result<Option<R>>;
}

/// A function as derivation.
pub(super) type Mapper<K, V, R> = Arc<dyn Fn(&K, V) -> Result<Option<R>> + Send + Sync>;

impl<K: Data, V: Data, R: Data> Derivation<K, V, R> for Mapper<K, V, R> {
    type Deriver = Self;

    fn deriver(&self) -> Self {
        self.clone()
    }

    fn view(&self, parent: Arc<dyn ValueGetter<K, V>>) -> Arc<dyn ValueGetter<K, R>> {
        Arc::new(MappedGetter { parent, mapper: self.clone() })
    }
}

impl<K: Data, V: Data, R: Data> Deriver<K, V, R> for Mapper<K, V, R> {
    fn derive(&mut self, key: &K, value: Option<V>, _ctx: &mut TaskCtx) -> Result<Option<R>> {
        value.map_or(Ok(None), |value| self(key, value))
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

/// An operator that derives a table.
pub(super) struct Derived<D> {
    /// What its node's name begins with.
    pub(super) prefix: &'static str,
    pub(super) how: D,
    /// The stores that its node is connected with.
    pub(super) stores: Vec<usize>,
    /// The serde of values where none is named.
    pub(super) value_serde: Option<ErasedSerde>,
    /// Whether old values come from above, as far as is known by now.
    pub(super) send_old: bool,
    pub(super) versioned_semantics: Option<TellVersioned>,
}

impl<D> Derived<D> {
    pub(super) fn new(prefix: &'static str, how: D) -> Self {
        Derived { prefix, how, stores: Vec::new(), value_serde: None, send_old: false, versioned_semantics: None }
    }
}

impl<K: Data, V: Data> KTable<K, V> {
    pub(super) fn derive<R: Data, D: Derivation<K, V, R>>(
        &self,
        (name, materialized): (Option<String>, Option<Materialized<K, R>>),
        derived: Derived<D>,
    ) -> KTable<K, R> {
        let Derived { prefix, how, stores, mut value_serde, send_old, versioned_semantics } = derived;
        let shared = self.graph.clone();
        let mut graph = shared.borrow_mut();
        let (mut key_serde, mut store) = (self.key_serde.clone(), None);
        if let Some(materialized) = materialized {
            key_serde = materialized.key_serde().or(key_serde);
            value_serde = materialized.value_serde().or(value_serde);
            match materialized.given_name() {
                None => drop(graph.new_store_name(prefix)),
                Some(_) => store = Some(MaterializedStore::new(&mut graph, &materialized, prefix)),
            }
        }
        let name = graph.name_or(name.as_deref(), prefix);
        let table = Arc::new(DerivedTable {
            parent: self.supplier.clone(),
            how,
            store: store.map(|store| TableStoreSpec::new(&mut graph, store)),
            send_old: AtomicBool::new(send_old),
        });
        let (of, node_name) = (table.clone(), Arc::<str>::from(name.as_str()));
        let make = Arc::new(move |making: &mut Instantiation<'_>| of.place(making));
        let of = table.clone();
        let write = move |written: &Written<'_>, topology: &mut Topology| {
            let parents = written.parents.clone();
            topology.add_node(kstream::factory::<K, Change<V>, K, Change<R>>(&node_name, parents, make.clone()))?;
            if let Some(store) = &of.store {
                store.add_store(topology, &node_name)?;
            }
            stores.iter().try_for_each(|store| topology.connect(&node_name, *store))
        };
        let node = GraphNode {
            output_versioned: table.store.as_ref().map(TableStoreSpec::is_versioned),
            versioned_semantics,
            ..GraphNode::new(name.clone(), Rc::new(write))
        };
        let node = graph.add(&[self.node], node);
        let queryable = table.store.as_ref().map(|store| store.store_name().to_owned());
        KTable::new(&shared, node, &name, self.sources.clone(), table)
            .with_serdes(key_serde, value_serde)
            .with_queryable(queryable)
    }
}

struct DerivedTable<K, V, R, D> {
    parent: Arc<dyn TableSupplier<K, V>>,
    how: D,
    store: Option<TableStoreSpec<K, R>>,
    send_old: AtomicBool,
}

impl<K: Data, V: Data, R: Data, D: Derivation<K, V, R>> TableSupplier<K, R> for DerivedTable<K, V, R, D> {
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
            None => self.how.view(self.parent.view()),
        }
    }
}

impl<K: Data, V: Data, R: Data, D: Derivation<K, V, R>> DerivedTable<K, V, R, D> {
    fn place(&self, making: &mut Instantiation<'_>) -> Result<()> {
        let send_old = self.send_old.load(Ordering::Relaxed);
        let out = match &self.store {
            Some(store) => {
                if send_old {
                    store.send_old();
                }
                Materializer::new(making, store)?
            }
            None => Materializer::without_store(making, send_old)?,
        };
        let swallows_nothing = send_old && self.how.swallows_nothing();
        // What is to be initialised must be in the arena.
        let addressable = <D::Deriver as Deriver<K, V, R>>::HAS_INIT || out.addressable();
        let node = DerivedNode { deriver: self.how.deriver(), send_old, swallows_nothing, out, id: making.node_id() };
        making.place::<K, Change<V>>(node, addressable);
        Ok(())
    }
}

struct DerivedNode<K, R, T> {
    deriver: T,
    send_old: bool,
    swallows_nothing: bool,
    out: Materializer<K, R>,
    id: u32,
}

impl<K: Data, R: Data, T> DerivedNode<K, R, T> {
    fn change<V: Data>(&mut self, record: Record<K, Change<V>>, ctx: &mut TaskCtx) -> Result<()>
    where
        T: Deriver<K, V, R>,
    {
        let (key, change, rest) = record.split();
        let new = self.deriver.derive(&key, change.new, ctx)?;
        let old = match self.out.store() {
            _ if !self.send_old => None,
            Some(store) => store.get(ctx, &key)?.map(|row| row.value),
            None => self.deriver.derive(&key, change.old, ctx)?,
        };
        if self.swallows_nothing && old.is_none() && new.is_none() {
            return Ok(());
        }
        let change = Change { new, old, is_latest: change.is_latest };
        self.out.put_and_forward(rest.with_key(key).with_value(change), ctx)
    }
}

impl<K: Data, V: Data, R: Data, T: Deriver<K, V, R>> Process<K, Change<V>> for DerivedNode<K, R, T> {
    fn init(&mut self, slot: usize, ctx: &mut TaskCtx) -> Result<()> {
        self.out.init(slot, ctx)?;
        self.deriver.init(self.id, ctx)
    }

    fn process(&mut self, record: Record<K, Change<V>>, ctx: &mut TaskCtx) -> Result<()> {
        ctx.rt.enter(&record);
        self.change(record, ctx).or_else(|error| ctx.rt.settle(error, self.id))
    }

    fn forward_flushed(&mut self, ctx: &mut TaskCtx) -> Result<()> {
        self.out.forward_flushed(ctx)
    }
}
