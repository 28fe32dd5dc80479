//! How settings change: what is checked, what they become, and which records say so.

use std::collections::BTreeSet;
use std::sync::Arc;

use vltava_protocol::ErrorCode;
use vltava_protocol::records::metadata::{ConfigRecord, MetadataRecord};

use crate::config::resolve::{self, Settings, Sources};
use crate::config::{BROKER_KEYS, ConfigType, TOPIC_KEYS, Update, find, split_list};
use crate::metadata::image::{MetadataImage, ResourceType};
use crate::metadata::topic_name;
use crate::node::Node;
use crate::request::ApiError;

/// The resource that a request speaks of.
#[derive(Debug)]
pub(crate) struct Resource {
    pub(crate) kind: i8,
    pub(crate) name: String,
    /// Whether the request names it more than once, which is refused.
    pub(crate) repeated: bool,
}

/// What is to happen to one setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    Set(Option<String>),
    Delete,
    Append(Option<String>),
    Subtract(Option<String>),
    Unknown(i8),
}

/// Changes single settings and leaves the others.
pub(crate) fn change(
    node: &Arc<Node>,
    resource: &Resource,
    changes: Vec<(String, Change)>,
    validate_only: bool,
) -> Result<(), ApiError> {
    apply(node, resource, &changes, validate_only, false)
}

/// Makes the given settings the only ones.
pub(crate) fn replace(
    node: &Arc<Node>,
    resource: &Resource,
    changes: Vec<(String, Change)>,
    validate_only: bool,
) -> Result<(), ApiError> {
    apply(node, resource, &changes, validate_only, true)
}

fn apply(
    node: &Arc<Node>,
    resource: &Resource,
    changes: &[(String, Change)],
    validate_only: bool,
    whole: bool,
) -> Result<(), ApiError> {
    let kind = preprocess(node, resource, changes)?;
    let plan = |image: &MetadataImage| plan(node, image, kind, &resource.name, changes, whole);
    if validate_only {
        return plan(&node.metadata.image()).map(|_| ());
    }
    node.update_metadata(|image| Ok((plan(image)?, ())))
}

/// What can be refused without a look at the present settings.
fn preprocess(node: &Node, resource: &Resource, changes: &[(String, Change)]) -> Result<ResourceType, ApiError> {
    let refuse = |text: String| Err(ApiError::new(ErrorCode::InvalidRequest, text));
    if resource.repeated {
        return refuse("Each resource must appear at most once.".to_owned());
    }
    let names: BTreeSet<&str> = changes.iter().map(|(name, _)| name.as_str()).collect();
    if names.len() != changes.len() {
        return refuse("Error due to duplicate config keys".to_owned());
    }
    let null = |change: &Change| matches!(change, Change::Set(None) | Change::Append(None) | Change::Subtract(None));
    let nulls: Vec<&str> = changes.iter().filter(|(_, c)| null(c)).map(|(name, _)| name.as_str()).collect();
    if !nulls.is_empty() {
        return refuse(format!("Null value not supported for : {}", nulls.join(", ")));
    }
    if let Some((_, Change::Unknown(operation))) = changes.iter().find(|(_, c)| matches!(c, Change::Unknown(_))) {
        return refuse(format!("Unknown operations type {operation}"));
    }
    match ResourceType::from_wire(resource.kind) {
        Some(ResourceType::Broker) => {
            let ours = node.config.node_id;
            match resource.name.parse::<i32>() {
                _ if resource.name.is_empty() => Ok(ResourceType::Broker),
                Ok(id) if id == ours => Ok(ResourceType::Broker),
                Ok(_) => refuse(format!("Unexpected broker id, expected {ours}, but received {}", resource.name)),
                Err(_) => refuse(format!("Node id must be an integer, but it is: {}", resource.name)),
            }
        }
        Some(ResourceType::Topic) if resource.name.is_empty() => {
            refuse("Default topic resources are not allowed.".to_owned())
        }
        Some(ResourceType::Topic) => match topic_name::invalid(&resource.name) {
            Some(reason) => Err(ApiError::new(ErrorCode::InvalidTopicException, reason)),
            None => Ok(ResourceType::Topic),
        },
        _ => refuse(format!("Unknown resource type {}", resource.kind)),
    }
}

fn plan(
    node: &Node,
    image: &MetadataImage,
    kind: ResourceType,
    name: &str,
    changes: &[(String, Change)],
    whole: bool,
) -> Result<Vec<MetadataRecord>, ApiError> {
    let current = image.config(kind, name).map(|settings| (**settings).clone()).unwrap_or_default();
    let mut next = if whole { Settings::new() } else { current.clone() };
    for (key, change) in changes {
        match changed(kind, key, change, next.get(key), &node.sources(image))? {
            Some(value) => next.insert(key.clone(), value),
            None => next.remove(key),
        };
    }
    match kind {
        ResourceType::Topic => {
            resolve::validate_topic(node.sources(image), &next)
                .map_err(|error| ApiError::new(ErrorCode::InvalidConfig, error.kafka_message()))?;
            if image.topic(name).is_none() {
                let text = format!("The topic '{name}' does not exist.");
                return Err(ApiError::new(ErrorCode::UnknownTopicOrPartition, text));
            }
        }
        _ => validate_broker(node, image, name, &next)?,
    }
    let keys: BTreeSet<&String> = current.keys().chain(next.keys()).collect();
    let differing = keys.into_iter().filter(|key| current.get(*key) != next.get(*key));
    Ok(differing
        .map(|key| {
            MetadataRecord::Config(ConfigRecord {
                resource_type: kind as i8,
                resource_name: name.to_owned(),
                name: key.clone(),
                value: next.get(key).cloned(),
                ..ConfigRecord::default()
            })
        })
        .collect())
}

