//! A client says who it is: to be let in, to be refused, and again while it works.

#![allow(clippy::unwrap_used, reason = "a failure of a helper fails its test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use vltava_broker::{AddScram, embedded};
use vltava_client::admin::{Admin, NewTopic, ScramCredentialInfo, ScramMechanism, UserScramCredentialAlteration};
use vltava_client::net::Cluster;
use vltava_client::producer::ProducerRecord;
use vltava_client::sasl::{BearerToken, TokenError, TokenFuture, TokenProvider};
use vltava_client::{AdminConfig, ClientError, Consumer, ConsumerConfig, Producer, ProducerConfig};
use vltava_protocol::ErrorCode;
use vltava_protocol::messages::MetadataRequest;

const PLAIN: &str =
    "org.apache.kafka.common.security.plain.PlainLoginModule required username=\"alice\" password=\"alice-secret\";";
const SCRAM: &str =
    "org.apache.kafka.common.security.scram.ScramLoginModule required username=\"carol\" password=\"carol-secret\";";

/// Sessions of 1.5 s: whoever begins one again sooner than a second after the last is refused.
const SHORT_SESSIONS: (&str, &str) = ("connections.max.reauth.ms", "1500");
const LIFETIME: Duration = Duration::from_millis(1500);

/// How long a test waits before it fails.
const PATIENCE: Duration = Duration::from_secs(20);

fn broker(settings: &[(&str, &str)]) -> embedded::Broker {
    let jaas = "org.apache.kafka.common.security.plain.PlainLoginModule required user_alice=\"alice-secret\";";
    let base = embedded::Config::default()
        .property("listeners", "SASL_PLAINTEXT://127.0.0.1:0")
        .property("security.inter.broker.protocol", "SASL_PLAINTEXT")
        .property("sasl.enabled.mechanisms", "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512")
        .property("listener.name.sasl_plaintext.plain.sasl.jaas.config", jaas)
        .scram_user(AddScram::parse("SCRAM-SHA-256=[name=carol,password=carol-secret]").unwrap())
        .scram_user(AddScram::parse("SCRAM-SHA-512=[name=carol,password=carol-secret]").unwrap());
    let config = settings.iter().fold(base, |config, (key, value)| config.property(*key, *value));
    embedded::Broker::start(config).unwrap()
}

/// Settings of a client.
fn settings<'a>(broker: &'a embedded::Broker, mechanism: &'a str, jaas: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("bootstrap.servers", broker.bootstrap_servers()),
        ("security.protocol", "SASL_PLAINTEXT"),
        ("sasl.mechanism", mechanism),
        ("sasl.jaas.config", jaas),
    ]
}

fn producer(broker: &embedded::Broker, mechanism: &str, jaas: &str) -> Producer {
    Producer::new(ProducerConfig::from_properties(settings(broker, mechanism, jaas)).unwrap()).unwrap()
}

fn admin(broker: &embedded::Broker, mechanism: &str, jaas: &str) -> Admin {
    Admin::new(AdminConfig::from_properties(settings(broker, mechanism, jaas)).unwrap()).unwrap()
}

fn consumer(broker: &embedded::Broker, mechanism: &str, jaas: &str) -> Consumer {
    let mut settings = settings(broker, mechanism, jaas);
    settings.extend([("group.id", "g"), ("auto.offset.reset", "earliest")]);
    Consumer::new(ConsumerConfig::from_properties(settings).unwrap()).unwrap()
}

async fn create(admin: &Admin, topic: &str) {
    admin.create_topics([NewTopic::new(topic).partitions(1)]).await.remove(topic).unwrap().unwrap();
}

