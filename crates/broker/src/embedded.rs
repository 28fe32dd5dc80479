//! A broker inside of a process: for tests, examples and applications that bring their own.

use tempfile::TempDir;

use crate::config::BrokerConfig;
pub use crate::{AddScram, BrokerError, ConfigError};

/// A broker on a free port of this machine, ready in milliseconds, stopped when dropped.
///
/// # Examples
///
/// ```
/// use vltava_broker::embedded;
///
/// let broker = embedded::Broker::start(embedded::Config::default())?;
/// assert!(broker.bootstrap_servers().starts_with("127.0.0.1:"));
/// # Ok::<(), vltava_broker::BrokerError>(())
/// ```
#[derive(Debug)]
pub struct Broker {
    broker: crate::Broker,
    /// Removed after the broker has stopped: fields are dropped in this order.
    _dir: Option<TempDir>,
}

/// What an embedded broker is to be like; by default it listens on 127.0.0.1 at a free port and
/// keeps its data in a temporary directory.
///
/// Some defaults are not Kafka's. Groups form without waiting for more members
/// (`group.initial.rebalance.delay.ms`, `group.streams.initial.rebalance.delay.ms` and both kinds'
/// `assignment.interval.ms` are 0), and nothing is deleted because of its age (`log.retention.ms` is -1, not seven days): records of
/// tests and examples often bear timestamps of long ago. A topic's own `retention.ms` and the
/// broker's keys, where they are given, act as in Kafka.
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct Config {
    properties: Vec<(String, String)>,
    dir: Option<std::path::PathBuf>,
    cluster_id: Option<String>,
    users: Vec<AddScram>,
}

impl Config {
    /// Keeps the data in `dir`, where a later broker finds it again.
    pub fn dir(mut self, dir: impl Into<std::path::PathBuf>) -> Self {
        self.dir = Some(dir.into());
        self
    }

    /// Sets a key of `server.properties`. Checked when the broker starts.
    pub fn property(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.properties.push((key.into(), value.into()));
        self
    }

    /// Adds a user of SCRAM, if there is none of that name; see [`BrokerConfig::with_scram_user`].
    pub fn scram_user(mut self, user: AddScram) -> Self {
        self.users.push(user);
        self
    }

    /// The id of the cluster, for a new directory; drawn if none is given.
    pub fn cluster_id(mut self, cluster_id: impl Into<String>) -> Self {
        self.cluster_id = Some(cluster_id.into());
        self
    }

    fn broker_config(&self, dir: &std::path::Path) -> Result<BrokerConfig, ConfigError> {
        // A group of one process need not wait for others to join.
        let mut defaults = vec![
            ("listeners".to_owned(), "PLAINTEXT://127.0.0.1:0".to_owned()),
            ("log.dirs".to_owned(), dir.display().to_string()),
            ("group.initial.rebalance.delay.ms".to_owned(), "0".to_owned()),
            ("group.consumer.assignment.interval.ms".to_owned(), "0".to_owned()),
            ("group.streams.initial.rebalance.delay.ms".to_owned(), "0".to_owned()),
            ("group.streams.assignment.interval.ms".to_owned(), "0".to_owned()),
        ];
        let retention = ["log.retention.ms", "log.retention.minutes", "log.retention.hours"];
        if !self.properties.iter().any(|(key, _)| retention.contains(&key.as_str())) {
            defaults.push(("log.retention.ms".to_owned(), "-1".to_owned()));
        }
        let config = BrokerConfig::from_properties(defaults.into_iter().chain(self.properties.iter().cloned()))?;
        let config = self.users.iter().cloned().fold(config, BrokerConfig::with_scram_user);
        Ok(match &self.cluster_id {
            Some(id) => config.with_cluster_id(id),
            None => config,
        })
    }
}

impl Broker {
    /// Starts a broker; when this returns, it serves.
    ///
    /// # Errors
    ///
    /// As [`crate::Broker::start`].
    pub fn start(config: Config) -> Result<Self, BrokerError> {
        let (dir, temporary) = match &config.dir {
            Some(dir) => (dir.clone(), None),
            None => {
                let made = tempfile::Builder::new().prefix("vltava-").tempdir();
                let made = made.map_err(|e| BrokerError::io("create", &std::env::temp_dir(), e))?;
                (made.path().to_owned(), Some(made))
            }
        };
        let broker = crate::Broker::start(config.broker_config(&dir)?)?;
        Ok(Self { broker, _dir: temporary })
    }

    /// The `host:port` that clients connect to.
    pub fn bootstrap_servers(&self) -> &str {
        self.broker.bootstrap_servers()
    }

    /// The id of the cluster.
    pub fn cluster_id(&self) -> &str {
        self.broker.cluster_id()
    }

    /// All metrics as text for Prometheus; see [`crate::Broker::metrics`].
    pub fn metrics(&self) -> String {
        self.broker.metrics()
    }

    /// The address that metrics and health are served at over HTTP, where `metrics.http.address` gives one.
    pub fn metrics_address(&self) -> Option<std::net::SocketAddr> {
        self.broker.metrics_address()
    }

    /// Whether going on makes sense, in words; see [`crate::Broker::health`].
    ///
    /// # Errors
    /// What is wrong, as text.
    pub fn health(&self) -> Result<String, String> {
        self.broker.health()
    }

    /// Stops the broker and waits until it has stopped. Dropping it does the same, and blocks.
    pub async fn shutdown(self) {
        self.broker.shutdown().await;
    }

    /// Waits until the broker ends by itself, and says why; see [`crate::Broker::failed`].
    ///
    /// Cancel-safe.
    pub async fn failed(&mut self) -> BrokerError {
        self.broker.failed().await
    }

    /// Ends the broker as a kill of its process would. For tests of recovery.
    pub fn abort(self) {
        self.broker.abort();
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::Config;
    use crate::config::resolve::Sources;

    #[test]
    fn old_records_stay_unless_somebody_asks_for_retention() {
        let retention = |config: Config| {
            let config = config.broker_config(Path::new("data")).unwrap();
            Sources::static_only(&config).topic_settings(None)["retention.ms"].clone()
        };
        assert_eq!(retention(Config::default()), "-1");
        assert_eq!(retention(Config::default().property("log.retention.ms", "5")), "5");
        assert_eq!(retention(Config::default().property("log.retention.minutes", "2")), "120000");
        assert_eq!(retention(Config::default().property("log.retention.hours", "1")), "3600000");
    }
}
