//! What processors and tests may do with a store.

mod session;
mod versioned;
mod window;

use super::KeyValueStore;
use crate::{data::Flow, error::Result, processing::Runtime, state::Order};

/// A store and the task it belongs to, borrowed for one or a few calls.
#[derive(Debug)]
pub struct StoreAccess<'a, S> {
    pub(super) store: &'a mut S,
    pub(super) rt: RuntimeRef<'a>,
}

pub(crate) struct RuntimeRef<'a>(pub(crate) &'a mut Runtime);

impl std::fmt::Debug for RuntimeRef<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Task({})", self.0.task_id)
    }
}

impl<'a, S> StoreAccess<'a, S> {
    pub(crate) fn new(store: &'a mut S, rt: &'a mut Runtime) -> Self {
        StoreAccess { store, rt: RuntimeRef(rt) }
    }
}

macro_rules! headers_format {
    ($($store:ident),*) => {$(
        impl<K: Flow, V: Flow> StoreAccess<'_, super::$store<K, V>> {
            /// Whether `dsl.store.format=HEADERS` made this store of the DSL's; what the DSL puts has no headers.
            #[must_use]
            pub fn has_headers_format(&self) -> bool {
                self.store.has_headers_format()
            }
        }
    )*};
}
headers_format!(KeyValueStore, WindowStore, SessionStore);

impl<K: Flow, V: Flow> StoreAccess<'_, KeyValueStore<K, V>> {
    /// The value of a key.
    ///
    /// # Errors
    /// If the key cannot be serialised, the value not be read, or the engine fails. So for all methods.
    pub fn get(&mut self, key: &K) -> Result<Option<V>> {
        self.store.get(self.rt.0, key)
    }

    /// Puts a value, or deletes the key where it is `None`.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn put(&mut self, key: &K, value: Option<V>) -> Result<()> {
        self.store.put(self.rt.0, key, value)
    }

    /// Puts a value where there is none yet; returns what was there.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn put_if_absent(&mut self, key: &K, value: Option<V>) -> Result<Option<V>> {
        self.store.put_if_absent(self.rt.0, key, value)
    }

    /// Puts and deletes in order.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn put_all(&mut self, entries: impl IntoIterator<Item = (K, Option<V>)>) -> Result<()> {
        self.store.put_all(self.rt.0, entries)
    }

    /// Deletes a key; returns what was there.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn delete(&mut self, key: &K) -> Result<Option<V>> {
        self.store.delete(self.rt.0, key)
    }

    /// Entries between two keys, both included, in the order of their bytes; `None` leaves a side open. The list is
    /// the caller's own, so it may forward and write while going through it.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn range(&mut self, from: Option<&K>, to: Option<&K>) -> Result<Vec<(K, V)>> {
        self.store.range(from, to, Order::Forward)
    }

    /// [`range`](Self::range) from the highest key down.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn reverse_range(&mut self, from: Option<&K>, to: Option<&K>) -> Result<Vec<(K, V)>> {
        self.store.range(from, to, Order::Reverse)
    }

    /// All entries in the order of their keys' bytes.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn all(&mut self) -> Result<Vec<(K, V)>> {
        self.store.range(None, None, Order::Forward)
    }

    /// [`all`](Self::all) from the highest key down.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn reverse_all(&mut self) -> Result<Vec<(K, V)>> {
        self.store.range(None, None, Order::Reverse)
    }

    /// Entries whose key's bytes begin with these.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn prefix_scan(&mut self, prefix: &[u8]) -> Result<Vec<(K, V)>> {
        self.store.prefix_scan(prefix, Order::Forward)
    }

    /// About how many entries the engine holds; what is only cached does not count.
    #[must_use]
    pub fn approximate_num_entries(&self) -> u64 {
        self.store.approximate_num_entries()
    }
}
