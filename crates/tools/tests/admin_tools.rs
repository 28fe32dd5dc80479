//! The smaller tools as processes, against a broker in this one.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::process::Command;

use vltava_broker::embedded;
use vltava_client::admin::NewTopic;
use vltava_client::producer::{Producer, ProducerRecord};
use vltava_client::{Admin, AdminConfig, OffsetAndMetadata, ProducerConfig, TopicPartition};

/// A broker with the topic `t` of two partitions that hold five and three records.
async fn world() -> (embedded::Broker, Admin) {
    let broker = embedded::Broker::start(embedded::Config::default()).unwrap();
    let bootstrap = broker.bootstrap_servers().to_owned();
    let admin = Admin::new(AdminConfig::builder().bootstrap_servers(&bootstrap).build().unwrap()).unwrap();
    for (_, created) in admin.create_topics([NewTopic::new("t").partitions(2)]).await {
        created.unwrap();
    }
    let producer = Producer::new(ProducerConfig::builder().bootstrap_servers(&bootstrap).build().unwrap()).unwrap();
    for (partition, count) in [(0, 5), (1, 3)] {
        for _ in 0..count {
            drop(producer.send(ProducerRecord::new("t").partition(partition).value("v")).await.unwrap());
        }
    }
    producer.flush().await.unwrap();
    (broker, admin)
}

/// What a tool prints and its exit status; `B` in the line stands for the broker's address.
async fn tool(broker: &embedded::Broker, line: &str) -> (String, i32) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vltava"));
    let words = line.split_whitespace().map(|word| if word == "B" { broker.bootstrap_servers() } else { word });
    command.args(words);
    let out = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    (String::from_utf8(out.stdout).unwrap(), out.status.code().unwrap())
}

