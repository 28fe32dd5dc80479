//! DescribeConfigs (32), versions 1–4.
//!
//! Tells the settings of topics, of this broker, of groups, of subscriptions to clients' metrics and the levels of loggers:
//! value, where it comes from, the values it has in the other sources, and what it does. Secrets are not told.
//!
//! Versions: 1 sources and synonyms · 3 types, documentation (KIP-569) · 4 flexible.

use std::collections::BTreeSet;

use vltava_config::{Definition, Update};
use vltava_log::TOPIC_SETTINGS;
use vltava_protocol::ErrorCode;
use vltava_protocol::messages::describe_configs_request::DescribeConfigsResource;
use vltava_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use vltava_protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};
use vltava_security::acl::AclOperation;

use crate::config::BrokerConfig;
use crate::config::group_keys::{CLIENT_METRICS_SETTINGS, GROUP_SETTINGS, group_synonym};
use crate::config::keys::without_listener;
use crate::config::resolve::{ConfigSource, Settings, Sources, Synonym};
use crate::config::{broker_key, broker_keys, broker_synonyms, topic_keys};
use crate::log_levels::LOGGERS;
use crate::metadata::MetadataStore;
use crate::metadata::image::ResourceType;
use crate::metadata::topic_name;
use crate::request::{ApiError, RequestContext};
use crate::security::Resource;

pub(crate) fn handle(
    config: &BrokerConfig,
    metadata: &MetadataStore,
    context: &RequestContext,
    request: &DescribeConfigsRequest,
) -> DescribeConfigsResponse {
    let (allowed, refused): (Vec<_>, Vec<_>) = request
        .resources
        .iter()
        .map(|resource| (resource, refusal(context, resource.resource_type, &resource.resource_name)))
        .partition(|(_, refusal)| refusal.is_none());
    let refused = refused.into_iter().filter_map(|(resource, refusal)| {
        let code = refusal?;
        Some(DescribeConfigsResult {
            error_code: code.code(),
            error_message: Some(code.message().to_owned()),
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.clone(),
            ..DescribeConfigsResult::default()
        })
    });
    let results = allowed.into_iter().map(|(resource, _)| {
        let mut result = DescribeConfigsResult {
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.clone(),
            ..DescribeConfigsResult::default()
        };
        match describe(config, metadata, resource) {
            Ok(entries) => result.configs = entries,
            Err(error) => {
                result.error_code = error.code.code();
                result.error_message = Some(error.message.unwrap_or_default());
            }
        }
        for entry in &mut result.configs {
            if !request.include_synonyms {
                entry.synonyms.clear();
            }
            if !request.include_documentation {
                entry.documentation = None;
            }
        }
        result
    });
    DescribeConfigsResponse { results: results.chain(refused).collect(), ..DescribeConfigsResponse::default() }
}

/// Why the sender may not see the settings of a resource.
fn refusal(context: &RequestContext, kind: i8, name: &str) -> Option<ErrorCode> {
    let (resource, error) = match ResourceType::from_wire(kind)? {
        ResourceType::Topic => (Resource::topic(name), ErrorCode::TopicAuthorizationFailed),
        ResourceType::Group => (Resource::group(name), ErrorCode::GroupAuthorizationFailed),
        ResourceType::Broker | ResourceType::BrokerLogger | ResourceType::ClientMetrics => {
            (Resource::CLUSTER, ErrorCode::ClusterAuthorizationFailed)
        }
    };
    (!context.may(AclOperation::DescribeConfigs, resource)).then_some(error)
}

fn describe(
    config: &BrokerConfig,
    metadata: &MetadataStore,
    resource: &DescribeConfigsResource,
) -> Result<Vec<DescribeConfigsResourceResult>, ApiError> {
    let wanted = |name: &str| match &resource.configuration_keys {
        Some(keys) if !keys.is_empty() => keys.iter().any(|key| key == name),
        _ => true,
    };
    let entries = match ResourceType::from_wire(resource.resource_type) {
        Some(ResourceType::Topic) => topic(config, metadata, &resource.resource_name)?,
        Some(ResourceType::Broker) => broker(config, metadata, &resource.resource_name)?,
        Some(ResourceType::Group) => group(config, metadata, &resource.resource_name)?,
        Some(ResourceType::ClientMetrics) => client_metrics(metadata, &resource.resource_name)?,
        Some(ResourceType::BrokerLogger) => loggers_of(config, &resource.resource_name)?,
        None => return Err(ApiError::new(ErrorCode::InvalidRequest, ErrorCode::InvalidRequest.message())),
    };
    Ok(entries.into_iter().filter(|entry| wanted(&entry.name)).collect())
}

