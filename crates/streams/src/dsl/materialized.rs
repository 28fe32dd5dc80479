//! How a table's store is made: Kafka's `Materialized`.

use std::{collections::BTreeMap, fmt, marker::PhantomData, time::Duration};

use crate::{
    data::{Data, ErasedSerde},
    options::Serdes,
    serdes::Serde,
    state::{KeyValueSupplier, SessionSupplier, StoreSupplier, WindowSupplier},
    store::logging_setters,
    store::{ChosenSerdes, StoreInit},
};

/// A family of stores: what a [`Materialized`] makes, so that an operator over windows takes no key-value store.
pub trait StoreFamily: 'static {
    /// Who makes the engines of such stores.
    type Supplier: StoreSupplier;
}

/// Key-value stores: of tables and of aggregations without windows.
#[derive(Clone, Copy, Debug)]
pub enum KeyValueStores {}
impl StoreFamily for KeyValueStores {
    type Supplier = KeyValueSupplier;
}

/// Where the DSL keeps a store that has no supplier of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreType {
    /// On disk; Kafka calls it `ROCKS_DB`.
    Persistent,
    /// In memory.
    InMemory,
}

/// Whether stores of this type are in memory, or of the configuration's.
pub(crate) fn in_memory(chosen: Option<StoreType>) -> impl Fn(&StoreInit<'_>) -> bool + Send + Sync + Copy {
    move |init| chosen.map_or(init.config.fields().stores_in_memory, |chosen| chosen == StoreType::InMemory)
}

/// Window stores: of aggregations over windows.
#[derive(Clone, Copy, Debug)]
pub enum WindowStores {}
impl StoreFamily for WindowStores {
    type Supplier = WindowSupplier;
}

/// Session stores: of aggregations over sessions.
#[derive(Clone, Copy, Debug)]
pub enum SessionStores {}
impl StoreFamily for SessionStores {
    type Supplier = SessionSupplier;
}

/// How a table's store is made: name, engine, serdes, cache, changelog, retention.
///
/// `S` is the family of the store, which the operator decides.
pub struct Materialized<K, V, S: StoreFamily = KeyValueStores> {
    serdes: Serdes<K, V>,
    rest: MaterializedRest<S>,
}
pub(crate) struct MaterializedRest<S: StoreFamily = KeyValueStores> {
    pub(crate) name: Option<String>,
    pub(crate) supplier: Option<S::Supplier>,
    pub(crate) store_type: Option<StoreType>,
    pub(crate) logging: bool,
    pub(crate) log_config: BTreeMap<String, String>,
    pub(crate) caching: bool,
    pub(crate) retention: Option<Duration>,
}
impl<S: StoreFamily> Clone for MaterializedRest<S> {
    fn clone(&self) -> Self {
        MaterializedRest {
            name: self.name.clone(),
            supplier: self.supplier.clone(),
            store_type: self.store_type,
            logging: self.logging,
            log_config: self.log_config.clone(),
            caching: self.caching,
            retention: self.retention,
        }
    }
}
impl<S: StoreFamily> Default for MaterializedRest<S> {
    fn default() -> Self {
        MaterializedRest {
            name: None,
            supplier: None,
            store_type: None,
            logging: true,
            log_config: BTreeMap::new(),
            caching: true,
            retention: None,
        }
    }
}
impl<K, V, S: StoreFamily> Clone for Materialized<K, V, S> {
    fn clone(&self) -> Self {
        Materialized { serdes: self.serdes.clone(), rest: self.rest.clone() }
    }
}
impl<K, V, S: StoreFamily> Default for Materialized<K, V, S> {
    fn default() -> Self {
        Materialized { serdes: Serdes::default(), rest: MaterializedRest::default() }
    }
}
impl<K, V, S: StoreFamily> fmt::Debug for Materialized<K, V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Materialized").field("name", &self.given_name()).finish_non_exhaustive()
    }
}
impl<K, V, S: StoreFamily> Materialized<K, V, S> {
    /// The name the user gave, by itself or with a supplier.
    pub(crate) fn given_name(&self) -> Option<&str> {
        self.rest.supplier.as_ref().map(S::Supplier::store_name).or(self.rest.name.as_deref())
    }
}
impl<K: 'static, V: 'static, S: StoreFamily> Materialized<K, V, S> {
    /// Nothing chosen: everything is inherited or by default.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
    /// Serdes for keys and values.
    #[must_use]
    pub fn with(key: impl Serde<K>, value: impl Serde<V>) -> Self {
        Self::default().with_key_serde(key).with_value_serde(value)
    }
    /// A serde for keys.
    #[must_use]
    pub fn with_key_serde(mut self, serde: impl Serde<K>) -> Self {
        self.serdes.key = Some(ErasedSerde::of(serde));
        self
    }
    /// A serde for values.
    #[must_use]
    pub fn with_value_serde(mut self, serde: impl Serde<V>) -> Self {
        self.serdes.value = Some(ErasedSerde::of(serde));
        self
    }
    pub(crate) fn key_serde(&self) -> Option<ErasedSerde> {
        self.serdes.key.clone()
    }
    pub(crate) fn value_serde(&self) -> Option<ErasedSerde> {
        self.serdes.value.clone()
    }
    /// With a name, by which the store can be queried: Kafka's `Materialized.as`.
    #[must_use]
    pub fn named(name: impl Into<String>) -> Self {
        let mut materialized = Self::default();
        materialized.rest.name = Some(name.into());
        materialized
    }
    /// With an engine, which brings the name.
    #[must_use]
    pub fn supplied(supplier: S::Supplier) -> Self {
        let mut materialized = Self::default();
        materialized.rest.supplier = Some(supplier);
        materialized
    }
    /// On disk or in memory. Default: `dsl.store.suppliers.class`.
    #[must_use]
    pub fn with_store_type(mut self, store_type: StoreType) -> Self {
        self.rest.store_type = Some(store_type);
        self
    }
    logging_setters!(rest);
    /// A record cache: fewer updates, one per key and commit. Default: on.
    #[must_use]
    pub fn with_caching_enabled(mut self) -> Self {
        self.rest.caching = true;
        self
    }
    /// No record cache: every update is written and sent on.
    #[must_use]
    pub fn with_caching_disabled(mut self) -> Self {
        self.rest.caching = false;
        self
    }
    /// How long windows are kept. Default: their size and grace.
    #[must_use]
    pub fn with_retention(mut self, retention: Duration) -> Self {
        self.rest.retention = Some(retention);
        self
    }
}

