//! The table of Kafka's topic settings.

use crate::error::{LogError, Result};

/// The type of a setting, as Kafka names it in DescribeConfigs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigKind {
    /// `true` or `false`.
    Boolean,
    /// 32 bits.
    Int,
    /// 64 bits.
    Long,
    /// A number with a fraction.
    Double,
    /// Text.
    String,
    /// Texts separated by commas.
    List,
}

#[derive(Clone, Copy, Debug)]
enum Valid {
    Any,
    AtLeast(i64),
    Between(i64, i64),
    /// Kafka's gzip levels: 1 to 9, or -1.
    GzipLevel,
    OneOf(&'static [&'static str]),
    Subset(&'static [&'static str]),
    ThrottledReplicas,
}

/// One of Kafka's topic settings.
#[derive(Clone, Copy, Debug)]
pub struct ConfigDefinition {
    /// Its key.
    pub name: &'static str,
    /// Its type.
    pub kind: ConfigKind,
    /// Kafka's default.
    pub default: &'static str,
    /// The key of `server.properties` that gives the default of all topics.
    pub server_key: Option<&'static str>,
    /// What it does.
    pub documentation: &'static str,
    /// Whether it is for tests only: accepted, not described.
    pub is_internal: bool,
    valid: Valid,
}

impl ConfigDefinition {
    /// Whether `value` is allowed.
    ///
    /// # Errors
    /// [`LogError::InvalidConfig`] with Kafka's message.
    pub fn check(&self, value: &str) -> Result<()> {
        let refuse = |why: String| {
            let name = self.name;
            Err(LogError::InvalidConfig(format!("Invalid value {value} for configuration {name}: {why}")))
        };
        let number = match self.kind {
            ConfigKind::Int => match value.parse::<i32>() {
                Ok(number) => i64::from(number),
                Err(_) => return refuse("Not a number of type INT".to_owned()),
            },
            ConfigKind::Long => match value.parse::<i64>() {
                Ok(number) => number,
                Err(_) => return refuse("Not a number of type LONG".to_owned()),
            },
            ConfigKind::Double => match value.parse::<f64>() {
                Ok(number) if number.is_nan() => return refuse("Not a number of type DOUBLE".to_owned()),
                Ok(number) if number < 0.0 => return refuse("Value must be at least 0".to_owned()),
                Ok(number) if number > 1.0 => return refuse("Value must be no more than 1".to_owned()),
                Ok(_) => return Ok(()),
                Err(_) => return refuse("Not a number of type DOUBLE".to_owned()),
            },
            ConfigKind::Boolean => {
                if value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("false") {
                    return Ok(());
                }
                return refuse("Expected value to be either true or false".to_owned());
            }
            ConfigKind::String | ConfigKind::List => 0,
        };
        let one_of = |allowed: &[&str]| format!("String must be one of: {}", allowed.join(", "));
        match self.valid {
            Valid::Any => Ok(()),
            Valid::AtLeast(min) | Valid::Between(min, _) if number < min => {
                refuse(format!("Value must be at least {min}"))
            }
            Valid::Between(_, max) if number > max => refuse(format!("Value must be no more than {max}")),
            Valid::AtLeast(_) | Valid::Between(..) => Ok(()),
            Valid::GzipLevel if number == -1 || (1..=9).contains(&number) => Ok(()),
            Valid::GzipLevel => refuse("Value must be between 1 and 9 or equal to -1".to_owned()),
            Valid::OneOf(allowed) if allowed.contains(&value) => Ok(()),
            Valid::OneOf(allowed) => refuse(one_of(allowed)),
            Valid::Subset(allowed) => {
                let mut seen: Vec<&str> = Vec::new();
                for item in value.split(',').map(str::trim) {
                    if item.is_empty() && value.is_empty() {
                        break;
                    }
                    if item.is_empty() {
                        return refuse(format!("Configuration '{}' values must not be empty.", self.name));
                    }
                    if seen.contains(&item) {
                        return refuse(format!("Configuration '{}' values must not be duplicated.", self.name));
                    }
                    if !allowed.contains(&item) {
                        let name = self.name;
                        let why = one_of(allowed);
                        let text = format!("Invalid value {item} for configuration {name}: {why}");
                        return Err(LogError::InvalidConfig(text));
                    }
                    seen.push(item);
                }
                Ok(())
            }
            Valid::ThrottledReplicas => {
                let is_pair = |item: &str| {
                    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
                    item.split_once(':').is_some_and(|(partition, broker)| digits(partition) && digits(broker))
                };
                if value.is_empty() || value == "*" || value.split(',').all(|item| is_pair(item.trim())) {
                    return Ok(());
                }
                refuse(format!(
                    "{} must be the literal '*' or a list of replicas in the following format: \
                     [partitionId]:[brokerId],[partitionId]:[brokerId],...",
                    self.name
                ))
            }
        }
    }
}

