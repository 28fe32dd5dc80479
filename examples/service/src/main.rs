//! An application of streams inside of an HTTP service: it counts words, answers for them, and ends as an orchestrator
//! wants it to.
//!
//! ```text
//! POST /lines         a text, to be counted          ──► topic service-lines ──► streams ──► store `counts`
//! GET  /counts/vltava how often a word was there     ◄───────────── interactive query ─────────────┘
//! GET  /health        200 while it runs, 503 with the state and the reason while it does not
//! ```
//!
//! ```text
//! cargo run -p vltava-example-service
//! curl -d 'the moon and the sun' localhost:8080/lines && curl localhost:8080/counts/the
//! ```
//!
//! What to take from here: nothing blocks the threads that serve (`close_async`; queries, which wait for a stream thread's
//! turn, are on threads for that); SIGTERM first ends the serving, then closes the application, which commits, and the exit
//! code says whether that worked; a failure of the application ends the service, so that it is started again.

use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, bail};
use axum::{
    Json, Router,
    extract::{Path, State as Shared},
    http::StatusCode,
    routing::{get, post},
};
use clap::Parser;
use serde::Serialize;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use vltava::{
    client::{Admin, AdminConfig, ErrorCode, Producer, ProducerConfig, admin::NewTopic, producer::ProducerRecord},
    embedded,
    streams::{
        self, KafkaStreams, Materialized, State, StreamsBuilder, StreamsConfig, Topology,
        query::{QueryableStoreTypes, StoreQueryParameters},
    },
};

const LINES: &str = "service-lines";
const COUNTS: &str = "counts";
/// Orchestrators kill half a minute after SIGTERM.
const TIME_TO_CLOSE: Duration = Duration::from_secs(20);

/// Counts words behind HTTP.
#[derive(Parser)]
struct Options {
    /// A broker to use instead of one in this process.
    #[arg(long)]
    bootstrap_server: Option<String>,
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
}

struct Service {
    streams: KafkaStreams,
    producer: Producer,
}

#[tokio::main]
async fn main() -> Result<()> {
    // Else a log that cannot be written, to a full disk, panics.
    tracing_subscriber::fmt().with_writer(std::io::stderr).log_internal_errors(false).init();
    let options = Options::parse();
    let broker;
    let server = match &options.bootstrap_server {
        Some(server) => server,
        None => {
            broker = embedded::Broker::start(embedded::Config::default())?;
            broker.bootstrap_servers()
        }
    };
    let listener =
        TcpListener::bind(options.listen).await.with_context(|| format!("listening on {}", options.listen))?;
    let mut terminate = signal(SignalKind::terminate())?;
    let asked_to_end = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
    };
    run(server, listener, asked_to_end).await
}

/// Serves until `asked_to_end`, or until the application fails.
async fn run(
    server: &str,
    listener: TcpListener,
    asked_to_end: impl Future<Output = ()> + Send + 'static,
) -> Result<()> {
    create_topics(server).await?;
    let state = tempfile::tempdir()?;
    let config = StreamsConfig::from_properties([
        ("application.id", "service"),
        ("bootstrap.servers", server),
        ("state.dir", &state.path().display().to_string()),
    ])?;
    let service = Arc::new(Service {
        streams: KafkaStreams::new(topology()?, config)?,
        producer: Producer::new(ProducerConfig::from_properties([("bootstrap.servers", server)])?)?,
    });
    service.streams.start()?;

    let failed = service.streams.wait_for_state_async(|state| state == State::Error, Duration::MAX);
    let ends = async move {
        tokio::select! {
            () = asked_to_end => {}
            _ = failed => {}
        }
    };
    axum::serve(listener, routes(service.clone())).with_graceful_shutdown(ends).await?;

    // Nobody asks any more: what was counted is committed, and the group is left to others.
    service.producer.close(TIME_TO_CLOSE).await?;
    service.streams.close_async(TIME_TO_CLOSE).await?;
    match service.streams.failure() {
        Some(why) => bail!("the application failed: {why}"),
        None => Ok(()),
    }
}

