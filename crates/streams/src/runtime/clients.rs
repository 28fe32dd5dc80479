//! The settings of the clients, taken from those of the application.
//!
//! A key with a prefix (`producer.`, `consumer.`, `main.consumer.`, `restore.consumer.`, `global.consumer.`, `admin.`) is for that client
//! alone; one without is for every client that knows it. Streams has defaults of its own, and some that it insists on.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::ToSocketAddrs,
};

use uuid::Uuid;
use vltava_client::{
    AdminConfig, ClientError, ConsumerConfig, ProducerConfig,
    config::{AutoOffsetReset, Definition},
};
use vltava_config::{ConfigError, ConfigWarning};

use crate::{
    config::{NO_TAGS, StreamsConfig, TRANSACTION_TIMEOUT_MS},
    error::{Error, Result},
    topology::Topology,
};

/// Without these a thread could not do its work; a value that the application gives is refused.
const CONTROLLED: &[&str] =
    &["enable.auto.commit", "group.id", "group.protocol", "partition.assignment.strategy", "transactional.id"];

/// What exactly once insists on; any other value that the application gives is refused.
const EXACTLY_ONCE: &[(&str, &str)] = &[("enable.idempotence", "true"), ("isolation.level", "read_committed")];

/// Settings of Streams' own that clients have under the same name: there they stand for something else.
const OF_STREAMS: &[&str] = &["client.id", "group.protocol"];

/// The settings of one client, and the keys that the application gave them by.
#[derive(Default)]
struct Properties {
    values: BTreeMap<String, String>,
    given_as: BTreeMap<String, String>,
}

impl Properties {
    fn insert(&mut self, key: &str, given_as: &str, value: &str) {
        self.values.insert(key.to_owned(), value.to_owned());
        self.given_as.insert(key.to_owned(), given_as.to_owned());
    }

