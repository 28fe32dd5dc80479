//! Tokens on a listener, and the provider whose keys have signed them.

#![cfg(feature = "oauth")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failure of a helper fails its test")]

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{CertifiedKey, KeyPair, PKCS_ED25519, PublicKeyData, SigningKey, generate_simple_self_signed};
use support::{Client, PATIENCE};
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};
use vltava_broker::embedded;
use vltava_protocol::ErrorCode;
use vltava_protocol::messages::{
    MetadataRequest, SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest,
};

const URL: &str = "sasl.oauthbearer.jwks.endpoint.url";
const BACKOFF_MAX: &str = "sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms";
const INVALID: &str = r#"{"status":"invalid_token"}"#;

/// A key of the provider's.
struct Key {
    id: &'static str,
    pair: KeyPair,
}

impl Key {
    fn new(id: &'static str) -> Self {
        Self { id, pair: KeyPair::generate_for(&PKCS_ED25519).unwrap() }
    }

    fn jwk(&self) -> String {
        let x = URL_SAFE_NO_PAD.encode(self.pair.der_bytes());
        format!(r#"{{"kty":"OKP","crv":"Ed25519","kid":"{}","x":"{x}"}}"#, self.id)
    }

    /// A token for `sub` that lasts so many seconds.
    fn token(&self, sub: &str, seconds: i64) -> String {
        let now = now();
        let claims = format!(
            r#"{{"sub":"{sub}","iss":"https://idp","aud":["kafka"],"iat":{},"exp":{}}}"#,
            now - 3600,
            now + seconds
        );
        let header = format!(r#"{{"alg":"EdDSA","kid":"{}"}}"#, self.id);
        let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(self.pair.sign(message.as_bytes()).unwrap()))
    }
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().try_into().unwrap()
}

fn set(keys: &[&Key]) -> String {
    let keys: Vec<String> = keys.iter().map(|key| key.jwk()).collect();
    format!(r#"{{"keys":[{}]}}"#, keys.join(","))
}

/// What the provider does with who asks.
enum Answer {
    Text(String),
    Status(&'static str),
    /// Takes the question, and is silent.
    Silence(Vec<Box<dyn Connection>>),
}

trait Connection: Read + Write + Send {}

impl<T: Read + Write + Send> Connection for T {}

/// A provider that is asked for its keys.
struct Provider {
    address: SocketAddr,
    state: Arc<Mutex<(usize, Answer)>>,
}

impl Provider {
    fn start(answer: Answer) -> Self {
        Self::listen(TcpListener::bind("127.0.0.1:0").unwrap(), answer)
    }

    /// One that speaks TLS.
    fn secured(certificate: &CertifiedKey<KeyPair>, answer: Answer) -> Self {
        let key = PrivateKeyDer::try_from(certificate.signing_key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.cert.der().clone()], key);
        let config = Arc::new(config.unwrap());
        let secure = move |stream| -> Box<dyn Connection> {
            Box::new(StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), stream))
        };
        Self::serve(TcpListener::bind("127.0.0.1:0").unwrap(), answer, secure)
    }

    fn listen(listener: TcpListener, answer: Answer) -> Self {
        Self::serve(listener, answer, |stream| Box::new(stream))
    }

    fn serve(
        listener: TcpListener,
        answer: Answer,
        connection: impl Fn(TcpStream) -> Box<dyn Connection> + Send + 'static,
    ) -> Self {
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new((0, answer)));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                let mut stream = connection(stream);
                let mut request = Vec::new();
                let mut byte = [0];
                while !request.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
                    request.push(byte[0]);
                }
                // Who does not trust it asks nothing.
                if request.is_empty() {
                    continue;
                }
                let mut state = shared.lock().unwrap();
                state.0 += 1;
                let (status, text) = match &mut state.1 {
                    Answer::Text(text) => ("200 OK", text.clone()),
                    Answer::Status(status) => (*status, String::new()),
                    Answer::Silence(held) => {
                        held.push(stream);
                        continue;
                    }
                };
                let length = text.len();
                let answer =
                    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{text}");
                stream.write_all(answer.as_bytes()).ok();
            }
        });
        Self { address, state }
    }

    fn url(&self) -> String {
        format!("http://{}/keys", self.address)
    }

    fn asked(&self) -> usize {
        self.state.lock().unwrap().0
    }

    fn now_answers(&self, answer: Answer) {
        self.state.lock().unwrap().1 = answer;
    }
}

