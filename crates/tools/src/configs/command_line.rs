//! The options of `kafka-configs` and which of them go together.

use super::entity::{Entity, Kind};
use crate::failure::Failure;
use crate::options::{OptionSpec, Options, flag, value};

pub(super) const OPTIONS: &[OptionSpec] = &[
    value("bootstrap-server", "server to connect to", "Kafka brokers to connect to, host:port,host:port."),
    value("bootstrap-controller", "controller to connect to", "Controllers to connect to.").not_yet(),
    value("command-config", "command config property file", "Settings for the admin client, a properties file."),
    flag("alter", "Alter the settings of an entity."),
    flag("describe", "List the settings of entities."),
    flag("all", "List all settings, also those that nobody set."),
    value("entity-type", "type", "The kind of entity: topics, brokers, broker-loggers, groups or users."),
    value("entity-name", "name", "The name of the entity: a topic's, a broker's id, a group's id."),
    flag("entity-default", "The default of all entities of the kind, for brokers."),
    value("add-config", "k1=v1,k2=[v1,v2]", "Settings to add; square brackets stand around values with commas."),
    value("add-config-file", "file", "Settings to add, a properties file."),
    value("delete-config", "k1,k2", "Settings to remove.").repeatable(),
    value("topic", "name", "A topic, for --entity-type topics --entity-name NAME."),
    value("broker", "id", "A broker, for --entity-type brokers --entity-name ID."),
    flag("broker-defaults", "The default of all brokers."),
    value("broker-logger", "id", "A broker whose loggers are meant."),
    value("group", "id", "A group."),
    value("client", "id", "A client.").not_yet(),
    flag("client-defaults", "The default of all clients.").not_yet(),
    value("user", "name", "A user: its credentials of SCRAM."),
    flag("user-defaults", "The default of all users.").not_yet(),
    value("ip", "address", "An address.").not_yet(),
    flag("ip-defaults", "The default of all addresses.").not_yet(),
    value("client-metrics", "name", "What clients are asked to measure.").not_yet(),
];

/// Options that name an entity together with its kind.
const FLAGS: [(&str, Kind); 5] = [
    ("topic", Kind::Topic),
    ("broker", Kind::Broker),
    ("broker-logger", Kind::BrokerLogger),
    ("group", Kind::Group),
    ("user", Kind::User),
];
/// All kinds that Kafka's tool knows.
const ENTITY_TYPES: [&str; 8] =
    ["topics", "clients", "users", "brokers", "ips", "client-metrics", "groups", "broker-loggers"];

/// Refuses what does not go together, in Kafka's words; what the command line speaks of.
pub(super) fn check(options: &Options) -> Result<Entity, Failure> {
    if options.has("alter") == options.has("describe") {
        return Err(Failure::Usage("Command must include exactly one action: --describe, --alter".into()));
    }
    options.exclude("describe", &["alter", "add-config", "delete-config"])?;
    if !options.has("bootstrap-server") {
        return refuse("Either --bootstrap-server or --bootstrap-controller must be specified.");
    }
    let entity = entity(options)?;
    let name = entity.name.as_deref();
    let has_name = name.is_some_and(|name| !name.is_empty());
    let plural = entity.kind.plural();
    let is_broker = matches!(entity.kind, Kind::Broker | Kind::BrokerLogger);
    if let Some(id) = name.filter(|name| is_broker && !name.is_empty() && name.parse::<i32>().is_err()) {
        return refuse(&format!("The entity name for {plural} must be a valid integer broker id, but it is: {id}"));
    }
    if options.has("describe") {
        if options.has("entity-default") && entity.kind != Kind::Broker {
            return refuse(&format!("--entity-default must not be specified with --describe of {plural}"));
        }
        if entity.kind == Kind::BrokerLogger && !has_name {
            return refuse(&format!("An entity name must be specified with --describe of {plural}"));
        }
        return Ok(entity);
    }
    if entity.kind == Kind::User && name.is_some_and(str::is_empty) {
        return refuse(
            "The use of --entity-default or --user-defaults is not allowed with User SCRAM Credentials using \
             --bootstrap-server.",
        );
    }
    if matches!(entity.kind, Kind::Broker | Kind::User) && name.is_none() {
        return refuse(
            "An entity-name or default entity must be specified with --alter of users, clients, brokers or ips",
        );
    }
    if entity.kind != Kind::Broker && !has_name {
        return refuse(&format!("An entity name must be specified with --alter of {plural}"));
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
    Ok(entity)
}

fn entity(options: &Options) -> Result<Entity, Failure> {
    let mut found: Vec<Entity> = Vec::new();
    for (option, kind) in FLAGS {
        if let Some(name) = options.value(option) {
            found.push(Entity { kind, name: Some(name.to_owned()) });
        }
    }
    if options.has("broker-defaults") {
        found.push(Entity { kind: Kind::Broker, name: Some(String::new()) });
    }
    let by_type = ["entity-type", "entity-name", "entity-default"].iter().any(|option| options.has(option));
    if by_type && !found.is_empty() {
        let text = "--entity-{type,name,default} should not be used in conjunction with specific entity flags";
        return refuse(text);
    }
    if let Some(entity_type) = options.value("entity-type") {
        if !ENTITY_TYPES.contains(&entity_type) {
            let types = ENTITY_TYPES.join(", ");
            return refuse(&format!(
                "Invalid entity type {entity_type}, the entity type must be one of {types} with a --bootstrap-server \
                 or --bootstrap-controller argument"
            ));
        }
        let Some(kind) = Kind::of(entity_type) else {
            return refuse(&format!("--entity-type {entity_type} is not supported yet"));
        };
        let default = options.has("entity-default").then(String::new);
        found.push(Entity { kind, name: options.value("entity-name").map(str::to_owned).or(default) });
    }
    match found.len() {
        1 => Ok(found.swap_remove(0)),
        0 => refuse("At least one entity type must be specified"),
        _ => refuse("Only 'users' and 'clients' entity types may be specified together"),
    }
}

fn refuse<T>(text: &str) -> Result<T, Failure> {
    Err(Failure::Message(text.to_owned()))
}
