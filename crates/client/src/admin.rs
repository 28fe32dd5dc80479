//! The admin client: topics, partitions, configurations, offsets, groups, users, quotas, transactions, features and
//! access control lists of a cluster.
//!
//! A call speaks of many entities at once and answers for each of them; an entity's failure is not the call's. What may
//! pass (a moved leader or coordinator, a lost connection) is tried again until `default.api.timeout.ms` is over.

pub mod acls;
mod cluster;
mod configs;
mod features;
mod group_offsets;
mod groups;
mod offsets;
mod quotas;
mod retry;
mod scram;
mod streams_groups;
mod topics;
mod transactions;

pub use cluster::{ClusterDescription, LogDirDescription, ReplicaInfo};
pub use configs::{AlterConfigOp, ConfigEntry, ConfigResource, ConfigSource, ConfigSynonym, ConfigType, ResourceType};
pub use features::{
    DescribeFeaturesOptions, FeatureMetadata, FeatureUpdate, FinalizedVersionRange, SupportedVersionRange,
    UpdateFeaturesOptions, UpgradeType,
};
pub use groups::{GroupDescription, GroupListing, ListGroupsOptions, MemberDescription, MemberToRemove};
pub use offsets::{ListOffsetsResult, OffsetSpec};
pub use quotas::{
    AlterClientQuotasOptions, ClientQuotaAlteration, ClientQuotaEntity, ClientQuotaFilter, QuotaEntityType,
};
pub use scram::{ScramCredentialInfo, ScramMechanism, UserScramCredentialAlteration};
pub use streams_groups::{
    StreamsGroupDescription, StreamsGroupMemberAssignment, StreamsGroupMemberDescription,
    StreamsGroupSubtopologyDescription, StreamsInternalTopic,
};
pub use topics::{
    CreatePartitionsOptions, CreateTopicsOptions, CreatedTopic, DeleteTopicsOptions, NewPartitions, NewTopic,
    TopicDescription, TopicListing, TopicPartitionInfo,
};
pub use transactions::{
    AbortTransactionSpec, FencedProducer, ListTransactionsOptions, ProducerState, TransactionDescription,
    TransactionListing, TransactionState,
};

use std::collections::BTreeMap;

use vltava_metrics::Snapshot;

use crate::config::AdminConfig;
use crate::error::ClientError;
use crate::net::Cluster;

/// An answer for each entity that was asked for.
pub type Results<K, T> = BTreeMap<K, Result<T, ClientError>>;

/// A client for administration. Cheap to clone; all clones share their connections.
///
/// Every call is cancel-safe in that nothing of it stays behind here; whether the broker carried it out is unknown.
///
/// # Examples
/// ```no_run
/// use vltava_client::admin::{Admin, NewTopic};
/// use vltava_client::AdminConfig;
///
/// # async fn run() -> Result<(), vltava_client::ClientError> {
/// let admin = Admin::new(AdminConfig::from_properties([("bootstrap.servers", "localhost:9092")])?)?;
/// let created = admin.create_topics([NewTopic::new("words").partitions(4)]).await;
/// for (topic, result) in created {
///     println!("{topic}: {}", result?.num_partitions);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Admin {
    cluster: Cluster,
    retries: u32,
}

impl Admin {
    /// A client of the cluster at `bootstrap.servers`. Connects when it is first used.
    ///
    /// # Errors
    /// [`ClientError::NoRuntime`] outside of a tokio runtime.
    pub fn new(config: AdminConfig) -> Result<Self, ClientError> {
        Ok(Self { cluster: Cluster::new(config.common())?, retries: config.retries })
    }

    /// The cluster underneath, for requests that have no call here.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// What this client has counted, under Kafka's names: `admin-client-metrics`, by broker `admin-client-node-metrics`.
    #[must_use]
    pub fn metrics(&self) -> Snapshot {
        self.cluster.metrics()
    }

    /// Closes all connections of this client and its clones.
    pub fn close(&self) {
        self.cluster.close();
    }

    /// What is left of the time of a call, in ms, for requests that carry a time limit of their own.
    fn timeout_ms(&self) -> i32 {
        i32::try_from(self.cluster.config().api_timeout.as_millis()).unwrap_or(i32::MAX)
    }
}
