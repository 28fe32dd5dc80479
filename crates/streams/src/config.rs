//! Settings, by Kafka's keys.

pub mod constants;
mod keys;
mod read;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, fmt, path::PathBuf, sync::Arc, time::Duration};

pub(crate) use keys::NO_TAGS;
pub use keys::{APPLICATION_ID, STATESTORE_CACHE_MAX_BYTES, TOPOLOGY_OPTIMIZATION};
use keys::{OUTER_JOIN_EMIT_INTERVAL_MS, WINDOW_EMIT_INTERVAL_MS};
use vltava_config::Settings;
pub use vltava_config::{ConfigError, ConfigWarning, Definition};
use vltava_metrics::RecordingLevel;
use vltava_serde::SerdeConfig;

use crate::{
    error::Result,
    handler::{
        DefaultProductionExceptionHandler, DeserializationExceptionHandler, LogAndContinue, LogAndFail,
        ProcessingExceptionHandler, ProductionExceptionHandler,
    },
};

/// The rewrites of `topology.optimization`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Optimizations {
    pub(crate) reuse_source_topics: bool,
    pub(crate) merge_repartition_topics: bool,
    pub(crate) single_store_self_join: bool,
}

/// What holds for results after a failure: `processing.guarantee`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Guarantee {
    #[default]
    AtLeastOnce,
    /// Kafka's `exactly_once_v2`.
    ExactlyOnce,
}

/// How the application's group divides its tasks: `group.protocol`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum GroupProtocol {
    /// The members assign among themselves.
    #[default]
    Classic,
    /// The coordinator does (KIP-1071).
    Streams,
}

/// The settings of an application, checked.
///
/// ```
/// use vltava_streams::StreamsConfig;
///
/// let config = StreamsConfig::from_properties([("application.id", "word-count"), ("num.stream.threads", "2")])?;
/// assert_eq!(config.application_id(), "word-count");
/// let wrong = StreamsConfig::from_properties([("application.id", "a"), ("num.stream.threads", "0")]);
/// assert_eq!(
///     wrong.unwrap_err().to_string(),
///     "invalid configuration: invalid `num.stream.threads` 0: must be >= 1"
/// );
/// # Ok::<(), Box<vltava_streams::Error>>(())
/// ```
#[derive(Clone)]
pub struct StreamsConfig {
    settings: Arc<Settings>,
    fields: Arc<Fields>,
    deserialization: Arc<dyn DeserializationExceptionHandler>,
    processing: Arc<dyn ProcessingExceptionHandler>,
    production: Arc<dyn ProductionExceptionHandler>,
}

/// The settings in the types in which they are used.
#[derive(Debug, Clone)]
pub(crate) struct Fields {
    pub(crate) application_id: String,
    pub(crate) application_server: Option<String>,
    pub(crate) bootstrap_servers: Option<String>,
    /// 0 for no limit.
    pub(crate) buffered_records_per_partition: usize,
    pub(crate) cache_max_bytes: u64,
    /// `statestore.uncommitted.max.bytes`.
    pub(crate) uncommitted_max_bytes: u64,
    pub(crate) client_id: Option<String>,
    pub(crate) commit_interval: Duration,
    pub(crate) serdes: SerdeConfig,
    /// The class without its package, one of Kafka's four.
    pub(crate) timestamp_extractor: String,
    /// Whether tables and windows of the DSL keep headers with their values.
    pub(crate) headers_format: bool,
    /// Whether stores of the DSL are in memory unless they say otherwise.
    pub(crate) stores_in_memory: bool,
    pub(crate) explicit_naming: bool,
    dead_letter_topic: Option<String>,
    deserialization_continues: bool,
    processing_continues: bool,
    pub(crate) processing_handler_of_globals: bool,
    pub(crate) acceptable_recovery_lag: i64,
    pub(crate) max_warmup_replicas: i32,
    pub(crate) probing_rebalance_interval_ms: i64,
    /// `None` and zero for never.
    pub(crate) log_summary_interval: Option<Duration>,
    pub(crate) max_task_idle_ms: i64,
    pub(crate) metrics_samples: i64,
    pub(crate) metrics_window_ms: i64,
    pub(crate) metrics_level: RecordingLevel,
    pub(crate) num_standby_replicas: usize,
    pub(crate) num_stream_threads: usize,
    pub(crate) poll: Duration,
    pub(crate) guarantee: Guarantee,
    pub(crate) group_protocol: GroupProtocol,
    pub(crate) repartition_purge_interval: Duration,
    pub(crate) replication_factor: i16,
    pub(crate) state_cleanup_delay: Duration,
    pub(crate) state_dir: Option<PathBuf>,
    pub(crate) task_timeout: Duration,
    pub(crate) optimizations: Optimizations,
    pub(crate) window_changelog_additional_retention_ms: i64,
    pub(crate) outer_join_emit_interval_ms: i64,
    pub(crate) window_emit_interval_ms: i64,
}

