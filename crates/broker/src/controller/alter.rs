//! How settings change: what is checked, what they become, and which records say so.

mod broker;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tracing::warn;
use vltava_config::{Kind, find, nearest, split_list};
use vltava_protocol::ErrorCode;
use vltava_protocol::records::metadata::{ConfigRecord, MetadataRecord};
use vltava_security::acl::AclOperation;

use super::Controller;
use super::loggers;
use crate::config::group_keys::{CLIENT_METRICS_SETTINGS, GROUP_SETTINGS, validate_client_metrics, validate_group};
use crate::config::keys::without_listener;
use crate::config::resolve::{self, Settings, Sources};
use crate::config::{ConfigChange, broker_key, broker_keys, topic_key};
use crate::metadata::image::{MetadataImage, ResourceType};
use crate::metadata::topic_name;
use crate::request::{ApiError, RequestContext};
use crate::security;
pub(crate) use broker::without_effect;

/// The resource that a request speaks of.
#[derive(Debug)]
pub(crate) struct Resource {
    pub(crate) kind: i8,
    pub(crate) name: String,
    /// Whether the request names it more than once, which is refused.
    pub(crate) repeated: bool,
}

impl Resource {
    /// Those of a request, by type and name.
    pub(crate) fn all<'a>(named: impl Iterator<Item = (i8, &'a str)> + Clone) -> Vec<Self> {
        let mut counts = BTreeMap::new();
        for resource in named.clone() {
            *counts.entry(resource).or_insert(0) += 1;
        }
        let resource = |(kind, name): (i8, &str)| {
            let repeated = counts.get(&(kind, name)) != Some(&1);
            Self { kind, name: name.to_owned(), repeated }
        };
        named.map(resource).collect()
    }
}

/// Changes single settings and leaves the others.
pub(crate) async fn change(
    controller: &Arc<Controller>,
    context: &RequestContext,
    resource: &Resource,
    changes: Vec<(String, ConfigChange)>,
    validate_only: bool,
) -> Result<(), ApiError> {
    apply(controller, context, resource, changes, validate_only, false).await
}

/// Makes the given settings the only ones.
pub(crate) async fn replace(
    controller: &Arc<Controller>,
    context: &RequestContext,
    resource: &Resource,
    changes: Vec<(String, ConfigChange)>,
    validate_only: bool,
) -> Result<(), ApiError> {
    apply(controller, context, resource, changes, validate_only, true).await
}

async fn apply(
    controller: &Arc<Controller>,
    context: &RequestContext,
    resource: &Resource,
    changes: Vec<(String, ConfigChange)>,
    validate_only: bool,
    whole: bool,
) -> Result<(), ApiError> {
    let kind = preprocess(controller.config.node_id, resource, &changes)?;
    if kind == ResourceType::BrokerLogger {
        // The older way does not know them.
        return match whole {
            true => Err(unknown_resource(resource)),
            false => {
                let may_alter = context.may(AclOperation::AlterConfigs, security::Resource::CLUSTER);
                loggers::alter(&controller.config, &resource.name, &changes, may_alter, validate_only)
            }
        };
    }
    authorize(context, kind, &resource.name)?;
    let (owner, name) = (Arc::clone(controller), resource.name.clone());
    let plan = move |image: &MetadataImage| plan(&owner, image, kind, &name, &changes, whole);
    if validate_only {
        return plan(&controller.metadata.image()).map(|_| ());
    }
    controller.update(move |image| Ok((plan(image)?, ()))).await
}

/// Refuses who may not alter the settings of a resource.
fn authorize(context: &RequestContext, kind: ResourceType, name: &str) -> Result<(), ApiError> {
    let (resource, error) = match kind {
        ResourceType::Topic => (security::Resource::topic(name), ErrorCode::TopicAuthorizationFailed),
        ResourceType::Group => (security::Resource::group(name), ErrorCode::GroupAuthorizationFailed),
        ResourceType::Broker | ResourceType::BrokerLogger | ResourceType::ClientMetrics => {
            (security::Resource::CLUSTER, ErrorCode::ClusterAuthorizationFailed)
        }
    };
    match context.may(AclOperation::AlterConfigs, resource) {
        true => Ok(()),
        false => Err(error.into()),
    }
}

/// What can be refused without a look at the present settings.
fn preprocess(ours: i32, resource: &Resource, changes: &[(String, ConfigChange)]) -> Result<ResourceType, ApiError> {
    let refuse = |text: String| Err(ApiError::new(ErrorCode::InvalidRequest, text));
    if resource.repeated {
        return refuse("Each resource must appear at most once.".to_owned());
    }
    let names: BTreeSet<&str> = changes.iter().map(|(name, _)| name.as_str()).collect();
    if names.len() != changes.len() {
        return refuse("Error due to duplicate config keys".to_owned());
    }
    let null = |change: &ConfigChange| {
        matches!(change, ConfigChange::Set(None) | ConfigChange::Append(None) | ConfigChange::Subtract(None))
    };
    let nulls: Vec<&str> = changes.iter().filter(|(_, c)| null(c)).map(|(name, _)| name.as_str()).collect();
    if !nulls.is_empty() {
        return refuse(format!("Null value not supported for : {}", nulls.join(", ")));
    }
    if let Some((_, ConfigChange::Unknown(operation))) =
        changes.iter().find(|(_, c)| matches!(c, ConfigChange::Unknown(_)))
    {
        return refuse(format!("Unknown operations type {operation}"));
    }
    match ResourceType::from_wire(resource.kind) {
        Some(ResourceType::Broker) => match resource.name.parse::<i32>() {
            _ if resource.name.is_empty() => Ok(ResourceType::Broker),
            Ok(id) if id == ours => Ok(ResourceType::Broker),
            Ok(_) => refuse(format!("Unexpected broker id, expected {ours}, but received {}", resource.name)),
            Err(_) => refuse(format!("Node id must be an integer, but it is: {}", resource.name)),
        },
        Some(ResourceType::Topic) if resource.name.is_empty() => {
            refuse("Default topic resources are not allowed.".to_owned())
        }
        Some(ResourceType::Topic) => match topic_name::invalid(&resource.name) {
            Some(reason) => Err(ApiError::new(ErrorCode::InvalidTopicException, reason)),
            None => Ok(ResourceType::Topic),
        },
        Some(ResourceType::Group) if resource.name.is_empty() => {
            refuse("Default group resources are not allowed.".to_owned())
        }
        Some(kind) => Ok(kind),
        None => Err(unknown_resource(resource)),
    }
}

