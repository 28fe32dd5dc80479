//! What the API says of a program of Kafka Streams that serves its metrics.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;
use vltava_client::admin::NewTopic;
use vltava_client::producer::ProducerRecord;
use vltava_console::ConsoleConfig;
use vltava_metrics::http::{Exposed, serve};
use vltava_streams::{KafkaStreams, Materialized, State, StreamsBuilder, StreamsConfig};

use super::cluster::{Cluster, ask, console};

/// A count of words in a streams group of its own, which serves its metrics.
pub(crate) struct WordCount {
    pub(crate) metrics: SocketAddr,
    streams: Arc<KafkaStreams>,
    _directory: TempDir,
}

impl WordCount {
    /// Begins with what is in the topic `words`, of two partitions.
    pub(crate) async fn start(cluster: &Cluster) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let builder = StreamsBuilder::new();
        let words = builder.stream::<Option<String>, String>("words");
        words.group_by(|_, word| word.clone()).count_with(Materialized::named("counts"));
        let config = StreamsConfig::from_properties([
            ("application.id", "word-count"),
            ("bootstrap.servers", cluster.servers()),
            ("group.protocol", "streams"),
            ("commit.interval.ms", "100"),
            ("state.dir", directory.path().to_str().unwrap()),
        ]);
        let streams = Arc::new(KafkaStreams::new(builder.build().unwrap(), config.unwrap()).unwrap());
        streams.start().unwrap();
        let (of_metrics, of_state) = (Arc::clone(&streams), Arc::clone(&streams));
        let exposed = Exposed::new(move || of_metrics.metrics()).ready(move || match of_state.state() {
            State::Running => Ok(()),
            state => Err(format!("the application is {state:?}")),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let metrics = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, exposed));
        Self { metrics, streams, _directory: directory }
    }
}

impl Drop for WordCount {
    fn drop(&mut self) {
        let _ = self.streams.close(Duration::from_secs(10));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_is_known_by_its_metrics() {
    let cluster = Cluster::start().await;
    cluster.create(NewTopic::new("words").partitions(2)).await;
    cluster.send(["ahoj", "světe"].map(|word| ProducerRecord::new("words").value(word))).await;
    let program = WordCount::start(&cluster).await;
    let config = ConsoleConfig::new([("bootstrap.servers", cluster.servers())]);
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = config.application("word-count", &format!("http://{}", program.metrics)).unwrap();
    let console = console(config.application("gone", &format!("http://{gone}/")).unwrap()).await;
    let found = loop {
        let found = ask(console, "GET", "/api/applications/word-count", "").await.json();
        // Two subtopologies of two partitions each.
        let has_all = found["tasks"].as_array().is_some_and(|tasks| tasks.len() == 4);
        if has_all && found["state"] == "RUNNING" && found["threads"][0]["process_total"] == 4.0 {
            break found;
        }
    };
    assert_eq!((&found["alive_threads"], &found["failed_threads"]), (&json!(1.0), &json!(0.0)));
    assert_eq!(found["health"], json!({"is_ok": true, "words": "ok"}));
    let tasks: Vec<&str> = found["tasks"].as_array().unwrap().iter().filter_map(|it| it["task_id"].as_str()).collect();
    assert_eq!(tasks, ["0_0", "0_1", "1_0", "1_1"]);
    assert!(found["lags"].as_array().unwrap().iter().any(|it| it["topic"] == "words"), "{found}");

    let all = ask(console, "GET", "/api/applications", "").await.json();
    assert_eq!(
        (&all["applications"][0]["name"], &all["applications"][0]["state"]),
        (&json!("word-count"), &json!("RUNNING"))
    );
    let problem = &all["applications"][1]["problem"];
    assert_eq!(problem["kind"], "unreachable");
    assert!(
        problem["cause"].as_str().unwrap().starts_with(&format!("http://{gone}/metrics: nobody can be reached")),
        "{all}"
    );
    let unknown = ask(console, "GET", "/api/applications/other", "").await;
    assert_eq!((unknown.status, &unknown.json()["problem"]["kind"]), (404, &json!("missing")));
}