impl fmt::Debug for StreamsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.settings.fmt(f)
    }
}

impl StreamsConfig {
    /// From Kafka's keys; `application.id` is required.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) names a missing key, or a wrong value with its key and range. An unknown key is a
    /// [warning](Self::warnings) with the nearest known one, and kept for [`get`](Self::get).
    pub fn from_properties<K, V>(properties: impl IntoIterator<Item = (K, V)>) -> Result<Self>
    where
        K: Into<String>,
        V: Into<String>,
    {
        let mut config = StreamsConfigBuilder::default();
        for (key, value) in properties {
            config = config.set(key, value);
        }
        config.build()
    }

    /// A builder.
    pub fn builder(application_id: impl Into<String>) -> StreamsConfigBuilder {
        StreamsConfigBuilder::default().set(APPLICATION_ID, application_id)
    }

    /// The table of all keys; beside these Streams takes those of its clients, with and without their prefixes.
    pub fn definitions() -> impl Iterator<Item = &'static Definition> {
        keys::STREAMS.iter().copied().flatten()
    }

    /// What was accepted though it has no effect. Also logged.
    #[must_use]
    pub fn warnings(&self) -> &[ConfigWarning] {
        self.settings.warnings()
    }

    /// `application.id`.
    #[must_use]
    pub fn application_id(&self) -> &str {
        &self.fields.application_id
    }

    /// The value of a key: as given, else Kafka's default, if there is one.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.settings.text(key)
    }

    /// All keys that were given.
    pub fn originals(&self) -> impl Iterator<Item = (&str, &str)> {
        self.settings.all_given()
    }

    /// Whether `processing.guarantee` is `exactly_once_v2`.
    #[must_use]
    pub fn is_exactly_once(&self) -> bool {
        self.fields.guarantee == Guarantee::ExactlyOnce
    }

    /// Whether the coordinator assigns tasks: `group.protocol` is `streams`.
    pub(crate) fn is_of_streams_group(&self) -> bool {
        self.fields.group_protocol == GroupProtocol::Streams
    }

    /// The same, but that what closes is looked for with every record, unless something else was asked for.
    pub(crate) fn emitting_at_once(&self) -> Self {
        let mut config = self.clone();
        let fields = Arc::make_mut(&mut config.fields);
        if !self.settings.is_given(WINDOW_EMIT_INTERVAL_MS) {
            fields.window_emit_interval_ms = 0;
        }
        if !self.settings.is_given(OUTER_JOIN_EMIT_INTERVAL_MS) {
            fields.outer_join_emit_interval_ms = 0;
        }
        config
    }

    /// The settings in the types in which they are used.
    pub(crate) fn fields(&self) -> &Fields {
        &self.fields
    }

    /// The handler of bytes that cannot be read.
    #[must_use]
    pub fn deserialization_exception_handler(&self) -> &Arc<dyn DeserializationExceptionHandler> {
        &self.deserialization
    }

    /// The handler of failures of application code.
    #[must_use]
    pub fn processing_exception_handler(&self) -> &Arc<dyn ProcessingExceptionHandler> {
        &self.processing
    }

    /// The handler of records that cannot be sent.
    #[must_use]
    pub fn production_exception_handler(&self) -> &Arc<dyn ProductionExceptionHandler> {
        &self.production
    }
}

