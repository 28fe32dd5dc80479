//! The store of a windowed aggregation as far as the builder knows it, and the table over it.

use std::{
    any::Any,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use super::super::{
    ktable::{TableSupplier, ValueGetter},
    materialized::{MaterializedStore, SessionStores, StoreFamily, StoreType, WindowStores},
    windows::EmitStrategy,
};
use crate::{
    builder::Graph,
    data::Data,
    error::{Error, Result},
    record::ValueAndTimestamp,
    state::{SessionSupplier, WindowSupplier, millis},
    store::{
        AnyStore, SessionSpec, SessionStore, StoreFactory, StoreHandle, StoreInit, StoreKind, StoreRef,
        TimestampedWindowStore, WindowSpec,
    },
    task::TaskCtx,
    windowed::WindowedKey,
};

/// What a windowed aggregation is kept in; cheap to clone, all clones are the same store.
pub(crate) struct WindowedTable<K, A, S: StoreFamily> {
    inner: Arc<Inner<K, A, S>>,
}

impl<K, A, S: StoreFamily> Clone for WindowedTable<K, A, S> {
    fn clone(&self) -> Self {
        WindowedTable { inner: self.inner.clone() }
    }
}

struct Inner<K, A, S: StoreFamily> {
    id: usize,
    builder: usize,
    store: MaterializedStore<K, A, S>,
    /// In ms, as everywhere here.
    window_size: i64,
    retention: i64,
    emit: EmitStrategy,
    caching: bool,
    send_old: AtomicBool,
}

/// What the windows of an aggregation ask of its store, in ms.
pub(super) struct Needs {
    pub(super) window_size: i64,
    /// What the store keeps unless the user says otherwise, and the least that is enough.
    pub(super) retention: i64,
    pub(super) emit: EmitStrategy,
    /// Whether the store may have a cache although windows are emitted on close.
    pub(super) caches_closed: bool,
    /// What the least is made of, for the error.
    pub(super) because: String,
}

impl<K: Data, A: Data, S: StoreFamily> WindowedTable<K, A, S> {
    pub(super) fn new(graph: &mut Graph, store: MaterializedStore<K, A, S>, needs: Needs) -> Self {
        let (id, builder) = (graph.store_id(&store.store), graph.new_builder());
        let retention = store.rest.retention.map_or(needs.retention, millis);
        if retention < needs.retention {
            graph.fail(Box::new(Error::IllegalArgument(format!(
                "The retention period of the store {} must be no smaller than {}, retention=[{retention}]",
                store.store, needs.because
            ))));
        }
        let caching = store.rest.caching && (needs.caches_closed || needs.emit == EmitStrategy::OnWindowUpdate);
        let Needs { window_size, emit, .. } = needs;
        let send_old = AtomicBool::new(false);
        WindowedTable { inner: Arc::new(Inner { id, builder, store, window_size, retention, emit, caching, send_old }) }
    }

    pub(super) fn id(&self) -> usize {
        self.inner.id
    }

    pub(super) fn store_name(&self) -> &str {
        &self.inner.store.store
    }

    pub(super) fn emit(&self) -> EmitStrategy {
        self.inner.emit
    }

    pub(super) fn sends_old(&self) -> bool {
        self.inner.send_old.load(Ordering::Relaxed)
    }

    fn factory_with(&self, make: crate::store::MakeStore) -> StoreFactory {
        let Inner { id, builder, store, caching, retention, .. } = &*self.inner;
        StoreFactory {
            id: *id,
            name: store.store.clone(),
            kind: StoreKind::Window { retention: *retention, delete_only: false },
            logging: store.rest.logging,
            log_config: store.rest.log_config.clone(),
            caching: *caching,
            builder: Some(*builder),
            make,
        }
    }

    fn in_memory(&self) -> impl Fn(&StoreInit<'_>) -> bool + Send + Sync + use<K, A, S> {
        let chosen = self.inner.store.rest.store_type.map(|store_type| store_type == StoreType::InMemory);
        move |init| chosen.unwrap_or_else(|| init.config.fields().stores_in_memory)
    }
}

fn typed<S: 'static>(store: &mut dyn AnyStore) -> Result<&mut S> {
    (store as &mut dyn Any)
        .downcast_mut()
        .ok_or_else(|| Error::internal("a windowed table with a store of another type"))
}

/// The store of a kind of windows.
pub(super) trait WindowedStore<K, A> {
    /// What a task has of it.
    type Store: 'static;
    fn factory(&self) -> StoreFactory;
    fn store(&self) -> StoreHandle<Self::Store>;
}

