//! The metrics of the broker as tables: what is told, what it is called, and what it is.
//!
//! Kafka has two kinds. Those of its older library are [`Mbean`]s: one object for each, whose attributes are a count, a
//! value or percentiles. Those of its newer one are groups of attributes ([`GROUPS`]), as its clients' are.

use vltava_metrics::definition::{GaugeDefinition, Group, SensorDefinition, count, rate_of_events};
use vltava_metrics::prometheus::{FamilyKind, word};

/// A metric of Kafka's older library, or one of ours that is told in the same way.
#[derive(Debug)]
pub struct Mbean {
    /// Such as `kafka.server`.
    pub domain: &'static str,
    /// Such as `BrokerTopicMetrics`.
    pub kind: &'static str,
    /// Such as `MessagesInPerSec`.
    pub name: &'static str,
    /// The tags of its series, some with the one value that they have; a topic's are there beside those of all topics.
    pub tags: &'static [&'static str],
    /// What it tells.
    pub shape: Shape,
    /// What it is, in a sentence.
    pub description: &'static str,
}

/// What an [`Mbean`] tells, by the attributes of Kafka's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// How many there were: the attribute `Count`, of which a monitoring system makes rates.
    Meter,
    /// The attribute `Value`.
    Gauge,
    /// The attribute `MeanRate`, where that is what is looked at.
    MeanRate,
    /// `Count` and percentiles.
    Histogram,
}

impl Mbean {
    /// What it is called in the text for Prometheus, by the rules for the JMX exporter that are in use everywhere.
    #[must_use]
    pub fn family(&self) -> String {
        let name = match self.shape {
            Shape::Meter => format!("{}_total", self.name.strip_suffix("PerSec").unwrap_or(self.name)),
            // Rules for percentages were added later, with another name.
            Shape::Gauge | Shape::MeanRate => match self.name.strip_suffix("Percent") {
                Some(name) => format!("{name}_percent"),
                None => self.name.to_owned(),
            },
            Shape::Histogram => self.name.to_owned(),
        };
        word(&[self.domain, self.kind, &name])
    }

    pub(super) fn family_kind(&self) -> FamilyKind {
        match self.shape {
            Shape::Meter => FamilyKind::Counter,
            Shape::Gauge | Shape::MeanRate => FamilyKind::Gauge,
            Shape::Histogram => FamilyKind::Summary,
        }
    }
}

macro_rules! mbeans {
    ($all:ident: $($constant:ident = $shape:ident $domain:literal $kind:literal $name:literal [$($tag:literal),*] $description:literal;)*) => {
        $(pub(super) static $constant: Mbean = Mbean {
            domain: $domain, kind: $kind, name: $name, tags: &[$($tag),*], shape: Shape::$shape, description: $description,
        };)*
        /// All of them.
        pub static $all: &[&Mbean] = &[$(&$constant),*];
    };
}

