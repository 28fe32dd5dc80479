//! What a running application has counted.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use vltava::{
    client::{Admin, AdminConfig, Producer, ProducerConfig, admin::NewTopic, producer::ProducerRecord},
    embedded,
    streams::{KafkaStreams, METRIC_GROUPS, Snapshot, State, StreamsBuilder, StreamsConfig},
};

const PATIENCE: Duration = Duration::from_secs(60);

/// The sum of a metric of a group over its tags.
fn sum(metrics: &Snapshot, group: &str, name: &str) -> f64 {
    let wanted = metrics.iter().filter(|(metric, _)| (metric.group, metric.name) == (group, name));
    wanted.map(|(_, value)| value.as_f64()).sum()
}

/// What is there is in the reference of metrics, with its tags.
fn check_against_definitions(metrics: &Snapshot) {
    let groups = || METRIC_GROUPS.iter().chain(vltava::client::METRIC_GROUPS.iter().copied().flatten());
    for name in metrics.keys() {
        let tags: BTreeSet<&str> = name.tags.iter().map(|(tag, _)| tag).collect();
        // Some of an application and of a thread are by their process as well, and stores by a tag that says their kind.
        let is_more = |tag: &str| ["process-id", "application-id"].contains(&tag) || tag.ends_with("-state-id");
        let is_tagged =
            |of_group: BTreeSet<&str>| of_group.is_subset(&tags) && tags.difference(&of_group).all(|tag| is_more(tag));
        let mut of_group =
            groups().filter(|group| group.name == name.group && is_tagged(group.tags.iter().copied().collect()));
        if name.group == "kafka-metrics-count" {
            continue;
        }
        let is_defined = of_group.any(|group| {
            let mut statistics = group.sensors.iter().flat_map(|sensor| sensor.statistics);
            let is_gauge = group.gauges.iter().any(|gauge| gauge.name == name.name);
            is_gauge || statistics.any(|statistic| statistic.name == name.name)
        });
        assert!(is_defined, "{name} is in no table");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_and_what_was_dropped_are_counted() {
    let (broker, directory) = (embedded::Broker::start(embedded::Config::default()).unwrap(), tempfile::tempdir());
    let (address, directory) = (broker.bootstrap_servers(), directory.unwrap());
    let admin = Admin::new(AdminConfig::from_properties([("bootstrap.servers", address)]).unwrap()).unwrap();
    for (_, created) in admin.create_topics([NewTopic::new("in").partitions(2)]).await {
        created.unwrap();
    }
    let builder = StreamsBuilder::new();
    builder.stream::<Option<String>, String>("in").group_by_key().count();
    let config = StreamsConfig::from_properties([
        ("application.id", "counted"),
        ("bootstrap.servers", address),
        ("client.id", "here"),
        ("commit.interval.ms", "20"),
        ("metrics.recording.level", "DEBUG"),
        ("num.stream.threads", "2"),
        ("state.dir", directory.path().to_str().unwrap()),
    ]);
    let streams = KafkaStreams::new(builder.build().unwrap(), config.unwrap()).unwrap();
    assert_eq!(sum(&streams.metrics().unwrap(), "stream-metrics", "client-state"), 0.0, "created");
    streams.start().unwrap();
    // What a task counts goes with it when it moves to the other thread.
    let settled = || {
        let threads = streams.metadata_for_local_threads().unwrap();
        streams.state() == State::Running && threads.iter().all(|thread| thread.active_tasks().len() == 1)
    };
    let deadline = Instant::now() + PATIENCE;
    while !settled() {
        assert!(Instant::now() < deadline, "{:?}", streams.metadata_for_local_threads());
        assert!(streams.wait_until_caught_up(PATIENCE).unwrap());
    }
    let producer = Producer::new(ProducerConfig::from_properties([("bootstrap.servers", address)]).unwrap()).unwrap();
    for key in [Some("a"), None, Some("b"), Some("c"), None] {
        let record = ProducerRecord::new("in").value("v");
        let record = if let Some(key) = key { record.key(key) } else { record };
        producer.send(record).await.unwrap().await.unwrap();
    }
    assert!(streams.wait_until_caught_up(PATIENCE).unwrap());

    let metrics = streams.metrics().unwrap();
    assert_eq!(sum(&metrics, "stream-metrics", "client-state"), 2.0, "running");
    assert_eq!(sum(&metrics, "stream-metrics", "alive-stream-threads"), 2.0);
    assert_eq!(sum(&metrics, "stream-thread-metrics", "process-total"), 5.0);
    assert!(sum(&metrics, "stream-thread-metrics", "commit-total") >= 1.0);
    assert_eq!(sum(&metrics, "stream-task-metrics", "dropped-records-total"), 2.0);
    assert!(sum(&metrics, "stream-task-metrics", "dropped-records-rate") > 0.0);
    let node = "KSTREAM-SOURCE-0000000000";
    let of_node = metrics.keys().filter(|metric| metric.tags.get("processor-node-id") == Some(node));
    assert!(of_node.clone().any(|metric| metric.group == "stream-processor-node-metrics"), "{metrics:?}");
    assert!(metrics.keys().any(|metric| metric.tags.get("thread-id") == Some("here-StreamThread-2")));
    // Of the clients of two threads and the application's admin client.
    assert!(sum(&metrics, "consumer-fetch-manager-metrics", "records-consumed-total") >= 5.0);
    assert!(sum(&metrics, "consumer-coordinator-metrics", "assigned-partitions") >= 2.0);
    assert!(sum(&metrics, "admin-client-metrics", "request-total") > 0.0);
    check_against_definitions(&metrics);
    let text = vltava::metrics::prometheus::text(&metrics);
    assert!(text.contains("\nkafka_streams_stream_metrics_alive_stream_threads{client_id=\"here\"} 2\n"), "{text}");
    assert!(
        text.contains("kafka_streams_stream_thread_metrics_process_total{thread_id=\"here-StreamThread-1\"} "),
        "{text}"
    );
    streams.close(PATIENCE).unwrap();
    assert_eq!(sum(&streams.metrics().unwrap(), "stream-metrics", "alive-stream-threads"), 0.0);
}
