//! The settings of groups, and what those of groups whose coordinator assigns have to agree with.

use std::sync::Arc;

use vltava_config::{ConfigError, Reader};
use vltava_protocol::record::Compression;

use crate::coordinator::group::{
    ConsumerGroupConfig, DynamicGroupSettings, GroupCoordinatorConfig, StreamsGroupConfig,
};

/// Reads the settings of groups.
///
/// # Errors
///
/// [`ConfigError`] for a value that is no value of its key, and for settings of consumer or streams groups that do not agree.
pub(super) fn read(reader: &Reader<'_>) -> Result<GroupCoordinatorConfig, ConfigError> {
    check_bounds(reader)?;
    Ok(GroupCoordinatorConfig {
        min_session_timeout_ms: reader.int("group.min.session.timeout.ms")?,
        max_session_timeout_ms: reader.int("group.max.session.timeout.ms")?,
        initial_rebalance_delay_ms: reader.int("group.initial.rebalance.delay.ms")?,
        max_size: reader.size("group.max.size")?,
        offset_metadata_max_bytes: reader.size("offset.metadata.max.bytes")?,
        offsets_retention_ms: reader.integer("offsets.retention.minutes")?.saturating_mul(60_000),
        offsets_retention_check_interval_ms: reader.integer("offsets.retention.check.interval.ms")?,
        offsets_topic_compression: compression(reader.int("offsets.topic.compression.codec")?)?,
        offsets_commit_timeout_ms: reader.integer("offsets.commit.timeout.ms")?,
        offsets_load_buffer_bytes: reader.size("offsets.load.buffer.size")?,
        consumer: ConsumerGroupConfig {
            session_timeout_ms: reader.int("group.consumer.session.timeout.ms")?,
            heartbeat_interval_ms: reader.int("group.consumer.heartbeat.interval.ms")?,
            max_size: reader.size("group.consumer.max.size")?,
            assignment_interval_ms: reader.int("group.consumer.assignment.interval.ms")?,
        },
        streams: StreamsGroupConfig {
            session_timeout_ms: reader.int("group.streams.session.timeout.ms")?,
            heartbeat_interval_ms: reader.int("group.streams.heartbeat.interval.ms")?,
            max_size: reader.size("group.streams.max.size")?,
            assignment_interval_ms: reader.int("group.streams.assignment.interval.ms")?,
            initial_rebalance_delay_ms: reader.int("group.streams.initial.rebalance.delay.ms")?,
            num_standby_replicas: reader.int("group.streams.num.standby.replicas")?,
        },
        max_batch_bytes: reader.size("message.max.bytes")?,
        dynamic: DynamicGroupSettings::default(),
        counters: Arc::default(),
    })
}

/// Settings between their bounds.
#[rustfmt::skip]
const BOUNDS: [[&str; 3]; 6] = [
    ["group.consumer.min.heartbeat.interval.ms", "group.consumer.heartbeat.interval.ms", "group.consumer.max.heartbeat.interval.ms"],
    ["group.consumer.min.session.timeout.ms", "group.consumer.session.timeout.ms", "group.consumer.max.session.timeout.ms"],
    ["group.consumer.min.assignment.interval.ms", "group.consumer.assignment.interval.ms", "group.consumer.max.assignment.interval.ms"],
    ["group.streams.min.heartbeat.interval.ms", "group.streams.heartbeat.interval.ms", "group.streams.max.heartbeat.interval.ms"],
    ["group.streams.min.session.timeout.ms", "group.streams.session.timeout.ms", "group.streams.max.session.timeout.ms"],
    ["group.streams.min.assignment.interval.ms", "group.streams.assignment.interval.ms", "group.streams.max.assignment.interval.ms"],
];

/// The broker's values lie within the bounds that it sets groups, as Kafka checks it at the start.
fn check_bounds(reader: &Reader<'_>) -> Result<(), ConfigError> {
    let at_least = |key, other| agrees(reader, key, "greater than or equal to", other, |value, least| value >= least);
    let at_most = |key, other| agrees(reader, key, "less than or equal to", other, |value, most| value <= most);
    let less = |key, other| agrees(reader, key, "less than", other, |value, bound| value < bound);
    for [min, key, max] in BOUNDS {
        at_least(max, min)?;
        at_least(key, min)?;
        at_most(key, max)?;
    }
    at_most("group.streams.num.standby.replicas", "group.streams.max.standby.replicas")?;
    less("group.consumer.heartbeat.interval.ms", "group.consumer.session.timeout.ms")?;
    less("group.streams.heartbeat.interval.ms", "group.streams.session.timeout.ms")
}

