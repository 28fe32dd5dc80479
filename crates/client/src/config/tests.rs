use std::time::Duration;

use vltava_config::{ConfigError, Reader, Settings};

use super::*;
use crate::error::ClientError;

const BOOT: (&str, &str) = ("bootstrap.servers", "localhost:9092");

fn producer(properties: &[(&str, &str)]) -> Result<ProducerConfig, ClientError> {
    ProducerConfig::from_properties(std::iter::once(&BOOT).chain(properties).copied())
}

fn consumer(properties: &[(&str, &str)]) -> Result<ConsumerConfig, ClientError> {
    ConsumerConfig::from_properties(std::iter::once(&BOOT).chain(properties).copied())
}

#[test]
fn producer_defaults_are_kafkas() {
    let config = producer(&[]).unwrap();
    assert_eq!(config.acks, Acks::All);
    assert_eq!(config.linger, Duration::from_millis(5));
    assert_eq!(config.batch_size, 16384);
    assert_eq!(config.buffer_memory, 32 << 20);
    assert_eq!(config.delivery_timeout, Duration::from_secs(120));
    assert_eq!(config.max_in_flight, 5);
    assert_eq!(config.retries, i32::MAX as u32);
    assert!(config.enable_idempotence);
    assert!(config.warnings().is_empty());
}

#[test]
fn a_wrong_value_is_refused_with_key_value_and_range() {
    let cases = [
        (("linger.ms", "-5"), "invalid `linger.ms` -5: must be >= 0"),
        (("linger.ms", "soon"), "invalid `linger.ms` soon: must be a 64-bit integer"),
        (("batch.size", "3000000000"), "invalid `batch.size` 3000000000: must be a 32-bit integer"),
        (("acks", "2"), "invalid `acks` 2: must be one of all, -1, 0, 1"),
        (("enable.idempotence", "maybe"), "invalid `enable.idempotence` maybe: must be true or false"),
        (
            ("compression.type", "brotli"),
            "invalid `compression.type` brotli: must be one of none, gzip, snappy, lz4, zstd",
        ),
        (("transactional.id", ""), "invalid `transactional.id` : must not be empty"),
        (
            ("transaction.two.phase.commit.enable", "true"),
            "invalid `transaction.two.phase.commit.enable` true: two-phase commits (KIP-939) are not supported yet",
        ),
        (
            ("security.protocol", "TLS"),
            "invalid `security.protocol` TLS: must be one of PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL",
        ),
        (
            ("bootstrap.servers", "host"),
            "invalid `bootstrap.servers` host: must be host:port with a port of 1 to 65535",
        ),
        (
            ("delivery.timeout.ms", "10"),
            "invalid `delivery.timeout.ms` 10: must be >= `linger.ms` + `request.timeout.ms` = 30005",
        ),
        (
            ("max.in.flight.requests.per.connection", "6"),
            "invalid `max.in.flight.requests.per.connection` 6: must be at most 5 with `enable.idempotence` true",
        ),
    ];
    for (property, expected) in cases {
        assert_eq!(producer(&[property]).unwrap_err().to_string(), expected);
    }
}

#[test]
fn bootstrap_servers_are_required() {
    let none: [(&str, &str); 0] = [];
    let error = AdminConfig::from_properties(none).unwrap_err();
    assert_eq!(error.to_string(), "invalid `bootstrap.servers` \"\": required, and has no default");
}

#[test]
fn an_unknown_key_is_a_warning_with_the_nearest_known_one() {
    let config = producer(&[("liner.ms", "5"), ("completely.unrelated.to.anything.here", "1")]).unwrap();
    let warnings: Vec<String> = config.warnings().iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "unknown setting `completely.unrelated.to.anything.here`",
            "unknown setting `liner.ms`: did you mean `linger.ms`?"
        ]
    );
}

#[test]
fn a_known_key_without_effect_is_a_warning_unless_it_says_what_happens_anyway() {
    let config = producer(&[("metrics.num.samples", "3"), ("enable.metrics.push", "false")]).unwrap();
    assert!(config.warnings().is_empty());
    let config = producer(&[("metric.reporters", "a.Reporter"), ("enable.metrics.push", "true")]).unwrap();
    assert_eq!(config.warnings().len(), 2);
}

#[test]
fn secrets_are_not_shown() {
    let error = producer(&[("sasl.jaas.config", "password=secret")]).unwrap_err().to_string();
    let why = "`security.protocol` is PLAINTEXT, which does not ask who the client is";
    assert_eq!(error, format!("invalid `sasl.jaas.config` ***: {why}"));
    assert!(!format!("{:?}", ProducerConfig::builder().set("ssl.key.password", "secret")).contains("secret"));
}

