//! How a store of the application's own is made: Kafka's `Stores` and `StoreBuilder`.

use std::{collections::BTreeMap, fmt, marker::PhantomData, sync::Arc};

use super::{
    KeyValueSpec, KeyValueStore, MakeStore, SessionSpec, SessionStore, SessionStoreWithHeaders, StoreFactory,
    StoreInit, StoreKind, TimestampedKeyValueStore, TimestampedKeyValueStoreWithHeaders, TimestampedWindowStore,
    TimestampedWindowStoreWithHeaders, VersionedKeyValueStore, VersionedSpec, WindowSpec, WindowStore,
};
use crate::{
    data::{Data, ErasedSerde},
    record::{AggregationWithHeaders, ValueAndTimestamp, ValueTimestampHeaders},
    serdes::{Serde, SerdeRef},
    state::{KeyValueSupplier, SessionSupplier, WindowSupplier},
};

/// A store to be added by [`StreamsBuilder::add_state_store`](crate::StreamsBuilder::add_state_store): its engine,
/// serdes, changelog and cache.
///
/// A clone is the same builder: adding both is adding one store.
pub struct StoreBuilder<S> {
    name: String,
    kind: StoreKind,
    logging: bool,
    log_config: BTreeMap<String, String>,
    caching: bool,
    identity: Arc<()>,
    make: MakeStore,
    store: PhantomData<fn() -> S>,
}

impl<S> Clone for StoreBuilder<S> {
    fn clone(&self) -> Self {
        StoreBuilder {
            name: self.name.clone(),
            kind: self.kind,
            logging: self.logging,
            log_config: self.log_config.clone(),
            caching: self.caching,
            identity: self.identity.clone(),
            make: self.make.clone(),
            store: PhantomData,
        }
    }
}

impl<S> fmt::Debug for StoreBuilder<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreBuilder").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<S> StoreBuilder<S> {
    pub(crate) fn new(name: String, kind: StoreKind, make: MakeStore) -> Self {
        StoreBuilder {
            name,
            kind,
            logging: true,
            log_config: BTreeMap::new(),
            caching: false,
            identity: Arc::new(()),
            make,
            store: PhantomData,
        }
    }

    /// The store's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A changelog with these settings of its topic. Default: on, without any.
    #[must_use]
    pub fn with_logging_enabled<A, B>(mut self, config: impl IntoIterator<Item = (A, B)>) -> Self
    where
        A: Into<String>,
        B: Into<String>,
    {
        self.logging = true;
        self.log_config = config.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        self
    }

    /// No changelog: the store is lost with its task.
    #[must_use]
    pub fn with_logging_disabled(mut self) -> Self {
        self.logging = false;
        self.log_config.clear();
        self
    }

    /// A record cache: one write below per key and commit. Default: off.
    #[must_use]
    pub fn with_caching_enabled(mut self) -> Self {
        self.caching = true;
        self
    }

    /// No record cache.
    #[must_use]
    pub fn with_caching_disabled(mut self) -> Self {
        self.caching = false;
        self
    }

    pub(crate) fn factory(&self, id: usize) -> StoreFactory {
        StoreFactory {
            id,
            name: self.name.clone(),
            kind: self.kind,
            logging: self.logging,
            log_config: self.log_config.clone(),
            caching: self.caching,
            builder: Some(Arc::as_ptr(&self.identity) as usize),
            make: self.make.clone(),
        }
    }
}

fn erase<T: 'static>(serde: impl Serde<T>) -> Option<ErasedSerde> {
    Some(ErasedSerde::new(Arc::new(serde) as SerdeRef<T>))
}

impl<K: Data, V: Data> StoreBuilder<KeyValueStore<K, V>> {
    /// A store with this engine and the serdes of its types.
    #[must_use]
    pub fn key_value(supplier: KeyValueSupplier) -> Self {
        Self::plain(supplier, None, None)
    }

    /// A store with this engine and these serdes.
    #[must_use]
    pub fn key_value_with(supplier: KeyValueSupplier, key_serde: impl Serde<K>, value_serde: impl Serde<V>) -> Self {
        Self::plain(supplier, erase(key_serde), erase(value_serde))
    }

