//! An application whose stores on disk are deleted goes on with those that its changelogs have.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

use std::path::Path;

use vltava::{
    client::{Admin, AdminConfig, Producer, ProducerConfig, admin::NewTopic, producer::ProducerRecord},
    embedded,
    streams::{KafkaStreams, Materialized, State, StreamsBuilder, StreamsConfig},
};

mod waiting;

use waiting::{PATIENCE, await_count};

fn application(broker: &str, directory: &Path) -> KafkaStreams {
    let builder = StreamsBuilder::new();
    builder.stream::<String, String>("in").group_by_key().count_with(Materialized::named("counts"));
    let config = StreamsConfig::from_properties([
        ("application.id", "cleaned"),
        ("bootstrap.servers", broker),
        ("state.dir", directory.to_str().unwrap()),
        ("commit.interval.ms", "50"),
    ]);
    KafkaStreams::new(builder.build().unwrap(), config.unwrap()).unwrap()
}

async fn send(broker: &str, records: usize) {
    let producer = Producer::new(ProducerConfig::from_properties([("bootstrap.servers", broker)]).unwrap()).unwrap();
    for _ in 0..records {
        drop(producer.send(ProducerRecord::new("in").key("k").value("v")).await.unwrap());
    }
    producer.flush().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_was_deleted_is_restored() {
    let folder = tempfile::tempdir().unwrap();
    let broker = embedded::Broker::start(embedded::Config::default()).unwrap();
    let address = broker.bootstrap_servers().to_owned();
    let admin = Admin::new(AdminConfig::from_properties([("bootstrap.servers", &address)]).unwrap()).unwrap();
    for (_, created) in admin.create_topics([NewTopic::new("in")]).await {
        created.unwrap();
    }
    send(&address, 3).await;
    let path = folder.path().to_owned();
    let at = address.clone();
    tokio::task::spawn_blocking(move || {
        let streams = application(&at, &path);
        streams.start().unwrap();
        await_count(&streams, "k", 3);
        assert!(streams.clean_up().unwrap_err().to_string().contains("RUNNING"));
        streams.close(PATIENCE).unwrap();
        let of_task = path.join("cleaned/0_0");
        assert!(of_task.exists());
        streams.clean_up().unwrap();
        assert!(!of_task.exists());
    })
    .await
    .unwrap();
    send(&address, 1).await;
    let path = folder.path().to_owned();
    tokio::task::spawn_blocking(move || {
        let streams = application(&address, &path);
        streams.clean_up().unwrap();
        streams.start().unwrap();
        await_count(&streams, "k", 4);
        assert!(streams.wait_for_state(|state| state == State::Running, PATIENCE));
        streams.close(PATIENCE).unwrap();
    })
    .await
    .unwrap();
}
