//! Which view of a store is wanted: Kafka's `QueryableStoreTypes` and `StoreQueryParameters`.

use std::{marker::PhantomData, sync::Arc};

use super::IsolationLevel;
use super::composite::{ReadOnlyKeyValueStore, ReadOnlySessionStore, ReadOnlyWindowStore, StoreSource, Stores};
use crate::{data::Flow, record::ValueAndTimestamp};

/// A kind of view. See [`QueryableStoreTypes`].
pub trait QueryableStoreType: Clone {
    /// The view.
    type View;

    #[doc(hidden)]
    fn view(&self, stores: Stores) -> Self::View;
}

/// The kinds of views.
///
/// Views of a timestamped store give its values without their timestamps, unless the timestamped view is asked for.
#[derive(Clone, Copy, Debug)]
pub enum QueryableStoreTypes {}

impl QueryableStoreTypes {
    /// Key-value stores, timestamped or not.
    pub fn key_value_store<K: Flow, V: Flow>() -> KeyValueStoreType<K, V> {
        KeyValueStoreType(PhantomData)
    }

    /// Timestamped key-value stores: those of tables and aggregates.
    pub fn timestamped_key_value_store<K: Flow, V: Flow>() -> KeyValueStoreType<K, ValueAndTimestamp<V>> {
        KeyValueStoreType(PhantomData)
    }

    /// Window stores, timestamped or not.
    pub fn window_store<K: Flow, V: Flow>() -> WindowStoreType<K, V> {
        WindowStoreType(PhantomData)
    }

    /// Timestamped window stores: those of windowed aggregates.
    pub fn timestamped_window_store<K: Flow, V: Flow>() -> WindowStoreType<K, ValueAndTimestamp<V>> {
        WindowStoreType(PhantomData)
    }

    /// Session stores; one that keeps headers has [`AggregationWithHeaders`](crate::record::AggregationWithHeaders) for `V`.
    pub fn session_store<K: Flow, V: Flow>() -> SessionStoreType<K, V> {
        SessionStoreType(PhantomData)
    }
}

macro_rules! store_types {
    ($($(#[$doc:meta])* $name:ident => $view:ident;)*) => {$(
        $(#[$doc])*
        pub struct $name<K, V>(PhantomData<fn() -> (K, V)>);

        impl<K, V> Clone for $name<K, V> {
            fn clone(&self) -> Self {
                $name(PhantomData)
            }
        }
        impl<K, V> std::fmt::Debug for $name<K, V> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(stringify!($name))
            }
        }
        impl<K: Flow, V: Flow> QueryableStoreType for $name<K, V> {
            type View = $view<K, V>;

            fn view(&self, stores: Stores) -> Self::View {
                $view::new(stores)
            }
        }
    )*};
}

store_types! {
    /// Views of key-value stores.
    KeyValueStoreType => ReadOnlyKeyValueStore;
    /// Views of window stores.
    WindowStoreType => ReadOnlyWindowStore;
    /// Views of session stores.
    SessionStoreType => ReadOnlySessionStore;
}

/// Which store is viewed, as what, and which of its partitions (KIP-562).
#[derive(Clone, Debug)]
pub struct StoreQueryParameters<T> {
    pub(crate) store_name: String,
    store_type: T,
    pub(crate) partition: Option<i32>,
    pub(crate) stale_stores: bool,
    isolation_level: Option<IsolationLevel>,
}

impl<T: QueryableStoreType> StoreQueryParameters<T> {
    /// All running local partitions of a store.
    pub fn from_name_and_type(store_name: impl Into<String>, store_type: T) -> Self {
        StoreQueryParameters {
            store_name: store_name.into(),
            store_type,
            partition: None,
            stale_stores: false,
            isolation_level: None,
        }
    }

    /// One partition only.
    #[must_use]
    pub fn with_partition(mut self, partition: i32) -> Self {
        self.partition = Some(partition);
        self
    }

    /// Also partitions that are being restored or waiting for a rebalance, and those of standbys: what they give may be old.
    #[must_use]
    pub fn enable_stale_stores(mut self) -> Self {
        self.stale_stores = true;
        self
    }

    /// Whether the view is as of the last commit: see
    /// [`StateQueryRequest::with_isolation_level`](super::StateQueryRequest::with_isolation_level).
    #[must_use]
    pub fn with_isolation_level(mut self, level: IsolationLevel) -> Self {
        self.isolation_level = Some(level);
        self
    }

    /// The store's name.
    #[must_use]
    pub fn store_name(&self) -> &str {
        &self.store_name
    }

    /// The partition, if only one is viewed.
    #[must_use]
    pub fn partition(&self) -> Option<i32> {
        self.partition
    }

    /// Whether partitions that may be old are viewed too.
    #[must_use]
    pub fn stale_stores_enabled(&self) -> bool {
        self.stale_stores
    }

    pub(crate) fn view(&self, source: Arc<dyn StoreSource>) -> T::View {
        let scope = super::composite::Scope {
            store_name: self.store_name.clone(),
            partition: self.partition,
            stale_stores: self.stale_stores,
            isolation_level: self.isolation_level,
        };
        self.store_type.view(Stores { source, scope })
    }
}