mbeans! { MBEANS:
    MESSAGES_IN = Meter "kafka.server" "BrokerTopicMetrics" "MessagesInPerSec" ["topic"] "Records that were appended.";
    BYTES_IN = Meter "kafka.server" "BrokerTopicMetrics" "BytesInPerSec" ["topic"] "Bytes of records that were appended.";
    BYTES_OUT = Meter "kafka.server" "BrokerTopicMetrics" "BytesOutPerSec" ["topic"] "Bytes of records that were sent to clients.";
    BYTES_REJECTED = Meter "kafka.server" "BrokerTopicMetrics" "BytesRejectedPerSec" ["topic"] "Bytes of batches that were refused for their size.";
    PRODUCE_REQUESTS = Meter "kafka.server" "BrokerTopicMetrics" "TotalProduceRequestsPerSec" ["topic"] "Appends to a partition that were asked for.";
    FAILED_PRODUCE_REQUESTS = Meter "kafka.server" "BrokerTopicMetrics" "FailedProduceRequestsPerSec" ["topic"] "Appends that failed, those left out that are refused in everyday life: for their size or checksum, without a leader, for a failed disk.";
    FETCH_REQUESTS = Meter "kafka.server" "BrokerTopicMetrics" "TotalFetchRequestsPerSec" ["topic"] "Reads of a partition for fetches; one that waited has read twice.";
    FAILED_FETCH_REQUESTS = Meter "kafka.server" "BrokerTopicMetrics" "FailedFetchRequestsPerSec" ["topic"] "Reads that failed, those left out that are refused in everyday life.";

    REQUESTS = Meter "kafka.network" "RequestMetrics" "RequestsPerSec" ["request", "version"] "Requests that were answered.";
    REQUEST_BYTES = Histogram "kafka.network" "RequestMetrics" "RequestBytes" ["request"] "Size of a request, bytes.";
    TOTAL_TIME = Histogram "kafka.network" "RequestMetrics" "TotalTimeMs" ["request"] "From when a request is read until its answer is sent, ms.";
    REQUEST_QUEUE_TIME = Histogram "kafka.network" "RequestMetrics" "RequestQueueTimeMs" ["request"] "How much of it the request waited for its place among `queued.max.requests`, ms.";
    LOCAL_TIME = Histogram "kafka.network" "RequestMetrics" "LocalTimeMs" ["request"] "How much of it a thread worked on the request, ms.";
    REMOTE_TIME = Histogram "kafka.network" "RequestMetrics" "RemoteTimeMs" ["request"] "How much of it the request waited for others: for data, for members of its group, for a coordinator, ms.";
    RESPONSE_SEND_TIME = Histogram "kafka.network" "RequestMetrics" "ResponseSendTimeMs" ["request"] "How much of it the answer was being sent, ms.";
    THROTTLE_TIME = Histogram "kafka.network" "RequestMetrics" "ThrottleTimeMs" ["request"] "How long the client has to wait after it, for its quotas, ms.";

    EXPIRED_CONNECTIONS = Gauge "kafka.network" "SocketServer" "ExpiredConnectionsKilledCount" [] "Connections that were closed because nothing moved for `connections.max.idle.ms`.";
    NETWORK_IDLE = Gauge "kafka.network" "SocketServer" "NetworkProcessorAvgIdlePercent" [] "The part of the time in which the broker's threads had nothing to do, since the look before: 0 to 1.";
    HANDLER_IDLE = MeanRate "kafka.server" "KafkaRequestHandlerPool" "RequestHandlerAvgIdlePercent" [] "The same: one pool of threads does all work.";
    REQUEST_QUEUE = Gauge "kafka.network" "RequestChannel" "RequestQueueSize" [] "Requests that have their place among `queued.max.requests`.";

    LEADER_COUNT = Gauge "kafka.server" "ReplicaManager" "LeaderCount" [] "Partitions that this broker leads.";
    PARTITION_COUNT = Gauge "kafka.server" "ReplicaManager" "PartitionCount" [] "Partitions that this broker has, online or not.";
    OFFLINE_REPLICAS = Gauge "kafka.server" "ReplicaManager" "OfflineReplicaCount" [] "Those of them that are offline, because their log directory is.";
    UNDER_REPLICATED = Gauge "kafka.server" "ReplicaManager" "UnderReplicatedPartitions" [] "Partitions that this broker leads and that lack replicas: none, as each has one.";
    PRODUCER_IDS = Gauge "kafka.server" "ReplicaManager" "ProducerIdCount" [] "Producers that the partitions remember.";

    LOG_SIZE = Gauge "kafka.log" "Log" "Size" ["topic", "partition"] "Bytes of a partition's log.";
    LOG_START_OFFSET = Gauge "kafka.log" "Log" "LogStartOffset" ["topic", "partition"] "The first offset that can be read.";
    LOG_END_OFFSET = Gauge "kafka.log" "Log" "LogEndOffset" ["topic", "partition"] "The offset of the next record.";
    LOG_SEGMENTS = Gauge "kafka.log" "Log" "NumLogSegments" ["topic", "partition"] "The segments of the log.";
    LAST_STABLE_OFFSET_LAG = Gauge "kafka.cluster" "Partition" "LastStableOffsetLag" ["topic", "partition"] "Records behind the first transaction that is open: who reads committed records waits for them.";
    OFFLINE_DIRECTORIES = Gauge "kafka.log" "LogManager" "OfflineLogDirectoryCount" [] "Log directories that are offline.";
    DIRECTORY_OFFLINE = Gauge "kafka.log" "LogManager" "LogDirectoryOffline" ["logDirectory"] "1 for a log directory that is offline, 0 for one that works.";

    ACTIVE_CONTROLLERS = Gauge "kafka.controller" "KafkaController" "ActiveControllerCount" [] "1: this node is the controller.";
    ACTIVE_BROKERS = Gauge "kafka.controller" "KafkaController" "ActiveBrokerCount" [] "1: this node is the broker.";
    GLOBAL_TOPICS = Gauge "kafka.controller" "KafkaController" "GlobalTopicCount" [] "The topics of the cluster.";
    GLOBAL_PARTITIONS = Gauge "kafka.controller" "KafkaController" "GlobalPartitionCount" [] "The partitions of the cluster.";
    OFFLINE_PARTITIONS = Gauge "kafka.controller" "KafkaController" "OfflinePartitionsCount" [] "Partitions without a leader.";
    LAST_COMMITTED_RECORD = Gauge "kafka.controller" "KafkaController" "LastCommittedRecordOffset" [] "The last record of the metadata log.";

    BROKER_STATE = Gauge "kafka.server" "KafkaServer" "BrokerState" [] "0 not running, 1 starting, 2 recovering logs, 3 running, 7 stopping.";
    CLUSTER_ID = Gauge "kafka.server" "KafkaServer" "ClusterId" [] "1; the id is the label `clusterid`.";
    DISK_READ = Gauge "kafka.server" "KafkaServer" "linux-disk-read-bytes" [] "Bytes that the process had the disks read.";
    DISK_WRITE = Gauge "kafka.server" "KafkaServer" "linux-disk-write-bytes" [] "Bytes that the process had the disks write.";

    FETCH_EXPIRES = Meter "kafka.server" "DelayedFetchMetrics" "ExpiresPerSec" ["fetcherType=consumer"] "Fetches that waited in vain.";
    FEATURES = Gauge "kafka.server" "MetadataLoader" "FinalizedLevel" ["featureName"] "The level of a feature.";
    LOG_FLUSHES = Histogram "kafka.log" "LogFlushStats" "LogFlushRateAndTimeMs" [] "How long it takes until what was written is on disk, ms.";

    CLASSIC_GROUPS = Gauge "kafka.coordinator.group" "GroupMetadataManager" "NumGroups" [] "Groups of the classic protocol.";
    GROUPS_PREPARING = Gauge "kafka.coordinator.group" "GroupMetadataManager" "NumGroupsPreparingRebalance" [] "Those of them whose members are asked to join.";
    GROUPS_COMPLETING = Gauge "kafka.coordinator.group" "GroupMetadataManager" "NumGroupsCompletingRebalance" [] "Those whose members wait for their assignment.";
    GROUPS_STABLE = Gauge "kafka.coordinator.group" "GroupMetadataManager" "NumGroupsStable" [] "Those whose members have one.";
    GROUPS_EMPTY = Gauge "kafka.coordinator.group" "GroupMetadataManager" "NumGroupsEmpty" [] "Those without members.";
    OFFSETS = Gauge "kafka.coordinator.group" "GroupMetadataManager" "NumOffsets" [] "Offsets that are committed.";

    PURGATORY_WAITING = Gauge "kafka.server" "DelayedOperationPurgatory" "NumDelayedOperations" ["delayedOperation=Fetch"] "Fetches that wait for data.";
    PURGATORY_SIZE = Gauge "kafka.server" "DelayedOperationPurgatory" "PurgatorySize" ["delayedOperation=Fetch"] "The places of those fetches in partitions.";
    SESSIONS = Gauge "kafka.server" "FetchSessionCache" "NumIncrementalFetchSessions" [] "Fetch sessions that are kept.";
    SESSION_PARTITIONS = Gauge "kafka.server" "FetchSessionCache" "NumIncrementalFetchPartitionsCached" [] "The partitions of those sessions.";
    SESSION_EVICTIONS = Meter "kafka.server" "FetchSessionCache" "IncrementalFetchSessionEvictionsPerSec" [] "Sessions that were given up for others.";
}