const fn define(
    name: &'static str,
    kind: ConfigKind,
    default: &'static str,
    valid: Valid,
    server_key: Option<&'static str>,
    documentation: &'static str,
) -> ConfigDefinition {
    ConfigDefinition { name, kind, default, server_key, documentation, is_internal: false, valid }
}

use ConfigKind::{Boolean, Double, Int, List, Long};
use Valid::{Any, AtLeast, Between, GzipLevel, OneOf, Subset, ThrottledReplicas};

const CODECS: &[&str] = &["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"];
const LONG_MAX: &str = "9223372036854775807";

static DEFINITIONS: &[ConfigDefinition] = &[
    define(
        "cleanup.policy",
        List,
        "delete",
        Subset(&["compact", "delete"]),
        Some("log.cleanup.policy"),
        "How old data goes: `delete` drops segments by age and size, `compact` keeps the latest record of each key. \
         Both may be given; an empty list keeps everything.",
    ),
    define(
        "compression.gzip.level",
        Int,
        "-1",
        GzipLevel,
        Some("compression.gzip.level"),
        "The level where compression.type is gzip.",
    ),
    define(
        "compression.lz4.level",
        Int,
        "9",
        Between(1, 17),
        Some("compression.lz4.level"),
        "The level where compression.type is lz4.",
    ),
    define(
        "compression.type",
        ConfigKind::String,
        "producer",
        OneOf(CODECS),
        Some("compression.type"),
        "The codec that batches are stored with; `producer` keeps what the producer sent.",
    ),
    define(
        "compression.zstd.level",
        Int,
        "3",
        Between(-131_072, 22),
        Some("compression.zstd.level"),
        "The level where compression.type is zstd.",
    ),
    define(
        "delete.retention.ms",
        Long,
        "86400000",
        AtLeast(0),
        Some("log.cleaner.delete.retention.ms"),
        "How long tombstones and transaction markers of compacted topics are kept.",
    ),
    define(
        "file.delete.delay.ms",
        Long,
        "60000",
        AtLeast(0),
        Some("log.segment.delete.delay.ms"),
        "The time between a file's deletion from the log and from the file system.",
    ),
    define(
        "flush.messages",
        Long,
        LONG_MAX,
        AtLeast(1),
        Some("log.flush.interval.messages"),
        "The number of records after which the log is forced to disk.",
    ),
    define(
        "flush.ms",
        Long,
        LONG_MAX,
        AtLeast(0),
        Some("log.flush.interval.ms"),
        "The time after which the log is forced to disk.",
    ),
    define(
        "follower.replication.throttled.replicas",
        List,
        "",
        ThrottledReplicas,
        None,
        "The replicas whose replication is throttled on the follower's side.",
    ),
    define(
        "index.interval.bytes",
        Int,
        "4096",
        AtLeast(0),
        Some("log.index.interval.bytes"),
        "Bytes of the log between two entries of its indexes.",
    ),
    define(
        "leader.replication.throttled.replicas",
        List,
        "",
        ThrottledReplicas,
        None,
        "The replicas whose replication is throttled on the leader's side.",
    ),
    define(
        "local.retention.bytes",
        Long,
        "-2",
        AtLeast(-2),
        Some("log.local.retention.bytes"),
        "The size of the local part of a log with tiered storage; -2 stands for retention.bytes.",
    ),
    define(
        "local.retention.ms",
        Long,
        "-2",
        AtLeast(-2),
        Some("log.local.retention.ms"),
        "The age of the local part of a log with tiered storage; -2 stands for retention.ms.",
    ),
    define(
        "max.compaction.lag.ms",
        Long,
        LONG_MAX,
        AtLeast(1),
        Some("log.cleaner.max.compaction.lag.ms"),
        "The longest time that a record stays uncompacted.",
    ),
    define(
        "max.message.bytes",
        Int,
        "1048588",
        AtLeast(0),
        Some("message.max.bytes"),
        "The largest record batch, after compression.",
    ),
    define(
        "message.timestamp.after.max.ms",
        Long,
        "3600000",
        AtLeast(0),
        Some("log.message.timestamp.after.max.ms"),
        "How much later than the broker's clock a record's timestamp may be.",
    ),
    define(
        "message.timestamp.before.max.ms",
        Long,
        LONG_MAX,
        AtLeast(0),
        Some("log.message.timestamp.before.max.ms"),
        "How much earlier than the broker's clock a record's timestamp may be.",
    ),
    define(
        "message.timestamp.type",
        ConfigKind::String,
        "CreateTime",
        OneOf(&["CreateTime", "LogAppendTime"]),
        Some("log.message.timestamp.type"),
        "Whether records keep the producer's timestamp or get the time of their append.",
    ),
    define(
        "min.cleanable.dirty.ratio",
        Double,
        "0.5",
        Any,
        Some("log.cleaner.min.cleanable.ratio"),
        "The part of a log that must be uncompacted before it is compacted.",
    ),
    define(
        "min.compaction.lag.ms",
        Long,
        "0",
        AtLeast(0),
        Some("log.cleaner.min.compaction.lag.ms"),
        "The shortest time that a record stays uncompacted.",
    ),
    define(
        "min.insync.replicas",
        Int,
        "1",
        AtLeast(1),
        Some("min.insync.replicas"),
        "The replicas that must have a record before it is acknowledged with acks=all.",
    ),
    define(
        "preallocate",
        Boolean,
        "false",
        Any,
        Some("log.preallocate"),
        "Whether a new segment's file gets its full size at once.",
    ),
    define(
        "remote.log.copy.disable",
        Boolean,
        "false",
        Any,
        None,
        "Whether no more segments are copied to tiered storage.",
    ),
    define(
        "remote.log.delete.on.disable",
        Boolean,
        "false",
        Any,
        None,
        "Whether tiered data goes when tiered storage is switched off.",
    ),
    define("remote.storage.enable", Boolean, "false", Any, None, "Whether the topic uses tiered storage."),
    define(
        "retention.bytes",
        Long,
        "-1",
        Any,
        Some("log.retention.bytes"),
        "The size of a partition above which old segments go; -1 for no limit.",
    ),
    define(
        "retention.ms",
        Long,
        "604800000",
        AtLeast(-1),
        Some("log.retention.ms"),
        "The age above which segments go; -1 for no limit.",
    ),
    define(
        "segment.bytes",
        Int,
        "1073741824",
        AtLeast(1024 * 1024),
        Some("log.segment.bytes"),
        "The size of a segment file.",
    ),
    define(
        "segment.index.bytes",
        Int,
        "10485760",
        AtLeast(4),
        Some("log.index.size.max.bytes"),
        "The size of a segment's index.",
    ),
    define(
        "segment.jitter.ms",
        Long,
        "0",
        AtLeast(0),
        Some("log.roll.jitter.ms"),
        "The most that is taken off segment.ms by chance, so that not all logs roll at once.",
    ),
    define(
        "segment.ms",
        Long,
        "604800000",
        AtLeast(1),
        Some("log.roll.ms"),
        "The time after which a segment is rolled although it is not full.",
    ),
    define(
        "unclean.leader.election.enable",
        Boolean,
        "false",
        Any,
        Some("unclean.leader.election.enable"),
        "Whether a replica outside of the in-sync set may become leader.",
    ),
    ConfigDefinition {
        name: "internal.segment.bytes",
        kind: Int,
        default: "1073741824",
        server_key: None,
        documentation: "The size of a segment file, without a lower limit. For tests.",
        is_internal: true,
        valid: Any,
    },
];

/// All topic settings, sorted by name, those for tests last.
pub fn definitions() -> &'static [ConfigDefinition] {
    DEFINITIONS
}

/// A topic setting by its key.
pub fn definition(name: &str) -> Option<&'static ConfigDefinition> {
    DEFINITIONS.iter().find(|definition| definition.name == name)
}
