//! Interactive queries: what is in an application's stores, asked from outside of its stream threads.
//!
//! Two ways lead there. [`KafkaStreams::store`](crate::KafkaStreams::store) gives a read-only view over all local
//! partitions of a store (KIP-67, KIP-562): [`ReadOnlyKeyValueStore`], [`ReadOnlyWindowStore`],
//! [`ReadOnlySessionStore`]. [`KafkaStreams::query`](crate::KafkaStreams::query) runs a [`Query`] on every partition
//! that a [`StateQueryRequest`] names and answers for each of them, with the [`Position`] it was at (KIP-796).
//!
//! A query is answered between two records of the thread that owns the store: it sees all that the records before it
//! have done, and nothing in part. Stores of standbys (`num.standby.replicas`) answer a view with
//! [`enable_stale_stores`](StoreQueryParameters::enable_stale_stores), and a request without
//! [`require_active`](StateQueryRequest::require_active): they have what is in their changelogs, a moment later, and their
//! position is what was committed when they were known to have all that had led to it. Under exactly-once it sees what is committed, unless it is for
//! [`IsolationLevel::ReadUncommitted`]; at least once it always sees all. It waits for its turn, so it must not be asked on a tokio worker that others need,
//! and is refused on a stream thread itself. Ranges come as a whole, as lists.

mod composite;
mod hosts;
mod key_value;
mod lag;
mod metadata;
mod position;
mod queried;
mod request;
mod result;
mod store_type;
#[cfg(test)]
mod tests;
mod versioned;
mod windowed;

pub use composite::{ReadOnlyKeyValueStore, ReadOnlySessionStore, ReadOnlyWindowStore};
pub(crate) use composite::{Scope, StoreSource, Visit};
pub use hosts::{HostInfo, KeyQueryMetadata, StreamsMetadata};
pub use key_value::{KeyQuery, RangeQuery, TimestampedKeyQuery, TimestampedRangeQuery};
pub use lag::LagInfo;
pub use metadata::{TaskMetadata, ThreadMetadata, ThreadState};
pub use position::{Position, PositionBound};
pub use queried::QueriedStore;
pub use request::{InStore, StateQueryRequest};
pub use result::{Answer, FailureReason, QueryFailure, QueryResult, StateQueryResult};
pub use store_type::{
    KeyValueStoreType, QueryableStoreType, QueryableStoreTypes, SessionStoreType, StoreQueryParameters, WindowStoreType,
};
pub use versioned::{MultiVersionedKeyQuery, VersionedKeyQuery};
pub use vltava_client::config::IsolationLevel;
pub use windowed::{WindowKeyQuery, WindowRangeQuery};

/// A question to one partition of a store.
pub trait Query: Send + Sync {
    /// What a partition answers.
    type Result: Answer;

    /// Whether the answer covers rows that are in the record cache only. Without it the answer is as of the last
    /// commit.
    #[doc(hidden)]
    fn reads_cache(&self) -> bool {
        true
    }

    /// Asks a store.
    ///
    /// # Errors
    /// Why the store does not answer: [`QueriedStore::unknown_query`] where it is not one for this query.
    fn run(&self, store: &mut QueriedStore<'_>) -> Result<Self::Result, QueryFailure>;
}

/// In which order the rows of a range come: by the bytes of their keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResultOrder {
    /// As the store has them, which is ascending.
    #[default]
    Any,
    /// The lowest first.
    Ascending,
    /// The highest first.
    Descending,
}

impl ResultOrder {
    pub(crate) fn order(self) -> crate::state::Order {
        match self {
            ResultOrder::Any | ResultOrder::Ascending => crate::state::Order::Forward,
            ResultOrder::Descending => crate::state::Order::Reverse,
        }
    }
}