impl<K: Data, A: Data> WindowedStore<K, A> for WindowedTable<K, A, WindowStores> {
    type Store = TimestampedWindowStore<K, A>;

    fn factory(&self) -> StoreFactory {
        let Inner { store, window_size, retention, emit, .. } = &*self.inner;
        let (window_size, retention) = (*window_size, *retention);
        let (name, in_memory, time_ordered) =
            (store.store.clone(), self.in_memory(), *emit == EmitStrategy::OnWindowClose);
        let supplied = store.rest.supplier.clone();
        let of_dsl = supplied.is_none();
        let supplier = move |init: &StoreInit<'_>| match &supplied {
            Some(supplier) => supplier.clone(),
            None => WindowSupplier::of_dsl(name.clone(), in_memory(init), time_ordered, retention, window_size, false),
        };
        let (key, value) = (store.key_serde.clone(), store.value_serde.clone());
        let spec = WindowSpec::<K, ValueAndTimestamp<A>>::timestamped(
            store.store.clone(),
            Arc::new(supplier),
            of_dsl,
            key,
            value,
        );
        self.factory_with(Arc::new(move |init| {
            let mut store = spec.make(init)?;
            if time_ordered {
                // Before it is restored: what is still to be emitted must not expire meanwhile.
                typed::<Self::Store>(&mut *store)?.hold();
            }
            Ok(store)
        }))
    }

    fn store(&self) -> StoreHandle<Self::Store> {
        StoreRef::new(self.inner.id).handle()
    }
}

impl<K: Data, A: Data> WindowedStore<K, A> for WindowedTable<K, A, SessionStores> {
    type Store = SessionStore<K, A>;

    fn factory(&self) -> StoreFactory {
        let Inner { store, retention, emit, .. } = &*self.inner;
        let retention = *retention;
        let (name, in_memory, time_ordered) =
            (store.store.clone(), self.in_memory(), *emit == EmitStrategy::OnWindowClose);
        let supplied = store.rest.supplier.clone();
        let of_dsl = supplied.is_none();
        let supplier = move |init: &StoreInit<'_>| match &supplied {
            Some(supplier) => supplier.clone(),
            None => SessionSupplier::of_dsl(name.clone(), in_memory(init), time_ordered, retention),
        };
        let (key, value) = (store.key_serde.clone(), store.value_serde.clone());
        let spec = SessionSpec::<K, A>::plain(store.store.clone(), Arc::new(supplier), of_dsl, key, value);
        self.factory_with(Arc::new(move |init| {
            let mut store = spec.make(init)?;
            if time_ordered {
                // Before it is restored: what is still to be emitted must not expire meanwhile.
                typed::<Self::Store>(&mut *store)?.hold();
            }
            Ok(store)
        }))
    }

    fn store(&self) -> StoreHandle<Self::Store> {
        StoreRef::new(self.inner.id).handle()
    }
}

/// The result of a windowed aggregation, as tables below see it.
pub(super) struct Aggregated<K, A, S: StoreFamily>(pub(super) WindowedTable<K, A, S>);

impl<W, A, S> TableSupplier<W, A> for Aggregated<W::Key, A, S>
where
    W: WindowedKey,
    A: Data,
    S: StoreFamily,
    WindowedTable<W::Key, A, S>: ValueGetter<W, A> + 'static,
{
    fn enable_sending_old_values(&self, _force: bool) -> bool {
        self.0.inner.send_old.store(true, Ordering::Relaxed);
        true
    }

    fn view(&self) -> Arc<dyn ValueGetter<W, A>> {
        Arc::new(self.0.clone())
    }
}

impl<W: WindowedKey, A: Data> ValueGetter<W, A> for WindowedTable<W::Key, A, WindowStores> {
    fn get(&self, ctx: &mut TaskCtx, key: &W) -> Result<Option<ValueAndTimestamp<A>>> {
        let (store, rt) = ctx.store(self.store())?;
        store.fetch(rt, key.key(), key.window().start())
    }

    fn stores(&self, ids: &mut Vec<usize>) {
        ids.push(self.inner.id);
    }
}

impl<W: WindowedKey, A: Data> ValueGetter<W, A> for WindowedTable<W::Key, A, SessionStores> {
    fn get(&self, ctx: &mut TaskCtx, key: &W) -> Result<Option<ValueAndTimestamp<A>>> {
        let (store, rt) = ctx.store(self.store())?;
        let (start, end) = (key.window().start(), key.window().end());
        let value = store.fetch_session(rt, key.key(), start, end)?;
        Ok(value.map(|value| ValueAndTimestamp::new(value, end)))
    }

    fn stores(&self, ids: &mut Vec<usize>) {
        ids.push(self.inner.id);
    }
}