#[tokio::test]
async fn each_mechanism_lets_producers_consumers_and_admin_clients_in() {
    let broker = broker(&[]);
    for (topic, mechanism, jaas) in
        [("a", "PLAIN", PLAIN), ("b", "SCRAM-SHA-256", SCRAM), ("c", "SCRAM-SHA-512", SCRAM)]
    {
        create(&admin(&broker, mechanism, jaas), topic).await;
        let producer = producer(&broker, mechanism, jaas);
        producer.send(ProducerRecord::new(topic).value("v")).await.unwrap().await.unwrap();
        let consumer = consumer(&broker, mechanism, jaas);
        consumer.subscribe([topic]).unwrap();
        let begun = Instant::now();
        let mut read = 0;
        while read < 1 {
            assert!(begun.elapsed() < PATIENCE);
            read += consumer.poll(Duration::from_millis(200)).await.unwrap().len();
        }
        consumer.close(PATIENCE).await.unwrap();
    }
}

/// What was told, and that it is told soon.
fn refused(error: &ClientError, begun: Instant) -> String {
    assert!(begun.elapsed() < Duration::from_secs(5), "at once, and not after many tries: {error}");
    assert!(error.is_fatal() && !error.is_retriable(), "{error}");
    match error {
        ClientError::SaslAuthentication { message, .. } => message.to_string(),
        other => unreachable!("a refusal: {other}"),
    }
}

#[tokio::test]
async fn who_is_refused_is_told_so_at_once_in_the_brokers_words_by_every_call() {
    let broker = broker(&[]);
    let jaas = PLAIN.replace("alice-secret", "wrong");
    let expected = "Authentication failed: Invalid username or password";

    let begun = Instant::now();
    let admin = admin(&broker, "PLAIN", &jaas);
    for _ in 0..2 {
        let error = admin.list_topics().await.unwrap_err();
        assert_eq!(refused(&error, begun), expected);
        assert_eq!(error.code(), Some(ErrorCode::SaslAuthenticationFailed));
    }

    let begun = Instant::now();
    let producer = producer(&broker, "PLAIN", &jaas);
    for _ in 0..2 {
        let error = producer.send(ProducerRecord::new("t").value("v")).await.map(drop).unwrap_err();
        assert_eq!(refused(&error, begun), expected);
    }

    let begun = Instant::now();
    let consumer = consumer(&broker, "PLAIN", &jaas);
    consumer.subscribe(["t"]).unwrap();
    for _ in 0..2 {
        let error = loop {
            match consumer.poll(Duration::from_millis(500)).await {
                Ok(_) => assert!(begun.elapsed() < PATIENCE),
                Err(error) => break error,
            }
        };
        assert_eq!(refused(&error, begun), expected);
        assert!(!format!("{error} {error:?} {consumer:?} {producer:?}").contains("wrong"));
    }
}

#[tokio::test]
async fn who_does_not_say_who_it_is_hears_what_the_listener_may_want() {
    let broker = broker(&[]);
    let soon = [("bootstrap.servers", broker.bootstrap_servers()), ("default.api.timeout.ms", "1000")];
    let admin = Admin::new(AdminConfig::from_properties(soon).unwrap()).unwrap();
    let error = admin.describe_cluster().await.unwrap_err().to_string();
    let hint = "closed by the broker without an answer: does its listener ask for SASL or TLS? `security.protocol` is PLAINTEXT";
    assert!(error.contains(hint), "{error}");
    let soon = [("bootstrap.servers", broker.bootstrap_servers()), ("max.block.ms", "1000")];
    let producer = Producer::new(ProducerConfig::from_properties(soon).unwrap()).unwrap();
    let error = producer.send(ProducerRecord::new("t").value("v")).await.map(drop).unwrap_err().to_string();
    assert!(error.contains(hint), "{error}");
}

#[tokio::test]
async fn unknown_users_and_wrong_passwords_of_scram_are_not_told_apart() {
    let broker = broker(&[]);
    let general =
        "Authentication failed during authentication due to invalid credentials with SASL mechanism SCRAM-SHA-256";
    for jaas in [SCRAM.replace("carol\" p", "nobody\" p"), SCRAM.replace("carol-secret", "wrong")] {
        let begun = Instant::now();
        let error = admin(&broker, "SCRAM-SHA-256", &jaas).list_topics().await.unwrap_err();
        assert_eq!(refused(&error, begun), general);
    }
}

