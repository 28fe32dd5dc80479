//! What a running broker consists of, part by part. A handler is given those that its row in the list of APIs names.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::advertised::Advertised;
use crate::config::BrokerConfig;
use crate::controller::Controller;
use crate::controller::auto_creation::AutoTopicCreation;
use crate::coordinator::group::GroupCoordinator;
use crate::coordinator::transaction::{TransactionCoordinator, TransactionShards};
use crate::descriptors::Descriptors;
use crate::fetch_session::FetchSessions;
use crate::metadata::MetadataStore;
use crate::metrics::Metrics;
use crate::partitions::Partitions;
use crate::quota::ClientQuotas;
#[cfg(feature = "oauth")]
use crate::security::tokens::Tokens;

/// The parts of a running broker.
#[derive(Debug)]
pub(crate) struct Services {
    pub(crate) config: Arc<BrokerConfig>,
    pub(crate) metrics: Arc<Metrics>,
    /// What the broker runs on.
    pub(crate) runtime: tokio::runtime::Handle,
    pub(crate) advertised: Arc<Advertised>,
    pub(crate) metadata: Arc<MetadataStore>,
    pub(crate) controller: Arc<Controller>,
    pub(crate) topic_creation: Arc<AutoTopicCreation>,
    pub(crate) partitions: Arc<Partitions>,
    pub(crate) descriptors: Arc<Descriptors>,
    pub(crate) quotas: Arc<ClientQuotas>,
    pub(crate) fetch_sessions: Mutex<FetchSessions>,
    pub(crate) groups: Arc<GroupCoordinator>,
    pub(crate) transaction_shards: Arc<TransactionShards>,
    pub(crate) transactions: Arc<TransactionCoordinator>,
    #[cfg(feature = "oauth")]
    pub(crate) tokens: Tokens,
}
