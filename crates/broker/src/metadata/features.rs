//! The features of a cluster that this broker knows, and the levels a new directory begins with.

/// A feature and the levels of it that are understood.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Feature {
    pub(crate) name: &'static str,
    pub(crate) min_version: i16,
    pub(crate) max_version: i16,
    /// What an empty directory is formatted with; 0 is off.
    pub(crate) initial_level: i16,
}

/// The feature of the transaction protocol: 1 has records with tagged fields, 2 another epoch for every transaction and
/// partitions that brokers add (KIP-890).
pub(crate) const TRANSACTION_VERSION: &str = "transaction.version";

/// The feature of the form of the metadata.
pub(crate) const METADATA_VERSION: &str = "metadata.version";

/// The feature of replicas that may lead though they are not in sync (KIP-966).
pub(crate) const ELIGIBLE_LEADER_REPLICAS_VERSION: &str = "eligible.leader.replicas.version";

/// The feature of streams groups (KIP-1071).
pub(crate) const STREAMS_VERSION: &str = "streams.version";

/// Kafka 4.3's `metadata.version` is 30, its lowest 7. The records that this broker writes are
/// those of level 30; features that stand for APIs it does not serve are not here.
pub(crate) static SUPPORTED_FEATURES: &[Feature] = &[
    Feature { name: METADATA_VERSION, min_version: 7, max_version: 30, initial_level: 30 },
    Feature { name: "group.version", min_version: 0, max_version: 1, initial_level: 1 },
    Feature { name: TRANSACTION_VERSION, min_version: 0, max_version: 2, initial_level: 2 },
    Feature { name: ELIGIBLE_LEADER_REPLICAS_VERSION, min_version: 0, max_version: 1, initial_level: 1 },
    Feature { name: STREAMS_VERSION, min_version: 0, max_version: 1, initial_level: 1 },
];
