//! Every key of a Kafka 4.3 `server.properties`, and what this broker does with each.
//!
//! Three keys that Kafka wants to be given have a default here, so that a broker starts without a file: `node.id`,
//! `process.roles` and `controller.listener.names`.

mod cluster;
mod coordinators;
mod groups;
mod logs;
mod security;
mod server;

use std::collections::HashMap;
use std::sync::LazyLock;

use vltava_config::{ConfigError, Definition, Foreign, Settings, Tables, find};

use super::authorizer::is_authorizer_key;
use super::sasl;

/// The keys of the broker.
pub(crate) static BROKER: Tables = &[
    server::SERVER,
    logs::LOGS,
    groups::GROUPS,
    coordinators::COORDINATORS,
    cluster::CLUSTER,
    security::SECURITY,
    vltava_security::ssl::BROKER,
];

const AUTHORIZER: &str = "`authorizer.class.name` names no authorizer, everybody may do everything";
pub(super) const CLASSES: &str = "classes of the JVM cannot be loaded";
const INTERNAL: &str = "it is internal to Apache Kafka's own broker";
pub(super) const NO_METRICS_PUSH: &str = "clients cannot push metrics to this broker yet";
const REPORTERS: &str = "metrics are read over HTTP, at `metrics.http.address`";
const ONE_BROKER: &str = "this broker is the only one of its cluster";
const ONE_CONTROLLER: &str = "this node is the only controller of its cluster, in the broker's own process";
const POOL: &str = "one pool of threads does all work, num.network.threads and num.io.threads give its size";
const KERBEROS: &str = "Kerberos is not supported";
const NO_LOGIN: &str = "this broker is the only one of its cluster, and logs in nowhere";
const OF_LISTENERS: &str = "users and logins stand under `listener.name.NAME.MECHANISM.sasl.jaas.config`";
pub(super) const SHARE: &str = "share groups are not supported yet";
const STAYS: &str = "replicas do not move between log directories yet";
const TIERED: &str = "tiered storage is not supported";
const TOKENS: &str = "delegation tokens are not supported yet";
const WAITING: &str = "what does not wait any more is cleaned up at once";

/// The keys by name: the settings of every topic are put together from many of them.
static BY_NAME: LazyLock<HashMap<&'static str, &'static Definition>> =
    LazyLock::new(|| broker_keys().map(|definition| (definition.key, definition)).collect());

/// The definition of a key of the broker.
pub(crate) fn broker_key(name: &str) -> Option<&'static Definition> {
    BY_NAME.get(name).copied()
}

/// The keys of the broker.
pub(crate) fn broker_keys() -> impl Iterator<Item = &'static Definition> {
    BROKER.iter().copied().flatten()
}

/// The key behind `listener.name.NAME.` or `listener.name.NAME.MECHANISM.`.
pub(crate) fn without_listener(name: &str) -> Option<&str> {
    let (_, key) = name.strip_prefix("listener.name.")?.split_once('.')?;
    let behind_mechanism = key.split_once('.').map(|(_, rest)| rest).filter(|rest| broker_key(rest).is_some());
    Some(if broker_key(key).is_some() { key } else { behind_mechanism.unwrap_or(key) })
}

/// The settings that are looked at whenever they matter, beside those that give topics their defaults: they may change
/// while the broker runs.
pub(crate) const AT_RUN_TIME: [&str; 15] = [
    "group.consumer.assignment.interval.ms",
    "group.streams.assignment.interval.ms",
    "log.cleaner.backoff.ms",
    "log.cleaner.dedupe.buffer.size",
    "log.cleaner.io.buffer.load.factor",
    "log.cleaner.io.buffer.size",
    "log.cleaner.io.max.bytes.per.second",
    "log.cleaner.threads",
    "max.connection.creation.rate",
    "max.connections",
    "max.connections.per.ip",
    "max.connections.per.ip.overrides",
    "num.recovery.threads.per.data.dir",
    "producer.id.expiration.ms",
    "transaction.partition.verification.enable",
];

/// The keys that hold for one listener, too.
const OF_LISTENER: [&str; 2] = ["max.connection.creation.rate", "max.connections"];

/// Checks what was given for single listeners.
pub(super) fn check_listener_keys(settings: &Settings) -> Result<(), ConfigError> {
    for (name, value) in settings.foreign() {
        let is_of_listener = |key: &&str| OF_LISTENER.contains(key) || key.starts_with("ssl.");
        let key = without_listener(name).filter(is_of_listener);
        if let Some(definition) = key.and_then(broker_key) {
            definition.parse(value).map_err(|error| ConfigError::new(name, error.value, error.reason))?;
        }
    }
    Ok(())
}

/// What is said about a key that is not in the tables: those that Kafka makes of a prefix and a name of somebody's own.
/// `is_authorized` is whether there is an authorizer.
pub(crate) fn foreign(name: &str, is_authorized: bool) -> Foreign {
    const PLUGINS: [(&str, &str); 4] = [
        ("config.providers.", CLASSES),
        ("rsm.config.", TIERED),
        ("rlmm.config.", TIERED),
        ("metrics.context.", REPORTERS),
    ];
    if let Some(key) = without_listener(name) {
        if OF_LISTENER.contains(&key) || sasl::is_own_key(name) {
            return Foreign::Accepted;
        }
        let row = broker_key(key);
        let secures = key.split('.').any(|part| matches!(part, "ssl" | "sasl" | "principal"));
        return match find(&[vltava_security::ssl::BROKER], key) {
            // Looked at where the listener is.
            Some(row) if row.support.acts() && cfg!(feature = "tls") => Foreign::Accepted,
            Some(row) => Foreign::Refused(row.support.why().unwrap_or(vltava_security::ssl::NO_TLS)),
            None => match row.and_then(|row| row.support.why()) {
                Some(why) if secures => Foreign::Refused(why),
                None if secures => Foreign::Refused("a listener has no such setting of its own"),
                _ => Foreign::Warned(
                    "a listener has limits of connections, SASL and TLS of its own, and no other settings",
                ),
            },
        };
    }
    // The settings of Kafka's own authorizer, which do nothing without it there either.
    if is_authorizer_key(name) {
        return if is_authorized { Foreign::Accepted } else { Foreign::Warned(AUTHORIZER) };
    }
    match PLUGINS.into_iter().find(|(prefix, _)| name.starts_with(prefix)) {
        Some((_, why)) => Foreign::Warned(why),
        None => Foreign::Unknown,
    }
}
