//! The broker's keys of logs, and the defaults of topics.

use vltava_config::Definition;
use vltava_config::Importance::{High, Low};
use vltava_config::Kind::{Boolean, Double, Int, List, Long, String};
use vltava_config::Range::{Any, AtLeast, Between, BetweenOr, EachOf, Fraction, OneOf};
use vltava_config::Update::{ClusterWide, PerBroker};

use super::{INTERNAL, ONE_BROKER, ONE_CONTROLLER, TIERED};

#[rustfmt::skip]
pub(super) static LOGS: &[Definition] = &[
    Definition::new("compression.gzip.level", Int, Some("-1"), BetweenOr(1, 9, -1), "The level where compression.type is gzip.").update(ClusterWide),
    Definition::new("compression.lz4.level", Int, Some("9"), Between(1, 17), "The level where compression.type is lz4.").update(ClusterWide),
    Definition::new("compression.type", String, Some("producer"), OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]), "The codec that batches are stored with; producer keeps what the producer sent.").importance(High).update(ClusterWide),
    Definition::new("compression.zstd.level", Int, Some("3"), Between(-131_072, 22), "The level where compression.type is zstd.").update(ClusterWide),
    Definition::new("cordoned.log.dirs", List, Some(""), Any, "Log directories that get no new partitions.").update(PerBroker).refused("all log directories take new partitions"),
    Definition::new("log.cleaner.backoff.ms", Long, Some("15000"), AtLeast(0), "The pause of compaction when there is nothing to do, in ms.").update(ClusterWide),
    Definition::new("log.cleaner.dedupe.buffer.size", Long, Some("134217728"), Any, "Memory for the keys of a round of compaction, in bytes, of all threads together.").update(ClusterWide),
    Definition::new("log.cleaner.delete.retention.ms", Long, Some("86400000"), AtLeast(0), "How long tombstones of compacted topics are kept, in ms.").update(ClusterWide),
    Definition::new("log.cleaner.enable", Boolean, Some("true"), Any, "Whether compacted topics are compacted."),
    Definition::new("log.cleaner.io.buffer.load.factor", Double, Some("0.9"), Any, "How full the memory for keys may get.").update(ClusterWide),
    Definition::new("log.cleaner.io.buffer.size", Int, Some("524288"), AtLeast(0), "Memory for reading and writing of compaction, in bytes, of all threads together.").update(ClusterWide),
    Definition::new("log.cleaner.io.max.bytes.per.second", Double, Some("1.7976931348623157E308"), Any, "The most that compaction reads and writes, in bytes per second, of all threads together.").update(ClusterWide),
    Definition::new("log.cleaner.max.compaction.lag.ms", Long, Some("9223372036854775807"), AtLeast(1), "The longest time that a record stays uncompacted, in ms.").update(ClusterWide),
    Definition::new("log.cleaner.min.cleanable.ratio", Double, Some("0.5"), Fraction(0.0, 1.0), "The part of a log that must be uncompacted before it is compacted.").update(ClusterWide),
    Definition::new("log.cleaner.min.compaction.lag.ms", Long, Some("0"), AtLeast(0), "The shortest time that a record stays uncompacted, in ms.").update(ClusterWide),
    Definition::new("log.cleaner.threads", Int, Some("1"), AtLeast(0), "Threads of compaction.").update(ClusterWide),
    Definition::new("log.cleanup.policy", List, Some("delete"), EachOf(&["compact", "delete"]), "How old data goes: delete, compact or both.").update(ClusterWide),
    Definition::new("log.dir", List, Some("/tmp/kafka-logs"), Any, "The directories of data where log.dirs is not given.").importance(High),
    Definition::new("log.dir.failure.timeout.ms", Long, Some("30000"), AtLeast(1), "A broker that cannot tell the controller of a failed directory for this long stops, in ms.").importance(Low).warned(ONE_CONTROLLER),
    Definition::new("log.dirs", List, None, Any, "The directories of data, separated by commas.").importance(High),
    Definition::new("log.flush.interval.messages", Long, Some("9223372036854775807"), AtLeast(1), "The number of records after which a log is forced to disk.").importance(High).update(ClusterWide),
    Definition::new("log.flush.interval.ms", Long, None, Any, "The time after which a log is forced to disk, in ms; log.flush.scheduler.interval.ms if not given.").importance(High).update(ClusterWide),
    Definition::new("log.flush.offset.checkpoint.interval.ms", Int, Some("60000"), AtLeast(0), "Time between checkpoints of what is on disk, in ms.").importance(High),
    Definition::new("log.flush.scheduler.interval.ms", Long, Some("9223372036854775807"), Any, "Time between looks for logs to force to disk, in ms.").importance(High),
    Definition::new("log.flush.start.offset.checkpoint.interval.ms", Int, Some("60000"), AtLeast(0), "Time between checkpoints of the logs' first offsets, in ms.").importance(High),
    Definition::new("log.index.interval.bytes", Int, Some("4096"), AtLeast(0), "Bytes of a log between two entries of its indexes.").update(ClusterWide),
    Definition::new("log.index.size.max.bytes", Int, Some("10485760"), AtLeast(4), "The size of a segment's index, in bytes.").update(ClusterWide),
    Definition::new("log.initial.task.delay.ms", Long, Some("30000"), AtLeast(0), "The time before the first upkeep of the logs, in ms.").importance(Low).internal(),
    Definition::new("log.local.retention.bytes", Long, Some("-2"), AtLeast(-2), "The size of the local part of a log with tiered storage, in bytes; -2 for log.retention.bytes.").update(ClusterWide).warned(TIERED),
    Definition::new("log.local.retention.ms", Long, Some("-2"), AtLeast(-2), "The age of the local part of a log with tiered storage, in ms; -2 for log.retention.ms.").update(ClusterWide).warned(TIERED),
    Definition::new("log.message.timestamp.after.max.ms", Long, Some("3600000"), AtLeast(0), "How much later than the broker's clock a record's timestamp may be, in ms.").update(ClusterWide),
    Definition::new("log.message.timestamp.before.max.ms", Long, Some("9223372036854775807"), AtLeast(0), "How much earlier than the broker's clock a record's timestamp may be, in ms.").update(ClusterWide),
    Definition::new("log.message.timestamp.type", String, Some("CreateTime"), OneOf(&["CreateTime", "LogAppendTime"]), "Whether records keep the producer's timestamp or get the time of their append.").update(ClusterWide),
    Definition::new("log.preallocate", Boolean, Some("false"), Any, "Whether a new segment's file gets its full size at once.").update(ClusterWide),
    Definition::new("log.retention.bytes", Long, Some("-1"), Any, "The size of a partition above which old segments go, in bytes; -1 for no limit.").importance(High).update(ClusterWide),
    Definition::new("log.retention.check.interval.ms", Long, Some("300000"), AtLeast(1), "Time between looks for segments that can go, in ms."),
    Definition::new("log.retention.hours", Int, Some("168"), Any, "The age above which segments go, in hours.").importance(High),
    Definition::new("log.retention.minutes", Int, None, Any, "The age above which segments go, in minutes; log.retention.hours if not given.").importance(High),
    Definition::new("log.retention.ms", Long, None, Any, "The age above which segments go, in ms; log.retention.minutes if not given, -1 for no limit.").importance(High).update(ClusterWide),
    Definition::new("log.roll.hours", Int, Some("168"), AtLeast(1), "The time after which a segment is rolled although it is not full, in hours.").importance(High),
    Definition::new("log.roll.jitter.hours", Int, Some("0"), AtLeast(0), "The most that is taken off log.roll.hours by chance, in hours.").importance(High),
    Definition::new("log.roll.jitter.ms", Long, None, Any, "The most that is taken off log.roll.ms by chance, in ms; log.roll.jitter.hours if not given.").importance(High).update(ClusterWide),
    Definition::new("log.roll.ms", Long, None, Any, "The time after which a segment is rolled although it is not full, in ms; log.roll.hours if not given.").importance(High).update(ClusterWide),
    Definition::new("log.segment.bytes", Int, Some("1073741824"), AtLeast(1_048_576), "The size of a segment file, in bytes.").importance(High).update(ClusterWide),
    Definition::new("log.segment.delete.delay.ms", Long, Some("60000"), AtLeast(0), "The time between a file's deletion from a log and from the file system, in ms.").importance(High).update(ClusterWide),
    Definition::new("max.decompressed.batch.bytes", Int, Some("134217728"), AtLeast(0), "The most bytes that the records of one compressed batch may decompress to; a producer that sends more gets MESSAGE_TOO_LARGE. Kafka has no such limit.").ours(),
    Definition::new("message.max.bytes", Int, Some("1048588"), AtLeast(0), "The largest record batch, after compression, in bytes.").importance(High).update(ClusterWide),
    Definition::new("min.insync.replicas", Int, Some("1"), AtLeast(1), "The replicas that must have a record before it is acknowledged with acks=all.").importance(High).update(ClusterWide),
    Definition::new("num.recovery.threads.per.data.dir", Int, Some("2"), AtLeast(1), "Threads per log directory for loading logs and for their recovery.").importance(High).update(ClusterWide),
    Definition::new("producer.id.expiration.check.interval.ms", Int, Some("600000"), AtLeast(1), "Time between looks for producer ids that expired, in ms.").importance(Low).internal(),
    Definition::new("producer.id.expiration.ms", Int, Some("86400000"), AtLeast(1), "How long a partition remembers a producer that sends nothing, in ms.").importance(Low).update(ClusterWide),
    Definition::new("unclean.leader.election.enable", Boolean, Some("false"), Any, "Whether a replica outside of the in-sync ones may become leader.").importance(High).update(ClusterWide).warned(ONE_BROKER),
    Definition::new("unclean.leader.election.interval.ms", Long, Some("300000"), AtLeast(1), "Time between looks for partitions that need an unclean election, in ms.").internal().warned(INTERNAL),
];
