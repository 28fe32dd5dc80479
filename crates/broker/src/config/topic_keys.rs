//! The 33 settings of a topic, their defaults, and the broker's keys that those derive from.

use super::definition::{Check, ConfigKey, ConfigType, Update, key};

/// The keys, sorted by name.
#[rustfmt::skip]
pub(crate) static TOPIC_KEYS: &[ConfigKey] = &[
    key("cleanup.policy", ConfigType::List, Some("delete"), Check::ListOf(&["compact", "delete"]), Update::ClusterWide),
    key("compression.gzip.level", ConfigType::Int, Some("-1"), Check::GzipLevel, Update::ClusterWide),
    key("compression.lz4.level", ConfigType::Int, Some("9"), Check::Between(1, 17), Update::ClusterWide),
    key("compression.type", ConfigType::String, Some("producer"), Check::OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]), Update::ClusterWide),
    key("compression.zstd.level", ConfigType::Int, Some("3"), Check::Between(-131072, 22), Update::ClusterWide),
    key("delete.retention.ms", ConfigType::Long, Some("86400000"), Check::AtLeast(0), Update::ClusterWide),
    key("file.delete.delay.ms", ConfigType::Long, Some("60000"), Check::AtLeast(0), Update::ClusterWide),
    key("flush.messages", ConfigType::Long, Some("9223372036854775807"), Check::AtLeast(1), Update::ClusterWide),
    key("flush.ms", ConfigType::Long, Some("9223372036854775807"), Check::AtLeast(0), Update::ClusterWide),
    key("follower.replication.throttled.replicas", ConfigType::List, Some(""), Check::ThrottledReplicas, Update::ClusterWide),
    key("index.interval.bytes", ConfigType::Int, Some("4096"), Check::AtLeast(0), Update::ClusterWide),
    key("leader.replication.throttled.replicas", ConfigType::List, Some(""), Check::ThrottledReplicas, Update::ClusterWide),
    key("local.retention.bytes", ConfigType::Long, Some("-2"), Check::AtLeast(-2), Update::ClusterWide),
    key("local.retention.ms", ConfigType::Long, Some("-2"), Check::AtLeast(-2), Update::ClusterWide),
    key("max.compaction.lag.ms", ConfigType::Long, Some("9223372036854775807"), Check::AtLeast(1), Update::ClusterWide),
    key("max.message.bytes", ConfigType::Int, Some("1048588"), Check::AtLeast(0), Update::ClusterWide),
    key("message.timestamp.after.max.ms", ConfigType::Long, Some("3600000"), Check::AtLeast(0), Update::ClusterWide),
    key("message.timestamp.before.max.ms", ConfigType::Long, Some("9223372036854775807"), Check::AtLeast(0), Update::ClusterWide),
    key("message.timestamp.type", ConfigType::String, Some("CreateTime"), Check::OneOf(&["CreateTime", "LogAppendTime"]), Update::ClusterWide),
    key("min.cleanable.dirty.ratio", ConfigType::Double, Some("0.5"), Check::BetweenDouble(0.0, 1.0), Update::ClusterWide),
    key("min.compaction.lag.ms", ConfigType::Long, Some("0"), Check::AtLeast(0), Update::ClusterWide),
    key("min.insync.replicas", ConfigType::Int, Some("1"), Check::AtLeast(1), Update::ClusterWide),
    key("preallocate", ConfigType::Boolean, Some("false"), Check::Any, Update::ClusterWide),
    key("remote.log.copy.disable", ConfigType::Boolean, Some("false"), Check::Any, Update::ClusterWide),
    key("remote.log.delete.on.disable", ConfigType::Boolean, Some("false"), Check::Any, Update::ClusterWide),
    key("remote.storage.enable", ConfigType::Boolean, Some("false"), Check::Any, Update::ClusterWide),
    key("retention.bytes", ConfigType::Long, Some("-1"), Check::Any, Update::ClusterWide),
    key("retention.ms", ConfigType::Long, Some("604800000"), Check::AtLeast(-1), Update::ClusterWide),
    key("segment.bytes", ConfigType::Int, Some("1073741824"), Check::AtLeast(1048576), Update::ClusterWide),
    key("segment.index.bytes", ConfigType::Int, Some("10485760"), Check::AtLeast(4), Update::ClusterWide),
    key("segment.jitter.ms", ConfigType::Long, Some("0"), Check::AtLeast(0), Update::ClusterWide),
    key("segment.ms", ConfigType::Long, Some("604800000"), Check::AtLeast(1), Update::ClusterWide),
    key("unclean.leader.election.enable", ConfigType::Boolean, Some("false"), Check::Any, Update::ClusterWide),
];

/// The keys of the broker that give a topic's setting its default, the strongest first, each with
/// the factor to the topic's unit.
#[rustfmt::skip]
pub(crate) fn broker_synonyms(topic_key: &str) -> &'static [(&'static str, i64)] {
    match topic_key {
        "segment.bytes" => &[("log.segment.bytes", 1)],
        "segment.ms" => &[("log.roll.ms", 1), ("log.roll.hours", HOUR_MS)],
        "segment.jitter.ms" => &[("log.roll.jitter.ms", 1), ("log.roll.jitter.hours", HOUR_MS)],
        "segment.index.bytes" => &[("log.index.size.max.bytes", 1)],
        "flush.messages" => &[("log.flush.interval.messages", 1)],
        "flush.ms" => &[("log.flush.interval.ms", 1), ("log.flush.scheduler.interval.ms", 1)],
        "retention.bytes" => &[("log.retention.bytes", 1)],
        "retention.ms" => &[
            ("log.retention.ms", 1),
            ("log.retention.minutes", MINUTE_MS),
            ("log.retention.hours", HOUR_MS),
        ],
        "max.message.bytes" => &[("message.max.bytes", 1)],
        "index.interval.bytes" => &[("log.index.interval.bytes", 1)],
        "delete.retention.ms" => &[("log.cleaner.delete.retention.ms", 1)],
        "min.compaction.lag.ms" => &[("log.cleaner.min.compaction.lag.ms", 1)],
        "max.compaction.lag.ms" => &[("log.cleaner.max.compaction.lag.ms", 1)],
        "file.delete.delay.ms" => &[("log.segment.delete.delay.ms", 1)],
        "min.cleanable.dirty.ratio" => &[("log.cleaner.min.cleanable.ratio", 1)],
        "cleanup.policy" => &[("log.cleanup.policy", 1)],
        "unclean.leader.election.enable" => &[("unclean.leader.election.enable", 1)],
        "min.insync.replicas" => &[("min.insync.replicas", 1)],
        "compression.type" => &[("compression.type", 1)],
        "compression.gzip.level" => &[("compression.gzip.level", 1)],
        "compression.lz4.level" => &[("compression.lz4.level", 1)],
        "compression.zstd.level" => &[("compression.zstd.level", 1)],
        "preallocate" => &[("log.preallocate", 1)],
        "message.timestamp.type" => &[("log.message.timestamp.type", 1)],
        "message.timestamp.before.max.ms" => &[("log.message.timestamp.before.max.ms", 1)],
        "message.timestamp.after.max.ms" => &[("log.message.timestamp.after.max.ms", 1)],
        "local.retention.ms" => &[("log.local.retention.ms", 1)],
        "local.retention.bytes" => &[("log.local.retention.bytes", 1)],
        _ => &[],
    }
}

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 3_600_000;