async fn create_topics(server: &str) -> Result<()> {
    let admin = Admin::new(AdminConfig::from_properties([("bootstrap.servers", server)])?)?;
    for (topic, created) in admin.create_topics([NewTopic::new(LINES).partitions(3)]).await {
        match created {
            Err(error) if error.code() != Some(ErrorCode::TopicAlreadyExists) => bail!("creating {topic}: {error}"),
            _ => {}
        }
    }
    Ok(())
}

fn topology() -> Result<Topology> {
    let builder = StreamsBuilder::new();
    builder
        .stream::<Option<String>, String>(LINES)
        .flat_map_values(|line| line.split_whitespace().map(str::to_lowercase).collect::<Vec<_>>())
        .group_by(|_, word| word.clone())
        .count_with(Materialized::named(COUNTS));
    Ok(builder.build()?)
}

fn routes(service: Arc<Service>) -> Router {
    Router::new()
        .route("/health", get(health))
        .route("/lines", post(add))
        .route("/counts/{word}", get(count))
        .with_state(service)
}

#[derive(Debug, Serialize)]
struct Health {
    state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
}

async fn health(Shared(service): Shared<Arc<Service>>) -> (StatusCode, Json<Health>) {
    let state = service.streams.state();
    let code = if state == State::Running { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let failure = service.streams.failure().map(|why| why.to_string());
    (code, Json(Health { state: state.to_string(), failure }))
}

type Failed = (StatusCode, String);

fn unavailable(error: impl ToString) -> Failed {
    (StatusCode::SERVICE_UNAVAILABLE, error.to_string())
}

/// Answers when the broker has the line.
async fn add(Shared(service): Shared<Arc<Service>>, line: String) -> Result<StatusCode, Failed> {
    let delivery = service.producer.send(ProducerRecord::new(LINES).value(&line)).await.map_err(unavailable)?;
    delivery.await.map_err(unavailable)?;
    Ok(StatusCode::ACCEPTED)
}

async fn count(Shared(service): Shared<Arc<Service>>, Path(word): Path<String>) -> Result<String, Failed> {
    let looked_up = tokio::task::spawn_blocking(move || look_up(&service, &word.to_lowercase()));
    match looked_up.await.map_err(unavailable)? {
        Ok(Some(count)) => Ok(count.to_string()),
        Ok(None) => Err((StatusCode::NOT_FOUND, "no such word".to_owned())),
        // It is starting, rebalancing or restoring: the next attempt may find it.
        Err(error) if error.is_retriable() => Err(unavailable(error)),
        Err(error) => Err((StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
    }
}

fn look_up(service: &Service, word: &str) -> streams::Result<Option<i64>> {
    let counts = QueryableStoreTypes::key_value_store::<String, i64>();
    service.streams.store(&StoreQueryParameters::from_name_and_type(COUNTS, counts))?.get(&word.to_owned())
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpStream,
        sync::oneshot,
    };

    use super::*;

    /// One request of its own connection: the code and the body.
    async fn ask(address: SocketAddr, method: &str, path: &str, body: &str) -> (u16, String) {
        let mut connection = TcpStream::connect(address).await.unwrap();
        let head =
            format!("{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-length: {}", body.len());
        connection.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).await.unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn it_counts_tells_how_it_is_and_ends_when_it_is_asked_to() {
        let broker = embedded::Broker::start(embedded::Config::default()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (end, asked) = oneshot::channel::<()>();
        let server = broker.bootstrap_servers().to_owned();
        let service = tokio::spawn(async move { run(&server, listener, async move { drop(asked.await) }).await });

        let until = async |path: &str, wanted: (u16, &str)| loop {
            let (code, body) = ask(address, "GET", path, "").await;
            if code == wanted.0 && body.contains(wanted.1) {
                break;
            }
            assert!(code == 503 || code == 404, "{code} {body}");
            tokio::task::yield_now().await;
        };
        until("/health", (200, "RUNNING")).await;
        assert_eq!(ask(address, "GET", "/counts/moon", "").await.0, 404);
        assert_eq!(ask(address, "POST", "/lines", "the moon and The sun").await.0, 202);
        until("/counts/the", (200, "2")).await;
        end.send(()).unwrap();
        service.await.unwrap().unwrap();
    }
}