#[tokio::test]
async fn a_mechanism_that_is_not_offered_is_told_with_those_that_are() {
    let broker = broker(&[("sasl.enabled.mechanisms", "PLAIN")]);
    let begun = Instant::now();
    let error = admin(&broker, "SCRAM-SHA-256", SCRAM).list_topics().await.unwrap_err();
    let message = refused(&error, begun);
    assert_eq!(message, "the broker does not offer SASL mechanism SCRAM-SHA-256, but PLAIN");
    assert_eq!(error.code(), Some(ErrorCode::UnsupportedSaslMechanism));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_end_and_are_begun_again_while_records_flow() {
    let broker = broker(&[SHORT_SESSIONS]);
    create(&admin(&broker, "PLAIN", PLAIN), "t").await;
    let producer = producer(&broker, "SCRAM-SHA-256", SCRAM);
    let consumer = consumer(&broker, "SCRAM-SHA-512", SCRAM);
    consumer.subscribe(["t"]).unwrap();
    let begun = Instant::now();
    let (mut sent, mut read) = (0, 0);
    // Several sessions, with records in flight at all times.
    while begun.elapsed() < LIFETIME * 3 {
        let mut waiting = Vec::new();
        for _ in 0..20 {
            waiting.push(producer.send(ProducerRecord::new("t").value("v")).await.unwrap());
        }
        for one in waiting {
            one.await.unwrap();
            sent += 1;
        }
        read += consumer.poll(Duration::from_millis(20)).await.unwrap().len();
    }
    while read < sent {
        assert!(begun.elapsed() < PATIENCE, "{read} of {sent}");
        read += consumer.poll(Duration::from_millis(200)).await.unwrap().len();
    }
    assert_eq!(read, sent);
}

#[tokio::test]
async fn users_come_and_go_by_requests() {
    let broker = broker(&[SHORT_SESSIONS]);
    let admin = admin(&broker, "PLAIN", PLAIN);
    let mut told = admin.describe_user_scram_credentials([""; 0]).await.unwrap();
    let of = |mechanism, iterations| ScramCredentialInfo { mechanism, iterations };
    let both = vec![of(ScramMechanism::Sha256, 4096), of(ScramMechanism::Sha512, 4096)];
    assert_eq!((told.len(), told.remove("carol").unwrap().unwrap()), (1, both));

    let added = UserScramCredentialAlteration::upsert("dave", ScramMechanism::Sha256, "dave-secret").iterations(8192);
    assert!(!format!("{added:?}").contains("secret"));
    let results = admin.alter_user_scram_credentials([added]).await;
    assert!(results.into_values().all(|result| result.is_ok()));
    let mut told = admin.describe_user_scram_credentials(["dave", "nobody"]).await.unwrap();
    assert_eq!(told.remove("dave").unwrap().unwrap(), [of(ScramMechanism::Sha256, 8192)]);
    let unknown = told.remove("nobody").unwrap().unwrap_err();
    assert_eq!(unknown.code(), Some(ErrorCode::ResourceNotFound));

    let jaas = SCRAM.replace("carol", "dave");
    let dave = self::admin(&broker, "SCRAM-SHA-256", &jaas);
    dave.list_topics().await.unwrap();
    let weak = UserScramCredentialAlteration::upsert("erin", ScramMechanism::Sha512, "x").iterations(1);
    let gone = UserScramCredentialAlteration::delete("dave", ScramMechanism::Sha256);
    let twice = UserScramCredentialAlteration::delete("carol", ScramMechanism::Sha256);
    let other = UserScramCredentialAlteration::delete("carol", ScramMechanism::Sha512);
    let results = admin.alter_user_scram_credentials([weak, gone, twice, other]).await;
    let codes: Vec<_> = results.values().map(|result| result.as_ref().err().and_then(ClientError::code)).collect();
    // In the order of their names: carol, dave, erin.
    assert_eq!(codes, [Some(ErrorCode::DuplicateResource), None, Some(ErrorCode::UnacceptableCredential)]);

    // Who is in stays in until the session is to be begun again, and is told then.
    let begun = Instant::now();
    let error = loop {
        match dave.list_topics().await {
            Ok(_) => assert!(begun.elapsed() < PATIENCE),
            Err(error) => break error,
        }
    };
    let message = refused(&error, Instant::now());
    assert!(message.starts_with("Authentication failed during "), "{message}");
}

/// One connection, which nothing replaces when the broker closes it.
#[tokio::test]
async fn the_connection_is_the_same_before_and_after() {
    let broker = broker(&[SHORT_SESSIONS]);
    let config = AdminConfig::from_properties(settings(&broker, "SCRAM-SHA-256", SCRAM)).unwrap();
    let cluster = Cluster::new(config.common()).unwrap();
    let connection = cluster.any_connection().await.unwrap();
    let begun = Instant::now();
    let mut answers = 0;
    while begun.elapsed() < LIFETIME * 3 {
        // Many at a time: those behind an authentication wait for it, and those before it are answered.
        let requests: Vec<_> =
            (0..5).map(|_| connection.start_request(&MetadataRequest::default()).unwrap().into_future()).collect();
        for request in requests {
            assert_eq!(request.await.unwrap().brokers.len(), 1);
            answers += 1;
        }
    }
    assert!(connection.is_open() && answers > 5);
}

#[tokio::test]
async fn a_client_without_a_giver_of_tokens_is_not_made() {
    let config = AdminConfig::from_properties([
        ("bootstrap.servers", "127.0.0.1:1"),
        ("security.protocol", "SASL_PLAINTEXT"),
        ("sasl.mechanism", "OAUTHBEARER"),
    ])
    .unwrap();
    let error = Admin::new(config).map(drop).unwrap_err().to_string();
    assert!(error.contains("`sasl.oauthbearer.token.endpoint.url`"), "{error}");
}

/// Gives none, and counts how often it is asked.
#[derive(Debug)]
struct Refusing(AtomicUsize);

impl TokenProvider for Refusing {
    fn token(&self) -> TokenFuture<'_> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Box::pin(async { Err(TokenError::Refused("the account is closed".to_owned())) })
    }
}