    /// With what the application cannot choose.
    fn with(mut self, fixed: &[(&str, &str)]) -> Self {
        self.values.extend(fixed.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        self
    }

    /// What a client makes of them; its error and its warnings name keys as the application gave them.
    fn make<C>(
        self,
        make: impl FnOnce(BTreeMap<String, String>) -> Result<C, ClientError>,
        warnings_of: impl FnOnce(&C) -> &[ConfigWarning],
        warnings: &mut Vec<ConfigWarning>,
    ) -> Result<C> {
        let as_given = |key: &mut String| {
            if let Some(given) = self.given_as.get(key) {
                key.clone_from(given);
            }
        };
        let client = make(self.values).map_err(|error| match error {
            ClientError::Config(mut error) => {
                as_given(&mut error.key);
                error.into()
            }
            error => Error::client("the settings of a client", error),
        })?;
        for mut warning in warnings_of(&client).iter().cloned() {
            if let ConfigWarning::UnknownKey { key, .. } | ConfigWarning::NoEffect { key, .. } = &mut warning {
                as_given(key);
            }
            if !warnings.contains(&warning) {
                warnings.push(warning);
            }
        }
        Ok(client)
    }
}

fn keys(definitions: impl Iterator<Item = &'static Definition>) -> BTreeSet<&'static str> {
    definitions.map(|definition| definition.key).collect()
}

/// Defaults, then keys without prefix, then those of each prefix, the most special last.
fn collect(
    config: &StreamsConfig,
    known: &BTreeSet<&'static str>,
    defaults: &[(&str, &str)],
    prefixes: &[&str],
) -> Result<Properties> {
    let mut properties = Properties::default().with(defaults);
    for (key, value) in config.originals() {
        if known.contains(key) && !OF_STREAMS.contains(&key) {
            refuse_controlled(config, key, value)?;
            properties.insert(key, key, value);
        }
    }
    for prefix in prefixes {
        for (given, value) in config.originals() {
            if let Some(key) = given.strip_prefix(prefix) {
                refuse_controlled(config, key, value)?;
                properties.insert(key, given, value);
            }
        }
    }
    Ok(properties)
}

fn refuse_controlled(config: &StreamsConfig, key: &str, value: &str) -> Result<()> {
    if CONTROLLED.contains(&key) {
        return Err(ConfigError::new(key, value, "Kafka Streams sets it by itself").into());
    }
    let insisted = EXACTLY_ONCE.iter().find(|(known, _)| *known == key).map(|(_, insisted)| *insisted);
    match insisted {
        Some(insisted) if config.is_exactly_once() && !value.trim().eq_ignore_ascii_case(insisted) => {
            Err(ConfigError::new(key, value, format!("exactly_once_v2 needs {insisted}")).into())
        }
        _ => Ok(()),
    }
}

/// The prefixes by which the main consumer has its settings.
const OF_MAIN_CONSUMER: &[&str] = &["", "consumer.", "main.consumer."];

/// What the main consumer was given under a key, by its names.
fn given_main_consumer<'a>(config: &'a StreamsConfig, key: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
    let is_it = move |given: &str| OF_MAIN_CONSUMER.iter().any(|prefix| given.strip_prefix(prefix) == Some(key));
    config.originals().filter(move |(given, _)| is_it(given))
}

fn refuse_static_membership(config: &StreamsConfig) -> Result<()> {
    let mut given = given_main_consumer(config, "group.instance.id").filter(|(_, value)| !value.trim().is_empty());
    let Some((key, value)) = given.next() else { return Ok(()) };
    // In Kafka's words.
    let why = "Streams rebalance protocol does not support static membership. Please set group.protocol=classic or remove \
               group.instance.id from the configuration.";
    Err(ConfigError::new(key, value, why).into())
}

/// What has no effect where the coordinator assigns.
const OF_CLASSIC_GROUPS: &[(&str, &str)] = &[
    ("num.standby.replicas", "with group.protocol=streams it is a setting of the group, streams.num.standby.replicas"),
    ("max.warmup.replicas", "there are no warm-up replicas with group.protocol=streams"),
    ("acceptable.recovery.lag", "the coordinator assigns tasks with group.protocol=streams"),
    ("probing.rebalance.interval.ms", "the coordinator assigns tasks with group.protocol=streams"),
    ("session.timeout.ms", "with group.protocol=streams it is a setting of the group, streams.session.timeout.ms"),
    (
        "heartbeat.interval.ms",
        "with group.protocol=streams it is a setting of the group, streams.heartbeat.interval.ms",
    ),
];

/// What was given that only the other protocol of groups looks at.
fn of_the_other_protocol(config: &StreamsConfig) -> Vec<ConfigWarning> {
    let no_effect = |key: &str, why| ConfigWarning::NoEffect { key: key.to_owned(), why };
    if config.is_of_streams_group() {
        let given = |(key, why): &(&'static str, &'static str)| {
            given_main_consumer(config, key).map(|(given, _)| no_effect(given, why)).collect::<Vec<_>>()
        };
        return OF_CLASSIC_GROUPS.iter().flat_map(given).collect();
    }
    let tags = config.originals().filter(|(key, _)| key.starts_with("client.tag."));
    tags.map(|(key, _)| no_effect(key, NO_TAGS)).collect()
}

/// What a consumer reads: exactly once nothing that is not committed.
fn isolation(config: &StreamsConfig) -> &'static [(&'static str, &'static str)] {
    if config.is_exactly_once() { &[("isolation.level", "read_committed")] } else { &[] }
}

/// What a client could not do for a thread.
pub(super) fn client_failed(what: &str, error: &ClientError) -> Box<Error> {
    Error::client(what, error.clone())
}

/// The default of a thread's `buffer.memory`. A thread that is faster than the brokers fills any buffer; this one has more
/// than five requests of `max.request.size` in it, all that can be on their way to a broker.
const BUFFER_MEMORY: &str = "8388608";

/// A record fails in a transaction when that is over, and not before.
const NO_DELIVERY_TIMEOUT: &str = "2147483647";

