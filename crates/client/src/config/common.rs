//! The keys that all clients share: bootstrap, connections, metadata, retries.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use vltava_config::{ConfigError, Reader};
use vltava_metrics::MetricConfig;
use vltava_security::SecurityProtocol;
#[cfg(feature = "tls")]
use vltava_security::ssl::SslConfig;

use super::sasl::{Login, SaslConfig};
use super::ssl;
use crate::metrics::ClientKind;
use crate::sasl::TokenProvider;

/// What a client does when none of the brokers it knows can be reached (KIP-899, KIP-1102).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetadataRecoveryStrategy {
    /// Starts again from `bootstrap.servers`.
    Rebootstrap,
    /// Goes on trying the brokers it knows.
    None,
}

/// The settings that every client has, checked: what the network layer needs.
///
/// The fields are Kafka's keys; see there for units and defaults.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct CommonConfig {
    /// `bootstrap.servers`: `host:port`, at least one.
    pub bootstrap_servers: Vec<String>,
    /// `client.id`, never empty.
    pub client_id: String,
    /// `request.timeout.ms`.
    pub request_timeout: Duration,
    /// `retry.backoff.ms`.
    pub retry_backoff: Duration,
    /// `retry.backoff.max.ms`.
    pub retry_backoff_max: Duration,
    /// `reconnect.backoff.ms`.
    pub reconnect_backoff: Duration,
    /// `reconnect.backoff.max.ms`.
    pub reconnect_backoff_max: Duration,
    /// `socket.connection.setup.timeout.ms`.
    pub connection_setup_timeout: Duration,
    /// `socket.connection.setup.timeout.max.ms`.
    pub connection_setup_timeout_max: Duration,
    /// `connections.max.idle.ms`; `None` keeps idle connections for ever.
    pub connections_max_idle: Option<Duration>,
    /// `metadata.max.age.ms`.
    pub metadata_max_age: Duration,
    /// `metadata.recovery.strategy`.
    pub metadata_recovery: MetadataRecoveryStrategy,
    /// `metadata.recovery.rebootstrap.trigger.ms`.
    pub rebootstrap_trigger: Duration,
    /// `send.buffer.bytes`; `None` leaves it to the operating system.
    pub send_buffer: Option<u32>,
    /// `receive.buffer.bytes`; `None` leaves it to the operating system.
    pub receive_buffer: Option<u32>,
    /// How long a call that asks several brokers or retries may take as a whole: `default.api.timeout.ms`, the producer's
    /// `max.block.ms`.
    pub api_timeout: Duration,
    /// How many requests may wait for their answers on one connection.
    pub max_in_flight: usize,
    pub(crate) kind: ClientKind,
    /// `metrics.num.samples`, `metrics.sample.window.ms`, `metrics.recording.level`.
    pub metrics: MetricConfig,
    /// `security.protocol`.
    pub security_protocol: SecurityProtocol,
    /// `ssl.*`, where the protocol has TLS.
    #[cfg(feature = "tls")]
    pub ssl: Option<SslConfig>,
    /// Where `security.protocol` asks who the client is.
    pub(crate) sasl: Option<Arc<SaslConfig>>,
}

impl CommonConfig {
    /// Reads the shared keys; `kind` also names the client where `client.id` has to be drawn.
    pub(super) fn read(settings: &Reader<'_>, kind: ClientKind) -> Result<Self, ConfigError> {
        static DRAWN: AtomicU32 = AtomicU32::new(1);
        let client_id = match settings.text("client.id") {
            Some(id) if !id.is_empty() => id.to_owned(),
            _ => format!("{}-{}", kind.name(), DRAWN.fetch_add(1, Ordering::Relaxed)),
        };
        let security_protocol = ssl::protocol(settings)?;
        ssl::check(settings, security_protocol)?;
        let recovery = settings.required("metadata.recovery.strategy")?;
        Ok(Self {
            bootstrap_servers: bootstrap_servers(settings)?,
            client_id,
            request_timeout: settings.duration("request.timeout.ms")?,
            retry_backoff: settings.duration("retry.backoff.ms")?,
            retry_backoff_max: settings.duration("retry.backoff.max.ms")?,
            reconnect_backoff: settings.duration("reconnect.backoff.ms")?,
            reconnect_backoff_max: settings.duration("reconnect.backoff.max.ms")?,
            connection_setup_timeout: settings.duration("socket.connection.setup.timeout.ms")?,
            connection_setup_timeout_max: settings.duration("socket.connection.setup.timeout.max.ms")?,
            connections_max_idle: settings.duration_or_none("connections.max.idle.ms")?,
            metadata_max_age: settings.duration("metadata.max.age.ms")?,
            metadata_recovery: if recovery.eq_ignore_ascii_case("none") {
                MetadataRecoveryStrategy::None
            } else {
                MetadataRecoveryStrategy::Rebootstrap
            },
            rebootstrap_trigger: settings.duration("metadata.recovery.rebootstrap.trigger.ms")?,
            send_buffer: u32::try_from(settings.integer("send.buffer.bytes")?).ok(),
            receive_buffer: u32::try_from(settings.integer("receive.buffer.bytes")?).ok(),
            api_timeout: Duration::from_secs(60),
            max_in_flight: 100,
            kind,
            metrics: metrics(settings)?,
            security_protocol,
            #[cfg(feature = "tls")]
            ssl: ssl::read(settings, security_protocol)?,
            sasl: SaslConfig::read(settings, security_protocol)?.map(Arc::new),
        })
    }

    pub(super) fn set_token_provider(&mut self, given: Arc<dyn TokenProvider>) {
        if let Some(sasl) = &mut self.sasl
            && let Login::Token { provider, .. } = &mut Arc::make_mut(sasl).login
        {
            *provider = Some(given);
        }
    }

    /// The pause before retry number `attempt` (from 0), with a jitter of 20 %.
    #[must_use]
    pub fn retry_pause(&self, attempt: u32) -> Duration {
        exponential(self.retry_backoff, self.retry_backoff_max, attempt)
    }
}

/// `base` doubled `attempt` times up to `max`, and that by a factor of 0.8 to 1.2 (KIP-580).
pub(crate) fn exponential(base: Duration, max: Duration, attempt: u32) -> Duration {
    let grown = base.saturating_mul(2u32.saturating_pow(attempt.min(31))).min(max.max(base));
    grown.mul_f64(0.8 + 0.4 * fastrand::f64())
}

fn metrics(settings: &Reader<'_>) -> Result<MetricConfig, ConfigError> {
    const LEVEL: &str = "metrics.recording.level";
    let level = settings.required(LEVEL)?;
    let level = level.parse().map_err(|_| ConfigError::new(LEVEL, level, "must be INFO, DEBUG or TRACE"))?;
    let window = settings.integer("metrics.sample.window.ms")?;
    Ok(MetricConfig::new(settings.size("metrics.num.samples")?, window, level))
}

fn bootstrap_servers(settings: &Reader<'_>) -> Result<Vec<String>, ConfigError> {
    const KEY: &str = "bootstrap.servers";
    let given = settings.required(KEY)?;
    let servers = settings.list(KEY);
    if servers.is_empty() {
        return Err(ConfigError::new(KEY, given, "must name at least one host:port"));
    }
    for server in &servers {
        let port = server.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port.parse::<u16>());
        if !matches!(port, Some(Ok(port)) if port > 0) {
            return Err(ConfigError::new(KEY, server, "must be host:port with a port of 1 to 65535"));
        }
    }
    Ok(servers)
}