fn topic(
    config: &BrokerConfig,
    metadata: &MetadataStore,
    name: &str,
) -> Result<Vec<DescribeConfigsResourceResult>, ApiError> {
    if let Some(reason) = topic_name::invalid(name) {
        return Err(ApiError::new(ErrorCode::InvalidTopicException, reason));
    }
    let image = metadata.image();
    if image.topic(name).is_none() {
        return Err(ErrorCode::UnknownTopicOrPartition.into());
    }
    let overrides = image.config(ResourceType::Topic, name);
    let sources = image.sources(config);
    // Those that are never described are told of a topic that has them.
    let is_own = |key: &&Definition| overrides.is_some_and(|settings| settings.contains_key(key.key));
    let hidden = TOPIC_SETTINGS.iter().copied().flatten().filter(|key| key.is_internal).filter(is_own);
    Ok(topic_keys().chain(hidden).map(|key| topic_entry(&sources, key, overrides.map(AsRef::as_ref))).collect())
}

/// What is told of one setting of a topic.
pub(crate) fn topic_entry(
    sources: &Sources<'_>,
    key: &Definition,
    overrides: Option<&Settings>,
) -> DescribeConfigsResourceResult {
    let value = sources.topic(key, overrides);
    let mut synonyms = match broker_synonyms(key.key).first() {
        Some((name, _)) => sources.synonyms(name),
        None => Vec::new(),
    };
    if overrides.is_some_and(|settings| settings.contains_key(key.key)) {
        let own = Synonym { name: key.key.to_owned(), value: value.clone(), source: ConfigSource::Topic };
        synonyms.insert(0, own);
    }
    entry(key.key, Some(value), Some(key), false, synonyms)
}

/// A group's settings, whether it exists or not: its own, else those that the broker gives it.
fn group(
    config: &BrokerConfig,
    metadata: &MetadataStore,
    name: &str,
) -> Result<Vec<DescribeConfigsResourceResult>, ApiError> {
    if name.is_empty() {
        return Err(ApiError::new(ErrorCode::InvalidRequest, "Group name must not be empty"));
    }
    let image = metadata.image();
    let (own, sources) = (image.config(ResourceType::Group, name), image.sources(config));
    let describe = |key: &Definition| {
        let of_broker = group_synonym(key.key);
        let mut synonyms = match (of_broker, key.default) {
            (Some(name), _) => sources.synonyms(name),
            (None, Some(value)) => {
                vec![Synonym { name: key.key.to_owned(), value: value.to_owned(), source: ConfigSource::Default }]
            }
            (None, None) => Vec::new(),
        };
        let own = own.and_then(|settings| settings.get(key.key));
        let inherited = of_broker.and_then(|name| sources.broker(name)).or(key.default);
        let value = own.map(String::as_str).or(inherited).map(str::to_owned);
        if let Some(value) = own {
            let own = Synonym { name: key.key.to_owned(), value: value.clone(), source: ConfigSource::Group };
            synonyms.insert(0, own);
        }
        entry(key.key, value, Some(key), false, synonyms)
    };
    Ok(GROUP_SETTINGS.iter().copied().flatten().map(describe).collect())
}

/// The settings of a subscription to clients' metrics, whether it exists or not.
fn client_metrics(metadata: &MetadataStore, name: &str) -> Result<Vec<DescribeConfigsResourceResult>, ApiError> {
    if name.is_empty() {
        let text = "Client metrics subscription name must not be empty";
        return Err(ApiError::new(ErrorCode::InvalidRequest, text));
    }
    let image = metadata.image();
    let own = image.config(ResourceType::ClientMetrics, name);
    let describe = |key: &Definition| {
        let own = own.and_then(|settings| settings.get(key.key)).cloned();
        let synonym = |value: &String| Synonym {
            name: key.key.to_owned(),
            value: value.clone(),
            source: ConfigSource::ClientMetrics,
        };
        let synonyms = own.iter().map(synonym).collect();
        entry(key.key, own.or_else(|| key.default.map(str::to_owned)), Some(key), false, synonyms)
    };
    Ok(CLIENT_METRICS_SETTINGS.iter().copied().flatten().map(describe).collect())
}