    fn plain(supplier: KeyValueSupplier, key_serde: Option<ErasedSerde>, value_serde: Option<ErasedSerde>) -> Self {
        let name = supplier.name().to_owned();
        let spec = KeyValueSpec::<K, V>::plain(supplier, key_serde, value_serde);
        StoreBuilder::new(name, StoreKind::KeyValue, Arc::new(move |init: &StoreInit<'_>| spec.make(init)))
    }

    /// A store in memory.
    #[must_use]
    pub fn in_memory(name: impl Into<String>) -> Self {
        Self::key_value(KeyValueSupplier::in_memory(name))
    }

    /// A store on disk.
    #[must_use]
    pub fn persistent(name: impl Into<String>) -> Self {
        Self::key_value(KeyValueSupplier::persistent(name))
    }
}

impl<K: Data, V: Data> StoreBuilder<TimestampedKeyValueStore<K, V>> {
    /// A timestamped store with this engine and the serdes of its types.
    #[must_use]
    pub fn timestamped_key_value(supplier: KeyValueSupplier) -> Self {
        Self::timestamped(supplier, None, None)
    }

    /// A timestamped store with this engine and these serdes.
    #[must_use]
    pub fn timestamped_key_value_with(
        supplier: KeyValueSupplier,
        key_serde: impl Serde<K>,
        value_serde: impl Serde<V>,
    ) -> Self {
        Self::timestamped(supplier, erase(key_serde), erase(value_serde))
    }

    fn timestamped(
        supplier: KeyValueSupplier,
        key_serde: Option<ErasedSerde>,
        value_serde: Option<ErasedSerde>,
    ) -> Self {
        let name = supplier.name().to_owned();
        let spec = KeyValueSpec::<K, ValueAndTimestamp<V>>::timestamped(
            name.clone(),
            Some(supplier),
            None,
            key_serde,
            value_serde,
        );
        StoreBuilder::new(name, StoreKind::KeyValue, Arc::new(move |init: &StoreInit<'_>| spec.make(init)))
    }
}

impl<K: Data, V: Data> StoreBuilder<WindowStore<K, V>> {
    /// A window store with this engine and the serdes of its types.
    #[must_use]
    pub fn window(supplier: WindowSupplier) -> Self {
        Self::of_windows(supplier, None, None)
    }

    /// A window store with this engine and these serdes.
    #[must_use]
    pub fn window_with(supplier: WindowSupplier, key_serde: impl Serde<K>, value_serde: impl Serde<V>) -> Self {
        Self::of_windows(supplier, erase(key_serde), erase(value_serde))
    }

    fn of_windows(supplier: WindowSupplier, key: Option<ErasedSerde>, value: Option<ErasedSerde>) -> Self {
        let (name, kind) = (supplier.name().to_owned(), windows(&supplier));
        let spec = WindowSpec::<K, V>::plain(supplier, key, value);
        StoreBuilder::new(name, kind, Arc::new(move |init: &StoreInit<'_>| spec.make(init)))
    }
}

impl<K: Data, V: Data> StoreBuilder<TimestampedWindowStore<K, V>> {
    /// A timestamped window store with this engine and the serdes of its types.
    #[must_use]
    pub fn timestamped_window(supplier: WindowSupplier) -> Self {
        Self::of_timestamped_windows(supplier, None, None)
    }

    /// A timestamped window store with this engine and these serdes.
    #[must_use]
    pub fn timestamped_window_with(
        supplier: WindowSupplier,
        key_serde: impl Serde<K>,
        value_serde: impl Serde<V>,
    ) -> Self {
        Self::of_timestamped_windows(supplier, erase(key_serde), erase(value_serde))
    }

    fn of_timestamped_windows(supplier: WindowSupplier, key: Option<ErasedSerde>, value: Option<ErasedSerde>) -> Self {
        let (name, kind) = (supplier.name().to_owned(), windows(&supplier));
        let spec = WindowSpec::<K, ValueAndTimestamp<V>>::timestamped(
            name.clone(),
            Arc::new(move |_: &StoreInit<'_>| supplier.clone()),
            false,
            key,
            value,
        );
        StoreBuilder::new(name, kind, Arc::new(move |init: &StoreInit<'_>| spec.make(init)))
    }
}

fn windows(supplier: &WindowSupplier) -> StoreKind {
    StoreKind::Window { retention: supplier.retention_period(), delete_only: supplier.retain_duplicates() }
}

impl<K: Data, V: Data> StoreBuilder<SessionStore<K, V>> {
    /// A session store with this engine and the serdes of its types.
    #[must_use]
    pub fn session(supplier: SessionSupplier) -> Self {
        Self::of_sessions(supplier, None, None)
    }

    /// A session store with this engine and these serdes.
    #[must_use]
    pub fn session_with(supplier: SessionSupplier, key_serde: impl Serde<K>, value_serde: impl Serde<V>) -> Self {
        Self::of_sessions(supplier, erase(key_serde), erase(value_serde))
    }

    fn of_sessions(
        supplier: SessionSupplier,
        key_serde: Option<ErasedSerde>,
        value_serde: Option<ErasedSerde>,
    ) -> Self {
        let kind = StoreKind::Window { retention: supplier.retention_period(), delete_only: false };
        let name = supplier.name().to_owned();
        let supply = Arc::new(move |_: &StoreInit<'_>| supplier.clone());
        let spec = SessionSpec::<K, V>::plain(name.clone(), supply, false, key_serde, value_serde);
        StoreBuilder::new(name, kind, Arc::new(move |init: &StoreInit<'_>| spec.make(init)))
    }
}

impl<K: Data, V: Data> StoreBuilder<TimestampedKeyValueStoreWithHeaders<K, V>> {
    /// A store that keeps headers, with this engine and the serdes of its types.
    #[must_use]
    pub fn timestamped_key_value_with_headers(supplier: KeyValueSupplier) -> Self {
        Self::with_headers(supplier, None, None)
    }

    /// A store that keeps headers, with this engine and these serdes.
    #[must_use]
    pub fn timestamped_key_value_with_headers_with(
        supplier: KeyValueSupplier,
        key_serde: impl Serde<K>,
        value_serde: impl Serde<V>,
    ) -> Self {
        Self::with_headers(supplier, erase(key_serde), erase(value_serde))
    }

    fn with_headers(supplier: KeyValueSupplier, key: Option<ErasedSerde>, value: Option<ErasedSerde>) -> Self {
        let name = supplier.name().to_owned();
        let spec = KeyValueSpec::<K, ValueTimestampHeaders<V>>::with_headers(supplier, key, value);
        StoreBuilder::new(name, StoreKind::KeyValue, Arc::new(move |init: &StoreInit<'_>| spec.make(init)))
    }
}

impl<K: Data, V: Data> StoreBuilder<TimestampedWindowStoreWithHeaders<K, V>> {
    /// A window store that keeps headers, with this engine and the serdes of its types.
    #[must_use]
    pub fn timestamped_window_with_headers(supplier: WindowSupplier) -> Self {
        Self::with_headers(supplier, None, None)
    }

    /// A window store that keeps headers, with this engine and these serdes.
    #[must_use]
    pub fn timestamped_window_with_headers_with(
        supplier: WindowSupplier,
        key_serde: impl Serde<K>,
        value_serde: impl Serde<V>,
    ) -> Self {
        Self::with_headers(supplier, erase(key_serde), erase(value_serde))
    }

    fn with_headers(supplier: WindowSupplier, key: Option<ErasedSerde>, value: Option<ErasedSerde>) -> Self {
        let (name, kind) = (supplier.name().to_owned(), windows(&supplier));
        let spec = WindowSpec::<K, ValueTimestampHeaders<V>>::with_headers(supplier, key, value);
        StoreBuilder::new(name, kind, Arc::new(move |init: &StoreInit<'_>| spec.make(init)))
    }
}

impl<K: Data, V: Data> StoreBuilder<SessionStoreWithHeaders<K, V>> {
    /// A session store that keeps headers, with this engine and the serdes of its types.
    #[must_use]
    pub fn session_with_headers(supplier: SessionSupplier) -> Self {
        Self::with_headers(supplier, None, None)
    }

    /// A session store that keeps headers, with this engine and these serdes.
    #[must_use]
    pub fn session_with_headers_with(
        supplier: SessionSupplier,
        key_serde: impl Serde<K>,
        value_serde: impl Serde<V>,
    ) -> Self {
        Self::with_headers(supplier, erase(key_serde), erase(value_serde))
    }

    fn with_headers(supplier: SessionSupplier, key: Option<ErasedSerde>, value: Option<ErasedSerde>) -> Self {
        let kind = StoreKind::Window { retention: supplier.retention_period(), delete_only: false };
        let name = supplier.name().to_owned();
        let spec = SessionSpec::<K, AggregationWithHeaders<V>>::with_headers(supplier, key, value);
        StoreBuilder::new(name, kind, Arc::new(move |init: &StoreInit<'_>| spec.make(init)))
    }
}

impl<K: Data, V: Data> StoreBuilder<VersionedKeyValueStore<K, V>> {
    /// A versioned store with this engine, [`KeyValueSupplier::persistent_versioned`], and the serdes of its types.
    #[must_use]
    pub fn versioned(supplier: KeyValueSupplier) -> Self {
        Self::of_versions(supplier, None, None)
    }

    /// A versioned store with this engine and these serdes.
    #[must_use]
    pub fn versioned_with(supplier: KeyValueSupplier, key_serde: impl Serde<K>, value_serde: impl Serde<V>) -> Self {
        Self::of_versions(supplier, erase(key_serde), erase(value_serde))
    }

    fn of_versions(
        supplier: KeyValueSupplier,
        key_serde: Option<ErasedSerde>,
        value_serde: Option<ErasedSerde>,
    ) -> Self {
        let (name, history) = (supplier.name().to_owned(), supplier.history().unwrap_or_default());
        let spec = VersionedSpec { supplier, key_serde, value_serde, types: PhantomData::<fn() -> (K, V)> };
        StoreBuilder::new(name, StoreKind::Versioned { history }, Arc::new(move |init: &StoreInit<'_>| spec.make(init)))
    }
}
