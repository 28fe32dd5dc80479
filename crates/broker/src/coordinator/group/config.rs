//! The settings of the group coordinator.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::RwLock;
use vltava_metrics::Counter;
use vltava_protocol::record::Compression;

/// The time a new member has to come back with its first heartbeat after it joined, ms. Kafka's constant.
pub(super) const NEW_MEMBER_JOIN_TIMEOUT_MS: i32 = 5 * 60 * 1000;

/// The settings of the group coordinator.
#[derive(Clone, Debug)]
pub(crate) struct GroupCoordinatorConfig {
    /// `group.min.session.timeout.ms`: the shortest session a classic member may ask for. Default 6000.
    pub(crate) min_session_timeout_ms: i32,
    /// `group.max.session.timeout.ms`: the longest session a classic member may ask for. Default 1800000.
    pub(crate) max_session_timeout_ms: i32,
    /// `group.initial.rebalance.delay.ms`: how long an empty group waits for more members. Default 3000.
    pub(crate) initial_rebalance_delay_ms: i32,
    /// `group.max.size`: the most members a classic group may have. Default 2147483647.
    pub(crate) max_size: usize,
    /// `offset.metadata.max.bytes`: the longest text stored with an offset. Default 4096.
    pub(crate) offset_metadata_max_bytes: usize,
    /// `offsets.retention.minutes` in ms: how long the offsets of an empty group are kept. Default seven days.
    pub(crate) offsets_retention_ms: i64,
    /// `offsets.retention.check.interval.ms`: how often offsets are looked through for expiry. Default 600000.
    pub(crate) offsets_retention_check_interval_ms: i64,
    /// `offsets.topic.compression.codec`: how batches of the offsets topic are compressed. Default none.
    pub(crate) offsets_topic_compression: Compression,
    /// `offsets.commit.timeout.ms`: how long an answer waits for its records to be committed. Default 5000.
    pub(crate) offsets_commit_timeout_ms: i64,
    /// `offsets.load.buffer.size`: how much of a partition is read at once when it is loaded, bytes. Default 5242880.
    pub(crate) offsets_load_buffer_bytes: usize,
    /// The settings of consumer groups (KIP-848).
    pub(crate) consumer: ConsumerGroupConfig,
    /// The settings of streams groups (KIP-1071).
    pub(crate) streams: StreamsGroupConfig,
    /// `max.message.bytes` of the offsets topic: the most one atomic write may take. Default 1048588.
    pub(crate) max_batch_bytes: usize,
    /// What may change while the broker runs.
    pub(crate) dynamic: DynamicGroupSettings,
    /// What is counted; shared by all partitions.
    pub(crate) counters: Arc<GroupCounters>,
}

/// What the coordinator counts.
#[derive(Debug, Default)]
pub(crate) struct GroupCounters {
    /// Offsets that were committed.
    pub(crate) offset_commits: Counter,
    /// Offsets that somebody deleted.
    pub(crate) offset_deletions: Counter,
    /// Offsets that were past their retention.
    pub(crate) offset_expirations: Counter,
    /// Generations of classic groups.
    pub(crate) classic_rebalances: Counter,
    /// Epochs of consumer groups.
    pub(crate) consumer_rebalances: Counter,
    /// Epochs of streams groups.
    pub(crate) streams_rebalances: Counter,
}

#[cfg(test)]
impl Default for GroupCoordinatorConfig {
    fn default() -> Self {
        crate::config::BrokerConfig::of_defaults().groups
    }
}

impl GroupCoordinatorConfig {
    /// The settings of one consumer group: its own, else the broker's.
    pub(crate) fn consumer_of(&self, group: &str) -> ConsumerGroupConfig {
        let dynamic = self.dynamic.0.read();
        let own = dynamic.own.get(group).map_or_else(OwnConsumer::default, |own| own.consumer);
        let broker = &self.consumer;
        let assignment_interval_ms = own.assignment_interval_ms.or(dynamic.consumer_assignment_interval_ms);
        ConsumerGroupConfig {
            session_timeout_ms: own.session_timeout_ms.unwrap_or(broker.session_timeout_ms),
            heartbeat_interval_ms: own.heartbeat_interval_ms.unwrap_or(broker.heartbeat_interval_ms),
            max_size: broker.max_size,
            assignment_interval_ms: assignment_interval_ms.unwrap_or(broker.assignment_interval_ms),
        }
    }
}

impl GroupCoordinatorConfig {
    /// The settings of one streams group: its own, else the broker's.
    pub(crate) fn streams_of(&self, group: &str) -> StreamsGroupConfig {
        let dynamic = self.dynamic.0.read();
        let own = dynamic.own.get(group).map_or_else(OwnStreams::default, |own| own.streams);
        let broker = &self.streams;
        let assignment_interval_ms = own.assignment_interval_ms.or(dynamic.streams_assignment_interval_ms);
        StreamsGroupConfig {
            session_timeout_ms: own.session_timeout_ms.unwrap_or(broker.session_timeout_ms),
            heartbeat_interval_ms: own.heartbeat_interval_ms.unwrap_or(broker.heartbeat_interval_ms),
            max_size: broker.max_size,
            assignment_interval_ms: assignment_interval_ms.unwrap_or(broker.assignment_interval_ms),
            initial_rebalance_delay_ms: own.initial_rebalance_delay_ms.unwrap_or(broker.initial_rebalance_delay_ms),
            num_standby_replicas: own.num_standby_replicas.unwrap_or(broker.num_standby_replicas),
        }
    }
}

