//! What may be done with a versioned store: Kafka's `VersionedKeyValueStore`. Times are in ms since the epoch.

use super::StoreAccess;
use crate::{
    data::Flow,
    error::Result,
    store::{VersionedKeyValueStore, VersionedPut, VersionedRecord},
};

impl<K: Flow, V: Flow> StoreAccess<'_, VersionedKeyValueStore<K, V>> {
    /// Puts a version that is valid from `timestamp`, or a deletion where there is no value.
    ///
    /// # Errors
    /// If the key or value cannot be serialised, or the engine fails. So for all methods.
    pub fn put(&mut self, key: &K, value: Option<V>, timestamp: i64) -> Result<VersionedPut> {
        self.store.put(self.rt.0, key, value.as_ref(), timestamp)
    }

    /// Deletes from `timestamp` on; returns what was valid then.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn delete(&mut self, key: &K, timestamp: i64) -> Result<Option<VersionedRecord<V>>> {
        self.store.delete(self.rt.0, key, timestamp)
    }

    /// The newest version.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn get(&mut self, key: &K) -> Result<Option<VersionedRecord<V>>> {
        self.store.get(key)
    }

    /// The version that was valid at `as_of`. For a time before the store's history it is only known if the newest
    /// version was valid already.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn get_as_of(&mut self, key: &K, as_of: i64) -> Result<Option<VersionedRecord<V>>> {
        self.store.get_as_of(key, as_of)
    }

    /// All versions that are there, by the bytes of their key and by their time.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn all_versions(&mut self) -> Result<Vec<(K, VersionedRecord<V>)>> {
        self.store.all()
    }
}
