//! The metrics of clients beside those of Apache Kafka's, whose names, tags and descriptions were recorded.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use vltava_broker::embedded;
use vltava_client::admin::NewTopic;
use vltava_client::producer::ProducerRecord;
use vltava_client::{Admin, AdminConfig, Consumer, ConsumerConfig, Producer, ProducerConfig, Snapshot};

const TOPIC: &str = "counted";
const RECORDS: usize = 10;

/// Group, name and tags of a metric, and its description.
type Names = BTreeMap<(String, String, String), String>;

/// What Apache Kafka's clients of this kind have.
fn recorded(kind: &str) -> Names {
    let lines = include_str!("metrics/kafka.txt").lines().filter(|line| !line.starts_with('#'));
    let fields = lines.map(|line| line.split('\t').map(str::to_owned).collect::<Vec<_>>());
    fields
        .filter(|fields| fields[0] == kind)
        .map(|fields| ((fields[1].clone(), fields[2].clone(), fields[3].clone()), fields[4].clone()))
        .collect()
}

/// What we do not have, and why: `metrics/lacking.txt`.
fn lacking(kind: &str) -> BTreeSet<(String, String)> {
    let mut all = BTreeSet::new();
    for line in include_str!("metrics/lacking.txt").lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<&str> = line.split('\t').collect();
        assert_eq!(fields.len(), 4, "without a reason: {line}");
        if kind.starts_with(fields[0]) {
            all.insert((fields[1].to_owned(), fields[2].to_owned()));
        }
    }
    all
}

fn ours(snapshot: &Snapshot) -> Names {
    let names = snapshot.keys().map(|name| {
        let tags: Vec<&str> = name.tags.iter().map(|(tag, _)| tag).collect();
        ((name.group.to_owned(), name.name.to_owned(), tags.join(",")), name.description.to_owned())
    });
    names.collect()
}

fn compare(kind: &str, snapshot: &Snapshot) {
    let (ours, lacking) = (ours(snapshot), lacking(kind));
    let mut theirs = recorded(kind);
    theirs.retain(|(group, name, _), _| !lacking.contains(&(group.clone(), name.clone())));
    assert_eq!(ours, theirs, "{kind}");
}

fn value(snapshot: &Snapshot, group: &str, name: &str, tags: &[(&str, &str)]) -> f64 {
    let has = |found: &vltava_client::MetricName| {
        found.tags.iter().count() == tags.len() + 1
            && tags.iter().all(|(tag, value)| found.tags.get(tag) == Some(value))
    };
    let mut found = snapshot.iter().filter(|(found, _)| (found.group, found.name) == (group, name) && has(found));
    let value = found.next().map(|(_, value)| value.as_f64());
    assert!(value.is_some() && found.next().is_none(), "{group} {name} {tags:?}");
    value.unwrap()
}

