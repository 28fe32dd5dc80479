//! The broker's configuration: Kafka's keys of `server.properties`, checked against one table.
//!
//! A wrong value refuses to start and names the key, the value and what it takes. A key that Kafka
//! does not know warns with the nearest one it knows; a key that Kafka knows and this broker does
//! not act on warns too. Settings of topics derive from the broker's in [`resolve`].

mod broker_keys;
mod definition;
mod listener;
mod nearest;
mod properties;
pub(crate) mod resolve;
mod served;
mod topic_keys;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) use broker_keys::BROKER_KEYS;
pub use definition::{ConfigError, ConfigType};
pub(crate) use definition::{ConfigKey, Update, split_list};
pub use listener::Listener;
pub use properties::parse_properties;
pub(crate) use served::is_internal;
pub(crate) use topic_keys::{TOPIC_KEYS, broker_synonyms};

/// The checked configuration of a broker.
///
/// # Examples
///
/// ```
/// use vltava_broker::BrokerConfig;
///
/// let config = BrokerConfig::from_properties_text("num.partitions=4\nlog.dirs=/var/lib/vltava")?;
/// assert_eq!(config.long("num.partitions"), 4);
/// assert!(BrokerConfig::from_properties_text("num.partitions=0").is_err());
/// # Ok::<(), vltava_broker::ConfigError>(())
/// ```
#[derive(Debug, Clone)]
pub struct BrokerConfig {
    /// What was given, by key, in its checked form.
    given: BTreeMap<String, String>,
    warnings: Vec<String>,
    cluster_id: Option<String>,
    pub(crate) node_id: i32,
    pub(crate) log_dirs: Vec<PathBuf>,
    pub(crate) listeners: Vec<Listener>,
    pub(crate) advertised_listeners: Vec<Listener>,
    pub(crate) request_max_bytes: usize,
    pub(crate) connections_max_idle: Option<Duration>,
    pub(crate) auto_create_topics: bool,
    pub(crate) fetch_max_bytes: i32,
}

impl BrokerConfig {
    /// Checks the given pairs of Kafka keys and values; a key given twice takes the last value.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the first key whose value is refused, the value, and what it takes.
    pub fn from_properties<K, V>(pairs: impl IntoIterator<Item = (K, V)>) -> Result<Self, ConfigError>
    where
        K: Into<String>,
        V: Into<String>,
    {
        let mut given = BTreeMap::new();
        for (key, value) in pairs {
            given.insert(key.into(), value.into());
        }
        let mut warnings = Vec::new();
        for (name, value) in &mut given {
            match find(BROKER_KEYS, name) {
                Some(key) => *value = key.parse(value)?,
                None => *value = value.trim().to_owned(),
            }
            warnings.extend(served::warning(name));
        }
        Self::with_checked(given, warnings)
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
        let more = [(key.to_owned(), value.to_owned())];
        let mut changed = Self::from_properties(self.given.into_iter().chain(more))?;
        changed.cluster_id = self.cluster_id;
        Ok(changed)
    }

    /// This configuration with the cluster id that an empty directory is formatted with; drawn at
    /// random if none is given.
    #[must_use]
    pub fn with_cluster_id(mut self, cluster_id: impl Into<String>) -> Self {
        self.cluster_id = Some(cluster_id.into());
        self
    }

    /// What is worth telling whoever wrote the configuration: unknown keys, keys without effect.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The value of `key` as text: what was given, or Kafka's default.
    pub fn text(&self, key: &str) -> Option<&str> {
        match self.given.get(key) {
            Some(value) => Some(value),
            None => find(BROKER_KEYS, key).and_then(|row| row.default),
        }
    }

    /// The value of an integer `key`; 0 for a key that is not an integer or not set.
    pub fn long(&self, key: &str) -> i64 {
        self.text(key).and_then(|value| value.parse().ok()).unwrap_or(0)
    }

    /// The value of an integer `key` as 32 bits.
    pub fn int(&self, key: &str) -> i32 {
        let value = self.long(key).clamp(i64::from(i32::MIN), i64::from(i32::MAX));
        i32::try_from(value).unwrap_or(0)
    }

    /// The value of a floating point `key`; 0 for a key that is not a number or not set.
    pub fn double(&self, key: &str) -> f64 {
        self.text(key).and_then(|value| value.parse().ok()).unwrap_or(0.0)
    }

    /// The value of a boolean `key`; false for a key that is not set.
    pub fn boolean(&self, key: &str) -> bool {
        self.text(key) == Some("true")
    }

