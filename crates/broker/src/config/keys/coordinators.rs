//! The broker's keys of transactions and share groups.

use vltava_config::Definition;
use vltava_config::Importance::{High, Low};
use vltava_config::Kind::{Boolean, Int, Short};
use vltava_config::Range::{Any, AtLeast, Between};
use vltava_config::Update::ClusterWide;

use super::{INTERNAL, ONE_BROKER, SHARE};

#[rustfmt::skip]
pub(super) static COORDINATORS: &[Definition] = &[
    Definition::new("add.partitions.to.txn.retry.backoff.max.ms", Int, Some("100"), AtLeast(0), "The longest pause between retries of adding a partition to a transaction, in ms.").importance(High),
    Definition::new("add.partitions.to.txn.retry.backoff.ms", Int, Some("20"), AtLeast(1), "The first pause between retries of adding a partition to a transaction, in ms.").importance(High),
    Definition::new("share.coordinator.append.linger.ms", Int, Some("-1"), AtLeast(-1), "How long the share coordinator gathers records before it writes them, in ms; -1 adapts.").warned(SHARE),
    Definition::new("share.coordinator.cached.buffer.max.bytes", Int, Some("1048588"), AtLeast(524_288), "Upper size of a buffer that the share coordinator keeps, in bytes.").update(ClusterWide).warned(SHARE),
    Definition::new("share.coordinator.cold.partition.snapshot.interval.ms", Int, Some("300000"), AtLeast(1), "Time between snapshots of state that does not change, in ms.").importance(Low).internal().warned(INTERNAL),
    Definition::new("share.coordinator.load.buffer.size", Int, Some("5242880"), AtLeast(1), "Memory for reading a partition of share state, in bytes.").importance(High).warned(SHARE),
    Definition::new("share.coordinator.snapshot.update.records.per.snapshot", Int, Some("500"), Between(0, 500), "Updates of share state between two snapshots.").warned(SHARE),
    Definition::new("share.coordinator.state.topic.compression.codec", Int, Some("0"), Any, "The codec of the topic of share state by Kafka's number.").importance(High).warned(SHARE),
    Definition::new("share.coordinator.state.topic.min.isr", Short, Some("2"), AtLeast(1), "The in-sync replicas that the topic of share state needs.").importance(High).warned_unless("1", SHARE),
    Definition::new("share.coordinator.state.topic.num.partitions", Int, Some("50"), AtLeast(1), "Partitions of the topic of share state.").importance(High).warned(SHARE),
    Definition::new("share.coordinator.state.topic.prune.interval.ms", Int, Some("300000"), AtLeast(1), "Time between deletions from the topic of share state, in ms.").importance(Low).internal().warned(INTERNAL),
    Definition::new("share.coordinator.state.topic.replication.factor", Short, Some("3"), AtLeast(1), "Replicas of the topic of share state.").importance(High).warned_unless("1", SHARE),
    Definition::new("share.coordinator.state.topic.segment.bytes", Int, Some("104857600"), AtLeast(1), "The size of a segment of the topic of share state, in bytes.").importance(High).warned(SHARE),
    Definition::new("share.coordinator.threads", Int, Some("1"), AtLeast(1), "Threads of the share coordinator.").warned(SHARE),
    Definition::new("share.coordinator.write.timeout.ms", Int, Some("5000"), AtLeast(1), "How long a write of share state waits for its replicas, in ms.").importance(High).warned(SHARE),
    Definition::new("share.fetch.purgatory.purge.interval.requests", Int, Some("1000"), Any, "Requests between two clean-ups of waiting share fetches.").warned(SHARE),
    Definition::new("transaction.abort.timed.out.transaction.cleanup.interval.ms", Int, Some("10000"), AtLeast(1), "Time between looks for transactions that took too long, in ms.").importance(Low),
    Definition::new("transaction.max.timeout.ms", Int, Some("900000"), AtLeast(1), "The longest transaction that a producer may ask for, in ms.").importance(High),
    Definition::new("transaction.partition.verification.enable", Boolean, Some("true"), Any, "Whether a partition checks with the coordinator that a transaction is open.").importance(Low).update(ClusterWide),
    Definition::new("transaction.remove.expired.transaction.cleanup.interval.ms", Int, Some("3600000"), AtLeast(1), "Time between looks for transactional ids that expired, in ms.").importance(Low),
    Definition::new("transaction.state.log.load.buffer.size", Int, Some("5242880"), AtLeast(1), "Memory for reading a partition of transaction state, in bytes.").importance(High),
    Definition::new("transaction.state.log.min.isr", Int, Some("2"), AtLeast(1), "The in-sync replicas that the topic of transaction state needs.").importance(High).warned_unless("1", ONE_BROKER),
    Definition::new("transaction.state.log.num.partitions", Int, Some("50"), AtLeast(1), "Partitions of the topic of transaction state.").importance(High),
    Definition::new("transaction.state.log.replication.factor", Short, Some("3"), AtLeast(1), "Replicas of the topic of transaction state.").importance(High).warned_unless("1", ONE_BROKER),
    Definition::new("transaction.state.log.segment.bytes", Int, Some("104857600"), AtLeast(1), "The size of a segment of the topic of transaction state, in bytes.").importance(High),
    Definition::new("transaction.two.phase.commit.enable", Boolean, Some("false"), Any, "Whether producers may take part in two-phase commits.").importance(Low),
    Definition::new("transactional.id.expiration.ms", Int, Some("604800000"), AtLeast(1), "How long a transactional id without transactions is kept, in ms.").importance(High),
];