#[test]
fn a_setting_that_secures_and_has_no_effect_is_refused() {
    for (key, value, why) in [
        ("sasl.mechanism", "PLAIN", "`security.protocol` is PLAINTEXT, which does not ask who the client is"),
        ("sasl.kerberos.service.name", "kafka", "Kerberos is not supported"),
        ("security.providers", "com.example.Provider", "classes of the JVM cannot be loaded"),
    ] {
        let error = consumer(&[(key, value)]).unwrap_err().to_string();
        assert_eq!(error, format!("invalid `{key}` {value}: {why}"));
    }
    let tls = [("ssl.truststore.location", "/etc/trust"), ("ssl.endpoint.identification.algorithm", "")];
    for (key, value) in tls {
        let error = consumer(&[(key, value)]).unwrap_err().to_string();
        #[cfg(feature = "tls")]
        assert_eq!(error, format!("invalid `{key}` {value}: has no effect with `security.protocol` PLAINTEXT"));
        #[cfg(not(feature = "tls"))]
        assert!(error.starts_with(&format!("invalid `{key}` {value}: this program was built without TLS")), "{error}");
        assert_eq!(consumer(&[(key, value), ("security.protocol", "ssl")]).is_ok(), cfg!(feature = "tls"));
    }
    #[cfg(not(feature = "tls"))]
    for protocol in ["ssl", "sasl_ssl"] {
        assert_eq!(
            consumer(&[("security.protocol", protocol)]).unwrap_err().to_string(),
            format!(
                "invalid `security.protocol` {protocol}: this program was built without TLS: build it with the feature `tls`"
            )
        );
    }
    let error = consumer(&[("ssl.keystore.password", "tell-nobody")]).unwrap_err().to_string();
    assert!(error.starts_with("invalid `ssl.keystore.password` ***: "), "{error}");
    for key in ["ssl.provider", "ssl.engine.factory.class", "ssl.secure.random.implementation"] {
        let error = consumer(&[(key, "x"), ("security.protocol", "SSL")]).unwrap_err();
        assert_eq!(error.to_string(), format!("invalid `{key}` x: it is one of the JVM's, TLS is rustls here"));
    }
    // What an unprotected client says anyway.
    assert!(
        consumer(&[("security.protocol", "PLAINTEXT"), ("sasl.mechanism", "GSSAPI")]).unwrap().warnings().is_empty()
    );
}