/// Collects settings; [`build`](Self::build) checks them.
#[derive(Default)]
#[must_use]
pub struct StreamsConfigBuilder {
    values: BTreeMap<String, String>,
    deserialization: Option<Arc<dyn DeserializationExceptionHandler>>,
    processing: Option<Arc<dyn ProcessingExceptionHandler>>,
    production: Option<Arc<dyn ProductionExceptionHandler>>,
}

impl fmt::Debug for StreamsConfigBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamsConfigBuilder").field("keys", &self.values.keys()).finish_non_exhaustive()
    }
}

impl StreamsConfigBuilder {
    /// Sets any of Kafka's keys.
    pub fn set(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.values.insert(key.into(), value.into());
        self
    }

    /// `statestore.cache.max.bytes`, default 10 MiB; 0 turns record caches off, and every update is sent on.
    pub fn cache_max_bytes(self, bytes: u64) -> Self {
        self.set(STATESTORE_CACHE_MAX_BYTES, bytes.to_string())
    }

    /// `deserialization.exception.handler`: what happens to records whose bytes cannot be read. Default: fail.
    pub fn deserialization_exception_handler(
        mut self,
        handler: impl DeserializationExceptionHandler + 'static,
    ) -> Self {
        self.deserialization = Some(Arc::new(handler));
        self
    }

    /// `processing.exception.handler`: what happens to records on which application code fails. Default: fail.
    pub fn processing_exception_handler(mut self, handler: impl ProcessingExceptionHandler + 'static) -> Self {
        self.processing = Some(Arc::new(handler));
        self
    }

    /// `production.exception.handler`: what happens to records that cannot be sent. Default: fail.
    pub fn production_exception_handler(mut self, handler: impl ProductionExceptionHandler + 'static) -> Self {
        self.production = Some(Arc::new(handler));
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) with key, value and range.
    pub fn build(self) -> Result<StreamsConfig> {
        let settings = Settings::parse_with(keys::STREAMS, &self.values, keys::foreign)?;
        settings.log_warnings();
        let fields = Fields::read(&settings.reader(), self.production.is_some())?;
        if fields.guarantee == Guarantee::ExactlyOnce {
            check_transaction_timeout(&settings, fields.commit_interval)?;
        }
        let letters = fields.dead_letter_topic.clone();
        let deserialization = match self.deserialization {
            Some(handler) => handler,
            None if fields.deserialization_continues => {
                Arc::new(LogAndContinue::with_dead_letter_topic(letters.clone()))
            }
            None => Arc::new(LogAndFail::with_dead_letter_topic(letters.clone())),
        };
        let processing = match self.processing {
            Some(handler) => handler,
            None if fields.processing_continues => Arc::new(LogAndContinue::with_dead_letter_topic(letters.clone())),
            None => Arc::new(LogAndFail::with_dead_letter_topic(letters.clone())),
        };
        let production = self
            .production
            .unwrap_or_else(|| Arc::new(DefaultProductionExceptionHandler::with_dead_letter_topic(letters)));
        let (settings, fields) = (Arc::new(settings), Arc::new(fields));
        Ok(StreamsConfig { settings, fields, deserialization, processing, production })
    }
}

/// The producer's `transaction.timeout.ms` where every commit ends a transaction, unless it is given; Kafka's. What the
/// owner before has left open keeps a task waiting for so long at most.
pub(crate) const TRANSACTION_TIMEOUT_MS: &str = "10000";

/// A transaction is open for as long as lies between two commits.
fn check_transaction_timeout(settings: &Settings, commit_interval: Duration) -> Result<(), ConfigError> {
    let given =
        ["producer.transaction.timeout.ms", "transaction.timeout.ms"].into_iter().find_map(|key| settings.given(key));
    // What is no number is refused by the producer, by the name that it was given by.
    let Ok(timeout_ms) = given.unwrap_or(TRANSACTION_TIMEOUT_MS).trim().parse::<u128>() else { return Ok(()) };
    if commit_interval.as_millis() > timeout_ms {
        let reason = format!("must be <= the producer's `transaction.timeout.ms`, {timeout_ms}");
        return Err(ConfigError::new("commit.interval.ms", commit_interval.as_millis(), reason));
    }
    Ok(())
}
