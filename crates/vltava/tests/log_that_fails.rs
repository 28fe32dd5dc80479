//! A log that panics when it is told of a failure, as one on a full disk may: the application ends all the same.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::time::Duration;

use tracing::{Event, Level, Metadata, Subscriber, span};
use vltava::{
    client::{Admin, AdminConfig, Producer, ProducerConfig, admin::NewTopic, producer::ProducerRecord},
    embedded,
    streams::{KafkaStreams, State, StreamsBuilder, StreamsConfig},
};

const PATIENCE: Duration = Duration::from_secs(60);

struct Full;

impl Subscriber for Full {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::ERROR && metadata.target().starts_with("vltava_streams")
    }
    fn event(&self, _event: &Event<'_>) {
        panic!("no space left");
    }
    fn new_span(&self, _span: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _span: &span::Id, _values: &span::Record<'_>) {}
    fn record_follows_from(&self, _span: &span::Id, _follows: &span::Id) {}
    fn enter(&self, _span: &span::Id) {}
    fn exit(&self, _span: &span::Id) {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_application_that_cannot_tell_of_its_failure_ends() {
    tracing::subscriber::set_global_default(Full).unwrap();
    let broker = embedded::Broker::start(embedded::Config::default()).unwrap();
    let address = broker.bootstrap_servers();
    let admin = Admin::new(AdminConfig::from_properties([("bootstrap.servers", address)]).unwrap()).unwrap();
    for created in admin.create_topics([NewTopic::new("in")]).await.into_values() {
        created.unwrap();
    }
    let builder = StreamsBuilder::new();
    builder.stream::<Option<String>, String>("in").for_each(|_, _| panic!("it fails"));
    let state = tempfile::tempdir().unwrap();
    let config = StreamsConfig::from_properties([
        ("application.id", "log-that-fails"),
        ("bootstrap.servers", address),
        ("state.dir", state.path().to_str().unwrap()),
    ]);
    let streams = KafkaStreams::new(builder.build().unwrap(), config.unwrap()).unwrap();
    streams.start().unwrap();
    let producer = Producer::new(ProducerConfig::from_properties([("bootstrap.servers", address)]).unwrap()).unwrap();
    producer.send(ProducerRecord::new("in").value("x")).await.unwrap().await.unwrap();
    assert!(streams.wait_for_state_async(State::has_completed_shutdown, PATIENCE).await, "{:?}", streams.state());
    assert_eq!(streams.state(), State::Error);
    assert!(streams.failure().is_some());
}
