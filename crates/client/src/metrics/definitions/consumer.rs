//! What a consumer records.

use vltava_metrics::definition::{
    GaugeDefinition, Group, SensorDefinition, avg, count, max, min, rate, rate_of_events, rate_of_events_per_hour,
    total, value,
};

/// The metrics of a consumer beside those of its network.
pub(crate) const GROUPS: &[Group] = &[
    Group {
        name: CONSUMER,
        tags: &["client-id"],
        sensors: &[&POLL_INTERVAL, &POLL_IDLE, &COMMIT_SYNC, &COMMITTED],
        gauges: &[&LAST_POLL],
    },
    Group {
        name: COORDINATOR,
        tags: &["client-id"],
        sensors: &[&COMMIT, &HEARTBEAT, &JOIN, &SYNC, &REBALANCE, &REBALANCE_FAILED, &ASSIGNED, &REVOKED, &LOST],
        gauges: &[&ASSIGNED_PARTITIONS, &LAST_HEARTBEAT, &LAST_REBALANCE],
    },
    Group {
        name: FETCH_MANAGER,
        tags: &["client-id"],
        sensors: &[&FETCH, &FETCH_THROTTLE, &FETCH_BYTES, &FETCH_RECORDS, &LAG, &LEAD],
        gauges: &[],
    },
    Group {
        name: FETCH_MANAGER,
        tags: &["client-id", "topic"],
        sensors: &[&TOPIC_FETCH_BYTES, &TOPIC_FETCH_RECORDS],
        gauges: &[],
    },
    Group {
        name: FETCH_MANAGER,
        tags: &["client-id", "partition", "topic"],
        sensors: &[&PARTITION_LAG, &PARTITION_LEAD, &PREFERRED_REPLICA],
        gauges: &[],
    },
];

pub(crate) const CONSUMER: &str = "consumer-metrics";
pub(crate) const COORDINATOR: &str = "consumer-coordinator-metrics";
pub(crate) const FETCH_MANAGER: &str = "consumer-fetch-manager-metrics";

/// The time from one poll to the next.
pub(crate) static POLL_INTERVAL: SensorDefinition = SensorDefinition::new(
    "ms",
    &[
        avg("time-between-poll-avg", "The average delay between invocations of poll() in milliseconds."),
        max("time-between-poll-max", "The max delay between invocations of poll() in milliseconds."),
    ],
);
/// Which part of that was spent in the poll.
pub(crate) static POLL_IDLE: SensorDefinition = SensorDefinition::new(
    "ratio",
    &[avg(
        "poll-idle-ratio-avg",
        "The average fraction of time the consumer's poll() is idle as opposed to waiting for the user code to process records.",
    )],
);
/// `commit_sync` took this long.
pub(crate) static COMMIT_SYNC: SensorDefinition = SensorDefinition::new(
    "ns",
    &[total("commit-sync-time-ns-total", "The total time the consumer has spent in commitSync in nanoseconds")],
);
/// `committed` took this long.
pub(crate) static COMMITTED: SensorDefinition = SensorDefinition::new(
    "ns",
    &[total("committed-time-ns-total", "The total time the consumer has spent in committed in nanoseconds")],
);
/// When the last poll was.
pub(crate) static LAST_POLL: GaugeDefinition =
    GaugeDefinition::new("last-poll-seconds-ago", "s", "The number of seconds since the last poll() invocation.");
