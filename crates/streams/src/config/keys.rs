//! The table of the settings of Kafka Streams 4.3, and which of its prefixes and clients' keys are passed on.

use std::sync::LazyLock;

use vltava_client::{AdminConfig, ConsumerConfig, ProducerConfig};
use vltava_config::Importance::{High, Low};
use vltava_config::Kind::{Boolean, Class, Int, List, Long, String};
use vltava_config::Range::{Any, AtLeast, Between, Checked, NonEmpty, OneOf, OneOfAnyCase};
use vltava_config::{Definition, Foreign, Tables, class_name, nearest};

/// `application.id`: the prefix of internal topics and the name of the group. Required.
pub const APPLICATION_ID: &str = "application.id";
/// `statestore.cache.max.bytes`: memory of the record caches of all threads, in bytes. Default 10485760; 0 disables.
pub const STATESTORE_CACHE_MAX_BYTES: &str = "statestore.cache.max.bytes";
/// `topology.optimization`: `none` (default), `all`, or a list of `reuse.ktable.source.topics`,
/// `merge.repartition.topics`, `single.store.self.join`.
pub const TOPOLOGY_OPTIMIZATION: &str = "topology.optimization";

/// How often results of outer joins that found nobody are looked for, in ms.
pub(super) const OUTER_JOIN_EMIT_INTERVAL_MS: &str = "__emit.interval.ms.kstreams.outer.join.spurious.results.fix__";
/// How often windows that have closed are looked for, in ms.
pub(super) const WINDOW_EMIT_INTERVAL_MS: &str = "__emit.interval.ms.kstreams.windowed.aggregation__";

const CLASSES: &str = "classes of the JVM cannot be loaded";
pub(crate) const NO_TAGS: &str = "standby tasks are placed without regard to tags";
const NO_RACKS: &str = "tasks are assigned without regard to racks";
const TYPED: &str = "serdes of windows and lists are chosen by type";

const OPTIMIZATIONS: &[&str] =
    &["all", "none", "reuse.ktable.source.topics", "merge.repartition.topics", "single.store.self.join"];
const EXTRACTORS: &[&str] = &[
    "FailOnInvalidTimestamp",
    "LogAndSkipOnInvalidTimestamp",
    "UsePartitionTimeOnInvalidTimestamp",
    "WallclockTimestampExtractor",
];

fn is_extractor(class: &str) -> bool {
    EXTRACTORS.contains(&class_name(class))
}

fn is_store_supplier(class: &str) -> bool {
    matches!(class_name(class), "rocksdb" | "in_memory" | "RocksDBDslStoreSuppliers" | "InMemoryDslStoreSuppliers")
}

fn is_optimization(list: &str) -> bool {
    let exclusive = list.split(',').any(|item| matches!(item.trim(), "all" | "none"));
    !(exclusive && list.contains(',')) && list.split(',').all(|item| OPTIMIZATIONS.contains(&item.trim()))
}

/// The settings of an application, beside those of its clients.
pub(super) static STREAMS: Tables = &[KEYS];

