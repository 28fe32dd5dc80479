//! The broker's configuration: Kafka's keys of `server.properties`, checked against one table and read once into typed
//! fields.
//!
//! A wrong value refuses to start and names the key, the value and what it takes; so does a key whose effect would be
//! missed, above all one that secures. A key that Kafka does not know warns with the nearest one it knows; a key that Kafka
//! knows and this broker does not act on warns too. Settings of topics derive from the broker's in [`resolve`].

mod authorizer;
mod change;
pub(crate) mod connections;
pub(crate) mod dynamic;
pub(crate) mod group_keys;
mod groups;
pub(crate) mod keys;
mod listener;
mod read;
pub(crate) mod resolve;
mod sasl;
#[cfg(feature = "tls")]
pub(crate) mod ssl;
#[cfg(feature = "oauth")]
pub(crate) mod tokens;
mod topic_keys;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub(crate) use authorizer::is_authorizer_key;
pub(crate) use change::ConfigChange;
pub(crate) use keys::{broker_key, broker_keys};
pub use listener::Listener;
pub(crate) use sasl::{ListenerSasl, is_own_key as is_sasl_key};
pub(crate) use topic_keys::{broker_synonyms, gives_a_topic_default, topic_key, topic_keys};
use tracing::level_filters::LevelFilter;
use vltava_config::Settings;
pub use vltava_config::{ConfigError, ConfigWarning, Definition, parse_properties};
use vltava_log::DynamicLogSettings;
use vltava_metrics::MetricConfig;
use vltava_security::SecurityProtocol;
use vltava_security::sasl::scram::AddScram;

#[cfg(feature = "tls")]
use self::ssl::ListenerSsl;
use crate::coordinator::group::GroupCoordinatorConfig;
use crate::coordinator::transaction::TransactionCoordinatorConfig;
use crate::log_levels::{ApplyLogLevels, LogLevels};
use crate::quota::Windows;
use crate::security::authorizer::Authorizer;

/// The checked configuration of a broker.
///
/// # Examples
///
/// ```
/// use vltava_broker::BrokerConfig;
///
/// let config = BrokerConfig::from_properties_text("num.partitions=4\nlog.dirs=/var/lib/vltava")?;
/// assert_eq!(config.text("num.partitions"), Some("4"));
/// assert!(BrokerConfig::from_properties_text("num.partitions=0").is_err());
/// # Ok::<(), vltava_broker::ConfigError>(())
/// ```
#[derive(Debug, Clone)]
pub struct BrokerConfig {
    /// What DescribeConfigs tells of.
    settings: Settings,
    cluster_id: Option<String>,
    pub(crate) node_id: i32,
    pub(crate) rack: Option<String>,
    pub(crate) log_dirs: Vec<PathBuf>,
    /// Where metrics and health are served over HTTP; nowhere by default.
    pub(crate) metrics_http_address: Option<String>,
    /// Over which windows metrics are kept.
    pub(crate) metrics: MetricConfig,
    metadata_log_dir: Option<PathBuf>,
    pub(crate) listeners: Vec<Listener>,
    pub(crate) advertised_listeners: Vec<Listener>,
    protocols: BTreeMap<String, SecurityProtocol>,
    /// The one that brokers use among themselves.
    pub(crate) inter_broker_listener: String,
    /// Of each listener with TLS.
    #[cfg(feature = "tls")]
    pub(crate) ssl: BTreeMap<String, ListenerSsl>,
    /// How the clients of a listener authenticate, by its name: of those that ask for it.
    sasl: BTreeMap<String, Arc<ListenerSasl>>,
    added_users: Vec<AddScram>,
    /// Of what the process logs.
    pub(crate) log_levels: LogLevels,
    /// Where somebody asked for one.
    pub(crate) backlog: Option<i32>,
    /// `None` leaves it to the operating system.
    pub(crate) receive_buffer: Option<usize>,
    /// `None` leaves it to the operating system.
    pub(crate) send_buffer: Option<usize>,
    pub(crate) queued_max_requests: usize,
    /// In which the uses of clients are looked at.
    pub(crate) quota_windows: Windows,
    /// The same of what clients change of the metadata.
    pub(crate) controller_quota_windows: Windows,
    /// The memory that requests may take together, in bytes; none of 0 and below limits it.
    pub(crate) queued_max_request_bytes: i64,
    /// Whether `group.coordinator.rebalance.protocols` names it.
    pub(crate) serves_consumer_protocol: bool,
    /// Whether `group.coordinator.rebalance.protocols` names it.
    pub(crate) serves_streams_protocol: bool,
    pub(crate) request_max_bytes: usize,
    pub(crate) max_decompressed_batch_bytes: usize,
    pub(crate) connections_max_idle: Option<Duration>,
    /// `num.network.threads` and `num.io.threads` together.
    pub(crate) threads: usize,
    pub(crate) auto_create_topics: bool,
    pub(crate) delete_topic_enable: bool,
    pub(crate) num_partitions: i32,
    pub(crate) default_replication_factor: i32,
    pub(crate) fetch_max_bytes: i32,
    pub(crate) fetch_session_slots: usize,
    pub(crate) max_request_partition_size_limit: i32,
    /// Of the offsets topic.
    pub(crate) offsets_topic_num_partitions: i32,
    pub(crate) offsets_topic_segment_bytes: i32,
    pub(crate) groups: GroupCoordinatorConfig,
    pub(crate) transaction_topic: TransactionTopicConfig,
    pub(crate) transactions: TransactionCoordinatorConfig,
    pub(crate) upkeep: UpkeepConfig,
    pub(crate) log_cleaner_enable: bool,
    pub(crate) verification: VerificationConfig,
    /// Where `authorizer.class.name` names one.
    pub(crate) authorizer: Option<Arc<Authorizer>>,
}