/// A commit was answered after this time.
pub(crate) static COMMIT: SensorDefinition = SensorDefinition::new(
    "ms",
    &[
        avg("commit-latency-avg", "The average time taken for a commit request"),
        max("commit-latency-max", "The max time taken for a commit request"),
        rate_of_events("commit-rate", "The number of commit calls per second"),
        count("commit-total", "The total number of commit calls"),
    ],
);
/// A heartbeat was answered after this time.
pub(crate) static HEARTBEAT: SensorDefinition = SensorDefinition::new(
    "ms",
    &[
        max("heartbeat-response-time-max", "The max time taken to receive a response to a heartbeat request"),
        rate_of_events("heartbeat-rate", "The number of heartbeats per second"),
        count("heartbeat-total", "The total number of heartbeats"),
    ],
);
/// The group has let the member in after this time.
pub(crate) static JOIN: SensorDefinition = SensorDefinition::new(
    "ms",
    &[
        avg("join-time-avg", "The average time taken for a group rejoin"),
        max("join-time-max", "The max time taken for a group rejoin"),
        rate_of_events("join-rate", "The number of group joins per second"),
        count("join-total", "The total number of group joins"),
    ],
);
/// The member has got its assignment after this time.
pub(crate) static SYNC: SensorDefinition = SensorDefinition::new(
    "ms",
    &[
        avg("sync-time-avg", "The average time taken for a group sync"),
        max("sync-time-max", "The max time taken for a group sync"),
        rate_of_events("sync-rate", "The number of group syncs per second"),
        count("sync-total", "The total number of group syncs"),
    ],
);
/// A rebalance took this long.
pub(crate) static REBALANCE: SensorDefinition = SensorDefinition::new(
    "ms",
    &[
        avg(
            "rebalance-latency-avg",
            "The average time taken for a group to complete a successful rebalance, which may be composed of several failed re-trials until it succeeded",
        ),
        max(
            "rebalance-latency-max",
            "The max time taken for a group to complete a successful rebalance, which may be composed of several failed re-trials until it succeeded",
        ),
        total(
            "rebalance-latency-total",
            "The total number of milliseconds this consumer has spent in successful rebalances since creation",
        ),
        count(
            "rebalance-total",
            "The total number of successful rebalance events, each event is composed of several failed re-trials until it succeeded",
        ),
        rate_of_events_per_hour(
            "rebalance-rate-per-hour",
            "The number of successful rebalance events per hour, each event is composed of several failed re-trials until it succeeded",
        ),
    ],
);
/// A rebalance came to nothing.
pub(crate) static REBALANCE_FAILED: SensorDefinition = SensorDefinition::new(
    "rebalances",
    &[
        count("failed-rebalance-total", "The total number of failed rebalance events"),
        rate_of_events_per_hour("failed-rebalance-rate-per-hour", "The number of failed rebalance events per hour"),
    ],
);
/// The listener took this long for new partitions.
pub(crate) static ASSIGNED: SensorDefinition = SensorDefinition::new(
    "ms",
    &[
        avg(
            "partition-assigned-latency-avg",
            "The average time taken for a partition-assigned rebalance listener callback",
        ),
        max(
            "partition-assigned-latency-max",
            "The max time taken for a partition-assigned rebalance listener callback",
        ),
    ],
);
/// The listener took this long for partitions that are given up.
pub(crate) static REVOKED: SensorDefinition = SensorDefinition::new(
    "ms",
    &[
        avg(
            "partition-revoked-latency-avg",
            "The average time taken for a partition-revoked rebalance listener callback",
        ),
        max("partition-revoked-latency-max", "The max time taken for a partition-revoked rebalance listener callback"),
    ],
);
/// The listener took this long for partitions that are lost.
pub(crate) static LOST: SensorDefinition = SensorDefinition::new(
    "ms",
    &[
        avg("partition-lost-latency-avg", "The average time taken for a partition-lost rebalance listener callback"),
        max("partition-lost-latency-max", "The max time taken for a partition-lost rebalance listener callback"),
    ],
);
/// How many partitions the consumer has.
pub(crate) static ASSIGNED_PARTITIONS: GaugeDefinition = GaugeDefinition::new(
    "assigned-partitions",
    "partitions",
    "The number of partitions currently assigned to this consumer",
);
/// When the last heartbeat was sent.
pub(crate) static LAST_HEARTBEAT: GaugeDefinition = GaugeDefinition::new(
    "last-heartbeat-seconds-ago",
    "s",
    "The number of seconds since the last coordinator heartbeat was sent",
);
/// When the last rebalance ended.
pub(crate) static LAST_REBALANCE: GaugeDefinition = GaugeDefinition::new(
    "last-rebalance-seconds-ago",
    "s",
    "The number of seconds since the last successful rebalance event",
);
/// A fetch was answered after this time.
pub(crate) static FETCH: SensorDefinition = SensorDefinition::new(
    "ms",
    &[
        avg("fetch-latency-avg", "The average time taken for a fetch request."),
        max("fetch-latency-max", "The max time taken for any fetch request."),
        rate_of_events("fetch-rate", "The number of fetch requests per second."),
        count("fetch-total", "The total number of fetch requests."),
    ],
);
/// How long a broker has throttled a fetch.
pub(crate) static FETCH_THROTTLE: SensorDefinition = SensorDefinition::new(
    "ms",
    &[
        avg("fetch-throttle-time-avg", "The average throttle time in ms"),
        max("fetch-throttle-time-max", "The maximum throttle time in ms"),
    ],
);
/// All that an answer brought was read: its size.
pub(crate) static FETCH_BYTES: SensorDefinition = SensorDefinition::new(
    "bytes",
    &[
        avg("fetch-size-avg", "The average number of bytes fetched per request"),
        max("fetch-size-max", "The maximum number of bytes fetched per request"),
        rate("bytes-consumed-rate", "The average number of bytes consumed per second"),
        total("bytes-consumed-total", "The total number of bytes consumed"),
    ],
);
/// The same in records.
pub(crate) static FETCH_RECORDS: SensorDefinition = SensorDefinition::new(
    "records",
    &[
        avg("records-per-request-avg", "The average number of records in each request"),
        rate("records-consumed-rate", "The average number of records consumed per second"),
        total("records-consumed-total", "The total number of records consumed"),
    ],
);
/// How much of a partition is still to be read.
pub(crate) static LAG: SensorDefinition = SensorDefinition::new(
    "records",
    &[max(
        "records-lag-max",
        "The maximum lag in terms of number of records for any partition in this window. NOTE: This is based on current offset and not committed offset",
    )],
);
/// How far a partition was read from its beginning.
pub(crate) static LEAD: SensorDefinition = SensorDefinition::new(
    "records",
    &[min("records-lead-min", "The minimum lead in terms of number of records for any partition in this window")],
);
/// What an answer brought of a topic.
pub(crate) static TOPIC_FETCH_BYTES: SensorDefinition = SensorDefinition::new(
    "bytes",
    &[
        avg("fetch-size-avg", "The average number of bytes fetched per request for a topic."),
        max("fetch-size-max", "The maximum number of bytes fetched per request for a topic."),
        rate("bytes-consumed-rate", "The average number of bytes consumed per second for a topic."),
        total("bytes-consumed-total", "The total number of bytes consumed for a topic."),
    ],
);
/// The same in records.
pub(crate) static TOPIC_FETCH_RECORDS: SensorDefinition = SensorDefinition::new(
    "records",
    &[
        avg("records-per-request-avg", "The average number of records in each request for a topic."),
        rate("records-consumed-rate", "The average number of records consumed per second for a topic."),
        total("records-consumed-total", "The total number of records consumed for a topic."),
    ],
);
/// How much of it is still to be read.
pub(crate) static PARTITION_LAG: SensorDefinition = SensorDefinition::new(
    "records",
    &[
        value("records-lag", "The latest lag of the partition."),
        max("records-lag-max", "The max lag of the partition."),
        avg("records-lag-avg", "The average lag of the partition."),
    ],
);
/// How far it was read from its beginning.
pub(crate) static PARTITION_LEAD: SensorDefinition = SensorDefinition::new(
    "records",
    &[
        value("records-lead", "The latest lead of the partition."),
        min("records-lead-min", "The min lead of the partition."),
        avg("records-lead-avg", "The average lead of the partition."),
    ],
);
/// From whom it is read.
pub(crate) static PREFERRED_REPLICA: SensorDefinition = SensorDefinition::new(
    "node",
    &[value("preferred-read-replica", "The current read replica for the partition, or -1 if reading from leader.")],
);
