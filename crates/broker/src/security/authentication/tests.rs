//! Conversations with a connection that asks who is there.

use vltava_protocol::frame::{LENGTH_SIZE, encode_request};
use vltava_protocol::messages::{MetadataRequest, ResponseHeader};
use vltava_protocol::wire::Request;
use vltava_security::sasl::scram::ScramClient;

use super::*;
use crate::BrokerConfig;
use crate::controller::scram;
use crate::metadata::image::MetadataImage;

const ANSWERED: &str = "an answer";

/// A connection, and when its frames come.
struct Talk {
    authentication: Authentication,
    image: MetadataImage,
    now: Now,
}

impl Talk {
    fn new(settings: &[(&str, &str)]) -> Self {
        let jaas = "org.apache.kafka.common.security.plain.PlainLoginModule required user_alice=\"alice-secret\" \
                    user_bob=\"bob-secret\";";
        let base = [
            ("listeners", "SASL_PLAINTEXT://127.0.0.1:0"),
            ("security.inter.broker.protocol", "SASL_PLAINTEXT"),
            ("sasl.enabled.mechanisms", "PLAIN,SCRAM-SHA-256"),
            ("listener.name.sasl_plaintext.plain.sasl.jaas.config", jaas),
        ];
        let config = BrokerConfig::from_properties(base.iter().chain(settings).copied()).unwrap();
        let credential = ScramCredential::of_password(Hash::Sha256, "carol-secret", vec![3; 24], 4096);
        let mut image = MetadataImage::default();
        image.replay(&scram::record("carol", Hash::Sha256, &credential)).unwrap();
        let listener = Arc::clone(config.sasl("SASL_PLAINTEXT").unwrap());
        let now = Now { at: Instant::now(), wall_clock_ms: 1_000_000 };
        Self { authentication: Authentication::new(listener), image, now }
    }

    fn later(&mut self, ms: u64) {
        self.now.at += Duration::from_millis(ms);
        self.now.wall_clock_ms += i64::try_from(ms).unwrap();
    }

    fn frame(&mut self, frame: Bytes) -> Result<Step, Violation> {
        let known = KnownUsers {
            listener: self.authentication.listener(),
            scram: self.image.scram(),
            #[cfg(feature = "oauth")]
            tokens: None,
            #[cfg(feature = "oauth")]
            wall_clock_ms: self.now.wall_clock_ms,
        };
        self.authentication.take(frame, &known, self.now, || Ok("server-nonce".to_owned()))
    }

    fn send<R: Request>(&mut self, request: &R, version: i16) -> Result<Step, Violation> {
        self.frame(request_frame(request, version))
    }

    fn handshake(&mut self, mechanism: &str) -> Result<Step, Violation> {
        self.send(&SaslHandshakeRequest { mechanism: mechanism.to_owned() }, 1)
    }

    fn authenticate(&mut self, message: &[u8]) -> Result<Step, Violation> {
        let request = SaslAuthenticateRequest { auth_bytes: Bytes::copy_from_slice(message), ..Default::default() };
        self.send(&request, 2)
    }

    /// Lets alice in.
    fn log_in(&mut self) -> SaslAuthenticateResponse {
        self.handshake("PLAIN").unwrap();
        match self.authenticate(b"\0alice\0alice-secret").unwrap() {
            Step::Authenticated(reply, principal) => {
                assert_eq!(principal, KafkaPrincipal::user("alice"));
                answer::<SaslAuthenticateRequest>(reply, 2)
            }
            other => unreachable!("alice is let in: {other:?}"),
        }
    }
}

fn request_frame<R: Request>(request: &R, version: i16) -> Bytes {
    let chunks = encode_request(request, version, 7, Some("test")).unwrap();
    Bytes::from(chunks.concat()).slice(LENGTH_SIZE..)
}

fn answer<R: Request>(reply: Reply, version: i16) -> R::Response {
    let bytes = reply.parts.iter().flat_map(|part| match part {
        Records::Memory(bytes) => bytes.to_vec(),
        Records::File(_) => unreachable!("no records"),
    });
    let mut reader = Reader::new(bytes.collect::<Vec<u8>>().into());
    let header = ResponseHeader::decode(&mut reader, R::API_KEY.response_header_version(version)).unwrap();
    assert_eq!(header.correlation_id, 7);
    R::Response::decode(&mut reader, version).unwrap()
}

fn versions() -> ApiVersionsRequest {
    ApiVersionsRequest::default()
}

/// What a step is, without its bytes.
fn kind(step: Result<Step, Violation>) -> String {
    match step {
        Ok(Step::Pass(_)) => "passed".to_owned(),
        Ok(Step::Answer(_)) => ANSWERED.to_owned(),
        Ok(Step::Authenticated(_, principal)) => principal.to_string(),
        Ok(Step::Refuse(reply, why)) => format!("{}: {why}", if reply.is_some() { "refused" } else { "silence" }),
        Err(violation) => format!("closed: {violation}"),
    }
}

fn metadata() -> MetadataRequest {
    MetadataRequest::default()
}