async fn printed(broker: &embedded::Broker, line: &str) -> String {
    let (out, status) = tool(broker, line).await;
    assert_eq!(status, 0, "{line}: {out}");
    out
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offsets_are_told_and_records_deleted() {
    let (broker, _) = world().await;
    assert_eq!(printed(&broker, "kafka-get-offsets --bootstrap-server B").await, "t:0:5\nt:1:3\n");
    assert_eq!(printed(&broker, "kafka-get-offsets --bootstrap-server B --topic-partitions t:1-").await, "t:1:3\n");
    let none = tool(&broker, "kafka-get-offsets --bootstrap-server B --topic nosuch").await;
    assert_eq!(none, (String::new(), 1));

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("before.json");
    let json = r#"{"partitions": [{"topic": "t", "partition": 0, "offset": 2}, {"topic": "t", "partition": 1,
        "offset": 9}]}"#;
    std::fs::write(&file, json).unwrap();
    let path = file.to_str().unwrap();
    let out = printed(&broker, &format!("kafka-delete-records --bootstrap-server B --offset-json-file {path}")).await;
    let mut lines: Vec<&str> = out.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines[..2], ["Executing records delete operation", "Records delete operation completed:"]);
    assert_eq!(lines[2], "partition: t-0\tlow_watermark: 2");
    assert!(lines[3].starts_with("partition: t-1\terror: org.apache.kafka.common.errors.OffsetOutOfRange"), "{out}");
    let earliest = printed(&broker, "kafka-get-offsets --bootstrap-server B --topic t --time -2").await;
    assert_eq!(earliest, "t:0:2\nt:1:0\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_are_altered_and_described() {
    let (broker, _) = world().await;
    let tool = async |line: &str| printed(&broker, &format!("kafka-configs --bootstrap-server B {line}")).await;
    assert_eq!(tool("--describe --topic t").await, "Dynamic configs for topic t are:\n");
    let altered = tool("--alter --topic t --add-config retention.ms=1000,cleanup.policy=[compact,delete]").await;
    assert_eq!(altered, "Completed updating config for topic t.\n");
    let default = "DEFAULT_CONFIG:log.cleanup.policy=delete";
    assert_eq!(
        tool("--describe --entity-type topics --entity-name t").await,
        format!(
            "Dynamic configs for topic t are:\n  cleanup.policy=compact,delete sensitive=false \
             synonyms={{DYNAMIC_TOPIC_CONFIG:cleanup.policy=compact,delete, {default}}}\n  \
             retention.ms=1000 sensitive=false synonyms={{DYNAMIC_TOPIC_CONFIG:retention.ms=1000, \
             STATIC_BROKER_CONFIG:log.retention.ms=-1, DEFAULT_CONFIG:log.retention.hours=168}}\n"
        )
    );
    tool("--alter --topic t --delete-config cleanup.policy,retention.ms").await;
    assert_eq!(tool("--describe --topic t").await, "Dynamic configs for topic t are:\n");
    assert!(tool("--describe --topic t --all").await.lines().count() > 30);
    let text = "The topic 'nosuch' doesn't exist and doesn't have dynamic config.\n";
    assert_eq!(tool("--describe --topic nosuch").await, text);
    let altered = tool("--alter --broker-defaults --add-config log.retention.ms=7").await;
    assert_eq!(altered, "Completed updating default config for brokers in the cluster.\n");
    let described = tool("--describe --entity-type brokers --entity-default").await;
    assert!(
        described.starts_with("Default configs for brokers in the cluster are:\n  log.retention.ms=7 "),
        "{described}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cluster_is_described() {
    let (broker, admin) = world().await;
    let offset = (TopicPartition::new("t", 0), OffsetAndMetadata::new(1));
    assert!(admin.alter_consumer_group_offsets("g", [offset]).await.into_values().all(|result| result.is_ok()));

    let id = admin.describe_cluster().await.unwrap().cluster_id;
    assert_eq!(printed(&broker, "kafka-cluster cluster-id --bootstrap-server B").await, format!("Cluster ID: {id}\n"));
    let endpoints = printed(&broker, "kafka-cluster list-endpoints --bootstrap-server B").await;
    let (host, port) = broker.bootstrap_servers().split_once(':').unwrap();
    let words: Vec<&str> = endpoints.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(words, ["1", host, port, "null", "unfenced", "broker"]);
    assert_eq!(tool(&broker, "kafka-cluster --bootstrap-server B").await.1, 1);

    let groups = printed(&broker, "kafka-groups --bootstrap-server B --list --consumer").await;
    let padded = |text: &str| format!("{text:<20} ");
    let row = ["g", "Classic", ""].map(padded).concat();
    assert_eq!(groups, format!("{:<20} {:<20} {:<20}\n{row}\n", "GROUP", "TYPE", "PROTOCOL"));

    let versions = printed(&broker, "kafka-broker-api-versions --bootstrap-server B").await;
    let first = format!("{host}:{port} (id: 1 rack: null isFenced: false) -> (\n\tProduce(0): 0 to 13 [usable: 13],\n");
    assert!(versions.starts_with(&first), "{versions}");
    assert!(versions.ends_with("\n)\n"), "{versions}");

    let dirs = printed(&broker, "kafka-log-dirs --bootstrap-server B --describe --topic-list t").await;
    let mut lines = dirs.lines();
    assert_eq!(lines.next(), Some("Querying brokers for log directories information"));
    assert_eq!(lines.next(), Some("Received log directory information from brokers 1"));
    let json: serde_json::Value = serde_json::from_str(lines.next().unwrap()).unwrap();
    let partitions = json["brokers"][0]["logDirs"][0]["partitions"].as_array().unwrap();
    let mut names: Vec<&str> = partitions.iter().map(|one| one["partition"].as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["t-0", "t-1"]);
    assert!(partitions.iter().all(|one| one["size"].as_i64().unwrap() > 60 && one["offsetLag"] == 0));
    let missing = tool(&broker, "kafka-log-dirs --bootstrap-server B --describe --broker-list 7").await;
    assert_eq!(missing, (String::new(), 1));
}

/// The same command lines and lines as of Apache Kafka 4.3.1's tool.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quotas_of_users_clients_and_addresses_are_set_and_told() {
    let (broker, _) = world().await;
    let configs = async |line: &str| tool(&broker, &format!("kafka-configs --bootstrap-server B {line}")).await;
    for (line, expected) in [
        (
            "--alter --user alice --add-config producer_byte_rate=10000000,request_percentage=12.5",
            "Completed updating config for user alice.\n",
        ),
        (
            "--alter --entity-type users --entity-default --add-config producer_byte_rate=100",
            "Completed updating default config for users in the cluster.\n",
        ),
        (
            "--alter --entity-type users --entity-name alice --entity-type clients --entity-default --add-config \
             consumer_byte_rate=7",
            "Completed updating config for user alice.\n",
        ),
        (
            "--alter --client app --user bob --add-config consumer_byte_rate=8",
            "Completed updating config for client app.\n",
        ),
        (
            "--alter --ip 127.0.0.9 --add-config connection_creation_rate=3",
            "Completed updating config for ip 127.0.0.9.\n",
        ),
        (
            "--alter --entity-type users --entity-name alice --add-config SCRAM-SHA-256=[password=x]",
            "Completed updating config for user alice.\n",
        ),
        ("--alter --user alice --delete-config request_percentage", "Completed updating config for user alice.\n"),
        (
            "--describe --entity-type users",
            "Quota configs for the default user-principal are producer_byte_rate=100.0\n\
             Quota configs for user-principal 'alice' are producer_byte_rate=1.0E7\n\
             SCRAM credential configs for user-principal 'alice' are SCRAM-SHA-256=iterations=4096\n",
        ),
        ("--describe --user-defaults", "Quota configs for the default user-principal are producer_byte_rate=100.0\n"),
        (
            "--describe --entity-type users --entity-type clients",
            "Quota configs for user-principal 'bob', client-id 'app' are consumer_byte_rate=8.0\n\
             Quota configs for user-principal 'alice', the default client-id are consumer_byte_rate=7.0\n",
        ),
        ("--describe --entity-type ips", "Quota configs for ip '127.0.0.9' are connection_creation_rate=3.0\n"),
        ("--describe --entity-type clients", ""),
    ] {
        assert_eq!(configs(line).await, (expected.to_owned(), 0), "{line}");
    }
    for line in
        ["--alter --client u --delete-config producer_byte_rate", "--alter --user u --add-config producer_byte_rate=0"]
    {
        assert_eq!(configs(line).await, (String::new(), 1), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn features_are_told_and_changed() {
    let (broker, _) = world().await;
    let features = "kafka-features --bootstrap-server B";
    let level = async |feature: &str| {
        let out = printed(&broker, &format!("{features} describe --node-id 1")).await;
        let line = out.lines().find(|line| line.starts_with(&format!("Feature: {feature} "))).unwrap();
        line.split("FinalizedVersionLevel: ").nth(1).unwrap().split_whitespace().next().unwrap().to_owned()
    };
    assert_eq!((level("metadata.version").await, level("streams.version").await), ("4.3-IV0".into(), "1".into()));
    for (line, expected, becomes) in [
        ("disable --feature streams.version --dry-run", "streams.version can be disabled.\n", "1"),
        ("disable --feature streams.version", "streams.version was disabled.\n", "0"),
        ("upgrade --feature streams.version=1", "streams.version was upgraded to 1.\n", "1"),
    ] {
        assert_eq!(printed(&broker, &format!("{features} {line}")).await, expected);
        assert_eq!(level("streams.version").await, becomes, "{line}");
    }
    let (out, status) = tool(&broker, &format!("{features} upgrade --feature nosuch=1")).await;
    assert!(out.starts_with("Could not upgrade nosuch to 1. ") && status == 1, "{status} {out}");
}
