//! The admin client's configuration.

use vltava_config::{ConfigError, ConfigWarning, Definition, Importance, Kind, Range, Reader, Settings, Tables};

use super::common::{COMMON, CommonConfig};
use super::security::SECURITY;
use super::{common_setters, setters};
use crate::error::ClientError;

pub(super) const TABLES: Tables = &[COMMON, SECURITY, ADMIN];

const ADMIN: &[Definition] = &[
    Definition::new("bootstrap.controllers", Kind::List, Some(""), Range::Any, "Controllers to talk to directly.")
        .importance(Importance::High)
        .refused("only bootstrap.servers is supported yet"),
    Definition::new(
        "bootstrap.servers",
        Kind::List,
        Some(""),
        Range::Any,
        "host:port, separated by commas, from which the cluster is found.",
    )
    .importance(Importance::High),
    Definition::new(
        "connections.max.idle.ms",
        Kind::Long,
        Some("300000"),
        Range::Any,
        "An unused connection is closed after this time, in ms; negative for never.",
    ),
    Definition::new(
        "default.api.timeout.ms",
        Kind::Int,
        Some("60000"),
        Range::AtLeast(0),
        "How long a call without a time limit of its own may take, in ms.",
    ),
    Definition::new(
        "enable.metrics.push",
        Kind::Boolean,
        Some("false"),
        Range::Any,
        "Whether metrics are pushed to the broker (KIP-714).",
    )
    .importance(Importance::Low)
    .warned("metrics are not pushed yet"),
    Definition::new(
        "receive.buffer.bytes",
        Kind::Int,
        Some("65536"),
        Range::AtLeast(-1),
        "The socket's receive buffer in bytes; -1 leaves it to the operating system.",
    ),
    Definition::new(
        "retries",
        Kind::Int,
        Some("2147483647"),
        Range::Between(0, 2_147_483_647),
        "How often a request is made again after an error that may pass; default.api.timeout.ms ends it earlier.",
    )
    .importance(Importance::Low),
];

/// The admin client's settings, checked.
#[derive(Debug, Clone)]
pub struct AdminConfig {
    pub(crate) common: CommonConfig,
    pub(crate) retries: u32,
    warnings: Vec<ConfigWarning>,
}

impl AdminConfig {
    /// Starts a typed builder.
    pub fn builder() -> AdminConfigBuilder {
        AdminConfigBuilder { properties: Vec::new() }
    }

    /// Checks settings given by Kafka's keys, as a properties file has them.
    ///
    /// # Errors
    /// [`ClientError::Config`] naming the key, the value and the range. An unknown key is no error but a
    /// [warning](Self::warnings).
    pub fn from_properties<K, V>(properties: impl IntoIterator<Item = (K, V)>) -> Result<Self, ClientError>
    where
        K: AsRef<str>,
        V: AsRef<str>,
    {
        let settings = Settings::parse(TABLES, properties)?;
        settings.log_warnings();
        Ok(Self::read(&settings.reader())?)
    }

    pub(super) fn read(settings: &Reader<'_>) -> Result<Self, ConfigError> {
        let mut common = CommonConfig::read(settings, "adminclient")?;
        common.api_timeout = settings.duration("default.api.timeout.ms")?;
        let retries = u32::try_from(settings.size("retries")?).unwrap_or(u32::MAX);
        Ok(Self { common, retries, warnings: settings.warnings() })
    }

    /// The table of all keys.
    pub fn definitions() -> impl Iterator<Item = &'static Definition> {
        TABLES.iter().flat_map(|table| table.iter())
    }

    /// What was accepted though it has no effect. Also logged.
    #[must_use]
    pub fn warnings(&self) -> &[ConfigWarning] {
        &self.warnings
    }

    /// Bootstrap, connections, metadata, retries.
    #[must_use]
    pub fn common(&self) -> &CommonConfig {
        &self.common
    }
}

/// Typed setters over the table of definitions; see [`AdminConfig`].
#[derive(Clone, Default)]
#[must_use]
pub struct AdminConfigBuilder {
    properties: Vec<(String, String)>,
}

super::debug_builder!(AdminConfigBuilder);

impl AdminConfigBuilder {
    common_setters!();

    setters! {
        /// `default.api.timeout.ms`, default 60 s: how long a call as a whole may take, retries included.
        default_api_timeout: duration = "default.api.timeout.ms";
        /// `retries`, default 2147483647.
        retries: int = "retries";
    }

    /// Checks everything.
    ///
    /// # Errors
    /// As [`AdminConfig::from_properties`].
    pub fn build(self) -> Result<AdminConfig, ClientError> {
        AdminConfig::from_properties(self.properties)
    }
}
