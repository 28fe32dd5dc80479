//! Settings, by Kafka's keys.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use crate::{
    error::{Error, Result},
    handler::{
        DefaultProductionExceptionHandler, DeserializationExceptionHandler, LogAndContinue, LogAndFail,
        ProcessingExceptionHandler, ProductionExceptionHandler,
    },
};

/// `application.id`: the prefix of internal topics and the name of the group. Required.
pub const APPLICATION_ID: &str = "application.id";
/// `statestore.cache.max.bytes`: memory of the record caches of all threads, in bytes. Default 10485760; 0 disables.
pub const STATESTORE_CACHE_MAX_BYTES: &str = "statestore.cache.max.bytes";
/// `topology.optimization`: `none` (default), `all`, or a list of `reuse.ktable.source.topics`,
/// `merge.repartition.topics`, `single.store.self.join`.
pub const TOPOLOGY_OPTIMIZATION: &str = "topology.optimization";

/// What kind of value a key takes.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    /// An integer of at least this.
    Long(i64),
    Bool,
    OneOf(&'static [&'static str]),
    List(&'static [&'static str]),
}

struct Definition(&'static str, Kind, Option<&'static str>);

const OPTIMIZATIONS: &[&str] =
    &["all", "none", "reuse.ktable.source.topics", "merge.repartition.topics", "single.store.self.join"];

/// Key, kind and default, as Kafka's documentation of 4.3 has them.
const DEFINITIONS: &[Definition] = &[
    Definition(APPLICATION_ID, Kind::Text, None),
    Definition("acceptable.recovery.lag", Kind::Long(0), Some("10000")),
    Definition("application.server", Kind::Text, Some("")),
    Definition("bootstrap.servers", Kind::Text, None),
    Definition("buffered.records.per.partition", Kind::Long(0), Some("1000")),
    Definition(STATESTORE_CACHE_MAX_BYTES, Kind::Long(0), Some("10485760")),
    Definition("client.id", Kind::Text, Some("")),
    Definition("commit.interval.ms", Kind::Long(0), None),
    Definition("default.key.serde", Kind::Text, None),
    Definition("default.list.key.serde.inner", Kind::Text, None),
    Definition("default.list.key.serde.type", Kind::Text, None),
    Definition("default.list.value.serde.inner", Kind::Text, None),
    Definition("default.list.value.serde.type", Kind::Text, None),
    Definition("default.value.serde", Kind::Text, None),
    Definition("default.timestamp.extractor", Kind::Text, Some("FailOnInvalidTimestamp")),
    Definition("deserialization.exception.handler", Kind::Text, Some("LogAndFailExceptionHandler")),
    Definition("dsl.store.format", Kind::OneOf(&["DEFAULT", "HEADERS"]), Some("DEFAULT")),
    Definition("dsl.store.suppliers.class", Kind::Text, Some("rocksdb")),
    Definition("ensure.explicit.internal.resource.naming", Kind::Bool, Some("false")),
    Definition("errors.dead.letter.queue.topic.name", Kind::Text, None),
    Definition("group.protocol", Kind::OneOf(&["classic", "streams"]), Some("classic")),
    Definition("max.task.idle.ms", Kind::Long(-1), Some("0")),
    Definition("max.warmup.replicas", Kind::Long(1), Some("2")),
    Definition("metrics.num.samples", Kind::Long(1), Some("2")),
    Definition("metrics.recording.level", Kind::OneOf(&["INFO", "DEBUG", "TRACE"]), Some("INFO")),
    Definition("metrics.sample.window.ms", Kind::Long(1), Some("30000")),
    Definition("num.standby.replicas", Kind::Long(0), Some("0")),
    Definition("num.stream.threads", Kind::Long(1), Some("1")),
    Definition("poll.ms", Kind::Long(0), Some("100")),
    Definition("probing.rebalance.interval.ms", Kind::Long(60_000), Some("600000")),
    Definition("processing.exception.handler", Kind::Text, Some("LogAndFailProcessingExceptionHandler")),
    Definition("processing.exception.handler.global.enabled", Kind::Bool, Some("false")),
    Definition("processing.guarantee", Kind::OneOf(&["at_least_once", "exactly_once_v2"]), Some("at_least_once")),
    Definition("production.exception.handler", Kind::Text, Some("DefaultProductionExceptionHandler")),
    Definition("repartition.purge.interval.ms", Kind::Long(0), Some("30000")),
    Definition("replication.factor", Kind::Long(-1), Some("-1")),
    Definition("state.cleanup.delay.ms", Kind::Long(0), Some("600000")),
    Definition("state.dir", Kind::Text, None),
    Definition("task.timeout.ms", Kind::Long(0), Some("300000")),
    Definition(TOPOLOGY_OPTIMIZATION, Kind::List(OPTIMIZATIONS), Some("none")),
    Definition("windowed.inner.class.serde", Kind::Text, None),
    Definition("window.size.ms", Kind::Long(0), None),
    Definition("windowstore.changelog.additional.retention.ms", Kind::Long(0), Some("86400000")),
];