/// How partitions ask for transactions.
#[derive(Debug, Clone)]
pub(crate) struct VerificationConfig {
    /// Between two requests to add a partition, while the transaction before is being ended.
    pub(crate) add_retry_backoff: Duration,
    /// After this long it is the client that has to try again.
    pub(crate) add_retry_backoff_max: Duration,
}

/// What `__transaction_state` is created with.
#[derive(Debug, Clone)]
pub(crate) struct TransactionTopicConfig {
    pub(crate) num_partitions: i32,
    pub(crate) segment_bytes: i32,
}

/// When the logs are looked after, in ms.
#[derive(Debug, Clone)]
pub(crate) struct UpkeepConfig {
    pub(crate) retention_check_interval_ms: i64,
    pub(crate) flush_scheduler_interval_ms: i64,
    pub(crate) recovery_point_checkpoint_interval_ms: i64,
    pub(crate) log_start_offset_checkpoint_interval_ms: i64,
    pub(crate) high_watermark_checkpoint_interval_ms: i64,
    pub(crate) initial_task_delay_ms: i64,
    pub(crate) producer_id_expiration_check_interval_ms: i64,
    /// What may change while the broker runs.
    pub(crate) dynamic: Arc<DynamicLogSettings>,
}

impl BrokerConfig {
    /// Checks the given pairs of Kafka keys and values; a key given twice takes the last value.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the first key whose value is refused, the value, and what it takes.
    pub fn from_properties<K, V>(pairs: impl IntoIterator<Item = (K, V)>) -> Result<Self, ConfigError>
    where
        K: AsRef<str>,
        V: AsRef<str>,
    {
        let pairs: Vec<(K, V)> = pairs.into_iter().collect();
        let given = pairs.iter().map(|(key, value)| (key.as_ref(), value.as_ref()));
        let authorizer = given.clone().filter(|(key, _)| *key == authorizer::CLASS_NAME).last();
        let is_authorized = authorizer.is_some_and(|(_, class)| !class.trim().is_empty());
        let foreign = |name: &str| keys::foreign(name, is_authorized);
        let settings = Settings::parse_with(keys::BROKER, given, foreign)?;
        let config = Self::read(&settings.reader(), settings.clone())?;
        keys::check_listener_keys(&settings)?;
        resolve::check_lags(&config)?;
        Ok(config)
    }

