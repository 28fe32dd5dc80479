//! What may be done with a session store: Kafka's `SessionStore`. Times are in ms since the epoch, both ends included.

use super::StoreAccess;
use crate::{data::Flow, error::Result, state::Order, store::SessionStore, windowed::Windowed};

impl<K: Flow, V: Flow> StoreAccess<'_, SessionStore<K, V>> {
    /// The value of one session.
    ///
    /// # Errors
    /// If the key cannot be serialised, the value not be read, or the engine fails. So for all methods.
    pub fn fetch_session(&mut self, key: &K, start: i64, end: i64) -> Result<Option<V>> {
        self.store.fetch_session(self.rt.0, key, start, end)
    }

    /// Puts the value of a session, or deletes it where there is none.
    ///
    /// # Errors
    /// As [`fetch_session`](Self::fetch_session).
    pub fn put(&mut self, session: &Windowed<K>, value: Option<V>) -> Result<()> {
        self.store.put(self.rt.0, session, value)
    }

    /// Deletes a session.
    ///
    /// # Errors
    /// As [`fetch_session`](Self::fetch_session).
    pub fn remove(&mut self, session: &Windowed<K>) -> Result<()> {
        self.store.remove(self.rt.0, session)
    }

    /// The sessions of a key that end at `earliest_end` or later and begin at `latest_start` or earlier.
    ///
    /// # Errors
    /// As [`fetch_session`](Self::fetch_session).
    pub fn find_sessions(&mut self, key: &K, earliest_end: i64, latest_start: i64) -> Result<Vec<(Windowed<K>, V)>> {
        self.store.find_sessions(Some(key), Some(key), earliest_end, latest_start, Order::Forward)
    }

    /// The same of a range of keys.
    ///
    /// # Errors
    /// As [`fetch_session`](Self::fetch_session).
    pub fn find_sessions_of_keys(
        &mut self,
        from_key: Option<&K>,
        to_key: Option<&K>,
        earliest_end: i64,
        latest_start: i64,
    ) -> Result<Vec<(Windowed<K>, V)>> {
        self.store.find_sessions(from_key, to_key, earliest_end, latest_start, Order::Forward)
    }

    /// All sessions of a key.
    ///
    /// # Errors
    /// As [`fetch_session`](Self::fetch_session).
    pub fn fetch(&mut self, key: &K) -> Result<Vec<(Windowed<K>, V)>> {
        self.find_sessions(key, 0, i64::MAX)
    }

    /// All sessions of a range of keys.
    ///
    /// # Errors
    /// As [`fetch_session`](Self::fetch_session).
    pub fn fetch_keys(&mut self, from_key: Option<&K>, to_key: Option<&K>) -> Result<Vec<(Windowed<K>, V)>> {
        self.find_sessions_of_keys(from_key, to_key, 0, i64::MAX)
    }

    /// The sessions of a key that end at `earliest_end` or later and begin at `latest_start` or earlier, the last first.
    ///
    /// # Errors
    /// As [`fetch_session`](Self::fetch_session).
    pub fn backward_find_sessions(
        &mut self,
        key: &K,
        earliest_end: i64,
        latest_start: i64,
    ) -> Result<Vec<(Windowed<K>, V)>> {
        self.store.find_sessions(Some(key), Some(key), earliest_end, latest_start, Order::Reverse)
    }

    /// The same of a range of keys, the last first.
    ///
    /// # Errors
    /// As [`fetch_session`](Self::fetch_session).
    pub fn backward_find_sessions_of_keys(
        &mut self,
        from_key: Option<&K>,
        to_key: Option<&K>,
        earliest_end: i64,
        latest_start: i64,
    ) -> Result<Vec<(Windowed<K>, V)>> {
        self.store.find_sessions(from_key, to_key, earliest_end, latest_start, Order::Reverse)
    }

    /// All sessions of a key, the last first.
    ///
    /// # Errors
    /// As [`fetch_session`](Self::fetch_session).
    pub fn backward_fetch(&mut self, key: &K) -> Result<Vec<(Windowed<K>, V)>> {
        self.backward_find_sessions(key, 0, i64::MAX)
    }

    /// All sessions of a range of keys, the last first.
    ///
    /// # Errors
    /// As [`fetch_session`](Self::fetch_session).
    pub fn backward_fetch_keys(&mut self, from_key: Option<&K>, to_key: Option<&K>) -> Result<Vec<(Windowed<K>, V)>> {
        self.backward_find_sessions_of_keys(from_key, to_key, 0, i64::MAX)
    }
}
