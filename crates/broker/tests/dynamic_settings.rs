//! What Kafka alters while a broker runs acts here at once, or is refused. `dynamic_settings.txt` says of each key which.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failure of a helper fails its test")]

#[path = "support/configs.rs"]
mod configs;
#[path = "support/producer.rs"]
#[allow(dead_code, reason = "other tests need more of it")]
mod producer;
mod support;

use std::time::Instant;

use configs::{BROKER, DELETE, SET, TOPIC, alter, describe, setting, validate};
use producer::{Generation, Producer};
use support::{Client, PATIENCE, batch_of, code, start};
use vltava_broker::{BrokerConfig, embedded};
use vltava_config::Update;
use vltava_protocol::ErrorCode;
use vltava_protocol::messages::describe_producers_request::TopicRequest;
use vltava_protocol::messages::update_features_request::FeatureUpdateKey;
use vltava_protocol::messages::{DescribeProducersRequest, UpdateFeaturesRequest};
use vltava_protocol::record::{Compression, ProducerState, RecordBatchHeader, TimestampType};

/// A line of the table.
#[derive(Debug)]
struct Line {
    key: &'static str,
    is_per_broker: bool,
    value: &'static str,
    outcome: &'static str,
    why: &'static str,
}

fn table() -> Vec<Line> {
    let lines = include_str!("dynamic_settings.txt").lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let fields: Vec<&str> = line.split('|').map(str::trim).collect();
            let (&[key, scope, value, outcome], rest) = fields.split_first_chunk().unwrap();
            assert!(matches!(scope, "per-broker" | "cluster-wide"), "{line}");
            assert!(matches!((outcome, rest), ("acts" | "listener", []) | ("refused", [_])), "{line}");
            let why = rest.first().copied().unwrap_or_default();
            Line { key, is_per_broker: scope == "per-broker", value, outcome, why }
        })
        .collect()
}

#[test]
fn the_table_has_each_key_that_kafka_alters_at_run_time_with_its_scope() {
    let mut known: Vec<(&str, bool)> = BrokerConfig::definitions()
        .filter(|row| row.update != Update::ReadOnly)
        .map(|row| (row.key, row.update == Update::PerBroker))
        .collect();
    known.sort_unstable();
    let told: Vec<(&str, bool)> = table().iter().map(|line| (line.key, line.is_per_broker)).collect();
    assert_eq!(told, known);
    // As many as `DynamicBrokerConfig.ALL_DYNAMIC_CONFIGS` of Kafka 4.3.1 has.
    assert_eq!(told.len(), 102);
}

#[test]
fn each_key_that_kafka_alters_at_run_time_acts_or_is_refused() {
    let broker = start();
    let mut client = Client::connect(&broker);
    without_eligible_leader_replicas(&mut client);
    for line in table() {
        let Line { key, value, .. } = line;
        let set = [(key, SET, Some(value))];
        let refused = |text: String| (code(ErrorCode::InvalidRequest), Some(text));
        let node = if line.is_per_broker { "1" } else { "" };
        let before = describe(&mut client, BROKER, "1", Some(&[key])).configs;
        match line.outcome {
            "acts" => {
                for (name, source) in [("", 3), ("1", 2)] {
                    assert_eq!(validate(&mut client, BROKER, name, &set), (0, None), "{key}");
                    assert_eq!(describe(&mut client, BROKER, "1", Some(&[key])).configs, before, "only tried: {key}");
                    assert_eq!(alter(&mut client, BROKER, name, &set), (0, None), "{key}");
                    let (told, from, _) = setting(&mut client, BROKER, "1", key);
                    assert_eq!((told.as_str(), from), (value, source), "{key}");
                    assert_eq!(alter(&mut client, BROKER, name, &[(key, DELETE, None)]), (0, None), "{key}");
                }
            }
            "listener" => {
                let what =
                    "These security configs can be dynamically updated only per-listener using the listener prefix";
                assert_eq!(alter(&mut client, BROKER, node, &set), refused(format!("{what}: [{key}]")));
            }
            _ => {
                let (error, text) = alter(&mut client, BROKER, node, &set);
                let text = text.unwrap_or_default();
                assert_eq!(error, code(ErrorCode::InvalidRequest), "{key} is refused: {text}");
                let expected = format!("`{key}` cannot be altered while the broker runs: {}", line.why);
                assert!(text.starts_with(&expected), "{key}: {text}");
            }
        }
        if line.is_per_broker && line.outcome != "listener" {
            let what = "Cannot update these configs at default cluster level, broker id must be specified";
            assert_eq!(alter(&mut client, BROKER, "", &set), refused(format!("{what}: [{key}]")));
        }
        assert_eq!(describe(&mut client, BROKER, "1", Some(&[key])).configs, before, "as before: {key}");
    }
}