/// The producer of a thread. Exactly once it is transactional; its id is completed for each thread.
fn producer(config: &StreamsConfig) -> Result<Properties> {
    let known = keys(ProducerConfig::definitions());
    let mut properties = if config.is_exactly_once() {
        let defaults = [
            ("linger.ms", "100"),
            ("delivery.timeout.ms", NO_DELIVERY_TIMEOUT),
            ("transaction.timeout.ms", TRANSACTION_TIMEOUT_MS),
        ];
        collect(config, &known, &defaults, &["producer."])?.with(&[("transactional.id", config.application_id())])
    } else {
        collect(config, &known, &[("linger.ms", "100")], &["producer."])?
    };
    // Larger records and batches than the default ones need what Kafka's producer has for them.
    let values = &mut properties.values;
    if !values.contains_key("max.request.size") && !values.contains_key("batch.size") {
        values.entry("buffer.memory".to_owned()).or_insert_with(|| BUFFER_MEMORY.to_owned());
    }
    Ok(properties)
}

/// Refuses `bootstrap.servers` of which not one name can be resolved, as Kafka does. Asks the resolver.
pub(super) fn refuse_unresolvable(servers: &str) -> Result<()> {
    let mut failures = Vec::new();
    for server in servers.split(',').map(str::trim).filter(|server| !server.is_empty()) {
        let address = server.split_once("://").map_or(server, |(_, address)| address);
        match address.to_socket_addrs() {
            Ok(_) => failures.clear(),
            // An address without a port is refused by the clients, in their own words.
            Err(error) if error.kind() == std::io::ErrorKind::InvalidInput => return Ok(()),
            Err(error) => failures.push(format!("{address}: {error}")),
        }
        if failures.is_empty() {
            return Ok(());
        }
    }
    let why = failures.join(", ");
    Err(ConfigError::new("bootstrap.servers", servers, format!("no name can be resolved: {why}")).into())
}

/// The consumer by which a thread is a member of the group, and the application's `auto.offset.reset`. Where sources have
/// reset policies of their own, or the application's is not earliest, the consumer has none: the thread knows them and
/// what it has read, and answers for it.
fn main_consumer(topology: &Topology, config: &StreamsConfig) -> Result<(Properties, AutoOffsetReset)> {
    let known = keys(ConsumerConfig::definitions());
    let defaults = [("auto.offset.reset", "earliest"), ("max.poll.records", "1000")];
    let properties = collect(config, &known, &defaults, &["consumer.", "main.consumer."])?;
    let fixed =
        [("group.id", config.application_id()), ("enable.auto.commit", "false"), ("allow.auto.create.topics", "false")];
    let mut properties = properties.with(&fixed).with(isolation(config));
    // One that is no policy is refused when the consumer's settings are made, by its own name.
    let reset = properties.values.get("auto.offset.reset").and_then(|policy| AutoOffsetReset::parse(policy));
    // With earliest nothing can be skipped in a rebalance.
    if reset.is_some_and(|reset| topology.has_offset_resets() || reset != AutoOffsetReset::Earliest) {
        properties.values.insert("auto.offset.reset".to_owned(), "none".to_owned());
    }
    Ok((properties, reset.unwrap_or(AutoOffsetReset::Earliest)))
}

/// Of a consumer that reads a topic for its stores.
fn reading_consumer(config: &StreamsConfig, prefix: &str) -> Result<Properties> {
    let known = keys(ConsumerConfig::definitions());
    let properties = collect(config, &known, &[("max.poll.records", "1000")], &["consumer.", prefix])?;
    // A position that is not there any more shows that the stores are not those of the topics.
    let fixed = [("enable.auto.commit", "false"), ("auto.offset.reset", "none"), ("allow.auto.create.topics", "false")];
    let mut properties = properties.with(&fixed).with(isolation(config));
    properties.values.remove("group.instance.id");
    Ok(properties)
}

/// The settings of all clients of an application, read once, before anything starts.
pub(super) struct Clients {
    admin: AdminConfig,
    producer: ProducerConfig,
    main_consumer: ConsumerConfig,
    restore_consumer: ConsumerConfig,
    global_consumer: ConsumerConfig,
    /// The application's `auto.offset.reset`.
    pub(super) reset: AutoOffsetReset,
}