fn unknown_resource(resource: &Resource) -> ApiError {
    ApiError::new(ErrorCode::InvalidRequest, format!("Unknown resource type {}", resource.kind))
}

/// In bytes.
const LONGEST_VALUE: usize = i16::MAX as usize;

fn plan(
    controller: &Controller,
    image: &MetadataImage,
    kind: ResourceType,
    name: &str,
    changes: &[(String, ConfigChange)],
    whole: bool,
) -> Result<Vec<MetadataRecord>, ApiError> {
    let current = image.config(kind, name).map(|settings| (**settings).clone()).unwrap_or_default();
    let mut next = if whole { Settings::new() } else { current.clone() };
    for (key, change) in changes {
        match changed(kind, key, change, next.get(key), &image.sources(&controller.config))? {
            Some(value) => next.insert(key.clone(), value),
            None => next.remove(key),
        };
    }
    match kind {
        ResourceType::Topic => {
            resolve::validate_topic(image.sources(&controller.config), &next)
                .map_err(|error| ApiError::new(ErrorCode::InvalidConfig, error.kafka_message()))?;
            if image.topic(name).is_none() {
                let text = format!("The topic '{name}' does not exist.");
                return Err(ApiError::new(ErrorCode::UnknownTopicOrPartition, text));
            }
        }
        ResourceType::Group => validate_group(&image.sources(&controller.config), &next)?,
        ResourceType::ClientMetrics => validate_client_metrics(name, &next)?,
        ResourceType::Broker | ResourceType::BrokerLogger => {
            broker::validate(controller, image, name, changes, &next)?;
        }
    }
    // As in Kafka: a value in the metadata log is no longer, however it came to be.
    if next.values().any(|value| value.len() > LONGEST_VALUE) {
        let text = "The configuration value cannot be added because it exceeds the maximum value size of 32767 bytes.";
        return Err(ApiError::new(ErrorCode::InvalidConfig, text));
    }
    warn_without_effect(kind, name, next.iter().filter(|(key, value)| current.get(*key) != Some(value)));
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
    change: &ConfigChange,
    current: Option<&String>,
    sources: &Sources<'_>,
) -> Result<Option<String>, ApiError> {
    let (operand, appends) = match change {
        ConfigChange::Set(value) => return Ok(value.clone()),
        ConfigChange::Delete | ConfigChange::Unknown(_) => return Ok(None),
        ConfigChange::Append(operand) => (operand, true),
        ConfigChange::Subtract(operand) => (operand, false),
    };
    let row = match kind {
        ResourceType::Topic => topic_key(key),
        ResourceType::Broker => broker_key(key),
        _ => None,
    };
    let Some(row) = row.filter(|row| row.kind == Kind::List) else {
        let text = match (kind, row, appends) {
            (ResourceType::Broker, None, _) => format!("Unknown config name: {key}"),
            (ResourceType::Broker, _, true) => format!("Config value append is not allowed for config key: {key}"),
            (ResourceType::Broker, _, false) => format!("Config value subtract is not allowed for config key: {key}"),
            (_, _, true) => format!("Can't APPEND to key {key} because its type is not LIST."),
            (_, _, false) => format!("Can't SUBTRACT to key {key} because its type is not LIST."),
        };
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

/// Settings that Kafka stores as well and that nothing here acts on are told in the log.
pub(crate) fn warn_without_effect<'a>(
    kind: ResourceType,
    name: &str,
    settings: impl IntoIterator<Item = (&'a String, &'a String)>,
) {
    for (key, value) in settings {
        let row = match kind {
            ResourceType::Topic => topic_key(key),
            ResourceType::Group => find(GROUP_SETTINGS, key),
            ResourceType::ClientMetrics => find(CLIENT_METRICS_SETTINGS, key),
            ResourceType::Broker | ResourceType::BrokerLogger => broker_key(without_listener(key).unwrap_or(key)),
        };
        match row {
            Some(row) => {
                if let Some(why) = row.without_effect(value) {
                    warn!(resource = name, "`{key}` has no effect: {why}");
                }
            }
            None => match nearest(key, broker_keys().map(|row| row.key)) {
                Some(near) => warn!("unknown dynamic setting `{key}`: did you mean `{near}`?"),
                None => warn!("unknown dynamic setting `{key}`"),
            },
        }
    }
}
