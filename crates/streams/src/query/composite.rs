//! Read-only views over all local partitions of a store.

use std::{fmt, marker::PhantomData, ops::ControlFlow, sync::Arc};

use super::IsolationLevel;
use super::queried::{KeyValueRows, QueriedStore, WindowRows};
use crate::{
    data::Flow,
    error::{Error, Result},
    state::Order,
    windowed::Windowed,
};

/// What a view is over.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    pub(crate) store_name: String,
    pub(crate) partition: Option<i32>,
    pub(crate) stale_stores: bool,
    pub(crate) isolation_level: Option<IsolationLevel>,
}

pub(crate) type Visit<'a> = &'a mut dyn FnMut(&mut QueriedStore<'_>) -> Result<ControlFlow<()>>;

/// Where stores are: the threads of an application.
pub(crate) trait StoreSource: Send + Sync {
    /// Goes to every store of the scope, each between two records of its thread, until it is told to stop.
    fn visit(&self, scope: &Scope, visit: Visit<'_>) -> Result<()>;
}

/// The stores of a view.
#[doc(hidden)]
#[derive(Clone)]
pub struct Stores {
    pub(crate) source: Arc<dyn StoreSource>,
    pub(crate) scope: Scope,
}

impl fmt::Debug for Stores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.scope.fmt(f)
    }
}

impl Stores {
    /// What the first store that has anything gives.
    fn first<R>(
        &self,
        mut ask: impl FnMut(&mut QueriedStore<'_>) -> Result<R>,
        found: impl Fn(&R) -> bool,
    ) -> Result<Option<R>> {
        let mut answer = None;
        self.source.visit(&self.scope, &mut |store| {
            let given = ask(store)?;
            if found(&given) {
                answer = Some(given);
                return Ok(ControlFlow::Break(()));
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(answer)
    }

    /// What all stores give, one after the other.
    fn all<R>(&self, mut ask: impl FnMut(&mut QueriedStore<'_>) -> Result<Vec<R>>) -> Result<Vec<R>> {
        let mut rows = Vec::new();
        self.source.visit(&self.scope, &mut |store| {
            rows.extend(ask(store)?);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(rows)
    }
}

/// The error of a view whose store is of another kind.
fn not_accepted<T>(store: &QueriedStore<'_>) -> Box<Error> {
    Box::new(Error::InvalidStateStore(format!(
        "Cannot get state store {} because the queryable store type [{}] does not accept the actual store type.",
        store.name(),
        std::any::type_name::<T>()
    )))
}

macro_rules! views {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        ///
        /// It may be kept and used from any thread; after a rebalance it finds the partitions that are here then.
        ///
        /// # Errors
        /// All methods: [`Error::InvalidStateStore`] while the threads are starting or rebalancing and where no
        /// partition is here, [`Error::InvalidStateStorePartition`] if the one asked for is not,
        /// [`Error::StreamsStopped`] after the application's end; and those of serdes and engines.
        pub struct $name<K, V> {
            stores: Stores,
            types: PhantomData<fn() -> (K, V)>,
        }

        impl<K, V> Clone for $name<K, V> {
            fn clone(&self) -> Self {
                $name { stores: self.stores.clone(), types: PhantomData }
            }
        }
        impl<K, V> fmt::Debug for $name<K, V> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).field("stores", &self.stores).finish()
            }
        }
        impl<K: Flow, V: Flow> $name<K, V> {
            pub(crate) fn new(stores: Stores) -> Self {
                $name { stores, types: PhantomData }
            }
        }
    )*};
}

views! {
    /// All local partitions of a key-value store, to read.
    ReadOnlyKeyValueStore;
    /// All local partitions of a window store, to read. Times are in ms since the epoch, both ends included.
    ReadOnlyWindowStore;
    /// All local partitions of a session store, to read. Times are in ms since the epoch, both ends included.
    ReadOnlySessionStore;
}

impl<K: Flow, V: Flow> ReadOnlyKeyValueStore<K, V> {
    fn rows<'a>(store: &'a mut QueriedStore<'_>) -> Result<KeyValueRows<'a, K, V>> {
        if store.key_value::<K, V>().is_none() {
            return Err(not_accepted::<Self>(store));
        }
        store.key_value().ok_or_else(|| Error::internal("a store changed its type"))
    }

    /// The value of a key, in whichever partition it is.
    ///
    /// # Errors
    /// See the type. So for all methods.
    pub fn get(&self, key: &K) -> Result<Option<V>> {
        Ok(self.stores.first(|store| Self::rows(store)?.get(key, false), Option::is_some)?.flatten())
    }

    /// The rows between two keys, both included, in the order of their bytes within each partition; `None` leaves a
    /// side open.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn range(&self, from: Option<&K>, to: Option<&K>) -> Result<Vec<(K, V)>> {
        self.stores.all(|store| Self::rows(store)?.range(from, to, Order::Forward))
    }

    /// [`range`](Self::range) from the highest key down, within each partition.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn reverse_range(&self, from: Option<&K>, to: Option<&K>) -> Result<Vec<(K, V)>> {
        self.stores.all(|store| Self::rows(store)?.range(from, to, Order::Reverse))
    }

