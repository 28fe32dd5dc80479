//! The options of `kafka-configs` and which of them go together.

use std::net::{IpAddr, ToSocketAddrs};

use super::entity::{Asked, Kind};
use crate::failure::Failure;
use crate::options::{OptionSpec, Options, flag, value};

pub(super) const OPTIONS: &[OptionSpec] = &[
    value("bootstrap-server", "server to connect to", "Kafka brokers to connect to, host:port,host:port."),
    value("bootstrap-controller", "controller to connect to", "Controllers to connect to.").not_yet(),
    value("command-config", "command config property file", "Settings for the admin client, a properties file."),
    flag("alter", "Alter the settings of an entity."),
    flag("describe", "List the settings of entities."),
    flag("all", "List all settings, also those that nobody set."),
    value("entity-type", "type", "The kind of entity: topics, brokers, broker-loggers, groups, client-metrics, users, clients or ips; users and clients together are a user's clients.").repeatable(),
    value("entity-name", "name", "The name of the entity: a topic's, a broker's id, a group's id, a user's, a client's id, an address.").repeatable(),
    flag("entity-default", "The default of all entities of the kind, for brokers, users, clients and ips."),
    value("add-config", "k1=v1,k2=[v1,v2]", "Settings to add; square brackets stand around values with commas."),
    value("add-config-file", "file", "Settings to add, a properties file."),
    value("delete-config", "k1,k2", "Settings to remove.").repeatable(),
    value("topic", "name", "A topic, for --entity-type topics --entity-name NAME."),
    value("broker", "id", "A broker, for --entity-type brokers --entity-name ID."),
    flag("broker-defaults", "The default of all brokers."),
    value("broker-logger", "id", "A broker whose loggers are meant."),
    value("group", "id", "A group."),
    value("client", "id", "A client's id: its quotas."),
    flag("client-defaults", "The default of all clients."),
    value("user", "name", "A user: its quotas and its credentials of SCRAM."),
    flag("user-defaults", "The default of all users."),
    value("ip", "address", "An address: its quotas."),
    flag("ip-defaults", "The default of all addresses."),
    value("client-metrics", "name", "What clients are asked to measure, by its name."),
];

/// Options that name an entity together with its kind, in Kafka's order.
const FLAGS: [(&str, Kind); 8] = [
    ("topic", Kind::Topic),
    ("client", Kind::Client),
    ("user", Kind::User),
    ("broker", Kind::Broker),
    ("broker-logger", Kind::BrokerLogger),
    ("ip", Kind::Ip),
    ("client-metrics", Kind::ClientMetrics),
    ("group", Kind::Group),
];
/// The same for defaults.
const DEFAULTS: [(&str, Kind); 4] = [
    ("client-defaults", Kind::Client),
    ("user-defaults", Kind::User),
    ("broker-defaults", Kind::Broker),
    ("ip-defaults", Kind::Ip),
];
/// All kinds that Kafka's tool knows.
const ENTITY_TYPES: [&str; 8] =
    ["topics", "clients", "users", "brokers", "ips", "client-metrics", "groups", "broker-loggers"];