fn config(url: &str) -> embedded::Config {
    embedded::Config::default()
        .property("listeners", "SASL_PLAINTEXT://127.0.0.1:0")
        .property("security.inter.broker.protocol", "SASL_PLAINTEXT")
        .property("sasl.enabled.mechanisms", "OAUTHBEARER")
        .property("connection.failed.authentication.delay.ms", "0")
        .property("sasl.oauthbearer.expected.audience", "kafka")
        .property("sasl.oauthbearer.expected.issuer", "https://idp")
        .property(URL, url)
}

fn start(config: embedded::Config) -> embedded::Broker {
    embedded::Broker::start(config).unwrap()
}

fn message(bytes: &[u8]) -> SaslAuthenticateRequest {
    SaslAuthenticateRequest { auth_bytes: bytes.to_vec().into(), ..Default::default() }
}

/// Shows a token; the broker's last answer, with that to a refusal before it.
fn show(client: &mut Client, token: &str) -> (String, SaslAuthenticateResponse) {
    let handshake = SaslHandshakeRequest { mechanism: "OAUTHBEARER".to_owned() };
    assert_eq!(client.call(1, &handshake).error_code, 0);
    let response = client.call(2, &message(format!("n,,\x01auth=Bearer {token}\x01\x01").as_bytes()));
    if response.error_code != 0 || response.auth_bytes.is_empty() {
        return (String::new(), response);
    }
    let told = String::from_utf8(response.auth_bytes.to_vec()).unwrap();
    (told, client.call(2, &message(b"\x01")))
}

fn is_let_in(broker: &embedded::Broker, token: &str) -> bool {
    let (told, response) = show(&mut Client::connect(broker), token);
    assert!(told.is_empty() || told == INVALID, "{told}");
    response.error_code == 0
}

fn is_served(client: &mut Client) -> bool {
    client.send(12, &MetadataRequest { topics: None, ..Default::default() });
    client.receive_if_open::<MetadataRequest>(12).is_some()
}

