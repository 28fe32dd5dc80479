//! An application whose every client is secured by TLS: the settings of the application are theirs.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::time::Duration;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use vltava::{
    client::{
        Admin, AdminConfig, Consumer, ConsumerConfig, Producer, ProducerConfig, admin::NewTopic,
        producer::ProducerRecord,
    },
    embedded,
    streams::{KafkaStreams, Materialized, State, StreamsBuilder, StreamsConfig},
};

const PATIENCE: Duration = Duration::from_secs(60);

struct Secured {
    broker: embedded::Broker,
    certificate: String,
    folder: tempfile::TempDir,
}

impl Secured {
    fn start() -> Self {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server.pem");
        std::fs::write(&path, format!("{}{}", signing_key.serialize_pem(), cert.pem())).unwrap();
        let config = embedded::Config::default()
            .property("listeners", "SSL://127.0.0.1:0")
            .property("security.inter.broker.protocol", "SSL")
            .property("ssl.keystore.type", "PEM")
            .property("ssl.keystore.location", path.to_str().unwrap());
        Self { broker: embedded::Broker::start(config).unwrap(), certificate: cert.pem(), folder }
    }

    /// Settings of a client that trusts this certificate.
    fn settings<'a>(&'a self, certificate: &'a str) -> Vec<(&'a str, &'a str)> {
        vec![
            ("bootstrap.servers", self.broker.bootstrap_servers()),
            ("security.protocol", "SSL"),
            ("ssl.truststore.type", "PEM"),
            ("ssl.truststore.certificates", certificate),
        ]
    }

    fn application(&self, certificate: &str) -> KafkaStreams {
        let builder = StreamsBuilder::new();
        let names = builder.global_table_with::<String, String>(Materialized::named("names"), "names");
        builder
            .stream::<String, String>("in")
            .join_global(&names, |key, _| key.clone(), |_, name| name.clone())
            .group_by_key()
            .count()
            .to_stream()
            .map_values(|count| count.map(|count| count.to_string()))
            .to("out");
        let own = [("application.id", "secured"), ("state.dir", self.folder.path().to_str().unwrap())];
        let settings = self.settings(certificate).into_iter().chain(own).chain([("commit.interval.ms", "50")]);
        KafkaStreams::new(builder.build().unwrap(), StreamsConfig::from_properties(settings).unwrap()).unwrap()
    }
}

#[test]
fn an_application_works_over_tls() {
    let secured = Secured::start();
    let settings = secured.settings(&secured.certificate);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let admin = Admin::new(AdminConfig::from_properties(settings.iter().copied()).unwrap()).unwrap();
        for (_, created) in admin.create_topics(["in", "names", "out"].map(NewTopic::new)).await {
            created.unwrap();
        }
        let producer = Producer::new(ProducerConfig::from_properties(settings.iter().copied()).unwrap()).unwrap();
        for (topic, value) in [("names", "river"), ("in", "1"), ("in", "2")] {
            producer.send(ProducerRecord::new(topic).key("k").value(value)).await.unwrap().await.unwrap();
        }
    });
    let streams = secured.application(&secured.certificate);
    streams.start().unwrap();
    assert!(streams.wait_for_state(|state| state == State::Running, PATIENCE));
    runtime.block_on(async {
        let reading = settings.iter().copied().chain([("group.id", "reader"), ("auto.offset.reset", "earliest")]);
        let consumer = Consumer::new(ConsumerConfig::from_properties(reading).unwrap()).unwrap();
        consumer.subscribe(["out"]).unwrap();
        let mut last = None;
        while last.as_deref() != Some("2") {
            let polled = consumer.poll(PATIENCE).await.unwrap();
            assert!(!polled.is_empty(), "the last count is {last:?}");
            for partition in polled.partitions() {
                last = partition
                    .iter()
                    .last()
                    .map(|one| String::from_utf8_lossy(one.value().unwrap()).into_owned())
                    .or(last);
            }
        }
    });
    streams.close(PATIENCE).unwrap();
}

#[test]
fn an_application_that_does_not_trust_its_broker_fails_and_says_why() {
    let (secured, other) = (Secured::start(), Secured::start());
    let streams = secured.application(&other.certificate);
    let failed = streams.start().err().map(|error| error.to_string());
    let told = failed.unwrap_or_else(|| {
        assert!(streams.wait_for_state(|state| state == State::Error, PATIENCE), "{:?}", streams.state());
        streams.failure().map(|error| error.to_string()).unwrap_or_default()
    });
    assert!(told.contains("its certificate"), "{told:?}");
    let _ = streams.close(PATIENCE);
}