/// The levels of what this broker logs.
fn loggers_of(config: &BrokerConfig, name: &str) -> Result<Vec<DescribeConfigsResourceResult>, ApiError> {
    let refuse = |text: String| Err(ApiError::new(ErrorCode::InvalidRequest, text));
    let ours = config.node_id;
    match name.parse::<i32>() {
        _ if name.is_empty() => return refuse("Broker id must not be empty".to_owned()),
        Ok(id) if id == ours => {}
        Ok(_) => return refuse(format!("Unexpected broker id, expected {ours} but received {name}")),
        Err(_) => return refuse(format!("Broker id must be an integer, but it is: {name}")),
    }
    let describe = |logger: &str| DescribeConfigsResourceResult {
        name: logger.to_owned(),
        value: Some(config.log_levels.of(logger).to_owned()),
        config_source: ConfigSource::DynamicBrokerLogger as i8,
        ..DescribeConfigsResourceResult::default()
    };
    Ok(LOGGERS.into_iter().map(describe).collect())
}

fn broker(
    config: &BrokerConfig,
    metadata: &MetadataStore,
    name: &str,
) -> Result<Vec<DescribeConfigsResourceResult>, ApiError> {
    let image = metadata.image();
    let sources = image.sources(config);
    if name.is_empty() {
        let defaults = sources.dynamic_default.cloned().unwrap_or_default();
        return Ok(defaults.keys().map(|name| broker_entry(&sources, name, true)).collect());
    }
    let ours = config.node_id;
    match name.parse::<i32>() {
        Ok(id) if id == ours => {}
        Ok(_) => {
            let text = format!("Unexpected broker id, expected {ours} or empty string, but received {name}");
            return Err(ApiError::new(ErrorCode::InvalidRequest, text));
        }
        Err(_) => {
            let text = format!("Broker id must be an integer, but it is: {name}");
            return Err(ApiError::new(ErrorCode::InvalidRequest, text));
        }
    }
    let known = broker_keys().filter(|key| !key.is_internal).map(|key| key.key);
    let given = config.settings().foreign().map(|(key, _)| key);
    let dynamic = [sources.dynamic_broker, sources.dynamic_default].into_iter().flatten().flat_map(Settings::keys);
    let unknown: BTreeSet<&str> =
        given.chain(dynamic.map(String::as_str)).filter(|name| broker_key(name).is_none()).collect();
    Ok(known.chain(unknown).map(|name| broker_entry(&sources, name, false)).collect())
}

fn broker_entry(sources: &Sources<'_>, name: &str, defaults_only: bool) -> DescribeConfigsResourceResult {
    let mut synonyms = sources.synonyms(name);
    if defaults_only {
        synonyms.retain(|synonym| synonym.source == ConfigSource::DynamicDefaultBroker);
    }
    let value = match synonyms.first() {
        Some(first) if defaults_only => Some(first.value.clone()),
        _ => sources.broker(name).map(str::to_owned),
    };
    match broker_key(name) {
        Some(key) => entry(name, value, Some(key), key.update == Update::ReadOnly, synonyms),
        // As Kafka a listener's own setting is told like that of all, and not explained. A key that is not known might be a
        // secret of a plugin: its value is not told.
        None => {
            let of_all = without_listener(name).and_then(broker_key);
            let told = of_all.is_some().then_some(value).flatten();
            DescribeConfigsResourceResult { documentation: None, ..entry(name, told, of_all, true, synonyms) }
        }
    }
}

fn entry(
    name: &str,
    value: Option<String>,
    definition: Option<&Definition>,
    read_only: bool,
    synonyms: Vec<Synonym>,
) -> DescribeConfigsResourceResult {
    let is_sensitive = definition.is_none_or(Definition::is_secret);
    let source = synonyms.first().map_or(ConfigSource::Default, |synonym| synonym.source);
    let shown = |value: String| (!is_sensitive).then_some(value);
    DescribeConfigsResourceResult {
        name: name.to_owned(),
        value: value.and_then(shown),
        read_only,
        config_source: source as i8,
        is_sensitive,
        synonyms: synonyms
            .into_iter()
            .map(|synonym| DescribeConfigsSynonym {
                name: synonym.name,
                value: shown(synonym.value),
                source: synonym.source as i8,
                ..DescribeConfigsSynonym::default()
            })
            .collect(),
        config_type: definition.map_or(0, |definition| definition.kind.wire()),
        documentation: definition.map(|definition| definition.doc.to_owned()),
        ..DescribeConfigsResourceResult::default()
    }
}