/// A key without a field would be one without effect: the compiler tells of fields that nobody uses.
#[test]
fn every_key_that_acts_is_read_into_a_field() {
    fn check<C>(tables: vltava_config::Tables, read: impl Fn(&Reader<'_>) -> Result<C, ConfigError>) {
        let settings = Settings::parse(tables, [BOOT]).unwrap();
        let reader = settings.reader();
        read(&reader).unwrap();
        assert_eq!(reader.unread(), [""; 0]);
        assert_eq!(reader.read_without_support(), [""; 0]);
    }
    check(producer::TABLES, ProducerConfig::read);
    check(consumer::TABLES, ConsumerConfig::read);
    check(admin::TABLES, AdminConfig::read);
}

#[test]
fn idempotence_yields_to_other_settings_unless_it_was_asked_for() {
    assert!(!producer(&[("acks", "1")]).unwrap().enable_idempotence);
    assert!(!producer(&[("retries", "0")]).unwrap().enable_idempotence);
    let error = producer(&[("acks", "1"), ("enable.idempotence", "true")]).unwrap_err();
    assert_eq!(error.to_string(), "invalid `acks` 1: must be all with `enable.idempotence` true");
}

#[test]
fn transactions_need_idempotence() {
    let config = producer(&[("transactional.id", "t"), ("transaction.timeout.ms", "900")]).unwrap();
    assert_eq!(config.transactional_id(), Some("t"));
    assert_eq!(config.transaction_timeout(), Duration::from_millis(900));
    assert!(config.enable_idempotence && config.warnings().is_empty());
    // What stands in their way is named, not the transactions.
    for (key, value, expected) in [
        ("acks", "1", "must be all"),
        ("retries", "0", "must be > 0"),
        ("max.in.flight.requests.per.connection", "6", "must be at most 5"),
        ("enable.idempotence", "false", "must be true"),
    ] {
        let error = producer(&[("transactional.id", "t"), (key, value)]).unwrap_err();
        assert_eq!(error.to_string(), format!("invalid `{key}` {value}: {expected} with `transactional.id`"));
    }
}

#[test]
fn the_delivery_timeout_grows_with_linger_unless_it_was_given() {
    let config = producer(&[("linger.ms", "200000")]).unwrap();
    assert_eq!(config.delivery_timeout, Duration::from_millis(230_000));
}

#[test]
fn consumer_auto_offset_reset_reads_all_of_kafkas_forms() {
    let cases = [
        ("earliest", Some(AutoOffsetReset::Earliest)),
        ("latest", Some(AutoOffsetReset::Latest)),
        ("none", Some(AutoOffsetReset::None)),
        ("by_duration:P1DT2H3M4.5S", Some(AutoOffsetReset::ByDuration(Duration::from_millis(93_784_500)))),
        ("by_duration:PT10S", Some(AutoOffsetReset::ByDuration(Duration::from_secs(10)))),
        ("by_duration:P", None),
        ("by_duration:PT", None),
        ("by_duration:-PT1S", None),
        ("beginning", None),
    ];
    for (text, expected) in cases {
        assert_eq!(AutoOffsetReset::parse(text), expected, "{text}");
        assert_eq!(consumer(&[("auto.offset.reset", text)]).is_ok(), expected.is_some(), "{text}");
    }
}

#[test]
fn automatic_commits_need_a_group() {
    assert!(!consumer(&[]).unwrap().enable_auto_commit);
    assert!(consumer(&[("group.id", "g")]).unwrap().enable_auto_commit);
    assert!(consumer(&[("enable.auto.commit", "true")]).is_err());
}

#[test]
fn every_default_is_in_its_range() {
    let all = ProducerConfig::definitions().chain(ConsumerConfig::definitions()).chain(AdminConfig::definitions());
    let mut count = 0;
    for definition in all {
        count += 1;
        if let Some(default) = definition.default {
            assert_eq!(definition.parse(default).as_deref(), Ok(default), "{}", definition.key);
        }
    }
    // 112 + 111 + 93 keys of Kafka 4.3, without two by which the JVM shares its tables.
    assert!(count > 280, "{count}");
}

/// KIP-580.
#[test]
fn pauses_double_up_to_the_longest_with_a_jitter() {
    let common = AdminConfig::from_properties([BOOT]).unwrap().common().clone();
    for (attempt, middle) in [(0, 100.0), (1, 200.0), (3, 800.0), (4, 1000.0), (40, 1000.0)] {
        let pauses: Vec<f64> = (0..50).map(|_| common.retry_pause(attempt).as_secs_f64() * 1000.0).collect();
        assert!(pauses.iter().all(|pause| (middle * 0.8..=middle * 1.2).contains(pause)), "{attempt}: {pauses:?}");
        assert!(pauses.iter().any(|pause| (pause - pauses[0]).abs() > 0.001), "no jitter");
    }
}

#[test]
fn builder_and_properties_agree() {
    let built = ProducerConfig::builder()
        .bootstrap_servers("localhost:9092")
        .acks(Acks::All)
        .linger(Duration::from_millis(7))
        .batch_size(1000)
        .build()
        .unwrap();
    let read = producer(&[("linger.ms", "7"), ("batch.size", "1000")]).unwrap();
    assert_eq!((built.linger, built.batch_size), (read.linger, read.batch_size));
}

#[test]
fn the_group_protocol_refuses_what_it_makes_meaningless_in_kafkas_words() {
    assert_eq!(consumer(&[]).unwrap().group_protocol(), GroupProtocol::Classic);
    for name in ["consumer", "CONSUMER", "Consumer"] {
        let config = consumer(&[("group.protocol", name), ("group.remote.assignor", "range")]).unwrap();
        assert_eq!((config.group_protocol(), config.warnings().len()), (GroupProtocol::Consumer, 0));
    }
    type Given<'a> = &'a [(&'a str, &'a str)];
    let cases: [(Given<'_>, &str); 5] = [
        (&[("group.remote.assignor", "range")], "group.remote.assignor cannot be set when group.protocol=CLASSIC"),
        (
            &[("group.protocol", "consumer"), ("session.timeout.ms", "45000")],
            "session.timeout.ms cannot be set when group.protocol=CONSUMER",
        ),
        (
            &[
                ("group.protocol", "consumer"),
                ("session.timeout.ms", "45000"),
                ("heartbeat.interval.ms", "3000"),
                ("partition.assignment.strategy", "range"),
            ],
            "partition.assignment.strategy, heartbeat.interval.ms, session.timeout.ms cannot be set when \
             group.protocol=CONSUMER",
        ),
        (
            &[("group.protocol", "consumer"), ("group.id", "")],
            "the configured group.id should not be an empty string or whitespace",
        ),
        (&[("group.protocol", "streams")], "must be one of consumer, classic"),
    ];
    for (given, expected) in cases {
        let error = consumer(given).unwrap_err().to_string();
        assert!(error.ends_with(expected), "{error}");
    }
    let blank = consumer(&[("group.protocol", "consumer"), ("partition.assignment.strategy", "")]);
    assert!(blank.is_ok(), "as Kafka has it, an empty value is none");
    let typed = ConsumerConfig::builder().bootstrap_servers("h:9092").group_protocol(GroupProtocol::Consumer);
    assert_eq!(typed.build().unwrap().group_protocol(), GroupProtocol::Consumer);
}