    /// All rows.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn all(&self) -> Result<Vec<(K, V)>> {
        self.range(None, None)
    }

    /// All rows, from the highest key down within each partition.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn reverse_all(&self) -> Result<Vec<(K, V)>> {
        self.reverse_range(None, None)
    }

    /// The rows whose key's bytes begin with these.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn prefix_scan(&self, prefix: &[u8]) -> Result<Vec<(K, V)>> {
        self.stores.all(|store| Self::rows(store)?.prefix_scan(prefix))
    }

    /// About how many rows there are, without those that are only cached.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn approximate_num_entries(&self) -> Result<u64> {
        let counts = self.stores.all(|store| Ok(vec![Self::rows(store)?.approximate_num_entries()]))?;
        Ok(counts.into_iter().fold(0, u64::saturating_add))
    }
}

impl<K: Flow, V: Flow> ReadOnlyWindowStore<K, V> {
    fn rows<'a>(store: &'a mut QueriedStore<'_>) -> Result<WindowRows<'a, K, V>> {
        if store.window::<K, V>().is_none() {
            return Err(not_accepted::<Self>(store));
        }
        store.window().ok_or_else(|| Error::internal("a store changed its type"))
    }

    fn range(&self, key: &K, from: i64, to: i64, order: Order) -> Result<Vec<(i64, V)>> {
        let found = self.stores.first(|store| Self::rows(store)?.fetch_range(key, from, to, order), |r| !r.is_empty());
        Ok(found?.unwrap_or_default())
    }

    /// The value of the window of a key that begins at `start`.
    ///
    /// # Errors
    /// See the type. So for all methods.
    pub fn fetch(&self, key: &K, start: i64) -> Result<Option<V>> {
        Ok(self.stores.first(|store| Self::rows(store)?.fetch(key, start), Option::is_some)?.flatten())
    }

    /// The windows of a key that begin between two times, by their start.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch).
    pub fn fetch_range(&self, key: &K, from: i64, to: i64) -> Result<Vec<(i64, V)>> {
        self.range(key, from, to, Order::Forward)
    }

    /// The same, the last first.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch).
    pub fn backward_fetch_range(&self, key: &K, from: i64, to: i64) -> Result<Vec<(i64, V)>> {
        self.range(key, from, to, Order::Reverse)
    }

    /// The windows of a range of keys that begin between two times; `None` leaves a side open.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch).
    pub fn fetch_keys(
        &self,
        from_key: Option<&K>,
        to_key: Option<&K>,
        from: i64,
        to: i64,
    ) -> Result<Vec<(Windowed<K>, V)>> {
        self.stores.all(|store| Self::rows(store)?.fetch_keys((from_key, to_key), from, to, Order::Forward))
    }

    /// The same, the last first within each partition.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch).
    pub fn backward_fetch_keys(
        &self,
        from_key: Option<&K>,
        to_key: Option<&K>,
        from: i64,
        to: i64,
    ) -> Result<Vec<(Windowed<K>, V)>> {
        self.stores.all(|store| Self::rows(store)?.fetch_keys((from_key, to_key), from, to, Order::Reverse))
    }

    /// The windows of all keys that begin between two times.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch).
    pub fn fetch_all(&self, from: i64, to: i64) -> Result<Vec<(Windowed<K>, V)>> {
        self.fetch_keys(None, None, from, to)
    }

    /// The same, the last first within each partition.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch).
    pub fn backward_fetch_all(&self, from: i64, to: i64) -> Result<Vec<(Windowed<K>, V)>> {
        self.backward_fetch_keys(None, None, from, to)
    }

    /// All windows.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch).
    pub fn all(&self) -> Result<Vec<(Windowed<K>, V)>> {
        self.fetch_all(0, i64::MAX)
    }

    /// All windows, the last first within each partition.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch).
    pub fn backward_all(&self) -> Result<Vec<(Windowed<K>, V)>> {
        self.backward_fetch_all(0, i64::MAX)
    }
}