pub(super) const SOCKET_SERVER: &str = "socket-server-metrics";

/// The metrics of Kafka's newer library.
pub const GROUPS: &[Group] = &[
    Group {
        name: SOCKET_SERVER,
        tags: &["listener"],
        sensors: &[&CREATED, &CLOSED, &AUTHENTICATED, &AUTHENTICATION_FAILED, &EXPIRED],
        gauges: &[&CONNECTIONS, &INCOMING, &OUTGOING, &REQUESTS_OF_LISTENER, &RESPONSES],
    },
    Group {
        name: GROUP_COORDINATOR,
        tags: &[],
        sensors: &[],
        gauges: &[
            &OFFSET_COMMITS,
            &OFFSET_DELETIONS,
            &OFFSET_EXPIRATIONS,
            &CLASSIC_REBALANCES,
            &CONSUMER_REBALANCES,
            &STREAMS_REBALANCES,
        ],
    },
    of_groups(&["protocol=classic"], GROUP_COUNT_ALONE),
    of_groups(&["protocol=consumer"], GROUP_COUNT_ALONE),
    of_groups(&["protocol=streams"], GROUP_COUNT_ALONE),
    of_groups(&["state=Empty"], GROUPS_IN_STATE),
    of_groups(&["state=Assigning"], GROUPS_IN_STATE),
    of_groups(&["state=Reconciling"], GROUPS_IN_STATE),
    of_groups(&["state=Stable"], GROUPS_IN_STATE),
    of_groups(&["state=NotReady"], STREAMS_GROUP_COUNT_ALONE),
    of_groups(&["state=active"], NUM_PARTITIONS_ALONE),
    of_groups(&["state=loading"], NUM_PARTITIONS_ALONE),
    of_groups(&["state=failed"], NUM_PARTITIONS_ALONE),
];

