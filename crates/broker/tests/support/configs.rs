//! Settings over the wire: described and altered.
#![allow(dead_code, reason = "each test uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a failure here fails a test")]

use vltava_protocol::messages::describe_configs_request::DescribeConfigsResource;
use vltava_protocol::messages::describe_configs_response::DescribeConfigsResult;
use vltava_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use vltava_protocol::messages::{DescribeConfigsRequest, IncrementalAlterConfigsRequest};

use crate::support::Client;

pub(crate) const TOPIC: i8 = 2;
pub(crate) const BROKER: i8 = 4;

pub(crate) const SET: i8 = 0;
pub(crate) const DELETE: i8 = 1;
pub(crate) const APPEND: i8 = 2;
pub(crate) const SUBTRACT: i8 = 3;

/// What is told of a resource; of these keys, or of all.
pub(crate) fn describe(client: &mut Client, kind: i8, name: &str, keys: Option<&[&str]>) -> DescribeConfigsResult {
    let resource = DescribeConfigsResource {
        resource_type: kind,
        resource_name: name.to_owned(),
        configuration_keys: keys.map(|keys| keys.iter().map(|key| (*key).to_owned()).collect()),
        ..Default::default()
    };
    let request = DescribeConfigsRequest { resources: vec![resource], include_synonyms: true, ..Default::default() };
    client.call(4, &request).results.remove(0)
}

/// Value and source of one setting, and its synonyms as `source:name=value`.
pub(crate) fn setting(client: &mut Client, kind: i8, name: &str, key: &str) -> (String, i8, Vec<String>) {
    let mut result = describe(client, kind, name, Some(&[key]));
    assert_eq!(result.error_code, 0, "{:?}", result.error_message);
    let config = result.configs.remove(0);
    let synonyms = config.synonyms.into_iter();
    let synonyms = synonyms.map(|s| format!("{}:{}={}", s.source, s.name, s.value.unwrap_or_default()));
    (config.value.unwrap_or_default(), config.config_source, synonyms.collect())
}

/// Error and text of changes to a resource.
pub(crate) fn alter(
    client: &mut Client,
    kind: i8,
    name: &str,
    changes: &[(&str, i8, Option<&str>)],
) -> (i16, Option<String>) {
    change(client, kind, name, changes, false)
}

/// The same, of changes that are only tried.
pub(crate) fn validate(
    client: &mut Client,
    kind: i8,
    name: &str,
    changes: &[(&str, i8, Option<&str>)],
) -> (i16, Option<String>) {
    change(client, kind, name, changes, true)
}

fn change(
    client: &mut Client,
    kind: i8,
    name: &str,
    changes: &[(&str, i8, Option<&str>)],
    validate_only: bool,
) -> (i16, Option<String>) {
    let configs = changes.iter().map(|(key, operation, value)| AlterableConfig {
        name: (*key).to_owned(),
        config_operation: *operation,
        value: value.map(str::to_owned),
        ..Default::default()
    });
    let resource = AlterConfigsResource {
        resource_type: kind,
        resource_name: name.to_owned(),
        configs: configs.collect(),
        ..Default::default()
    };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource], validate_only, ..Default::default() };
    let result = client.call(1, &request).responses.remove(0);
    (result.error_code, result.error_message)
}