impl Clients {
    /// Gives also what has no effect, each once, however many clients were given it.
    pub(super) fn read(topology: &Topology, config: &StreamsConfig) -> Result<(Self, Vec<ConfigWarning>)> {
        let warnings = &mut config.warnings().to_vec();
        let told = warnings.len();
        let consumer = |properties: Properties, warnings: &mut _| {
            properties.make(ConsumerConfig::from_properties_quietly, ConsumerConfig::warnings, warnings)
        };
        let producer =
            producer(config)?.make(ProducerConfig::from_properties_quietly, ProducerConfig::warnings, warnings)?;
        let (main_consumer, reset) = main_consumer(topology, config)?;
        let main_consumer = consumer(main_consumer, warnings)?;
        let restore = reading_consumer(config, "restore.consumer.")?.with(&[("max.poll.records", "1000")]);
        let restore_consumer = consumer(restore, warnings)?;
        let global_consumer = consumer(reading_consumer(config, "global.consumer.")?, warnings)?;
        let admin = collect(config, &keys(AdminConfig::definitions()), &[], &["admin."])?;
        let admin = admin.make(AdminConfig::from_properties_quietly, AdminConfig::warnings, warnings)?;
        if config.is_of_streams_group() {
            refuse_static_membership(config)?;
        }
        warnings.extend(of_the_other_protocol(config));
        let clients = Clients { admin, producer, main_consumer, restore_consumer, global_consumer, reset };
        Ok((clients, warnings.split_off(told)))
    }

    /// The admin client of the application.
    pub(super) fn admin(&self, client_id: String) -> AdminConfig {
        self.admin.clone().with_client_id(client_id)
    }

    /// The producer of a thread, counted from 0. Exactly once it is transactional, by Kafka's scheme of ids: the process's
    /// is kept in its state directory, so that a thread that comes again ends what was left open in its place at once, and
    /// need not wait for `transaction.timeout.ms`.
    pub(super) fn producer(&self, client_id: String, process_id: Uuid, thread: usize) -> ProducerConfig {
        let producer = self.producer.clone().with_client_id(client_id);
        match self.producer.transactional_id() {
            Some(application) => producer.with_transactional_id(&format!("{application}-{process_id}-{}", thread + 1)),
            None => producer,
        }
    }

    /// The consumer by which a thread, counted from 0, is a member of the group. Where the instance is a static member,
    /// each of its threads is one of its own, as in Kafka.
    pub(super) fn main_consumer(&self, client_id: String, thread: usize) -> ConsumerConfig {
        let consumer = self.main_consumer.clone().with_client_id(client_id);
        match self.main_consumer.group_instance_id() {
            Some(instance) => consumer.with_group_instance_id(format!("{instance}-{}", thread + 1)),
            None => consumer,
        }
    }

    /// The consumer that reads changelogs.
    pub(super) fn restore_consumer(&self, client_id: String) -> ConsumerConfig {
        self.restore_consumer.clone().with_client_id(client_id)
    }

