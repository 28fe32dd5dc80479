//! Who may come in by SASL, and who not, on a listener that asks.

#![allow(clippy::unwrap_used, reason = "a failure of a helper fails its test")]

mod support;

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use support::Client;
use vltava_broker::{AddScram, BrokerConfig, embedded};
use vltava_protocol::ErrorCode;
use vltava_protocol::messages::alter_user_scram_credentials_request::ScramCredentialDeletion;
use vltava_protocol::messages::{
    AlterUserScramCredentialsRequest, ApiVersionsRequest, MetadataRequest, SaslAuthenticateRequest,
    SaslAuthenticateResponse, SaslHandshakeRequest, SaslHandshakeResponse,
};
use vltava_security::sasl::scram::{Hash, ScramClient};
use vltava_security::sasl::{PlainClient, SaslClient};

/// Connections of [`hostile_handshakes_do_no_harm`].
const HOSTILE_CONNECTIONS: u64 = 1000;

fn config() -> embedded::Config {
    let jaas = "org.apache.kafka.common.security.plain.PlainLoginModule required user_alice=\"alice-secret\";";
    embedded::Config::default()
        .property("listeners", "SASL_PLAINTEXT://127.0.0.1:0")
        .property("security.inter.broker.protocol", "SASL_PLAINTEXT")
        .property("sasl.enabled.mechanisms", "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512")
        .property("listener.name.sasl_plaintext.plain.sasl.jaas.config", jaas)
        .scram_user(AddScram::parse("SCRAM-SHA-256=[name=carol,password=carol-secret]").unwrap())
        .scram_user(AddScram::parse("SCRAM-SHA-512=[name=carol,password=carol-512,iterations=8192]").unwrap())
}

fn broker(config: embedded::Config) -> embedded::Broker {
    embedded::Broker::start(config).unwrap()
}

fn handshake(client: &mut Client, mechanism: &str) -> SaslHandshakeResponse {
    client.call(1, &SaslHandshakeRequest { mechanism: mechanism.to_owned() })
}

fn message(bytes: &[u8]) -> SaslAuthenticateRequest {
    SaslAuthenticateRequest { auth_bytes: bytes.to_vec().into(), ..Default::default() }
}

/// The whole exchange of a client; the broker's last answer.
fn authenticate(client: &mut Client, mut own: SaslClient) -> SaslAuthenticateResponse {
    assert_eq!(handshake(client, own.mechanism().name()).error_code, 0);
    let mut next = own.first().unwrap();
    loop {
        let response = client.call(2, &message(&next));
        if response.error_code != 0 {
            return response;
        }
        match own.evaluate(&response.auth_bytes).unwrap() {
            Some(more) => next = more,
            None => {
                assert!(own.is_complete());
                return response;
            }
        }
    }
}

fn plain(username: &str, password: &str) -> SaslClient {
    SaslClient::Plain(PlainClient::new(username.to_owned(), password.into()))
}

fn scram(hash: Hash, username: &str, password: &str) -> SaslClient {
    let nonce = vltava_security::sasl::nonce().unwrap();
    SaslClient::Scram(ScramClient::new(hash, username.to_owned(), password.into(), nonce))
}

fn all_topics() -> MetadataRequest {
    MetadataRequest { topics: None, ..Default::default() }
}

fn is_served(client: &mut Client) -> bool {
    client.send(12, &all_topics());
    client.receive_if_open::<MetadataRequest>(12).is_some_and(|response| response.brokers.len() == 1)
}

#[test]
fn each_mechanism_lets_in_who_has_the_password() {
    let broker = broker(config());
    for own in [
        plain("alice", "alice-secret"),
        scram(Hash::Sha256, "carol", "carol-secret"),
        scram(Hash::Sha512, "carol", "carol-512"),
    ] {
        let mut client = Client::connect(&broker);
        assert_eq!(client.call(3, &versions()).error_code, 0);
        let mechanism = own.mechanism();
        let response = authenticate(&mut client, own);
        assert_eq!((response.error_code, response.session_lifetime_ms), (0, 0), "{mechanism}");
        assert!(is_served(&mut client), "{mechanism}");
        // Who is let in stays in, and need not begin anew.
        assert_eq!(handshake(&mut client, "PLAIN").error_code, ErrorCode::IllegalSaslState.code());
        let again = client.call(2, &message(b"\0alice\0alice-secret"));
        assert_eq!(again.error_code, ErrorCode::IllegalSaslState.code());
        assert!(is_served(&mut client), "{mechanism}");
    }
}

