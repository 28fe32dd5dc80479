//! Where the partitions of stores are, over all instances that name themselves by `application.server` (KIP-67,
//! KIP-535).

use std::{collections::BTreeSet, fmt, str::FromStr};

use vltava_client::TopicPartition;
use vltava_config::ConfigError;

use crate::error::Error;

/// Host and port of an instance's own server, as `application.server` has them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostInfo {
    host: String,
    port: u16,
}

impl HostInfo {
    /// From both.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        HostInfo { host: host.into(), port }
    }

    /// The host.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Display for HostInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl FromStr for HostInfo {
    type Err = Box<Error>;

    fn from_str(endpoint: &str) -> Result<Self, Box<Error>> {
        match endpoint.rsplit_once(':').map(|(host, port)| (host, port.parse())) {
            Some((host, Ok(port))) if !host.is_empty() => Ok(HostInfo::new(host, port)),
            _ => Err(ConfigError::new("application.server", endpoint, "must be host:port").into()),
        }
    }
}

/// What one instance has.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamsMetadata {
    /// Where it is.
    pub host_info: HostInfo,
    /// The stores of which it has partitions.
    pub state_store_names: BTreeSet<String>,
    /// The partitions of source topics that it reads.
    pub topic_partitions: BTreeSet<TopicPartition>,
    /// The stores of which it has standbys.
    pub standby_state_store_names: BTreeSet<String>,
    /// The partitions of source topics that lead to those.
    pub standby_topic_partitions: BTreeSet<TopicPartition>,
}

/// Where a key of a store is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyQueryMetadata {
    /// The instance that has it; `None` where it does not tell its `application.server`, or nobody has it.
    pub active_host: Option<HostInfo>,
    /// The instances that have a standby of it, and tell where they are.
    pub standby_hosts: BTreeSet<HostInfo>,
    /// The partition; -1 of a global store.
    pub partition: i32,
}