/// The value after the change; none if the key is not set any more.
fn changed(
    kind: ResourceType,
    key: &str,
    change: &Change,
    current: Option<&String>,
    sources: &Sources<'_>,
) -> Result<Option<String>, ApiError> {
    let (operand, appends) = match change {
        Change::Set(value) => return Ok(value.clone()),
        Change::Delete | Change::Unknown(_) => return Ok(None),
        Change::Append(operand) => (operand, true),
        Change::Subtract(operand) => (operand, false),
    };
    let table = if kind == ResourceType::Topic { TOPIC_KEYS } else { BROKER_KEYS };
    let row = find(table, key);
    let Some(row) = row.filter(|row| row.kind == ConfigType::List) else {
        let operation = if appends { "APPEND" } else { "SUBTRACT" };
        let text = format!("Can't {operation} to key {key} because its type is not LIST.");
        return Err(ApiError::new(ErrorCode::InvalidConfig, text));
    };
    // A list that was never set begins with what holds without it.
    let base = match current {
        Some(value) => value.clone(),
        None if kind == ResourceType::Topic => sources.topic(row, None),
        None => sources.broker(key).unwrap_or_default().to_owned(),
    };
    let mut entries: Vec<&str> = split_list(&base);
    for entry in operand.as_deref().unwrap_or_default().split(',') {
        if !appends {
            entries.retain(|known| *known != entry);
        } else if !entries.contains(&entry) {
            entries.push(entry);
        }
    }
    Ok(Some(entries.join(",")))
}

/// What is changed of one listener only, by its prefix.
static ONLY_OF_LISTENERS: &[&str] = &[
    "ssl.key.password",
    "ssl.keystore.certificate.chain",
    "ssl.keystore.key",
    "ssl.keystore.location",
    "ssl.keystore.password",
    "ssl.keystore.type",
    "ssl.truststore.certificates",
    "ssl.truststore.location",
    "ssl.truststore.password",
    "ssl.truststore.type",
];

/// The key that a setting of one listener (`listener.name.external.ssl.keystore.location`) is of.
fn of_any_listener(key: &str) -> &str {
    let of_listener = key.strip_prefix("listener.name.").and_then(|rest| rest.split_once('.'));
    of_listener.map_or(key, |(_, key)| key)
}

/// Checks the dynamic settings of the broker, or of all brokers where `name` is empty.
fn validate_broker(node: &Node, image: &MetadataImage, name: &str, next: &Settings) -> Result<(), ApiError> {
    let refuse = |text: String| Err(ApiError::new(ErrorCode::InvalidRequest, text));
    let named = |wanted: fn(Update) -> bool| -> Vec<&str> {
        let rows = next.keys().filter_map(|key| Some((key.as_str(), find(BROKER_KEYS, of_any_listener(key))?)));
        rows.filter(|(_, row)| wanted(row.update)).map(|(key, _)| key).collect()
    };
    let fixed = named(|update| update == Update::ReadOnly);
    if !fixed.is_empty() {
        return refuse(format!("Cannot update these configs dynamically: [{}]", fixed.join(", ")));
    }
    let of_listeners: Vec<&str> =
        next.keys().map(String::as_str).filter(|key| ONLY_OF_LISTENERS.contains(key)).collect();
    if !of_listeners.is_empty() {
        return refuse(format!(
            "These security configs can be dynamically updated only per-listener using the listener prefix: [{}]",
            of_listeners.join(", ")
        ));
    }
    let has_elr = image.features().get("eligible.leader.replicas.version").is_some_and(|level| *level > 0);
    if !name.is_empty() && has_elr && next.contains_key("min.insync.replicas") {
        return refuse("Broker-level min.insync.replicas cannot be altered while ELR is enabled.".to_owned());
    }
    let own = named(|update| update == Update::PerBroker);
    if name.is_empty() && !own.is_empty() {
        return refuse(format!(
            "Cannot update these configs at default cluster level, broker id must be specified: [{}]",
            own.join(", ")
        ));
    }
    for (key, value) in next {
        if let Some(row) = find(BROKER_KEYS, key) {
            row.parse(value).map_err(|error| ApiError::new(ErrorCode::InvalidRequest, error.kafka_message()))?;
        }
    }
    let present = node.sources(image);
    let sources = match name.is_empty() {
        true => Sources { dynamic_default: Some(next), ..present },
        false => Sources { dynamic_broker: Some(next), ..present },
    };
    resolve::validate_topic(sources, &Settings::new())
        .map_err(|error| ApiError::new(ErrorCode::InvalidRequest, error.kafka_message()))
}
