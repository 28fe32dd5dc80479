use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::{Exposed, Limits, serve, serve_within};
use crate::name::{MetricName, Tags};
use crate::value::Snapshot;

async fn ask(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).await;
    answer
}

async fn serving(exposed: Exposed) -> (SocketAddr, tokio::task::JoinHandle<std::io::Result<()>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    (listener.local_addr().unwrap(), tokio::spawn(serve(listener, exposed)))
}

#[tokio::test]
async fn metrics_and_health_are_served() {
    let name = MetricName::new("kafka.producer", "app-info", "start-time-ms", "when", Tags::new([("client-id", "c")]));
    let snapshot = Snapshot::from([(name, 7.0.into())]);
    let restores = Arc::new(AtomicBool::new(true));
    let asked = Arc::clone(&restores);
    let exposed = Exposed::new(move || Ok::<_, String>(snapshot.clone()))
        .ready(move || if asked.load(Ordering::Relaxed) { Err("restoring 3 tasks") } else { Ok(()) });
    let (address, serving) = serving(exposed).await;
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

#[tokio::test]
async fn a_long_text_comes_in_chunks_and_an_empty_piece_does_not_end_it() {
    let pieces = || ["a 1\n", "", "b 2\n"].into_iter().map(str::to_owned);
    let (address, serving) = serving(Exposed::of_pieces(pieces)).await;
    let answer = ask(address, "/metrics").await;
    assert!(answer.contains("\r\ntransfer-encoding: chunked\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n4\r\na 1\n\r\n4\r\nb 2\n\r\n0\r\n\r\n"), "{answer}");
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").await.unwrap();
    let mut older = String::new();
    stream.read_to_string(&mut older).await.unwrap();
    assert!(older.ends_with("\r\n\r\na 1\nb 2\n") && !older.contains("chunked"), "{older}");
    serving.abort();
}

#[tokio::test]
async fn who_says_nothing_is_not_waited_for_and_others_have_their_turn() {
    let limits = Limits { connections: 4, request: Duration::from_millis(200), connection: Duration::from_secs(30) };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(serve_within(limits, listener, Exposed::new(|| Ok::<_, String>(Snapshot::new()))));
    let mut silent = Vec::new();
    for _ in 0..3 * limits.connections {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /metrics HT").await.unwrap();
        silent.push(stream);
    }
    // On a slow machine the request may come too late, as well.
    while !ask(address, "/health").await.ends_with("\r\n\r\nok\n") {}
    for mut stream in silent {
        let mut answer = Vec::new();
        // Reset or closed: without an answer.
        let _ = stream.read_to_end(&mut answer).await;
        assert!(answer.is_empty());
    }
    serving.abort();
}
