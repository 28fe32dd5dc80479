//! Each stream thread tells of its work in the log now and then (`log.summary.interval.ms`).
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::{
    fmt::Debug,
    sync::Mutex,
    time::{Duration, Instant},
};

use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};
use vltava::{
    client::{Admin, AdminConfig, Producer, ProducerConfig, admin::NewTopic, producer::ProducerRecord},
    embedded,
    streams::{KafkaStreams, StreamsBuilder, StreamsConfig},
};

const PATIENCE: Duration = Duration::from_secs(60);
const RECORDS: usize = 5;

/// The summaries that were logged.
static SUMMARIES: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Listening;

struct Message;

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let text = format!("{value:?}");
        if field.name() == "message" && text.starts_with("Processed ") {
            SUMMARIES.lock().unwrap().push(text);
        }
    }
}

impl Subscriber for Listening {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::INFO && metadata.target().starts_with("vltava_streams")
    }
    fn event(&self, event: &Event<'_>) {
        event.record(&mut Message);
    }
    fn new_span(&self, _span: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _span: &span::Id, _values: &span::Record<'_>) {}
    fn record_follows_from(&self, _span: &span::Id, _follows: &span::Id) {}
    fn enter(&self, _span: &span::Id) {}
    fn exit(&self, _span: &span::Id) {}
}

/// The number before these words, of all summaries together.
fn told(words: &str) -> usize {
    let summaries = SUMMARIES.lock().unwrap();
    let number = |summary: &String| {
        let (before, _) = summary.split_once(words).unwrap_or_else(|| panic!("{summary} without {words}"));
        before.rsplit(' ').next().unwrap().parse::<usize>().unwrap()
    };
    summaries.iter().map(number).sum()
}

async fn await_that(what: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !what() {
        assert!(Instant::now() < deadline, "{:?}", SUMMARIES.lock().unwrap());
        // Nobody tells of it, so this polls a condition.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_thread_has_done_is_told_in_kafkas_words() {
    tracing::subscriber::set_global_default(Listening).unwrap();
    let broker = embedded::Broker::start(embedded::Config::default()).unwrap();
    let address = broker.bootstrap_servers();
    let admin = Admin::new(AdminConfig::from_properties([("bootstrap.servers", address)]).unwrap()).unwrap();
    for created in admin.create_topics([NewTopic::new("in")]).await.into_values() {
        created.unwrap();
    }
    let builder = StreamsBuilder::new();
    builder.stream::<Option<String>, String>("in").for_each(|_, _| ());
    let state = tempfile::tempdir().unwrap();
    let config = StreamsConfig::from_properties([
        ("application.id", "summaries"),
        ("bootstrap.servers", address),
        ("commit.interval.ms", "20"),
        ("log.summary.interval.ms", "50"),
        ("state.dir", state.path().to_str().unwrap()),
    ]);
    let streams = KafkaStreams::new(builder.build().unwrap(), config.unwrap()).unwrap();
    streams.start().unwrap();
    let producer = Producer::new(ProducerConfig::from_properties([("bootstrap.servers", address)]).unwrap()).unwrap();
    for _ in 0..RECORDS {
        producer.send(ProducerRecord::new("in").value("x")).await.unwrap().await.unwrap();
    }
    await_that(|| told(" total records") == RECORDS && told(" total tasks since the last update ") >= 1).await;
    assert!(told(" times and committed ") >= 2, "it has polled");
    assert_eq!(told(" punctuators"), 0);
    streams.pause();
    await_that(|| SUMMARIES.lock().unwrap().iter().any(|summary| summary.ends_with("; the application is paused")))
        .await;
    streams.close_async(PATIENCE).await.unwrap();
    assert_eq!(told(" total records"), RECORDS);
}
