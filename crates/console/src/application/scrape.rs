//! One request to a program, and its answer.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long a program may take.
const WITHIN: Duration = Duration::from_secs(4);

/// Bytes of an answer that are read.
const LARGEST: u64 = 16 * 1024 * 1024;

/// An answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

/// Asks for a path, in HTTP/1.0, whose answers end with the connection.
///
/// # Errors
/// In words: nobody listens there, or it takes too long, or it is not HTTP.
pub(crate) async fn get(authority: &str, path: &str) -> Result<Answer, String> {
    let exchange = async {
        let mut stream =
            TcpStream::connect(authority).await.map_err(|error| format!("nobody can be reached: {error}"))?;
        let request = format!("GET {path} HTTP/1.0\r\nhost: {authority}\r\naccept: text/plain\r\n\r\n");
        let failed = |error: std::io::Error| format!("the connection was lost: {error}");
        stream.write_all(request.as_bytes()).await.map_err(failed)?;
        let mut bytes = Vec::new();
        stream.take(LARGEST + 1).read_to_end(&mut bytes).await.map_err(failed)?;
        if bytes.len() as u64 > LARGEST {
            return Err(format!("the answer is longer than {LARGEST} bytes"));
        }
        parse(&bytes)
    };
    match timeout(WITHIN, exchange).await {
        Ok(answer) => answer.map_err(|why| format!("http://{authority}{path}: {why}")),
        Err(_) => Err(format!("http://{authority}{path}: no answer within {} s", WITHIN.as_secs())),
    }
}

fn parse(bytes: &[u8]) -> Result<Answer, String> {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\r\n\r\n").ok_or("the answer is not HTTP")?;
    let mut first = head.lines().next().unwrap_or("").split(' ');
    let is_http = first.next().is_some_and(|version| version.starts_with("HTTP/1."));
    let status = first.next().and_then(|status| status.parse().ok()).filter(|_| is_http);
    let is_chunked = head.lines().any(|line| {
        let line = line.to_ascii_lowercase();
        line.starts_with("transfer-encoding:") && line.contains("chunked")
    });
    if is_chunked {
        return Err("the answer comes in chunks, which HTTP/1.0 does not have".to_owned());
    }
    Ok(Answer { status: status.ok_or("the answer is not HTTP")?, body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::{Answer, parse};

    #[test]
    fn answers_are_http() {
        let found = parse(b"HTTP/1.0 503 Service Unavailable\r\ncontent-length: 7\r\n\r\nwaits\n").unwrap();
        assert_eq!(found, Answer { status: 503, body: "waits\n".to_owned() });
        for wrong in [&b""[..], b"\r\n\r\n", b"SSH-2.0\r\n\r\n", b"HTTP/1.1 x\r\n\r\n", b"\x15\x03\x01\x00\x02"] {
            assert_eq!(parse(wrong).unwrap_err(), "the answer is not HTTP");
        }
        parse(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n").unwrap_err();
    }
}