const GROUP_COUNT_ALONE: &[&GaugeDefinition] = &[&GROUP_COUNT];
const GROUPS_IN_STATE: &[&GaugeDefinition] = &[&CONSUMER_GROUP_COUNT, &STREAMS_GROUP_COUNT];
const STREAMS_GROUP_COUNT_ALONE: &[&GaugeDefinition] = &[&STREAMS_GROUP_COUNT];
const NUM_PARTITIONS_ALONE: &[&GaugeDefinition] = &[&NUM_PARTITIONS];

const fn of_groups(tags: &'static [&'static str], gauges: &'static [&'static GaugeDefinition]) -> Group {
    Group { name: GROUP_COORDINATOR, tags, sensors: &[], gauges }
}

pub(super) const GROUP_COORDINATOR: &str = "group-coordinator-metrics";
pub(super) static GROUP_COUNT: GaugeDefinition =
    GaugeDefinition::new("group-count", "groups", "The total number of groups using this protocol.");
pub(super) static CONSUMER_GROUP_COUNT: GaugeDefinition =
    GaugeDefinition::new("consumer-group-count", "groups", "The number of consumer groups in this state.");
pub(super) static STREAMS_GROUP_COUNT: GaugeDefinition =
    GaugeDefinition::new("streams-group-count", "groups", "The number of streams groups in this state.");
pub(super) static NUM_PARTITIONS: GaugeDefinition = GaugeDefinition::new(
    "num-partitions",
    "partitions",
    "The number of partitions of the offsets topic in this state; one that cannot be served now counts as failed.",
);
pub(super) static OFFSET_COMMITS: GaugeDefinition =
    GaugeDefinition::new("offset-commit-count", "number in all", "The total number of committed offsets");
pub(super) static OFFSET_DELETIONS: GaugeDefinition =
    GaugeDefinition::new("offset-deletion-count", "number in all", "The total number of deleted offsets");
pub(super) static OFFSET_EXPIRATIONS: GaugeDefinition =
    GaugeDefinition::new("offset-expiration-count", "number in all", "The total number of expired offsets");
pub(super) static CLASSIC_REBALANCES: GaugeDefinition = GaugeDefinition::new(
    "group-completed-rebalance-count",
    "number in all",
    "The total number of classic group rebalances that were completed",
);
pub(super) static CONSUMER_REBALANCES: GaugeDefinition = GaugeDefinition::new(
    "consumer-group-rebalance-count",
    "number in all",
    "The total number of consumer group rebalances",
);
pub(super) static STREAMS_REBALANCES: GaugeDefinition = GaugeDefinition::new(
    "streams-group-rebalance-count",
    "number in all",
    "The total number of streams group rebalances",
);

