//! The tables of the clients' keys: what each is, what it may be, and what is done with it.

use vltava_config::Definition;
use vltava_config::Importance::{High, Low};
use vltava_config::Kind::{Boolean, Class, Int, List, Long, String};
use vltava_config::Range::{Any, AtLeast, Between, BetweenOr, Checked, NonEmpty, OneOf, OneOfAnyCase};

use super::consumer::AutoOffsetReset;

/// Kafka's class of the partitioner that goes round all partitions.
pub(crate) const ROUND_ROBIN_CLASS: &str = "org.apache.kafka.clients.producer.RoundRobinPartitioner";

/// Kafka's default assignors, by their classes.
const DEFAULT_ASSIGNORS: &str =
    "org.apache.kafka.clients.consumer.RangeAssignor,org.apache.kafka.clients.consumer.CooperativeStickyAssignor";

const DESERIALIZERS: &str = "deserializers are chosen by type, see the module `serdes`";
const NO_REPORTERS: &str = "reporters are classes of the JVM, read `metrics()` or serve them over HTTP";
const SERIALIZERS: &str = "serializers are chosen by type, see the module `serdes`";
const SHARE: &str = "share consumers are not supported yet";
const TWO_PHASE_COMMIT: &str = "two-phase commits (KIP-939) are not supported yet";

fn is_known_partitioner(class: &str) -> bool {
    class.is_empty() || class == ROUND_ROBIN_CLASS
}

fn is_offset_reset(value: &str) -> bool {
    AutoOffsetReset::parse(value).is_some()
}

