//! `wait_until_caught_up`: what was written before is in the output afterwards, through repartition topics too.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

use std::time::Duration;

use vltava::{
    client::{
        Admin, AdminConfig, Producer, ProducerConfig, TopicPartition,
        admin::{NewTopic, OffsetSpec},
        config::IsolationLevel,
        producer::ProducerRecord,
    },
    embedded,
    streams::{Error, KafkaStreams, StreamsBuilder, StreamsConfig},
};

const PATIENCE: Duration = Duration::from_secs(60);

/// Commits often, and sends every update on.
const EAGER: &[(&str, &str)] = &[("commit.interval.ms", "20"), ("statestore.cache.max.bytes", "0")];

fn application(
    broker: &str,
    directory: &std::path::Path,
    poison: &'static str,
    settings: &[(&str, &str)],
) -> KafkaStreams {
    let builder = StreamsBuilder::new();
    builder
        .stream::<Option<String>, String>("in")
        .try_map_values((), move |_, text| if text == poison { Err("poisoned") } else { Ok(text) })
        .group_by(|_, text| text.clone())
        .count()
        .to_stream()
        .repartition()
        .to("out");
    let common = [
        ("application.id", "caught-up"),
        ("bootstrap.servers", broker),
        ("state.dir", directory.to_str().unwrap()),
        ("num.stream.threads", "2"),
    ];
    let config = StreamsConfig::from_properties(common.into_iter().chain(settings.iter().copied()));
    KafkaStreams::new(builder.build().unwrap(), config.unwrap()).unwrap()
}

async fn write(broker: &str, texts: impl IntoIterator<Item = &str>) {
    let producer = Producer::new(ProducerConfig::from_properties([("bootstrap.servers", broker)]).unwrap()).unwrap();
    let mut deliveries = Vec::new();
    for text in texts {
        deliveries.push(producer.send(ProducerRecord::new("in").value(text)).await.unwrap());
    }
    for delivery in deliveries {
        delivery.await.unwrap();
    }
}

async fn written(admin: &Admin) -> i64 {
    let ends = (0..3).map(|partition| (TopicPartition::new("out", partition), OffsetSpec::Latest));
    let ends = admin.list_offsets(ends, IsolationLevel::ReadUncommitted).await;
    ends.into_values().map(|end| end.unwrap().offset).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_that_was_written_is_through() {
    let (broker, directory) = (embedded::Broker::start(embedded::Config::default()).unwrap(), tempfile::tempdir());
    let (address, directory) = (broker.bootstrap_servers(), directory.unwrap());
    let admin = Admin::new(AdminConfig::from_properties([("bootstrap.servers", address)]).unwrap()).unwrap();
    for (_, created) in admin.create_topics(["in", "out"].map(|topic| NewTopic::new(topic).partitions(3))).await {
        created.unwrap();
    }

    let streams = application(address, directory.path(), "poison", EAGER);
    let error = streams.wait_until_caught_up(PATIENCE).unwrap_err();
    assert!(matches!(*error, Error::StreamsNotStarted(_)), "{error}");
    streams.start().unwrap();
    // Nothing was written, and nothing is waited for.
    assert!(streams.wait_until_caught_up(PATIENCE).unwrap());
    for times in 1..=5 {
        write(address, ["a", "b", "c", "d"].into_iter().cycle().take(100)).await;
        // Async code that has just had many results that were ready at once still waits as it should.
        while tokio::task::coop::has_budget_remaining() {
            tokio::task::coop::consume_budget().await;
        }
        assert!(streams.wait_until_caught_up(PATIENCE).unwrap());
        assert_eq!(written(&admin).await, 100 * times);
    }

    write(address, ["poison"]).await;
    let error = streams.wait_until_caught_up(PATIENCE).unwrap_err();
    assert!(error.to_string().contains("poisoned"), "{error}");
    let error = streams.wait_until_caught_up(Duration::ZERO).unwrap_err();
    assert!(error.to_string().contains("poisoned"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_get_on_is_not_waited_for_longer_than_said() {
    let (broker, directory) = (embedded::Broker::start(embedded::Config::default()).unwrap(), tempfile::tempdir());
    let (address, directory) = (broker.bootstrap_servers(), directory.unwrap());
    let admin = Admin::new(AdminConfig::from_properties([("bootstrap.servers", address)]).unwrap()).unwrap();
    for (_, created) in admin.create_topics(["in", "out"].map(|topic| NewTopic::new(topic).partitions(3))).await {
        created.unwrap();
    }
    write(address, ["a"]).await;
    let streams = application(address, directory.path(), "poison", EAGER);
    streams.start().unwrap();
    assert!(!streams.wait_until_caught_up(Duration::ZERO).unwrap());
    assert!(streams.wait_until_caught_up(PATIENCE).unwrap());
    assert_eq!(written(&admin).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn default_settings_do_not_have_it_wait_for_the_next_commit() {
    let (broker, directory) = (embedded::Broker::start(embedded::Config::default()).unwrap(), tempfile::tempdir());
    let (address, directory) = (broker.bootstrap_servers(), directory.unwrap());
    let admin = Admin::new(AdminConfig::from_properties([("bootstrap.servers", address)]).unwrap()).unwrap();
    for (_, created) in admin.create_topics(["in", "out"].map(|topic| NewTopic::new(topic).partitions(3))).await {
        created.unwrap();
    }
    let streams = application(address, directory.path(), "poison", &[]);
    streams.start().unwrap();
    // Less than `commit.interval.ms`.
    let patience = Duration::from_secs(25);
    for _ in 0..3 {
        let before = written(&admin).await;
        write(address, ["a", "b", "c", "d"].into_iter().cycle().take(100)).await;
        assert!(streams.wait_until_caught_up_async(patience).await.unwrap());
        // The counts of a key that one commit sees are one record.
        assert!(written(&admin).await - before >= 4);
    }
    streams.close_async(PATIENCE).await.unwrap();
}
