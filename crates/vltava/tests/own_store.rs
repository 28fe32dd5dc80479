//! A store of the application's own: restored from its changelog by the next process, and asked by a query of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

use std::{collections::BTreeMap, path::Path, time::Duration};

use vltava::{
    client::{Admin, AdminConfig, Producer, ProducerConfig, admin::NewTopic, producer::ProducerRecord},
    embedded,
    streams::{
        Context, KafkaStreams, OwnStore, Processor, Record, Result, StateStore, StoreBuilder, StreamsBuilder,
        StreamsConfig,
        query::{QueriedStore, Query, QueryFailure, StateQueryRequest},
        store::StoreHandle,
    },
};

const PATIENCE: Duration = Duration::from_secs(60);

/// The longest word by its first letter; an empty one is forgotten.
#[derive(Default)]
struct Longest(BTreeMap<String, String>);

impl StateStore for Longest {
    fn restore(&mut self, key: &[u8], value: Option<&[u8]>, _timestamp: i64) -> Result<()> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match value {
            Some(value) => self.0.insert(text(key), text(value)),
            None => self.0.remove(&text(key)),
        };
        Ok(())
    }
}

struct Keep(StoreHandle<OwnStore<Longest>>);

impl Processor for Keep {
    type KIn = String;
    type VIn = String;
    type KOut = ();
    type VOut = ();

    fn process(&mut self, record: Record<String, String>, ctx: &mut Context<'_, Self>) -> Result<()> {
        let Record { key, value, .. } = record;
        let mut longest = ctx.store(self.0)?;
        if value.is_empty() {
            longest.0.remove(&key);
            return longest.log_change(key.as_bytes(), None);
        }
        if longest.0.get(&key).is_none_or(|known| known.len() < value.len()) {
            longest.log_change(key.as_bytes(), Some(value.as_bytes()))?;
            longest.0.insert(key, value);
        }
        Ok(())
    }
}

/// All of a partition's words.
#[derive(Clone)]
struct All;

impl Query for All {
    type Result = Vec<String>;

    fn run(&self, store: &mut QueriedStore<'_>) -> std::result::Result<Self::Result, QueryFailure> {
        match store.own::<Longest>() {
            Some(longest) => Ok(longest.0.values().cloned().collect()),
            None => Err(store.unknown_query("All")),
        }
    }
}

fn application(broker: &str, directory: &Path) -> KafkaStreams {
    let builder = StreamsBuilder::new();
    let longest = builder.add_state_store(StoreBuilder::own("longest", |_| Ok(Longest::default())));
    builder.stream::<String, String>("words").process_with(longest, Keep);
    let config = StreamsConfig::from_properties([
        ("application.id", "own"),
        ("bootstrap.servers", broker),
        ("commit.interval.ms", "20"),
        ("state.dir", directory.to_str().unwrap()),
    ]);
    KafkaStreams::new(builder.build().unwrap(), config.unwrap()).unwrap()
}

async fn send(broker: &str, words: &[&str]) {
    let producer = Producer::new(ProducerConfig::from_properties([("bootstrap.servers", broker)]).unwrap()).unwrap();
    for word in words {
        let (key, value) = word.split_once(':').unwrap();
        producer.send(ProducerRecord::new("words").key(key).value(value)).await.unwrap().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn comes_back_from_its_changelog() {
    let broker = embedded::Broker::start(embedded::Config::default()).unwrap();
    let address = broker.bootstrap_servers();
    let admin = Admin::new(AdminConfig::from_properties([("bootstrap.servers", address)]).unwrap()).unwrap();
    for (_, created) in admin.create_topics([NewTopic::new("words")]).await {
        created.unwrap();
    }
    let rounds: [(&[&str], &[&str]); 2] = [
        (&["a:apple", "a:ant", "b:bee", "c:cat", "b:"], &["apple", "cat"]),
        (&["a:apricot", "d:dog"], &["apricot", "cat", "dog"]),
    ];
    for (words, expected) in rounds {
        // Each time as if on another machine.
        let directory = tempfile::tempdir().unwrap();
        send(address, words).await;
        let streams = application(address, directory.path());
        streams.start().unwrap();
        assert!(streams.wait_until_caught_up(PATIENCE).unwrap());
        let answer = streams.query(&StateQueryRequest::in_store("longest").with_query(All)).unwrap();
        let answers: Vec<_> =
            answer.partition_results().values().map(|result| result.result().unwrap().clone()).collect();
        assert_eq!(answers.concat(), expected);
        streams.close(PATIENCE).unwrap();
    }
}
