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
    materialized::{MaterializedStore, SessionStores, StoreFamily, WindowStores},
    windows::EmitStrategy,
};
use crate::{
    builder::Graph,
    data::Data,
    error::{Error, Result},
    record::ValueAndTimestamp,
    state::{SessionSupplier, WindowSupplier, millis},
    store::{
        AnyStore, SessionStore, StoreFactory, StoreHandle, StoreInit, StoreKind, StoreRef, StoreSpec, Supply,
        TimestampedWindowStore,
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

    /// The factory of the store; `hold` is called where its rows are sent on when their windows close.
    fn factory_with<T: 'static>(
        &self,
        make: impl Fn(&StoreInit<'_>) -> Result<Box<dyn AnyStore>> + Send + Sync + 'static,
        hold: fn(&mut T),
    ) -> StoreFactory {
        let Inner { id, builder, store, caching, retention, .. } = &*self.inner;
        let on_close = self.is_emitted_on_close();
        StoreFactory {
            id: *id,
            name: store.store.clone(),
            kind: StoreKind::Window { retention: *retention, delete_only: false },
            logging: store.rest.logging,
            log_config: store.rest.log_config.clone(),
            caching: *caching,
            builder: Some(*builder),
            make: Arc::new(move |init| {
                let mut store = make(init)?;
                if on_close {
                    // Before it is restored: what is still to be emitted must not expire meanwhile.
                    hold(typed(&mut *store)?);
                }
                Ok(store)
            }),
        }
    }

    fn is_emitted_on_close(&self) -> bool {
        self.inner.emit == EmitStrategy::OnWindowClose
    }

    /// Who makes the engine: the application's supplier, or this one, told whether it is in memory.
    fn supply(&self, of_dsl: impl Fn(String, bool) -> S::Supplier + Send + Sync + 'static) -> Supply<S::Supplier> {
        let store = &self.inner.store;
        let (name, in_memory) = (store.store.clone(), store.in_memory());
        Supply::or_dsl(name.clone(), store.rest.supplier.clone(), move |init| of_dsl(name.clone(), in_memory(init)))
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
        let Inner { store, window_size, retention, .. } = &*self.inner;
        let (size, retention, time_ordered) = (*window_size, *retention, self.is_emitted_on_close());
        let supply = self.supply(move |name, in_memory| {
            WindowSupplier::of_dsl(name, in_memory, time_ordered, retention, size, false)
        });
        let spec = StoreSpec::<_, K, ValueAndTimestamp<A>>::timestamped(supply, store.serdes());
        self.factory_with(move |init| spec.make(init), Self::Store::hold)
    }

    fn store(&self) -> StoreHandle<Self::Store> {
        StoreRef::new(self.inner.id).handle()
    }
}

impl<K: Data, A: Data> WindowedStore<K, A> for WindowedTable<K, A, SessionStores> {
    type Store = SessionStore<K, A>;

    fn factory(&self) -> StoreFactory {
        let (retention, time_ordered) = (self.inner.retention, self.is_emitted_on_close());
        let supply =
            self.supply(move |name, in_memory| SessionSupplier::of_dsl(name, in_memory, time_ordered, retention));
        let spec = StoreSpec::<_, K, A>::plain(supply, self.inner.store.serdes());
        self.factory_with(move |init| spec.make(init), Self::Store::hold)
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
