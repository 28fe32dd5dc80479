//! How a store of the application's own is made: Kafka's `Stores` and `StoreBuilder`.

use std::{collections::BTreeMap, fmt, marker::PhantomData, sync::Arc};

use super::{
    ChosenSerdes, KeyValueStore, MakeStore, SessionStore, SessionStoreWithHeaders, StoreFactory, StoreInit, StoreKind,
    StoreSpec, Supply, TimestampedKeyValueStore, TimestampedKeyValueStoreWithHeaders, TimestampedWindowStore,
    TimestampedWindowStoreWithHeaders, VersionedKeyValueStore, VersionedSpec, WindowStore,
};
use crate::{
    data::{Data, ErasedSerde},
    record::{AggregationWithHeaders, ValueAndTimestamp, ValueTimestampHeaders},
    serdes::Serde,
    state::{KeyValueSupplier, SessionSupplier, WindowSupplier},
};

/// Setters of a store's changelog, kept as `logging` and `log_config` in the object or a field of it.
macro_rules! logging_setters {
    ($($place:ident)?) => {
        /// A changelog with these settings of its topic. Default: on, without any.
        #[must_use]
        pub fn with_logging_enabled<A, B>(mut self, config: impl IntoIterator<Item = (A, B)>) -> Self
        where
            A: Into<String>,
            B: Into<String>,
        {
            self$(.$place)?.logging = true;
            self$(.$place)?.log_config = config.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
            self
        }

        /// No changelog: what is stored is lost with its task.
        #[must_use]
        pub fn with_logging_disabled(mut self) -> Self {
            self$(.$place)?.logging = false;
            self$(.$place)?.log_config.clear();
            self
        }
    };
}
pub(crate) use logging_setters;

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

    logging_setters!();

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

/// Both constructors of a kind of store: with the serdes of its types, and with given ones. Behind the bars is which
/// kind it is, and what its stores are made from.
macro_rules! constructors {
    ($($what:literal $store:ident = $new:ident, $new_with:ident: |$supplier:ident: $Supplier:ty, $serdes:ident| $parts:expr;)*) => {
        $(impl<K: Data, V: Data> StoreBuilder<$store<K, V>> {
            #[doc = concat!($what, " with this engine and the serdes of its types.")]
            #[must_use]
            pub fn $new(supplier: $Supplier) -> Self {
                Self::made(supplier, (None, None))
            }

            #[doc = concat!($what, " with this engine and these serdes.")]
            #[must_use]
            pub fn $new_with(supplier: $Supplier, key_serde: impl Serde<K>, value_serde: impl Serde<V>) -> Self {
                Self::made(supplier, (Some(ErasedSerde::of(key_serde)), Some(ErasedSerde::of(value_serde))))
            }

            fn made($supplier: $Supplier, $serdes: ChosenSerdes) -> Self {
                let name = $supplier.name().to_owned();
                let (kind, spec) = $parts;
                StoreBuilder::new(name, kind, Arc::new(move |init: &StoreInit<'_>| spec.make(init)))
            }
        })*
    };
}

constructors! {
    "A store" KeyValueStore = key_value, key_value_with: |supplier: KeyValueSupplier, serdes|
        (StoreKind::KeyValue, StoreSpec::<_, K, V>::plain(Supply::by(supplier), serdes));
    "A timestamped store" TimestampedKeyValueStore = timestamped_key_value, timestamped_key_value_with:
        |supplier: KeyValueSupplier, serdes|
        (StoreKind::KeyValue, StoreSpec::<_, K, ValueAndTimestamp<V>>::timestamped(Supply::by(supplier), serdes));
    "A store that keeps headers,"
        TimestampedKeyValueStoreWithHeaders = timestamped_key_value_with_headers, timestamped_key_value_with_headers_with:
        |supplier: KeyValueSupplier, serdes|
        (StoreKind::KeyValue, StoreSpec::<_, K, ValueTimestampHeaders<V>>::with_headers(Supply::by(supplier), serdes));
    "A window store" WindowStore = window, window_with: |supplier: WindowSupplier, serdes|
        (windows(&supplier), StoreSpec::<_, K, V>::plain(Supply::by(supplier), serdes));
    "A timestamped window store" TimestampedWindowStore = timestamped_window, timestamped_window_with:
        |supplier: WindowSupplier, serdes|
        (windows(&supplier), StoreSpec::<_, K, ValueAndTimestamp<V>>::timestamped(Supply::by(supplier), serdes));
    "A window store that keeps headers,"
        TimestampedWindowStoreWithHeaders = timestamped_window_with_headers, timestamped_window_with_headers_with:
        |supplier: WindowSupplier, serdes|
        (windows(&supplier), StoreSpec::<_, K, ValueTimestampHeaders<V>>::with_headers(Supply::by(supplier), serdes));
    "A session store" SessionStore = session, session_with: |supplier: SessionSupplier, serdes|
        (sessions(&supplier), StoreSpec::<_, K, V>::plain(Supply::by(supplier), serdes));
    "A session store that keeps headers," SessionStoreWithHeaders = session_with_headers, session_with_headers_with:
        |supplier: SessionSupplier, serdes|
        {
            let spec = StoreSpec::<_, K, AggregationWithHeaders<V>>::with_headers_of_sessions;
            (sessions(&supplier), spec(Supply::by(supplier), serdes))
        };
    "A versioned store, whose engine is [`KeyValueSupplier::persistent_versioned`],"
        VersionedKeyValueStore = versioned, versioned_with: |supplier: KeyValueSupplier, serdes|
        (StoreKind::Versioned { history: supplier.history().unwrap_or_default() }, VersionedSpec::<K, V>::new(supplier, serdes));
}

fn windows(supplier: &WindowSupplier) -> StoreKind {
    StoreKind::Window { retention: supplier.retention_period(), delete_only: supplier.retain_duplicates() }
}

fn sessions(supplier: &SessionSupplier) -> StoreKind {
    StoreKind::Window { retention: supplier.retention_period(), delete_only: false }
}

impl<K: Data, V: Data> StoreBuilder<KeyValueStore<K, V>> {
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