/// With them (KIP-966) there is one `min.insync.replicas` for all brokers, always.
fn without_eligible_leader_replicas(client: &mut Client) {
    const KEY: &str = "min.insync.replicas";
    let refused = |what: &str| (code(ErrorCode::InvalidConfig), Some(format!("{what} while ELR is enabled.")));
    let own = alter(client, BROKER, "1", &[(KEY, SET, Some("1"))]);
    assert_eq!(own, refused("Broker-level min.insync.replicas cannot be altered"));
    let none = alter(client, BROKER, "", &[(KEY, DELETE, None)]);
    assert_eq!(none, refused("Cluster-level min.insync.replicas cannot be removed"));
    let off = FeatureUpdateKey {
        feature: "eligible.leader.replicas.version".to_owned(),
        max_version_level: 0,
        upgrade_type: 2,
        ..Default::default()
    };
    let response = client.call(2, &UpdateFeaturesRequest { feature_updates: vec![off], ..Default::default() });
    assert_eq!(response.error_code, 0, "{:?}", response.error_message);
    assert_eq!(alter(client, BROKER, "", &[(KEY, DELETE, None)]), (0, None));
}

#[test]
fn a_dynamic_setting_that_cannot_act_is_refused_and_not_stored() {
    let broker = start();
    let mut client = Client::connect(&broker);
    let cases = [
        (
            "1",
            "num.io.threads",
            "9",
            "`num.io.threads` cannot be altered while the broker runs: this broker reads it once, when it starts",
        ),
        (
            "1",
            "metric.reporters",
            "com.example.R",
            "`metric.reporters` cannot be altered while the broker runs: metrics are read over HTTP, at `metrics.http.address`",
        ),
        (
            "1",
            "listener.name.plaintext.ssl.keystore.location",
            "/keys",
            "`listener.name.plaintext.ssl.keystore.location` cannot be altered: there is no listener of this name with TLS",
        ),
        (
            "1",
            "listener.name.plaintext.plain.sasl.jaas.config",
            "org.apache.kafka.common.security.plain.PlainLoginModule required user_a=\"b\";",
            "`listener.name.plaintext.plain.sasl.jaas.config` cannot be altered while the broker runs: this broker reads it \
             once, when it starts",
        ),
        (
            "",
            "super.users",
            "User:a",
            "`super.users` cannot be altered while the broker runs: this broker reads it once, when it starts",
        ),
        // These Kafka refuses as well.
        (
            "1",
            "ssl.keystore.location",
            "/keys",
            "These security configs can be dynamically updated only per-listener using the listener prefix: \
             [ssl.keystore.location]",
        ),
        (
            "",
            "listeners",
            "PLAINTEXT://:1",
            "Cannot update these configs at default cluster level, broker id must be specified: [listeners]",
        ),
        ("1", "log.cleaner.threads", "0", "Log cleaner threads should be at least 1"),
        (
            "",
            "log.cleaner.io.max.bytes.per.second",
            "0",
            "Invalid value 0 for configuration log.cleaner.io.max.bytes.per.second: nothing could be compacted",
        ),
        (
            "1",
            "num.io.threads",
            "17",
            "Dynamic thread count update validation failed for num.io.threads=17, value should not be greater than double the current value 8",
        ),
        (
            "",
            "background.threads",
            "4",
            "Dynamic thread count update validation failed for background.threads=4, value should be at least half the current value 10",
        ),
        (
            "",
            "group.streams.assignment.interval.ms",
            "15001",
            "group.streams.assignment.interval.ms must be less than or equal to group.streams.max.assignment.interval.ms",
        ),
        (
            "",
            "log.cleaner.threads",
            "3",
            "Log cleaner threads cannot be increased to more than double the current value 1",
        ),
        ("1", "log.retention.ms", "x", "Invalid value x for configuration log.retention.ms: Not a number of type LONG"),
    ];
    for (name, key, value, message) in cases {
        let got = alter(&mut client, BROKER, name, &[(key, SET, Some(value))]);
        assert_eq!(got, (code(ErrorCode::InvalidRequest), Some(message.to_owned())));
    }
    assert_eq!(setting(&mut client, BROKER, "1", "num.io.threads").1, 5, "the default, as before");
    assert_eq!(alter(&mut client, BROKER, "1", &[("num.io.threads", DELETE, None)]).0, 0);
}

