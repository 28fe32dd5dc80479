//! Settings are described, altered, kept, and in force.

mod support;

use support::{Client, code, start};
use vltava_protocol::ErrorCode;
use vltava_protocol::messages::alter_configs_request;
use vltava_protocol::messages::describe_configs_request::DescribeConfigsResource;
use vltava_protocol::messages::describe_configs_response::DescribeConfigsResult;
use vltava_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use vltava_protocol::messages::{AlterConfigsRequest, DescribeConfigsRequest, IncrementalAlterConfigsRequest};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

fn describe(client: &mut Client, kind: i8, name: &str, keys: Option<&[&str]>) -> DescribeConfigsResult {
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
fn setting(client: &mut Client, kind: i8, name: &str, key: &str) -> (String, i8, Vec<String>) {
    let mut result = describe(client, kind, name, Some(&[key]));
    assert_eq!(result.error_code, 0, "{:?}", result.error_message);
    let config = result.configs.remove(0);
    let synonyms = config.synonyms.into_iter();
    let synonyms = synonyms.map(|s| format!("{}:{}={}", s.source, s.name, s.value.unwrap_or_default()));
    (config.value.unwrap_or_default(), config.config_source, synonyms.collect())
}

fn alter(client: &mut Client, kind: i8, name: &str, changes: &[(&str, i8, Option<&str>)]) -> (i16, Option<String>) {
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
    let request = IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };
    let result = client.call(1, &request).responses.remove(0);
    (result.error_code, result.error_message)
}

#[test]
fn a_topics_settings_come_from_the_strongest_source() {
    let broker = start();
    let mut client = Client::connect(&broker);
    client.create_topic("t", 1, &[("cleanup.policy", "compact")]);
    let default = "5:log.cleanup.policy=delete".to_owned();
    assert_eq!(
        setting(&mut client, TOPIC, "t", "cleanup.policy"),
        ("compact".to_owned(), 1, vec!["1:cleanup.policy=compact".to_owned(), default.clone()])
    );
    assert_eq!(alter(&mut client, TOPIC, "t", &[("cleanup.policy", DELETE, None)]).0, 0);
    assert_eq!(setting(&mut client, TOPIC, "t", "cleanup.policy"), ("delete".to_owned(), 5, vec![default]));

    assert_eq!(alter(&mut client, BROKER, "", &[("log.retention.ms", SET, Some("5000"))]).0, 0);
    let (value, source, _) = setting(&mut client, TOPIC, "t", "retention.ms");
    assert_eq!((value.as_str(), source), ("5000", 3));
    assert_eq!(alter(&mut client, BROKER, "1", &[("log.retention.ms", SET, Some("7000"))]).0, 0);
    let (value, source, _) = setting(&mut client, TOPIC, "t", "retention.ms");
    assert_eq!((value.as_str(), source), ("7000", 2));
    assert_eq!(setting(&mut client, BROKER, "1", "log.retention.ms").0, "7000");
    assert_eq!(describe(&mut client, TOPIC, "t", None).configs.len(), 33);
}

#[test]
fn lists_are_appended_to_and_subtracted_from() {
    let broker = start();
    let mut client = Client::connect(&broker);
    client.create_topic("t", 1, &[]);
    assert_eq!(alter(&mut client, TOPIC, "t", &[("cleanup.policy", APPEND, Some("compact"))]).0, 0);
    assert_eq!(setting(&mut client, TOPIC, "t", "cleanup.policy").0, "delete,compact");
    assert_eq!(alter(&mut client, TOPIC, "t", &[("cleanup.policy", SUBTRACT, Some("delete"))]).0, 0);
    assert_eq!(setting(&mut client, TOPIC, "t", "cleanup.policy").0, "compact");
    assert_eq!(
        alter(&mut client, TOPIC, "t", &[("retention.ms", APPEND, Some("1"))]),
        (
            code(ErrorCode::InvalidConfig),
            Some("Can't APPEND to key retention.ms because its type is not LIST.".to_owned())
        )
    );
}