    /// The value of an integer `key` in milliseconds as a duration; zero if negative.
    pub fn duration_ms(&self, key: &str) -> Duration {
        Duration::from_millis(u64::try_from(self.long(key)).unwrap_or(0))
    }

    /// What was given, by key.
    pub(crate) fn given(&self) -> &BTreeMap<String, String> {
        &self.given
    }

    pub(crate) fn cluster_id(&self) -> Option<&str> {
        self.cluster_id.as_deref()
    }

    /// How many replicas an internal topic gets: what was asked for, at most one per broker.
    pub(crate) fn internal_replication_factor(&self) -> i16 {
        1
    }

    fn with_checked(given: BTreeMap<String, String>, warnings: Vec<String>) -> Result<Self, ConfigError> {
        let mut config = Self {
            given,
            warnings,
            cluster_id: None,
            node_id: 0,
            log_dirs: Vec::new(),
            listeners: Vec::new(),
            advertised_listeners: Vec::new(),
            request_max_bytes: 0,
            connections_max_idle: None,
            auto_create_topics: false,
            fetch_max_bytes: 0,
        };
        config.node_id = match config.given.get("broker.id") {
            Some(id) if !config.given.contains_key("node.id") && id != "-1" => config.int("broker.id"),
            _ => config.int("node.id"),
        };
        config.log_dirs = config.read_log_dirs()?;
        config.read_listeners()?;
        config.request_max_bytes = usize::try_from(config.long("socket.request.max.bytes")).unwrap_or(0);
        config.connections_max_idle =
            u64::try_from(config.long("connections.max.idle.ms")).ok().map(Duration::from_millis);
        config.auto_create_topics = config.boolean("auto.create.topics.enable");
        config.fetch_max_bytes = config.int("fetch.max.bytes");
        resolve::check_lags(&config)?;
        Ok(config)
    }

    /// Where the metadata log is: `metadata.log.dir`, or else the first of `log.dirs`.
    pub(crate) fn metadata_log_dir(&self) -> &Path {
        match self.text("metadata.log.dir") {
            Some(dir) => Path::new(dir),
            None => self.log_dirs.first().map_or(Path::new(""), PathBuf::as_path),
        }
    }

    fn read_log_dirs(&self) -> Result<Vec<PathBuf>, ConfigError> {
        let value = self.text("log.dirs").or_else(|| self.text("log.dir")).unwrap_or_default();
        let entries = split_list(value);
        if entries.is_empty() || entries.contains(&"") {
            return Err(ConfigError::new("log.dirs", value, "At least one log directory must be defined"));
        }
        Ok(entries.into_iter().map(PathBuf::from).collect())
    }

    fn read_listeners(&mut self) -> Result<(), ConfigError> {
        let value = self.text("listeners").unwrap_or_default().to_owned();
        let map = self.text("listener.security.protocol.map").unwrap_or_default();
        let controllers = split_list(self.text("controller.listener.names").unwrap_or_default());
        let is_controller = |name: &str| controllers.iter().any(|known| known.eq_ignore_ascii_case(name));
        let all = listener::parse_listeners("listeners", &value)?;
        for listener in &all {
            listener::check_protocol(&listener.name, map, is_controller(&listener.name))?;
        }
        let listeners: Vec<Listener> = all.into_iter().filter(|l| !is_controller(&l.name)).collect();
        if listeners.is_empty() {
            return Err(ConfigError::new("listeners", &value, "There must be at least one broker listener"));
        }
        let advertised = match self.text("advertised.listeners") {
            None => listeners.clone(),
            Some(value) => {
                let all = listener::parse_listeners("advertised.listeners", value)?;
                let advertised: Vec<Listener> = all.into_iter().filter(|l| !is_controller(&l.name)).collect();
                for listener in &advertised {
                    if !listeners.iter().any(|l| l.name == listener.name) {
                        let reason = format!("advertised listener {} is not in listeners", listener.name);
                        return Err(ConfigError::new("advertised.listeners", value, reason));
                    }
                    if listener.host == "0.0.0.0" {
                        let reason = "advertised.listeners cannot use the nonroutable meta-address 0.0.0.0";
                        return Err(ConfigError::new("advertised.listeners", value, reason));
                    }
                }
                advertised
            }
        };
        self.listeners = listeners;
        self.advertised_listeners = advertised;
        Ok(())
    }
}

/// The row of `name` in a table sorted by name.
pub(crate) fn find<'a>(table: &'a [ConfigKey], name: &str) -> Option<&'a ConfigKey> {
    table.binary_search_by(|key| key.name.cmp(name)).ok().and_then(|at| table.get(at))
}

#[cfg(test)]
mod tests;