#[tokio::test]
async fn clients_have_kafkas_metrics() {
    let broker = embedded::Broker::start(embedded::Config::default()).unwrap();
    let address = broker.bootstrap_servers();
    let common = [("bootstrap.servers", address), ("client.id", "c"), ("metrics.recording.level", "TRACE")];

    let admin = Admin::new(AdminConfig::from_properties(common).unwrap()).unwrap();
    for (_, created) in admin.create_topics([NewTopic::new(TOPIC)]).await {
        created.unwrap();
    }
    compare("admin", &admin.metrics());
    assert!(value(&admin.metrics(), "admin-client-metrics", "connection-count", &[]) >= 1.0);

    let producer = Producer::new(ProducerConfig::from_properties(common).unwrap()).unwrap();
    for _ in 0..RECORDS {
        producer.send(ProducerRecord::new(TOPIC).value("0123456789")).await.unwrap().await.unwrap();
    }
    producer.flush().await.unwrap();
    let metrics = producer.metrics();
    compare("producer", &metrics);
    let of_client = |name| value(&metrics, "producer-metrics", name, &[]);
    let of_topic = |name| value(&metrics, "producer-topic-metrics", name, &[("topic", TOPIC)]);
    assert_eq!((of_client("record-send-total"), of_topic("record-send-total")), (10.0, 10.0));
    assert_eq!((of_client("record-error-total"), of_client("record-retry-total")), (0.0, 0.0));
    assert_eq!(of_client("records-per-request-avg"), 1.0);
    // A batch of one record: 61 bytes, and length, attributes, times, no key, ten bytes and no headers.
    assert_eq!((of_client("batch-size-avg"), of_topic("byte-total")), (78.0, 780.0));
    assert_eq!((of_client("compression-rate-avg"), of_client("requests-in-flight")), (1.0, 0.0));
    assert!(of_client("request-latency-max") > 0.0 && of_client("flush-time-ns-total") > 0.0);
    assert_eq!(of_client("buffer-total-bytes"), 33_554_432.0);
    assert!(of_client("request-total") >= 10.0 && of_client("outgoing-byte-total") > 780.0);

    let mut settings: BTreeMap<&str, &str> = common.into();
    settings.extend([("group.id", "g"), ("auto.offset.reset", "earliest"), ("enable.auto.commit", "false")]);
    let consumer = Consumer::new(ConsumerConfig::from_properties(settings).unwrap()).unwrap();
    consumer.subscribe([TOPIC]).unwrap();
    let mut seen = 0;
    while seen < RECORDS {
        let records = consumer.poll(Duration::from_secs(20)).await.unwrap();
        assert!(!records.is_empty());
        seen += records.len();
    }
    consumer.commit_sync().await.unwrap();
    let metrics = consumer.metrics();
    compare("consumer-classic", &metrics);
    let fetched = |name, tags: &[_]| value(&metrics, "consumer-fetch-manager-metrics", name, tags);
    let (topic, partition) = (("topic", TOPIC), ("partition", "0"));
    assert_eq!((fetched("records-consumed-total", &[]), fetched("records-consumed-total", &[topic])), (10.0, 10.0));
    // Of a record what follows the header of its batch.
    assert_eq!((fetched("bytes-consumed-total", &[]), fetched("bytes-consumed-total", &[topic])), (170.0, 170.0));
    assert_eq!(
        (fetched("records-lag", &[topic, partition]), fetched("records-lead", &[topic, partition])),
        (0.0, 10.0)
    );
    assert_eq!((fetched("records-lag-max", &[]), fetched("preferred-read-replica", &[topic, partition])), (0.0, -1.0));
    assert!(fetched("fetch-total", &[]) >= 1.0 && fetched("fetch-latency-avg", &[]) > 0.0);
    let of_group = |name| value(&metrics, "consumer-coordinator-metrics", name, &[]);
    assert_eq!((of_group("assigned-partitions"), of_group("rebalance-total")), (1.0, 1.0));
    assert_eq!((of_group("join-total"), of_group("sync-total"), of_group("commit-total")), (1.0, 1.0, 1.0));
    // The first join is refused, so that the member gets an id.
    assert_eq!(of_group("failed-rebalance-total"), 1.0);
    assert!(value(&metrics, "consumer-metrics", "last-poll-seconds-ago", &[]) >= 0.0);

    // What Apache Kafka's broker counts of the same records from the same requests; its two consumers take them twice.
    let counted = broker.metrics();
    for (name, kafkas) in [("messagesin", 10), ("bytesin", 780), ("bytesout", 1560 / 2), ("totalproducerequests", 10)] {
        let sample = format!("kafka_server_brokertopicmetrics_{name}_total{{topic=\"{TOPIC}\"}} {kafkas}\n");
        assert!(counted.contains(&sample), "{sample}");
    }
    assert!(counted.contains("kafka_network_requestmetrics_requests_total{request=\"Produce\",version=\"13\"} 10\n"));
    assert!(counted.contains("kafka_server_group_coordinator_metrics_group_count{protocol=\"classic\"} 1\n"));
    assert!(counted.contains("kafka_server_group_coordinator_metrics_group_completed_rebalance_count 1\n"));
    assert!(counted.contains("kafka_server_group_coordinator_metrics_offset_commit_count 1\n"));
    assert!(counted.contains("kafka_coordinator_group_groupmetadatamanager_numgroupsstable 1\n"));
    assert!(counted.contains("kafka_coordinator_group_groupmetadatamanager_numoffsets 1\n"));

    consumer.unsubscribe().await.unwrap();
    let of_partition = |snapshot: Snapshot| snapshot.keys().filter(|name| name.tags.get("partition").is_some()).count();
    assert_eq!(of_partition(consumer.metrics()), 0, "a series goes with its partition");
}

#[tokio::test]
async fn records_that_are_refused_are_errors() {
    let broker = embedded::Broker::start(embedded::Config::default()).unwrap();
    let settings = [("bootstrap.servers", broker.bootstrap_servers()), ("max.request.size", "1000")];
    let producer = Producer::new(ProducerConfig::from_properties(settings).unwrap()).unwrap();
    producer.send(ProducerRecord::new(TOPIC).value(&"x".repeat(2000))).await.unwrap_err();
    assert_eq!(value(&producer.metrics(), "producer-metrics", "record-error-total", &[]), 1.0);
}