fn await_that(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn a_token_says_who_it_is_and_for_how_long() {
    let key = Key::new("one");
    let provider = Provider::start(Answer::Text(set(&[&key])));
    let broker = start(config(&provider.url()));
    let mut client = Client::connect(&broker);
    let (_, response) = show(&mut client, &key.token("alice", 60));
    assert_eq!(response.error_code, 0);
    assert!((55_000..=60_000).contains(&response.session_lifetime_ms), "{}", response.session_lifetime_ms);
    assert!(is_served(&mut client));
    // Again, as the same one and as another.
    let (_, again) = show(&mut client, &key.token("alice", 120));
    assert!(again.session_lifetime_ms > 110_000, "{}", again.session_lifetime_ms);
    assert!(is_served(&mut client));
    let mut other = Client::connect(&broker);
    show(&mut other, &key.token("alice", 60));
    let (_, refused) = show(&mut other, &key.token("bob", 60));
    let why = "Cannot change principals during re-authentication from User.alice: User.bob";
    assert_eq!(refused.error_message.as_deref(), Some(why));
    assert_eq!(provider.asked(), 1, "the keys are asked for once");
}

#[test]
fn the_shorter_of_the_tokens_and_the_brokers_time_is_the_sessions() {
    let key = Key::new("one");
    let provider = Provider::start(Answer::Text(set(&[&key])));
    let broker = start(config(&provider.url()).property("connections.max.reauth.ms", "30000"));
    let lifetime = |seconds| show(&mut Client::connect(&broker), &key.token("alice", seconds)).1.session_lifetime_ms;
    assert_eq!(lifetime(60), 30_000);
    assert!((5000..=10_000).contains(&lifetime(10)));
    // Who has a token that is good for the difference of clocks only has nothing but its first moment.
    let mut late = Client::connect(&broker);
    assert_eq!(show(&mut late, &key.token("alice", -10)).1.session_lifetime_ms, 0);
    let mut short = Client::connect(&broker);
    assert_eq!(show(&mut short, &key.token("alice", 1)).1.error_code, 0);
    await_that("the session ends with the token", || !is_served(&mut short));
}

#[test]
fn who_has_no_good_token_is_told_so_in_two_rounds() {
    let (key, other) = (Key::new("one"), Key::new("one"));
    let provider = Provider::start(Answer::Text(set(&[&key])));
    let broker = start(config(&provider.url()));
    let good = key.token("alice", 60);
    let unsigned = format!("{}.{}.", URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#), good.split('.').nth(1).unwrap());
    for token in [key.token("alice", -31), other.token("alice", 60), key.token("", 60), unsigned, "x".to_owned()] {
        let mut client = Client::connect(&broker);
        let (told, response) = show(&mut client, &token);
        assert_eq!(told, INVALID);
        assert_eq!(response.error_code, ErrorCode::SaslAuthenticationFailed.code());
        assert_eq!(response.error_message.as_deref(), Some(INVALID));
        assert!(!is_served(&mut client), "the connection is over");
    }
    let mut long = Client::connect(&broker);
    let handshake = SaslHandshakeRequest { mechanism: "OAUTHBEARER".to_owned() };
    assert_eq!(long.call(1, &handshake).error_code, 0);
    let longer = format!("n,,\x01auth=Bearer {}\x01\x01", "x".repeat(524_288));
    long.stream.write_all(&support::encode(2, 2, &message(longer.as_bytes()))).ok();
    assert!(long.receive_frame().is_none(), "longer than sasl.server.max.receive.size");
    assert!(is_let_in(&broker, &good));
}

#[test]
fn keys_are_read_anew_when_a_token_names_another() {
    let (old, new) = (Key::new("old"), Key::new("new"));
    let provider = Provider::start(Answer::Text(set(&[&old])));
    let broker = start(config(&provider.url()));
    assert!(is_let_in(&broker, &old.token("alice", 60)));
    provider.now_answers(Answer::Text(set(&[&new])));
    assert!(!is_let_in(&broker, &new.token("alice", 60)), "nobody waits for the provider");
    await_that("the new key is read", || is_let_in(&broker, &new.token("alice", 60)));
    assert!(!is_let_in(&broker, &old.token("alice", 60)), "the old one is gone");
    let asked = provider.asked();
    // Who makes up keys does not have the provider asked again and again.
    for _ in 0..200 {
        assert!(!is_let_in(&broker, &Key::new("made-up").token("alice", 60)));
    }
    assert!(provider.asked() <= asked + 2, "{}", provider.asked());
}

#[test]
fn a_provider_that_is_away_lets_nobody_in_and_is_asked_again() {
    let key = Key::new("one");
    let away = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = away.local_addr().unwrap();
    drop(away);
    let broker = start(
        config(&format!("http://{address}/keys"))
            .property("sasl.oauthbearer.jwks.endpoint.retry.backoff.ms", "10")
            .property(BACKOFF_MAX, "100"),
    );
    assert!(!is_let_in(&broker, &key.token("alice", 60)));
    let provider = Provider::listen(TcpListener::bind(address).unwrap(), Answer::Status("503 Service Unavailable"));
    await_that("it is asked", || provider.asked() > 0);
    assert!(!is_let_in(&broker, &key.token("alice", 60)));
    provider.now_answers(Answer::Text(set(&[&key])));
    await_that("the keys come", || is_let_in(&broker, &key.token("alice", 60)));
}

#[test]
fn nobody_waits_for_a_provider_that_is_silent() {
    let key = Key::new("one");
    let provider = Provider::start(Answer::Text(set(&[&key])));
    let broker = start(config(&provider.url()));
    provider.now_answers(Answer::Silence(Vec::new()));
    assert!(!is_let_in(&broker, &Key::new("two").token("alice", 60)));
    await_that("it is asked, and silent", || provider.asked() == 2);
    for _ in 0..20 {
        assert!(is_let_in(&broker, &key.token("alice", 60)));
        assert!(!is_let_in(&broker, &Key::new("three").token("alice", 60)));
    }
    let begun = Instant::now();
    drop(broker);
    assert!(begun.elapsed() < Duration::from_secs(15), "it stops while it waits");
}

#[test]
fn keys_may_lie_in_a_file_that_changes() {
    let (old, new) = (Key::new("old"), Key::new("newer"));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("keys.json");
    std::fs::write(&file, set(&[&old])).unwrap();
    let broker = start(config(&format!("file://{}", file.display())));
    assert!(is_let_in(&broker, &old.token("alice", 60)));
    assert!(!is_let_in(&broker, &new.token("alice", 60)));
    std::fs::write(&file, "half of").unwrap();
    assert!(is_let_in(&broker, &old.token("alice", 60)), "what cannot be read changes nothing");
    std::fs::write(&file, set(&[&new])).unwrap();
    assert!(is_let_in(&broker, &new.token("alice", 60)));
    assert!(!is_let_in(&broker, &old.token("alice", 60)));
    let missing = embedded::Broker::start(config("file:///no/such/keys.json")).unwrap_err().to_string();
    assert!(missing.contains(URL) && missing.contains("cannot be read"), "{missing}");
}

#[test]
fn a_provider_is_trusted_by_the_options_of_the_login_module() {
    let key = Key::new("one");
    let certificate = generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let provider = Provider::secured(&certificate, Answer::Text(set(&[&key])));
    let url = provider.url().replace("http:", "https:");
    let folder = tempfile::tempdir().unwrap();
    let broker = |certificate: &CertifiedKey<KeyPair>| {
        let file = folder.path().join("trusted.pem");
        std::fs::write(&file, certificate.cert.pem()).unwrap();
        let jaas = format!(
            "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required \
             ssl.truststore.type=\"PEM\" ssl.truststore.location=\"{}\";",
            file.display()
        );
        let own = "listener.name.sasl_plaintext.oauthbearer.sasl.jaas.config";
        start(config(&url).property(own, jaas).property(BACKOFF_MAX, "0"))
    };
    assert!(is_let_in(&broker(&certificate), &key.token("alice", 60)));
    let asked = provider.asked();
    let other = generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    assert!(!is_let_in(&broker(&other), &key.token("alice", 60)));
    assert_eq!(provider.asked(), asked);
}

#[test]
fn who_asks_for_unsigned_tokens_has_them() {
    let jaas = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required \
                unsecuredValidatorRequiredScope=\"kafka\";";
    let broker = start(
        embedded::Config::default()
            .property("listeners", "SASL_PLAINTEXT://127.0.0.1:0")
            .property("security.inter.broker.protocol", "SASL_PLAINTEXT")
            .property("sasl.enabled.mechanisms", "OAUTHBEARER")
            .property("listener.name.sasl_plaintext.oauthbearer.sasl.jaas.config", jaas),
    );
    let token = |scope: &str| {
        let claims = format!(r#"{{"sub":"alice","scope":"{scope}","exp":{}}}"#, now() + 60);
        format!("{}.{}.", URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#), URL_SAFE_NO_PAD.encode(claims))
    };
    assert_eq!(show(&mut Client::connect(&broker), &token("kafka")).1.error_code, 0);
    let (told, _) = show(&mut Client::connect(&broker), &token("other"));
    assert_eq!(told, r#"{"status":"insufficient_scope", "scope":"[kafka]"}"#);
}
