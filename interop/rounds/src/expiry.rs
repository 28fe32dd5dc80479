//! Which records of the outer join were processed again after their windows had expired.
//!
//! At least once a record may be processed again behind a state that has gone on without its offset: a process that works
//! off a backlog gets far between two commits. When the window of such a record has expired in the join's stores by then,
//! its other half is not found any more, and it is told once more, alone. Kafka's join does the same. The changelogs of
//! the join's stores have every such record twice.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::Result;
use vltava::client::{Consumer, ConsumerConfig, TopicPartition};

use crate::{names::Names, topology::JOIN_RETENTION};

/// What follows the key in the changelog of a join's store: the window's start, and a number.
const WINDOW_BYTES: usize = 12;

/// The keys of records that were put into one of the join's stores when its time was past their retention.
///
/// # Errors
/// The consumer's.
pub async fn again_after_expiry(address: &str, names: &Names, partitions: i32) -> Result<BTreeSet<String>> {
    let consumer = Consumer::new(ConsumerConfig::from_properties([("bootstrap.servers", address)])?)?;
    let changelogs = names.join_changelogs();
    let all = changelogs.iter().flat_map(|topic| (0..partitions).map(|p| TopicPartition::new(topic.as_str(), p)));
    let all: Vec<TopicPartition> = all.collect();
    consumer.assign(all.iter().cloned())?;
    consumer.seek_to_beginning(&[])?;
    let ends = consumer.end_offsets(&all).await?;
    let mut at: BTreeMap<TopicPartition, i64> = all.iter().map(|partition| (partition.clone(), 0)).collect();
    let mut late = Late::default();
    while at.iter().any(|(partition, at)| ends.get(partition).is_some_and(|end| at < end)) {
        let records = consumer.poll(Duration::from_millis(250)).await?;
        for (partition, record) in records.iter() {
            late.see(partition, record.key().unwrap_or_default(), record.timestamp());
        }
        at.extend(records.next_offsets().into_iter().map(|(partition, next)| (partition, next.offset)));
    }
    Ok(late.keys)
}

#[derive(Default)]
struct Late {
    times: BTreeMap<TopicPartition, i64>,
    keys: BTreeSet<String>,
}

impl Late {
    fn see(&mut self, partition: &TopicPartition, key: &[u8], timestamp: i64) {
        let time = self.times.entry(partition.clone()).or_insert(timestamp);
        *time = timestamp.max(*time);
        let retention = i64::try_from(JOIN_RETENTION.as_millis()).unwrap_or(i64::MAX);
        if timestamp <= time.saturating_sub(retention) {
            let key = key.get(..key.len().saturating_sub(WINDOW_BYTES)).unwrap_or_default();
            self.keys.insert(String::from_utf8_lossy(key).into_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_comes_when_its_window_has_expired_counts() {
        let mut late = Late::default();
        let retention = i64::try_from(JOIN_RETENTION.as_millis()).unwrap();
        let (one, two) = (TopicPartition::new("this", 0), TopicPartition::new("this", 1));
        for (partition, key, time) in [
            (&one, "k1", 1000),
            (&one, "k2", 1000 + retention),
            (&one, "k3", 1001),
            (&two, "k4", 1000),
            (&one, "k1", 1000),
        ] {
            late.see(partition, format!("{key}{}", "w".repeat(WINDOW_BYTES)).as_bytes(), time);
        }
        assert_eq!(late.keys.into_iter().collect::<Vec<_>>(), ["k1"]);
    }
}
