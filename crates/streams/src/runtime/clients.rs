//! The settings of the clients, taken from those of the application.
//!
//! A key with a prefix (`producer.`, `consumer.`, `main.consumer.`, `restore.consumer.`, `global.consumer.`, `admin.`) is for that client
//! alone; one without is for every client that knows it. Streams has defaults of its own, and some that it insists on.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::ToSocketAddrs,
};

use vltava_client::{AdminConfig, ClientError, ConsumerConfig, ProducerConfig, config::Definition};

use crate::{
    config::StreamsConfig,
    error::{Error, Result},
};

/// Without these a thread could not do its work; a value that the application gives is refused.
const CONTROLLED: &[&str] = &["enable.auto.commit", "group.id", "group.protocol", "partition.assignment.strategy"];

type Properties = BTreeMap<String, String>;

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
    let mut properties: Properties = defaults.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    for (key, value) in config.originals() {
        // These two are Streams' own settings as well and stand for something else there.
        if known.contains(key) && !matches!(key, "group.protocol" | "client.id") {
            refuse_controlled(key)?;
            properties.insert(key.to_owned(), value.to_owned());
        }
    }
    for prefix in prefixes {
        let special = config.originals().filter_map(|(key, value)| Some((key.strip_prefix(prefix)?, value)));
        for (key, value) in special {
            refuse_controlled(key)?;
            properties.insert(key.to_owned(), value.to_owned());
        }
    }
    Ok(properties)
}

fn refuse_controlled(key: &str) -> Result<()> {
    if CONTROLLED.contains(&key) {
        return Err(Box::new(Error::Config(format!("invalid `{key}`: Kafka Streams sets it by itself"))));
    }
    Ok(())
}

/// What a client could not do for a thread.
pub(super) fn client_failed(what: &str, error: &ClientError) -> Box<Error> {
    Error::client(what, error.clone())
}

fn client_error(error: ClientError) -> Box<Error> {
    Box::new(Error::Config(error.to_string()))
}

fn with(mut properties: Properties, fixed: &[(&str, &str)]) -> Properties {
    properties.extend(fixed.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
    properties
}

/// The default of a thread's `buffer.memory`. A thread that is faster than the brokers fills any buffer; this one has more
/// than five requests of `max.request.size` in it, all that can be on their way to a broker.
const BUFFER_MEMORY: &str = "8388608";

/// The producer of a thread.
pub(super) fn producer(config: &StreamsConfig, client_id: &str) -> Result<ProducerConfig> {
    let known = keys(ProducerConfig::definitions());
    let mut properties = collect(config, &known, &[("linger.ms", "100")], &["producer."])?;
    // Larger records and batches than the default ones need what Kafka's producer has for them.
    if !properties.contains_key("max.request.size") && !properties.contains_key("batch.size") {
        properties.entry("buffer.memory".to_owned()).or_insert_with(|| BUFFER_MEMORY.to_owned());
    }
    ProducerConfig::from_properties(with(properties, &[("client.id", client_id)])).map_err(client_error)
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
    Err(Box::new(Error::Config(format!("invalid `bootstrap.servers` {servers}: no name can be resolved: {why}"))))
}

/// The consumer by which a thread, counted from 0, is a member of the group. Where the instance is a static member, each
/// of its threads is one of its own, as in Kafka.
pub(super) fn main_consumer(config: &StreamsConfig, client_id: &str, thread: usize) -> Result<ConsumerConfig> {
    let known = keys(ConsumerConfig::definitions());
    let defaults = [("auto.offset.reset", "earliest"), ("max.poll.records", "1000")];
    let mut properties = collect(config, &known, &defaults, &["consumer.", "main.consumer."])?;
    if let Some(instance) = properties.get_mut("group.instance.id") {
        *instance = format!("{instance}-{}", thread + 1);
    }
    let fixed = [
        ("client.id", client_id),
        ("group.id", config.application_id()),
        ("enable.auto.commit", "false"),
        ("allow.auto.create.topics", "false"),
    ];
    ConsumerConfig::from_properties(with(properties, &fixed)).map_err(client_error)
}

/// The consumer that reads changelogs.
pub(super) fn restore_consumer(config: &StreamsConfig, client_id: &str) -> Result<ConsumerConfig> {
    let known = keys(ConsumerConfig::definitions());
    let properties = collect(config, &known, &[], &["consumer.", "restore.consumer."])?;
    // A position that is deleted while it is read shows that the store has to be restored anew.
    let fixed = [
        ("client.id", client_id),
        ("enable.auto.commit", "false"),
        ("auto.offset.reset", "none"),
        ("allow.auto.create.topics", "false"),
        ("max.poll.records", "1000"),
    ];
    let mut properties = with(properties, &fixed);
    properties.remove("group.instance.id");
    ConsumerConfig::from_properties(properties).map_err(client_error)
}

/// The consumer that reads the topics of global stores.
pub(super) fn global_consumer(config: &StreamsConfig, client_id: &str) -> Result<ConsumerConfig> {
    let known = keys(ConsumerConfig::definitions());
    let properties = collect(config, &known, &[("max.poll.records", "1000")], &["consumer.", "global.consumer."])?;
    // A position that is not there any more shows that the stores are not those of the topics.
    let fixed = [
        ("client.id", client_id),
        ("enable.auto.commit", "false"),
        ("auto.offset.reset", "none"),
        ("allow.auto.create.topics", "false"),
    ];
    let mut properties = with(properties, &fixed);
    properties.remove("group.instance.id");
    ConsumerConfig::from_properties(properties).map_err(client_error)
}

/// The admin client of the application.
pub(super) fn admin(config: &StreamsConfig, client_id: &str) -> Result<AdminConfig> {
    let known = keys(AdminConfig::definitions());
    let properties = collect(config, &known, &[], &["admin."])?;
    AdminConfig::from_properties(with(properties, &[("client.id", client_id)])).map_err(client_error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thread_of_a_static_instance_is_a_member_of_its_own() {
        let given = [("application.id", "a"), ("bootstrap.servers", "localhost:9092"), ("group.instance.id", "i")];
        let config = StreamsConfig::from_properties(given).unwrap();
        let ids = [0, 1].map(|thread| main_consumer(&config, "c", thread).unwrap());
        assert_eq!(
            ids.map(|config| config.group_instance_id().map(str::to_owned)),
            [Some("i-1".into()), Some("i-2".into())]
        );
        let restore = restore_consumer(&config, "c").unwrap();
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
        let buffer_memory = |given: &[(&str, &str)]| {
            let required = [("application.id", "a"), ("bootstrap.servers", "localhost:9092")];
            let config = StreamsConfig::from_properties(required.into_iter().chain(given.iter().copied())).unwrap();
            producer(&config, "c").unwrap().buffer_memory()
        };
        assert_eq!(buffer_memory(&[]), 8 << 20);
        assert_eq!(buffer_memory(&[("producer.max.request.size", "20000000")]), 32 << 20);
        assert_eq!(buffer_memory(&[("batch.size", "1000000")]), 32 << 20);
        assert_eq!(buffer_memory(&[("producer.buffer.memory", "1234567"), ("batch.size", "1000")]), 1_234_567);
    }
}
