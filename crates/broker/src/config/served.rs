//! Which of Kafka's keys this broker acts on, and what it says about the others.

use super::nearest::nearest;
use super::{BROKER_KEYS, broker_synonyms, find};

/// The broker's keys that have an effect here, besides those that topics' settings derive from.
#[rustfmt::skip]
static SERVED: &[&str] = &[
    "advertised.listeners",
    "auto.create.topics.enable",
    "broker.id",
    "broker.rack",
    "connections.max.idle.ms",
    "controller.listener.names",
    "default.replication.factor",
    "delete.topic.enable",
    "fetch.max.bytes",
    "group.consumer.assignment.interval.ms",
    "group.consumer.heartbeat.interval.ms",
    "group.consumer.max.size",
    "group.consumer.session.timeout.ms",
    "group.coordinator.rebalance.protocols",
    "group.initial.rebalance.delay.ms",
    "group.max.session.timeout.ms",
    "group.max.size",
    "group.min.session.timeout.ms",
    "inter.broker.listener.name",
    "listener.security.protocol.map",
    "listeners",
    "log.cleaner.backoff.ms",
    "log.cleaner.dedupe.buffer.size",
    "log.cleaner.enable",
    "log.cleaner.io.buffer.load.factor",
    "log.cleaner.threads",
    "log.dir",
    "log.dirs",
    "log.flush.offset.checkpoint.interval.ms",
    "log.flush.start.offset.checkpoint.interval.ms",
    "log.initial.task.delay.ms",
    "log.retention.check.interval.ms",
    "max.connections",
    "max.connections.per.ip",
    "max.connections.per.ip.overrides",
    "max.incremental.fetch.session.cache.slots",
    "max.request.partition.size.limit",
    "node.id",
    "num.io.threads",
    "num.network.threads",
    "num.partitions",
    "offset.metadata.max.bytes",
    "offsets.retention.check.interval.ms",
    "offsets.retention.minutes",
    "offsets.topic.compression.codec",
    "offsets.topic.num.partitions",
    "offsets.topic.replication.factor",
    "offsets.topic.segment.bytes",
    "process.roles",
    "num.recovery.threads.per.data.dir",
    "producer.id.expiration.check.interval.ms",
    "producer.id.expiration.ms",
    "queued.max.request.bytes",
    "replica.high.watermark.checkpoint.interval.ms",
    "share.coordinator.state.topic.min.isr",
    "share.coordinator.state.topic.replication.factor",
    "socket.listen.backlog.size",
    "socket.receive.buffer.bytes",
    "socket.request.max.bytes",
    "socket.send.buffer.bytes",
    "transaction.state.log.min.isr",
    "transaction.state.log.replication.factor",
];

/// Keys that Kafka keeps to itself: accepted, and never described.
#[rustfmt::skip]
static INTERNAL: &[&str] = &[
    "controller.performance.always.log.threshold.ms",
    "controller.performance.sample.period.ms",
    "group.consumer.regex.refresh.interval.ms",
    "group.share.initialize.retry.interval.ms",
    "group.share.persister.class.name",
    "internal.metadata.delete.delay.millis",
    "internal.metadata.log.segment.bytes",
    "internal.metadata.max.batch.size.in.bytes",
    "log.initial.task.delay.ms",
    "producer.id.expiration.check.interval.ms",
    "remote.log.manager.task.retry.backoff.max.ms",
    "remote.log.manager.task.retry.backoff.ms",
    "remote.log.manager.task.retry.jitter",
    "server.max.startup.time.ms",
    "share.coordinator.cold.partition.snapshot.interval.ms",
    "share.coordinator.state.topic.prune.interval.ms",
    "unclean.leader.election.interval.ms",
    "unstable.api.versions.enable",
    "unstable.feature.versions.enable",
];

/// Keys made of a prefix and a name of somebody's own, as Kafka's plugins and listeners take them.
static PREFIXES: &[&str] = &["listener.name.", "config.providers.", "rsm.config.", "rlmm.config.", "metrics.context."];

/// Topic settings of which this broker's log makes no use yet.
static TOPIC_SETTINGS_WITHOUT_EFFECT: &[&str] = &["local.retention.bytes", "local.retention.ms"];

pub(crate) fn is_internal(name: &str) -> bool {
    INTERNAL.contains(&name)
}

/// What to tell somebody who set `name`; nothing if the broker acts on it.
pub(crate) fn warning(name: &str) -> Option<String> {
    if SERVED.contains(&name) || derives_a_topic_setting(name) {
        return None;
    }
    if find(BROKER_KEYS, name).is_some() || PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
        return Some(format!("`{name}` is known to Kafka, this broker does not act on it yet"));
    }
    Some(match nearest(name, BROKER_KEYS.iter().map(|key| key.name)) {
        Some(known) => format!("unknown key `{name}` has no effect, did you mean `{known}`?"),
        None => format!("unknown key `{name}` has no effect"),
    })
}

fn derives_a_topic_setting(name: &str) -> bool {
    super::TOPIC_KEYS
        .iter()
        .filter(|topic| !TOPIC_SETTINGS_WITHOUT_EFFECT.contains(&topic.name))
        .any(|topic| broker_synonyms(topic.name).iter().any(|(synonym, _)| *synonym == name))
}