#[test]
fn an_unknown_dynamic_setting_is_stored_and_shown_as_kafka_shows_it() {
    let broker = start();
    let mut client = Client::connect(&broker);
    for name in ["", "1"] {
        assert_eq!(alter(&mut client, BROKER, name, &[("my.plugins.key", SET, Some("tell-nobody"))]), (0, None));
    }
    let shown = describe(&mut client, BROKER, "", Some(&["my.plugins.key"])).configs.remove(0);
    assert_eq!((shown.value, shown.is_sensitive, shown.read_only, shown.config_source), (None, true, true, 3));
    let shown = describe(&mut client, BROKER, "1", Some(&["my.plugins.key"])).configs.remove(0);
    assert_eq!((shown.value, shown.is_sensitive, shown.read_only, shown.config_source), (None, true, true, 2));
}

/// Two segments of old records, of which the second one is the active one.
fn fill(client: &mut Client, topic: &str) {
    let value = "x".repeat(600_000);
    for _ in 0..2 {
        assert_eq!(client.produce(topic, 0, &[&value]).error_code, 0);
    }
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}: not in time");
        std::thread::yield_now();
    }
}

#[test]
fn retention_of_all_topics_changes_under_them_and_a_topics_own_holds() {
    let config = embedded::Config::default()
        .property("log.retention.check.interval.ms", "100")
        .property("log.initial.task.delay.ms", "0");
    let broker = embedded::Broker::start(config).unwrap();
    let mut client = Client::connect(&broker);
    let small = ("segment.bytes", "1048576");
    client.create_topic("all", 1, &[small]);
    client.create_topic("own", 1, &[small, ("retention.ms", "-1")]);
    for topic in ["all", "own"] {
        fill(&mut client, topic);
    }
    assert_eq!(client.list_offset("all", 0, -2).offset, 0);
    assert_eq!(alter(&mut client, BROKER, "", &[("log.retention.ms", SET, Some("1000"))]), (0, None));
    wait_until("what is too old goes", || client.list_offset("all", 0, -2).offset > 0);
    assert_eq!(client.list_offset("own", 0, -2).offset, 0);
    // The broker's own is stronger than that of all; without either the file's holds.
    assert_eq!(alter(&mut client, BROKER, "1", &[("log.retention.ms", SET, Some("2000"))]), (0, None));
    let synonyms = ["2:log.retention.ms=2000", "3:log.retention.ms=1000", "4:log.retention.ms=-1"];
    let default = "5:log.retention.hours=168";
    let of = |client: &mut Client, topic| {
        let (value, source, synonyms) = setting(client, TOPIC, topic, "retention.ms");
        (value, source, synonyms.join(" "))
    };
    let told = of(&mut client, "all");
    assert_eq!(told, ("2000".to_owned(), 2, format!("{} {default}", synonyms.join(" "))));
    let told = of(&mut client, "own");
    assert_eq!(told, ("-1".to_owned(), 1, format!("1:retention.ms=-1 {} {default}", synonyms.join(" "))));
    for (node, rest) in [("1", &synonyms[1..]), ("", &synonyms[2..])] {
        assert_eq!(alter(&mut client, BROKER, node, &[("log.retention.ms", DELETE, None)]), (0, None));
        assert_eq!(of(&mut client, "all").2, format!("{} {default}", rest.join(" ")));
    }
}

#[test]
fn the_largest_batch_changes_for_the_next_one() {
    let broker = start();
    let mut client = Client::connect(&broker);
    client.create_topic("all", 1, &[]);
    client.create_topic("own", 1, &[("max.message.bytes", "1000")]);
    let value = "x".repeat(500);
    let limit = |client: &mut Client, change| alter(client, BROKER, "", &[("message.max.bytes", change, Some("300"))]);
    assert_eq!(client.produce("all", 0, &[&value]).error_code, 0);
    assert_eq!(limit(&mut client, SET), (0, None));
    assert_eq!(client.produce("all", 0, &[&value]).error_code, code(ErrorCode::MessageTooLarge));
    assert_eq!(client.produce("own", 0, &[&value]).error_code, 0, "a topic's own holds");
    assert_eq!(limit(&mut client, DELETE), (0, None));
    assert_eq!(client.produce("all", 0, &[&value]).error_code, 0);
}

