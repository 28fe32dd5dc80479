//! How the join of two streams is made: Kafka's `StreamJoined`.

use std::{collections::BTreeMap, fmt, marker::PhantomData};

use super::materialized::StoreType;
use crate::{
    data::ErasedSerde,
    options::{Serdes, erase},
    serdes::Serde,
    state::WindowSupplier,
};

/// The names, serdes and stores of a join of two streams. `V` and `V2` are the plain value types of both sides.
pub struct StreamJoined<K, V, V2> {
    serdes: Serdes<K, V>,
    other_value: Option<ErasedSerde>,
    rest: StreamJoinedRest,
    types: PhantomData<fn() -> V2>,
}

#[derive(Clone)]
pub(crate) struct StreamJoinedRest {
    pub(crate) name: Option<String>,
    pub(crate) store_name: Option<String>,
    pub(crate) store_type: Option<StoreType>,
    pub(crate) this_supplier: Option<WindowSupplier>,
    pub(crate) other_supplier: Option<WindowSupplier>,
    pub(crate) logging: bool,
    pub(crate) log_config: BTreeMap<String, String>,
}

impl<K, V, V2> Clone for StreamJoined<K, V, V2> {
    fn clone(&self) -> Self {
        StreamJoined {
            serdes: self.serdes.clone(),
            other_value: self.other_value.clone(),
            rest: self.rest.clone(),
            types: PhantomData,
        }
    }
}

impl<K, V, V2> Default for StreamJoined<K, V, V2> {
    fn default() -> Self {
        let rest = StreamJoinedRest {
            name: None,
            store_name: None,
            store_type: None,
            this_supplier: None,
            other_supplier: None,
            logging: true,
            log_config: BTreeMap::new(),
        };
        StreamJoined { serdes: Serdes::default(), other_value: None, rest, types: PhantomData }
    }
}

impl<K, V, V2> fmt::Debug for StreamJoined<K, V, V2> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let StreamJoinedRest { name, store_name, .. } = &self.rest;
        f.debug_struct("StreamJoined").field("name", name).field("store_name", store_name).finish_non_exhaustive()
    }
}

impl<K: 'static, V: 'static, V2: 'static> StreamJoined<K, V, V2> {
    /// Nothing chosen: everything is by default.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
    /// Serdes for keys and for the values of both sides.
    #[must_use]
    pub fn with(key: impl Serde<K>, value: impl Serde<V>, other: impl Serde<V2>) -> Self {
        Self::default().with_key_serde(key).with_value_serde(value).with_other_value_serde(other)
    }
    /// With a base for the names of the stores: Kafka's `StreamJoined.as`.
    #[must_use]
    pub fn stored_as(store_name: impl Into<String>) -> Self {
        Self::default().with_store_name(store_name)
    }
    /// A name for the operator, from which those of its nodes and repartition topics are made.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.rest.name = Some(name.into());
        self
    }
    /// A base for the names of the stores. Default: generated from the nodes.
    #[must_use]
    pub fn with_store_name(mut self, store_name: impl Into<String>) -> Self {
        self.rest.store_name = Some(store_name.into());
        self
    }
    /// A serde for keys.
    #[must_use]
    pub fn with_key_serde(mut self, serde: impl Serde<K>) -> Self {
        self.serdes.key = Some(erase(serde));
        self
    }
    /// A serde for this stream's values.
    #[must_use]
    pub fn with_value_serde(mut self, serde: impl Serde<V>) -> Self {
        self.serdes.value = Some(erase(serde));
        self
    }
    /// A serde for the other stream's values.
    #[must_use]
    pub fn with_other_value_serde(mut self, serde: impl Serde<V2>) -> Self {
        self.other_value = Some(erase(serde));
        self
    }
    /// On disk or in memory. Default: `dsl.store.suppliers.class`.
    #[must_use]
    pub fn with_store_type(mut self, store_type: StoreType) -> Self {
        self.rest.store_type = Some(store_type);
        self
    }
    /// The store of this stream's records. It must retain duplicates, its window size must be the join's, and its
    /// retention the join's with grace. As in Kafka it has a changelog, whatever is said of logging here.
    #[must_use]
    pub fn with_this_store_supplier(mut self, supplier: WindowSupplier) -> Self {
        self.rest.this_supplier = Some(supplier);
        self
    }
    /// The store of the other stream's records; see [`with_this_store_supplier`](Self::with_this_store_supplier).
    #[must_use]
    pub fn with_other_store_supplier(mut self, supplier: WindowSupplier) -> Self {
        self.rest.other_supplier = Some(supplier);
        self
    }
    /// Changelogs with these settings of their topics. Default: on.
    #[must_use]
    pub fn with_logging_enabled<A, B>(mut self, config: impl IntoIterator<Item = (A, B)>) -> Self
    where
        A: Into<String>,
        B: Into<String>,
    {
        self.rest.logging = true;
        self.rest.log_config = config.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        self
    }
    /// No changelogs: what the stores hold is lost with their task.
    #[must_use]
    pub fn with_logging_disabled(mut self) -> Self {
        self.rest.logging = false;
        self.rest.log_config.clear();
        self
    }
    pub(crate) fn key_serde(&self) -> Option<ErasedSerde> {
        self.serdes.key.clone()
    }
    pub(crate) fn value_serde(&self) -> Option<ErasedSerde> {
        self.serdes.value.clone()
    }
    pub(crate) fn other_value_serde(&self) -> Option<ErasedSerde> {
        self.other_value.clone()
    }
    pub(crate) fn name(&self) -> Option<&str> {
        self.rest.name.as_deref()
    }
    pub(crate) fn rest(&self) -> &StreamJoinedRest {
        &self.rest
    }
}
