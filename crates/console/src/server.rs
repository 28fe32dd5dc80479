//! HTTP/1.1 for browsers: the page, the API, and streams of events.
//!
//! Every answer forbids to run, load or embed anything that is not of this page. Whoever asks takes little: 64 connections
//! at once, of which streams of events take at most half, heads of 16 KiB that arrive within five seconds.

mod body;
mod guard;

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub(crate) use self::body::Body;
pub(crate) use self::guard::Guard;
use self::guard::Refusal;
use crate::api::{self, Problem};
use crate::console::Shared;
use crate::page;

/// The connections that are served at once.
const CONNECTIONS: usize = 64;

/// The streams of events among them.
const STREAMS: usize = CONNECTIONS / 2;

/// How long the head of a request may take to arrive.
const HEAD_WITHIN: Duration = Duration::from_secs(5);

/// How long the head of a request may be.
const MOST_BYTES: usize = 16 * 1024;

/// Until it is tried again to accept a connection.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(100);

/// What every answer says. Scripts, styles and data come from here alone, and nothing of it stands in another's page.
const HEADERS: [(&str, &str); 5] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
];

/// Serves until the future is dropped.
pub(crate) async fn serve(listener: TcpListener, shared: Arc<Shared>) -> io::Result<()> {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let streams = Arc::new(Semaphore::new(STREAMS));
    let mut connections = tokio::task::JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let place = Arc::clone(&places).acquire_owned().await.map_err(io::Error::other)?;
        match listener.accept().await {
            Ok((stream, _)) => {
                let (shared, streams) = (Arc::clone(&shared), Arc::clone(&streams));
                connections.spawn(connection(stream, shared, streams, place));
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

async fn connection(stream: TcpStream, shared: Arc<Shared>, streams: Arc<Semaphore>, place: OwnedSemaphorePermit) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_WITHIN).max_buf_size(MOST_BYTES);
    let service = service_fn(async |request: Request<Incoming>| {
        let mut response = answer(&request, &shared, &streams).await;
        for (name, value) in HEADERS {
            response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        Ok::<_, Infallible>(response)
    });
    if let Err(error) = http.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!("a connection of a browser ended: {error}");
    }
    drop(place);
}

async fn answer(request: &Request<Incoming>, shared: &Arc<Shared>, streams: &Arc<Semaphore>) -> Response<Body> {
    if let Err(refusal) = shared.guard.admit(request.method(), request.headers(), request.uri()) {
        return refused(&refusal);
    }
    let path = request.uri().path();
    if let Some(file) = page::file(path) {
        return with_type(StatusCode::OK, file.content_type, Body::whole(file.content));
    }
    if path == "/api/events" {
        return match Arc::clone(streams).try_acquire_owned() {
            Ok(place) => {
                let body = Body::events(api::events(Arc::clone(shared), place));
                with_type(StatusCode::OK, "text/event-stream", body)
            }
            Err(_) => problem(&Problem::busy(format!("{STREAMS} pages are open, which is the most"))),
        };
    }
    let query = request.uri().query().unwrap_or("");
    match api::answer(shared, path, query).await {
        Ok(found) => json(StatusCode::OK, &found),
        Err(why) => problem(&why),
    }
}

fn refused(refusal: &Refusal) -> Response<Body> {
    let (status, header) = match refusal {
        Refusal::Host(_) => (StatusCode::MISDIRECTED_REQUEST, None),
        Refusal::Login => {
            (StatusCode::UNAUTHORIZED, Some((WWW_AUTHENTICATE, "Basic realm=\"vltava\", charset=\"UTF-8\"")))
        }
        Refusal::Method => (StatusCode::METHOD_NOT_ALLOWED, Some((ALLOW, "GET, HEAD"))),
    };
    let mut response = json(status, &Problem::refused(refusal.to_string()).to_json());
    if let Some((name, value)) = header {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

fn problem(problem: &Problem) -> Response<Body> {
    json(problem.status(), &problem.to_json())
}

fn json(status: StatusCode, value: &Value) -> Response<Body> {
    with_type(status, "application/json", Body::whole(Bytes::from(value.to_string())))
}

fn with_type(status: StatusCode, content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
