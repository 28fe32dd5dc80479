//! What a client records of its connections.

use vltava_metrics::definition::{
    GaugeDefinition, Group, SensorDefinition, avg, count, max, rate, rate_of_events, total,
};

/// What every client records of its network, in the group of its kind.
pub(crate) const NETWORK: &[&SensorDefinition] = &[
    &CONNECTION_CREATED,
    &CONNECTION_CLOSED,
    &AUTHENTICATED,
    &AUTHENTICATED_ONCE,
    &AUTHENTICATION_FAILED,
    &REAUTHENTICATED,
    &REAUTHENTICATION_LATENCY,
    &REAUTHENTICATION_FAILED,
    &NETWORK_IO,
    &OUTGOING,
    &INCOMING,
    &REQUESTS,
    &RESPONSES,
];
/// The same by broker.
pub(crate) const NODE: &[&SensorDefinition] =
    &[&NODE_OUTGOING, &NODE_INCOMING, &NODE_REQUESTS, &NODE_RESPONSES, &NODE_LATENCY];

/// The metrics of the network of every kind of client.
pub(crate) const GROUPS: &[Group] = &[
    of_client("producer-metrics"),
    of_client("consumer-metrics"),
    of_client("admin-client-metrics"),
    of_node("producer-node-metrics"),
    of_node("consumer-node-metrics"),
    of_node("admin-client-node-metrics"),
    Group { name: APP_INFO, tags: &["client-id"], sensors: &[], gauges: &[&COMMIT_ID, &START_TIME, &VERSION] },
    Group { name: "kafka-metrics-count", tags: &["client-id"], sensors: &[], gauges: &[&COUNT] },
];

const GAUGES: &[&GaugeDefinition] = &[&CONNECTION_COUNT];

const fn of_client(name: &'static str) -> Group {
    Group { name, tags: &["client-id"], sensors: NETWORK, gauges: GAUGES }
}

const fn of_node(name: &'static str) -> Group {
    Group { name, tags: &["client-id", "node-id"], sensors: NODE, gauges: &[] }
}

pub(crate) const APP_INFO: &str = "app-info";
pub(crate) static COMMIT_ID: GaugeDefinition = GaugeDefinition::new("commit-id", "text", "Metric indicating commit-id");
pub(crate) static START_TIME: GaugeDefinition =
    GaugeDefinition::new("start-time-ms", "ms since the epoch", "Metric indicating start-time-ms");