#[test]
fn versions_handshake_and_messages_come_in_this_order() {
    let mut talk = Talk::new(&[]);
    assert_eq!(talk.authentication.max_receive_size(), Some(524_288));
    assert_eq!(kind(talk.send(&versions(), 3)), "passed");
    assert_eq!(kind(talk.handshake("PLAIN")), ANSWERED);
    assert_eq!(kind(talk.authenticate(b"\0alice\0alice-secret")), "User:alice");
    assert_eq!(talk.authentication.max_receive_size(), None);
    assert_eq!(kind(talk.send(&metadata(), 12)), "passed");
    // No session ends here: what begins another is a request like any other, and the handler refuses it.
    assert_eq!(kind(talk.handshake("PLAIN")), "passed");
}

#[test]
fn whatever_else_comes_before_ends_the_connection() {
    let closed = |api: &str| format!("closed: a request of {api}, and nobody has authenticated");
    assert_eq!(kind(Talk::new(&[]).send(&metadata(), 12)), closed("Metadata"));
    assert_eq!(kind(Talk::new(&[]).authenticate(b"\0alice\0alice-secret")), closed("SaslAuthenticate"));
    let mut twice = Talk::new(&[]);
    assert_eq!(kind(twice.send(&versions(), 3)), "passed");
    assert_eq!(kind(twice.send(&versions(), 3)), closed("ApiVersions"));
    // One that is told which versions there are asks again.
    let mut again = Talk::new(&[]);
    let mut unknown = request_frame(&versions(), 3).to_vec();
    unknown[3] = 99;
    assert_eq!(kind(again.frame(unknown.into())), "passed");
    assert_eq!(kind(again.send(&versions(), 3)), "passed");
    for frame in [&b""[..], b"\0", b"\0\x11\0\x09", b"GET / HTTP/1.1\r\n\r\n"] {
        assert!(kind(Talk::new(&[]).frame(Bytes::from_static(frame))).starts_with("closed: "));
    }
}

#[test]
fn between_the_messages_nothing_else_comes() {
    for (request, expected) in [
        (request_frame(&versions(), 3), "refused: unexpected request of ApiVersions during SASL authentication"),
        (
            request_frame(&SaslHandshakeRequest { mechanism: "PLAIN".to_owned() }, 1),
            "refused: unexpected request of SaslHandshake during SASL authentication",
        ),
        (request_frame(&metadata(), 12), "silence: unexpected request of Metadata during SASL authentication"),
    ] {
        let mut talk = Talk::new(&[]);
        talk.handshake("PLAIN").unwrap();
        assert_eq!(kind(talk.frame(request)), expected);
        assert_eq!(kind(talk.authenticate(b"\0alice\0alice-secret")), "closed: its authentication has failed before");
    }
}

#[test]
fn a_mechanism_that_is_not_enabled_is_refused_with_those_that_are() {
    for asked in ["SCRAM-SHA-512", "GSSAPI", "plain", ""] {
        let Step::Refuse(Some(reply), _) = Talk::new(&[]).handshake(asked).unwrap() else {
            unreachable!("{asked} is refused")
        };
        let response = answer::<SaslHandshakeRequest>(reply, 1);
        assert_eq!(response.error_code, ErrorCode::UnsupportedSaslMechanism.code());
        assert_eq!(response.mechanisms, ["PLAIN", "SCRAM-SHA-256"]);
    }
}

#[test]
fn who_is_refused_learns_no_more_than_kafkas_words() {
    let told = |talk: &mut Talk, message: &[u8]| match talk.authenticate(message).unwrap() {
        Step::Refuse(Some(reply), _) => {
            let response = answer::<SaslAuthenticateRequest>(reply, 2);
            assert_eq!(response.error_code, ErrorCode::SaslAuthenticationFailed.code());
            response.error_message.unwrap()
        }
        other => unreachable!("refused: {other:?}"),
    };
    let mut talk = Talk::new(&[]);
    talk.handshake("PLAIN").unwrap();
    assert_eq!(told(&mut talk, b"\0alice\0x"), "Authentication failed: Invalid username or password");
    let general =
        "Authentication failed during authentication due to invalid credentials with SASL mechanism SCRAM-SHA-256";
    let mut talk = Talk::new(&[]);
    talk.handshake("SCRAM-SHA-256").unwrap();
    assert_eq!(told(&mut talk, b"n,,n=nobody,r=x"), general);
    let mut talk = Talk::new(&[]);
    talk.handshake("SCRAM-SHA-256").unwrap();
    assert_eq!(kind(talk.authenticate(b"n,,n=carol,r=x")), ANSWERED);
    assert_eq!(told(&mut talk, b"c=biws,r=xserver-nonce,p=AAAA"), general);
}