#[derive(Debug)]
struct Giving;

impl TokenProvider for Giving {
    fn token(&self) -> TokenFuture<'_> {
        Box::pin(async { Ok(BearerToken::new("a.b.c")) })
    }
}

#[tokio::test]
async fn a_token_is_asked_for_and_a_broker_that_takes_none_says_so() {
    let broker = broker(&[]);
    let config = |provider: Arc<dyn TokenProvider>| {
        let settings = [
            ("bootstrap.servers", broker.bootstrap_servers()),
            ("security.protocol", "SASL_PLAINTEXT"),
            ("sasl.mechanism", "OAUTHBEARER"),
        ];
        AdminConfig::from_properties(settings).unwrap().with_token_provider(provider)
    };
    let refusing = Arc::new(Refusing(AtomicUsize::new(0)));
    let admin = Admin::new(config(Arc::clone(&refusing) as Arc<dyn TokenProvider>)).unwrap();
    let begun = Instant::now();
    for _ in 0..3 {
        assert_eq!(refused(&admin.list_topics().await.unwrap_err(), begun), "no token: the account is closed");
    }
    assert_eq!(refusing.0.load(Ordering::Relaxed), 1);
    let admin = Admin::new(config(Arc::new(Giving))).unwrap();
    let message = refused(&admin.list_topics().await.unwrap_err(), begun);
    assert!(message.ends_with("but PLAIN, SCRAM-SHA-512, SCRAM-SHA-256"), "{message}");
}