#[rustfmt::skip]
static KEYS: &[Definition] = &[
    Definition::new("acceptable.recovery.lag", Long, Some("10000"), AtLeast(0), "How far behind an instance may be to count as caught up, in records."),
    Definition::new("allow.os.group.write.access", Boolean, Some("false"), Any, "Whether the group of the operating system may write state directories.").importance(Low).warned("directories have the permissions that the process gives new files"),
    Definition::new(APPLICATION_ID, String, None, NonEmpty, "The name of the application: prefix of its internal topics and of its state, and its group.").importance(High),
    Definition::new("application.server", String, Some(""), Any, "host:port under which this instance tells others that it can be asked for its stores.").importance(Low),
    Definition::new("bootstrap.servers", List, None, Any, "host:port, separated by commas, from which the cluster is found.").importance(High),
    Definition::new("buffered.records.per.partition", Int, Some("1000"), AtLeast(0), "Records that wait per partition before it is paused; 0 for no limit.").importance(Low),
    Definition::new("built.in.metrics.version", String, Some("latest"), OneOf(&["latest"]), "The version of the metrics' names.").importance(Low).warned("there is one version of the metrics' names"),
    Definition::new("cache.max.bytes.buffering", Long, Some("10485760"), AtLeast(0), "statestore.cache.max.bytes by its older name, which yields to it."),
    Definition::new("client.id", String, Some(""), Any, "The prefix of the clients' names; drawn if empty."),
    Definition::new("commit.interval.ms", Long, Some("30000"), AtLeast(0), "Time between commits, in ms; 100 by default with exactly_once_v2.").importance(Low),
    Definition::new("default.client.supplier", Class, Some("org.apache.kafka.streams.processor.internals.DefaultKafkaClientSupplier"), Any, "Class that makes the clients.").importance(Low).refused(CLASSES),
    Definition::new("default.deserialization.exception.handler", Class, Some("org.apache.kafka.streams.errors.LogAndFailExceptionHandler"), Any, "deserialization.exception.handler by its older name, which yields to it."),
    Definition::new("default.dsl.store", String, Some("rocksDB"), OneOf(&["rocksDB", "in_memory"]), "dsl.store.suppliers.class by its older name, which yields to it.").importance(Low),
    Definition::new("default.key.serde", Class, None, Any, "The serde of keys that ask for the configured one."),
    Definition::new("default.list.key.serde.inner", Class, None, Any, "The serde of a list's entries in keys that ask for the configured one."),
    Definition::new("default.list.key.serde.type", Class, None, Any, "The class of lists in keys.").warned("a list is always a Vec"),
    Definition::new("default.list.value.serde.inner", Class, None, Any, "The serde of a list's entries in values that ask for the configured one."),
    Definition::new("default.list.value.serde.type", Class, None, Any, "The class of lists in values.").warned("a list is always a Vec"),
    Definition::new("default.production.exception.handler", Class, Some("org.apache.kafka.streams.errors.DefaultProductionExceptionHandler"), Any, "production.exception.handler by its older name, which yields to it."),
    Definition::new("default.timestamp.extractor", Class, Some("org.apache.kafka.streams.processor.FailOnInvalidTimestamp"), Checked("one of FailOnInvalidTimestamp, LogAndSkipOnInvalidTimestamp, UsePartitionTimeOnInvalidTimestamp, WallclockTimestampExtractor", is_extractor), "Where a record's timestamp comes from unless its source says so."),
    Definition::new("default.value.serde", Class, None, Any, "The serde of values that ask for the configured one."),
    Definition::new("deserialization.exception.handler", Class, Some("org.apache.kafka.streams.errors.LogAndFailExceptionHandler"), Any, "What happens to records whose bytes cannot be read: LogAndFail or LogAndContinue; others are given to the builder."),
    Definition::new("dsl.store.format", String, Some("DEFAULT"), OneOfAnyCase(&["DEFAULT", "HEADERS"]), "Whether tables and windows of the DSL keep headers with their values.").importance(Low),
    Definition::new("dsl.store.suppliers.class", Class, Some("org.apache.kafka.streams.state.BuiltInDslStoreSuppliers$RocksDBDslStoreSuppliers"), Checked("rocksdb or in_memory, or Kafka's class for one of them", is_store_supplier), "Whether stores of the DSL are on disk or in memory unless they say otherwise.").importance(Low),
    Definition::new("ensure.explicit.internal.resource.naming", Boolean, Some("false"), Any, "Whether a topology with internal topics or stores without a name of their own is refused.").importance(High),
    Definition::new("errors.dead.letter.queue.topic.name", String, None, NonEmpty, "The topic that the built-in handlers send records to that they give up."),
    Definition::new("group.protocol", String, Some("classic"), OneOfAnyCase(&["classic", "streams"]), "How the group divides the tasks: classic, where the members assign among themselves, or streams, where the coordinator does and makes internal topics (KIP-1071)."),
    Definition::new("log.summary.interval.ms", Long, Some("120000"), Any, "Time between summaries of a thread's work in the log, in ms; none unless it is above 0.").importance(Low),
    Definition::new("max.task.idle.ms", Long, Some("0"), AtLeast(-1), "How long a task waits for records of all its inputs before it processes those it has, in ms; -1 for not at all."),
    Definition::new("max.warmup.replicas", Int, Some("2"), AtLeast(1), "Tasks that warm up on other instances at a time."),
    Definition::new("metrics.num.samples", Int, Some("2"), AtLeast(1), "Samples kept per metric.").importance(Low),
    Definition::new("metrics.recording.level", String, Some("INFO"), OneOfAnyCase(&["INFO", "DEBUG", "TRACE"]), "How detailed metrics are.").importance(Low),
    Definition::new("metrics.sample.window.ms", Long, Some("30000"), AtLeast(1), "Time of a metric's sample, in ms.").importance(Low),
    Definition::new("num.standby.replicas", Int, Some("0"), AtLeast(0), "Copies of each task's stores on other instances.").importance(High),
    Definition::new("num.stream.threads", Int, Some("1"), AtLeast(1), "Threads that process records."),
    Definition::new("poll.ms", Long, Some("100"), AtLeast(0), "How long a thread waits for records, in ms.").importance(Low),
    Definition::new("probing.rebalance.interval.ms", Long, Some("600000"), AtLeast(60_000), "Time between rebalances that look whether a task has warmed up, in ms.").importance(Low),
    Definition::new("processing.exception.handler", Class, Some("org.apache.kafka.streams.errors.LogAndFailProcessingExceptionHandler"), Any, "What happens to records on which application code fails: LogAndFail or LogAndContinue; others are given to the builder."),
    Definition::new("processing.exception.handler.global.enabled", Boolean, Some("false"), Any, "Whether that handler is asked by processors of global stores too.").importance(High),
    Definition::new("processing.guarantee", String, Some("at_least_once"), OneOf(&["at_least_once", "exactly_once_v2"]), "What holds for results after a failure: at_least_once, or exactly_once_v2, where outputs, state and offsets are one transaction."),
    Definition::new("processor.wrapper.class", Class, Some("org.apache.kafka.streams.processor.internals.NoOpProcessorWrapper"), Any, "Class that wraps every processor.").importance(Low).refused(CLASSES),
    Definition::new("production.exception.handler", Class, Some("org.apache.kafka.streams.errors.DefaultProductionExceptionHandler"), Any, "What happens to records that cannot be sent; others than the default one are given to the builder."),
    Definition::new("rack.aware.assignment.non_overlap_cost", Int, None, Any, "What moving a task costs.").importance(Low).warned(NO_RACKS),
    Definition::new("rack.aware.assignment.strategy", String, Some("none"), OneOf(&["none", "min_traffic", "balance_subtopology"]), "How racks count when tasks are assigned.").importance(Low).warned(NO_RACKS),
    Definition::new("rack.aware.assignment.tags", List, Some(""), Any, "Tags by which standby tasks are spread.").importance(Low).warned(NO_TAGS),
    Definition::new("rack.aware.assignment.traffic_cost", Int, None, Any, "What traffic between racks costs.").importance(Low).warned(NO_RACKS),
    Definition::new("repartition.purge.interval.ms", Long, Some("30000"), AtLeast(0), "Time between deletions of what was read of repartition topics, in ms.").importance(Low),
    Definition::new("replication.factor", Int, Some("-1"), Between(-1, 32_767), "Replicas of internal topics; -1 leaves it to the brokers."),
    Definition::new("rocksdb.config.setter", Class, None, Any, "Class that tunes RocksDB.").importance(Low).warned("stores on disk are no RocksDB"),
    Definition::new("state.cleanup.delay.ms", Long, Some("600000"), AtLeast(0), "How long the state of a task that went elsewhere is kept, in ms.").importance(Low),
    Definition::new("state.cleanup.dir.max.age.ms", Long, Some("-1"), Any, "At the start state older than this is deleted, in ms; -1 for never.").importance(Low).warned("only state.cleanup.delay.ms deletes state"),
    Definition::new("state.dir", String, None, NonEmpty, "The directory of state; kafka-streams in the system's directory for temporary files if not given.").importance(High),
    Definition::new(STATESTORE_CACHE_MAX_BYTES, Long, Some("10485760"), AtLeast(0), "Memory of the record caches of all threads, in bytes; 0 sends every update on."),
    Definition::new("statestore.uncommitted.max.bytes", Long, Some("67108864"), AtLeast(-1), "Memory of what the stores of all threads have that is not committed, in bytes: more, and a commit is made before its time (KIP-892); -1 for no limit."),
    Definition::new("task.assignor.class", String, None, Any, "Class that assigns tasks to instances.").refused(CLASSES),
    Definition::new("task.timeout.ms", Long, Some("300000"), AtLeast(0), "How long a step that fails is tried again before it ends the task, in ms."),
    Definition::new(TOPOLOGY_OPTIMIZATION, String, Some("none"), Checked("none, all, or a list of reuse.ktable.source.topics, merge.repartition.topics, single.store.self.join", is_optimization), "Which rewrites of the topology are made."),
    Definition::new("upgrade.from", String, None, Any, "The older version of which instances still run.").importance(Low).warned("there is no older version to work with"),
    Definition::new("window.size.ms", Long, None, AtLeast(0), "The size of windows for deserializers made by class.").importance(Low).warned(TYPED),
    Definition::new("windowed.inner.class.serde", String, None, Any, "The serde of a windowed key's inner part, made by class.").importance(Low).warned(TYPED),
    Definition::new("windowstore.changelog.additional.retention.ms", Long, Some("86400000"), AtLeast(0), "How much longer than its window a changelog keeps records, in ms.").importance(Low),
    Definition::new(OUTER_JOIN_EMIT_INTERVAL_MS, Long, Some("1000"), Any, "Time between looks for results of outer joins, in ms.").internal(),
    Definition::new(WINDOW_EMIT_INTERVAL_MS, Long, Some("1000"), Any, "Time between looks for windows that closed, in ms.").internal(),
];

/// The prefixes of settings for one kind of client, for internal topics, and of tags.
const PREFIXES: [&str; 8] = [
    "producer.",
    "consumer.",
    "main.consumer.",
    "restore.consumer.",
    "global.consumer.",
    "admin.",
    "topic.",
    "client.tag.",
];

/// The keys of all clients, which are passed on to them without a prefix as well.
static OF_CLIENTS: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
    let all = ProducerConfig::definitions().chain(ConsumerConfig::definitions()).chain(AdminConfig::definitions());
    all.map(|definition| definition.key).collect()
});

/// What is said about a key that is not in the table.
pub(super) fn foreign(key: &str) -> Foreign {
    if OF_CLIENTS.contains(&key) || PREFIXES.iter().any(|prefix| key.starts_with(prefix)) {
        return Foreign::Accepted;
    }
    let own = KEYS.iter().map(|definition| definition.key);
    match nearest(key, own.chain(OF_CLIENTS.iter().copied())) {
        Some(near) => Foreign::Misspelt(near),
        None => Foreign::Unknown,
    }
}