#[test]
fn how_batches_are_stored_changes_for_the_next_one() {
    let broker = start();
    let mut client = Client::connect(&broker);
    client.create_topic("t", 1, &[]);
    let changes = [("compression.type", SET, Some("gzip")), ("log.message.timestamp.type", SET, Some("LogAppendTime"))];
    assert_eq!(client.produce("t", 0, &["a"]).log_append_time_ms, -1);
    assert_eq!(alter(&mut client, BROKER, "", &changes), (0, None));
    assert!(client.produce("t", 0, &["b"]).log_append_time_ms > 0);
    let stored = client.fetch("t", 0, 1).records.unwrap();
    let header = RecordBatchHeader::parse(stored.memory().unwrap()).unwrap();
    assert_eq!((header.compression(), header.timestamp_type()), (Compression::Gzip, TimestampType::LogAppendTime));
}

#[test]
fn producers_are_forgotten_after_a_time_that_changes() {
    let config = embedded::Config::default()
        .property("producer.id.expiration.check.interval.ms", "100")
        .property("log.initial.task.delay.ms", "0");
    let broker = embedded::Broker::start(config).unwrap();
    let mut client = Client::connect(&broker);
    client.create_topic("t", 1, &[]);
    let state = ProducerState::idempotent(7, 0, 0);
    assert_eq!(client.produce_batch("t", 0, batch_of(&["a"], Some(state), Compression::None)).error_code, 0);
    let mut producers = || {
        let topic = TopicRequest { name: "t".to_owned(), partition_indexes: vec![0], ..Default::default() };
        let request = DescribeProducersRequest { topics: vec![topic], ..Default::default() };
        client.call(0, &request).topics.remove(0).partitions.remove(0).active_producers.len()
    };
    assert_eq!(producers(), 1);
    let mut other = Client::connect(&broker);
    assert_eq!(alter(&mut other, BROKER, "1", &[("producer.id.expiration.ms", SET, Some("1"))]), (0, None));
    wait_until("a producer is forgotten", || producers() == 0);
}

#[test]
fn whether_transactions_are_asked_for_changes_for_the_next_batch() {
    let broker = start();
    let mut client = Client::connect(&broker);
    client.create_topic("t", 1, &[]);
    let mut producer = Producer::start(broker.bootstrap_servers(), "tx", Generation::Old);
    let is_asked = "transaction.partition.verification.enable";
    // The partition was not added to the transaction.
    assert_ne!(producer.produce("t", 0, "a"), ErrorCode::None);
    assert_eq!(alter(&mut client, BROKER, "", &[(is_asked, SET, Some("false"))]), (0, None));
    assert_eq!(producer.produce("t", 0, "a"), ErrorCode::None);
    let mut other = Producer::start(broker.bootstrap_servers(), "other", Generation::Old);
    assert_eq!(alter(&mut client, BROKER, "", &[(is_asked, DELETE, None)]), (0, None));
    assert_ne!(other.produce("t", 0, "b"), ErrorCode::None);
}

#[test]
fn what_was_altered_holds_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let config = embedded::Config::default().dir(dir.path()).property("message.max.bytes", "900000");
    let broker = embedded::Broker::start(config.clone()).unwrap();
    let mut client = Client::connect(&broker);
    client.create_topic("t", 1, &[]);
    for (name, value) in [("", "300"), ("1", "400")] {
        assert_eq!(alter(&mut client, BROKER, name, &[("message.max.bytes", SET, Some(value))]), (0, None));
    }
    drop((client, broker));
    let broker = embedded::Broker::start(config).unwrap();
    let mut client = Client::connect(&broker);
    let synonyms = ["2:message.max.bytes=400", "3:message.max.bytes=300", "4:message.max.bytes=900000"];
    let (value, source, told) = setting(&mut client, BROKER, "1", "message.max.bytes");
    assert_eq!((value.as_str(), source, &told[..3]), ("400", 2, &synonyms.map(str::to_owned)[..]));
    assert_eq!(client.produce("t", 0, &[&"x".repeat(500)]).error_code, code(ErrorCode::MessageTooLarge));
    assert_eq!(client.produce("t", 0, &[&"x".repeat(200)]).error_code, 0);
}
