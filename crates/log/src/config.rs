//! The settings of a log: Kafka's topic configuration.

mod definitions;
#[cfg(test)]
mod tests;

pub use definitions::TOPIC_SETTINGS;
use vltava_config::{ConfigError, Reader, Settings, find};

use crate::error::{LogError, Result};

/// Codec that the broker stores batches with (`compression.type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrokerCompression {
    /// As the producer sent them.
    Producer,
    /// None.
    Uncompressed,
    /// Gzip with `compression.gzip.level`.
    Gzip,
    /// Snappy.
    Snappy,
    /// LZ4 with `compression.lz4.level`.
    Lz4,
    /// Zstandard with `compression.zstd.level`.
    Zstd,
}

/// Whose timestamps records have (`message.timestamp.type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageTimestampType {
    /// The producer's.
    CreateTime,
    /// The broker's, when it appends them.
    LogAppendTime,
}

/// The settings of one log. Each field is the topic setting in its documentation; `Default` gives Kafka's defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct LogConfig {
    /// `segment.bytes`: a segment is rolled before it grows past this. At least 1 MiB, default 1 GiB.
    pub segment_bytes: i32,
    /// `segment.ms`: a segment is rolled when it spans this time. Default 7 days.
    pub segment_ms: i64,
    /// `segment.jitter.ms`: up to this is taken off `segment.ms`, by chance. Default 0.
    pub segment_jitter_ms: i64,
    /// `segment.index.bytes`: a segment is rolled when one of its indexes reaches this. Default 10 MiB.
    pub segment_index_bytes: i32,
    /// `flush.messages`: fsync after this many records. Default: never.
    pub flush_messages: i64,
    /// `flush.ms`: fsync after this time. Default: never.
    pub flush_ms: i64,
    /// `retention.bytes`: old segments go while the log is larger. Default -1, no limit.
    pub retention_bytes: i64,
    /// `retention.ms`: segments go when their latest record is older. Default 7 days, -1 for no limit.
    pub retention_ms: i64,
    /// `max.message.bytes`: largest batch, compressed. Default 1048588.
    pub max_message_bytes: i32,
    /// `index.interval.bytes`: bytes between two entries of an index. Default 4096.
    pub index_interval_bytes: i32,
    /// `delete.retention.ms`: how long tombstones outlive a compaction. Default 1 day.
    pub delete_retention_ms: i64,
    /// `min.compaction.lag.ms`: younger records are not compacted. Default 0.
    pub min_compaction_lag_ms: i64,
    /// `max.compaction.lag.ms`: older records are compacted whatever the dirty ratio. Default: no limit.
    pub max_compaction_lag_ms: i64,
    /// `file.delete.delay.ms`: how long files keep the suffix `.deleted` before they are removed. Default 1 minute.
    pub file_delete_delay_ms: i64,
    /// `min.cleanable.dirty.ratio`: part of the log that must be uncompacted for a compaction. Default 0.5.
    pub min_cleanable_dirty_ratio: f64,
    /// `cleanup.policy` contains `compact`.
    pub compact: bool,
    /// `cleanup.policy` contains `delete`, the default. With neither everything is kept.
    pub delete: bool,
    /// `min.insync.replicas`. Default 1.
    pub min_insync_replicas: i32,
    /// `compression.type`. Default `producer`.
    pub compression_type: BrokerCompression,
    /// `compression.gzip.level`: 1 to 9, or -1, the default.
    pub compression_gzip_level: i32,
    /// `compression.lz4.level`: 1 to 17, default 9.
    pub compression_lz4_level: i32,
    /// `compression.zstd.level`: -131072 to 22, default 3.
    pub compression_zstd_level: i32,
    /// `preallocate`: a new segment's file gets its full size at once. Default false.
    pub preallocate: bool,
    /// `message.timestamp.type`. Default `CreateTime`.
    pub message_timestamp_type: MessageTimestampType,
    /// `message.timestamp.before.max.ms`: how far in the past a record may be. Default: no limit.
    pub message_timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`: how far in the future a record may be. Default 1 hour.
    pub message_timestamp_after_max_ms: i64,
}

const WEEK_MS: i64 = 7 * 24 * 60 * 60 * 1000;

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            segment_bytes: 1024 * 1024 * 1024,
            segment_ms: WEEK_MS,
            segment_jitter_ms: 0,
            segment_index_bytes: 10 * 1024 * 1024,
            flush_messages: i64::MAX,
            flush_ms: i64::MAX,
            retention_bytes: -1,
            retention_ms: WEEK_MS,
            max_message_bytes: 1024 * 1024 + 12,
            index_interval_bytes: 4096,
            delete_retention_ms: 24 * 60 * 60 * 1000,
            min_compaction_lag_ms: 0,
            max_compaction_lag_ms: i64::MAX,
            file_delete_delay_ms: 60_000,
            min_cleanable_dirty_ratio: 0.5,
            compact: false,
            delete: true,
            min_insync_replicas: 1,
            compression_type: BrokerCompression::Producer,
            compression_gzip_level: -1,
            compression_lz4_level: 9,
            compression_zstd_level: 3,
            preallocate: false,
            message_timestamp_type: MessageTimestampType::CreateTime,
            message_timestamp_before_max_ms: i64::MAX,
            message_timestamp_after_max_ms: 60 * 60 * 1000,
        }
    }
}

impl LogConfig {
    /// Kafka's defaults with `properties` over them.
    ///
    /// # Errors
    /// [`LogError::InvalidConfig`] with Kafka's message, for an unknown key or a value outside of its range.
    pub fn from_properties<'a>(properties: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self> {
        let properties: Vec<(&str, &str)> = properties.into_iter().collect();
        if let Some((key, _)) = properties.iter().find(|(key, _)| find(TOPIC_SETTINGS, key).is_none()) {
            return Err(LogError::InvalidConfig(format!("Unknown topic config name: {key}")));
        }
        let config = Settings::parse(TOPIC_SETTINGS, properties).and_then(|settings| Self::read(&settings.reader()));
        let config = config.map_err(|error| LogError::InvalidConfig(error.kafka_message()))?;
        if config.min_compaction_lag_ms > config.max_compaction_lag_ms {
            return Err(LogError::InvalidConfig(format!(
                "conflict topic config setting min.compaction.lag.ms ({}) > max.compaction.lag.ms ({})",
                config.min_compaction_lag_ms, config.max_compaction_lag_ms
            )));
        }
        Ok(config)
    }

    fn read(reader: &Reader<'_>) -> Result<Self, ConfigError> {
        let policy = reader.list("cleanup.policy");
        let has = |wanted: &str| policy.iter().any(|policy| policy == wanted);
        let (segment, for_tests) = (reader.int("segment.bytes")?, reader.int("internal.segment.bytes")?);
        Ok(Self {
            segment_bytes: if reader.is_given("internal.segment.bytes") { for_tests } else { segment },
            segment_ms: reader.integer("segment.ms")?,
            segment_jitter_ms: reader.integer("segment.jitter.ms")?,
            segment_index_bytes: reader.int("segment.index.bytes")?,
            flush_messages: reader.integer("flush.messages")?,
            flush_ms: reader.integer("flush.ms")?,
            retention_bytes: reader.integer("retention.bytes")?,
            retention_ms: reader.integer("retention.ms")?,
            max_message_bytes: reader.int("max.message.bytes")?,
            index_interval_bytes: reader.int("index.interval.bytes")?,
            delete_retention_ms: reader.integer("delete.retention.ms")?,
            min_compaction_lag_ms: reader.integer("min.compaction.lag.ms")?,
            max_compaction_lag_ms: reader.integer("max.compaction.lag.ms")?,
            file_delete_delay_ms: reader.integer("file.delete.delay.ms")?,
            min_cleanable_dirty_ratio: reader.double("min.cleanable.dirty.ratio")?,
            compact: has("compact"),
            delete: has("delete"),
            min_insync_replicas: reader.int("min.insync.replicas")?,
            compression_type: match reader.required("compression.type")? {
                "uncompressed" => BrokerCompression::Uncompressed,
                "gzip" => BrokerCompression::Gzip,
                "snappy" => BrokerCompression::Snappy,
                "lz4" => BrokerCompression::Lz4,
                "zstd" => BrokerCompression::Zstd,
                _ => BrokerCompression::Producer,
            },
            compression_gzip_level: reader.int("compression.gzip.level")?,
            compression_lz4_level: reader.int("compression.lz4.level")?,
            compression_zstd_level: reader.int("compression.zstd.level")?,
            preallocate: reader.boolean("preallocate")?,
            message_timestamp_type: match reader.required("message.timestamp.type")? {
                "LogAppendTime" => MessageTimestampType::LogAppendTime,
                _ => MessageTimestampType::CreateTime,
            },
            message_timestamp_before_max_ms: reader.integer("message.timestamp.before.max.ms")?,
            message_timestamp_after_max_ms: reader.integer("message.timestamp.after.max.ms")?,
        })
    }

    /// How long a segment may span: `segment.ms`, for a compacted log at most `max.compaction.lag.ms`.
    pub(crate) fn max_segment_ms(&self) -> i64 {
        if self.compact && self.max_compaction_lag_ms > 0 {
            self.segment_ms.min(self.max_compaction_lag_ms)
        } else {
            self.segment_ms
        }
    }

    pub(crate) fn segment_size(&self) -> u64 {
        u64::try_from(self.segment_bytes).unwrap_or(0)
    }

    pub(crate) fn max_index_size(&self) -> usize {
        usize::try_from(self.segment_index_bytes).unwrap_or(0)
    }

    pub(crate) fn index_interval_bytes(&self) -> u64 {
        u64::try_from(self.index_interval_bytes).unwrap_or(0)
    }

    /// What is taken off `segment.ms` for a new segment.
    pub(crate) fn random_segment_jitter(&self, random: &mut fastrand::Rng) -> i64 {
        let most = self.segment_jitter_ms.min(self.segment_ms);
        if most <= 0 { 0 } else { i64::from(random.i32(0..i32::MAX)) % most }
    }
}