fn definition(key: &str) -> Option<&'static Definition> {
    DEFINITIONS.iter().find(|definition| definition.0 == key)
}

/// The rewrites of `topology.optimization`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Optimizations {
    pub(crate) reuse_source_topics: bool,
    pub(crate) merge_repartition_topics: bool,
    pub(crate) single_store_self_join: bool,
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
    values: BTreeMap<String, String>,
    deserialization: Arc<dyn DeserializationExceptionHandler>,
    processing: Arc<dyn ProcessingExceptionHandler>,
    production: Arc<dyn ProductionExceptionHandler>,
}

impl fmt::Debug for StreamsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.values.iter().map(|(key, value)| {
            let secret = key.contains("password") || key.contains("jaas") || key.contains("secret");
            (key, if secret { "***" } else { value.as_str() })
        });
        f.debug_map().entries(shown).finish()
    }
}

impl StreamsConfig {
    /// From Kafka's keys; `application.id` is required.
    ///
    /// # Errors
    /// [`Error::Config`] names a missing key, or a wrong value with its key and range. An unknown key is kept for the
    /// clients and for [`get`](Self::get).
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

    /// `application.id`.
    #[must_use]
    pub fn application_id(&self) -> &str {
        self.get(APPLICATION_ID).unwrap_or_default()
    }