impl<K: Flow, V: Flow> ReadOnlySessionStore<K, V> {
    fn sessions(&self, key: &K, earliest_end: i64, latest_start: i64, order: Order) -> Result<Vec<(Windowed<K>, V)>> {
        let ask = |store: &mut QueriedStore<'_>| match store.session::<K, V>() {
            Some((store, _)) => store.find_sessions(Some(key), Some(key), earliest_end, latest_start, order),
            None => Err(not_accepted::<Self>(store)),
        };
        Ok(self.stores.first(ask, |rows| !rows.is_empty())?.unwrap_or_default())
    }

    fn sessions_of_keys(
        &self,
        (from_key, to_key): (Option<&K>, Option<&K>),
        earliest_end: i64,
        latest_start: i64,
        order: Order,
    ) -> Result<Vec<(Windowed<K>, V)>> {
        self.stores.all(|store| match store.session::<K, V>() {
            Some((store, _)) => store.find_sessions(from_key, to_key, earliest_end, latest_start, order),
            None => Err(not_accepted::<Self>(store)),
        })
    }

    /// The value of one session.
    ///
    /// # Errors
    /// See the type. So for all methods.
    pub fn fetch_session(&self, key: &K, start: i64, end: i64) -> Result<Option<V>> {
        let ask = |store: &mut QueriedStore<'_>| match store.session::<K, V>() {
            Some((store, rt)) => store.fetch_session(rt, key, start, end),
            None => Err(not_accepted::<Self>(store)),
        };
        Ok(self.stores.first(ask, Option::is_some)?.flatten())
    }

    /// All sessions of a key.
    ///
    /// # Errors
    /// As [`fetch_session`](Self::fetch_session).
    pub fn fetch(&self, key: &K) -> Result<Vec<(Windowed<K>, V)>> {
        self.find_sessions(key, 0, i64::MAX)
    }

    /// All sessions of a key, the last first.
    ///
    /// # Errors
    /// As [`fetch_session`](Self::fetch_session).
    pub fn backward_fetch(&self, key: &K) -> Result<Vec<(Windowed<K>, V)>> {
        self.backward_find_sessions(key, 0, i64::MAX)
    }

    /// All sessions of a range of keys; `None` leaves a side open.
    ///
    /// # Errors
    /// As [`fetch_session`](Self::fetch_session).
    pub fn fetch_keys(&self, from_key: Option<&K>, to_key: Option<&K>) -> Result<Vec<(Windowed<K>, V)>> {
        self.sessions_of_keys((from_key, to_key), 0, i64::MAX, Order::Forward)
    }

    /// The same, the last first within each partition.
    ///
    /// # Errors
    /// As [`fetch_session`](Self::fetch_session).
    pub fn backward_fetch_keys(&self, from_key: Option<&K>, to_key: Option<&K>) -> Result<Vec<(Windowed<K>, V)>> {
        self.sessions_of_keys((from_key, to_key), 0, i64::MAX, Order::Reverse)
    }

    /// The sessions of a key that end at `earliest_end` or later and begin at `latest_start` or earlier.
    ///
    /// # Errors
    /// As [`fetch_session`](Self::fetch_session).
    pub fn find_sessions(&self, key: &K, earliest_end: i64, latest_start: i64) -> Result<Vec<(Windowed<K>, V)>> {
        self.sessions(key, earliest_end, latest_start, Order::Forward)
    }

    /// The same, the last first.
    ///
    /// # Errors
    /// As [`fetch_session`](Self::fetch_session).
    pub fn backward_find_sessions(
        &self,
        key: &K,
        earliest_end: i64,
        latest_start: i64,
    ) -> Result<Vec<(Windowed<K>, V)>> {
        self.sessions(key, earliest_end, latest_start, Order::Reverse)
    }

    /// The same of a range of keys.
    ///
    /// # Errors
    /// As [`fetch_session`](Self::fetch_session).
    pub fn find_sessions_of_keys(
        &self,
        from_key: Option<&K>,
        to_key: Option<&K>,
        earliest_end: i64,
        latest_start: i64,
    ) -> Result<Vec<(Windowed<K>, V)>> {
        self.sessions_of_keys((from_key, to_key), earliest_end, latest_start, Order::Forward)
    }

    /// The same of a range of keys, the last first within each partition.
    ///
    /// # Errors
    /// As [`fetch_session`](Self::fetch_session).
    pub fn backward_find_sessions_of_keys(
        &self,
        from_key: Option<&K>,
        to_key: Option<&K>,
        earliest_end: i64,
        latest_start: i64,
    ) -> Result<Vec<(Windowed<K>, V)>> {
        self.sessions_of_keys((from_key, to_key), earliest_end, latest_start, Order::Reverse)
    }
}