/// Settings of groups that change while the broker runs; shared by all partitions and whoever hears of changes.
#[derive(Clone, Debug, Default)]
pub(crate) struct DynamicGroupSettings(Arc<RwLock<Dynamic>>);

#[derive(Debug, Default)]
struct Dynamic {
    /// What groups have for themselves, by group.
    own: HashMap<String, Own>,
    /// Of the consumer groups that have none for themselves; what the file says where this is not known.
    consumer_assignment_interval_ms: Option<i32>,
    /// The same of streams groups.
    streams_assignment_interval_ms: Option<i32>,
}

/// What a group has for itself, whichever kind it is.
#[derive(Clone, Copy, Debug, Default)]
struct Own {
    consumer: OwnConsumer,
    streams: OwnStreams,
}

/// What a consumer group has for itself.
#[derive(Clone, Copy, Debug, Default)]
struct OwnConsumer {
    session_timeout_ms: Option<i32>,
    heartbeat_interval_ms: Option<i32>,
    assignment_interval_ms: Option<i32>,
}

/// What a streams group has for itself.
#[derive(Clone, Copy, Debug, Default)]
struct OwnStreams {
    session_timeout_ms: Option<i32>,
    heartbeat_interval_ms: Option<i32>,
    assignment_interval_ms: Option<i32>,
    initial_rebalance_delay_ms: Option<i32>,
    num_standby_replicas: Option<i32>,
}

impl DynamicGroupSettings {
    /// Groups without an interval of their own have these from now on.
    pub(crate) fn set_assignment_intervals(&self, consumer_ms: Option<i32>, streams_ms: Option<i32>) {
        let mut dynamic = self.0.write();
        dynamic.consumer_assignment_interval_ms = consumer_ms;
        dynamic.streams_assignment_interval_ms = streams_ms;
    }

    /// A group has these settings from now on; none at all follows the broker again.
    pub(crate) fn set_own(&self, group: &str, settings: Option<&BTreeMap<String, String>>) {
        let int = |key: &str| {
            let value = settings?.get(key)?;
            // Settings are checked before they are recorded; those of another version may be stricter.
            value
                .parse()
                .inspect_err(|_| tracing::error!(group, key, value, "a group's setting is not understood"))
                .ok()
        };
        let consumer = OwnConsumer {
            session_timeout_ms: int("consumer.session.timeout.ms"),
            heartbeat_interval_ms: int("consumer.heartbeat.interval.ms"),
            assignment_interval_ms: int("consumer.assignment.interval.ms"),
        };
        let streams = OwnStreams {
            session_timeout_ms: int("streams.session.timeout.ms"),
            heartbeat_interval_ms: int("streams.heartbeat.interval.ms"),
            assignment_interval_ms: int("streams.assignment.interval.ms"),
            initial_rebalance_delay_ms: int("streams.initial.rebalance.delay.ms"),
            num_standby_replicas: int("streams.num.standby.replicas"),
        };
        let own = Own { consumer, streams };
        let own_of = &mut self.0.write().own;
        match settings {
            Some(_) => own_of.insert(group.to_owned(), own),
            None => own_of.remove(group),
        };
    }
}

/// The settings of consumer groups.
#[derive(Clone, Debug)]
pub(crate) struct ConsumerGroupConfig {
    /// `group.consumer.session.timeout.ms`: how long a member may be silent. Default 45000.
    pub(crate) session_timeout_ms: i32,
    /// `group.consumer.heartbeat.interval.ms`: how often members shall be heard of. Default 5000.
    pub(crate) heartbeat_interval_ms: i32,
    /// `group.consumer.max.size`: the most members a group may have. Default 2147483647.
    pub(crate) max_size: usize,
    /// `group.consumer.assignment.interval.ms`: the least time between two target assignments. Default 1000.
    pub(crate) assignment_interval_ms: i32,
}

/// The settings of streams groups.
#[derive(Clone, Debug)]
pub(crate) struct StreamsGroupConfig {
    /// `group.streams.session.timeout.ms`: how long a member may be silent. Default 45000.
    pub(crate) session_timeout_ms: i32,
    /// `group.streams.heartbeat.interval.ms`: how often members shall be heard of. Default 5000.
    pub(crate) heartbeat_interval_ms: i32,
    /// `group.streams.max.size`: the most members a group may have. Default 2147483647.
    pub(crate) max_size: usize,
    /// `group.streams.assignment.interval.ms`: the least time between two target assignments. Default 1000.
    pub(crate) assignment_interval_ms: i32,
    /// `group.streams.initial.rebalance.delay.ms`: how long an empty group waits for more members. Default 3000.
    pub(crate) initial_rebalance_delay_ms: i32,
    /// `group.streams.num.standby.replicas`: standbys of each task with a store. Default 0.
    pub(crate) num_standby_replicas: i32,
}

#[cfg(test)]
impl Default for ConsumerGroupConfig {
    fn default() -> Self {
        GroupCoordinatorConfig::default().consumer
    }
}
