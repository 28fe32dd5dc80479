//! A store of a task while a query is at work in it.

use super::{FailureReason, QueryFailure};
use crate::{
    data::Flow,
    error::Result,
    processing::Runtime,
    record::{ValueAndTimestamp, ValueTimestampHeaders},
    state::Order,
    store::{KeyValueStore, OwnStore, SessionStore, StateStore, StoreRef, VersionedKeyValueStore, WindowStore},
    task::TaskCtx,
    windowed::Windowed,
};

/// A store of a task, for one query.
pub struct QueriedStore<'a> {
    ctx: &'a mut TaskCtx,
    id: usize,
    committed_only: bool,
}

impl std::fmt::Debug for QueriedStore<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QueriedStore").field("name", &self.name()).finish_non_exhaustive()
    }
}

impl<'a> QueriedStore<'a> {
    /// The store of a task, if it has it.
    pub(crate) fn of(ctx: &'a mut TaskCtx, id: usize) -> Option<Self> {
        ctx.stores.get(id)?.as_ref()?;
        Some(QueriedStore { ctx, id, committed_only: false })
    }

    /// Has the query see what is committed, and nothing else.
    pub(crate) fn read_committed(&mut self) {
        self.committed_only = true;
        self.set_committed_only(true);
    }

    fn set_committed_only(&mut self, only: bool) {
        if let Some(Some(store)) = self.ctx.stores.get_mut(self.id) {
            store.read_committed(only);
        }
    }

    pub(crate) fn partition(&self) -> i32 {
        self.ctx.rt.task_id.partition
    }

    /// The store's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.ctx.stores.get(self.id).and_then(Option::as_ref).map_or("", |store| store.name())
    }

    fn typed<S: 'static>(&mut self) -> Option<(&mut S, &mut Runtime)> {
        self.ctx.store(StoreRef::<S>::new(self.id).handle()).ok()
    }

    fn is<S: 'static>(&mut self) -> bool {
        self.typed::<S>().is_some()
    }

    /// The answer of a store that the query is not for.
    #[must_use]
    pub fn unknown_query(&self, query: &str) -> QueryFailure {
        let message = format!("the store {} doesn't know how to execute the given query ({query})", self.name());
        QueryFailure::new(FailureReason::UnknownQueryType, message)
    }

    /// The store as one of keys and values; of values with timestamps, or headers too, it gives the values.
    pub(super) fn key_value<K: Flow, V: Flow>(&mut self) -> Option<KeyValueRows<'_, K, V>> {
        if self.is::<KeyValueStore<K, V>>() {
            return self.typed().map(|(store, rt)| KeyValueRows::Plain(store, rt));
        }
        if self.is::<KeyValueStore<K, ValueAndTimestamp<V>>>() {
            return self.typed().map(|(store, rt)| KeyValueRows::Timestamped(store, rt));
        }
        self.typed().map(|(store, rt)| KeyValueRows::WithHeaders(store, rt))
    }

    /// The store as one of windows; of values with timestamps, or headers too, it gives the values.
    pub(super) fn window<K: Flow, V: Flow>(&mut self) -> Option<WindowRows<'_, K, V>> {
        if self.is::<WindowStore<K, V>>() {
            return self.typed().map(|(store, rt)| WindowRows::Plain(store, rt));
        }
        if self.is::<WindowStore<K, ValueAndTimestamp<V>>>() {
            return self.typed().map(|(store, rt)| WindowRows::Timestamped(store, rt));
        }
        self.typed().map(|(store, rt)| WindowRows::WithHeaders(store, rt))
    }

    /// The store as one of values with timestamps and headers.
    pub(super) fn with_headers<K: Flow, V: Flow>(&mut self) -> Option<HeaderRows<'_, K, V>> {
        self.typed()
    }

    pub(super) fn versioned<K: Flow, V: Flow>(&mut self) -> Option<&mut VersionedKeyValueStore<K, V>> {
        self.typed().map(|(store, _)| store)
    }

    /// The store as one of the application's own: what a [`Query`](super::Query) of its own is made for.
    pub fn own<S: StateStore>(&mut self) -> Option<&mut S> {
        self.typed::<OwnStore<S>>().map(|(store, _)| store.get_mut())
    }

    pub(super) fn session<K: Flow, V: Flow>(&mut self) -> Option<(&mut SessionStore<K, V>, &mut Runtime)> {
        self.typed()
    }
}

impl Drop for QueriedStore<'_> {
    fn drop(&mut self) {
        if self.committed_only {
            self.set_committed_only(false);
        }
    }
}

pub(super) type HeaderRows<'a, K, V> = (&'a mut KeyValueStore<K, ValueTimestampHeaders<V>>, &'a mut Runtime);

