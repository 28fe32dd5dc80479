//! Queries of versioned stores.

use std::marker::PhantomData;

use super::{QueriedStore, Query, QueryFailure};
use crate::{data::Flow, store::VersionedRecord};

/// The newest version of a key, or the one that was valid at a time (KIP-960).
#[derive(Clone, Debug)]
pub struct VersionedKeyQuery<K, V> {
    key: K,
    as_of: Option<i64>,
    value: PhantomData<fn() -> V>,
}

impl<K, V> VersionedKeyQuery<K, V> {
    /// Asks for the newest version.
    pub fn with_key(key: K) -> Self {
        VersionedKeyQuery { key, as_of: None, value: PhantomData }
    }

    /// Asks for the version that was valid at `as_of_timestamp`, in ms since the epoch.
    #[must_use]
    pub fn as_of(mut self, as_of_timestamp: i64) -> Self {
        self.as_of = Some(as_of_timestamp);
        self
    }

    /// The key.
    pub fn key(&self) -> &K {
        &self.key
    }

    /// The time, if it is not the newest version that is asked for.
    pub fn as_of_timestamp(&self) -> Option<i64> {
        self.as_of
    }
}

impl<K: Flow + Sync, V: Flow> Query for VersionedKeyQuery<K, V> {
    type Result = Option<VersionedRecord<V>>;

    fn run(&self, store: &mut QueriedStore<'_>) -> Result<Self::Result, QueryFailure> {
        let Some(versions) = store.versioned::<K, V>() else {
            return Err(store.unknown_query(std::any::type_name::<Self>()));
        };
        Ok(match self.as_of {
            Some(as_of) => versions.get_as_of(&self.key, as_of)?,
            None => versions.get(&self.key)?,
        })
    }
}
