//! What may be done with a window store: Kafka's `WindowStore`. Times are in ms since the epoch, both ends included.

use super::StoreAccess;
use crate::{data::Flow, error::Result, state::Order, store::WindowStore, windowed::Windowed};

impl<K: Flow, V: Flow> StoreAccess<'_, WindowStore<K, V>> {
    /// Whether it keeps one side of a join of streams, for the DSL.
    #[must_use]
    pub fn is_of_join(&self) -> bool {
        self.store.is_of_join()
    }

    /// The value of the window that begins at `start`.
    ///
    /// # Errors
    /// If the key cannot be serialised, the value not be read, or the engine fails. So for all methods.
    pub fn fetch(&mut self, key: &K, start: i64) -> Result<Option<V>> {
        self.store.fetch(self.rt.0, key, start)
    }

    /// Puts the value of the window that begins at `start`, or deletes it where there is none.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch).
    pub fn put(&mut self, key: &K, value: Option<V>, start: i64) -> Result<()> {
        self.store.put(self.rt.0, key, value, start)
    }

    /// The windows of a key that begin between two times, by their start.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch).
    pub fn fetch_range(&mut self, key: &K, from: i64, to: i64) -> Result<Vec<(i64, V)>> {
        self.store.fetch_range(key, from, to, Order::Forward)
    }

    /// The windows of a range of keys that begin between two times.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch).
    pub fn fetch_keys(
        &mut self,
        from_key: Option<&K>,
        to_key: Option<&K>,
        from: i64,
        to: i64,
    ) -> Result<Vec<(Windowed<K>, V)>> {
        self.store.fetch_keys(from_key, to_key, from, to, Order::Forward)
    }

    /// The windows of all keys that begin between two times.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch).
    pub fn fetch_all(&mut self, from: i64, to: i64) -> Result<Vec<(Windowed<K>, V)>> {
        self.store.fetch_keys(None, None, from, to, Order::Forward)
    }

    /// All windows.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch).
    pub fn all(&mut self) -> Result<Vec<(Windowed<K>, V)>> {
        self.store.all(Order::Forward)
    }

    /// The windows of a key that begin between two times, by their start, the last first.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch).
    pub fn backward_fetch_range(&mut self, key: &K, from: i64, to: i64) -> Result<Vec<(i64, V)>> {
        self.store.fetch_range(key, from, to, Order::Reverse)
    }

    /// The windows of a range of keys that begin between two times, the last first.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch).
    pub fn backward_fetch_keys(
        &mut self,
        from_key: Option<&K>,
        to_key: Option<&K>,
        from: i64,
        to: i64,
    ) -> Result<Vec<(Windowed<K>, V)>> {
        self.store.fetch_keys(from_key, to_key, from, to, Order::Reverse)
    }

    /// The windows of all keys that begin between two times, the last first.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch).
    pub fn backward_fetch_all(&mut self, from: i64, to: i64) -> Result<Vec<(Windowed<K>, V)>> {
        self.store.fetch_keys(None, None, from, to, Order::Reverse)
    }

    /// All windows, the last first.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch).
    pub fn backward_all(&mut self) -> Result<Vec<(Windowed<K>, V)>> {
        self.store.all(Order::Reverse)
    }
}