pub(super) enum KeyValueRows<'a, K, V> {
    Plain(&'a mut KeyValueStore<K, V>, &'a mut Runtime),
    Timestamped(&'a mut KeyValueStore<K, ValueAndTimestamp<V>>, &'a mut Runtime),
    WithHeaders(&'a mut KeyValueStore<K, ValueTimestampHeaders<V>>, &'a mut Runtime),
}

impl<K: Flow, V: Flow> KeyValueRows<'_, K, V> {
    pub(super) fn get(self, key: &K, skip_cache: bool) -> Result<Option<V>> {
        match self {
            KeyValueRows::Plain(store, rt) => store.look_up(rt, key, skip_cache),
            KeyValueRows::Timestamped(store, rt) => {
                Ok(store.look_up(rt, key, skip_cache)?.map(|row: ValueAndTimestamp<V>| row.value))
            }
            KeyValueRows::WithHeaders(store, rt) => Ok(store.look_up(rt, key, skip_cache)?.map(|row| row.value)),
        }
    }

    pub(super) fn range(self, from: Option<&K>, to: Option<&K>, order: Order) -> Result<Vec<(K, V)>> {
        match self {
            KeyValueRows::Plain(store, _) => store.range(from, to, order),
            KeyValueRows::Timestamped(store, _) => Ok(values(store.range(from, to, order)?, |row| row.value)),
            KeyValueRows::WithHeaders(store, _) => Ok(values(store.range(from, to, order)?, |row| row.value)),
        }
    }

    pub(super) fn prefix_scan(self, prefix: &[u8]) -> Result<Vec<(K, V)>> {
        match self {
            KeyValueRows::Plain(store, _) => store.prefix_scan(prefix, Order::Forward),
            KeyValueRows::Timestamped(store, _) => {
                Ok(values(store.prefix_scan(prefix, Order::Forward)?, |row| row.value))
            }
            KeyValueRows::WithHeaders(store, _) => {
                Ok(values(store.prefix_scan(prefix, Order::Forward)?, |row| row.value))
            }
        }
    }

    pub(super) fn approximate_num_entries(self) -> u64 {
        match self {
            KeyValueRows::Plain(store, _) => store.approximate_num_entries(),
            KeyValueRows::Timestamped(store, _) => store.approximate_num_entries(),
            KeyValueRows::WithHeaders(store, _) => store.approximate_num_entries(),
        }
    }
}

pub(super) enum WindowRows<'a, K, V> {
    Plain(&'a mut WindowStore<K, V>, &'a mut Runtime),
    Timestamped(&'a mut WindowStore<K, ValueAndTimestamp<V>>, &'a mut Runtime),
    WithHeaders(&'a mut WindowStore<K, ValueTimestampHeaders<V>>, &'a mut Runtime),
}

impl<K: Flow, V: Flow> WindowRows<'_, K, V> {
    pub(super) fn fetch(self, key: &K, start: i64) -> Result<Option<V>> {
        match self {
            WindowRows::Plain(store, rt) => store.fetch(rt, key, start),
            WindowRows::Timestamped(store, rt) => Ok(store.fetch(rt, key, start)?.map(|row| row.value)),
            WindowRows::WithHeaders(store, rt) => Ok(store.fetch(rt, key, start)?.map(|row| row.value)),
        }
    }

    pub(super) fn fetch_range(self, key: &K, from: i64, to: i64, order: Order) -> Result<Vec<(i64, V)>> {
        match self {
            WindowRows::Plain(store, _) => store.fetch_range(key, from, to, order),
            WindowRows::Timestamped(store, _) => Ok(values(store.fetch_range(key, from, to, order)?, |row| row.value)),
            WindowRows::WithHeaders(store, _) => Ok(values(store.fetch_range(key, from, to, order)?, |row| row.value)),
        }
    }

    pub(super) fn fetch_keys(
        self,
        keys: (Option<&K>, Option<&K>),
        from: i64,
        to: i64,
        order: Order,
    ) -> Result<Vec<(Windowed<K>, V)>> {
        match self {
            WindowRows::Plain(store, _) => store.fetch_keys(keys.0, keys.1, from, to, order),
            WindowRows::Timestamped(store, _) => {
                Ok(values(store.fetch_keys(keys.0, keys.1, from, to, order)?, |row| row.value))
            }
            WindowRows::WithHeaders(store, _) => {
                Ok(values(store.fetch_keys(keys.0, keys.1, from, to, order)?, |row| row.value))
            }
        }
    }
}

pub(super) fn values<K, R, V>(rows: Vec<(K, R)>, value: impl Fn(R) -> V) -> Vec<(K, V)> {
    rows.into_iter().map(|(key, row)| (key, value(row))).collect()
}