fn versions() -> ApiVersionsRequest {
    ApiVersionsRequest {
        client_software_name: "test".to_owned(),
        client_software_version: "1".to_owned(),
        ..Default::default()
    }
}

#[test]
fn who_has_not_is_told_so_after_a_while_and_the_connection_ends() {
    let delay = Duration::from_millis(150);
    let broker = broker(config().property("connection.failed.authentication.delay.ms", "150"));
    let general = |mechanism: &str| {
        format!(
            "Authentication failed during authentication due to invalid credentials with SASL mechanism {mechanism}"
        )
    };
    for (own, expected) in [
        (plain("alice", "wrong"), "Authentication failed: Invalid username or password".to_owned()),
        (plain("nobody", "alice-secret"), "Authentication failed: Invalid username or password".to_owned()),
        (scram(Hash::Sha256, "carol", "wrong"), general("SCRAM-SHA-256")),
        (scram(Hash::Sha512, "nobody", "carol-512"), general("SCRAM-SHA-512")),
    ] {
        let mut client = Client::connect(&broker);
        let begun = Instant::now();
        let response = authenticate(&mut client, own);
        assert!(begun.elapsed() >= delay);
        assert_eq!(response.error_code, ErrorCode::SaslAuthenticationFailed.code());
        assert_eq!(response.error_message, Some(expected));
        assert!(!is_served(&mut client));
    }
    let mut client = Client::connect(&broker);
    let response = handshake(&mut client, "OAUTHBEARER");
    assert_eq!(response.error_code, ErrorCode::UnsupportedSaslMechanism.code());
    assert_eq!(response.mechanisms, ["PLAIN", "SCRAM-SHA-512", "SCRAM-SHA-256"]);
    assert!(client.receive_frame().is_none());
}

#[test]
fn whoever_says_nothing_of_himself_is_not_served() {
    let broker = broker(config());
    assert!(!is_served(&mut Client::connect(&broker)));
    let mut client = Client::connect(&broker);
    client.call(3, &versions());
    assert!(!is_served(&mut client));
}

#[test]
fn a_long_message_of_who_is_not_known_is_not_read() {
    let broker = broker(config().property("sasl.server.max.receive.size", "1000"));
    let mut client = Client::connect(&broker);
    client.stream.write_all(&1001_u32.to_be_bytes()).unwrap();
    assert_eq!(client.stream.read(&mut [0]).unwrap(), 0);
    // Who is let in may send as much as ever.
    let mut client = Client::connect(&broker);
    authenticate(&mut client, plain("alice", "alice-secret"));
    client.create_topic("t", 1, &[]);
    assert_eq!(client.produce("t", 0, &["x".repeat(5000).as_str()]).error_code, 0);
}

#[test]
fn who_takes_too_long_to_say_who_he_is_is_not_waited_for() {
    let broker = broker(config().property("connections.max.idle.ms", "300"));
    let mut slow = Client::connect(&broker);
    slow.stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    // A byte now and then is not idle, and not progress.
    let begun = Instant::now();
    let mut is_open = slow.stream.write_all(&1000_u32.to_be_bytes()).is_ok();
    while is_open {
        assert!(begun.elapsed() < support::PATIENCE);
        is_open = slow.stream.write_all(b"x").is_ok() && !matches!(slow.stream.read(&mut [0]), Ok(0));
    }
    assert!(begun.elapsed() >= Duration::from_millis(300));
}

#[test]
fn a_session_that_ends_is_begun_again_or_the_connection_is_closed() {
    let broker = broker(config().property("connections.max.reauth.ms", "1500"));
    let mut client = Client::connect(&broker);
    let begun = Instant::now();
    let response = authenticate(&mut client, scram(Hash::Sha256, "carol", "carol-secret"));
    assert_eq!(response.session_lifetime_ms, 1500);
    while begun.elapsed() < Duration::from_millis(1200) {
        assert!(is_served(&mut client));
    }
    let again = authenticate(&mut client, scram(Hash::Sha256, "carol", "carol-secret"));
    assert_eq!((again.error_code, again.session_lifetime_ms), (0, 1500));
    let begun_again = Instant::now();
    while is_served(&mut client) {
        assert!(begun_again.elapsed() < support::PATIENCE);
    }
    assert!(begun_again.elapsed() >= Duration::from_millis(1400));
}

