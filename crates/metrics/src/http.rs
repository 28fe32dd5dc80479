//! Metrics and health over HTTP/1.1, for monitoring systems and orchestrators.
//!
//! ```text
//! GET /metrics   the metrics as text for Prometheus
//! GET /health    200 as long as going on makes sense, else 503 and why: start it again
//! GET /ready     200 as long as it does its work, else 503 and what it waits for
//! ```
//!
//! There is no authentication: listen where only those can ask who may know. Whoever asks costs little, however he asks:
//! a connection is for one request of 8 KiB and ends after half a minute, 32 are served at once and the others wait in the
//! system's queue, and what is done for all of them together takes a tenth of a processor and no more.

mod pace;
mod text;

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

use self::pace::Pace;
use self::text::Text;
use crate::prometheus;
use crate::value::Snapshot;

/// What those who ask may take.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// The connections that are served at once.
    connections: usize,
    /// How long a request may take to arrive.
    request: Duration,
    /// How long a connection may take.
    connection: Duration,
}

const LIMITS: Limits = Limits { connections: 32, request: Duration::from_secs(5), connection: Duration::from_secs(30) };

/// How long the head of a request may be.
const MOST_BYTES: usize = 8 * 1024;

/// Until it is tried again to accept a connection.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(100);

/// What is served. Each look may take its time: it is on a thread where that is allowed.
#[derive(Clone)]
pub struct Exposed {
    metrics: Look<Pieces>,
    health: Look<String>,
    ready: Look<String>,
}

/// What is found, or why there is nothing.
type Look<T> = Arc<dyn Fn() -> Result<T, String> + Send + Sync>;

/// A text, piece by piece.
type Pieces = Box<dyn Iterator<Item = String> + Send>;

impl std::fmt::Debug for Exposed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exposed").finish_non_exhaustive()
    }
}

impl Exposed {
    /// Serves what `metrics` says, and is healthy and ready.
    pub fn new<E: ToString>(metrics: impl Fn() -> Result<Snapshot, E> + Send + Sync + 'static) -> Self {
        Self::of(look(move || {
            let text = metrics().map(|snapshot| prometheus::text(&snapshot));
            text.map(|text| Box::new(std::iter::once(text)) as Pieces)
        }))
    }

    /// Serves a text that is made while it is sent, of pieces that are some ten KiB each, and is healthy and ready.
    pub fn of_pieces<I>(pieces: impl Fn() -> I + Send + Sync + 'static) -> Self
    where
        I: Iterator<Item = String> + Send + 'static,
    {
        Self::of(Arc::new(move || Ok(Box::new(pieces()))))
    }

    fn of(metrics: Look<Pieces>) -> Self {
        let ok = || Ok("ok".to_owned());
        Self { metrics, health: Arc::new(ok), ready: Arc::new(ok) }
    }

    /// Is healthy as long as `health` says so; its error is why not.
    #[must_use]
    pub fn health<E: ToString>(self, health: impl Fn() -> Result<(), E> + Send + Sync + 'static) -> Self {
        self.health_in_words(move || health().map(|()| "ok".to_owned()))
    }

    /// Is healthy as long as `health` says so, in the words that it answers with; its error is why not.
    #[must_use]
    pub fn health_in_words<E: ToString>(self, health: impl Fn() -> Result<String, E> + Send + Sync + 'static) -> Self {
        Self { health: look(health), ..self }
    }

    /// Is ready as long as `ready` says so; its error is what it waits for.
    #[must_use]
    pub fn ready<E: ToString>(self, ready: impl Fn() -> Result<(), E> + Send + Sync + 'static) -> Self {
        Self { ready: look(move || ready().map(|()| "ok".to_owned())), ..self }
    }
}

fn look<T, E: ToString>(look: impl Fn() -> Result<T, E> + Send + Sync + 'static) -> Look<T> {
    Arc::new(move || look().map_err(|error| error.to_string()))
}

/// Serves until the future is dropped. A connection that cannot be accepted is tried again.
///
/// Cancel-safe: dropping it ends the serving.
///
/// # Errors
/// Those of the listener that do not pass.
pub async fn serve(listener: TcpListener, exposed: Exposed) -> io::Result<()> {
    serve_within(LIMITS, listener, exposed).await
}

async fn serve_within(limits: Limits, listener: TcpListener, exposed: Exposed) -> io::Result<()> {
    let places = Arc::new(Semaphore::new(limits.connections));
    let pace = Arc::new(Pace::default());
    let mut connections = tokio::task::JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        // There is no other who could close it.
        let place = Arc::clone(&places).acquire_owned().await.map_err(io::Error::other)?;
        pace.turn().await;
        match listener.accept().await {
            Ok((stream, _)) => {
                let (exposed, pace) = (exposed.clone(), Arc::clone(&pace));
                connections.spawn(async move {
                    // Who is too slow, or gone, is not told anything.
                    let _ = timeout(limits.connection, answer(stream, limits, &exposed, &pace)).await;
                    drop(place);
                });
            }
            Err(error) if passes(&error) => tokio::time::sleep(PAUSE_AFTER_FAILURE).await,
            Err(error) => return Err(error),
        }
    }
}

