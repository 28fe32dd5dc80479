//! Settings are described, altered, kept, and in force.

#![allow(clippy::unwrap_used, reason = "a failure of a helper fails its test")]

#[path = "support/configs.rs"]
mod configs;
mod support;

use std::time::{Duration, Instant};

use configs::{APPEND, BROKER, DELETE, SET, SUBTRACT, TOPIC, alter, describe, setting, validate};
use support::{Client, code, start};
use tracing::level_filters::LevelFilter;
use vltava_broker::{Broker, BrokerConfig, embedded};
use vltava_protocol::ErrorCode;
use vltava_protocol::messages::alter_configs_request;
use vltava_protocol::messages::describe_configs_request::DescribeConfigsResource;
use vltava_protocol::messages::{AlterConfigsRequest, DescribeConfigsRequest, ListConfigResourcesRequest};
use vltava_protocol::record::{Compression, RecordBatchBuilder};

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
    assert_eq!(setting(&mut client, TOPIC, "t", "retention.ms").0, "-1", "the embedded broker's");
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
    let config = embedded::Config::default().property("log.cleaner.backoff.ms", "100");
    let broker = embedded::Broker::start(config).unwrap();
    let mut client = Client::connect(&broker);
    fill_compacted(&mut client, "t");
    wait_until_compacted(&mut client, "t");
    assert_eq!(client.list_offset("t", 0, -1).offset, 60, "offsets stay");
}

/// Three segments with two keys in each batch: the active one is not compacted.
fn fill_compacted(client: &mut Client, topic: &str) {
    let settings = [("cleanup.policy", "compact"), ("min.cleanable.dirty.ratio", "0.01"), ("segment.bytes", "1048576")];
    client.create_topic(topic, 1, &settings);
    let filler = "x".repeat(50_000);
    for n in 0..30 {
        let mut builder = RecordBatchBuilder::new(Compression::None);
        for key in [&b"k0"[..], b"k1"] {
            builder.append(1000 + n, Some(key), Some(filler.as_bytes()), []).unwrap();
        }
        assert_eq!(client.produce_batch(topic, 0, builder.build().unwrap()).error_code, 0);
    }
}

fn wait_until_compacted(client: &mut Client, topic: &str) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while client.values(topic, 0, 0).len() >= 40 {
        assert!(Instant::now() < deadline, "the topic is never compacted");
    }
}

#[test]
fn settings_of_the_compaction_act_while_the_broker_runs() {
    // A pause that no test waits for, and memory for one key, where batches have two.
    let config = embedded::Config::default()
        .property("log.cleaner.backoff.ms", "3600000")
        .property("log.cleaner.dedupe.buffer.size", "24");
    let broker = embedded::Broker::start(config).unwrap();
    let mut client = Client::connect(&broker);
    fill_compacted(&mut client, "t");
    for (name, key, value) in [
        ("1", "log.cleaner.dedupe.buffer.size", "100000"),
        ("", "log.cleaner.io.buffer.load.factor", "0.5"),
        ("1", "log.cleaner.io.buffer.size", "100000"),
        ("1", "log.cleaner.threads", "2"),
        ("", "log.cleaner.backoff.ms", "100"),
    ] {
        assert_eq!(alter(&mut client, BROKER, name, &[(key, SET, Some(value))]), (0, None), "{key}");
    }
    wait_until_compacted(&mut client, "t");
    assert_eq!(client.list_offset("t", 0, -1).offset, 60, "offsets stay");
}

const BROKER_LOGGER: i8 = 8;
const CLIENT_METRICS: i8 = 16;
const GROUP: i8 = 32;

#[test]
fn a_group_has_settings_of_its_own() {
    let broker = start();
    let mut client = Client::connect(&broker);
    let key = "consumer.session.timeout.ms";
    let default = ("45000".to_owned(), 5, vec!["5:group.consumer.session.timeout.ms=45000".to_owned()]);
    assert_eq!(setting(&mut client, GROUP, "g", key), default);
    assert_eq!(alter(&mut client, GROUP, "g", &[(key, SET, Some("50000"))]), (0, None));
    let own = vec![format!("8:{key}=50000"), "5:group.consumer.session.timeout.ms=45000".to_owned()];
    assert_eq!(setting(&mut client, GROUP, "g", key), ("50000".to_owned(), 8, own));
    assert_eq!(listed(&mut client, GROUP), ["g"]);
    let cases = [
        (
            "g",
            key,
            "1",
            ErrorCode::InvalidConfig,
            "consumer.session.timeout.ms must be greater than or equal to group.consumer.min.session.timeout.ms",
        ),
        ("g", "nope", "1", ErrorCode::InvalidConfig, "Unknown group config name: nope"),
        ("", key, "1", ErrorCode::InvalidRequest, "Default group resources are not allowed."),
    ];
    for (name, key, value, expected, message) in cases {
        let got = alter(&mut client, GROUP, name, &[(key, SET, Some(value))]);
        assert_eq!(got, (code(expected), Some(message.to_owned())));
    }
    assert_eq!(describe(&mut client, GROUP, "", None).error_message.as_deref(), Some("Group name must not be empty"));
    assert_eq!(alter(&mut client, GROUP, "g", &[(key, DELETE, None)]), (0, None));
    assert_eq!(setting(&mut client, GROUP, "g", key), default);
    assert!(listed(&mut client, GROUP).is_empty());
}

