//! Tables: the newest value of every key, and the operators on them.

mod derived;
mod filter;
mod foreign_key;
mod group_by;
mod join;
mod map_values;
pub(crate) mod materialize;
pub(crate) mod source;
mod suppress;
pub(crate) mod table_store;
mod to_stream;
mod transform_values;

use std::{collections::BTreeSet, rc::Rc, sync::Arc};

pub use transform_values::{TransformerContext, ValueTransformerWithKey};

use crate::{
    builder::{NodeId, Shared},
    data::{ErasedSerde, Flow},
    error::Result,
    record::ValueAndTimestamp,
    task::TaskCtx,
};

/// A table: a stream of changes to rows that are known by their key.
///
/// Keys and values are never null: a row without value does not exist. Whether rows are kept in a store depends on
/// what is asked of the table; a table with a name for its store always has one.
///
/// Operators keep the keys, so nothing is repartitioned but by [`group_by`](Self::group_by) and the joins by foreign key. A
/// change that is older than the row it changes counts all the same, in the order of arrival, unless the table is versioned.
/// A store that is made has the changelog topic `APPLICATION-STORE-changelog`. An error or panic of a function goes to the
/// [processing exception handler](crate::handler) with node, task and record.
pub struct KTable<K, V> {
    pub(crate) graph: Shared,
    pub(crate) node: NodeId,
    pub(crate) name: Rc<str>,
    pub(crate) sources: Rc<BTreeSet<String>>,
    pub(crate) key_serde: Option<ErasedSerde>,
    pub(crate) value_serde: Option<ErasedSerde>,
    pub(crate) queryable: Option<String>,
    pub(crate) supplier: Arc<dyn TableSupplier<K, V>>,
}

impl<K, V> Clone for KTable<K, V> {
    fn clone(&self) -> Self {
        KTable {
            graph: self.graph.clone(),
            node: self.node,
            name: self.name.clone(),
            sources: self.sources.clone(),
            key_serde: self.key_serde.clone(),
            value_serde: self.value_serde.clone(),
            queryable: self.queryable.clone(),
            supplier: self.supplier.clone(),
        }
    }
}

impl<K, V> std::fmt::Debug for KTable<K, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KTable").field("name", &self.name).field("store", &self.queryable).finish_non_exhaustive()
    }
}

impl<K, V> KTable<K, V> {
    pub(crate) fn new(
        graph: &Shared,
        node: NodeId,
        name: &str,
        sources: Rc<BTreeSet<String>>,
        supplier: Arc<dyn TableSupplier<K, V>>,
    ) -> Self {
        let graph = graph.clone();
        KTable {
            graph,
            node,
            name: name.into(),
            sources,
            key_serde: None,
            value_serde: None,
            queryable: None,
            supplier,
        }
    }

    pub(crate) fn with_serdes(self, key_serde: Option<ErasedSerde>, value_serde: Option<ErasedSerde>) -> Self {
        KTable { key_serde, value_serde, ..self }
    }

    pub(crate) fn with_queryable(self, queryable: Option<String>) -> Self {
        KTable { queryable, ..self }
    }

    /// The name of the store that holds the rows, if the user named one.
    #[must_use]
    pub fn queryable_store_name(&self) -> Option<&str> {
        self.queryable.as_deref()
    }
}

/// What a table can do for those below it.
pub(crate) trait TableSupplier<K, V>: Send + Sync {
    /// Asks for old values in its changes; a source without store gets one if that is `forced`. Whether they will come.
    fn enable_sending_old_values(&self, force: bool) -> bool;
    /// A way to read its rows, for which a source without store gets one.
    fn view(&self) -> Arc<dyn ValueGetter<K, V>>;
}

/// Reads the rows of a table: from a store, or through other tables.
pub(crate) trait ValueGetter<K, V>: Send + Sync {
    /// The row of a key.
    fn get(&self, ctx: &mut TaskCtx, key: &K) -> Result<Option<ValueAndTimestamp<V>>>;
    /// The row of a key as it was at a time, where the table is versioned.
    fn get_as_of(&self, ctx: &mut TaskCtx, key: &K, _as_of: i64) -> Result<Option<ValueAndTimestamp<V>>> {
        self.get(ctx, key)
    }
    /// Whether old versions of rows can be read.
    fn is_versioned(&self) -> bool {
        false
    }
    /// The stores that a node must be connected to.
    fn stores(&self, ids: &mut Vec<usize>);
}

impl<K: Flow, V: Flow> KTable<K, V> {
    pub(crate) fn enable_sending_old_values(&self, force: bool) -> bool {
        self.supplier.enable_sending_old_values(force)
    }
}
