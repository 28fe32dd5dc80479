//! The table of Kafka's topic settings.

use vltava_config::Definition;
use vltava_config::Kind::{Boolean, Double, Int, List, Long, String};
use vltava_config::Range::{Any, AtLeast, Between, BetweenOr, Checked, EachOf, Fraction, OneOf};
use vltava_config::{Range, Tables, Update};

const CODECS: &[&str] = &["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"];
const REPLICATION: &str = "no replica is filled from another one here";
const TIERED: &str = "tiered storage is not supported";
const THROTTLED: Range = Checked(
    "the literal '*' or a list of replicas in the following format: [partitionId]:[brokerId],[partitionId]:[brokerId],...",
    is_replica_list,
);

/// `*`, or `partition:broker` pairs.
fn is_replica_list(value: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_pair = |entry: &str| {
        entry.trim().split_once(':').is_some_and(|(partition, broker)| digits(partition) && digits(broker))
    };
    value.is_empty() || value == "*" || value.split(',').all(is_pair)
}

/// A topic's setting, which Kafka alters at run time.
const fn topic(
    key: &'static str,
    kind: vltava_config::Kind,
    default: &'static str,
    range: Range,
    doc: &'static str,
) -> Definition {
    Definition::new(key, kind, Some(default), range, doc).update(Update::ClusterWide)
}

/// All topic settings; those that are [internal](Definition::is_internal) are accepted and not described.
pub static TOPIC_SETTINGS: Tables = &[TOPIC];

#[rustfmt::skip]
static TOPIC: &[Definition] = &[
    topic("cleanup.policy", List, "delete", EachOf(&["compact", "delete"]), "How old data goes: `delete` drops segments by age and size, `compact` keeps the latest record of each key. Both may be given; an empty list keeps everything."),
    topic("compression.gzip.level", Int, "-1", BetweenOr(1, 9, -1), "The level where compression.type is gzip."),
    topic("compression.lz4.level", Int, "9", Between(1, 17), "The level where compression.type is lz4."),
    topic("compression.type", String, "producer", OneOf(CODECS), "The codec that batches are stored with; `producer` keeps what the producer sent."),
    topic("compression.zstd.level", Int, "3", Between(-131_072, 22), "The level where compression.type is zstd."),
    topic("delete.retention.ms", Long, "86400000", AtLeast(0), "How long tombstones and transaction markers of compacted topics are kept."),
    topic("file.delete.delay.ms", Long, "60000", AtLeast(0), "The time between a file's deletion from the log and from the file system."),
    topic("flush.messages", Long, "9223372036854775807", AtLeast(1), "The number of records after which the log is forced to disk."),
    topic("flush.ms", Long, "9223372036854775807", AtLeast(0), "The time after which the log is forced to disk."),
    topic("follower.replication.throttled.replicas", List, "", THROTTLED, "The replicas whose replication is throttled on the follower's side.").warned(REPLICATION),
    topic("index.interval.bytes", Int, "4096", AtLeast(0), "Bytes of the log between two entries of its indexes."),
    topic("leader.replication.throttled.replicas", List, "", THROTTLED, "The replicas whose replication is throttled on the leader's side.").warned(REPLICATION),
    topic("local.retention.bytes", Long, "-2", AtLeast(-2), "The size of the local part of a log with tiered storage; -2 stands for retention.bytes.").warned(TIERED),
    topic("local.retention.ms", Long, "-2", AtLeast(-2), "The age of the local part of a log with tiered storage; -2 stands for retention.ms.").warned(TIERED),
    topic("max.compaction.lag.ms", Long, "9223372036854775807", AtLeast(1), "The longest time that a record stays uncompacted."),
    topic("max.message.bytes", Int, "1048588", AtLeast(0), "The largest record batch, after compression."),
    topic("message.timestamp.after.max.ms", Long, "3600000", AtLeast(0), "How much later than the broker's clock a record's timestamp may be."),
    topic("message.timestamp.before.max.ms", Long, "9223372036854775807", AtLeast(0), "How much earlier than the broker's clock a record's timestamp may be."),
    topic("message.timestamp.type", String, "CreateTime", OneOf(&["CreateTime", "LogAppendTime"]), "Whether records keep the producer's timestamp or get the time of their append."),
    topic("min.cleanable.dirty.ratio", Double, "0.5", Fraction(0.0, 1.0), "The part of a log that must be uncompacted before it is compacted."),
    topic("min.compaction.lag.ms", Long, "0", AtLeast(0), "The shortest time that a record stays uncompacted."),
    topic("min.insync.replicas", Int, "1", AtLeast(1), "The replicas that must have a record before it is acknowledged with acks=all."),
    topic("preallocate", Boolean, "false", Any, "Whether a new segment's file gets its full size at once."),
    topic("remote.log.copy.disable", Boolean, "false", Any, "Whether no more segments are copied to tiered storage.").warned(TIERED),
    topic("remote.log.delete.on.disable", Boolean, "false", Any, "Whether tiered data goes when tiered storage is switched off.").warned(TIERED),
    topic("remote.storage.enable", Boolean, "false", Any, "Whether the topic uses tiered storage.").refused(TIERED),
    topic("retention.bytes", Long, "-1", Any, "The size of a partition above which old segments go; -1 for no limit."),
    topic("retention.ms", Long, "604800000", AtLeast(-1), "The age above which segments go; -1 for no limit."),
    topic("segment.bytes", Int, "1073741824", AtLeast(1_048_576), "The size of a segment file."),
    topic("segment.index.bytes", Int, "10485760", AtLeast(4), "The size of a segment's index."),
    topic("segment.jitter.ms", Long, "0", AtLeast(0), "The most that is taken off segment.ms by chance, so that not all logs roll at once."),
    topic("segment.ms", Long, "604800000", AtLeast(1), "The time after which a segment is rolled although it is not full."),
    topic("unclean.leader.election.enable", Boolean, "false", Any, "Whether a replica outside of the in-sync set may become leader.").warned(REPLICATION),
    topic("internal.segment.bytes", Int, "1073741824", Any, "The size of a segment file, without a lower limit. For tests.").internal(),
];
