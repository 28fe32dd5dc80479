//! The settings of groups, and what those of streams groups have to agree with.

use std::sync::Arc;

use vltava_config::{ConfigError, Reader};
use vltava_protocol::record::Compression;

use crate::coordinator::group::{ConsumerGroupConfig, GroupCoordinatorConfig, OwnSettings, StreamsGroupConfig};

/// Reads the settings of groups.
///
/// # Errors
///
/// [`ConfigError`] for a value that is no value of its key, and for settings of streams groups that do not agree.
pub(super) fn read(reader: &Reader<'_>) -> Result<GroupCoordinatorConfig, ConfigError> {
    // Read where a group's own settings are checked.
    for setting in ["assignment.interval.ms", "heartbeat.interval.ms", "session.timeout.ms"] {
        for bound in ["min", "max"] {
            let key = super::broker_key(&format!("group.consumer.{bound}.{setting}"));
            key.into_iter().for_each(|key| reader.used(key.key));
        }
    }
    check_streams(reader)?;
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
        own: OwnSettings::default(),
        counters: Arc::default(),
    })
}

/// The broker's values lie within the bounds that it sets groups, as Kafka checks it at the start.
fn check_streams(reader: &Reader<'_>) -> Result<(), ConfigError> {
    const HEARTBEAT: &str = "group.streams.heartbeat.interval.ms";
    let at_least = |key: &'static str, other: &'static str| -> Result<(), ConfigError> {
        let (value, least) = (reader.int(key)?, reader.int(other)?);
        if value >= least {
            return Ok(());
        }
        Err(ConfigError::new(key, value, format!("must be greater than or equal to `{other}`, which is {least}")))
    };
    at_least("group.streams.max.heartbeat.interval.ms", "group.streams.min.heartbeat.interval.ms")?;
    at_least("group.streams.heartbeat.interval.ms", "group.streams.min.heartbeat.interval.ms")?;
    at_least("group.streams.max.heartbeat.interval.ms", "group.streams.heartbeat.interval.ms")?;
    at_least("group.streams.max.session.timeout.ms", "group.streams.min.session.timeout.ms")?;
    at_least("group.streams.session.timeout.ms", "group.streams.min.session.timeout.ms")?;
    at_least("group.streams.max.session.timeout.ms", "group.streams.session.timeout.ms")?;
    at_least("group.streams.max.assignment.interval.ms", "group.streams.min.assignment.interval.ms")?;
    at_least("group.streams.assignment.interval.ms", "group.streams.min.assignment.interval.ms")?;
    at_least("group.streams.max.assignment.interval.ms", "group.streams.assignment.interval.ms")?;
    at_least("group.streams.max.standby.replicas", "group.streams.num.standby.replicas")?;
    let (heartbeat, session) = (reader.int(HEARTBEAT)?, reader.int("group.streams.session.timeout.ms")?);
    if heartbeat < session {
        return Ok(());
    }
    let reason = format!("must be less than `group.streams.session.timeout.ms`, which is {session}");
    Err(ConfigError::new(HEARTBEAT, heartbeat, reason))
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
    fn settings_of_streams_groups_agree() {
        let check = |key: &str, value: &str| {
            BrokerConfig::from_properties([(key, value)]).map(|_| ()).map_err(|error| error.to_string())
        };
        assert_eq!(check("group.streams.session.timeout.ms", "50000"), Ok(()));
        assert_eq!(check("group.streams.num.standby.replicas", "2"), Ok(()));
        let refused = [
            ("group.streams.session.timeout.ms", "10000", "`group.streams.min.session.timeout.ms`, which is 45000"),
            ("group.streams.session.timeout.ms", "60001", "`group.streams.session.timeout.ms`, which is 60001"),
            ("group.streams.num.standby.replicas", "3", "`group.streams.num.standby.replicas`, which is 3"),
            ("group.streams.max.heartbeat.interval.ms", "4999", "which is 5000"),
            ("group.streams.assignment.interval.ms", "15001", "which is 15001"),
        ];
        for (key, value, expected) in refused {
            let told = check(key, value).unwrap_err();
            assert!(told.contains(expected), "{key}={value}: {told}");
        }
        let pairs = [
            ("group.streams.min.heartbeat.interval.ms", "1"),
            ("group.streams.max.heartbeat.interval.ms", "90000"),
            ("group.streams.heartbeat.interval.ms", "45000"),
        ];
        let told = BrokerConfig::from_properties(pairs).unwrap_err().to_string();
        assert!(told.contains("must be less than `group.streams.session.timeout.ms`, which is 45000"), "{told}");
    }
}
