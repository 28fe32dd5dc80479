use vltava_config::Settings;

use super::*;

fn config(properties: &[(&str, &str)]) -> Result<StreamsConfig, String> {
    let required = [(APPLICATION_ID, "a")];
    StreamsConfig::from_properties(required.into_iter().chain(properties.iter().copied()))
        .map_err(|error| error.to_string())
}

fn warnings(properties: &[(&str, &str)]) -> Vec<String> {
    config(properties).unwrap().warnings().iter().map(ToString::to_string).collect()
}

#[test]
fn a_misspelt_key_warns_with_the_nearest_one_of_streams_or_its_clients() {
    assert_eq!(
        warnings(&[("num.stream.thread", "4"), ("liner.ms", "5"), ("my.own", "1")]),
        [
            "unknown setting `liner.ms`: did you mean `linger.ms`?",
            "unknown setting `my.own`",
            "unknown setting `num.stream.thread`: did you mean `num.stream.threads`?",
        ]
    );
}

#[test]
fn keys_of_the_clients_and_of_internal_topics_are_passed_on() {
    let passed = [("linger.ms", "5"), ("main.consumer.max.poll.records", "5"), ("topic.retention.ms", "1")];
    assert_eq!(warnings(&passed), [""; 0]);
    let config = config(&passed).unwrap();
    assert_eq!(config.get("main.consumer.max.poll.records"), Some("5"));
}

#[test]
fn a_key_without_effect_warns_or_is_refused_with_the_reason() {
    assert_eq!(
        warnings(&[("rocksdb.config.setter", "com.example.Setter")]),
        ["`rocksdb.config.setter` has no effect: stores on disk are no RocksDB"]
    );
    let cases = [
        (("num.standby.replicas", "-1"), "must be >= 0"),
        (("group.protocol", "consumer"), "must be one of classic, streams"),
        (("task.assignor.class", "com.example.Assignor"), "classes of the JVM cannot be loaded"),
        (("default.timestamp.extractor", "com.example.Mine"), "must be one of FailOnInvalidTimestamp"),
        (("dsl.store.suppliers.class", "com.example.Mine"), "must be rocksdb or in_memory"),
        (("topology.optimization", "all,none"), "must be none, all, or a list"),
        (("processing.exception.handler", "com.example.Mine"), "must be continue or fail, or be set by the builder"),
    ];
    for ((key, value), expected) in cases {
        let error = config(&[(key, value)]).unwrap_err();
        assert!(error.starts_with(&format!("invalid configuration: invalid `{key}` {value}: {expected}")), "{error}");
    }
    assert_eq!(
        warnings(&[("num.standby.replicas", "1"), ("group.protocol", "Streams"), ("client.tag.zone", "a")]),
        [""; 0]
    );
}

/// A key without a field would be one without effect: the compiler tells of fields that nobody uses.
#[test]
fn every_key_that_acts_is_read_into_a_field() {
    let settings = Settings::parse(keys::STREAMS, [(APPLICATION_ID, "a")]).unwrap();
    let reader = settings.reader();
    Fields::read(&reader, false).unwrap();
    assert_eq!(reader.unread(), [""; 0]);
    assert_eq!(reader.read_without_support(), [""; 0]);
}

#[test]
fn every_default_passes_its_own_check() {
    for definition in StreamsConfig::definitions() {
        if let Some(default) = definition.default {
            assert_eq!(definition.parse(default).as_deref(), Ok(default), "{}", definition.key);
        }
    }
}

#[test]
fn older_names_act_and_yield_to_the_newer_ones() {
    let cache = |properties: &[(&str, &str)]| config(properties).unwrap().fields().cache_max_bytes;
    assert_eq!(cache(&[("cache.max.bytes.buffering", "7")]), 7);
    assert_eq!(cache(&[("cache.max.bytes.buffering", "7"), (STATESTORE_CACHE_MAX_BYTES, "9")]), 9);
    let in_memory = |properties: &[(&str, &str)]| config(properties).unwrap().fields().stores_in_memory;
    assert!(in_memory(&[("default.dsl.store", "in_memory")]));
    assert!(!in_memory(&[("default.dsl.store", "in_memory"), ("dsl.store.suppliers.class", "rocksdb")]));
    let older = [("default.deserialization.exception.handler", "LogAndContinueExceptionHandler")];
    assert!(config(&older).unwrap().fields().deserialization_continues);
}

#[test]
fn the_commit_interval_depends_on_the_guarantee_unless_it_is_given() {
    let interval = |properties: &[(&str, &str)]| config(properties).unwrap().fields().commit_interval.as_millis();
    assert_eq!(interval(&[]), 30_000);
    assert_eq!(interval(&[("processing.guarantee", "exactly_once_v2")]), 100);
    assert_eq!(interval(&[("processing.guarantee", "exactly_once_v2"), ("commit.interval.ms", "7")]), 7);
}

#[test]
fn the_guarantees_are_those_of_kafka() {
    let guarantee = |value| config(&[("processing.guarantee", value)]).map(|config| config.is_exactly_once());
    assert_eq!((guarantee("at_least_once"), guarantee("exactly_once_v2")), (Ok(false), Ok(true)));
    // Both are gone since Kafka 4.0.
    for gone in ["exactly_once", "exactly_once_beta"] {
        let error = guarantee(gone).unwrap_err();
        assert!(error.contains("must be one of at_least_once, exactly_once_v2"), "{error}");
    }
}

#[test]
fn a_transaction_may_be_open_until_the_next_commit() {
    let exactly_once = |properties: &[(&str, &str)]| {
        let guarantee = [("processing.guarantee", "exactly_once_v2")];
        config(&guarantee.into_iter().chain(properties.iter().copied()).collect::<Vec<_>>()).map(drop)
    };
    let too_long = "invalid configuration: invalid `commit.interval.ms` 20000: must be <= the producer's \
                    `transaction.timeout.ms`, 10000";
    assert_eq!(exactly_once(&[("commit.interval.ms", "20000")]), Err(too_long.to_owned()));
    assert_eq!(exactly_once(&[("commit.interval.ms", "10000")]), Ok(()));
    for key in ["producer.transaction.timeout.ms", "transaction.timeout.ms"] {
        assert_eq!(exactly_once(&[("commit.interval.ms", "20000"), (key, "20000")]), Ok(()));
        let error = exactly_once(&[(key, "99")]).unwrap_err();
        assert!(error.contains("`commit.interval.ms` 100: must be <= "), "{error}");
    }
    assert!(config(&[("commit.interval.ms", "20000")]).is_ok(), "at least once there is no transaction");
}

#[test]
fn secrets_of_the_clients_are_not_printed() {
    let config = config(&[("producer.sasl.jaas.config", "tell-nobody"), ("my.token", "nor-this")]).unwrap();
    let printed = format!("{config:?}");
    assert!(!printed.contains("tell-nobody") && !printed.contains("nor-this"), "{printed}");
}
