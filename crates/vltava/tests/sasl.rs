//! An application on a cluster that asks who it is.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

use std::time::{Duration, Instant};

use vltava::{
    client::{
        Admin, AdminConfig, Consumer, ConsumerConfig, Producer, ProducerConfig, admin::NewTopic,
        producer::ProducerRecord,
    },
    embedded,
    streams::{KafkaStreams, State, StreamsBuilder, StreamsConfig},
};

const PATIENCE: Duration = Duration::from_secs(60);

fn broker() -> embedded::Broker {
    let user = embedded::AddScram::parse("SCRAM-SHA-256=[name=app,password=app-secret]").unwrap();
    let config = embedded::Config::default()
        .property("listeners", "SASL_PLAINTEXT://127.0.0.1:0")
        .property("security.inter.broker.protocol", "SASL_PLAINTEXT")
        .property("sasl.enabled.mechanisms", "SCRAM-SHA-256")
        .property("connections.max.reauth.ms", "1500")
        .scram_user(user);
    embedded::Broker::start(config).unwrap()
}

fn settings(broker: &embedded::Broker, password: &str) -> Vec<(String, String)> {
    let jaas = format!(
        "org.apache.kafka.common.security.scram.ScramLoginModule required username=\"app\" password=\"{password}\";"
    );
    [
        ("bootstrap.servers", broker.bootstrap_servers()),
        ("security.protocol", "SASL_PLAINTEXT"),
        ("sasl.mechanism", "SCRAM-SHA-256"),
        ("sasl.jaas.config", &jaas),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .to_vec()
}

fn application(broker: &embedded::Broker, password: &str, directory: &std::path::Path) -> KafkaStreams {
    let builder = StreamsBuilder::new();
    builder.stream::<Option<String>, String>("in").group_by(|_, value| value.clone()).count().to_stream().to("out");
    let own = [("application.id", "sasl"), ("processing.guarantee", "exactly_once_v2")];
    let own = own.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let directory = [("state.dir".to_owned(), directory.to_str().unwrap().to_owned())];
    let config = StreamsConfig::from_properties(settings(broker, password).into_iter().chain(own).chain(directory));
    KafkaStreams::new(builder.build().unwrap(), config.unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_works_through_several_sessions() {
    let broker = broker();
    let directory = tempfile::tempdir().unwrap();
    let admin = Admin::new(AdminConfig::from_properties(settings(&broker, "app-secret")).unwrap()).unwrap();
    for (_, created) in admin.create_topics(["in", "out"].map(|topic| NewTopic::new(topic).partitions(1))).await {
        created.unwrap();
    }
    let streams = application(&broker, "app-secret", directory.path());
    streams.start().unwrap();
    let producer = Producer::new(ProducerConfig::from_properties(settings(&broker, "app-secret")).unwrap()).unwrap();
    let begun = Instant::now();
    let mut sent = 0;
    while begun.elapsed() < Duration::from_secs(5) {
        producer.send(ProducerRecord::new("in").value("ahoy")).await.unwrap().await.unwrap();
        sent += 1;
    }
    let mut settings = settings(&broker, "app-secret");
    for (key, value) in [("group.id", "g"), ("auto.offset.reset", "earliest"), ("isolation.level", "read_committed")] {
        settings.push((key.to_owned(), value.to_owned()));
    }
    let consumer = Consumer::new(ConsumerConfig::from_properties(settings).unwrap()).unwrap();
    consumer.subscribe(["out"]).unwrap();
    let mut last = 0;
    while last < sent {
        assert!(begun.elapsed() < PATIENCE, "{last} of {sent}");
        for (_, record) in consumer.poll(Duration::from_millis(200)).await.unwrap().iter() {
            last = i64::from_be_bytes(record.value().unwrap().try_into().unwrap());
        }
    }
    assert_eq!((last, streams.state()), (sent, State::Running));
    streams.close(PATIENCE).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whom_the_brokers_do_not_let_in_fails_and_does_not_try_for_ever() {
    let broker = broker();
    let directory = tempfile::tempdir().unwrap();
    let streams = application(&broker, "wrong", directory.path());
    let begun = Instant::now();
    // Either the start says so already, or a thread does.
    if streams.start().is_ok() {
        assert!(streams.wait_for_state(|state| state == State::Error, PATIENCE));
    }
    assert!(begun.elapsed() < Duration::from_secs(20));
}