#[test]
fn a_refused_change_changes_nothing() {
    let broker = start();
    let mut client = Client::connect(&broker);
    client.create_topic("t", 1, &[]);
    let cases = [
        (TOPIC, "t", "nope", "1", ErrorCode::InvalidConfig, "Unknown topic config name: nope"),
        (
            TOPIC,
            "t",
            "retention.ms",
            "-7",
            ErrorCode::InvalidConfig,
            "Invalid value -7 for configuration retention.ms: Value must be at least -1",
        ),
        (TOPIC, "gone", "retention.ms", "1", ErrorCode::UnknownTopicOrPartition, "The topic 'gone' does not exist."),
        (
            BROKER,
            "9",
            "log.retention.ms",
            "1",
            ErrorCode::InvalidRequest,
            "Unexpected broker id, expected 1, but received 9",
        ),
        (
            BROKER,
            "1",
            "num.partitions",
            "1",
            ErrorCode::InvalidRequest,
            "Cannot update these configs dynamically: [num.partitions]",
        ),
        (77, "x", "a", "1", ErrorCode::InvalidRequest, "Unknown resource type 77"),
    ];
    for (kind, name, key, value, expected, message) in cases {
        let changes = [("segment.ms", SET, Some("5")), (key, SET, Some(value))];
        let changes = if kind == TOPIC { &changes[..] } else { &changes[1..] };
        assert_eq!(alter(&mut client, kind, name, changes), (code(expected), Some(message.to_owned())));
    }
    assert_eq!(setting(&mut client, TOPIC, "t", "segment.ms").0, "604800000");
}

#[test]
fn the_older_way_replaces_all_settings() {
    let broker = start();
    let mut client = Client::connect(&broker);
    client.create_topic("t", 1, &[("retention.ms", "1000"), ("segment.ms", "2000")]);
    let config = alter_configs_request::AlterableConfig {
        name: "segment.ms".to_owned(),
        value: Some("3000".to_owned()),
        ..Default::default()
    };
    let resource = alter_configs_request::AlterConfigsResource {
        resource_type: TOPIC,
        resource_name: "t".to_owned(),
        configs: vec![config],
        ..Default::default()
    };
    let response = client.call(2, &AlterConfigsRequest { resources: vec![resource], ..Default::default() });
    assert_eq!(response.responses[0].error_code, 0);
    assert_eq!(setting(&mut client, TOPIC, "t", "segment.ms").0, "3000");
    assert_eq!(setting(&mut client, TOPIC, "t", "retention.ms").0, "604800000");
}

#[test]
fn a_changed_setting_is_in_force_at_once() {
    let broker = start();
    let mut client = Client::connect(&broker);
    client.create_topic("t", 1, &[]);
    let value = "x".repeat(500);
    assert_eq!(client.produce("t", 0, &[&value]).error_code, 0);
    assert_eq!(alter(&mut client, TOPIC, "t", &[("max.message.bytes", SET, Some("300"))]).0, 0);
    assert_eq!(client.produce("t", 0, &[&value]).error_code, code(ErrorCode::MessageTooLarge));
}

#[test]
fn secrets_are_not_told_and_resources_that_are_not_there_are_errors() {
    let broker = start();
    let mut client = Client::connect(&broker);
    let all = describe(&mut client, BROKER, "1", None);
    let secret = all.configs.iter().find(|config| config.name == "ssl.key.password").unwrap();
    assert!(secret.is_sensitive && secret.value.is_none());
    assert!(all.configs.iter().all(|config| config.name != "unstable.api.versions.enable"), "internal keys");
    assert_eq!(describe(&mut client, TOPIC, "gone", None).error_code, code(ErrorCode::UnknownTopicOrPartition));
    assert_eq!(describe(&mut client, BROKER, "2", None).error_code, code(ErrorCode::InvalidRequest));
}

#[test]
fn a_compacted_topic_keeps_the_latest_value_of_each_key() {
    use std::time::{Duration, Instant};

    use vltava_broker::embedded;
    use vltava_protocol::record::{Compression, RecordBatchBuilder};

    let config = embedded::Config::default().property("log.cleaner.backoff.ms", "100");
    let broker = embedded::Broker::start(config).unwrap();
    let mut client = Client::connect(&broker);
    let settings = [("cleanup.policy", "compact"), ("min.cleanable.dirty.ratio", "0.01"), ("segment.bytes", "1048576")];
    client.create_topic("t", 1, &settings);
    // Three segments: the active one is not compacted.
    let filler = "x".repeat(50_000);
    for n in 0..60 {
        let mut builder = RecordBatchBuilder::new(Compression::None);
        builder.append(1000 + n, Some(format!("k{}", n % 2).as_bytes()), Some(filler.as_bytes()), []).unwrap();
        assert_eq!(client.produce_batch("t", 0, builder.build().unwrap()).error_code, 0);
    }
    let deadline = Instant::now() + Duration::from_secs(30);
    while client.values("t", 0, 0).len() >= 40 {
        assert!(Instant::now() < deadline, "the topic is never compacted");
    }
    assert_eq!(client.list_offset("t", 0, -1).offset, 60, "offsets stay");
}
