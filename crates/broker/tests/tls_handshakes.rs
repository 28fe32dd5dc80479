//! Whoever connects to a listener with TLS may send anything, or nothing: the broker stays up, and time and memory of a
//! handshake are bounded.
#![cfg(feature = "tls")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failure of a helper fails its test")]

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use vltava_broker::embedded;

/// How many connections begin a handshake and leave it.
const SILENT_CONNECTIONS: usize = 300;
/// How many connections send random bytes, or damaged beginnings of handshakes.
const DAMAGED_CONNECTIONS: u64 = 1000;
/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

struct Secured {
    broker: embedded::Broker,
    client: Arc<ClientConfig>,
    _folder: tempfile::TempDir,
}

fn start(more: &[(&str, &str)]) -> Secured {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("server.pem");
    std::fs::write(&path, format!("{}{}", signing_key.serialize_pem(), cert.pem())).unwrap();
    let config = embedded::Config::default()
        .property("listeners", "SSL://127.0.0.1:0")
        .property("security.inter.broker.protocol", "SSL")
        .property("ssl.keystore.type", "PEM")
        .property("ssl.keystore.location", path.to_str().unwrap());
    let config = more.iter().fold(config, |config, (key, value)| config.property(*key, *value));
    let broker = embedded::Broker::start(config).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Secured { broker, client: Arc::new(client), _folder: folder }
}

impl Secured {
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.broker.bootstrap_servers()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    fn secure(&self) -> StreamOwned<ClientConnection, TcpStream> {
        let name = ServerName::try_from("localhost").unwrap();
        StreamOwned::new(ClientConnection::new(Arc::clone(&self.client), name).unwrap(), self.connect())
    }

    /// The first bytes that a client sends.
    fn hello(&self) -> Vec<u8> {
        let name = ServerName::try_from("localhost").unwrap();
        let mut hello = Vec::new();
        ClientConnection::new(Arc::clone(&self.client), name).unwrap().write_tls(&mut hello).unwrap();
        hello
    }

    fn is_up(&self) {
        let mut stream = self.secure();
        stream.write_all(&API_VERSIONS).unwrap();
        let mut head = [0; 8];
        stream.read_exact(&mut head).unwrap();
        assert_eq!(head[4..], [0, 0, 0, 9], "the answer's correlation id");
    }
}

/// ApiVersions 0, correlation id 9, no client id.
const API_VERSIONS: [u8; 14] = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 9, 0xff, 0xff];

/// What comes until the broker closes.
fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}"),
    }
    rest
}

/// What of this process is in memory, bytes.
fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[test]
fn what_is_not_tls_gets_an_alert_and_is_closed() {
    let secured = start(&[]);
    let too_long = [&[0x16, 3, 1, 0xff, 0xff][..], &[1; 100]].concat();
    for bytes in [&API_VERSIONS[..], b"GET / HTTP/1.1\r\n\r\n", &too_long] {
        let mut stream = secured.connect();
        stream.write_all(bytes).unwrap();
        // An alert, fatal.
        let answer = rest(&mut stream);
        assert!(matches!(answer[..], [0x15, 3, _, 0, 2, 2, _]), "{answer:02x?}");
    }
    secured.is_up();
}

#[test]
fn who_is_silent_within_a_handshake_is_closed_in_time() {
    let secured = start(&[("connections.max.idle.ms", "300")]);
    let hello = secured.hello();
    for sent in [0, 1, 5, hello.len() / 2, hello.len()] {
        let mut stream = secured.connect();
        stream.write_all(&hello[..sent]).unwrap();
        let answer = rest(&mut stream);
        assert_eq!(answer.is_empty(), sent < hello.len(), "an answer to {sent} bytes of {}", hello.len());
    }
    // Handshakes are what is bounded by then: a connection that is made may be idle as long.
    secured.is_up();
}

#[test]
fn many_handshakes_that_come_to_nothing_take_little_memory() {
    let secured = start(&[]);
    let hello = secured.hello();
    secured.is_up();
    let before = resident_bytes();
    // A message of a handshake may be announced with 16 MiB, and nothing of it comes.
    let announced = [&[0x16, 3, 1, 0x40, 0][..], &[1, 0xff, 0xff, 0xff], &[7; 0x4000 - 4]].concat();
    let mut open = Vec::new();
    for number in 0..SILENT_CONNECTIONS {
        let mut stream = secured.connect();
        let bytes = if number % 2 == 0 { &announced[..] } else { &hello };
        // One that is refused at once may be closed already.
        stream.write_all(bytes).ok();
        open.push(stream);
    }
    secured.is_up();
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < SILENT_CONNECTIONS * 128 * 1024, "{grown} bytes more");
    drop(open);
    secured.is_up();
}

#[test]
fn damaged_and_truncated_handshakes_do_no_harm() {
    let secured = start(&[]);
    let hello = secured.hello();
    let mut random = fastrand::Rng::with_seed(20_261_201);
    for round in 0..DAMAGED_CONNECTIONS {
        let mut bytes = hello.clone();
        match round % 3 {
            0 => bytes.truncate(random.usize(..hello.len())),
            1 => {
                for _ in 0..3 {
                    let at = random.usize(..bytes.len());
                    bytes[at] = random.u8(..);
                }
            }
            _ => random.fill(&mut bytes),
        }
        secured.connect().write_all(&bytes).ok();
    }
    secured.is_up();
}

#[test]
fn requests_may_be_cut_by_the_records_of_tls_anywhere() {
    let secured = start(&[]);
    let mut stream = secured.secure();
    for byte in API_VERSIONS {
        stream.write_all(&[byte]).unwrap();
        stream.flush().unwrap();
    }
    let mut head = [0; 8];
    stream.read_exact(&mut head).unwrap();
    assert_eq!(head[4..], [0, 0, 0, 9]);
}

/// A client that asks and asks and never reads: what is answered waits in its socket, and no more of it is made.
#[test]
fn who_never_reads_is_not_answered_for_ever() {
    let secured = start(&[]);
    let mut stream = secured.secure();
    stream.sock.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let before = resident_bytes();
    let many: Vec<u8> = API_VERSIONS.iter().copied().cycle().take(API_VERSIONS.len() * 1000).collect();
    // Until it is not read any more.
    let stopped = (0..100_000).any(|_| stream.write_all(&many).is_err());
    assert!(stopped);
    assert!(resident_bytes().saturating_sub(before) < 64 << 20);
    secured.is_up();
}
