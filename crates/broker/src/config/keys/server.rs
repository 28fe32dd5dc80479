//! The broker's keys of the node itself: listeners, connections, requests, threads, metrics.

use vltava_config::Definition;
use vltava_config::Importance::{High, Low};
use vltava_config::Kind::{Boolean, Class, Int, List, Long, String};
use vltava_config::Range::{Any, AtLeast, EachOf, OneOf};
use vltava_config::Update::{ClusterWide, PerBroker};

use super::{CLASSES, INTERNAL, NO_METRICS_PUSH, ONE_BROKER, POOL, REPORTERS, WAITING};

#[rustfmt::skip]
pub(super) static SERVER: &[Definition] = &[
    Definition::new("advertised.listeners", List, None, Any, "name://host:port for each listener as clients shall reach it; the listeners themselves if not given.").importance(High),
    Definition::new("alter.config.policy.class.name", Class, None, Any, "Class that may refuse changes of settings.").importance(Low).refused(CLASSES),
    Definition::new("auto.create.topics.enable", Boolean, Some("true"), Any, "Whether a topic comes into being when a client asks for its metadata.").importance(High),
    Definition::new("background.threads", Int, Some("10"), AtLeast(1), "Threads for work in the background.").importance(High).update(ClusterWide).warned(POOL),
    Definition::new("broker.id", Int, Some("-1"), Any, "The node's id by its older name; node.id wins.").importance(High),
    Definition::new("broker.rack", String, None, Any, "Where the broker stands: told to clients."),
    Definition::new("client.quota.callback.class", Class, None, Any, "Class that decides about quotas.").importance(Low).refused(CLASSES),
    Definition::new("config.providers", List, Some(""), Any, "Sources of settings outside of the file.").importance(Low).update(ClusterWide).refused(CLASSES),
    Definition::new("connections.max.idle.ms", Long, Some("600000"), Any, "A connection without a request for this long is closed, in ms; negative for never."),
    Definition::new("controlled.shutdown.enable", Boolean, Some("true"), Any, "Whether a broker that stops moves its leaders away first.").warned(ONE_BROKER),
    Definition::new("create.topic.policy.class.name", Class, None, Any, "Class that may refuse new topics.").importance(Low).refused(CLASSES),
    Definition::new("default.replication.factor", Int, Some("1"), Any, "Replicas of a topic that is created without saying how many."),
    Definition::new("delete.records.purgatory.purge.interval.requests", Int, Some("1"), Any, "Requests between two clean-ups of waiting deletions of records.").warned(WAITING),
    Definition::new("delete.topic.enable", Boolean, Some("true"), Any, "Whether topics can be deleted.").importance(High),
    Definition::new("early.start.listeners", List, None, Any, "Listeners that open before the broker may serve.").importance(High).warned("all listeners open at once, when the broker may serve"),
    Definition::new("fetch.max.bytes", Int, Some("57671680"), AtLeast(1024), "Upper size of an answer to a fetch, in bytes; the first batch is sent even if it is larger."),
    Definition::new("fetch.purgatory.purge.interval.requests", Int, Some("1000"), Any, "Requests between two clean-ups of waiting fetches.").warned(WAITING),
    Definition::new("inter.broker.listener.name", String, None, Any, "The listener that brokers use among themselves; it has to be an advertised one."),
    Definition::new("kafka.metrics.polling.interval.secs", Int, Some("10"), AtLeast(1), "Time between reports of the older metrics, in s.").importance(Low).warned(REPORTERS),
    Definition::new("kafka.metrics.reporters", List, Some(""), Any, "Classes that report the older metrics.").importance(Low).warned(REPORTERS),
    Definition::new("listener.security.protocol.map", String, Some("SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT"), Any, "name:protocol for each listener; PLAINTEXT and SSL are served.").importance(Low).update(PerBroker),
    Definition::new("listeners", List, Some("PLAINTEXT://:9092"), Any, "name://host:port for each address to listen on; port 0 lets the operating system choose.").importance(High).update(PerBroker),
    Definition::new("max.connection.creation.rate", Int, Some("2147483647"), AtLeast(0), "The most new connections per second, as a mean of ten seconds.").update(ClusterWide),
    Definition::new("max.connections", Int, Some("2147483647"), AtLeast(0), "The most connections.").update(ClusterWide),
    Definition::new("max.connections.per.ip", Int, Some("2147483647"), AtLeast(0), "The most connections from one address.").update(ClusterWide),
    Definition::new("max.connections.per.ip.overrides", String, Some(""), Any, "address:limit where an address has a limit of its own.").update(ClusterWide),
    Definition::new("max.incremental.fetch.session.cache.slots", Int, Some("1000"), AtLeast(0), "The most fetch sessions that are kept."),
    Definition::new("max.request.partition.size.limit", Int, Some("2000"), AtLeast(1), "The most partitions in an answer to DescribeTopicPartitions."),
    Definition::new("metric.reporters", List, Some("org.apache.kafka.common.metrics.JmxReporter"), Any, "Classes that report metrics.").importance(Low).update(ClusterWide).warned(REPORTERS),
    Definition::new("metrics.http.address", String, Some(""), Any, "host:port where /metrics, /health and /ready are served over HTTP, to whoever reaches it and without authentication: names of topics, paths of log directories, how much is used. Port 0 lets the operating system choose; empty for nowhere.").ours(),
    Definition::new("metrics.num.samples", Int, Some("2"), AtLeast(1), "Samples kept per metric.").importance(Low),
    Definition::new("metrics.recording.level", String, Some("INFO"), OneOf(&["INFO", "DEBUG", "TRACE"]), "How detailed metrics are; those of the broker are all at INFO.").importance(Low),
    Definition::new("metrics.sample.window.ms", Long, Some("30000"), AtLeast(1), "Time of a metric's sample, in ms.").importance(Low),
    Definition::new("node.id", Int, Some("1"), AtLeast(0), "The node's number in its cluster.").importance(High),
    Definition::new("num.io.threads", Int, Some("8"), AtLeast(1), "Threads for requests; with num.network.threads the size of one pool, at most one per processor.").importance(High).update(ClusterWide),
    Definition::new("num.network.threads", Int, Some("3"), AtLeast(1), "Threads for the network; with num.io.threads the size of one pool, at most one per processor.").importance(High).update(ClusterWide),
    Definition::new("num.partitions", Int, Some("1"), AtLeast(1), "Partitions of a topic that is created without saying how many."),
    Definition::new("process.roles", List, Some("broker,controller"), EachOf(&["broker", "controller"]), "What the node is; it is broker and controller at once.").importance(High),
    Definition::new("producer.purgatory.purge.interval.requests", Int, Some("1000"), Any, "Requests between two clean-ups of waiting produce requests.").warned(WAITING),
    Definition::new("queued.max.request.bytes", Long, Some("-1"), Any, "The most bytes of requests that wait; -1 for no limit."),
    Definition::new("queued.max.requests", Int, Some("500"), AtLeast(1), "The most requests that are read and not handled, before the network is not read any more; those left out that wait for data or for members of a group.").importance(High),
    Definition::new("quota.window.num", Int, Some("11"), AtLeast(1), "Samples kept of a client's use; the last one is under way.").importance(Low),
    Definition::new("quota.window.size.seconds", Int, Some("1"), AtLeast(1), "Time of one sample of a client's use, in s.").importance(Low),
    Definition::new("request.timeout.ms", Int, Some("30000"), Any, "How long a request to another node may take, in ms.").importance(High).warned(ONE_BROKER),
    Definition::new("server.max.startup.time.ms", Long, Some("9223372036854775807"), AtLeast(0), "How long a broker's start may take, in ms.").internal().warned(INTERNAL),
    Definition::new("socket.connection.setup.timeout.max.ms", Long, Some("30000"), Any, "The longest time that a connection to another node may take, in ms.").warned(ONE_BROKER),
    Definition::new("socket.connection.setup.timeout.ms", Long, Some("10000"), Any, "How long a connection to another node may take, in ms.").warned(ONE_BROKER),
    Definition::new("socket.listen.backlog.size", Int, Some("50"), AtLeast(1), "The most connections that wait for their acceptance."),
    Definition::new("socket.receive.buffer.bytes", Int, Some("102400"), Any, "The socket's receive buffer, in bytes; -1 leaves it to the operating system.").importance(High),
    Definition::new("socket.request.max.bytes", Int, Some("104857600"), AtLeast(1), "The largest request, in bytes.").importance(High),
    Definition::new("socket.send.buffer.bytes", Int, Some("102400"), Any, "The socket's send buffer, in bytes; -1 leaves it to the operating system.").importance(High),
    Definition::new("telemetry.max.bytes", Int, Some("1048576"), AtLeast(1), "Upper size of metrics that a client pushes, in bytes.").importance(Low).warned(NO_METRICS_PUSH),
    Definition::new("unstable.api.versions.enable", Boolean, Some("false"), Any, "Whether versions of requests that are not released are served.").importance(High).internal().warned(INTERNAL),
    Definition::new("unstable.feature.versions.enable", Boolean, Some("false"), Any, "Whether levels of features that are not released may be used.").importance(High).internal().warned(INTERNAL),
];