/// A connection was accepted.
pub(super) static CREATED: SensorDefinition = SensorDefinition::new(
    "connections",
    &[
        rate_of_events("connection-creation-rate", "The number of new connections established per second"),
        count("connection-creation-total", "The total number of new connections established"),
    ],
);
/// A connection has ended.
pub(super) static CLOSED: SensorDefinition = SensorDefinition::new(
    "connections",
    &[
        rate_of_events("connection-close-rate", "The number of connections closed per second"),
        count("connection-close-total", "The total number of connections closed"),
    ],
);
/// A client has said who it is.
pub(super) static AUTHENTICATED: SensorDefinition = SensorDefinition::new(
    "connections",
    &[
        rate_of_events(
            "successful-authentication-rate",
            "The number of connections with successful authentication per second",
        ),
        count("successful-authentication-total", "The total number of connections with successful authentication"),
    ],
);
/// A client was not believed.
pub(super) static AUTHENTICATION_FAILED: SensorDefinition = SensorDefinition::new(
    "connections",
    &[
        rate_of_events("failed-authentication-rate", "The number of connections with failed authentication per second"),
        count("failed-authentication-total", "The total number of connections with failed authentication"),
    ],
);
/// Nothing moved on a connection.
pub(super) static EXPIRED: SensorDefinition = SensorDefinition::new(
    "connections",
    &[count("expired-connections-killed-count", "The number of connections that were closed because nothing moved")],
);
pub(super) static CONNECTIONS: GaugeDefinition =
    GaugeDefinition::new("connection-count", "connections", "The current number of active connections.");
pub(super) static INCOMING: GaugeDefinition =
    GaugeDefinition::new("incoming-byte-total", "bytes in all", "The total number of bytes of requests");
pub(super) static OUTGOING: GaugeDefinition =
    GaugeDefinition::new("outgoing-byte-total", "bytes in all", "The total number of bytes of answers");
pub(super) static REQUESTS_OF_LISTENER: GaugeDefinition =
    GaugeDefinition::new("request-total", "number in all", "The total number of requests");
pub(super) static RESPONSES: GaugeDefinition =
    GaugeDefinition::new("response-total", "number in all", "The total number of answers");

/// What is called as it is everywhere for Prometheus, or is ours, with what it is.
pub static OTHERS: &[(&str, &str)] = &[
    (
        REQUEST_SECONDS,
        "How long requests took, as a histogram: by `request` and `part`, which is `total` or one of its parts `queue`, `local`, `remote` and `send`.",
    ),
    (TRANSACTIONS, "Transactional ids, by the `state` of their last transaction."),
    ("process_cpu_seconds_total", "Time of processors that the process has used, in s."),
    ("process_start_time_seconds", "When the process began, in s since the epoch."),
    ("process_virtual_memory_bytes", "The process's addresses, bytes."),
    ("process_resident_memory_bytes", "Memory that the process has, bytes."),
    ("process_open_fds", "File descriptors that are open."),
    ("process_max_fds", "File descriptors that may be open."),
];

/// Ours, too.
pub(super) const TRANSACTIONS: &str = "vltava_transactional_ids";

/// The histogram of ours.
pub(super) const REQUEST_SECONDS: &str = "vltava_request_seconds";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_exporters_rules() {
        let cases = [
            (&MESSAGES_IN, "kafka_server_brokertopicmetrics_messagesin_total"),
            (&PRODUCE_REQUESTS, "kafka_server_brokertopicmetrics_totalproducerequests_total"),
            (&REQUESTS, "kafka_network_requestmetrics_requests_total"),
            (&TOTAL_TIME, "kafka_network_requestmetrics_totaltimems"),
            (&LOG_SIZE, "kafka_log_log_size"),
            (&LEADER_COUNT, "kafka_server_replicamanager_leadercount"),
            (&ACTIVE_CONTROLLERS, "kafka_controller_kafkacontroller_activecontrollercount"),
            (&NETWORK_IDLE, "kafka_network_socketserver_networkprocessoravgidle_percent"),
            (&HANDLER_IDLE, "kafka_server_kafkarequesthandlerpool_requesthandleravgidle_percent"),
            (&DISK_READ, "kafka_server_kafkaserver_linux_disk_read_bytes"),
            (&PURGATORY_SIZE, "kafka_server_delayedoperationpurgatory_purgatorysize"),
        ];
        for (mbean, expected) in cases {
            assert_eq!(mbean.family(), expected);
        }
    }
}
