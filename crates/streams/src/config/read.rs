//! From checked settings to typed fields.

use std::{path::PathBuf, time::Duration};

use vltava_config::{ConfigError, Reader, class_name};
use vltava_metrics::RecordingLevel;
use vltava_serde::SerdeConfig;

use super::TOPOLOGY_OPTIMIZATION;
use super::keys::{OUTER_JOIN_EMIT_INTERVAL_MS, WINDOW_EMIT_INTERVAL_MS};
use super::{APPLICATION_ID, Fields, GroupProtocol, Guarantee, Optimizations, STATESTORE_CACHE_MAX_BYTES};

impl Fields {
    /// `has_handler` says whether records that cannot be sent have a handler that no setting names.
    pub(super) fn read(reader: &Reader<'_>, has_handler: bool) -> Result<Self, ConfigError> {
        let guarantee = match reader.text("processing.guarantee") {
            Some("exactly_once_v2") => Guarantee::ExactlyOnce,
            _ => Guarantee::AtLeastOnce,
        };
        check_production_handler(reader, has_handler)?;
        Ok(Self {
            application_id: reader.required(APPLICATION_ID)?.to_owned(),
            application_server: owned(reader.non_empty("application.server")),
            bootstrap_servers: owned(reader.non_empty("bootstrap.servers")),
            buffered_records_per_partition: reader.size("buffered.records.per.partition")?,
            cache_max_bytes: {
                let key = newer(reader, STATESTORE_CACHE_MAX_BYTES, "cache.max.bytes.buffering");
                u64::try_from(reader.size(key)?).unwrap_or(u64::MAX)
            },
            // -1 is no limit.
            uncommitted_max_bytes: match reader.integer("statestore.uncommitted.max.bytes")? {
                -1 => u64::MAX,
                bytes => bytes.unsigned_abs(),
            },
            client_id: owned(reader.non_empty("client.id")),
            commit_interval: match reader.duration("commit.interval.ms")? {
                // Kafka's default where every commit ends a transaction.
                _ if guarantee == Guarantee::ExactlyOnce && !reader.is_given("commit.interval.ms") => {
                    Duration::from_millis(100)
                }
                interval => interval,
            },
            serdes: SerdeConfig::read(reader).of_application(reader.required(APPLICATION_ID)?),
            timestamp_extractor: class_name(reader.required("default.timestamp.extractor")?).to_owned(),
            headers_format: is(reader, "dsl.store.format", "HEADERS"),
            stores_in_memory: {
                let key = newer(reader, "dsl.store.suppliers.class", "default.dsl.store");
                matches!(class_name(reader.required(key)?), "in_memory" | "InMemoryDslStoreSuppliers")
            },
            explicit_naming: reader.boolean("ensure.explicit.internal.resource.naming")?,
            dead_letter_topic: owned(reader.text("errors.dead.letter.queue.topic.name")),
            deserialization_continues: {
                let older = "default.deserialization.exception.handler";
                continues(reader, newer(reader, "deserialization.exception.handler", older))?
            },
            processing_continues: continues(reader, "processing.exception.handler")?,
            processing_handler_of_globals: reader.boolean("processing.exception.handler.global.enabled")?,
            acceptable_recovery_lag: reader.integer("acceptable.recovery.lag")?,
            max_warmup_replicas: reader.int("max.warmup.replicas")?,
            probing_rebalance_interval_ms: reader.integer("probing.rebalance.interval.ms")?,
            log_summary_interval: reader.duration_or_none("log.summary.interval.ms")?,
            max_task_idle_ms: reader.integer("max.task.idle.ms")?,
            metrics_samples: reader.integer("metrics.num.samples")?,
            metrics_window_ms: reader.integer("metrics.sample.window.ms")?,
            metrics_level: metrics_level(reader)?,
            num_standby_replicas: reader.size("num.standby.replicas")?,
            num_stream_threads: reader.size("num.stream.threads")?,
            poll: reader.duration("poll.ms")?,
            guarantee,
            group_protocol: match is(reader, "group.protocol", "streams") {
                true => GroupProtocol::Streams,
                false => GroupProtocol::Classic,
            },
            repartition_purge_interval: reader.duration("repartition.purge.interval.ms")?,
            replication_factor: {
                let (key, given) = ("replication.factor", reader.int("replication.factor")?);
                i16::try_from(given).map_err(|_| ConfigError::new(key, given, "must be a 16-bit integer"))?
            },
            state_cleanup_delay: reader.duration("state.cleanup.delay.ms")?,
            state_dir: reader.text("state.dir").map(PathBuf::from),
            task_timeout: reader.duration("task.timeout.ms")?,
            optimizations: Optimizations::of(reader),
            window_changelog_additional_retention_ms: reader
                .integer("windowstore.changelog.additional.retention.ms")?,
            outer_join_emit_interval_ms: reader.integer(OUTER_JOIN_EMIT_INTERVAL_MS)?,
            window_emit_interval_ms: reader.integer(WINDOW_EMIT_INTERVAL_MS)?,
        })
    }
}

impl Optimizations {
    fn of(reader: &Reader<'_>) -> Self {
        let list = reader.list(TOPOLOGY_OPTIMIZATION);
        let has = |name: &str| list.iter().any(|item| item == name || item == "all");
        Self {
            reuse_source_topics: has("reuse.ktable.source.topics"),
            merge_repartition_topics: has("merge.repartition.topics"),
            single_store_self_join: has("single.store.self.join"),
        }
    }
}

fn owned(value: Option<&str>) -> Option<String> {
    value.map(str::to_owned)
}

fn is(reader: &Reader<'_>, key: &'static str, value: &str) -> bool {
    reader.text(key).is_some_and(|given| given.eq_ignore_ascii_case(value))
}

fn metrics_level(reader: &Reader<'_>) -> Result<RecordingLevel, ConfigError> {
    const LEVEL: &str = "metrics.recording.level";
    let level = reader.required(LEVEL)?;
    level.parse().map_err(|_| ConfigError::new(LEVEL, level, "must be INFO, DEBUG or TRACE"))
}

/// The newer of two names of a setting, unless only the older one was given.
fn newer(reader: &Reader<'_>, newer: &'static str, older: &'static str) -> &'static str {
    reader.used(newer);
    reader.used(older);
    if reader.is_given(older) && !reader.is_given(newer) { older } else { newer }
}

/// Whether the value names Kafka's handler that goes on; other classes than its two do not exist here.
fn continues(reader: &Reader<'_>, key: &'static str) -> Result<bool, ConfigError> {
    let class = reader.required(key)?;
    match class_name(class) {
        name if name.starts_with("LogAndContinue") || name == "continue" => Ok(true),
        name if name.starts_with("LogAndFail") || name == "fail" => Ok(false),
        _ => Err(ConfigError::new(key, class, "must be continue or fail, or be set by the builder")),
    }
}

fn check_production_handler(reader: &Reader<'_>, has_handler: bool) -> Result<(), ConfigError> {
    let key = newer(reader, "production.exception.handler", "default.production.exception.handler");
    let class = reader.required(key)?;
    if has_handler || class_name(class) == "DefaultProductionExceptionHandler" {
        return Ok(());
    }
    Err(ConfigError::new(key, class, "must be DefaultProductionExceptionHandler, or be set by the builder"))
}