/// The keys whose definition is the same for producer, consumer and admin client.
#[rustfmt::skip]
pub(super) const COMMON: &[Definition] = &[
    Definition::new("client.dns.lookup", String, Some("use_all_dns_ips"), OneOf(&["use_all_dns_ips", "resolve_canonical_bootstrap_servers_only"]), "How names are resolved: every address of a name is tried in turn.").refused("only use_all_dns_ips is supported"),
    Definition::new("client.id", String, Some(""), Any, "The name by which the broker knows this client in its logs and quotas; drawn if empty."),
    Definition::new("config.providers", List, Some(""), Any, "Sources of settings outside of the file.").importance(Low).refused("configuration providers are not supported, resolve the values before"),
    Definition::new("metadata.max.age.ms", Long, Some("300000"), AtLeast(0), "Metadata older than this is read again even without an error, in ms.").importance(Low),
    Definition::new("metadata.recovery.rebootstrap.trigger.ms", Long, Some("300000"), AtLeast(0), "Without metadata from any known broker for this long, the client starts again from bootstrap.servers, in ms.").importance(Low),
    Definition::new("metadata.recovery.strategy", String, Some("rebootstrap"), OneOfAnyCase(&["rebootstrap", "none"]), "What to do when none of the known brokers can be reached.").importance(Low),
    Definition::new("metric.reporters", List, Some(""), Any, "Classes that report metrics.").importance(Low).warned(NO_REPORTERS),
    Definition::new("metrics.num.samples", Int, Some("2"), AtLeast(1), "Samples kept per metric.").importance(Low),
    Definition::new("metrics.recording.level", String, Some("INFO"), OneOf(&["INFO", "DEBUG", "TRACE"]), "How detailed metrics are.").importance(Low),
    Definition::new("metrics.sample.window.ms", Long, Some("30000"), AtLeast(0), "Time of a metric's sample, in ms.").importance(Low),
    Definition::new("reconnect.backoff.max.ms", Long, Some("1000"), AtLeast(0), "The longest pause between attempts to connect to a broker, in ms.").importance(Low),
    Definition::new("reconnect.backoff.ms", Long, Some("50"), AtLeast(0), "The pause after a connection could not be made, doubled per failure, with a jitter of 20 %, in ms.").importance(Low),
    Definition::new("request.timeout.ms", Int, Some("30000"), AtLeast(0), "How long one request may stay without an answer, in ms."),
    Definition::new("retry.backoff.max.ms", Long, Some("1000"), AtLeast(0), "The longest pause between retries, in ms.").importance(Low),
    Definition::new("retry.backoff.ms", Long, Some("100"), AtLeast(0), "The pause before the first retry, doubled per retry, with a jitter of 20 %, in ms.").importance(Low),
    Definition::new("security.protocol", String, Some("PLAINTEXT"), OneOfAnyCase(&["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]), "How connections are protected."),
    Definition::new("send.buffer.bytes", Int, Some("131072"), AtLeast(-1), "The socket's send buffer in bytes; -1 leaves it to the operating system."),
    Definition::new("socket.connection.setup.timeout.max.ms", Long, Some("30000"), AtLeast(0), "The longest time that making a connection may take, in ms."),
    Definition::new("socket.connection.setup.timeout.ms", Long, Some("10000"), AtLeast(0), "How long making a connection may take, doubled per failure, with a jitter of 20 %, in ms."),
];

/// The admin client's own.
#[rustfmt::skip]
pub(super) const ADMIN: &[Definition] = &[
    Definition::new("bootstrap.controllers", List, Some(""), Any, "Controllers to talk to directly.").importance(High).refused("only bootstrap.servers is supported yet"),
    Definition::new("bootstrap.servers", List, Some(""), Any, "host:port, separated by commas, from which the cluster is found.").importance(High),
    Definition::new("connections.max.idle.ms", Long, Some("300000"), Any, "An unused connection is closed after this time, in ms; negative for never."),
    Definition::new("default.api.timeout.ms", Int, Some("60000"), AtLeast(0), "How long a call without a time limit of its own may take, in ms."),
    Definition::new("enable.metrics.push", Boolean, Some("false"), Any, "Whether metrics are pushed to the broker (KIP-714).").importance(Low).warned("metrics are not pushed yet"),
    Definition::new("receive.buffer.bytes", Int, Some("65536"), AtLeast(-1), "The socket's receive buffer in bytes; -1 leaves it to the operating system."),
    Definition::new("retries", Int, Some("2147483647"), Between(0, 2_147_483_647), "How often a request is made again after an error that may pass; default.api.timeout.ms ends it earlier.").importance(Low),
];

/// The consumer's own.
#[rustfmt::skip]
pub(super) const CONSUMER: &[Definition] = &[
    Definition::new("allow.auto.create.topics", Boolean, Some("true"), Any, "Whether subscribing to a topic may create it on a broker with auto.create.topics.enable."),
    Definition::new("auto.commit.interval.ms", Int, Some("5000"), AtLeast(0), "How often offsets are committed with enable.auto.commit, in ms.").importance(Low),
    Definition::new("auto.offset.reset", String, Some("latest"), Checked("earliest, latest, none or by_duration: with an ISO 8601 duration", is_offset_reset), "Where to read from without a committed offset, or if it does not exist any more."),
    Definition::new("bootstrap.servers", List, None, Any, "host:port, separated by commas, from which the cluster is found.").importance(High),
    Definition::new("check.crcs", Boolean, Some("true"), Any, "Whether the checksums of batches are verified.").importance(Low),
    Definition::new("client.rack", String, Some(""), Any, "Where this client is: brokers may name a replica nearby to read from.").importance(Low),
    Definition::new("connections.max.idle.ms", Long, Some("540000"), Any, "An unused connection is closed after this time, in ms; negative for never."),
    Definition::new("default.api.timeout.ms", Int, Some("60000"), AtLeast(0), "How long a call without a time limit of its own may take, in ms."),
    Definition::new("enable.auto.commit", Boolean, Some("true"), Any, "Whether offsets are committed in the background."),
    Definition::new("enable.metrics.push", Boolean, Some("true"), Any, "Whether metrics are pushed to the broker (KIP-714).").importance(Low).warned_unless("false", "metrics are not pushed yet"),
    Definition::new("exclude.internal.topics", Boolean, Some("true"), Any, "Whether a subscription by pattern leaves out internal topics."),
    Definition::new("fetch.max.bytes", Int, Some("52428800"), AtLeast(0), "Upper size of one answer to a fetch, in bytes; the first batch is returned even if it is larger."),
    Definition::new("fetch.max.wait.ms", Int, Some("500"), AtLeast(0), "How long the broker may wait for fetch.min.bytes, in ms.").importance(Low),
    Definition::new("fetch.min.bytes", Int, Some("1"), AtLeast(0), "How many bytes the broker waits for before it answers a fetch.").importance(High),
    Definition::new("group.id", String, None, Any, "The group that this consumer belongs to.").importance(High),
    Definition::new("group.instance.id", String, None, NonEmpty, "A name of this member that outlives restarts (static membership)."),
    Definition::new("group.protocol", String, Some("classic"), OneOfAnyCase(&["consumer", "classic"]), "How the group divides partitions: classic, where the members assign among themselves, or consumer, where the coordinator does (KIP-848).").importance(High),
    Definition::new("group.remote.assignor", String, None, Any, "The assignor that the coordinator uses for the group with group.protocol=consumer, by its name; without one it chooses."),
    Definition::new("heartbeat.interval.ms", Int, Some("3000"), AtLeast(1), "Time between heartbeats to the group's coordinator, in ms.").importance(High),
    Definition::new("interceptor.classes", List, Some(""), Any, "Classes that see every record.").importance(Low).refused("interceptors are not supported, wrap the consumer"),
    Definition::new("internal.throw.on.fetch.stable.offset.unsupported", Boolean, Some("false"), Any, "Internal to the JVM's library.").importance(Low).warned("it is internal to the JVM's library"),
    Definition::new("isolation.level", String, Some("read_uncommitted"), OneOf(&["read_committed", "read_uncommitted"]), "Whether records of open and aborted transactions are returned."),
    Definition::new("key.deserializer", Class, None, Any, "Deserializer of keys.").importance(High).warned(DESERIALIZERS),
    Definition::new("max.decompressed.batch.bytes", Int, Some("134217728"), AtLeast(0), "Most bytes that the records of one compressed batch may decompress to; a larger one is an error that names it, to be read with a larger limit or passed by. Kafka has no such limit.").ours(),
    Definition::new("max.partition.fetch.bytes", Int, Some("1048576"), AtLeast(0), "Upper size of one partition's part in a fetch, in bytes; the first batch is returned even if it is larger.").importance(High),
    Definition::new("max.poll.interval.ms", Int, Some("300000"), AtLeast(1), "A member that does not poll for this long leaves its group, in ms."),
    Definition::new("max.poll.records", Int, Some("500"), AtLeast(1), "Most records that one poll returns."),
    Definition::new("partition.assignment.strategy", List, Some(DEFAULT_ASSIGNORS), Any, "Assignors that the member offers its group, the preferred one first."),
    Definition::new("receive.buffer.bytes", Int, Some("65536"), AtLeast(-1), "The socket's receive buffer in bytes; -1 leaves it to the operating system."),
    Definition::new("session.timeout.ms", Int, Some("45000"), AtLeast(1), "A member without a heartbeat for this long is removed from its group, in ms.").importance(High),
    Definition::new("share.acknowledgement.mode", String, Some("implicit"), OneOf(&["implicit", "explicit"]), "How a share consumer acknowledges.").refused(SHARE),
    Definition::new("share.acquire.mode", String, Some("batch_optimized"), OneOfAnyCase(&["batch_optimized", "record_limit"]), "How a share consumer acquires records.").refused(SHARE),
    Definition::new("value.deserializer", Class, None, Any, "Deserializer of values.").importance(High).warned(DESERIALIZERS),
];

/// The producer's own.
#[rustfmt::skip]
pub(super) const PRODUCER: &[Definition] = &[
    Definition::new("acks", String, Some("all"), OneOf(&["all", "-1", "0", "1"]), "How many replicas must have a batch before it counts as sent: 0 none (no answer at all), 1 the leader, all (-1) every replica in sync.").importance(Low),
    Definition::new("batch.size", Int, Some("16384"), AtLeast(0), "Upper size of a batch of records for one partition, in bytes; larger batches cost memory and save requests. A larger record is a batch of its own."),
    Definition::new("bootstrap.servers", List, None, Any, "host:port, separated by commas, from which the cluster is found.").importance(High),
    Definition::new("buffer.memory", Long, Some("33554432"), AtLeast(0), "Memory for records that are not acknowledged, in bytes; when it is used up, send waits up to max.block.ms.").importance(High),
    Definition::new("compression.gzip.level", Int, Some("-1"), BetweenOr(1, 9, -1), "gzip: 1 is fastest, 9 smallest, -1 the library's choice."),
    Definition::new("compression.lz4.level", Int, Some("9"), Between(1, 17), "lz4: level of the high compression mode.").warned("lz4 has one level here, the fastest"),
    Definition::new("compression.type", String, Some("none"), OneOf(&["none", "gzip", "snappy", "lz4", "zstd"]), "How batches are compressed.").importance(High),
    Definition::new("compression.zstd.level", Int, Some("3"), Between(-131_072, 22), "zstd: smaller is faster."),
    Definition::new("connections.max.idle.ms", Long, Some("540000"), Any, "An unused connection is closed after this time, in ms; negative for never."),
    Definition::new("delivery.timeout.ms", Int, Some("120000"), AtLeast(0), "A record that is not acknowledged this long after send fails, in ms; at least linger.ms + request.timeout.ms."),
    Definition::new("enable.idempotence", Boolean, Some("true"), Any, "Whether the broker removes duplicates that retries cause; needs acks=all, retries and at most 5 requests in flight.").importance(Low),
    Definition::new("enable.metrics.push", Boolean, Some("true"), Any, "Whether metrics are pushed to the broker (KIP-714).").importance(Low).warned_unless("false", "metrics are not pushed yet"),
    Definition::new("interceptor.classes", List, Some(""), Any, "Classes that see every record.").importance(Low).refused("interceptors are not supported, wrap the producer"),
    Definition::new("key.serializer", Class, None, Any, "Serializer of keys.").importance(High).warned(SERIALIZERS),
    Definition::new("linger.ms", Long, Some("5"), AtLeast(0), "How long a batch waits for more records before it is sent, with all that its broker was given, in ms."),
    Definition::new("max.block.ms", Long, Some("60000"), AtLeast(0), "How long send may wait for metadata or buffer memory, in ms."),
    Definition::new("max.in.flight.requests.per.connection", Int, Some("5"), AtLeast(1), "How many produce requests may wait for their answers on one connection.").importance(Low),
    Definition::new("max.request.size", Int, Some("1048576"), AtLeast(0), "Largest produce request, and so the largest record, before compression, in bytes."),
    Definition::new("metadata.max.idle.ms", Long, Some("300000"), AtLeast(5000), "Metadata of a topic that is not used this long is forgotten, in ms.").importance(Low),
    Definition::new("partitioner.adaptive.partitioning.enable", Boolean, Some("true"), Any, "Whether partitions of slow brokers get fewer records without a key (KIP-794).").importance(Low),
    Definition::new("partitioner.availability.timeout.ms", Long, Some("0"), AtLeast(0), "A partition whose broker has not taken a batch for this long gets no records without a key, in ms; 0 for never.").importance(Low),
    Definition::new("partitioner.class", Class, None, Checked("the class RoundRobinPartitioner; give any other as a `Partitioner` to the producer's builder", is_known_partitioner), "How records are spread over partitions; default: by key, else sticky."),
    Definition::new("partitioner.ignore.keys", Boolean, Some("false"), Any, "Whether records with a key are spread like those without one."),
    Definition::new("receive.buffer.bytes", Int, Some("32768"), AtLeast(-1), "The socket's receive buffer in bytes; -1 leaves it to the operating system."),
    Definition::new("retries", Int, Some("2147483647"), Between(0, 2_147_483_647), "How often a batch is sent again after an error that may pass; delivery.timeout.ms ends it earlier.").importance(High),
    Definition::new("transaction.timeout.ms", Int, Some("60000"), AtLeast(1), "How long a transaction may be open before its coordinator aborts it, in ms; at most the broker's transaction.max.timeout.ms.").importance(Low),
    Definition::new("transaction.two.phase.commit.enable", Boolean, Some("false"), Any, "Whether the producer takes part in two-phase commits.").importance(Low).refused(TWO_PHASE_COMMIT),
    Definition::new("transactional.id", String, None, NonEmpty, "The name of a producer that sends in transactions. Whoever begins with it fences those before; a successor has to have the same one. Needs enable.idempotence.").importance(Low),
    Definition::new("value.serializer", Class, None, Any, "Serializer of values.").importance(High).warned(SERIALIZERS),
];