/// # Errors
///
/// With Kafka's text, and the value of the other key.
fn agrees(
    reader: &Reader<'_>,
    key: &'static str,
    relation: &str,
    other: &'static str,
    holds: impl Fn(i32, i32) -> bool,
) -> Result<(), ConfigError> {
    let (value, bound) = (reader.int(key)?, reader.int(other)?);
    if holds(value, bound) {
        return Ok(());
    }
    Err(ConfigError::new(key, value, format!("{key} must be {relation} {other}, which is {bound}")))
}

/// A codec by Kafka's number.
fn compression(codec: i32) -> Result<Compression, ConfigError> {
    Ok(match codec {
        0 => Compression::None,
        1 => Compression::Gzip,
        2 => Compression::Snappy,
        3 => Compression::Lz4,
        4 => Compression::Zstd,
        _ => return Err(ConfigError::new("offsets.topic.compression.codec", codec, "must be 0 to 4")),
    })
}

#[cfg(test)]
mod tests {
    use crate::config::BrokerConfig;

    #[test]
    fn settings_of_groups_lie_within_their_bounds() {
        let check = |pairs: &[(&str, &str)]| {
            BrokerConfig::from_properties(pairs.iter().copied()).map(|_| ()).map_err(|error| error.to_string())
        };
        for kind in ["consumer", "streams"] {
            let key = |setting: &str| format!("group.{kind}.{setting}");
            assert_eq!(check(&[(&key("session.timeout.ms"), "50000")]), Ok(()));
            let refused = [
                (
                    "session.timeout.ms",
                    "10000",
                    "session.timeout.ms",
                    "greater than or equal to",
                    "min.session.timeout.ms, which is 45000",
                ),
                (
                    "session.timeout.ms",
                    "60001",
                    "session.timeout.ms",
                    "less than or equal to",
                    "max.session.timeout.ms, which is 60000",
                ),
                (
                    "min.session.timeout.ms",
                    "60001",
                    "max.session.timeout.ms",
                    "greater than or equal to",
                    "min.session.timeout.ms, which is 60001",
                ),
                (
                    "max.heartbeat.interval.ms",
                    "4999",
                    "max.heartbeat.interval.ms",
                    "greater than or equal to",
                    "min.heartbeat.interval.ms, which is 5000",
                ),
                (
                    "heartbeat.interval.ms",
                    "4999",
                    "heartbeat.interval.ms",
                    "greater than or equal to",
                    "min.heartbeat.interval.ms, which is 5000",
                ),
                (
                    "assignment.interval.ms",
                    "15001",
                    "assignment.interval.ms",
                    "less than or equal to",
                    "max.assignment.interval.ms, which is 15000",
                ),
            ];
            for (given, value, named, relation, other) in refused {
                let told = check(&[(&key(given), value)]).unwrap_err();
                let text = format!("{} must be {relation} {}", key(named), key(other));
                assert!(told.ends_with(&text), "{kind} {given}={value}: {told}");
            }
            let pairs = [(&*key("max.heartbeat.interval.ms"), "90000"), (&*key("heartbeat.interval.ms"), "45000")];
            let told = check(&pairs).unwrap_err();
            let text = format!(
                "{} must be less than {}, which is 45000",
                key("heartbeat.interval.ms"),
                key("session.timeout.ms")
            );
            assert!(told.ends_with(&text), "{told}");
        }
        assert_eq!(check(&[("group.streams.num.standby.replicas", "2")]), Ok(()));
        let told = check(&[("group.streams.num.standby.replicas", "3")]).unwrap_err();
        let text =
            "group.streams.num.standby.replicas must be less than or equal to group.streams.max.standby.replicas";
        assert!(told.ends_with(&format!("{text}, which is 2")), "{told}");
    }
}
