//! The network layer under producer, consumer and admin client: connections, versions, metadata, coordinators.
//!
//! [`Cluster`] is what the clients hold: it knows the brokers, connects to them when they are needed, and sends any
//! request of the protocol in the highest version that both sides speak. A connection is one task, which writes requests
//! in the order in which they were handed over and matches the answers, which come in the same order.

mod api_versions;
mod cluster;
mod connection;
mod connector;
mod coordinator;
mod frame_reader;
mod frames;
mod metadata;
mod metadata_cache;
mod pool;
mod sasl;
mod security;
mod task;
mod throttle;
mod troubles;
mod within;

pub use api_versions::ApiVersions;
pub(crate) use api_versions::api_versions_request;
pub use cluster::{Cluster, SendOptions};
pub(crate) use connection::Condition;
pub use connection::{Connection, ConnectionOptions, PendingResponse};
pub use coordinator::CoordinatorType;
pub use metadata::{LeaderUpdate, MetadataSnapshot, Node, PartitionMetadata, TopicMetadata};
pub use pool::{ConnectionKey, Purpose};
pub(crate) use within::sleep_until;

#[cfg(test)]
mod tests;