/// A broker that takes tokens of nobody's, as long as they are good.
fn broker_of_tokens() -> embedded::Broker {
    let class =
        "org.apache.kafka.common.security.oauthbearer.internals.unsecured.OAuthBearerUnsecuredValidatorCallbackHandler";
    let module = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required;";
    let of_listener = |key: &str| format!("listener.name.sasl_plaintext.oauthbearer.{key}");
    let config = embedded::Config::default()
        .property("listeners", "SASL_PLAINTEXT://127.0.0.1:0")
        .property("security.inter.broker.protocol", "SASL_PLAINTEXT")
        .property("sasl.enabled.mechanisms", "OAUTHBEARER")
        .property(of_listener("sasl.jaas.config"), module)
        .property(of_listener("sasl.server.callback.handler.class"), class);
    embedded::Broker::start(config).unwrap()
}

/// Gives tokens that end so many seconds from now, one after the other, and the last one for good.
#[derive(Debug)]
struct Lasting {
    seconds: &'static [i64],
    asked: AtomicUsize,
    refused: AtomicUsize,
}

impl Lasting {
    fn new(seconds: &'static [i64]) -> Arc<Self> {
        Arc::new(Self { seconds, asked: AtomicUsize::new(0), refused: AtomicUsize::new(0) })
    }

    fn producer(self: &Arc<Self>, broker: &embedded::Broker) -> Producer {
        let mut settings = settings(broker, "OAUTHBEARER", "");
        settings.retain(|(key, _)| *key != "sasl.jaas.config");
        let config = ProducerConfig::from_properties(settings).unwrap();
        Producer::new(config.with_token_provider(Arc::clone(self) as Arc<dyn TokenProvider>)).unwrap()
    }
}

impl TokenProvider for Lasting {
    fn token(&self) -> TokenFuture<'_> {
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        let seconds = self.seconds.get(asked).or(self.seconds.last()).unwrap();
        let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
        let claims = format!(r#"{{"sub":"app","exp":{}}}"#, now + seconds);
        let [header, claims] = [r#"{"alg":"none"}"#, &claims].map(|part| URL_SAFE_NO_PAD.encode(part));
        Box::pin(async move { Ok(BearerToken::new(format!("{header}.{claims}."))) })
    }

    fn refused(&self, _: &BearerToken) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }
}

/// Sends records until `is_over`, and each of them has to be written.
async fn send_until(producer: &Producer, is_over: impl Fn() -> bool) -> Result<(), ClientError> {
    let begun = Instant::now();
    while !is_over() {
        assert!(begun.elapsed() < PATIENCE, "it never came to that");
        producer.send(ProducerRecord::new("t").value("v")).await?.await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_has_ended_by_the_brokers_clock_costs_a_connection_and_no_record() {
    let broker = broker_of_tokens();
    // There are two connections, one for the metadata: the second is refused, or a session that is begun again.
    for seconds in [&[2, -60, 3600][..], &[2, 2, -60, 3600]] {
        let provider = Lasting::new(seconds);
        let producer = provider.producer(&broker);
        send_until(&producer, || provider.asked.load(Ordering::Relaxed) >= seconds.len()).await.unwrap();
        producer.send(ProducerRecord::new("t").value("v")).await.unwrap().await.unwrap();
        // None where the session was over before the broker's word of it came.
        assert!(provider.refused.load(Ordering::Relaxed) <= 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_whose_tokens_are_refused_again_and_again_fails() {
    let broker = broker_of_tokens();
    let provider = Lasting::new(&[2, -60]);
    let producer = provider.producer(&broker);
    let error = send_until(&producer, || false).await.unwrap_err();
    assert!(matches!(error, ClientError::SaslAuthentication { .. }), "{error}");
    let never = Lasting::new(&[-60]);
    let error = send_until(&never.producer(&broker), || false).await.unwrap_err();
    assert!(matches!(error, ClientError::SaslAuthentication { .. }), "{error}");
    assert_eq!(never.asked.load(Ordering::Relaxed), 1);
}
