//! How the join of two streams is made: Kafka's `StreamJoined`.

use std::{collections::BTreeMap, fmt};

use super::materialized::StoreType;
use crate::{
    data::ErasedSerde,
    options::{Serdes, options},
    serdes::Serde,
    state::WindowSupplier,
    store::logging_setters,
};

options! {
    /// The names, serdes and stores of a join of two streams. `V` and `V2` are the plain value types of both sides.
    StreamJoined<K, V, V2>, name of "the operator, from which those of its nodes and repartition topics are made" {
        stores: StoresOfJoin = StoresOfJoin::default(),
    }
}

#[derive(Clone)]
pub(crate) struct StoresOfJoin {
    pub(crate) name: Option<String>,
    pub(crate) store_type: Option<StoreType>,
    pub(crate) this_supplier: Option<WindowSupplier>,
    pub(crate) other_supplier: Option<WindowSupplier>,
    pub(crate) logging: bool,
    pub(crate) log_config: BTreeMap<String, String>,
}

impl Default for StoresOfJoin {
    fn default() -> Self {
        let (this_supplier, other_supplier) = (None, None);
        let log_config = BTreeMap::new();
        StoresOfJoin { name: None, store_type: None, this_supplier, other_supplier, logging: true, log_config }
    }
}

impl<K: 'static, V: 'static, V2: 'static> StreamJoined<K, V, V2> {
    /// With a base for the names of the stores: Kafka's `StreamJoined.as`.
    #[must_use]
    pub fn stored_as(store_name: impl Into<String>) -> Self {
        Self::default().with_store_name(store_name)
    }
    /// A base for the names of the stores. Default: generated from the nodes.
    #[must_use]
    pub fn with_store_name(mut self, store_name: impl Into<String>) -> Self {
        self.stores.name = Some(store_name.into());
        self
    }
    /// On disk or in memory. Default: `dsl.store.suppliers.class`.
    #[must_use]
    pub fn with_store_type(mut self, store_type: StoreType) -> Self {
        self.stores.store_type = Some(store_type);
        self
    }
    /// The store of this stream's records. It must retain duplicates, its window size must be the join's, and its
    /// retention the join's with grace. As in Kafka it has a changelog, whatever is said of logging here.
    #[must_use]
    pub fn with_this_store_supplier(mut self, supplier: WindowSupplier) -> Self {
        self.stores.this_supplier = Some(supplier);
        self
    }
    /// The store of the other stream's records; see [`with_this_store_supplier`](Self::with_this_store_supplier).
    #[must_use]
    pub fn with_other_store_supplier(mut self, supplier: WindowSupplier) -> Self {
        self.stores.other_supplier = Some(supplier);
        self
    }
    logging_setters!(stores);
    pub(crate) fn other_value_serde(&self) -> Option<ErasedSerde> {
        self.serdes.other_value.clone()
    }
}