/// Whether it may work later: descriptors are used up, or the other end has gone.
fn passes(error: &io::Error) -> bool {
    !matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported | io::ErrorKind::NotConnected)
}

/// One request and its answer.
async fn answer(stream: TcpStream, limits: Limits, exposed: &Exposed, pace: &Arc<Pace>) -> hyper::Result<()> {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.request).max_buf_size(MOST_BYTES).keep_alive(false);
    let service = service_fn(async |request: Request<Incoming>| {
        Ok::<_, Infallible>(match (request.method(), request.uri().path()) {
            (&Method::GET, "/metrics") => metrics(exposed, pace).await,
            (&Method::GET, "/health") => told(&exposed.health, pace).await,
            (&Method::GET, "/ready") => told(&exposed.ready, pace).await,
            (_, "/metrics" | "/health" | "/ready") => {
                let mut refused = words(StatusCode::METHOD_NOT_ALLOWED, "there is nothing to do but GET");
                refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
                refused
            }
            _ => words(StatusCode::NOT_FOUND, "there are /metrics, /health and /ready"),
        })
    });
    http.serve_connection(TokioIo::new(stream), service).await
}

async fn told(look: &Look<String>, pace: &Pace) -> Response<Text> {
    let look = Arc::clone(look);
    match pace.during(move || look()).await {
        Ok(found) => words(StatusCode::OK, &found),
        Err(reason) => words(StatusCode::SERVICE_UNAVAILABLE, &reason),
    }
}

/// An answer in words.
fn words(status: StatusCode, words: &str) -> Response<Text> {
    with_type("text/plain; charset=utf-8", status, Text::Whole(Some(format!("{words}\n").into())))
}

fn with_type(content_type: &'static str, status: StatusCode, text: Text) -> Response<Text> {
    let mut response = Response::new(text);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// The metrics: at once where there is one piece, else each when the one before is sent.
async fn metrics(exposed: &Exposed, pace: &Arc<Pace>) -> Response<Text> {
    let look = Arc::clone(&exposed.metrics);
    let begun = pace.during(move || look().map(|mut pieces| (pieces.next(), pieces.next(), pieces)));
    let (first, second, pieces) = match begun.await {
        Ok(begun) => begun,
        Err(reason) => return words(StatusCode::SERVICE_UNAVAILABLE, &reason),
    };
    let first = first.unwrap_or_default();
    let Some(second) = second else {
        return with_type(prometheus::CONTENT_TYPE, StatusCode::OK, Text::Whole(Some(first.into())));
    };
    let mut rest: Pieces = Box::new(std::iter::once(second).chain(pieces));
    let (to, from) = mpsc::channel(1);
    let pace = Arc::clone(pace);
    tokio::spawn(async move {
        let mut piece = first;
        // Who does not listen any more needs no other.
        while to.send(Ok(piece)).await.is_ok() {
            match pace.during(move || Ok((rest.next(), rest))).await {
                Ok((Some(next), others)) => (piece, rest) = (next, others),
                Ok((None, _)) => return,
                Err(reason) => {
                    let _ = to.send(Err(io::Error::other(reason))).await;
                    return;
                }
            }
        }
    });
    with_type(prometheus::CONTENT_TYPE, StatusCode::OK, Text::Pieces(from))
}

#[cfg(test)]
mod tests;