#[test]
fn scram_takes_two_messages() {
    let mut talk = Talk::new(&[]);
    talk.handshake("SCRAM-SHA-256").unwrap();
    let mut client = ScramClient::new(Hash::Sha256, "carol".to_owned(), "carol-secret".into(), "nonce".to_owned());
    let Step::Answer(reply) = talk.authenticate(&client.first().unwrap()).unwrap() else { unreachable!("asked") };
    let asked = answer::<SaslAuthenticateRequest>(reply, 2);
    let proof = client.evaluate(&asked.auth_bytes).unwrap().unwrap();
    let Step::Authenticated(reply, principal) = talk.authenticate(&proof).unwrap() else { unreachable!("let in") };
    assert_eq!(principal, KafkaPrincipal::user("carol"));
    let last = answer::<SaslAuthenticateRequest>(reply, 2);
    assert_eq!((client.evaluate(&last.auth_bytes), last.session_lifetime_ms), (Ok(None), 0));
}

#[test]
fn before_kip_152_the_messages_are_bare_frames() {
    let mut talk = Talk::new(&[]);
    let handshake = SaslHandshakeRequest { mechanism: "PLAIN".to_owned() };
    assert_eq!(kind(talk.send(&handshake, 0)), ANSWERED);
    assert_eq!(kind(talk.frame(Bytes::from_static(b"\0alice\0alice-secret"))), "User:alice");
    let mut talk = Talk::new(&[]);
    talk.send(&handshake, 0).unwrap();
    let wrong = kind(talk.frame(Bytes::from_static(b"\0alice\0x")));
    assert_eq!(wrong, "silence: PLAIN: Authentication failed: Invalid username or password");
}

#[test]
fn the_clock_is_looked_at_where_a_session_ends_only() {
    let request = request_frame(&metadata(), 12);
    let mut talk = Talk::new(&[]);
    assert!(!talk.authentication.passes(&request, || unreachable!("nobody is in")).unwrap());
    talk.log_in();
    assert!(talk.authentication.passes(&request, || unreachable!("it has no end")).unwrap());
    let mut talk = Talk::new(&[("connections.max.reauth.ms", "10000")]);
    talk.log_in();
    let in_ms = |ms| talk.now.at + Duration::from_millis(ms);
    assert!(talk.authentication.passes(&request, || in_ms(10_000)).unwrap());
    assert!(talk.authentication.passes(&request, || in_ms(10_001)).is_err());
    let handshake = request_frame(&SaslHandshakeRequest { mechanism: "PLAIN".to_owned() }, 1);
    assert!(!talk.authentication.passes(&handshake, || in_ms(10_001)).unwrap());
}

#[test]
fn a_session_ends_and_is_begun_again_by_the_same_one() {
    let ends = [("connections.max.reauth.ms", "10000")];
    let mut talk = Talk::new(&ends);
    assert_eq!(talk.log_in().session_lifetime_ms, 10_000);
    talk.later(9_000);
    assert_eq!(kind(talk.send(&metadata(), 12)), "passed");
    assert_eq!(talk.log_in().session_lifetime_ms, 10_000);
    talk.later(500);
    // Not twice in a second: the handler refuses it.
    assert_eq!(kind(talk.handshake("PLAIN")), "passed");
    talk.later(9_501);
    assert_eq!(kind(talk.send(&metadata(), 12)), "closed: its session has ended, and it has not authenticated again");

    // As Kafka, it may still be begun again when it has ended, as long as nothing else has come.
    let mut late = Talk::new(&ends);
    late.log_in();
    late.later(20_000);
    late.log_in();
    assert_eq!(kind(late.send(&metadata(), 12)), "passed");

    let mut other = Talk::new(&ends);
    other.log_in();
    other.later(2_000);
    assert_eq!(kind(other.handshake("PLAIN")), ANSWERED);
    assert!(!other.authentication.is_complete());
    let refused = kind(other.authenticate(b"\0bob\0bob-secret"));
    assert_eq!(refused, "refused: Cannot change principals during re-authentication from User.alice: User.bob");

    let mut other = Talk::new(&ends);
    other.log_in();
    other.later(2_000);
    assert_eq!(kind(other.handshake("SCRAM-SHA-256")), ANSWERED);
    assert_eq!(
        kind(other.authenticate(b"n,,n=carol,r=x")),
        "silence: SASL mechanism 'SCRAM-SHA-256' requested by client is not supported for re-authentication of \
         mechanism 'PLAIN'"
    );

    let mut other = Talk::new(&ends);
    other.log_in();
    other.later(2_000);
    other.handshake("PLAIN").unwrap();
    // What comes in between is no request: the exchange is to be ended first.
    assert!(kind(other.send(&metadata(), 12)).starts_with("silence: unexpected request of Metadata"));
}

proptest::proptest! {
    #[test]
    fn nobody_is_let_in_by_chance(frames in proptest::collection::vec(proptest::collection::vec(proptest::num::u8::ANY, 0..60), 1..5)) {
        let mut talk = Talk::new(&[]);
        for frame in frames {
            let step = talk.frame(frame.into());
            proptest::prop_assert!(!matches!(step, Ok(Step::Authenticated(..))));
            if !matches!(step, Ok(Step::Pass(_) | Step::Answer(_))) {
                break;
            }
        }
    }
}