pub(crate) static VERSION: GaugeDefinition = GaugeDefinition::new("version", "text", "Metric indicating version");
static COUNT: GaugeDefinition = GaugeDefinition::new("count", "metrics", "total number of registered metrics");
/// A connection was made.
pub(crate) static CONNECTION_CREATED: SensorDefinition = SensorDefinition::new(
    "connections",
    &[
        rate_of_events("connection-creation-rate", "The number of new connections established per second"),
        count("connection-creation-total", "The total number of new connections established"),
    ],
);
/// A connection has ended.
pub(crate) static CONNECTION_CLOSED: SensorDefinition = SensorDefinition::new(
    "connections",
    &[
        rate_of_events("connection-close-rate", "The number of connections closed per second"),
        count("connection-close-total", "The total number of connections closed"),
    ],
);
/// The two sides know of each other who they are.
pub(crate) static AUTHENTICATED: SensorDefinition = SensorDefinition::new(
    "connections",
    &[
        rate_of_events(
            "successful-authentication-rate",
            "The number of connections with successful authentication per second",
        ),
        count("successful-authentication-total", "The total number of connections with successful authentication"),
    ],
);
/// The same, where that is not said again.
pub(crate) static AUTHENTICATED_ONCE: SensorDefinition = SensorDefinition::new(
    "connections",
    &[count(
        "successful-authentication-no-reauth-total",
        "The total number of connections with successful authentication where the client does not support re-authentication",
    )],
);
/// One side did not accept the other.
pub(crate) static AUTHENTICATION_FAILED: SensorDefinition = SensorDefinition::new(
    "connections",
    &[
        rate_of_events("failed-authentication-rate", "The number of connections with failed authentication per second"),
        count("failed-authentication-total", "The total number of connections with failed authentication"),
    ],
);
/// A session was begun again.
pub(crate) static REAUTHENTICATED: SensorDefinition = SensorDefinition::new(
    "connections",
    &[
        rate_of_events(
            "successful-reauthentication-rate",
            "The number of successful re-authentication of connections per second",
        ),
        count("successful-reauthentication-total", "The total number of successful re-authentication of connections"),
    ],
);
/// How long that took.
pub(crate) static REAUTHENTICATION_LATENCY: SensorDefinition = SensorDefinition::new(
    "ms",
    &[
        avg("reauthentication-latency-avg", "The average latency observed due to re-authentication"),
        max("reauthentication-latency-max", "The max latency observed due to re-authentication"),
    ],
);
/// A session could not be begun again.
pub(crate) static REAUTHENTICATION_FAILED: SensorDefinition = SensorDefinition::new(
    "connections",
    &[
        rate_of_events(
            "failed-reauthentication-rate",
            "The number of failed re-authentication of connections per second",
        ),
        count("failed-reauthentication-total", "The total number of failed re-authentication of connections"),
    ],
);
/// Something was read or written.
pub(crate) static NETWORK_IO: SensorDefinition = SensorDefinition::new(
    "operations",
    &[
        rate_of_events(
            "network-io-rate",
            "The number of network operations (reads or writes) on all connections per second",
        ),
        count("network-io-total", "The total number of network operations (reads or writes) on all connections"),
    ],
);
/// Bytes were written.
pub(crate) static OUTGOING: SensorDefinition = SensorDefinition::new(
    "bytes",
    &[
        rate("outgoing-byte-rate", "The number of outgoing bytes sent to all servers per second"),
        total("outgoing-byte-total", "The total number of outgoing bytes sent to all servers"),
    ],
);
/// Bytes were read.
pub(crate) static INCOMING: SensorDefinition = SensorDefinition::new(
    "bytes",
    &[
        rate("incoming-byte-rate", "The number of bytes read off all sockets per second"),
        total("incoming-byte-total", "The total number of bytes read off all sockets"),
    ],
);
/// A request of this size was sent.
pub(crate) static REQUESTS: SensorDefinition = SensorDefinition::new(
    "bytes",
    &[
        rate_of_events("request-rate", "The number of requests sent per second"),
        count("request-total", "The total number of requests sent"),
        avg("request-size-avg", "The average size of requests sent."),
        max("request-size-max", "The maximum size of any request sent."),
    ],
);
/// An answer came.
pub(crate) static RESPONSES: SensorDefinition = SensorDefinition::new(
    "responses",
    &[
        rate_of_events("response-rate", "The number of responses received per second"),
        count("response-total", "The total number of responses received"),
    ],
);
/// Bytes were written to a broker.
pub(crate) static NODE_OUTGOING: SensorDefinition = SensorDefinition::new(
    "bytes",
    &[
        rate("outgoing-byte-rate", "The number of outgoing bytes per second"),
        total("outgoing-byte-total", "The total number of outgoing bytes"),
    ],
);
/// Bytes of a broker were read.
pub(crate) static NODE_INCOMING: SensorDefinition = SensorDefinition::new(
    "bytes",
    &[
        rate("incoming-byte-rate", "The number of incoming bytes per second"),
        total("incoming-byte-total", "The total number of incoming bytes"),
    ],
);
/// A request of this size was sent to a broker.
pub(crate) static NODE_REQUESTS: SensorDefinition = SensorDefinition::new(
    "bytes",
    &[
        rate_of_events("request-rate", "The number of requests sent per second"),
        count("request-total", "The total number of requests sent"),
        avg("request-size-avg", "The average size of requests sent."),
        max("request-size-max", "The maximum size of any request sent."),
    ],
);
/// An answer of a broker came.
pub(crate) static NODE_RESPONSES: SensorDefinition = SensorDefinition::new(
    "responses",
    &[
        rate_of_events("response-rate", "The number of responses received per second"),
        count("response-total", "The total number of responses received"),
    ],
);
/// How long a broker took for records, written or read.
pub(crate) static NODE_LATENCY: SensorDefinition =
    SensorDefinition::new("ms", &[avg("request-latency-avg", ""), max("request-latency-max", "")]);
/// Open connections.
pub(crate) static CONNECTION_COUNT: GaugeDefinition =
    GaugeDefinition::new("connection-count", "connections", "The current number of active connections.");
