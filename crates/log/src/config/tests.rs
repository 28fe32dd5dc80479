use super::*;

#[test]
fn defaults_are_those_of_the_table() {
    let config = LogConfig::default();
    for definition in definitions() {
        assert_eq!(config.get(definition.name).as_deref(), Some(definition.default), "{}", definition.name);
        let set = config.with_overrides([(definition.name, definition.default)]).unwrap();
        for other in definitions() {
            assert_eq!(set.get(other.name), config.get(other.name), "{}", definition.name);
        }
    }
    assert_eq!(definitions().iter().filter(|d| !d.is_internal).count(), 33);
}

#[test]
fn every_setting_is_read_and_given_back() {
    let values = [
        ("cleanup.policy", "compact,delete"),
        ("compression.gzip.level", "5"),
        ("compression.type", "zstd"),
        ("segment.bytes", "1048576"),
        ("retention.ms", "-1"),
        ("min.cleanable.dirty.ratio", "0.25"),
        ("message.timestamp.type", "LogAppendTime"),
        ("preallocate", "true"),
        ("local.retention.ms", "5"),
        ("leader.replication.throttled.replicas", "0:1,1:2"),
        ("internal.segment.bytes", "77"),
    ];
    for (key, value) in values {
        let config = LogConfig::from_properties([(key, value)]).unwrap();
        assert_eq!(config.get(key).as_deref(), Some(value), "{key}");
    }
    let config = LogConfig::from_properties([("cleanup.policy", "")]).unwrap();
    assert!(!config.compact && !config.delete);
    assert_eq!(config.get("no.such.key"), None);
}

#[test]
fn refuses_wrong_values_as_kafka_does() {
    let cases = [
        ("segment.bytes", "1000", "Invalid value 1000 for configuration segment.bytes: Value must be at least 1048576"),
        ("segment.bytes", "x", "Invalid value x for configuration segment.bytes: Not a number of type INT"),
        ("retention.ms", "1.5", "Invalid value 1.5 for configuration retention.ms: Not a number of type LONG"),
        (
            "min.cleanable.dirty.ratio",
            "1.5",
            "Invalid value 1.5 for configuration min.cleanable.dirty.ratio: Value must be no more than 1",
        ),
        (
            "preallocate",
            "yes",
            "Invalid value yes for configuration preallocate: Expected value to be either true or false",
        ),
        (
            "cleanup.policy",
            "compact,foo",
            "Invalid value foo for configuration cleanup.policy: String must be one of: compact, delete",
        ),
        (
            "compression.type",
            "none",
            "Invalid value none for configuration compression.type: \
             String must be one of: uncompressed, zstd, lz4, snappy, gzip, producer",
        ),
        ("segment.byts", "1", "Unknown topic config name: segment.byts"),
    ];
    for (key, value, message) in cases {
        let error = LogConfig::from_properties([(key, value)]).unwrap_err();
        assert_eq!(error.to_string(), message);
    }
    let conflict = [("min.compaction.lag.ms", "10"), ("max.compaction.lag.ms", "5")];
    assert!(LogConfig::from_properties(conflict).unwrap_err().to_string().contains("conflict"));
}

#[test]
fn compacted_logs_roll_in_time_for_the_longest_lag() {
    let lag = [("max.compaction.lag.ms", "100")];
    let config = LogConfig::from_properties(lag).unwrap();
    assert_eq!(config.max_segment_ms(), config.segment_ms);
    let config = config.with_overrides([("cleanup.policy", "compact")]).unwrap();
    assert_eq!(config.max_segment_ms(), 100);
}

#[test]
fn jitter_stays_below_its_limit() {
    let config = LogConfig { segment_jitter_ms: 50, ..LogConfig::default() };
    let mut random = fastrand::Rng::with_seed(1);
    let drawn: Vec<i64> = (0..100).map(|_| config.random_segment_jitter(&mut random)).collect();
    assert!(drawn.iter().all(|ms| (0..50).contains(ms)));
    assert!(drawn.iter().any(|ms| *ms != drawn[0]));
    assert_eq!(LogConfig::default().random_segment_jitter(&mut random), 0);
}
