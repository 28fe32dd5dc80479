//! How the join of two streams is made: Kafka's `StreamJoined`.

use std::{collections::BTreeMap, fmt};

use super::materialized::StoreType;
use crate::{
    data::ErasedSerde,
    options::{Serdes, erase, options},
    serdes::Serde,
    state::WindowSupplier,
};

/// The names, serdes and stores of a join of two streams. `V` and `V2` are the plain value types of both sides.
pub struct StreamJoined<K, V, V2> {
    serdes: Serdes<K, V, V2>,
    rest: StreamJoinedRest,
}
options!(StreamJoined, other);

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

impl Default for StreamJoinedRest {
    fn default() -> Self {
        StreamJoinedRest {
            name: None,
            store_name: None,
            store_type: None,
            this_supplier: None,
            other_supplier: None,
            logging: true,
            log_config: BTreeMap::new(),
        }
    }
}

impl<K: 'static, V: 'static, V2: 'static> StreamJoined<K, V, V2> {
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
    pub(crate) fn other_value_serde(&self) -> Option<ErasedSerde> {
        self.serdes.other_value.clone()
    }
    pub(crate) fn name(&self) -> Option<&str> {
        self.rest.name.as_deref()
    }
    pub(crate) fn rest(&self) -> &StreamJoinedRest {
        &self.rest
    }
}