/// A [`Materialized`] whose store has its final name: Kafka's `MaterializedInternal`.
pub(crate) struct MaterializedStore<K, V, S: StoreFamily = KeyValueStores> {
    pub(crate) store: String,
    /// Whether the user named the store, so that it can be queried.
    pub(crate) queryable: bool,
    pub(crate) key_serde: Option<ErasedSerde>,
    pub(crate) value_serde: Option<ErasedSerde>,
    pub(crate) rest: MaterializedRest<S>,
    types: PhantomData<fn() -> (K, V)>,
}

impl<K, V, S: StoreFamily> Clone for MaterializedStore<K, V, S> {
    fn clone(&self) -> Self {
        MaterializedStore {
            store: self.store.clone(),
            queryable: self.queryable,
            key_serde: self.key_serde.clone(),
            value_serde: self.value_serde.clone(),
            rest: self.rest.clone(),
            types: PhantomData,
        }
    }
}

impl<K: Data, V: Data, S: StoreFamily> MaterializedStore<K, V, S> {
    /// With the name chosen, or one generated with this prefix.
    pub(crate) fn new(graph: &mut crate::builder::Graph, materialized: &Materialized<K, V, S>, prefix: &str) -> Self {
        let given = materialized.given_name().map(str::to_owned);
        let queryable = given.is_some();
        let store = given.unwrap_or_else(|| {
            let store = graph.new_store_name(prefix);
            if materialized.rest.logging {
                graph.implicit.changelogs.push(format!("{store}-changelog"));
            }
            graph.implicit.stores.push(store.clone());
            store
        });
        if queryable {
            graph.validate_name(&store);
        }
        MaterializedStore {
            store,
            queryable,
            key_serde: materialized.key_serde(),
            value_serde: materialized.value_serde(),
            rest: materialized.rest.clone(),
            types: PhantomData,
        }
    }

    pub(crate) fn serdes(&self) -> ChosenSerdes {
        (self.key_serde.clone(), self.value_serde.clone())
    }

    /// Whether the engine is in memory, where the application supplies none.
    pub(crate) fn in_memory(&self) -> impl Fn(&StoreInit<'_>) -> bool + Send + Sync + use<K, V, S> {
        in_memory(self.rest.store_type)
    }

    /// With these serdes where there are any.
    pub(crate) fn with_serdes(mut self, key: Option<ErasedSerde>, value: Option<ErasedSerde>) -> Self {
        self.key_serde = key.or(self.key_serde);
        self.value_serde = value.or(self.value_serde);
        self
    }

    /// With serdes where the user chose none.
    pub(crate) fn or_serdes(mut self, key: Option<ErasedSerde>, value: Option<ErasedSerde>) -> Self {
        self.key_serde = self.key_serde.or(key);
        self.value_serde = self.value_serde.or(value);
        self
    }
}
