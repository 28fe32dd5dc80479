use super::*;

fn read(properties: &[(&str, &str)]) -> LogConfig {
    LogConfig::from_properties(properties.iter().copied()).unwrap()
}

#[test]
fn defaults_are_those_of_the_table() {
    assert_eq!(read(&[]), LogConfig::default());
    let all = TOPIC_SETTINGS.iter().copied().flatten();
    for definition in all.clone() {
        let default = definition.default.unwrap();
        assert_eq!(definition.parse(default).as_deref(), Ok(default), "{}", definition.key);
    }
    assert_eq!(all.filter(|definition| !definition.is_internal).count(), 33);
}

#[test]
fn every_setting_that_acts_is_read_into_a_field() {
    let settings = Settings::parse(TOPIC_SETTINGS, [("cleanup.policy", "")]).unwrap();
    let reader = settings.reader();
    let config = LogConfig::read(&reader).unwrap();
    assert!(!config.compact && !config.delete);
    assert_eq!(reader.unread(), [""; 0]);
    assert_eq!(reader.read_without_support(), [""; 0]);
}

#[test]
fn every_setting_reaches_its_field() {
    assert_eq!(
        read(&[("compression.gzip.level", "5"), ("compression.type", "zstd")]),
        LogConfig { compression_gzip_level: 5, compression_type: BrokerCompression::Zstd, ..LogConfig::default() }
    );
    assert_eq!(
        read(&[("segment.bytes", "1048576"), ("retention.ms", "-1"), ("preallocate", "true")]),
        LogConfig { segment_bytes: 1_048_576, retention_ms: -1, preallocate: true, ..LogConfig::default() }
    );
    assert_eq!(read(&[("internal.segment.bytes", "77"), ("segment.bytes", "1048576")]).segment_bytes, 77);
    assert_eq!(read(&[("min.cleanable.dirty.ratio", "0.25")]).min_cleanable_dirty_ratio, 0.25);
    let append_time = read(&[("message.timestamp.type", "LogAppendTime")]);
    assert_eq!(append_time.message_timestamp_type, MessageTimestampType::LogAppendTime);
    let both = read(&[("cleanup.policy", "compact,delete")]);
    assert!(both.compact && both.delete);
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
    let config = read(&[("max.compaction.lag.ms", "100")]);
    assert_eq!(config.max_segment_ms(), config.segment_ms);
    let config = read(&[("max.compaction.lag.ms", "100"), ("cleanup.policy", "compact")]);
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
