//! Whoever wants to be let in may send anything in any order, cut it, say it again, or say it slowly: nobody comes in who may
//! not, and the broker stays up, with bounded memory and connections.

#![cfg(feature = "oauth")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failure of a helper fails its test")]

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use support::{Client, PATIENCE, encode};
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore};
use vltava_broker::{AddScram, embedded};
use vltava_protocol::ErrorCode;
use vltava_protocol::messages::{
    ApiVersionsRequest, MetadataRequest, SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest,
};
use vltava_security::sasl::scram::{Hash, ScramClient};

/// How many connections try something.
const TRIES: usize = 2000;
/// How many of them at most are held open at a time.
const HELD: usize = 200;
/// What the broker reads of a message at most.
const RECEIVE_SIZE: usize = 16 * 1024;
/// How long the broker waits for the next byte.
const IDLE: Duration = Duration::from_secs(2);

struct Hosts {
    broker: embedded::Broker,
    plain: String,
    tls: String,
    /// The first bytes of a handshake of TLS.
    hello: Vec<u8>,
    _folder: tempfile::TempDir,
}

fn start() -> Hosts {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(path("server.pem"), format!("{}{}", signing_key.serialize_pem(), cert.pem())).unwrap();
    std::fs::write(path("keys.json"), r#"{"keys":[]}"#).unwrap();
    let jaas = "org.apache.kafka.common.security.plain.PlainLoginModule required user_alice=\"alice-secret\";";
    let config = embedded::Config::default()
        .property("listeners", "SASL_PLAINTEXT://127.0.0.1:0,SASL_SSL://127.0.0.1:0")
        .property("security.inter.broker.protocol", "SASL_PLAINTEXT")
        .property("sasl.enabled.mechanisms", "PLAIN,SCRAM-SHA-256,OAUTHBEARER")
        .property("listener.name.sasl_plaintext.plain.sasl.jaas.config", jaas)
        .property("listener.name.sasl_ssl.plain.sasl.jaas.config", jaas)
        .property("sasl.oauthbearer.jwks.endpoint.url", format!("file://{}", path("keys.json")))
        .property("ssl.keystore.type", "PEM")
        .property("ssl.keystore.location", path("server.pem"))
        .property("sasl.server.max.receive.size", RECEIVE_SIZE.to_string())
        .property("connections.max.idle.ms", IDLE.as_millis().to_string())
        .property("connection.failed.authentication.delay.ms", "0")
        .scram_user(AddScram::parse("SCRAM-SHA-256=[name=carol,password=carol-secret]").unwrap());
    let broker = embedded::Broker::start(config).unwrap();
    let (plain, tls) = broker.bootstrap_servers().split_once(',').unwrap();
    let (plain, tls) = (plain.to_owned(), tls.to_owned());
    let client = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let mut hello = Vec::new();
    let name = ServerName::try_from("localhost").unwrap();
    ClientConnection::new(Arc::new(client), name).unwrap().write_tls(&mut hello).unwrap();
    Hosts { broker, plain, tls, hello, _folder: folder }
}

fn handshake(mechanism: &str) -> SaslHandshakeRequest {
    SaslHandshakeRequest { mechanism: mechanism.to_owned() }
}

fn message(bytes: &[u8]) -> SaslAuthenticateRequest {
    SaslAuthenticateRequest { auth_bytes: bytes.to_vec().into(), ..Default::default() }
}

fn versions() -> ApiVersionsRequest {
    let name = || "test".to_owned();
    ApiVersionsRequest { client_software_name: name(), client_software_version: name(), ..Default::default() }
}

/// What carol says when she is let in.
fn carols_messages(hosts: &Hosts) -> [Vec<u8>; 2] {
    let mut client = Client::connect_to(&hosts.plain);
    let mut carol = ScramClient::new(Hash::Sha256, "carol".to_owned(), "carol-secret".into(), "nonce".to_owned());
    client.call(1, &handshake("SCRAM-SHA-256"));
    let first = carol.first().unwrap();
    let challenge = client.call(2, &message(&first)).auth_bytes;
    let proof = carol.evaluate(&challenge).unwrap().unwrap();
    assert_eq!(client.call(2, &message(&proof)).error_code, 0);
    [first, proof]
}

fn is_served(hosts: &Hosts) -> bool {
    let mut client = Client::connect_to(&hosts.plain);
    client.call(1, &handshake("PLAIN"));
    client.call(2, &message(b"\0alice\0alice-secret")).error_code == 0
        && client.call(12, &MetadataRequest { topics: None, ..Default::default() }).brokers.len() == 1
}

/// What of this process is in memory, bytes.
fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// What comes until the broker closes. A reset is an end, too.
fn rest(stream: &mut TcpStream) -> usize {
    let mut answers = Vec::new();
    if let Err(error) = stream.read_to_end(&mut answers) {
        assert!(!matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "it is held open");
    }
    answers.len()
}

/// Whole requests in any order, none of which lets anybody in.
fn wrong_states(hosts: &Hosts, random: &mut fastrand::Rng, proof: &[u8]) {
    let mut client = Client::connect_to(&hosts.plain);
    for id in 1..=random.i32(2..8) {
        let bytes = match random.u8(0..9) {
            0 => encode(id, 3, &versions()),
            1 => encode(id, random.i16(0..2), &handshake("PLAIN")),
            2 => encode(id, random.i16(0..2), &handshake("SCRAM-SHA-256")),
            3 => encode(id, random.i16(0..2), &handshake("OAUTHBEARER")),
            4 => encode(id, 1, &handshake("GSSAPI")),
            5 => encode(id, 2, &message(b"\0alice\0wrong")),
            6 => encode(id, 2, &message(proof)),
            7 => encode(id, 2, &message(b"\x01")),
            _ => encode(id, 12, &MetadataRequest { topics: None, ..Default::default() }),
        };
        // The broker may have closed the connection already.
        client.stream.write_all(&bytes).ok();
    }
    let metadata = encode(99, 12, &MetadataRequest { topics: None, ..Default::default() });
    client.stream.write_all(&metadata).ok();
    client.stream.shutdown(Shutdown::Write).ok();
    while let Some(answer) = client.receive_frame() {
        assert_ne!(answer.first_chunk::<4>(), Some(&99_i32.to_be_bytes()), "somebody is let in");
    }
}

/// What carol has said, again.
fn replay(hosts: &Hosts, messages: &[Vec<u8>; 2]) {
    let mut client = Client::connect_to(&hosts.plain);
    client.call(1, &handshake("SCRAM-SHA-256"));
    let challenge = client.call(2, &message(&messages[0]));
    assert_eq!(challenge.error_code, 0, "who has said it before is not told apart");
    let SaslAuthenticateResponse { error_code, .. } = client.call(2, &message(&messages[1]));
    assert_eq!(error_code, ErrorCode::SaslAuthenticationFailed.code());
}

fn oversized(hosts: &Hosts, random: &mut fastrand::Rng) {
    let mut client = Client::connect_to(&hosts.plain);
    client.call(1, &handshake("OAUTHBEARER"));
    let length = random.usize(1..2 * RECEIVE_SIZE);
    let token: String = (0..length).map(|_| random.alphanumeric()).collect();
    let bytes = encode(2, 2, &message(format!("n,,\x01auth=Bearer {token}\x01\x01").as_bytes()));
    let is_read = bytes.len() - 4 <= RECEIVE_SIZE;
    client.stream.write_all(&bytes).ok();
    let answer = client.receive_frame();
    assert_eq!(answer.is_some(), is_read, "{} bytes", bytes.len());
}

/// A handshake of TLS that is cut.
fn cut_hello(hosts: &Hosts, random: &mut fastrand::Rng) -> TcpStream {
    let mut stream = TcpStream::connect(&hosts.tls).unwrap();
    stream.write_all(&hosts.hello[..random.usize(0..hosts.hello.len())]).unwrap();
    stream
}

/// The beginning of an authentication, and then nothing.
fn slow(hosts: &Hosts, random: &mut fastrand::Rng) -> TcpStream {
    let mut stream = TcpStream::connect(&hosts.plain).unwrap();
    let mut bytes = encode(1, 1, &handshake("SCRAM-SHA-256"));
    bytes.extend(encode(2, 2, &message(b"n,,n=carol,r=nonce")));
    for byte in &bytes[..random.usize(0..bytes.len())] {
        stream.write_all(&[*byte]).unwrap();
    }
    stream
}

/// Asks for what is answered before anybody is let in, and reads nothing.
fn never_reading(hosts: &Hosts) -> TcpStream {
    let mut stream = TcpStream::connect(&hosts.plain).unwrap();
    stream.set_nonblocking(true).unwrap();
    let mut one = encode(1, 3, &versions());
    // A version that is not served is answered, and may be followed by another.
    one[7] = 99;
    let many = one.repeat(64);
    // Until the sockets are full, or the broker has had enough.
    for _ in 0..4096 {
        if stream.write_all(&many).is_err() {
            break;
        }
    }
    stream.set_nonblocking(false).unwrap();
    stream
}

#[test]
fn hostile_handshakes_of_every_kind_do_no_harm() {
    let hosts = start();
    let mut random = fastrand::Rng::with_seed(20_261_201);
    let said = carols_messages(&hosts);
    let before = resident_bytes();
    let mut held: Vec<TcpStream> = Vec::new();
    for number in 0..TRIES {
        match random.u8(0..6) {
            0 => wrong_states(&hosts, &mut random, &said[1]),
            1 => replay(&hosts, &said),
            2 => oversized(&hosts, &mut random),
            3 => held.push(cut_hello(&hosts, &mut random)),
            4 => held.push(slow(&hosts, &mut random)),
            _ if number % 8 == 0 => held.push(never_reading(&hosts)),
            _ => {}
        }
        if held.len() > HELD {
            held.swap_remove(random.usize(0..held.len()));
        }
        if number % 100 == 0 {
            assert!(is_served(&hosts), "while {} others are held open", held.len());
        }
    }
    // What both ends' sockets hold is not this process's; what the broker keeps of each is little.
    let more = resident_bytes().saturating_sub(before);
    assert!(more < 64 << 20, "{more} bytes more");
    for mut stream in held {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        rest(&mut stream);
    }
    assert!(is_served(&hosts));
    drop(hosts.broker);
}