#[test]
fn a_subscription_to_clients_metrics_is_kept_and_described() {
    let broker = start();
    let mut client = Client::connect(&broker);
    assert_eq!(setting(&mut client, CLIENT_METRICS, "s", "interval.ms"), ("300000".to_owned(), 5, Vec::new()));
    let changes = [("interval.ms", SET, Some("1000")), ("metrics", SET, Some("org.apache.kafka.consumer."))];
    assert_eq!(alter(&mut client, CLIENT_METRICS, "s", &changes), (0, None));
    let own = ("1000".to_owned(), 7, vec!["7:interval.ms=1000".to_owned()]);
    assert_eq!(setting(&mut client, CLIENT_METRICS, "s", "interval.ms"), own);
    assert_eq!(listed(&mut client, CLIENT_METRICS), ["s"]);
    let wrong = alter(&mut client, CLIENT_METRICS, "s", &[("nope", SET, Some("1"))]);
    let text = "Unknown client metrics configuration: nope".to_owned();
    assert_eq!(wrong, (code(ErrorCode::InvalidRequest), Some(text)));
}

#[test]
fn loggers_are_told_and_their_levels_are_not_altered_here() {
    let broker = start();
    let mut client = Client::connect(&broker);
    let loggers = describe(&mut client, BROKER_LOGGER, "1", None).configs;
    let root = loggers.iter().find(|logger| logger.name == "root").unwrap();
    assert_eq!((root.config_source, root.read_only), (6, false));
    let level = root.value.clone().unwrap();
    assert!(loggers.iter().any(|logger| logger.name == "kafka.authorizer.logger"), "the audit log is one of its own");
    let set = |client: &mut Client, name: &str, logger: &str, level: &str| {
        alter(client, BROKER_LOGGER, name, &[(logger, SET, Some(level))])
    };
    assert_eq!(set(&mut client, "1", "root", &level), (0, None), "what holds already");
    let other = if level == "DEBUG" { "INFO" } else { "DEBUG" };
    let (refused, text) = set(&mut client, "1", "root", other);
    assert_eq!(refused, code(ErrorCode::InvalidRequest));
    assert!(text.unwrap().contains("only who starts the broker can change it"));
    let missing = set(&mut client, "1", "kafka.server.KafkaApis", "INFO");
    let text = "Logger kafka.server.KafkaApis does not exist!".to_owned();
    assert_eq!(missing, (code(ErrorCode::InvalidConfig), Some(text)));
    let wrong = set(&mut client, "2", "root", "INFO");
    assert_eq!(wrong.1.as_deref(), Some("Unexpected node id. Expected 1, but received 2"));
}

#[test]
fn levels_of_loggers_are_altered_where_the_log_can_be_changed() {
    let dir = tempfile::tempdir().unwrap();
    let dirs = dir.path().display().to_string();
    let properties = [("listeners", "PLAINTEXT://127.0.0.1:0"), ("log.dirs", dirs.as_str())];
    let applied = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
    let told = std::sync::Arc::clone(&applied);
    let apply = move |levels: &[(&str, LevelFilter)]| *told.lock().unwrap() = format!("{levels:?}");
    let config = BrokerConfig::from_properties(properties).unwrap();
    let broker = Broker::start(config.with_log_levels(LevelFilter::WARN, Box::new(apply))).unwrap();
    let mut client = Client::connect_to(broker.bootstrap_servers());
    let level = |client: &mut Client, logger| setting(client, BROKER_LOGGER, "1", logger).0;
    let debug = [("vltava_broker", SET, Some("DEBUG"))];
    assert_eq!(validate(&mut client, BROKER_LOGGER, "1", &debug), (0, None));
    assert_eq!(
        (level(&mut client, "vltava_broker::network"), applied.lock().unwrap().as_str()),
        ("WARN".to_owned(), "")
    );
    assert_eq!(alter(&mut client, BROKER_LOGGER, "1", &debug), (0, None));
    assert_eq!(level(&mut client, "vltava_broker::network"), "DEBUG");
    assert!(applied.lock().unwrap().contains("vltava_broker"));
    let wrong = [("vltava_log", SET, Some("INFO")), ("root", DELETE, None)];
    let text = "Removing the log level of the root logger is not allowed".to_owned();
    assert_eq!(alter(&mut client, BROKER_LOGGER, "1", &wrong), (code(ErrorCode::InvalidRequest), Some(text)));
    assert_eq!(level(&mut client, "vltava_log"), "WARN", "all or none");
    assert_eq!(alter(&mut client, BROKER_LOGGER, "1", &[("vltava_broker", DELETE, None)]), (0, None));
    assert_eq!(level(&mut client, "vltava_broker::network"), "WARN");
}

#[test]
fn settings_are_told_with_type_and_documentation_where_they_are_asked_for() {
    let broker = start();
    let mut client = Client::connect(&broker);
    let mut ask = |include_documentation| {
        let resource = DescribeConfigsResource {
            resource_type: BROKER,
            resource_name: "1".to_owned(),
            configuration_keys: Some(vec!["num.io.threads".to_owned()]),
            ..Default::default()
        };
        let request = DescribeConfigsRequest { resources: vec![resource], include_documentation, ..Default::default() };
        client.call(4, &request).results.remove(0).configs.remove(0)
    };
    assert_eq!((ask(false).documentation, ask(false).config_type), (None, 3));
    assert!(ask(true).documentation.unwrap().contains("Threads for requests"));
}

/// The names of the resources of a kind that have settings.
fn listed(client: &mut Client, kind: i8) -> Vec<String> {
    let request = ListConfigResourcesRequest { resource_types: vec![kind], ..Default::default() };
    let response = client.call(1, &request);
    assert_eq!(response.error_code, 0);
    response.config_resources.into_iter().map(|resource| resource.resource_name).collect()
}
