//! Metrics and health over HTTP/1.1, for monitoring systems and orchestrators.
//!
//! ```text
//! GET /metrics   the snapshot as text for Prometheus
//! GET /health    200 as long as going on makes sense, else 503 and why: start it again
//! GET /ready     200 as long as it does its work, else 503 and what it waits for
//! ```
//!
//! There is no authentication: listen where only those can ask who may know.

use std::io;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;

use crate::prometheus;
use crate::value::Snapshot;

/// What is served. Each look may take its time: it is on a thread where that is allowed.
#[derive(Clone)]
pub struct Exposed {
    metrics: Look<Snapshot>,
    health: Look<()>,
    ready: Look<()>,
}

/// What is found, or why there is nothing.
type Look<T> = Arc<dyn Fn() -> Result<T, String> + Send + Sync>;

impl std::fmt::Debug for Exposed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exposed").finish_non_exhaustive()
    }
}

impl Exposed {
    /// Serves what `metrics` says, and is healthy and ready.
    pub fn new<E: ToString>(metrics: impl Fn() -> Result<Snapshot, E> + Send + Sync + 'static) -> Self {
        Self { metrics: look(metrics), health: Arc::new(|| Ok(())), ready: Arc::new(|| Ok(())) }
    }

    /// Is healthy as long as `health` says so; its error is why not.
    #[must_use]
    pub fn health<E: ToString>(self, health: impl Fn() -> Result<(), E> + Send + Sync + 'static) -> Self {
        Self { health: look(health), ..self }
    }

    /// Is ready as long as `ready` says so; its error is what it waits for.
    #[must_use]
    pub fn ready<E: ToString>(self, ready: impl Fn() -> Result<(), E> + Send + Sync + 'static) -> Self {
        Self { ready: look(ready), ..self }
    }
}

fn look<T, E: ToString>(look: impl Fn() -> Result<T, E> + Send + Sync + 'static) -> Look<T> {
    Arc::new(move || look().map_err(|error| error.to_string()))
}

/// Serves until the future is dropped, or until the listener fails.
///
/// Cancel-safe: dropping it ends the serving.
///
/// # Errors
/// What the listener meets.
pub async fn serve(listener: TcpListener, exposed: Exposed) -> io::Result<()> {
    let routes = Router::new()
        .route("/metrics", get(metrics))
        .route("/health", get(|State(exposed): State<Exposed>| told(exposed.health)))
        .route("/ready", get(|State(exposed): State<Exposed>| told(exposed.ready)));
    axum::serve(listener, routes.with_state(exposed)).await
}

async fn metrics(State(exposed): State<Exposed>) -> Response {
    match ask(move || (exposed.metrics)().map(|snapshot| prometheus::text(&snapshot))).await {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::CONTENT_TYPE)], text).into_response(),
        Err(reason) => unavailable(&reason),
    }
}

async fn told(look: Look<()>) -> Response {
    match ask(move || look()).await {
        Ok(()) => "ok\n".into_response(),
        Err(reason) => unavailable(&reason),
    }
}

fn unavailable(reason: &str) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response()
}

/// Asks where waiting is allowed: what is asked may have to wait for a thread's turn.
async fn ask<T: Send + 'static>(question: impl FnOnce() -> Result<T, String> + Send + 'static) -> Result<T, String> {
    tokio::task::spawn_blocking(question).await.unwrap_or_else(|error| Err(error.to_string()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::{Exposed, serve};
    use crate::name::{MetricName, Tags};
    use crate::value::Snapshot;

    async fn ask(address: std::net::SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn metrics_and_health_are_served() {
        let name =
            MetricName::new("kafka.producer", "app-info", "start-time-ms", "when", Tags::new([("client-id", "c")]));
        let snapshot = Snapshot::from([(name, 7.0.into())]);
        let restores = Arc::new(AtomicBool::new(true));
        let asked = Arc::clone(&restores);
        let exposed = Exposed::new(move || Ok::<_, String>(snapshot.clone()))
            .ready(move || if asked.load(Ordering::Relaxed) { Err("restoring 3 tasks") } else { Ok(()) });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(serve(listener, exposed));
        let metrics = ask(address, "/metrics").await;
        assert!(metrics.starts_with("HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4"), "{metrics}");
        assert!(metrics.ends_with("kafka_producer_app_info_start_time_ms{client_id=\"c\"} 7\n"), "{metrics}");
        assert!(ask(address, "/health").await.starts_with("HTTP/1.1 200 OK"));
        let ready = ask(address, "/ready").await;
        assert!(ready.starts_with("HTTP/1.1 503 ") && ready.ends_with("\r\n\r\nrestoring 3 tasks\n"), "{ready}");
        restores.store(false, Ordering::Relaxed);
        assert!(ask(address, "/ready").await.ends_with("\r\n\r\nok\n"));
        assert!(ask(address, "/").await.starts_with("HTTP/1.1 404 "));
        serving.abort();
    }
}