#[test]
fn a_user_that_is_deleted_comes_in_no_more() {
    let broker = broker(config());
    let mut carol = Client::connect(&broker);
    authenticate(&mut carol, scram(Hash::Sha256, "carol", "carol-secret"));
    let deletion = ScramCredentialDeletion { name: "carol".to_owned(), mechanism: 1, ..Default::default() };
    let request = AlterUserScramCredentialsRequest { deletions: vec![deletion], ..Default::default() };
    let response = carol.call(0, &request);
    assert_eq!(response.results.first().map(|result| result.error_code), Some(0));
    // Who is in stays in, and others do not come.
    assert!(is_served(&mut carol));
    let mut client = Client::connect(&broker);
    let refused = authenticate(&mut client, scram(Hash::Sha256, "carol", "carol-secret"));
    assert_eq!(refused.error_code, ErrorCode::SaslAuthenticationFailed.code());
    let mut other = Client::connect(&broker);
    assert_eq!(authenticate(&mut other, scram(Hash::Sha512, "carol", "carol-512")).error_code, 0);
}

#[test]
fn users_outlive_the_broker_and_keep_their_passwords() {
    let dir = tempfile::tempdir().unwrap();
    drop(broker(config().dir(dir.path())));
    let other = AddScram::parse("SCRAM-SHA-256=[name=carol,password=another]").unwrap();
    let broker = broker(config().dir(dir.path()).scram_user(other));
    let mut client = Client::connect(&broker);
    assert_eq!(authenticate(&mut client, scram(Hash::Sha256, "carol", "carol-secret")).error_code, 0);
}

#[test]
fn a_listener_that_asks_stands_beside_one_that_does_not() {
    let map = "PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT";
    let broker = broker(
        config()
            .property("listeners", "PLAINTEXT://127.0.0.1:0,SASL_PLAINTEXT://127.0.0.1:0")
            .property("listener.security.protocol.map", map),
    );
    let servers: Vec<&str> = broker.bootstrap_servers().split(',').collect();
    let [open, asking] = servers.as_slice() else { unreachable!("two listeners") };
    let mut client = Client::connect_to(open);
    assert!(is_served(&mut client));
    assert_eq!(handshake(&mut client, "PLAIN").error_code, ErrorCode::IllegalSaslState.code());
    assert!(!is_served(&mut Client::connect_to(asking)));
}

#[test]
fn what_cannot_be_honoured_refuses_to_start() {
    let error = BrokerConfig::from_properties([
        ("listeners", "SASL_PLAINTEXT://127.0.0.1:0"),
        ("security.inter.broker.protocol", "SASL_PLAINTEXT"),
    ])
    .unwrap_err();
    assert!(error.to_string().contains("Kerberos is not supported"), "{error}");
}

#[test]
fn hostile_handshakes_do_no_harm() {
    let broker = broker(config().property("connection.failed.authentication.delay.ms", "0"));
    let mut random = fastrand::Rng::with_seed(20_261_201);
    for round in 0..HOSTILE_CONNECTIONS {
        let mut client = Client::connect(&broker);
        let mut bytes = match random.u8(0..4) {
            0 => support::encode(1, 1, &SaslHandshakeRequest { mechanism: "PLAIN".to_owned() }),
            1 => support::encode(1, 2, &message(b"\0alice\0alice-secret")),
            2 => support::encode(1, 0, &SaslHandshakeRequest { mechanism: "SCRAM-SHA-256".to_owned() }),
            _ => support::encode(1, 3, &versions()),
        };
        // Damaged behind its length, or followed by what does not belong there.
        match random.bool() {
            true => {
                let at = random.usize(4..bytes.len());
                bytes[at] = random.u8(..);
            }
            false => {
                let tail: Vec<u8> = (0..random.usize(4..60)).map(|_| random.u8(..)).collect();
                bytes.extend(u32::try_from(tail.len()).unwrap().to_be_bytes());
                bytes.extend(tail);
            }
        }
        client.stream.write_all(&bytes).unwrap();
        if random.bool() {
            client.stream.shutdown(std::net::Shutdown::Write).unwrap();
            let mut answers = Vec::new();
            // A reset is an end, too.
            let _ = client.stream.read_to_end(&mut answers);
            assert!(answers.len() < 4096, "round {round}");
        }
    }
    let mut client = Client::connect(&broker);
    authenticate(&mut client, plain("alice", "alice-secret"));
    assert!(is_served(&mut client));
}
