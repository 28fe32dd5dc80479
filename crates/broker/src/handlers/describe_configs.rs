//! DescribeConfigs (32), versions 1–4.
//!
//! Tells the settings of topics and of this broker: value, where it comes from, and the values it
//! has in the other sources. Secrets are not told. Documentation is left out.
//!
//! Versions: 1 sources and synonyms · 3 types, documentation (KIP-569) · 4 flexible.

use std::collections::BTreeSet;

use vltava_protocol::ErrorCode;
use vltava_protocol::messages::describe_configs_request::DescribeConfigsResource;
use vltava_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use vltava_protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};

use crate::config::resolve::{ConfigSource, Settings, Sources, Synonym};
use crate::config::{BROKER_KEYS, ConfigKey, ConfigType, TOPIC_KEYS, Update, broker_synonyms, find, is_internal};
use crate::metadata::image::ResourceType;
use crate::metadata::topic_name;
use crate::node::Node;
use crate::request::ApiError;

pub(crate) fn handle(node: &Node, request: &DescribeConfigsRequest) -> DescribeConfigsResponse {
    let results = request.resources.iter().map(|resource| {
        let mut result = DescribeConfigsResult {
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.clone(),
            ..DescribeConfigsResult::default()
        };
        match describe(node, resource) {
            Ok(entries) => result.configs = entries,
            Err(error) => {
                result.error_code = error.code.code();
                result.error_message = Some(error.message.unwrap_or_default());
            }
        }
        if !request.include_synonyms {
            for entry in &mut result.configs {
                entry.synonyms.clear();
            }
        }
        result
    });
    DescribeConfigsResponse { results: results.collect(), ..DescribeConfigsResponse::default() }
}

fn describe(node: &Node, resource: &DescribeConfigsResource) -> Result<Vec<DescribeConfigsResourceResult>, ApiError> {
    let wanted = |name: &str| match &resource.configuration_keys {
        Some(keys) if !keys.is_empty() => keys.iter().any(|key| key == name),
        _ => true,
    };
    let entries = match ResourceType::from_wire(resource.resource_type) {
        Some(ResourceType::Topic) => topic(node, &resource.resource_name)?,
        Some(ResourceType::Broker) => broker(node, &resource.resource_name)?,
        _ => return Err(ApiError::new(ErrorCode::InvalidRequest, ErrorCode::InvalidRequest.message())),
    };
    Ok(entries.into_iter().filter(|entry| wanted(&entry.name)).collect())
}

fn topic(node: &Node, name: &str) -> Result<Vec<DescribeConfigsResourceResult>, ApiError> {
    if let Some(reason) = topic_name::invalid(name) {
        return Err(ApiError::new(ErrorCode::InvalidTopicException, reason));
    }
    let image = node.metadata.image();
    if image.topic(name).is_none() {
        return Err(ErrorCode::UnknownTopicOrPartition.into());
    }
    let overrides = image.config(ResourceType::Topic, name);
    let sources = node.sources(&image);
    Ok(TOPIC_KEYS.iter().map(|key| topic_entry(&sources, key, overrides.map(AsRef::as_ref))).collect())
}

/// What is told of one setting of a topic.
pub(crate) fn topic_entry(
    sources: &Sources<'_>,
    key: &ConfigKey,
    overrides: Option<&Settings>,
) -> DescribeConfigsResourceResult {
    let value = sources.topic(key, overrides);
    let mut synonyms = match broker_synonyms(key.name).first() {
        Some((name, _)) => sources.synonyms(name),
        None => Vec::new(),
    };
    if overrides.is_some_and(|settings| settings.contains_key(key.name)) {
        let own = Synonym { name: key.name.to_owned(), value: value.clone(), source: ConfigSource::Topic };
        synonyms.insert(0, own);
    }
    entry(key.name, Some(value), key.kind, false, synonyms)
}

fn broker(node: &Node, name: &str) -> Result<Vec<DescribeConfigsResourceResult>, ApiError> {
    let image = node.metadata.image();
    let sources = node.sources(&image);
    if name.is_empty() {
        let defaults = sources.dynamic_default.cloned().unwrap_or_default();
        return Ok(defaults.keys().map(|name| broker_entry(&sources, name, true)).collect());
    }
    let ours = node.config.node_id;
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
    let known = BROKER_KEYS.iter().map(|key| key.name).filter(|name| !is_internal(name));
    let given = node.config.given().keys();
    let dynamic = [sources.dynamic_broker, sources.dynamic_default].into_iter().flatten().flat_map(Settings::keys);
    let unknown: BTreeSet<&str> =
        given.chain(dynamic).map(String::as_str).filter(|name| find(BROKER_KEYS, name).is_none()).collect();
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
    match find(BROKER_KEYS, name) {
        Some(key) => entry(name, value, key.kind, key.update == Update::ReadOnly, synonyms),
        // A key that is not known might be a secret of a plugin: its value is not told.
        None => {
            DescribeConfigsResourceResult { config_type: 0, ..entry(name, None, ConfigType::Password, true, synonyms) }
        }
    }
}

fn entry(
    name: &str,
    value: Option<String>,
    kind: ConfigType,
    read_only: bool,
    synonyms: Vec<Synonym>,
) -> DescribeConfigsResourceResult {
    let is_sensitive = kind == ConfigType::Password;
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
        config_type: kind.wire(),
        documentation: None,
        ..DescribeConfigsResourceResult::default()
    }
}
