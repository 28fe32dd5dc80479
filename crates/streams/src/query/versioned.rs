//! Queries of versioned stores.

use std::marker::PhantomData;

use super::{QueriedStore, Query, QueryFailure};
use crate::{data::Flow, error::Error, state::Order, store::VersionedRecord};

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

/// The versions of a key that were valid at some time between two, the newest first unless it says otherwise (KIP-968).
///
/// Of times before the store's history it finds the newest version alone.
#[derive(Clone, Debug)]
pub struct MultiVersionedKeyQuery<K, V> {
    key: K,
    from: Option<i64>,
    to: Option<i64>,
    order: Order,
    value: PhantomData<fn() -> V>,
}

impl<K, V> MultiVersionedKeyQuery<K, V> {
    /// Asks for all versions.
    pub fn with_key(key: K) -> Self {
        MultiVersionedKeyQuery { key, from: None, to: None, order: Order::Reverse, value: PhantomData }
    }

    /// Leaves out what had ended by this time, in ms since the epoch.
    #[must_use]
    pub fn from_time(mut self, from: i64) -> Self {
        self.from = Some(from);
        self
    }

    /// Leaves out what began after this time, in ms since the epoch.
    #[must_use]
    pub fn to_time(mut self, to: i64) -> Self {
        self.to = Some(to);
        self
    }

    /// The oldest first.
    #[must_use]
    pub fn with_ascending_timestamps(mut self) -> Self {
        self.order = Order::Forward;
        self
    }

    /// The newest first.
    #[must_use]
    pub fn with_descending_timestamps(mut self) -> Self {
        self.order = Order::Reverse;
        self
    }

    /// The key.
    pub fn key(&self) -> &K {
        &self.key
    }
}

impl<K: Flow + Sync, V: Flow> Query for MultiVersionedKeyQuery<K, V> {
    type Result = Vec<VersionedRecord<V>>;

    fn run(&self, store: &mut QueriedStore<'_>) -> Result<Self::Result, QueryFailure> {
        let Some(versions) = store.versioned::<K, V>() else {
            return Err(store.unknown_query(std::any::type_name::<Self>()));
        };
        let (from, to) = (self.from.unwrap_or(i64::MIN), self.to.unwrap_or(i64::MAX));
        if from > to {
            let message =
                format!("the `fromTime` timestamp {from} must not be greater than the `toTime` timestamp {to}");
            return Err(Box::new(Error::IllegalArgument(message)).into());
        }
        Ok(versions.get_between(&self.key, (from, to), self.order)?)
    }
}
