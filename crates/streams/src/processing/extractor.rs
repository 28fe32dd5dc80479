//! Where a record's timestamp comes from.

use std::sync::Arc;

use vltava_config::ConfigError;

use crate::{
    config::StreamsConfig,
    error::{Error, Result},
    record::Headers,
};

pub(crate) type ExtractorRef<K, V> = Arc<dyn TimestampExtractor<K, V>>;

/// A source record, read but not yet processed.
#[derive(Debug)]
#[non_exhaustive]
pub struct ConsumerRecord<'a, K, V> {
    /// The topic.
    pub topic: &'a str,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
    /// The record's own timestamp, in ms since the epoch; negative where it has none.
    pub timestamp: i64,
    /// The headers.
    pub headers: &'a Headers,
    /// The key.
    pub key: Option<&'a K>,
    /// The value.
    pub value: Option<&'a V>,
    /// The task's clock, in ms since the epoch.
    pub now: i64,
}

/// Gives a record its timestamp, in ms since the epoch; a negative one drops the record.
pub trait TimestampExtractor<K, V>: Send + Sync {
    /// The timestamp; `partition_time` is the greatest of the partition so far, -1 at its beginning.
    ///
    /// # Errors
    /// Stops the task.
    fn extract(&self, record: &ConsumerRecord<'_, K, V>, partition_time: i64) -> Result<i64>;
}

/// The record's timestamp; a negative one is an error. The default.
#[derive(Clone, Copy, Debug, Default)]
pub struct FailOnInvalidTimestamp;

/// The record's timestamp; a record with a negative one is dropped.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogAndSkipOnInvalidTimestamp;

/// The record's timestamp, or the partition's time where that is negative.
#[derive(Clone, Copy, Debug, Default)]
pub struct UsePartitionTimeOnInvalidTimestamp;

/// The clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct WallclockTimestampExtractor;

fn invalid<K, V>(record: &ConsumerRecord<'_, K, V>) -> Box<Error> {
    Box::new(Error::InvalidTimestamp {
        topic: record.topic.to_owned(),
        partition: record.partition,
        offset: record.offset,
        timestamp: record.timestamp,
    })
}

impl<K, V> TimestampExtractor<K, V> for FailOnInvalidTimestamp {
    fn extract(&self, record: &ConsumerRecord<'_, K, V>, _partition_time: i64) -> Result<i64> {
        if record.timestamp < 0 { Err(invalid(record)) } else { Ok(record.timestamp) }
    }
}
impl<K, V> TimestampExtractor<K, V> for LogAndSkipOnInvalidTimestamp {
    fn extract(&self, record: &ConsumerRecord<'_, K, V>, _partition_time: i64) -> Result<i64> {
        Ok(record.timestamp)
    }
}
impl<K, V> TimestampExtractor<K, V> for UsePartitionTimeOnInvalidTimestamp {
    fn extract(&self, record: &ConsumerRecord<'_, K, V>, partition_time: i64) -> Result<i64> {
        match (record.timestamp, partition_time) {
            (timestamp, _) if timestamp >= 0 => Ok(timestamp),
            (_, partition_time) if partition_time < 0 => Err(invalid(record)),
            _ => Ok(partition_time),
        }
    }
}
impl<K, V> TimestampExtractor<K, V> for WallclockTimestampExtractor {
    fn extract(&self, record: &ConsumerRecord<'_, K, V>, _partition_time: i64) -> Result<i64> {
        Ok(record.now)
    }
}

/// `default.timestamp.extractor`, by the name of Kafka's class.
pub(crate) fn default_extractor<K, V>(config: &StreamsConfig) -> Result<Option<Box<dyn TimestampExtractor<K, V>>>> {
    let name = config.fields().timestamp_extractor.as_str();
    Ok(match name {
        "FailOnInvalidTimestamp" => None,
        "LogAndSkipOnInvalidTimestamp" => Some(Box::new(LogAndSkipOnInvalidTimestamp)),
        "UsePartitionTimeOnInvalidTimestamp" => Some(Box::new(UsePartitionTimeOnInvalidTimestamp)),
        "WallclockTimestampExtractor" => Some(Box::new(WallclockTimestampExtractor)),
        _ => {
            return Err(ConfigError::new("default.timestamp.extractor", name, "must be one of Kafka's four").into());
        }
    })
}