    /// Kafka's defaults.
    #[cfg(test)]
    pub(crate) fn of_defaults() -> Self {
        Self::from_properties::<&str, &str>([]).unwrap()
    }

    /// As [`Self::from_properties`], from the text of a `server.properties` file.
    ///
    /// # Errors
    ///
    /// As [`Self::from_properties`].
    pub fn from_properties_text(text: &str) -> Result<Self, ConfigError> {
        Self::from_properties(parse_properties(text))
    }

    /// This configuration with one more key set.
    ///
    /// # Errors
    ///
    /// As [`Self::from_properties`].
    pub fn with(self, key: &str, value: &str) -> Result<Self, ConfigError> {
        let mut changed = Self::from_properties(self.settings.all_given().chain([(key, value)]))?;
        changed.cluster_id = self.cluster_id;
        changed.added_users = self.added_users;
        changed.log_levels = self.log_levels;
        Ok(changed)
    }

    /// This configuration with the cluster id that an empty directory is formatted with; drawn at
    /// random if none is given.
    #[must_use]
    pub fn with_cluster_id(mut self, cluster_id: impl Into<String>) -> Self {
        self.cluster_id = Some(cluster_id.into());
        self
    }

    /// This configuration with a user of SCRAM that the broker is to have from its start on, as those of `kafka-storage format
    /// --add-scram`. Who has a password of the same mechanism already keeps it.
    #[must_use]
    pub fn with_scram_user(mut self, user: AddScram) -> Self {
        self.added_users.push(user);
        self
    }

    /// This configuration with a way to change what the process logs while it runs (KIP-412): all loggers have `level` now,
    /// and `apply` brings other levels into force. Without it they are told and not altered.
    #[must_use]
    pub fn with_log_levels(mut self, level: LevelFilter, apply: Box<ApplyLogLevels>) -> Self {
        self.log_levels = LogLevels::new(level, apply);
        self
    }

    /// The table of all keys.
    pub fn definitions() -> impl Iterator<Item = &'static Definition> {
        broker_keys()
    }

    /// The settings that a group can have for itself (KIP-848).
    pub fn group_definitions() -> impl Iterator<Item = &'static Definition> {
        group_keys::GROUP_SETTINGS.iter().copied().flatten()
    }

    /// The settings of a topic, of which the broker's give the defaults.
    pub fn topic_definitions() -> impl Iterator<Item = &'static Definition> {
        topic_keys()
    }

    /// What is worth telling whoever wrote the configuration: unknown keys, keys without effect.
    pub fn warnings(&self) -> &[ConfigWarning] {
        self.settings.warnings()
    }

    /// The value of `key` as text: what was given, or Kafka's default.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.settings.text(key)
    }

    /// What was given.
    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// How the connections of the listener of this name are secured.
    pub(crate) fn security_protocol(&self, listener: &str) -> SecurityProtocol {
        self.protocols.get(listener).copied().unwrap_or(SecurityProtocol::Plaintext)
    }

    pub(crate) fn cluster_id(&self) -> Option<&str> {
        self.cluster_id.as_deref()
    }

    pub(crate) fn added_users(&self) -> &[AddScram] {
        &self.added_users
    }

    /// How the clients of a listener authenticate; nothing where they need not.
    pub(crate) fn sasl(&self, listener: &str) -> Option<&Arc<ListenerSasl>> {
        self.sasl.get(listener)
    }

    /// How many replicas an internal topic gets: what was asked for, at most one per broker.
    pub(crate) fn internal_replication_factor(&self) -> i16 {
        1
    }

    /// Where the metadata log is: `metadata.log.dir`, or else the first of `log.dirs`.
    pub(crate) fn metadata_log_dir(&self) -> &Path {
        let first = self.log_dirs.first();
        self.metadata_log_dir.as_ref().or(first).map_or(Path::new(""), PathBuf::as_path)
    }
}

#[cfg(test)]
mod tests;