/// Refuses what does not go together, in Kafka's words; what the command line speaks of.
pub(super) fn check(options: &Options) -> Result<Asked, Failure> {
    if options.has("alter") == options.has("describe") {
        return Err(Failure::Usage("Command must include exactly one action: --describe, --alter".into()));
    }
    options.exclude("describe", &["alter", "add-config", "delete-config"])?;
    if !options.has("bootstrap-server") {
        return refuse("Either --bootstrap-server or --bootstrap-controller must be specified.");
    }
    let asked = asked(options)?;
    let names = &asked.names;
    let is_one_of = |kinds: &[Kind]| asked.kinds.iter().any(|kind| kinds.contains(kind));
    let plural = asked.head().kind.plural();
    let all = asked.kinds.iter().map(|kind| kind.plural()).collect::<Vec<_>>().join(",");
    let has_name = names.iter().any(|name| !name.is_empty());
    let named = || names.iter().filter(|name| !name.is_empty());
    if is_one_of(&[Kind::Broker, Kind::BrokerLogger])
        && let Some(id) = named().find(|name| name.parse::<i32>().is_err())
    {
        return refuse(&format!("The entity name for {plural} must be a valid integer broker id, but it is: {id}"));
    }
    if is_one_of(&[Kind::Ip])
        && let Some(name) = named().find(|name| !is_address(name))
    {
        let text = format!("The entity name for {plural} must be a valid IP or resolvable host, but it is: {name}");
        return refuse(&text);
    }
    let has_default = is_one_of(&[Kind::Broker, Kind::User, Kind::Client, Kind::Ip]);
    if options.has("describe") {
        if options.has("entity-default") && !has_default {
            return refuse(&format!("--entity-default must not be specified with --describe of {all}"));
        }
        if is_one_of(&[Kind::BrokerLogger]) && !has_name {
            return refuse(&format!("An entity name must be specified with --describe of {all}"));
        }
        if names.len() > asked.kinds.len() {
            return refuse("More entity names specified than entity types");
        }
        return Ok(asked);
    }
    if has_default && names.is_empty() {
        return refuse(
            "An entity-name or default entity must be specified with --alter of users, clients, brokers or ips",
        );
    }
    if !has_default && !has_name {
        return refuse(&format!("An entity name must be specified with --alter of {all}"));
    }
    let [add, file, delete] = ["add-config", "add-config-file", "delete-config"].map(|option| options.has(option));
    if add && file {
        return refuse("Only one of --add-config or --add-config-file must be specified");
    }
    if !add && !file && !delete {
        return refuse(
            "At least one of --add-config, --add-config-file, or --delete-config must be specified with --alter",
        );
    }
    if asked.kinds.len() != names.len() {
        return refuse("An entity name must be specified for every entity type");
    }
    Ok(asked)
}

/// Whether it is an address, or the name of a host that has one.
fn is_address(name: &str) -> bool {
    let inner = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
    inner.parse::<IpAddr>().is_ok() || (name, 0).to_socket_addrs().is_ok_and(|mut found| found.next().is_some())
}

fn asked(options: &Options) -> Result<Asked, Failure> {
    let mut asked = Asked { kinds: Vec::new(), names: Vec::new() };
    for entity_type in options.values("entity-type") {
        let Some(kind) = Kind::of(entity_type) else {
            let types = ENTITY_TYPES.join(", ");
            return refuse(&format!(
                "Invalid entity type {entity_type}, the entity type must be one of {types} with a --bootstrap-server \
                 or --bootstrap-controller argument"
            ));
        };
        asked.kinds.push(kind);
    }
    asked.names.extend(options.in_turn(&["entity-name", "entity-default"]).map(str::to_owned));
    let short: Vec<(Kind, String)> = FLAGS
        .iter()
        .filter_map(|(option, kind)| Some((*kind, options.value(option)?.to_owned())))
        .chain(DEFAULTS.iter().filter(|(option, _)| options.has(option)).map(|(_, kind)| (*kind, String::new())))
        .collect();
    let by_type = ["entity-type", "entity-name", "entity-default"].iter().any(|option| options.has(option));
    let is_short = !short.is_empty();
    for (kind, name) in short {
        asked.kinds.push(kind);
        asked.names.push(name);
    }
    for (at, kind) in asked.kinds.iter().enumerate() {
        if asked.kinds.iter().take(at).any(|earlier| earlier == kind) {
            return refuse(&format!("Duplicate entity type(s) specified: {}", kind.plural()));
        }
    }
    match asked.kinds.as_slice() {
        [] => refuse("At least one entity type must be specified"),
        [_] | [Kind::User, Kind::Client] | [Kind::Client, Kind::User] if !(by_type && is_short) => Ok(asked),
        [_] | [Kind::User, Kind::Client] | [Kind::Client, Kind::User] => {
            refuse("--entity-{type,name,default} should not be used in conjunction with specific entity flags")
        }
        _ => refuse("Only 'users' and 'clients' entity types may be specified together"),
    }
}

fn refuse<T>(text: &str) -> Result<T, Failure> {
    Err(Failure::Message(text.to_owned()))
}