    /// The consumer that reads the topics of global stores.
    pub(super) fn global_consumer(&self, client_id: String) -> ConsumerConfig {
        self.global_consumer.clone().with_client_id(client_id)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn config(given: &[(&str, &str)]) -> StreamsConfig {
        let required = [("application.id", "a"), ("bootstrap.servers", "localhost:9092")];
        StreamsConfig::from_properties(required.into_iter().chain(given.iter().copied())).unwrap()
    }

    fn read(config: &StreamsConfig) -> Result<Clients> {
        Clients::read(&Topology::new(), config).map(|(clients, _)| clients)
    }

    #[test]
    fn a_setting_without_effect_is_told_once_and_as_it_was_given() {
        let given = [
            ("consumer.lingr.ms", "1"),
            ("metric.reporters", "a.Class"),
            ("producer.lingr.ms", "1"),
            ("admin.metric.reporters", "b.Class"),
        ];
        let config = config(&given);
        assert_eq!(config.warnings(), []);
        let (_, warnings) = Clients::read(&Topology::new(), &config).unwrap();
        assert_eq!(
            warnings.iter().map(ToString::to_string).collect::<Vec<_>>(),
            [
                "unknown setting `producer.lingr.ms`: did you mean `linger.ms`?",
                "`metric.reporters` has no effect: reporters are classes of the JVM, read `metrics()` or serve them over HTTP",
                "unknown setting `consumer.lingr.ms`",
                "`admin.metric.reporters` has no effect: reporters are classes of the JVM, read `metrics()` or serve them over \
                 HTTP",
            ]
        );
    }

    #[test]
    fn what_only_the_other_protocol_of_groups_looks_at_is_told() {
        let warned = |given: &[(&str, &str)]| -> Vec<String> {
            let (_, warnings) = Clients::read(&Topology::new(), &config(given)).unwrap();
            warnings.iter().map(ToString::to_string).collect()
        };
        let given = [
            ("num.standby.replicas", "1"),
            ("main.consumer.session.timeout.ms", "5000"),
            ("restore.consumer.session.timeout.ms", "5000"),
            ("client.tag.zone", "a"),
        ];
        let streams: Vec<_> = given.into_iter().chain([("group.protocol", "STREAMS")]).collect();
        assert_eq!(
            warned(&streams),
            [
                "`num.standby.replicas` has no effect: with group.protocol=streams it is a setting of the group, \
                 streams.num.standby.replicas",
                "`main.consumer.session.timeout.ms` has no effect: with group.protocol=streams it is a setting of the \
                 group, streams.session.timeout.ms",
            ]
        );
        assert_eq!(
            warned(&given),
            ["`client.tag.zone` has no effect: standby tasks are placed without regard to tags"]
        );
    }

    #[test]
    fn a_streams_group_has_no_static_members() {
        for key in ["group.instance.id", "consumer.group.instance.id", "main.consumer.group.instance.id"] {
            let given = config(&[("group.protocol", "streams"), (key, "one")]);
            let error = read(&given).map(drop).unwrap_err().to_string();
            assert!(error.contains(key) && error.contains("does not support static membership"), "{error}");
            assert!(read(&config(&[(key, "one")])).is_ok());
        }
    }

    #[test]
    fn a_wrong_setting_of_a_client_is_named_as_it_was_given() {
        let cases = [
            (("main.consumer.max.poll.records", "0"), "invalid `main.consumer.max.poll.records` 0: must be >= 1"),
            (("producer.acks", "2"), "invalid `producer.acks` 2: must be one of all, -1, 0, 1"),
            (
                ("restore.consumer.fetch.max.bytes", "x"),
                "invalid `restore.consumer.fetch.max.bytes` x: must be a 32-bit integer",
            ),
            (
                ("global.consumer.check.crcs", "perhaps"),
                "invalid `global.consumer.check.crcs` perhaps: must be true or false",
            ),
            (("linger.ms", "-1"), "invalid `linger.ms` -1: must be >= 0"),
            (
                ("consumer.enable.auto.commit", "true"),
                "invalid `enable.auto.commit` true: Kafka Streams sets it by itself",
            ),
        ];
        assert!(read(&config(&[])).is_ok());
        for (setting, expected) in cases {
            let error = read(&config(&[setting])).err().unwrap().to_string();
            assert_eq!(error, format!("invalid configuration: {expected}"));
        }
    }

    #[test]
    fn exactly_once_has_defaults_of_its_own_and_insists_on_what_it_needs() {
        let exactly_once = |given: &[(&'static str, &'static str)]| {
            let guarantee = [("processing.guarantee", "exactly_once_v2")];
            config(&guarantee.into_iter().chain(given.iter().copied()).collect::<Vec<_>>())
        };
        let made = exactly_once(&[]);
        let producer = read(&made).unwrap().producer("c".to_owned(), Uuid::from_u128(7), 1);
        assert_eq!(producer.transactional_id(), Some("a-00000000-0000-0000-0000-000000000007-2"));
        assert_eq!(producer.transaction_timeout(), Duration::from_secs(10));
        let isolations = |config: &StreamsConfig| {
            let reading = |prefix| reading_consumer(config, prefix).unwrap();
            let main = main_consumer(&Topology::new(), config).unwrap().0;
            let all = [main, reading("restore.consumer."), reading("global.consumer.")];
            all.map(|properties| properties.values.get("isolation.level").cloned())
        };
        assert_eq!(isolations(&made), [(); 3].map(|()| Some("read_committed".to_owned())));
        assert_eq!(isolations(&config(&[])), [None, None, None]);

        let cases = [
            (("consumer.isolation.level", "read_uncommitted"), "exactly_once_v2 needs read_committed"),
            (("producer.enable.idempotence", "false"), "exactly_once_v2 needs true"),
            (("transactional.id", "mine"), "Kafka Streams sets it by itself"),
            (
                ("producer.max.in.flight.requests.per.connection", "6"),
                "invalid `producer.max.in.flight.requests.per.connection` 6: must be at most 5",
            ),
            (("producer.acks", "1"), "invalid `producer.acks` 1: must be all with `transactional.id`"),
            (("retries", "0"), "invalid `retries` 0: must be > 0 with `transactional.id`"),
        ];
        for (setting, expected) in cases {
            let error = read(&exactly_once(&[setting])).err().unwrap().to_string();
            assert!(error.contains(expected), "{setting:?}: {error}");
        }
        assert!(read(&exactly_once(&[("enable.idempotence", "true"), ("isolation.level", "READ_COMMITTED")])).is_ok());
        assert!(read(&config(&[("isolation.level", "read_committed")])).is_ok());
    }

    #[test]
    fn settings_of_metrics_act_in_streams_and_are_not_said_to_have_no_effect() {
        let config = config(&[("metrics.recording.level", "DEBUG"), ("metrics.num.samples", "5")]);
        assert_eq!(Clients::read(&Topology::new(), &config).unwrap().1, []);
        assert!(config.warnings().is_empty());
    }

    #[test]
    fn each_thread_of_a_static_instance_is_a_member_of_its_own() {
        let given = [("application.id", "a"), ("bootstrap.servers", "localhost:9092"), ("group.instance.id", "i")];
        let config = StreamsConfig::from_properties(given).unwrap();
        let clients = read(&config).unwrap();
        let ids = [0, 1].map(|thread| clients.main_consumer("c".to_owned(), thread));
        assert_eq!(
            ids.map(|config| config.group_instance_id().map(str::to_owned)),
            [Some("i-1".into()), Some("i-2".into())]
        );
        let restore = clients.restore_consumer("c".to_owned());
        assert_eq!(restore.group_instance_id(), None);
    }

    #[test]
    fn servers_of_which_no_name_can_be_resolved_are_refused() {
        assert!(refuse_unresolvable("localhost:9092").is_ok());
        assert!(refuse_unresolvable("no.such.host.invalid:9092, PLAINTEXT://127.0.0.1:9092").is_ok());
        let error = refuse_unresolvable("no.such.host.invalid:9092").unwrap_err().to_string();
        assert!(error.contains("`bootstrap.servers` no.such.host.invalid:9092"), "{error}");
    }

    #[test]
    fn the_producers_buffer_is_small_unless_something_large_has_to_fit() {
        let buffer_memory = |given: &[(&str, &str)]| read(&config(given)).unwrap().producer.buffer_memory();
        assert_eq!(buffer_memory(&[]), 8 << 20);
        assert_eq!(buffer_memory(&[("producer.max.request.size", "20000000")]), 32 << 20);
        assert_eq!(buffer_memory(&[("batch.size", "1000000")]), 32 << 20);
        assert_eq!(buffer_memory(&[("producer.buffer.memory", "1234567"), ("batch.size", "1000")]), 1_234_567);
    }
}