    /// The value of a key: as given, else Kafka's default, if there is one.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str).or_else(|| definition(key).and_then(|definition| definition.2))
    }

    /// All keys that were given.
    pub fn originals(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// Whether `processing.guarantee` is `exactly_once_v2`.
    #[must_use]
    pub fn is_exactly_once(&self) -> bool {
        self.get("processing.guarantee") == Some("exactly_once_v2")
    }

    /// A numeric key; 0 where it has neither value nor default.
    #[must_use]
    pub fn get_long(&self, key: &str) -> i64 {
        self.get(key).and_then(|value| value.trim().parse().ok()).unwrap_or_default()
    }

    /// A key in ms that is not negative.
    pub(crate) fn millis(&self, key: &str) -> Duration {
        Duration::from_millis(u64::try_from(self.get_long(key)).unwrap_or(0))
    }

    /// `commit.interval.ms`, whose default depends on the guarantee.
    pub(crate) fn commit_interval(&self) -> Duration {
        let default = if self.is_exactly_once() { 100 } else { 30_000 };
        let set = self.get("commit.interval.ms").and_then(|ms| ms.trim().parse().ok());
        Duration::from_millis(set.unwrap_or(default))
    }

    /// One of Kafka's internal intervals, in ms: a second unless it is set.
    pub(crate) fn internal_interval(&self, key: &str) -> i64 {
        self.get(key).and_then(|value| value.trim().parse().ok()).unwrap_or(1000)
    }

    pub(crate) fn cache_max_bytes(&self) -> u64 {
        u64::try_from(self.get_long(STATESTORE_CACHE_MAX_BYTES)).unwrap_or(0)
    }

    pub(crate) fn optimizations(&self) -> Optimizations {
        let list = self.get(TOPOLOGY_OPTIMIZATION).unwrap_or("none");
        let has = |name: &str| list.split(',').map(str::trim).any(|item| item == name || item == "all");
        Optimizations {
            reuse_source_topics: has("reuse.ktable.source.topics"),
            merge_repartition_topics: has("merge.repartition.topics"),
            single_store_self_join: has("single.store.self.join"),
        }
    }

    /// Whether tables and windows of the DSL keep headers with their values (`dsl.store.format`).
    pub(crate) fn headers_format(&self) -> bool {
        self.get("dsl.store.format").is_some_and(|format| format.eq_ignore_ascii_case("HEADERS"))
    }

    /// Whether stores of the DSL are in memory unless they say otherwise (`dsl.store.suppliers.class`).
    pub(crate) fn stores_in_memory(&self) -> bool {
        let class = self.get("dsl.store.suppliers.class").unwrap_or_default();
        class == "in_memory" || class.ends_with("InMemoryDslStoreSuppliers")
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
    /// [`Error::Config`] with key, value and range.
    pub fn build(self) -> Result<StreamsConfig> {
        if self.values.get(APPLICATION_ID).is_none_or(String::is_empty) {
            return config_error(format!("`{APPLICATION_ID}` is missing"));
        }
        for (key, value) in &self.values {
            match definition(key) {
                Some(Definition(_, kind, _)) => check(key, value, *kind)?,
                None if key.contains('.') => tracing::debug!(key, "a setting for the clients, or an unknown one"),
                None => tracing::warn!(key, "unknown setting"),
            }
        }
        let deserialization_continues = self.continues("deserialization.exception.handler")?;
        let processing_continues = self.continues("processing.exception.handler")?;
        let letters = self.values.get("errors.dead.letter.queue.topic.name").cloned();
        let deserialization = match self.deserialization {
            Some(handler) => handler,
            None if deserialization_continues => Arc::new(LogAndContinue::with_dead_letter_topic(letters.clone())),
            None => Arc::new(LogAndFail::with_dead_letter_topic(letters.clone())),
        };
        let processing = match self.processing {
            Some(handler) => handler,
            None if processing_continues => Arc::new(LogAndContinue::with_dead_letter_topic(letters.clone())),
            None => Arc::new(LogAndFail::with_dead_letter_topic(letters.clone())),
        };
        if let Some(class) = self.values.get("production.exception.handler")
            && self.production.is_none()
            && class.rsplit('.').next() != Some("DefaultProductionExceptionHandler")
        {
            let only = "must be DefaultProductionExceptionHandler, or be set by the builder";
            return config_error(format!("invalid `production.exception.handler` {class}: {only}"));
        }
        let production = self
            .production
            .unwrap_or_else(|| Arc::new(DefaultProductionExceptionHandler::with_dead_letter_topic(letters)));
        Ok(StreamsConfig { values: self.values, deserialization, processing, production })
    }

    /// Whether the value names Kafka's handler that goes on; other classes than its two do not exist here.
    fn continues(&self, key: &str) -> Result<bool> {
        let Some(value) = self.values.get(key) else { return Ok(false) };
        let class = value.rsplit('.').next().unwrap_or(value);
        match class {
            _ if class.starts_with("LogAndContinue") || class == "continue" => Ok(true),
            _ if class.starts_with("LogAndFail") || class == "fail" => Ok(false),
            _ => config_error(format!("invalid `{key}` {value}: must be continue or fail, or be set by the builder")),
        }
    }
}

fn config_error<T>(message: String) -> Result<T> {
    Err(Box::new(Error::Config(message)))
}

fn check(key: &str, value: &str, kind: Kind) -> Result<()> {
    match kind {
        Kind::Text => Ok(()),
        Kind::Long(min) => match value.trim().parse::<i64>() {
            Ok(number) if number >= min => Ok(()),
            Ok(_) => config_error(format!("invalid `{key}` {value}: must be >= {min}")),
            Err(_) => config_error(format!("invalid `{key}` {value}: must be an integer")),
        },
        Kind::Bool => match value.trim() {
            "true" | "false" => Ok(()),
            _ => config_error(format!("invalid `{key}` {value}: must be true or false")),
        },
        Kind::OneOf(allowed) => {
            if allowed.iter().any(|one| one.eq_ignore_ascii_case(value)) {
                return Ok(());
            }
            config_error(format!("invalid `{key}` {value}: must be one of {}", allowed.join(", ")))
        }
        Kind::List(allowed) => {
            let items: Vec<_> = value.split(',').map(str::trim).collect();
            if let Some(wrong) = items.iter().find(|item| !allowed.contains(item)) {
                return config_error(format!("invalid `{key}` {wrong}: must be among {}", allowed.join(", ")));
            }
            let exclusive = items.iter().any(|item| matches!(*item, "all" | "none"));
            if exclusive && items.len() > 1 {
                return config_error(format!("invalid `{key}` {value}: all and none stand alone"));
            }
            Ok(())
        }
    }
}
